"""More statistics of a symbol's bars, with their revisions; scans of all pairs."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATS = """
ALTER TABLE price_stats
    ADD COLUMN log_return double precision,
    ADD COLUMN realised_volatility double precision,
    ADD COLUMN vwap double precision,
    ADD COLUMN taker_imbalance double precision,
    ADD COLUMN atr double precision,
    ADD COLUMN drawdown double precision,
    ADD COLUMN has_gap boolean NOT NULL DEFAULT false,
    ADD COLUMN revision integer NOT NULL DEFAULT 0,
    ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
CREATE TABLE stats_revisions (LIKE price_stats, replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, window_bars, timestamp, revision)
);
COMMENT ON TABLE stats_revisions IS 'Statistics as they were before a rebuilt bar changed them';
"""

SCANS = """
CREATE TABLE pair_scans (
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    symbol_pair text COLLATE "C" NOT NULL,
    timestamp timestamptz NOT NULL,
    coint_pvalue double precision,
    half_life double precision,
    z_score double precision,
    hedge_ratio double precision,
    correlation double precision,
    scanned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (timeframe, window_bars, symbol_pair)
);
COMMENT ON TABLE pair_scans IS 'The newest scan of all pairs: what it was computed on ends with the bar at timestamp';
"""


def upgrade() -> None:
    """Add them."""
    for tables in (STATS, SCANS):
        op.execute(tables)
