"""Whether this instance is ready: both stores answer, the tables are of this version, and no reader is too far behind."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import redis

from common.database import SCHEMA_REVISION
from common.errors import GemsError
from common.log import get_logger
from common.settings import Settings
from common.streams import EntryId, stream_names
from web.asking import asked, hasty_redis
from web.health import redis_memory, stream_facts

#: Many probes cost no more than one.
KEEP_S = 1.0
_POSITIONS = "SELECT coalesce(json_agg(json_build_array(shard, position_ms, position_seq)), '[]') FROM checkpoints"
_MADE = "SELECT to_regclass('alembic_version') IS NOT NULL"
_REVISION = "SELECT min(version_num) FROM alembic_version"
_AWAY = (psycopg2.Error, redis.RedisError, OSError)

Check = dict[str, Any]

log = get_logger(__name__)


class Readiness:
    """Looks at most once a second, and for a few seconds at most whatever hangs."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._redis = settings, hasty_redis(settings)
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._until_s = 0.0

    def checks(self) -> dict[str, Check]:
        """By name, whether it is `ready` and else `why`: redis, postgres, schema, writers, aggregator_0 and so on."""
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._checks = self._look()
                self._until_s = time.monotonic() + KEEP_S
            return self._checks

    def _look(self) -> dict[str, Check]:
        checks: dict[str, Check] = {}
        positions = self._asked(checks, "postgres", lambda: self._positions(checks))
        lags = self._asked(checks, "redis", lambda: self._lags(positions or {}))
        checks["writers"] = self._lag([lag for lag, _ in lags]) if lags else _not("unknown while Redis is away")
        for shard in range(self._settings.shards):
            name = f"aggregator_{shard}"
            if not lags or positions is None:
                checks[name] = _not("unknown while " + ("PostgreSQL" if lags else "Redis") + " is away")
            else:
                checks[name] = self._lag([lags[shard][1]])
        return checks

    @staticmethod
    def _asked(checks: dict[str, Check], store: str, question: Callable[[], Any]) -> Any:
        checks[store] = {"ready": True}
        try:
            return question()
        except GemsError as exc:
            checks[store] = _not(str(exc))
        except _AWAY as exc:  # what it says names addresses and users, and everybody may ask
            log.info("not ready: %s: %s", store, (str(exc).strip().splitlines() or [""])[0])
            checks[store] = _not(f"does not answer ({type(exc).__name__})")
        return None

    def _positions(self, checks: dict[str, Check]) -> dict[int, EntryId]:
        """Of the aggregators, by shard; empty where the tables are not of this version."""
        checks["schema"] = _not("unknown while PostgreSQL is away")
        with asked(self._settings) as ask:
            found = ask.row(_REVISION)[0] if ask.row(_MADE)[0] else None
            if found != SCHEMA_REVISION:
                has = f"are of version {found}" if found else "are not made"
                checks["schema"] = _not(f"the tables {has}, this program needs {SCHEMA_REVISION}")
                return {}
            checks["schema"] = {"ready": True}
            return {int(shard): EntryId(ms, int(seq)) for shard, ms, seq in ask.row(_POSITIONS)[0]}

    def _lags(self, positions: dict[int, EntryId]) -> list[tuple[float, float | None]]:
        """Seconds that the writers and the aggregator of each shard are behind; None: it has no checkpoint and should have.

        Raises:
            GemsError: Redis takes nothing.
        """
        if not redis_memory(self._redis).is_writable:
            raise GemsError("Redis is full, or can not write its file")
        seconds, us = self._redis.time()
        now_ms = int(seconds) * 1000 + us // 1000
        facts = [
            stream_facts(self._redis, name, now_ms, positions.get(shard))
            for shard, name in enumerate(stream_names(self._settings))
        ]
        return [(each["writers_lag_s"], each["aggregator_lag_s"] if each["length"] else 0.0) for each in facts]

    def _lag(self, lags_s: list[float | None]) -> Check:
        limit_s = self._settings.ready_lag_s
        if any(lag is None for lag in lags_s):
            return _not("has no checkpoint yet, and the stream has entries")
        lag_s = max(lag for lag in lags_s if lag is not None)
        told = {"lag_s": lag_s, "limit_s": limit_s}
        return (
            {"ready": True, **told} if lag_s <= limit_s else {**_not(f"{lag_s:,.1f} s behind, more than {limit_s:g} s"), **told}
        )


def _not(why: str) -> Check:
    return {"ready": False, "why": why}
