"""The feed's short way and its long way are one feed: the same rows, verdicts, counts and memory, whatever comes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codec import decode_rows
from common.lifecycle import Stop
from common.settings import Settings
from common.trades import US_PER_DAY, Trade
from producer.batcher import Batch
from producer.clock import StreamClock
from producer.feed import Feed
from producer.flow import Flow
from producer.venues.binance import ID_KEY, parse_message
from producer.venues.fastlive import UsualMessages

NOW_MS = 1_700_000_000_000
NOW_US = NOW_MS * 1000
EARLIEST_US = 1_230_768_000_000_000
FIRST_ID = 1000
SYMBOLS = ("BTCUSDT", "ETHUSDT")

#: Separated by spaces, for what has none.
ODD_NUMBERS = (
    "0 0.0 0.000 7 007.5 1e-7 1E5 +1.0 -1.0 01.5 1. .5 1..2 ... NaN inf \u0663.0 0.00000000000000001 10.000000000000000000"
)
LONG_NUMBERS = ["", " 1.0", "9" * 19 + ".1", "9" * 20 + ".5", "9" * 30 + "." + "1" * 9, "0." + "1" * 18, "0." + "1" * 19]
ODD_VALUES = r"""0 -0 -1 1.5 1e400 01 NaN true false null {} [1] "" "x" "1.5" 1.50
    "\u0031.5" "\ud800" "é" "a\"b" "BTCUSDT" "btcusdt"
    "XRPUSDT" "aggTrade" "trade" 999999999999999999 9999999999999999999 99999999999999999999999999"""
NAMES = r"E M X a b e f l m p q s t T stream data \u0070 é nq"
INSERTED = [b" ", b"\n", b"x", b"\xc3\xa9", b"\xff", b",", b"}", b"}\n{", b"\\", b"\0"]
WHOLE_TEXTS = [
    *b"|{|}|{}|[]|null|\n|\xff|\xef\xbb\xbf{}".split(b"|"),
    b'{"result":null,"id":1}',
    b'{"code":1,"msg":"x"}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
    b'{"stream":"x","data":{"e":"kline"}}',
]

kinds = st.sampled_from(["trade", "aggTrade"])
usual_numbers = st.tuples(st.integers(1, 99_999), st.integers(0, 8)).map(lambda n: f"{n[0] / 100:.2f}" + "0" * n[1])
any_numbers = st.one_of(usual_numbers, st.sampled_from([*ODD_NUMBERS.split(" "), *LONG_NUMBERS]))
usual_stamps = st.integers(NOW_US - 9, NOW_US)
limits = [
    0,
    NOW_MS,
    NOW_US + 60_000_000,
    NOW_US + 60_000_001,
    NOW_US - US_PER_DAY,
    NOW_US - US_PER_DAY - 1,
    EARLIEST_US,
    EARLIEST_US - 1,
]
odd_values = st.sampled_from([*ODD_VALUES.split(), '"\x01"', "", "1 ", "\t1"])
places = st.integers(0, 12)
changes = st.one_of(
    st.tuples(st.just("value"), places, odd_values),
    st.tuples(st.just("extra"), places, st.tuples(st.sampled_from(NAMES.split()), odd_values)),
    st.tuples(st.just("drop"), places, st.none()),
    st.tuples(st.just("swap"), places, st.none()),
    st.tuples(st.just("insert"), st.integers(0, 250), st.sampled_from(INSERTED)),
    st.tuples(st.just("cut"), st.integers(0, 200), st.none()),
    st.tuples(st.just("twice"), st.just(0), st.sampled_from([b"", b"\n", b",", b" "])),
    st.tuples(st.just("bare"), st.just(0), st.none()),
    st.tuples(st.just("instead"), st.just(0), st.one_of(st.binary(max_size=20), st.sampled_from(WHOLE_TEXTS))),
)


class Step(NamedTuple):
    """A message to be: whose, how far its id is past the next one, what it says, and what is wrong with it."""

    symbol: str
    ahead: int
    stamp: int
    price: str
    size: str
    sold: bool
    change: tuple[str, int, Any] = ("", 0, None)


good_steps = st.builds(
    Step, st.sampled_from(SYMBOLS), st.just(0), usual_stamps, usual_numbers, usual_numbers, st.booleans(), st.just(("", 0, None))
)
any_steps = st.builds(
    Step,
    st.sampled_from(SYMBOLS),
    st.sampled_from([0, 0, 0, 0, -1, -2, -900, 1, 2, 5]),
    st.one_of(usual_stamps, st.sampled_from(limits)),
    any_numbers,
    any_numbers,
    st.booleans(),
    st.one_of(st.just(("", 0, None)), changes),
)
bursts = st.lists(st.tuples(st.lists(st.one_of(good_steps, good_steps, any_steps), max_size=12), st.booleans()), max_size=6)


def text_of(step: Step, kind: str, trade_id: int) -> bytes:
    """The step as a message, with its fault."""
    said = {
        "e": f'"{kind}"',
        "E": "1",
        "s": f'"{step.symbol}"',
        ID_KEY[kind]: f"{trade_id}",
        "p": f'"{step.price}"',
        "q": f'"{step.size}"',
    }
    said |= {"f": "1", "l": "2"} if kind == "aggTrade" else {}
    said |= {"T": f"{step.stamp}", "m": str(step.sold).lower(), "M": "true"}
    fields, (what, place, how) = list(said.items()), step.change
    at = place % len(fields)
    if what == "value":
        fields[at] = fields[at][0], how
    elif what == "extra":
        fields.insert(place, how)
    elif what == "drop":
        del fields[at]
    elif what == "swap":
        fields[at], fields[at - 1] = fields[at - 1], fields[at]
    body = "{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}"
    text = (body if what == "bare" else f'{{"stream":"{step.symbol.lower()}@{kind}","data":{body}}}').encode()
    if what == "twice":
        return text + how + text
    if what == "insert":
        return text[:place] + how + text[place:]
    return {"cut": text[:place], "instead": how}.get(what, text)


def texts_of(steps: list[Step], kind: str, next_ids: dict[str, int]) -> list[bytes]:
    """The steps as messages; ids go on from `next_ids`, which moves on."""
    texts = []
    for step in steps:
        trade_id = next_ids[step.symbol] + step.ahead
        texts.append(text_of(step, kind, trade_id))
        if step.ahead >= 0 and step.change[0] not in ("cut", "instead"):
            next_ids[step.symbol] = trade_id + 1
    return texts


@dataclass
class Taken:
    """What leaves a feed, in order: batches, and the symbols it wants caught up."""

    feeds_closed: bool = False
    left: list[Any] = field(default_factory=list)

    def put(self, batch: Batch) -> None:
        self.left.append(batch)

    def request(self, flow: Flow) -> None:
        self.left.append(flow.symbol)


class Seen:
    """A feed that no thread runs, and all of it that can be seen."""

    def __init__(self, kind: str, batch_rows: int = 1000, first: bool = False, retention_days: int = 0, shards: int = 1) -> None:
        self.taken = Taken()
        self.flows = [Flow(symbol, f"binance.{kind}", f"trades{n % shards}") for n, symbol in enumerate(SYMBOLS)]
        for flow in self.flows:
            flow.last_id, flow.last_us = (None, 0) if first else (FIRST_ID - 1, NOW_US - 9)
        given = {"feed_kind": kind, "batch_rows": batch_rows, "tick_retention_days": retention_days}
        settings = Settings.from_env({}, symbols=SYMBOLS, pairs=(), **given)
        self.feed = Feed(settings, self.flows, self.taken, self.taken.request, StreamClock(), Stop())  # type: ignore[arg-type]

    def end_catch_up(self) -> None:
        """What is missing is given up, what waits is sent."""
        for flow in self.flows:
            flow.sort_held()
            flow.skip_to_held()
            while run := flow.take_run():
                for trade in run:
                    self.feed._pass(flow, trade, 0.0, NOW_MS)
            flow.end()

    def rows(self) -> list[tuple[str, int]]:
        """Symbol and id of all that the batcher holds."""
        return [(row.symbol, row.trade_id) for batch in self.feed._batcher.drain() for row in decode_rows(batch.rows)]

    def all(self) -> list[Any]:
        """Everything; what left, of each stream in its order."""
        feed, left = self.feed, self.taken.left + self.feed._batcher.drain()
        return [
            [
                [each for each in left if not isinstance(each, Batch) or each.stream == stream]
                for stream in ("trades0", "trades1")
            ],
            [(flow.last_id, flow.last_us, flow.heard_s, flow.catching, list(flow._held)) for flow in self.flows],
            [feed.trades, feed.repeats, feed._rotate_at_s, feed.samples.counted, list(feed.samples.waiting)],
        ]


@given(kinds, st.integers(1, 9), st.booleans(), st.integers(0, 1), st.integers(1, 2), bursts)
def test_both_ways_are_one_feed(kind, batch_rows, first, retention_days, shards, bursts):
    short, long = (Seen(kind, batch_rows, first, retention_days, shards) for _ in range(2))
    next_ids = dict.fromkeys(SYMBOLS, FIRST_ID)
    for number, (steps, caught_up) in enumerate(bursts, 1):
        texts = texts_of(steps, kind, next_ids)
        short.feed._fast.read(texts, float(number), NOW_MS)
        for text in texts:
            long.feed._on_message(text, float(number), NOW_MS)
        if caught_up:
            short.end_catch_up()
            long.end_catch_up()
    assert short.all() == long.all()


def every_single_change(kind: str) -> Iterator[Step]:
    """A good message with one thing changed, each that the lists above have."""
    good, spots = Step("BTCUSDT", 0, NOW_US, "1.50", "2.0", True), range(12 if kind == "aggTrade" else 10)
    values, names = [*ODD_VALUES.split(), '"\x01"', "", "1 ", "\t1"], NAMES.split()
    yield from (good._replace(stamp=stamp) for stamp in limits)
    for number in (*ODD_NUMBERS.split(" "), *LONG_NUMBERS):
        yield from (good._replace(price=number), good._replace(size=number))
    yield from (good._replace(change=("value", at, value)) for at in spots for value in values)
    yield from (good._replace(change=("extra", at, (name, value))) for at in spots for name in names for value in values)
    yield from (good._replace(change=(what, at, None)) for what in ("drop", "swap", "cut") for at in spots)
    yield from (good._replace(change=("insert", at, more)) for at in range(0, 200, 3) for more in INSERTED)
    yield from (good._replace(change=("twice", 0, more)) for more in (b"", b"\n", b",", b" "))
    yield from (good._replace(change=("instead", 0, text)) for text in WHOLE_TEXTS)


@pytest.mark.parametrize("kind", ["trade", "aggTrade"])
@pytest.mark.parametrize("retention_days", [0, 1])
def test_a_message_with_one_thing_changed_is_judged_the_same_both_ways(kind, retention_days):
    short, long = (Seen(kind, retention_days=retention_days) for _ in range(2))
    next_ids = dict.fromkeys(SYMBOLS, FIRST_ID)
    good = Step("BTCUSDT", 0, NOW_US, "1.50", "2.0", False)
    for number, step in enumerate(every_single_change(kind)):
        texts = texts_of([good, step, good], kind, next_ids)
        short.feed._fast.read(texts, float(number), NOW_MS)
        for text in texts:
            long.feed._on_message(text, float(number), NOW_MS)
        assert short.flows[0].last_id == long.flows[0].last_id, texts
        short.end_catch_up()
        long.end_catch_up()
    assert short.all() == long.all()
    assert short.feed.trades > number and short.feed.samples.counted > 1000


def test_what_is_found_in_a_message_is_what_its_json_says():
    """Also where it is of no use: of another symbol, or a decimal that the judge refuses."""
    for kind in ("trade", "aggTrade"):
        usual = UsualMessages(kind)
        for text in (text_of(step, kind, FIRST_ID) for step in every_single_change(kind)):
            for symbol, trade_id, price, size, stamp, second, micros, sold in usual.find([text]) or []:
                if symbol:
                    assert parse_message(text, kind) == Trade(
                        symbol, int(trade_id), int(stamp), price, size, "s" if sold else "b"
                    )
                    assert stamp == second + micros


def test_ids_in_any_order_are_followed_the_same_both_ways():
    """Each order of four out of five ids, some of them repeated; then what was held back is let go."""
    short, long = Seen("trade"), Seen("trade")
    for number, ids in enumerate(product(range(5), repeat=4), 1):
        texts = [text_of(Step("BTCUSDT", 0, NOW_US, "1.5", "2.0", True), "trade", number * 100 + each) for each in ids]
        short.flows[0].last_id = long.flows[0].last_id = number * 100
        short.feed._fast.read(texts, float(number), NOW_MS)
        for text in texts:
            long.feed._on_message(text, float(number), NOW_MS)
        assert list(short.flows[0]._held) == list(long.flows[0]._held), ids
        short.end_catch_up()
        long.end_catch_up()
    assert short.all() == long.all()


@pytest.mark.parametrize("more", ["", ',"M":true', ',"M":false,"nq":"1.0","X":7,"st":null'])
@pytest.mark.parametrize("kind", ["trade", "aggTrade"])
def test_usual_messages_do_not_go_the_long_way(kind, more, monkeypatch):
    seen, key, between = Seen(kind), ID_KEY[kind], ',"f":1,"l":2' if kind == "aggTrade" else ""
    expected = [(symbol, FIRST_ID + number) for number in range(100) for symbol in SYMBOLS]
    texts = [
        f'{{"stream":"{symbol.lower()}@{kind}","data":{{"e":"{kind}","E":1,"s":"{symbol}","{key}":{trade_id},"p":"4{trade_id}.100",'
        f'"q":"0.5"{between},"T":{NOW_US},"m":true{more}}}}}'.encode()
        for symbol, trade_id in expected
    ]
    monkeypatch.setattr("producer.feed.parse_message", lambda *_: pytest.fail("the long way"))
    seen.feed._fast.read(texts, 1.0, NOW_MS)
    assert seen.rows() == expected and seen.feed.trades == 200


def test_a_message_of_nonsense_hurts_itself_alone():
    """Halves of a message, one behind the other, are none; nor are two in one text, which would fill up their number."""
    seen = Seen("trade")
    first, second, third = (text_of(Step("BTCUSDT", 0, NOW_US, "1.5", "2.0", True), "trade", FIRST_ID + n) for n in range(3))
    seen.feed._fast.read([first, second[:60], second[60:], second + b"\n" + third, second, b"\xff", third], 1.0, NOW_MS)
    assert seen.rows() == [("BTCUSDT", FIRST_ID + n) for n in range(3)]
    assert seen.feed.samples.counted == 4
