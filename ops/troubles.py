"""What is wrong with an instance now, a sentence each: what it means, and what goes on by itself. Pure."""

from collections.abc import Sequence
from typing import Any

SLOW_S = 10.0
#: A process without a word for so long is stuck, or can not reach Redis.
SILENT_S = 30


def sentences(facts: dict[str, Any], redis: dict[str, Any], spool_bytes: int, last_words: dict[str, str]) -> list[str]:
    """Of the facts that `status` tells.

    `redis`: `full`, `file` (whether its file can be written), `used_mb`, `max_mb`; empty while it is away. `spool_bytes`: on
    this disk. `last_words`: by process, the last warning in its log.
    """
    gone = {line.partition(":")[0] for line in facts["away"]}
    found = [*_redis(redis, "Redis" in gone, spool_bytes), *_postgres("PostgreSQL" in gone, facts["streams"], last_words)]
    if not gone:
        found += [*_producer(facts["processes"]), *_rebuilds(facts)]
    return found


def _redis(redis: dict[str, Any], is_gone: bool, spool_bytes: int) -> list[str]:
    spool = f"{spool_bytes / 1e6:,.1f} MB of trades wait in the spool"
    if is_gone:
        return [f"Redis can not be asked. {spool} and follow once it is back; posts get 503."]
    if redis and redis["full"]:
        used = f"{redis['used_mb']:,} of {redis['max_mb']:,} MB"
        return [f"Redis is full ({used}): it takes no trades until the readers let it trim. {spool}; posts get 503."]
    if redis and not redis["file"]:
        return [f"Redis can not write its file; is its disk full? {spool} and follow once it can; posts get 503."]
    return [f"{spool} until Redis takes them."] if spool_bytes else []


def _postgres(is_gone: bool, streams: Sequence[dict[str, Any]], last_words: dict[str, str]) -> list[str]:
    behind = max([reader["lag_s"] for stream in streams for reader in stream["readers"]], default=0.0)
    if is_gone:
        wait = f"Trades wait in the stream, {behind:,.0f} s by now"
        return [f"PostgreSQL can not be asked. {wait}, and are stored once it is back; posts get 503."]
    found = []
    for stream in streams:
        names = {reader["name"] for reader in stream["readers"]}
        if stream["length"] and "writers" not in names:
            found.append(f"The stream {stream['name']} has no group of writers: Redis has lost it; a writer makes it anew.")
        for reader in stream["readers"]:
            if reader["lag_s"] > SLOW_S:
                name = reader["name"]
                found.append(f"{name} {_are(name)} {reader['lag_s']:,.0f} s behind.{_said(name, last_words)}")
    return found


def _are(name: str) -> str:
    return "are" if name.endswith("s") else "is"


def _said(reader: str, last_words: dict[str, str]) -> str:
    """The last warning of one of the reader's processes."""
    said = [f" {name} says: {text}" for name, text in last_words.items() if name.startswith(reader.removesuffix("s"))]
    return said[0] if said else ""


def _producer(processes: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    for process in processes:
        name, health = process["name"], process["health"]
        if health.get("connected") == 0:
            found.append(f"{name} has no connection to the venue. It tries again by itself; ./gems logs producer says why.")
        if health.get("owed"):
            found.append(f"{name} still has to fetch {health['owed']:,} trades by REST.")
        if not health and process["state"] == "running" and (process["up_s"] or 0) > SILENT_S and name not in _QUIET:
            found.append(f"{name} has not told its health for {SILENT_S} s; see its log.")
    return found


#: They tell no health.
_QUIET = ("redis", "postgres", "migrate", "sim", "web")


def _rebuilds(facts: dict[str, Any]) -> list[str]:
    marks = facts.get("marks")
    return [f"{marks:,} ranges of bars wait for their rebuild from the ticks."] if marks else []
