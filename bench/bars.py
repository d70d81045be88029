"""`python -m bench.bars`: what a trade costs on its way into bars, alone: the aggregator's core, and the rebuild by SQL.

The core reads entries as they stand in the stream and makes exact bars of three timeframes. Beside it in the same run: numpy's
`reduceat` on ready, sorted columns of one timeframe (the ceiling), pandas, polars and NautilusTrader; these sum floats. Its bars
are compared with numpy's. The rebuild makes them from `raw_ticks` on a private PostgreSQL, and its bars must be the core's.
"""

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from psycopg2.extensions import connection as Connection

from aggregator.abreast import helping_sessions, rebuild_abreast
from aggregator.bars import Bars, concatenate
from aggregator.barstore import BarLeaves, Settled
from aggregator.core import Core
from aggregator.rebuild import Span, rebuild
from bench.backlog import a_house, make_leaves, names_of
from bench.cpu import CpuMeter
from bench.feed import SRC, entries_of, made_rows
from bench.report import several, show
from bench.venv import NoPeer, a_peer, ensure_peers
from common.columns import Columns, read_entries
from common.judge import Limits
from common.settings import Settings
from common.streams import Entry, EntryId
from ops.embedded import PrivateServers
from tests.pipeline import Pipeline

Array = np.ndarray[Any, Any]
TIMEFRAMES = ("1s", "1m", "5m")
CHUNK_ENTRIES = 50
COPY_ROWS = 50_000
SECOND_US = 1_000_000


def measure(trades: int, symbols: int, per_s: int, peers: bool) -> dict[str, Any]:
    """Run once; answers the figures, microseconds of CPU a trade where the name ends so."""
    rows = made_rows(trades, symbols, per_s)
    entries = _entries(rows)
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        ours, bars, columns = _ours(entries)
        ceiling_us = _numpy_us(columns, bars)
        found = {**ours, "numpy_reduceat_us": ceiling_us, "ratio_to_numpy": round(ours["core_us"] / ceiling_us, 2)}
        peers_us = {"pandas": _pandas(columns, rows), **(_foreign(folder, rows, columns) if peers else {})}
        return {
            "trades": trades,
            "symbols": symbols,
            **found,
            "peers": peers_us,
            "rebuild": _rebuilt(folder, rows, symbols, bars),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _entries(rows: list[str]) -> list[Entry]:
    now_ms = time.time_ns() // 1_000_000
    return [Entry(EntryId(now_ms, at), SRC, text.encode()) for at, (_, text) in enumerate(entries_of(rows, 1000))]


def _ours(entries: list[Entry]) -> tuple[dict[str, Any], Bars, Columns]:
    """Figures, the 1s bars, and the columns of all trades in the order of the stream."""
    limits, core = Limits.of(Settings.from_env({})), Core(TIMEFRAMES, lateness_ms=500)
    closed, batches, reading_s, core_s, began_s = list[Bars](), list[Columns](), 0.0, 0.0, time.monotonic()
    for at in range(0, len(entries), CHUNK_ENTRIES):
        part = entries[at : at + CHUNK_ENTRIES]
        at_s = time.process_time()
        columns = read_entries(part, limits).columns
        read_s = time.process_time()
        # every entry is of one moment, as in a backlog: no time passes for a quiet symbol
        arrived_ms = np.full(len(columns), part[-1].id.ms)
        outcome = core.on_trades(columns, arrived_ms, part[-1].id.ms)
        reading_s, core_s = reading_s + read_s - at_s, core_s + time.process_time() - read_s
        assert not outcome.marks, f"a bar could not be proved: {outcome.marks[0]}"
        closed += [outcome.closed["1s"].bars] if "1s" in outcome.closed else []
        batches.append(columns)
    took_s, trades = time.monotonic() - began_s, sum(map(len, batches))
    figures = {
        "trades_per_s": round(trades / took_s),
        "read_us": round(reading_s / trades * 1e6, 3),
        "core_us": round(core_s / trades * 1e6, 3),
        "total_us": round((reading_s + core_s) / trades * 1e6, 3),
    }
    return figures, concatenate(*closed, core.open["1s"]), _joined(batches, core.symbols.codes)


def _joined(batches: Sequence[Columns], codes: dict[str, int]) -> Columns:
    """All of them, with the core's codes for symbols."""
    symbol = np.concatenate([np.array([codes[name] for name in each.symbols])[each.symbol] for each in batches])
    rest = {
        name: np.concatenate([getattr(each, name) for each in batches])
        for name in ("trade_id", "event_us", "price", "price_scale", "size", "size_scale", "buy", "seq", "entry")
    }
    return Columns(symbols=list(codes), symbol=symbol, **rest)


def _numpy_us(columns: Columns, bars: Bars) -> float:
    """The ceiling: open, high, low, close, volume and count of 1s bars of sorted columns; they must be the core's."""
    order = np.lexsort((columns.trade_id, columns.event_us, columns.symbol))
    symbol, event_us = columns.symbol[order], columns.event_us[order]
    price, size = columns.price[order], columns.size[order]

    def reduced() -> list[Array]:
        bucket = event_us // SECOND_US
        first = np.flatnonzero(np.concatenate(([True], (bucket[1:] != bucket[:-1]) | (symbol[1:] != symbol[:-1]))))
        last = np.append(first[1:], len(symbol)) - 1
        high, low, volume = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first), np.add.reduceat(size, first)
        return [symbol[first], bucket[first] * SECOND_US, price[first], high, low, price[last], volume, last - first + 1]

    took_us, found = _quickest(reduced, len(symbol))
    ours = bars.take(np.lexsort((bars.start_us, bars.symbol)))
    for name, column in zip(("symbol", "start_us", "open", "high", "low", "close", "volume", "count"), found, strict=True):
        assert np.array_equal(getattr(ours, name), column), f"{name} of the core's bars is not numpy's"
    return took_us


