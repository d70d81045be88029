"""Keys of the API: their form, how they are kept, and the rows of `api_keys`.

A key is `gems_<8 characters to recognise it>_<256 random bits>`; a row has a salt and SHA-256(salt + key). One SHA-256 is
enough: scrypt and its like make each guess dear because people choose secrets that can be guessed. 256 random bits can not, at
any speed; and a dear hash of whatever a stranger sends would be a way to keep the web busy.
"""

import hashlib
import hmac
import re
import secrets
from typing import Any, NamedTuple

from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.errors import ConfigError

#: Each may do what those before it may.
SCOPES = ("read", "write", "admin")
PREFIX_LENGTH = len("gems_") + 8
_KEY = re.compile(r"gems_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,59}", re.ASCII)

_LIVING = "SELECT id, name, scope, prefix, salt, hash FROM api_keys WHERE revoked_at IS NULL"
_LISTED = """
SELECT name, scope, prefix, created_at, used_at, revoked_at FROM api_keys
WHERE %(all)s OR revoked_at IS NULL ORDER BY revoked_at NULLS FIRST, name
"""
_USED = "UPDATE api_keys SET used_at = greatest(used_at, to_timestamp(%(at_s)s)) WHERE id = %(id)s"


class StoredKey(NamedTuple):
    """A key that is not revoked, as it is stored."""

    id: int
    name: str
    scope: str
    prefix: str
    salt: bytes
    hash: bytes

    def may(self, scope: str) -> bool:
        """True if this key's scope includes that one."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def is_key(self, key: str) -> bool:
        """True for the key itself; takes the same time for every other text."""
        return hmac.compare_digest(self.hash, hashed(self.salt, key))


def new_key() -> str:
    """A key that nobody has."""
    return f"gems_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def hashed(salt: bytes, key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(salt + key.encode()).digest()


def prefix_of(key: str) -> str | None:
    """The characters by which a key is found; None for what can not be one."""
    return key[:PREFIX_LENGTH] if _KEY.fullmatch(key) else None


def add_key(connection: Connection, name: str, scope: str) -> str:
    """Store a new key and answer it: it can not be told again.

    Raises:
        ConfigError: the name is none, or a living key has it.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a key's name has 1 to 60 of A-Z a-z 0-9 . _ @ - and begins with a letter or digit, was {name[:80]!r}")
    if scope not in SCOPES:
        raise ConfigError(f"a key's scope is one of {' '.join(SCOPES)}, was {scope[:80]!r}")
    key, salt = new_key(), secrets.token_bytes(16)
    values = (name, scope, key[:PREFIX_LENGTH], salt, hashed(salt, key))
    try:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("INSERT INTO api_keys (name, scope, prefix, salt, hash) VALUES (%s, %s, %s, %s, %s)", values)
    except errors.UniqueViolation as exc:
        raise ConfigError(f"a living key is called {name!r} already; revoke it, or take another name") from exc
    return key


def revoke_key(connection: Connection, name_or_prefix: str) -> str | None:
    """End a living key; answers its name, or None if there is none of that name or prefix."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE %s IN (name, prefix) AND revoked_at IS NULL RETURNING name",
            (name_or_prefix,),
        )
        row = cursor.fetchone()
    return str(row[0]) if row else None


def list_keys(connection: Connection, everything: bool = False) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows; `everything`: revoked ones, too."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_LISTED, {"all": everything})
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def living_keys(connection: Connection) -> dict[str, StoredKey]:
    """The keys that are not revoked, by prefix."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_LIVING)
        rows = [StoredKey(key_id, name, scope, prefix, bytes(salt), bytes(stored))
                for key_id, name, scope, prefix, salt, stored in cursor.fetchall()]  # fmt: skip
    return {row.prefix: row for row in rows}


def note_uses(connection: Connection, used_s: dict[int, float]) -> None:
    """Write when keys were used, by id, in seconds since 1970."""
    with transaction(connection), connection.cursor() as cursor:
        for key_id, at_s in sorted(used_s.items()):
            cursor.execute(_USED, {"id": key_id, "at_s": at_s})
