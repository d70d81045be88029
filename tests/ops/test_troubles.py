"""`./gems status` says in a sentence what is wrong, and nothing where nothing is."""

from typing import Any

import pytest

from ops.troubles import sentences

ROOM = {"full": False, "file": True, "used_mb": 10, "max_mb": 2048}


def facts(**change: Any) -> dict[str, Any]:
    reader = {"name": "writers", "lag_entries": 0, "lag_s": 0.1, "pending": 0}
    producer = {"name": "producer", "state": "running", "up_s": 500, "health": {"connected": 1, "owed": 0}}
    streams = [{"name": "trades", "length": 5, "readers": [reader, {**reader, "name": "aggregator_0"}]}]
    return {"away": [], "processes": [producer], "marks": 0, "streams": streams} | change


def behind(name: str, lag_s: float) -> dict[str, Any]:
    readers = [{"name": each, "lag_s": lag_s if each == name else 0.0} for each in ("writers", "aggregator_0")]
    return {"streams": [{"name": "trades", "length": 9, "readers": readers}]}


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert sentences(facts(), ROOM, 0, {}) == []


@pytest.mark.parametrize(("change", "redis", "spool", "said"), [
    ({"away": ["Redis: Error 111"], "streams": []}, {}, 2_500_000, ["Redis can not be asked. 2.5 MB"]),
    ({"away": ["PostgreSQL: refused"], **behind("writers", 61)}, ROOM, 0,
     ["PostgreSQL can not be asked. Trades wait in the stream, 61 s"]),
    ({"away": ["PostgreSQL: refused", "Redis: x"], "streams": []}, {}, 0, ["Redis can not", "PostgreSQL can not"]),
    ({}, ROOM | {"full": True, "used_mb": 2048}, 1, ["Redis is full (2,048 of 2,048 MB)"]),
    ({}, ROOM | {"file": False}, 1, ["Redis can not write its file"]),
    ({}, ROOM, 1_000_000, ["1.0 MB of trades wait in the spool until"]),
    (behind("writers", 12), ROOM, 0, ["writers are 12 s behind. writer_1 says: disk full"]),
    (behind("aggregator_0", 12), ROOM, 0, ["aggregator_0 is 12 s behind."]),
    ({"streams": [{"name": "trades", "length": 9, "readers": []}]}, ROOM, 0, ["The stream trades has no group of writers"]),
    ({"marks": 3}, ROOM, 0, ["3 ranges of bars wait"]),
    ({"processes": [{"name": "producer", "state": "running", "up_s": 9, "health": {"connected": 0, "owed": 7}}]}, ROOM, 0,
     ["producer has no connection", "producer still has to fetch 7"]),
    ({"processes": [{"name": "tasks", "state": "running", "up_s": 99, "health": {}}]}, ROOM, 0,
     ["tasks has not told its health"]),
])  # fmt: skip
def test_each_trouble_is_a_sentence(change: dict[str, Any], redis: dict[str, Any], spool: int, said: list[str]) -> None:
    found = sentences(facts(**change), redis, spool, {"writer_1": "disk full"})
    assert [sentence.startswith(start) for sentence, start in zip(found, said, strict=True)] == [True] * len(said), found
