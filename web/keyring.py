"""The living keys of the API, in memory: read again every few seconds, so that no request asks PostgreSQL for them.

While PostgreSQL is away the keys known last go on opening for a while: a revocation would be a row in that same PostgreSQL.
"""

import threading
import time
from collections.abc import Callable, Mapping

import psycopg2
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.apikeys import StoredKey, living_keys, note_uses, prefix_of
from common.errors import StoreUnavailable
from common.log import get_logger
from web.stores import Stores

#: A revoked key opens nothing after so long.
KEEP_S = 3.0
#: Without PostgreSQL, keys known last open for so long.
OUTAGE_S = 600.0
NOTE_EVERY_S = 60.0

log = get_logger(__name__)


class Keyring:
    """Asked by every thread; one of them reads again where it is time, the others use what is known."""

    def __init__(self, stores: Stores, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._stores, self._clock_s = stores, clock_s
        self._reading = threading.Lock()
        self._keys: dict[str, StoredKey] | None = None
        self._read_s = self._tried_s = float("-inf")
        self._used_s: dict[int, float] = {}
        self._noted_s = 0.0

    def find(self, key: str) -> StoredKey | None:
        """The living key that this text is; None for any other.

        Raises:
            StoreUnavailable: nobody could say for too long.
        """
        prefix = prefix_of(key)
        stored = self.living().get(prefix) if prefix else None
        if stored is None or not stored.is_key(key):
            return None
        self.note_use(stored)
        return stored

    def living(self) -> Mapping[str, StoredKey]:
        """The keys that are not revoked, by prefix, as of at most `KEEP_S` ago; raises as `find` does."""
        if self._is_due() and self._reading.acquire(blocking=self._keys is None):
            try:
                if self._is_due():  # else another thread has read while we waited
                    self._read()
            finally:
                self._reading.release()
        if self._keys is None or self._clock_s() - self._read_s > OUTAGE_S:
            raise StoreUnavailable("PostgreSQL can not be reached now, so keys can not be looked up; try again soon")
        return self._keys

    def note_use(self, stored: StoredKey) -> None:
        """Remember that a key was used just now; written with a later reading."""
        self._used_s[stored.id] = time.time()

    def _is_due(self) -> bool:
        return self._clock_s() - self._tried_s >= KEEP_S

    def _read(self) -> None:
        try:
            with self._stores.session() as connection:
                found = living_keys(connection)
                if self._used_s and self._clock_s() - self._noted_s >= NOTE_EVERY_S:
                    used_s, self._used_s, self._noted_s = self._used_s, {}, self._clock_s()
                    note_uses(connection, used_s)
            self._keys, self._read_s = found, self._clock_s()
        except (psycopg2.Error, PoolTimeout) as exc:
            log.warning("keys can not be read: %s; tried again in %.0f s", str(exc).strip().splitlines()[:1], KEEP_S)
        self._tried_s = self._clock_s()
