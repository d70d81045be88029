"""Ticks, bars, pair rows, statistics, alerts, tasks, and what the services remember of their work."""

from alembic import op

revision = "0001"
down_revision = None

# Leaves of the partitioned tables are made by common/partitions.py, ahead of need.
TICKS = """
CREATE TABLE raw_ticks (
    symbol text COLLATE "C" NOT NULL,
    trade_id bigint NOT NULL,
    timestamp timestamptz NOT NULL,
    price numeric NOT NULL,
    size numeric NOT NULL,
    side text COLLATE "C",
    seq integer
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE raw_ticks IS 'Every trade, once: identity (symbol, UTC day, trade_id); order (timestamp, seq, trade_id)';
"""

_BAR_COLUMNS = """
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    timestamp timestamptz NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric NOT NULL,
    tick_count integer NOT NULL,
    quote_volume numeric NOT NULL,
    vwap numeric NOT NULL,
    taker_buy_volume numeric NOT NULL,
    first_trade_id bigint NOT NULL,
    last_trade_id bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    revision integer NOT NULL DEFAULT 0,
"""
BARS = f"""
CREATE TABLE processed_bars ({_BAR_COLUMNS}
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE processed_bars IS 'OHLCV over [timestamp, timestamp + timeframe); equals the aggregate of raw_ticks';
CREATE TABLE bar_revisions ({_BAR_COLUMNS}
    written_at timestamptz NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, timestamp, revision)
);
COMMENT ON TABLE bar_revisions IS 'Bars as they were before a late trade changed them';
"""

PAIRS = """
CREATE TABLE spread_analytics (
    symbol_pair text COLLATE "C" NOT NULL,
    timestamp timestamptz NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    method text COLLATE "C" NOT NULL DEFAULT 'ols',
    symbol1_price numeric NOT NULL,
    symbol2_price numeric NOT NULL,
    hedge_ratio double precision,
    intercept double precision,
    spread double precision,
    z_score double precision,
    rolling_mean double precision,
    rolling_std double precision,
    correlation double precision,
    adf_statistic double precision,
    adf_pvalue double precision,
    is_cointegrated boolean,
    coint_at timestamptz,
    carried text COLLATE "C" NOT NULL DEFAULT '',
    has_gap boolean NOT NULL DEFAULT false,
    revision integer NOT NULL DEFAULT 0,
    PRIMARY KEY (symbol_pair, timeframe, window_bars, method, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON COLUMN spread_analytics.coint_at IS 'the bar that adf_statistic, adf_pvalue and is_cointegrated were computed on';
COMMENT ON COLUMN spread_analytics.carried IS 'the leg whose last close was carried forward: y, x or empty';
CREATE TABLE pair_tests (
    symbol_pair text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    block_us bigint NOT NULL,
    timestamp timestamptz NOT NULL,
    statistic double precision,
    pvalue double precision,
    is_cointegrated boolean,
    tested_at timestamptz,
    PRIMARY KEY (symbol_pair, timeframe, window_bars, block_us)
);
CREATE INDEX pair_tests_waiting ON pair_tests (timestamp) WHERE tested_at IS NULL;
COMMENT ON TABLE pair_tests IS 'Engle-Granger tests asked for and done: one for the first row of each block of bars';
CREATE TABLE pair_reloads (
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe)
);
COMMENT ON TABLE pair_reloads IS 'Bars were rebuilt under the aggregator: it reads these series again';
CREATE TABLE price_stats (
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    timestamp timestamptz NOT NULL,
    returns double precision,
    volatility double precision,
    volume_ma double precision,
    price_change_pct double precision,
    high_low_range double precision,
    PRIMARY KEY (symbol, timeframe, window_bars, timestamp)
) PARTITION BY RANGE (timestamp);
"""

ALERTS = """
CREATE TABLE alerts (
    id bigserial PRIMARY KEY,
    alert_type text NOT NULL,
    symbol_pair text COLLATE "C" NOT NULL,
    condition jsonb NOT NULL,
    timeframe text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    firing boolean NOT NULL DEFAULT false,
    triggered_at timestamptz,
    trigger_value double precision,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX alerts_living ON alerts (id) WHERE deleted_at IS NULL;
CREATE TABLE alert_events (
    id bigserial PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES alerts (id),
    transition text NOT NULL,
    bar_timestamp timestamptz NOT NULL,
    value double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (alert_id, bar_timestamp, transition)
);
"""

