"""`bars.py COLUMNS.npz ROWS.csv`: 1s bars of the same trades by polars and NautilusTrader."""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

SECOND_NS = 1_000_000_000


def main(columns_path: str, csv_path: str) -> None:
    """Measure both; microseconds of CPU a trade."""
    columns = dict(np.load(columns_path))
    found: dict[str, Any] = {}
    for name, measure in (("polars", _polars), ("nautilus_trader", _nautilus)):
        try:
            found[name] = {"version": version(name), **measure(columns, csv_path)}
        except Exception as exc:  # one peer that fails must not hide the other
            found[name] = {"failed": f"{type(exc).__name__}: {exc}"}
    print(json.dumps(found))


def _polars(columns: dict[str, Any], csv_path: str) -> dict[str, Any]:
    import polars as pl

    def bars(frame: Any) -> Any:
        price, size = pl.col("price"), pl.col("size")
        made = frame.group_by_dynamic("stamp", every="1s", group_by="symbol").agg(
            open=price.first(), high=price.max(), low=price.min(), close=price.last(), volume=size.sum(), n=pl.len()
        )
        for every in ("1m", "5m"):
            made.group_by_dynamic("stamp", every=every, group_by="symbol").agg(
                pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(), pl.col("volume").sum(),
                pl.col("n").sum(),
            )  # fmt: skip
        return made

    def from_csv() -> Any:
        names = ["symbol", "trade_id", "stamp", "price", "size", "side", "seq"]
        rows = pl.read_csv(csv_path, has_header=False, new_columns=names, schema_overrides={"column_7": pl.Utf8})
        return bars(rows.with_columns(pl.col("stamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ")).sort("symbol", "stamp"))

    ready = pl.DataFrame({
        "symbol": columns["symbol"], "stamp": pl.Series(columns["event_us"]).cast(pl.Datetime("us")),
        "price": columns["price"] / 100, "size": columns["size"] / 1e5,
    })  # fmt: skip
    rows = ready.height
    made, ready_us = _quickest(lambda: bars(ready), rows)
    _, csv_us = _quickest(from_csv, rows)
    return {"bars": made.height, "ready_columns_us": ready_us, "from_csv_us": csv_us}


def _nautilus(columns: dict[str, Any], csv_path: str) -> dict[str, Any]:
    from nautilus_trader.common.component import TestClock
    from nautilus_trader.data.aggregation import TimeBarAggregator
    from nautilus_trader.model.data import BarType, TradeTick
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    instrument = TestInstrumentProvider.btcusdt_binance()
    bar_type = BarType.from_str(f"{instrument.id}-1-SECOND-LAST-INTERNAL")
    made: list[Any] = []
    rows, making_s, aggregating_s = len(columns["symbol"]), 0.0, 0.0
    for symbol in np.unique(columns["symbol"]):
        mine = columns["symbol"] == symbol
        stamps = (columns["event_us"][mine] * 1000).astype(np.uint64)
        texts = [str(each) for each in columns["trade_id"][mine].tolist()]
        began_s = time.process_time()
        ticks = TradeTick.from_raw_arrays_to_list(
            instrument.id, 2, 6, columns["price"][mine] / 100, columns["size"][mine] / 1e5,
            np.where(columns["buy"][mine], 1, 2).astype(np.uint8), texts, stamps, stamps,
        )  # fmt: skip
        making_s += time.process_time() - began_s
        clock = TestClock()
        clock.set_time(int(stamps[0]) // SECOND_NS * SECOND_NS)
        aggregator = TimeBarAggregator(
            instrument, bar_type, made.append, clock,
            interval_type="right-open", timestamp_on_close=False, build_with_no_updates=False,
        )  # fmt: skip
        began_s = time.process_time()
        _aggregate(aggregator, clock, ticks)
        aggregating_s += time.process_time() - began_s
    return {
        "bars": len(made),
        "aggregate_us": round(aggregating_s / rows * 1e6, 3),
        "make_ticks_us": round(making_s / rows * 1e6, 3),
    }


def _aggregate(aggregator: Any, clock: Any, ticks: list[Any]) -> None:
    """The clock is asked only where a second ends, which is less than its own engine does."""
    handle = aggregator.handle_trade_tick
    due_ns = ticks[0].ts_event // SECOND_NS * SECOND_NS + SECOND_NS
    for tick in ticks:
        if tick.ts_event >= due_ns:
            for event in clock.advance_time(tick.ts_event // SECOND_NS * SECOND_NS):
                event.handle()
            due_ns = tick.ts_event // SECOND_NS * SECOND_NS + SECOND_NS
        handle(tick)
    for event in clock.advance_time(due_ns):
        event.handle()


def _quickest(run: Callable[[], Any], rows: int) -> tuple[Any, float]:
    """What it made, and CPU microseconds a row: the quickest of three."""
    spent, made = [], None
    for _ in range(3):
        began_s = time.process_time()
        made = run()
        spent.append(time.process_time() - began_s)
    return made, round(min(spent) / rows * 1e6, 3)


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    main(*sys.argv[1:])