def _pandas(columns: Columns, rows: list[str]) -> dict[str, Any]:
    import pandas as pd

    def bars(frame: Any) -> Any:
        how = {"price": ["first", "max", "min", "last"], "size": ["sum", "count"]}
        made = frame.groupby("symbol").resample("1s").agg(how)
        made.columns = ["open", "high", "low", "close", "volume", "n"]
        rolled = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "n": "sum"}
        for every in ("1min", "5min"):
            made.reset_index("symbol").groupby("symbol").resample(every).agg(rolled)
        return made

    def from_csv() -> Any:
        names = ["symbol", "trade_id", "stamp", "price", "size", "side", "seq"]
        frame = pd.read_csv(io.StringIO("".join(rows)), header=None, names=names, parse_dates=["stamp"], index_col="stamp")
        return bars(frame.sort_index()[["symbol", "price", "size"]])

    stamps = pd.to_datetime(columns.event_us, unit="us")
    ready = pd.DataFrame({"symbol": columns.symbol, "price": columns.price / 100, "size": columns.size / 1e5}, index=stamps)
    ready_us, made = _quickest(lambda: bars(ready), len(rows))
    csv_us, _ = _quickest(from_csv, len(rows), times=1)
    return {"version": pd.__version__, "bars": int((made["n"] > 0).sum()), "ready_columns_us": ready_us, "from_csv_us": csv_us}