WORK = """
CREATE TABLE sources (
    symbol text COLLATE "C" PRIMARY KEY,
    src text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sources IS 'Which id space the exchange ids of a symbol come from';
CREATE TABLE writer_positions (
    worker text NOT NULL,
    stream text NOT NULL,
    position_ms bigint NOT NULL,
    position_seq numeric NOT NULL,
    stored bigint NOT NULL DEFAULT 0,
    repeated bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, stream)
);
COMMENT ON TABLE writer_positions IS 'Last entry each worker committed, and its counters';
CREATE TABLE checkpoints (
    shard integer PRIMARY KEY,
    token bigint NOT NULL,
    position_ms bigint NOT NULL,
    position_seq numeric NOT NULL,
    run_id text NOT NULL,
    watermarks jsonb NOT NULL,
    state bytea NOT NULL,
    events bytea NOT NULL,
    bars bigint NOT NULL DEFAULT 0,
    late bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN checkpoints.watermarks IS 'symbol -> microseconds since 1970: every bar that ends at or before it is closed';
CREATE TABLE dirty_ranges (
    id bigserial PRIMARY KEY,
    symbol text COLLATE "C" NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    stream text NOT NULL,
    entry_ms bigint NOT NULL,
    entry_seq numeric NOT NULL,
    reason text NOT NULL,
    doubts_memory boolean NOT NULL DEFAULT false,
    due_us bigint NOT NULL DEFAULT 0,
    marked_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dirty_ranges IS 'Closed bars over stamps [first_us, last_us] to rebuild once the writers have passed the entry';
COMMENT ON COLUMN dirty_ranges.doubts_memory IS 'the aggregator may have counted otherwise: open bars are rebuilt at their close';
COMMENT ON COLUMN dirty_ranges.due_us IS 'not before the watermark of the symbol has reached it';
CREATE TABLE rebuilt_bars (
    id bigserial PRIMARY KEY,
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    timestamp timestamptz NOT NULL,
    is_new boolean NOT NULL
);
COMMENT ON TABLE rebuilt_bars IS 'Bars that a rebuild made, changed or deleted, until the pair rows that used them have followed';
CREATE TABLE dead_letters (
    id bigserial PRIMARY KEY,
    stream text NOT NULL,
    entry_id text NOT NULL,
    row_number integer NOT NULL,
    src text NOT NULL,
    field text NOT NULL,
    reason text NOT NULL,
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, entry_id, row_number)
);
CREATE TABLE gaps (
    id bigserial PRIMARY KEY,
    symbol text COLLATE "C" NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    from_us bigint NOT NULL,
    to_us bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'lost')),
    note text NOT NULL DEFAULT '',
    found_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    UNIQUE (symbol, first_id, last_id)
);
CREATE INDEX gaps_missing ON gaps (symbol, from_us) WHERE state <> 'closed';
COMMENT ON TABLE gaps IS 'Missing ids first_id..last_id, between the stamps of the ids around the hole';
COMMENT ON COLUMN gaps.state IS 'open: may still come; closed: all stored; lost: the venue does not have them';
COMMENT ON COLUMN gaps.closed_at IS 'when it was closed, or given up as lost';
COMMENT ON COLUMN gaps.note IS 'why it is lost, or not fetched';
CREATE TABLE tasks (
    task_id uuid PRIMARY KEY,
    kind text NOT NULL,
    params jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued',
    progress double precision NOT NULL DEFAULT 0,
    counts jsonb NOT NULL DEFAULT '{}',
    error text,
    attempts integer NOT NULL DEFAULT 0,
    idempotency_key text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    seen_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX tasks_waiting ON tasks (created_at) WHERE state IN ('queued', 'running');
"""


def upgrade() -> None:
    """Make everything."""
    for tables in (TICKS, BARS, PAIRS, ALERTS, WORK):
        op.execute(tables)
