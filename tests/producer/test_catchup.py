"""Live trades do not wait for ever for a REST that is down; what they overtook is owed until it is in."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.codec import split_rows
from common.lifecycle import Stop
from producer import catchup
from producer.debts import Debt, Debts
from producer.service import run_producer
from tests.exchange.running import RunningExchange, running_exchange

DEADLINE_S = 60.0


def test_debts_are_remembered_until_they_are_settled(tmp_path):
    first, second = Debt("A", "binance.trade", 1, 10), Debt("B", "binance.trade", 5, 5)
    debts = Debts(tmp_path / "owed.json")
    debts.add(first)
    debts.add(second)
    assert debts.pop() == first and debts.trades == 1
    assert Debts(tmp_path / "owed.json").trades == 11
    debts.put_back(first._replace(first_id=4))
    debts.settle()
    again = Debts(tmp_path / "owed.json")
    assert (again.pop(), again.pop(), bool(again)) == (second, first._replace(first_id=4), False)


@pytest.mark.parametrize("text", ["", "{", "7", "[[1]]"])
def test_a_damaged_file_of_debts_stops_nothing(tmp_path, text):
    (tmp_path / "owed.json").write_text(text)
    assert not Debts(tmp_path / "owed.json")


@contextmanager
def producing(settings) -> Iterator[None]:
    stop = Stop()
    thread = threading.Thread(target=run_producer, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.ask()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def streamed_ids(client) -> list[int]:
    rows = [row for _, fields in client.xrange("trades") for row in split_rows(fields[b"rows"].decode())]
    return [int(row.split(",", 2)[1]) for row in rows]


def until(condition, what: str):
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.02)
    return found


def holes(ids: list[int]) -> int:
    return max(ids) - min(ids) + 1 - len(set(ids))


@pytest.fixture
def exchange(tmp_path) -> Iterator[RunningExchange]:
    folder = tmp_path / "sim"
    folder.mkdir()
    with running_exchange(folder, sim_rate=300, symbols="BTCUSDT", pairs="", history="5s") as running:
        yield running


def test_what_live_trades_overtook_is_fetched_later_even_by_another_run(settings, redis_client, exchange, monkeypatch):
    monkeypatch.setattr(catchup, "PATIENCE_S", 0.3)
    monkeypatch.setattr(catchup, "DEBT_RETRY_S", 0.2)
    own = settings.model_copy(update={"sim_port": exchange.port, "symbols": ("BTCUSDT",), "pairs": (), "history": "2s"})
    with producing(own):
        until(lambda: len(streamed_ids(redis_client)) > 300, "trades")
    before = len(streamed_ids(redis_client))
    exchange.post("/sim/faults", {"rest_status": 503})
    with producing(own):
        until(lambda: len(streamed_ids(redis_client)) > before + 100, "live trades in spite of REST")
    assert holes(streamed_ids(redis_client)) > 0
    exchange.post("/sim/faults", {"rest_status": 0})
    with producing(own):
        until(lambda: holes(streamed_ids(redis_client)) == 0, "what was owed")
        until(lambda: (own.data_dir / "spool" / "owed.json").read_bytes() == b"[]", "the settlement")


def test_more_than_the_catch_up_may_fetch_is_a_recorded_gap_that_the_backfill_brings(
    settings, database, redis_client, exchange, monkeypatch
):
    monkeypatch.setattr(catchup, "MOST_MISSED", 100)

    def notes() -> list[str]:
        with database, database.cursor() as cursor:
            cursor.execute("SELECT note FROM gaps")
            return [note for (note,) in cursor.fetchall()]

    def made() -> int:
        return exchange.get("/sim/state")["symbols"]["BTCUSDT"]["trade_id"]

    own = settings.model_copy(update={"sim_port": exchange.port, "symbols": ("BTCUSDT",), "pairs": (), "history": "1s"})
    with producing(own):
        until(lambda: len(streamed_ids(redis_client)) > 300, "trades")
        exchange.post("/sim/faults", {"silent": True})
        first = made()
        until(lambda: made() > first + 200, "missed trades, twice as many as the catch-up may fetch")
        exchange.post("/sim/faults", {"silent": False})
        assert until(notes, "a recorded gap") == ["more than the catch-up fetches"]
        until(lambda: holes(streamed_ids(redis_client)) == 0, "what was missing")
