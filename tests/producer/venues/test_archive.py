"""Each file format gives exactly the trades it states; a bad row is named and stops nothing."""

import csv
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.codec import decode_rows, encode_rows
from common.errors import MalformedMessage
from common.judge import Limits, content_id, plain_decimal
from common.trades import Trade
from producer.venues.archive import FileName, Occurrences, parse_file_name
from producer.venues.fastcsv import FastRows
from producer.venues.fields import decimal_text, stamp_us
from producer.venues.formats import reader_for

LIMITS = Limits(1_000_000_000_000_000, 0)  # 2001
ENTRY_MS = 1_900_000_000_000
MS, US = 1704067200001, 1704067200001000


def read(text: str, name: str = "BTCUSDT-trades-2024-01-01.csv", symbol: str | None = None):
    """Read a file line by line, as the smallest blocks there can be."""
    lines = text.strip("\n").split("\n")
    reader = reader_for(lines[0], parse_file_name(name), symbol, LIMITS)
    trades: dict[str, list[Trade]] = {}
    rejects = []
    for number, line in enumerate(lines, 1):
        rows = reader.read([line], number, ENTRY_MS)
        if rows.encoded:
            trades.setdefault(rows.encoded_of[1], []).extend(decode_rows("".join(rows.encoded)))
        for kind, some in rows.trades.items():
            trades.setdefault(kind, []).extend(some)
        rejects += rows.rejects
    return trades, rejects


def good(text: str, **how):
    trades, rejects = read(text, **how)
    assert rejects == []
    return trades


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("BTCUSDT-aggTrades-2024-01-01.zip", FileName("BTCUSDT", "binance.aggTrade", None)),
        ("1000SHIBUSDT-trades-2024-01.csv", FileName("1000SHIBUSDT", "binance.trade", None)),
        ("binance_spot_BTCUSDT_aggTrades_2024-01-01_00-12h.csv.zst", FileName("BTCUSDT", "binance.aggTrade", False)),
        ("binance_um_ETHUSDT_trades_x.csv", FileName("ETHUSDT", "binance.trade", True)),
        ("ticks.ndjson", FileName(None, None, None)),
        ("spot-trades.csv", FileName(None, None, False)),
        ("", FileName(None, None, None)),
    ],
)
def test_a_file_name_says_what_it_says(name, parsed):
    assert parse_file_name(name) == parsed


@pytest.mark.parametrize("stamp", [MS, US])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("cells", "kind", "symbol"),
    [
        ("7,42.50,0.10,1,2,{t},True,True", "binance.aggTrade", "BTCUSDT"),
        ("7,42.50,0.10,4.25,{t},True,True", "binance.trade", "BTCUSDT"),
        ("7,42.50,0.10,1,2,{t},true", "binance.aggTrade", "BINANCEUM:BTCUSDT"),
        ("7,42.50,0.10,4.25,{t},true", "binance.trade", "BINANCEUM:BTCUSDT"),
    ],
)
def test_binance_archives_without_a_header(cells, kind, symbol, stamp, quote):
    line = ",".join(f"{quote}{cell}{quote}" for cell in cells.format(t=stamp).split(","))
    assert good(line) == {kind: [Trade(symbol, 7, US, "42.5", "0.1", "s")]}


@pytest.mark.parametrize(
    ("header", "row", "kind", "symbol"),
    [
        ("agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
         f"7,42.5,0.1,1,2,{MS},false", "binance.aggTrade", "BINANCEUM:BTCUSDT"),
        ("id,price,qty,quote_qty,time,is_buyer_maker", f"7,42.5,0.1,4,{MS},false", "binance.trade", "BINANCEUM:BTCUSDT"),
        ("trade_id,price,quantity,time_ms,is_buyer_maker", f"7,42.5,0.1,{MS},False", "binance.trade", "BTCUSDT"),
        ("Trade ID,Time,Price,Size,Side", "7,2024-01-01T00:00:00.001Z,42.5,0.1,BUY", "binance.trade", "BTCUSDT"),
    ],
)  # fmt: skip
def test_binance_archives_with_a_header(header, row, kind, symbol):
    assert good(f"{header}\n{row}") == {kind: [Trade(symbol, 7, US, "42.5", "0.1", "b")]}


