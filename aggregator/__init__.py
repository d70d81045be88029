"""Stream -> bars -> pairs -> alerts, and the tasks that compute or rebuild them from what is stored.

In: every entry of one shard's stream, in order, by a plain tailer. Out: `processed_bars`, `spread_analytics`, alert events, in
one transaction with the checkpoint; then events on the stream `live`. Nothing is lost: what can't be proved from memory is
rebuilt from `raw_ticks`. Events may be repeated, keyed by (symbol, timeframe, timestamp, revision).
"""
