"""Alert rules as state machines: their state, severity and note, silences, and what caused each transition."""

from alembic import op

revision = "0003"
down_revision = "0002"

RULES = """
ALTER TABLE alerts
    ADD COLUMN severity text COLLATE "C" NOT NULL DEFAULT 'warning',
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD COLUMN state jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN alerts.state IS 'where the state machine stands, as of the last bar it looked at';
ALTER TABLE alert_events
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN silenced boolean NOT NULL DEFAULT false;
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


def upgrade() -> None:
    """Add them."""
    for tables in (RULES, SILENCES):
        op.execute(tables)
