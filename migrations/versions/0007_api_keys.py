"""Keys of the API."""

from alembic import op

revision = "0007"
down_revision = "0006"

KEYS = """
CREATE TABLE api_keys (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    prefix text COLLATE "C" NOT NULL UNIQUE,
    salt bytea NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    used_at timestamptz
);
CREATE UNIQUE INDEX api_keys_living_name ON api_keys (name) WHERE revoked_at IS NULL;
COMMENT ON TABLE api_keys IS 'Keys of the API; the keys themselves are not stored';
COMMENT ON COLUMN api_keys.prefix IS 'first characters of the key, to recognise and to find it';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the salt and the key';
COMMENT ON COLUMN api_keys.used_at IS 'a recent use, written at most once a minute';
"""


def upgrade() -> None:
    """Add them."""
    op.execute(KEYS)
