"""Who is told of alert events, and the outbox of what is still to be delivered."""

from alembic import op

revision = "0004"
down_revision = "0003"

RECEIVERS = """
CREATE TABLE alert_receivers (
    id bigserial PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('webhook', 'apprise')),
    url text NOT NULL,
    secret text NOT NULL DEFAULT '',
    template text NOT NULL DEFAULT '',
    min_severity text COLLATE "C" NOT NULL DEFAULT 'info',
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
"""

OUTBOX = """
CREATE TABLE alert_deliveries (
    id bigserial PRIMARY KEY,
    receiver_id bigint NOT NULL REFERENCES alert_receivers (id),
    event_id bigint REFERENCES alert_events (id),
    body jsonb NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    last_error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (receiver_id, event_id)
);
CREATE INDEX alert_deliveries_waiting ON alert_deliveries (receiver_id, next_at) WHERE state = 'waiting';
COMMENT ON TABLE alert_deliveries IS 'The outbox: written in the transaction of the event, delivered at least once';
"""


def upgrade() -> None:
    """Add them."""
    for tables in (RECEIVERS, OUTBOX):
        op.execute(tables)
