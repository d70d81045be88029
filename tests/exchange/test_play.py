"""A recorded file played as what it is: every row, verbatim, at its pace or as fast as it is read."""

import gzip
import io
import signal
import time
import zipfile
from pathlib import Path

import pytest
import zstandard

from common.errors import ConfigError
from ops.exchange.archive import Layout, layout_of, symbol_of
from ops.exchange.play import PlayTape
from ops.exchange.protocol import Aggregate, Fill
from tests.exchange.running import ROOT, RunningExchange, events, running_exchange

HALF_DAY = ROOT.parent / "shared/data/trades/binance_spot_BTCUSDT_aggTrades_2024-01-01_00-12h.csv.zst"
AGGS_US = "/ws/btcusdt@aggTrade?timeUnit=MICROSECOND"
START_MS = 1704067200000
SPOT_TRADE = "3000,42283.58,0.001,42.28358,1704067200000,True,False"
SPOT_AGG = "2807759891,42283.58000000,0.00069000,3344774379,3344774380,1735689600000123,True,True"
FUTURES_TRADE = "77,42283.5,0.001,42.2,1704067200000,true"
FUTURES_AGG = "88,42283.5,0.001,77,79,1704067200000,false"


def archive(folder: Path, rows: int, gap_ms: int = 100) -> Path:
    """A spot aggTrades file whose texts differ from any rendering of their numbers."""
    path = folder / "BTCUSDT-aggTrades-2024-01-01.csv"
    lines = (
        f"{7000 + n},4228{n % 10}.5,0.00{n % 9 + 1}0,{9000 + 2 * n},{9001 + 2 * n},{START_MS + n * gap_ms},{n % 2 == 0},True\n"
        for n in range(rows)
    )
    path.write_text("".join(lines))
    return path


def as_row(event: dict[str, object]) -> str:
    time_ms = int(str(event["T"])) // 1000
    return f"{event['a']},{event['p']},{event['q']},{event['f']},{event['l']},{time_ms},{event['m']},{event['M']}"


@pytest.mark.parametrize(
    ("row", "read"),
    [
        (SPOT_TRADE, Fill(3000, "42283.58", "0.001", "42.28358", 1704067200000000, True, False)),
        (SPOT_AGG, Aggregate(2807759891, "42283.58000000", "0.00069000", 3344774379, 3344774380, 1735689600000123, True, True)),
        (FUTURES_TRADE, Fill(77, "42283.5", "0.001", "42.2", 1704067200000000, True, True)),
        (FUTURES_AGG, Aggregate(88, "42283.5", "0.001", 77, 79, 1704067200000000, False, True)),
    ],
)
def test_layout_follows_from_the_columns(row: str, read: object) -> None:
    layout = layout_of(row)
    assert isinstance(layout, Layout) and layout.read(row + "\r\n") == read


@pytest.mark.parametrize("row", ["1,2,3", "a,b,c,d,e,f,g", "1,2,3,4,5,6,7,8"])
def test_other_columns_are_no_layout(row: str) -> None:
    assert layout_of(row) is None


@pytest.mark.parametrize(
    "name", ["BTCUSDT-trades-2024-01-01.csv", "binance_spot_BTCUSDT_aggTrades_2024-01-01_00-12h.csv.zst", "BTCUSDT_trades.zip"]
)
def test_symbol_is_in_the_files_name(name: str) -> None:
    assert symbol_of(Path(name)) == "BTCUSDT"


def test_packed_files_and_headers_are_the_same_rows(tmp_path: Path) -> None:
    plain = f"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n{FUTURES_AGG}\n".encode()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as made:
        made.writestr("inner.csv", plain)
    packed = {"": plain, ".gz": gzip.compress(plain), ".zst": zstandard.compress(plain), ".zip": zipped.getvalue()}
    for suffix, payload in packed.items():
        path = tmp_path / f"BTCUSDT-aggTrades-2024-01-01.csv{suffix}"
        path.write_bytes(payload)
        tape = PlayTape(path, tmp_path / f"at{suffix}")
        assert [row[0] for row in tape.take(None, 10)] == [88]
        tape.close()


