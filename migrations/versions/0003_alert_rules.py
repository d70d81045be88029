"""Alert rules as state machines: their state, severity and note; silences; causes; what is yet to be looked at."""

from alembic import op

revision = "0003"
down_revision = "0002"

#: A rule's `version` is the number of the change that made it so: whoever remembers the last number reads only what came after.
CHANGES = """
CREATE TABLE alert_changes (n bigint NOT NULL);
INSERT INTO alert_changes VALUES (0);
COMMENT ON TABLE alert_changes IS 'One row: how often people changed alert rules; its lock lets the numbers rise as they commit';
CREATE FUNCTION next_alert_change() RETURNS bigint LANGUAGE sql AS 'UPDATE alert_changes SET n = n + 1 RETURNING n';
"""

RULES = """
ALTER TABLE alerts
    ADD COLUMN severity text COLLATE "C" NOT NULL DEFAULT 'warning' CHECK (severity IN ('info', 'warning', 'critical')),
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD COLUMN state jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN version bigint NOT NULL DEFAULT 0;
ALTER TABLE alerts ALTER COLUMN version SET DEFAULT next_alert_change();
UPDATE alerts SET state = jsonb_build_object('name', 'firing', 'since_us', us, 'fired_us', us, 'told_us', us)
FROM (SELECT id AS of_id, (extract(epoch FROM triggered_at) * 1000000)::bigint AS us FROM alerts) AS fired
WHERE id = of_id AND status = 'triggered';
UPDATE alerts SET state = '{"name": "expired"}' WHERE status = 'expired';
CREATE INDEX alerts_versions ON alerts (version);
CREATE INDEX alerts_subjects ON alerts (symbol_pair) WHERE deleted_at IS NULL;
COMMENT ON COLUMN alerts.state IS 'where the state machine stands';
ALTER TABLE alert_events
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN silenced boolean NOT NULL DEFAULT false;
CREATE INDEX alert_events_stamps ON alert_events (bar_timestamp);
COMMENT ON COLUMN alert_events.details IS 'the values that caused the transition';
"""

SILENCES = """
CREATE TABLE alert_silences (
    id bigserial PRIMARY KEY,
    symbol_pair text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX alert_silences_living ON alert_silences (symbol_pair, until) WHERE ended_at IS NULL;
COMMENT ON TABLE alert_silences IS 'Events of a pair or symbol are recorded, not delivered, until then';
"""

INBOX = """
CREATE TABLE alert_inbox (
    id bigserial PRIMARY KEY,
    source text COLLATE "C" NOT NULL CHECK (source IN ('bar', 'pair', 'test')),
    subject text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    window_bars integer NOT NULL DEFAULT 0,
    method text COLLATE "C" NOT NULL DEFAULT '',
    timestamp timestamptz NOT NULL,
    revision integer NOT NULL DEFAULT 0,
    newest_rule bigint NOT NULL
);
CREATE INDEX alert_inbox_subjects ON alert_inbox (subject, id);
COMMENT ON TABLE alert_inbox IS 'Rows that tasks made (revision 0) or changed, for the aggregator to look at';
COMMENT ON COLUMN alert_inbox.newest_rule IS 'rules with a larger id came after it';
"""


def upgrade() -> None:
    """Add them."""
    for tables in (CHANGES, RULES, SILENCES, INBOX):
        op.execute(tables)
