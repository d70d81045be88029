"""The families of metrics that are read from the stores: names, kinds, labels and help texts. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Family(NamedTuple):
    """A metric's kind, its help text and the names of its labels."""

    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    help: str
    labels: tuple[str, ...] = ()


_COUNTER, _GAUGE = CounterMetricFamily, GaugeMetricFamily
_WORKER, _PRODUCER, _PROCESS = ("worker", "stream"), ("producer",), ("process",)
#: A counter's samples end in `_total`.
FAMILIES: dict[str, Family] = {
    "gems_redis_up": Family(_GAUGE, "1 if Redis answered this scrape."),
    "gems_postgres_up": Family(_GAUGE, "1 if PostgreSQL answered this scrape."),
    "gems_redis_writable": Family(_GAUGE, "0 while Redis is full or can not write its file."),
    "gems_redis_memory_bytes": Family(_GAUGE, "Memory that Redis uses."),
    "gems_redis_memory_limit_bytes": Family(_GAUGE, "maxmemory of Redis; 0: none."),
    "gems_ticks_stored": Family(_COUNTER, "Ticks stored.", _WORKER),
    "gems_ticks_repeated": Family(_COUNTER, "Ticks that were stored already.", _WORKER),
    "gems_rows_refused": Family(_COUNTER, "Rows of entries that went to the dead letters.", _WORKER),
    "gems_bars_closed": Family(_COUNTER, "Bars closed.", ("shard",)),
    "gems_trades_late": Family(_COUNTER, "Trades that came after their bar had closed.", ("shard",)),
    "gems_bars_revised": Family(_COUNTER, "Bars that a rebuild has changed; counted by PostgreSQL since its statistics began."),
    "gems_rebuilds_waiting": Family(_GAUGE, "Marked ranges that wait for their rebuild."),
    "gems_gaps": Family(_GAUGE, "Gaps in the ids.", ("state",)),
    "gems_gap_trades": Family(_GAUGE, "Ids in these gaps.", ("state",)),
    "gems_dead_letters": Family(_GAUGE, "Rows in the dead letters, by where they came from.", ("stream",)),
    "gems_tasks": Family(_GAUGE, "Tasks that are remembered.", ("state",)),
    "gems_stream_entries": Family(_GAUGE, "Entries in the stream, the read ones that are kept included.", ("stream",)),
    "gems_reader_lag_entries": Family(_GAUGE, "Entries before a reader; absent if uncountable.", ("stream", "reader")),
    "gems_reader_lag_seconds": Family(_GAUGE, "Age of the oldest entry that a reader has not finished.", ("stream", "reader")),
    "gems_pending_entries": Family(_GAUGE, "Entries given to a writer and not committed.", ("stream",)),
    "gems_pending_oldest_seconds": Family(_GAUGE, "Age of the oldest of these; 0 if there is none.", ("stream",)),
    "gems_commits": Family(_COUNTER, "Transactions that a writer or aggregator committed, by its own count.", _PROCESS),
    "gems_commit_seconds": Family(_COUNTER, "Seconds that these took.", _PROCESS),
    "gems_process_outage": Family(_GAUGE, "1 while PostgreSQL takes nothing of a writer, and why.", ("process", "reason")),
    "gems_deliveries": Family(_GAUGE, "Deliveries of alerts that wait, or were given up as dead.", ("state",)),
    "gems_delivery_oldest_seconds": Family(_GAUGE, "Age of the oldest delivery that waits; 0 if there is none."),
    "gems_notifier_delivered": Family(_COUNTER, "Deliveries that receivers took, by the notifier's own count."),
    "gems_notifier_failed": Family(_COUNTER, "Attempts that failed and are made again."),
    "gems_notifier_given_up": Family(_COUNTER, "Deliveries that it gave up."),
    "gems_disk_bytes": Family(_GAUGE, "Size of the disk that the data directory is on."),
    "gems_disk_free_bytes": Family(_GAUGE, "Bytes that are free there."),
    "gems_process_last_word_seconds": Family(_GAUGE, "Seconds since a process told its health; absent after 30.", ("process",)),
    "gems_producer_connected": Family(_GAUGE, "Open connections to the venue.", _PRODUCER),
    "gems_producer_spool_bytes": Family(_GAUGE, "Bytes that wait on disk until Redis takes them.", _PRODUCER),
    "gems_producer_owed": Family(_GAUGE, "Trades that live ones did not wait for, still to be fetched.", _PRODUCER),
    "gems_producer_clock_ahead_seconds": Family(_GAUGE, "How far Redis' clock is ahead of the producer's host.", _PRODUCER),
    "gems_producer_trades": Family(_COUNTER, "Trades appended to the stream.", _PRODUCER),
    "gems_producer_messages": Family(_COUNTER, "Messages read from the venue.", _PRODUCER),
    "gems_producer_repeats": Family(_COUNTER, "Trades that came more than once.", _PRODUCER),
    "gems_producer_malformed": Family(_COUNTER, "Messages and trades that could not be used.", _PRODUCER),
    "gems_producer_reconnects": Family(_COUNTER, "Connections after the first.", _PRODUCER),
    "gems_producer_fetched": Family(_COUNTER, "Trades that the catch-up fetched by REST.", _PRODUCER),
    "gems_producer_backfilled": Family(_COUNTER, "Trades fetched by REST for gaps.", _PRODUCER),
    "gems_producer_lost": Family(_COUNTER, "Trades that the venue does not have.", _PRODUCER),
    "gems_symbol_last_trade_age_seconds": Family(_GAUGE, "Age of a symbol's last trade, by its stamp.", ("symbol", "producer")),
}


class Families:
    """Values of one scrape; iterating gives the families that have any."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def set(self, name: str, value: object, *labels: str) -> None:
        """A value, the first of its labels wins; what is no number (None: unknown now) is left out."""
        if isinstance(value, int | float):
            self._values.setdefault(name, {}).setdefault(labels, float(value))

    def __iter__(self) -> Iterator[Metric]:
        for name, values in self._values.items():
            kind, text, labels = FAMILIES[name]
            family = kind(name, text, labels=labels)
            for label_values, value in values.items():
                family.add_metric(label_values, value)
            yield family