def test_unusable_files_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv"
    for text, reason in ((f"{SPOT_AGG}\n{SPOT_AGG}\n", "line 2: id"), ("1,2,3\n", "line 1: not the columns"), ("", "no rows")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            PlayTape(path, tmp_path / "at")
    with pytest.raises(ConfigError, match="no symbol"):
        PlayTape(tmp_path / "x.csv", tmp_path / "at")


def test_position_survives_and_another_file_begins_anew(tmp_path: Path) -> None:
    path = archive(tmp_path, 100)
    tape = PlayTape(path, tmp_path / "at")
    tape.take(None, 40)
    tape.close()
    again = PlayTape(path, tmp_path / "at")
    assert again.position == 40 and [row[0] for row in again.take(None, 1)] == [7040]
    again.close()
    anew = PlayTape(archive(tmp_path, 50), tmp_path / "at")
    assert anew.position == 0 and anew.rows == 50
    anew.close()


@pytest.mark.process
def test_slice_of_the_real_half_day_comes_through_verbatim_at_full_speed(tmp_path: Path) -> None:
    if not HALF_DAY.exists():
        pytest.skip(f"{HALF_DAY} is not here: the real half day is not played")
    rows = 20_000
    with HALF_DAY.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        lines = [line for line, _ in zip(io.TextIOWrapper(plain), range(rows), strict=False)]
    path = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv.zst"
    path.write_bytes(zstandard.compress("".join(lines).encode()))
    with running_exchange(tmp_path, sim_play=path, sim_speed="max") as exchange, exchange.connected(AGGS_US) as client:
        assert [as_row(event) for event in events(client, rows)] == [line.strip() for line in lines]
        state = exchange.get("/sim/state")["symbols"]["BTCUSDT"]
        assert state["ended"] and state["position"] == rows
        client.ping()
        fetched = exchange.history("/api/v3/aggTrades?symbol=BTCUSDT", "a", 2807759891, 2807759891 + rows - 1)
    assert [as_row(row) for row in fetched] == [line.strip() for line in lines]


@pytest.mark.process
def test_play_waits_for_a_listener_keeps_its_pace_and_hides_what_is_to_come(tmp_path: Path) -> None:
    with running_exchange(tmp_path, sim_play=archive(tmp_path, 10_000, gap_ms=100), sim_speed=20) as exchange:
        assert exchange.get("/api/v3/aggTrades?symbol=BTCUSDT") == []
        with exchange.connected("/stream?streams=btcusdt@trade"):  # the file has none of these
            assert exchange.get("/sim/state")["symbols"]["BTCUSDT"]["position"] == 0
        started_s = time.monotonic()
        with exchange.connected("/ws/btcusdt@aggTrade") as client:
            seen = events(client, 400)
        took_s = time.monotonic() - started_s
        assert [event["a"] for event in seen] == list(range(7000, 7400))
        assert 1.8 < took_s < 30  # 400 rows, 100 ms apart, 20 times faster: not 40 s
        assert exchange.get("/api/v3/aggTrades?symbol=BTCUSDT&fromId=16900") == []


@pytest.mark.process
def test_nothing_is_lost_over_disconnects_and_a_kill_9_at_full_speed(tmp_path: Path) -> None:
    rows = 40_000
    path = archive(tmp_path, rows)
    seen: dict[int, str] = {}
    with running_exchange(tmp_path, sim_play=path, sim_speed="max") as exchange:
        _watch(exchange, seen, until=7400)
        _watch(exchange, seen, until=max(seen) + 1)
        exchange.stop(signal.SIGKILL)
        exchange.start()
        if not exchange.get("/sim/state")["symbols"]["BTCUSDT"]["ended"]:
            _watch(exchange, seen, until=7000 + rows - 1)
        missed = [agg_id for agg_id in range(7000, 7000 + rows) if agg_id not in seen]
        for row in exchange.history("/api/v3/aggTrades?symbol=BTCUSDT", "a", 7000, 7000 + rows - 1) if missed else ():
            seen.setdefault(row["a"], as_row(row))
    assert [seen[agg_id] for agg_id in range(7000, 7000 + rows)] == path.read_text().splitlines()


def _watch(exchange: RunningExchange, seen: dict[int, str], until: int) -> None:
    """Take note of rows as they come, up to the first from id `until` on; then hang up in the middle of the flood."""
    with exchange.connected(AGGS_US) as client:
        newest = 0
        while newest < until:
            event = events(client, 1)[0]
            newest = event["a"]
            seen[newest] = as_row(event)