def test_a_name_that_says_spot_is_believed():
    trades = good(
        f"id,price,qty,quote_qty,time,is_buyer_maker\n7,42.5,0.1,4,{MS},false", name="binance_spot_BTCUSDT_trades_1.csv"
    )
    assert trades["binance.trade"][0].symbol == "BTCUSDT"


def test_the_sender_may_say_the_symbol():
    line = f"7,42.5,0.1,1,2,{MS},True,True"
    assert good(line, name="x.csv", symbol="SIM:BTCUSDT")["binance.aggTrade"][0].symbol == "SIM:BTCUSDT"
    with pytest.raises(MalformedMessage, match="which symbol"):
        read(line, name="x.csv")


def test_a_symbol_that_can_not_be_one_is_refused():
    with pytest.raises(MalformedMessage, match="'btcusdt'"):
        read(f"7,42.5,0.1,1,2,{MS},True,True", symbol="btcusdt")


def test_coin_margined_contracts_are_refused():
    with pytest.raises(MalformedMessage, match="contracts"):
        read(f"7,42.5,0.1,4.25,{MS},true", name="BTCUSD_PERP-trades-2024-01-01.csv", symbol="BTCUSD_PERP")


@pytest.mark.parametrize("line", ["12410770,sell,25.3,7.503,1700179210707", "1672531436,90.54,1.1", "1,2", "7,1,1,1,1,1,1,1"])
def test_a_layout_nobody_knows_is_refused(line):
    with pytest.raises(MalformedMessage, match="without a header"):
        read(line)


def test_a_header_without_a_price_is_refused():
    with pytest.raises(MalformedMessage, match="price"):
        read("symbol,ts,size\nBTCUSDT,1,1")


def test_ticks_without_ids_get_them_from_their_content():
    header, row = "symbol;ts;price;size", f"BTCUSDT;{MS};42.50;0.10"
    expected = [Trade("BTCUSDT", content_id("BTCUSDT", US, "42.5", "0.1", n), US, "42.5", "0.1", "", n) for n in range(3)]
    assert good("\n".join([header, row, row, row]), name="t.csv") == {"api": expected}


def test_ids_of_no_stated_kind_are_left_to_be_adopted():
    assert list(good(f"symbol,ts,price,size,trade_id\nBTCUSDT,{MS},1,1,9", name="t.csv")) == ["api.trade"]
    assert list(good(f'{{"symbol":"X","ts":{MS},"price":1,"size":"2","trade_id":5}}', name="t.ndjson")) == ["api.trade"]


@pytest.mark.parametrize(
    ("line", "kind", "trade"),
    [
        (f'{{"e":"trade","E":1,"s":"BNBBTC","t":5,"p":"0.10","q":"1","T":{MS},"m":false,"M":true}}',
         "binance.trade", Trade("BNBBTC", 5, US, "0.1", "1", "b")),
        (f'{{"stream":"x","data":{{"e":"aggTrade","s":"BNBBTC","a":5,"p":"0.10","q":"1","T":{US},"m":true,"M":true}}}}',
         "binance.aggTrade", Trade("BNBBTC", 5, US, "0.1", "1", "s")),
        (f'{{"e":"aggTrade","s":"BTCUSDT","a":5,"p":"0.1","q":"1","f":1,"l":1,"T":{MS},"m":true,"st":1}}',
         "binance.aggTrade", Trade("BINANCEUM:BTCUSDT", 5, US, "0.1", "1", "s")),
        (f'{{"a":5,"p":"0.1","q":"1","f":1,"l":1,"T":{MS},"m":true,"M":true}}',
         "binance.aggTrade", Trade("BTCUSDT", 5, US, "0.1", "1", "s")),
        (f'[{{"id":5,"price":"0.1","qty":"1","quoteQty":"0.1","time":{MS},"isBuyerMaker":true,"isBestMatch":true}}]',
         "binance.trade", Trade("BTCUSDT", 5, US, "0.1", "1", "s")),
    ],
)  # fmt: skip
def test_json_of_binance(line, kind, trade):
    assert good(line) == {kind: [trade]}


