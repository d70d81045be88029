"""kill -9 of aggregator and notifier at random moments under a feed that crosses a threshold 500 times: exactly the expected
events, each delivered at least once under its own id."""

import random
import time

import pytest
from psycopg2.extras import Json

from common.trades import Trade, from_us
from tests.notifier.house import add_receiver
from tests.notifier.receiving import Reply, Server, a_server
from tests.pipeline import Pipeline, a_pipeline

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
SECOND = 1_000_000
CROSSINGS, KILLS = 500, 12


def prices(rng: random.Random) -> list[int]:
    """Closes second by second: runs of one to three bars, in turn below and above 100, the last below."""
    closes: list[int] = []
    for _ in range(CROSSINGS):
        for level in (90, 110):
            closes += [level] * rng.randint(1, 3)
    return [*closes, 90, 90, 90]


def expected(closes: list[int], start_us: int, for_bars: int) -> list[tuple]:
    """(moment, transition, value) of `price_above` 100, by looking at the whole series."""
    found: list[tuple] = []
    run, firing, pending = 0, False, False
    for second, close in enumerate(closes):
        run = run + 1 if close > 100 else 0
        moment = from_us(start_us + second * SECOND)
        if not firing and run == for_bars:
            firing, pending = True, False
            found.append((moment, "triggered", float(close)))
        elif not firing and not pending and run:
            pending = True
            found.append((moment, "pending", float(close)))
        elif not run and (firing or pending):
            found.append((moment, "cleared" if firing else "lapsed", float(close)))
            firing = pending = False
    return found


def delivered(pipeline: Pipeline, server: Server) -> None:
    """Every event that is told to receivers has come, always as the same message."""
    waiting = "SELECT count(*) FROM alert_deliveries WHERE state = 'waiting'"
    pipeline.wait(lambda: not pipeline.scalar(waiting), 120, "deliveries")
    ids = pipeline.rows("SELECT id FROM alert_events WHERE transition IN ('triggered', 'cleared')")
    assert {call.event_key for call in server.calls} == {str(event_id) for (event_id,) in ids}
    assert len({(call.event_key, call.body) for call in server.calls}) == len(ids)


def test_kill_9_of_aggregator_and_notifier_gives_exactly_the_expected_events_each_delivered(settings, redis_client, database):
    rng = random.Random(500)
    closes = prices(rng)
    start_us = (time.time_ns() // 1000 // SECOND - len(closes) - 60) * SECOND
    trades = [Trade("A", 1 + n, start_us + n * SECOND + 5, str(close), "1", "b") for n, close in enumerate(closes)]
    small = settings.model_copy(update={"symbols": ("A", "B"), "pairs": (), "timeframes": ("1s",), "notify_private": True})
    with a_server() as server, a_pipeline(small, redis_client, database, "aggregator_0", "notifier") as pipeline:
        server.reply = lambda call: Reply(wait_s=0.002)
        add_receiver(database, "hook", server.url(), send_resolved=True)
        rules = {}
        with pipeline.database, pipeline.database.cursor() as cursor:
            for for_bars in (1, 2):
                condition = Json({"threshold": 100, "for_bars": for_bars})
                cursor.execute(
                    "INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES ('price_above', 'A', %s, '1s')"
                    " RETURNING id", (condition,),
                )  # fmt: skip
                rules[for_bars] = cursor.fetchone()[0]
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM checkpoints WHERE state <> ''"), 60, "first checkpoint")
        pipeline.start("writer_0")
        step = len(trades) // (KILLS * 8) + 1
        kill_at = set(rng.sample(range(len(trades) // step), KILLS))
        for number, at in enumerate(range(0, len(trades), step)):
            pipeline.send(trades[at : at + step], rows=3)
            time.sleep(rng.random() * 0.06)  # where in a transaction the signal falls is left to chance
            if number in kill_at:
                for name in rng.choice((("aggregator_0",), ("notifier",), ("aggregator_0", "notifier"))):
                    pipeline.kill(name)
                    pipeline.start(name)
        closed = "SELECT count(*) FROM processed_bars WHERE symbol = 'A'"
        pipeline.wait(lambda: pipeline.scalar(closed) == len(closes), 60, "all bars closed")
        for for_bars, alert_id in rules.items():
            found = pipeline.rows(
                "SELECT bar_timestamp, transition, value FROM alert_events WHERE alert_id = %s ORDER BY id", alert_id
            )
            assert found == expected(closes, start_us, for_bars), for_bars
        assert pipeline.scalar("SELECT count(*) FROM alert_events WHERE alert_id = %s", rules[1]) == 2 * CROSSINGS
        assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0, "all bars closed from memory"
        delivered(pipeline, server)
        told = {fields[b"data"] for _, fields in redis_client.xrange("live") if fields[b"event"] == b"alert"}
        assert len(told) == pipeline.scalar("SELECT count(*) FROM alert_events"), "each is told live at least once, and the same"
