"""Resume is start: what a core holds survives its text form, and a crash anywhere changes nothing that was decided."""

import zlib
from collections import defaultdict

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator import checkpoint
from aggregator.core import Core
from common.columns import to_columns
from common.database import transaction
from common.trades import Trade
from tests.aggregator.test_core import START_US, TIMEFRAMES, bars_of, trades_of_two_symbols


class Deeds:
    """What was committed: closed bars with their status, marks, holes."""

    def __init__(self) -> None:
        self.closed, self.marks, self.holes = defaultdict(dict), [], []

    def commit(self, core: Core, outcome) -> bytes:
        for timeframe, closed in outcome.closed.items():
            bars = bars_of(core, timeframe, closed.bars)
            assert not bars.keys() & self.closed[timeframe].keys(), "a bar closed twice"
            self.closed[timeframe] |= {
                key: (*bar, status) for (key, bar), status in zip(bars.items(), closed.status, strict=True)
            }
        self.marks += outcome.marks
        self.holes += outcome.holes
        return orjson.dumps(checkpoint.to_json(core))

    def all(self) -> tuple:
        return dict(self.closed), sorted(set(self.marks)), sorted(set(self.holes))


def step(core: Core, action, now_ms: int):
    if action is None:
        return core.on_time(now_ms)
    return core.on_trades(to_columns(action, [0] * len(action)), np.full(len(action), now_ms), now_ms)


def resumed(state: bytes) -> Core:
    core = Core(TIMEFRAMES, lateness_ms=500)
    checkpoint.restore(core, orjson.loads(state))
    return core


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_crash_at_any_point_and_a_resume_give_the_same_bars_marks_and_holes(data):
    """Steps after the last commit are lost with the process, and done again from the stream."""
    feed = data.draw(st.permutations(data.draw(trades_of_two_symbols())))
    feed += data.draw(st.lists(st.sampled_from(feed), max_size=4)) if feed else []
    actions, now_ms = [], START_US // 1000
    while feed:
        cut = data.draw(st.integers(1, len(feed)))
        now_ms += data.draw(st.sampled_from([1, 400, 70_000]))
        actions.append((feed[:cut], now_ms))
        feed = feed[cut:]
        if data.draw(st.booleans()):
            now_ms += 900
            actions.append((None, now_ms))
    actions.append((None, now_ms + 600_000))

    steady, smooth = Core(TIMEFRAMES, lateness_ms=500), Deeds()
    for action, at_ms in actions:
        smooth.commit(steady, step(steady, action, at_ms))

    rough, state = Deeds(), orjson.dumps(checkpoint.to_json(Core(TIMEFRAMES, lateness_ms=500)))
    core = resumed(state)
    for action, at_ms in actions:
        for _ in range(data.draw(st.integers(0, 1))):
            step(core, action, at_ms)  # done, not committed, killed
            core = resumed(state)
        state = rough.commit(core, step(core, action, at_ms))
        if data.draw(st.booleans()):
            core = resumed(state)
    assert rough.all() == smooth.all()
    assert orjson.dumps(checkpoint.to_json(core)) == orjson.dumps(checkpoint.to_json(steady))


@settings(max_examples=30)
@given(trades_of_two_symbols())
def test_the_text_form_gives_the_state_back_wide_numbers_included(trades):
    wide = [Trade("WIDE", n, START_US + n, "12345678901234567890.5", "99999999999999999999999999.25") for n in (1, 2**62)]
    posted = [Trade("A", -n, START_US, "1", "1", "b", n) for n in (1, 2**63 - 1)]
    core = Core(TIMEFRAMES, lateness_ms=500)
    step(core, [*trades, *wide, *posted], START_US // 1000)
    core.doubt("test", 0, 0)
    once = checkpoint.to_json(core)
    again = resumed(orjson.dumps(once))
    assert checkpoint.to_json(again) == once
    for timeframe in TIMEFRAMES:
        assert bars_of(again, timeframe, again.open[timeframe]) == bars_of(core, timeframe, core.open[timeframe])
    assert again.watermarks() == core.watermarks() and again.doubting


def test_a_timeframe_that_was_not_built_before_starts_unproved():
    core = Core(("1s",), lateness_ms=0)
    step(core, [Trade("A", 1, START_US, "1", "1")], START_US // 1000)
    more = Core(("1s", "1m"), lateness_ms=0)
    checkpoint.restore(more, orjson.loads(orjson.dumps(checkpoint.to_json(core))))
    step(more, [Trade("A", 2, START_US + 100, "1", "1")], START_US // 1000 + 1)
    outcome = more.on_time(START_US // 1000 + 600_000)
    assert "1m" not in outcome.closed
    assert any(mark.first_us <= START_US <= mark.last_us for mark in outcome.marks)


def test_a_checkpoint_of_the_format_before_is_read(settings, database):
    """It knew no left side of what a doubt forgot, and not what may not be stored."""
    core = Core(TIMEFRAMES, lateness_ms=500)
    step(core, [Trade("A", 1, START_US, "1", "1")], START_US // 1000)
    old = checkpoint.to_json(core)
    old["format"], old["symbols"]["seen"] = 4, [each[:2] for each in old["symbols"]["seen"]]
    del old["symbols"]["unstored"]
    with transaction(database), database.cursor() as cursor:
        checkpoint.take_over(cursor, 0)
        cursor.execute("UPDATE checkpoints SET position_ms = 7, state = %s", (zlib.compress(orjson.dumps(old)),))
        found = checkpoint.take_over(cursor, 0)
    assert found.position.ms == 7 and found.state
    again = Core(TIMEFRAMES, lateness_ms=500)
    assert checkpoint.restore(again, found.state) == []
    core.doubt("it knows", 0, 0)
    core.trust()
    again.trust()
    assert again.symbols.to_json() == core.symbols.to_json()


def test_a_second_doubt_after_a_restart_still_fears_for_what_the_first_one_did():
    """Nobody has stored it yet, and the stream was read on meanwhile: the second doubt alone would look back too short."""
    core = Core(TIMEFRAMES, lateness_ms=500)
    step(core, [Trade("A", 1, START_US, "1", "1")], START_US // 1000)
    core.doubt("Redis forgot", 0, START_US - 5)
    again = resumed(orjson.dumps(checkpoint.to_json(core)))
    again.doubt("Redis was restarted", 0, START_US + 900_000_000)
    assert again.doubted_since_us == START_US - 5
    again.trust()
    again.doubt("Redis forgot again", 0, START_US + 900_000_000)
    assert again.doubted_since_us == START_US + 900_000_000