@pytest.mark.parametrize("ts", [f"{MS}", f"{US}", '"2024-01-01T00:00:00.001Z"', '"2024-01-01T05:30:00.001+05:30"', f'"{MS}"'])
@pytest.mark.parametrize(("price", "plain"), [("42.5", "42.5"), ('"42.50"', "42.5"), ("42", "42"), ("4.25e1", "42.5"),
                                             ("0.1234567890123456789", "0.1234567890123456789")])  # fmt: skip
def test_json_of_the_contract_is_exact(ts, price, plain):
    (trade,) = good(f'{{"symbol":"BTCUSDT","ts":{ts},"price":{price},"size":"0.1","side":"sell"}}', name="t.json")["api"]
    assert (trade.event_us, trade.price, trade.side, trade.seq) == (US, plain, "s", 0)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (f"8,0,0.1,1,2,{MS},True,True", "price"),
        (f"8,1,-1,1,2,{MS},True,True", "size"),
        (f"8,1e5,1,1,2,{MS},True,True", "price"),
        ("8,1,1,1,2,x,True,True", "timestamp"),
        ("8,1,1,1,2,1,True,True", "timestamp"),
        (f"8,1,1,1,2,{MS},Maybe,True", "side"),
        (f"8_0,1,1,1,2,{MS},True,True", "trade_id"),
        (f"-8,1,1,1,2,{MS},True,True", "trade_id"),
        ("8,1,1", "row"),
    ],
)
def test_a_bad_row_is_named_and_stops_nothing(row, field):
    line = f"7,1,1,1,2,{MS},True,True"
    trades, (reject,) = read(f"{line}\n{row}\n\n{line.replace('7', '9', 1)}")
    assert [trade.trade_id for trade in trades["binance.aggTrade"]] == [7, 9]
    assert (reject.number, reject.text, reject.error.field) == (2, row, field)


@pytest.mark.parametrize("line", ['{"symbol":"X"}', "{nope", "7", '{"symbol":"X","ts":1.5,"price":1,"size":1}', "[[]]", "null",
                                  '{"e":"kline"}', '{"symbol":7,"ts":1,"price":1,"size":1}', "[" * 5000])  # fmt: skip
def test_a_bad_json_line_is_named_and_stops_nothing(line):
    fine = f'{{"symbol":"X","ts":{MS},"price":1,"size":1}}'
    trades, rejects = read(f"{fine}\n{line}\n{fine}", name="t.json")
    assert len(trades["api"]) == 2 and [reject.number for reject in rejects] == [2]


numbers = st.one_of(
    st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True),
    st.from_regex(r"(0|[1-9][0-9]{0,3})(\.[0-9]{0,2}0{0,4})?", fullmatch=True),
    st.sampled_from(["0", "0.0", "100", "1.", ".5", "1e5", "-1", "", "٣", "0.10", "00.1", "00", "0.00", "000.0"]),
)
stamps = st.one_of(
    st.integers(MS - 10, MS + 10), st.integers(US - 10, US + 10), st.integers(0, 2 * 10**15),
    st.integers(ENTRY_MS + 59_990, ENTRY_MS + 60_010), st.sampled_from([10**12 - 1, 10**12, 10**14 - 1, 10**14]),
)  # fmt: skip
flags = st.sampled_from(["True", "False", "true", "false", "1", "no"])
any_rows = st.tuples(numbers, numbers, numbers, stamps, flags, st.sampled_from(["2", "", "x"]))


