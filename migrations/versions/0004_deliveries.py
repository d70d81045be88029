"""Who is told of alert events, and the outbox of what is still to be delivered."""

from alembic import op

revision = "0004"
down_revision = "0003"

RECEIVERS = """
CREATE TABLE alert_receivers (
    id serial PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('webhook', 'apprise')),
    url text NOT NULL,
    secret text NOT NULL DEFAULT '',
    template text NOT NULL DEFAULT '',
    min_severity text COLLATE "C" NOT NULL DEFAULT 'info',
    alert_types text[] NOT NULL DEFAULT '{}',
    symbol_pairs text[] NOT NULL DEFAULT '{}',
    send_resolved boolean NOT NULL DEFAULT true,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE UNIQUE INDEX alert_receivers_name ON alert_receivers (name) WHERE deleted_at IS NULL;
COMMENT ON COLUMN alert_receivers.alert_types IS 'only events of these types; empty: of all';
COMMENT ON COLUMN alert_receivers.symbol_pairs IS 'only events of these pairs or symbols; empty: of all';
"""

OUTBOX = """
CREATE TABLE alert_deliveries (
    id bigserial PRIMARY KEY,
    receiver_id integer NOT NULL REFERENCES alert_receivers (id),
    event_key text COLLATE "C" NOT NULL,
    alert_id bigint,
    trial boolean NOT NULL DEFAULT false,
    body jsonb NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead', 'ended')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    UNIQUE (receiver_id, event_key)
);
CREATE INDEX alert_deliveries_waiting ON alert_deliveries (receiver_id, id) WHERE state = 'waiting';
CREATE INDEX alert_deliveries_dead ON alert_deliveries (receiver_id, id) WHERE state = 'dead';
CREATE INDEX alert_deliveries_finished ON alert_deliveries (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE alert_deliveries IS 'The outbox: written in the transaction of the event, delivered at least once';
COMMENT ON COLUMN alert_deliveries.event_key IS 'X-Gems-Event-Id: the id in alert_events, or trial-<uuid>';
COMMENT ON COLUMN alert_deliveries.queued_at IS 'since when it waits: it is given up so long after that, or after a retry';
"""


def upgrade() -> None:
    """Add them."""
    for tables in (RECEIVERS, OUTBOX):
        op.execute(tables)
