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
COMMENT ON TABLE price_stats IS 'Statistics of one symbol''s bars, each row from the last window_bars bars up to its own';
COMMENT ON COLUMN price_stats.has_gap IS 'a bar that the row used has status gap';
CREATE TABLE stats_revisions (LIKE price_stats, replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, window_bars, timestamp, revision)
);
COMMENT ON TABLE stats_revisions IS 'Statistics as they were before a rebuilt bar changed them';
"""

SCANS = """
CREATE TABLE scan_runs (
    scan_id uuid PRIMARY KEY,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    symbols text[] NOT NULL,
    computed_on timestamptz,
    pairs integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX scan_runs_newest ON scan_runs (timeframe, window_bars, finished_at);
COMMENT ON TABLE scan_runs IS 'Scans of all pairs of some symbols; scan_id is the task''s';
COMMENT ON COLUMN scan_runs.computed_on IS 'the newest bar that it looks at; NULL: no symbol has one';
CREATE TABLE pair_scans (
    scan_id uuid NOT NULL REFERENCES scan_runs (scan_id) ON DELETE CASCADE,
    symbol_pair text COLLATE "C" NOT NULL,
    symbol1 text COLLATE "C" NOT NULL,
    symbol2 text COLLATE "C" NOT NULL,
    rows integer NOT NULL,
    carried integer NOT NULL,
    coint_statistic double precision,
    coint_pvalue double precision,
    other_way_pvalue double precision,
    hedge_ratio double precision,
    spread double precision,
    z_score double precision,
    half_life double precision,
    hurst double precision,
    correlation double precision,
    return_correlation double precision,
    PRIMARY KEY (scan_id, symbol_pair)
);
COMMENT ON TABLE pair_scans IS 'What a scan found of each pair Y_X; Y is the leg that is explained better';
COMMENT ON COLUMN pair_scans.other_way_pvalue IS 'of X explained by Y';
COMMENT ON COLUMN pair_scans.carried IS 'of the window''s rows, how many used a last close that was carried forward';
"""


def upgrade() -> None:
    """Add them."""
    for tables in (STATS, SCANS):
        op.execute(tables)
