"""Pair series that come and go while it runs, their rows' further statistics, and the rows as they were before a revision."""

from alembic import op

revision = "0002"
down_revision = "0001"

SERIES = """
CREATE TABLE pair_series (
    symbol_pair text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    method text COLLATE "C" NOT NULL DEFAULT 'ols',
    symbols text[] NOT NULL,
    origin text COLLATE "C" NOT NULL DEFAULT 'request' CHECK (origin IN ('settings', 'request')),
    added_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    PRIMARY KEY (symbol_pair, timeframe, window_bars, method)
);
COMMENT ON TABLE pair_series IS 'The series of pair rows that are kept up to date; removed_at: no longer';
COMMENT ON COLUMN pair_series.symbols IS 'the legs: y first, then each x';
"""

ROWS = """
ALTER TABLE spread_analytics
    ADD COLUMN return_correlation double precision,
    ADD COLUMN half_life double precision,
    ADD COLUMN innovation_z double precision,
    ADD COLUMN hurst double precision,
    ADD COLUMN variance_ratio double precision,
    ADD COLUMN spread_adf_statistic double precision,
    ADD COLUMN spread_adf_pvalue double precision,
    ADD COLUMN hedge_ratios double precision[],
    ADD COLUMN leg_prices numeric[],
    ADD COLUMN filter_state double precision[],
    ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN spread_analytics.half_life IS 'bars until half of a deviation of the spread is gone';
COMMENT ON COLUMN spread_analytics.hedge_ratios IS 'baskets: the ratio of each x; NULL for pairs';
COMMENT ON COLUMN spread_analytics.filter_state IS 'what a recursive method carries on from this row';
"""

REVISIONS = """
CREATE TABLE spread_revisions (LIKE spread_analytics, replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol_pair, timeframe, window_bars, method, timestamp, revision)
);
COMMENT ON TABLE spread_revisions IS 'Pair rows as they were before a rebuilt bar changed them';
"""

TESTS = """
ALTER TABLE pair_tests
    ADD COLUMN method text COLLATE "C" NOT NULL DEFAULT 'ols',
    ADD COLUMN hurst double precision,
    ADD COLUMN variance_ratio double precision,
    ADD COLUMN spread_adf_statistic double precision,
    ADD COLUMN spread_adf_pvalue double precision,
    DROP CONSTRAINT pair_tests_pkey,
    ADD PRIMARY KEY (symbol_pair, timeframe, window_bars, method, block_us);
"""


def upgrade() -> None:
    """Add them."""
    for tables in (SERIES, ROWS, REVISIONS, TESTS):
        op.execute(tables)