@settings(max_examples=300)
@given(st.lists(any_rows, min_size=1, max_size=4), st.sampled_from([0, 86_400_000_000]))
def test_the_short_way_gives_what_the_judge_gives(found, retention_us):
    """Whatever it takes, it takes as the long way does; and it takes no block with a bad row."""
    lines = [f"{i},{price},{size},{other},2,{stamp},{flag},True" for i, price, size, stamp, flag, other in found]
    limits = Limits(LIMITS.earliest_us, retention_us)
    reader = reader_for("7,1,1,1,2,1,True,True", parse_file_name("BTCUSDT-aggTrades-1.csv"), None, limits)
    slow = reader.read_slowly(lines, 1, ENTRY_MS)
    fast = reader.read(lines, 1, ENTRY_MS)
    if fast.encoded:
        assert "".join(fast.encoded) == encode_rows(slow.trades["binance.aggTrade"]) and slow.rejects == []
    else:
        assert fast.trades == slow.trades and list(map(str, fast.rejects)) == list(map(str, slow.rejects))


def test_the_short_way_trims_every_small_decimal_as_the_judge_does():
    short = FastRows("X", 8, 5, 6, LIMITS)
    for text in map("".join, (part for size in range(7) for part in product("015.", repeat=size))):
        encoded = short.encode([f"7,{text},1,1,2,{MS},True,True"], ENTRY_MS)
        if encoded is not None:
            assert encoded[0].split(",")[3] == plain_decimal("price", text)


@pytest.mark.parametrize("row", [f"7,42.50000000,0.10000000,1,2,{MS},True,True", f"7,100,0.5,1,2,{US},false,True"])
def test_usual_rows_go_the_short_way(row):
    reader = reader_for(row, parse_file_name("BTCUSDT-aggTrades-1.csv"), None, LIMITS)
    assert len(reader.read([row] * 3, 1, ENTRY_MS).encoded) == 3


ticks = st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(US, US + 2), st.sampled_from(["1", "2"])), max_size=60)


@given(ticks)
def test_equal_ticks_of_a_file_are_different_trades_and_the_same_file_gives_the_same(found):
    made = [Trade(symbol, 0, us, price, "1") for symbol, us, price in found]
    occurrences, again = Occurrences(), Occurrences()
    ids = [occurrences.name(trade).trade_id for trade in made]
    assert len(set(ids)) == len(ids) and all(trade_id < 0 for trade_id in ids)
    assert ids == [again.name(trade).trade_id for trade in made]


@given(ticks)
def test_forgetting_bounds_memory_and_is_the_same_each_time(found):
    once, again = Occurrences(most=3), Occurrences(most=3)
    made = [Trade(symbol, 0, us, price, "1") for symbol, us, price in found]
    assert [once.name(trade) for trade in made] == [again.name(trade) for trade in made]
    assert len(once._young) + len(once._old) <= 6


@given(st.text(max_size=40))
def test_fields_do_no_more_than_refuse(text):
    for ask in (stamp_us, lambda given: decimal_text("price", given)):
        try:
            ask(text)
        except ValueError as exc:
            raise AssertionError(text) from exc
        except Exception as exc:
            assert type(exc).__name__ == "InvalidTrade"


@given(st.lists(st.text(alphabet='a1,";\n\r\0 ', max_size=12), min_size=1, max_size=6))
def test_no_line_does_more_than_be_rejected(lines):
    for head in ("symbol,ts,price,size", f"7,1,1,1,2,{MS},True,True"):
        reader = reader_for(head, parse_file_name("BTCUSDT-trades-1.csv"), None, LIMITS)
        assert csv.field_size_limit() > 1000
        reader.read([head, *lines], 1, ENTRY_MS)