def _foreign(folder: Path, rows: list[str], columns: Columns) -> dict[str, Any]:
    """polars and NautilusTrader in their own venv, one thread."""
    missing = ensure_peers()
    order = np.lexsort((columns.trade_id, columns.event_us, columns.symbol))
    kept = {name: getattr(columns, name)[order] for name in ("symbol", "trade_id", "event_us", "price", "size", "buy")}
    np.savez(folder / "columns.npz", **kept)
    (folder / "rows.csv").write_text("".join(rows))
    try:
        with a_peer("bars", str(folder / "columns.npz"), str(folder / "rows.csv"), environ={"POLARS_MAX_THREADS": "1"}) as peer:
            found = peer.go()
    except NoPeer as exc:
        found = {name: {"failed": str(exc)} for name in ("polars", "nautilus_trader")}
    return {**found, **{name: {"not installed": why} for name, why in missing.items() if name in found}}


def _rebuilt(folder: Path, rows: list[str], symbols: int, bars: Bars) -> dict[str, Any]:
    """From stored ticks, all timeframes, as many symbols at once as the settings say."""
    with PrivateServers(folder) as servers:
        pipeline = a_house(servers, "gems_rebuild", folder, symbols)
        try:
            first_us, last_us = int(bars.start_us.min()), int(bars.start_us.max())
            make_leaves(pipeline.database, first_us, last_us)
            _store(pipeline, rows)
            meter, began_s = CpuMeter({"postgres": servers.processes["postgres"].pid}), time.monotonic()
            sessions = pipeline.settings.rebuild_sessions
            with helping_sessions(pipeline.settings, sessions - 1) as helping:
                spans = [[Span(name, first_us, last_us)] for name in names_of(symbols)]
                rebuild_abreast([pipeline.database, *helping], spans, _rebuild, lambda _: True)
            took_s, cpu_s = time.monotonic() - began_s, meter.used_s()["postgres"]
            _check(pipeline, bars)
            per_s, postgres_us = round(len(rows) / took_s), round(cpu_s / len(rows) * 1e6, 3)
            return {"ticks_per_s": per_s, "postgres_us": postgres_us, "sessions": sessions}
        finally:
            pipeline.database.close()


def _rebuild(connection: Connection, span: Span) -> list[Settled]:
    return rebuild(connection, BarLeaves(), span, TIMEFRAMES, span.last_us + 600 * SECOND_US, 1)


def _store(pipeline: Pipeline, rows: list[str]) -> None:
    with pipeline.database, pipeline.database.cursor() as cursor:
        for at in range(0, len(rows), COPY_ROWS):
            cursor.copy_expert("COPY raw_ticks FROM STDIN (FORMAT csv)", io.StringIO("".join(rows[at : at + COPY_ROWS])))
        cursor.execute("ANALYZE raw_ticks")


def _check(pipeline: Pipeline, bars: Bars) -> None:
    """Count and volume of the rebuilt 1s bars are the core's."""
    count, ticks, volume = pipeline.rows(
        "SELECT count(*), sum(tick_count), sum(volume) * 100000 FROM processed_bars WHERE timeframe = '1s'"
    )[0]
    expected = (len(bars), int(bars.count.sum()), int(bars.volume.sum()))
    assert (count, ticks, int(volume)) == expected, f"{(count, ticks, volume)} rebuilt, {expected} by the core"


def _quickest(run: Callable[[], Any], rows: int, times: int = 3) -> tuple[float, Any]:
    """CPU microseconds a row, the quickest of some, and what it made."""
    spent, made = [], None
    for _ in range(times):
        began_s = time.process_time()
        made = run()
        spent.append(time.process_time() - began_s)
    return round(min(spent) / rows * 1e6, 3), made


@click.command()
@click.option("--trades", default=1_000_000, show_default=True)
@click.option("--symbols", default=10, show_default=True)
@click.option("--per-s", default=5_000, show_default=True, help="Trades a second of event time: fewer make more bars.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Also polars and NautilusTrader.")
@click.option("--runs", default=3, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(trades: int, symbols: int, per_s: int, peers: bool, runs: int, as_json: bool) -> None:
    """Measure bars of trades."""
    show("Bars: us of CPU a trade", several(lambda: measure(trades, symbols, per_s, peers), runs), as_json)


if __name__ == "__main__":
    main()
