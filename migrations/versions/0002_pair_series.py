"""Pair series that come and go while it runs, their rows' further statistics, and the rows as they were before a revision."""

from alembic import op

revision = "0002"
down_revision = "0001"

# The version rises in the order of the commits: whoever looks at the largest one misses no change.
SERIES = """
CREATE SEQUENCE pair_series_version;
CREATE TABLE pair_series (
    symbol_pair text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL,
    method text COLLATE "C" NOT NULL DEFAULT 'ols',
    symbols text[] NOT NULL,
    in_settings boolean NOT NULL DEFAULT false,
    requested boolean NOT NULL DEFAULT false,
    added_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (symbol_pair, timeframe, window_bars, method)
);
CREATE INDEX pair_series_changes ON pair_series (version);
COMMENT ON TABLE pair_series IS 'Series of pair rows; live: in the settings or requested, not removed. Others keep their rows';
COMMENT ON COLUMN pair_series.symbols IS 'the legs: y first, then each x';
COMMENT ON COLUMN pair_series.removed_at IS 'removed by request, whatever the settings say; NULL again once it is requested';
CREATE FUNCTION pair_series_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7378697629483820803);
    NEW.version := nextval('pair_series_version');
    RETURN NEW;
END $$;
CREATE TRIGGER pair_series_changed BEFORE INSERT OR UPDATE ON pair_series
    FOR EACH ROW EXECUTE FUNCTION pair_series_changed();
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
    ADD COLUMN coint_written_at timestamptz,
    ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN spread_analytics.half_life IS 'bars until half of a deviation of the spread is gone';
COMMENT ON COLUMN spread_analytics.hedge_ratios IS 'baskets: the ratio of each x; NULL for pairs';
COMMENT ON COLUMN spread_analytics.leg_prices IS 'baskets: the price of each leg, y first; NULL for pairs';
COMMENT ON COLUMN spread_analytics.filter_state IS 'what a recursive method carries on from this row';
COMMENT ON COLUMN spread_analytics.coint_written_at IS 'when the tests of coint_at were filled in: a row is written before';
"""

REVISIONS = """
CREATE TABLE spread_revisions (LIKE spread_analytics, replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol_pair, timeframe, window_bars, method, timestamp, revision)
);
COMMENT ON TABLE spread_revisions IS 'Pair rows as they were in [written_at, replaced_at), before a change';
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
