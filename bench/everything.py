"""`python -m bench.everything`: every bench one after the other, at sizes that end within a quarter of an hour; one table.

A bench that fails is told as such, with the end of what it said, and the others go on; the exit code is then 1.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
from rich.console import Console
from rich.table import Table

from ops.house import ROOT

#: Bench -> its arguments here.
BENCHES: dict[str, tuple[str, ...]] = {
    "pipeline": (),
    "websocket": (),
    "latency": (),
    "bars": (),
    "pairs": (),
    "web": ("--seconds", "20"),
    "reads": ("--ticks", "500000", "--seconds", "3"),
    "growth": (),
    "alerts": ("--seconds", "10", "--runs", "3"),
    "peers": (),
}
LONGEST_S = 400
COLUMNS = ("bench", "figure", "of what", "target", "met")


class Headline(NamedTuple):
    """A figure of the table. `target` None: there is none; `least`: it is to be that at least, else at most."""

    bench: str
    path: str
    says: str
    target: float | None = None
    least: bool = False


HEADLINES = (
    Headline("pipeline", "trades_per_s", "trades/s, from the first message parsed to the last bar committed", 100_000, True),
    Headline("pipeline", "ratio_to_copy", "of the rate of a bare COPY", 0.55, True),
    Headline("pipeline", "cpu_us_per_trade.total", "us of CPU a trade, all processes", 12),
    Headline("websocket", "feed_us", "us of CPU a message in the producer", 18),
    Headline("websocket", "ratio_to_bare", "of a bare loop of recv and JSON"),
    Headline("latency", "to_committed_ms.p50", "ms from the exchange to the committed tick, p50", 25),
    Headline("latency", "to_committed_ms.p99", "the same, p99", 60),
    Headline("latency", "to_sse_ms.p99", "ms from the exchange to the bar on SSE, p99", 150),
    Headline("latency", "close_to_alert_ms.p99", "ms from a bar's close to its alert event, p99", 50),
    Headline("bars", "total_us", "us of CPU a trade, entry to bars of three timeframes", 1.5),
    Headline("bars", "core_us", "of these, after the parse"),
    Headline("bars", "peers.pandas.ready_columns_us", "pandas, from ready columns"),
    Headline("bars", "peers.polars.ready_columns_us", "polars, from ready columns, floats"),
    Headline("bars", "peers.nautilus_trader.aggregate_us", "NautilusTrader, from ready ticks, one timeframe"),
    Headline("bars", "rebuild.ticks_per_s", "ticks/s rebuilt into bars by SQL", 1_000_000, True),
    Headline("pairs", "all_rolling_us", "us a pair and bar: three estimators, all statistics"),
    Headline("web", "gets_ms_without.p99", "ms a GET of bars, p99, without listeners"),
    Headline("web", "gets_ms_with.p99", "the same beside live streams"),
    Headline("reads", "ours.bars.per_s", "GETs/s of 500 bars, 20 clients at once"),
    Headline("reads", "ours.bars.ms.p99", "ms of such a GET, p99"),
    Headline("reads", "fastapi.bars.ours_per_s_ratio", "times the rate of FastAPI + asyncpg + orjson, bars", 1, True),
    Headline("reads", "fastapi.ticks.ours_per_s_ratio", "the same, 500 ticks", 1, True),
    Headline("reads", "fastapi.stats.ours_per_s_ratio", "the same, stats/", 1, True),
    Headline("growth", "stored.cost_ratio", "cost of a trade beside stored ticks, of an empty table's", 1.2),
    Headline("growth", "symbols.cost_ratio", "cost of a trade with 1,000 symbols, of ten's", 1.5),
    Headline("growth", "backlog.trades_per_s", "trades/s while a long backlog drains"),
    Headline("alerts", "close_to_webhook_ms.p99", "ms from a bar's close to the webhook received, p99"),
    Headline("peers", "ours.total_us", "us of CPU a trade: ours, from the message's text to bars"),
    Headline("peers", "cryptofeed, Redis stream.total_us", "cryptofeed into a Redis stream, no more"),
    Headline("peers", "cryptofeed, PostgreSQL.total_us", "cryptofeed into PostgreSQL, no more"),
    Headline("peers", "Celery and Django, ticks.total_us", "Celery and Django's bulk_create, no more"),
    Headline("peers", "Celery and Django, ticks and bars.total_us", "the same with bars"),
)


def run_all(benches: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Each bench's object, by name; `failed` where it has none."""
    found: dict[str, Any] = {"machine": machine()}
    for name, arguments in benches.items():
        began_s = time.monotonic()
        found[name] = run_one(name, arguments)
        told = found[name].get("failed", "done")
        click.echo(f"{name:10} {time.monotonic() - began_s:5.0f} s  {told}", err=True)
    return found


def run_one(name: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """One bench as a process of its own, so that what it leaves behind is nobody's."""
    command = [sys.executable, "-m", f"bench.{name}", *arguments, "--json"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {LONGEST_S} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def machine() -> dict[str, Any]:
    """What it ran on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def figure(found: dict[str, Any], headline: Headline) -> float | str:
    """The figure, or why there is none."""
    told: Any = found.get(headline.bench, {"failed": "not run"})
    for part in headline.path.split("."):
        if "failed" in told or "not installed" in told:
            return str(told.get("failed") or told["not installed"])
        told = told.get(part, {"failed": "not told"})
    return told if isinstance(told, int | float) else str(told)


def met(value: float | str, headline: Headline) -> str:
    """`yes`, `no`, or nothing where there is no target or no figure.

    >>> met(0.6, Headline("pipeline", "ratio_to_copy", "", 0.55, True)), met(13.0, Headline("pipeline", "total", "", 12))
    ('yes', 'no')
    """
    if headline.target is None or isinstance(value, str):
        return ""
    return "yes" if (value >= headline.target if headline.least else value <= headline.target) else "no"


def rows_of(found: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Of each headline: bench, figure, what it says, target, met."""
    rows = []
    for headline in HEADLINES:
        value = figure(found, headline)
        sign = "at least" if headline.least else "at most"
        target = "" if headline.target is None else f"{sign} {headline.target:,}"
        shown = value if isinstance(value, str) else f"{value:,}"
        rows.append((headline.bench, shown, headline.says, target, met(value, headline)))
    return rows


def title_of(found: dict[str, Any]) -> str:
    """What it ran on."""
    told = found["machine"]
    return f"{told['cores']} cores of {told['cpu']}, {told['memory_gb']} GB, Python {told['python']}"


def table_of(found: dict[str, Any]) -> Table:
    """The headlines, with their targets."""
    table = Table(*COLUMNS, title=title_of(found))
    for row in rows_of(found):
        table.add_row(*row)
    return table


def markdown_of(found: dict[str, Any]) -> str:
    """The same, for docs/performance.md."""
    lines = [f"{title_of(found)}:", "", f"| {' | '.join(COLUMNS)} |", "|---|---:|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows_of(found))])


@click.command()
@click.option("--only", default="", help="Some of them, with commas between.")
@click.option("--markdown", is_flag=True, help="The table in Markdown, as docs/performance.md has it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(only: str, markdown: bool, as_json: bool) -> None:
    """Run all benches."""
    wanted = [name.strip() for name in only.split(",") if name.strip()] or list(BENCHES)
    if unknown := [name for name in wanted if name not in BENCHES]:
        raise click.BadParameter(f"{', '.join(unknown)} is none of {', '.join(BENCHES)}", param_hint="--only")
    found = run_all({name: BENCHES[name] for name in wanted})
    if as_json:
        click.echo(json.dumps(found))
    else:
        Console().print(markdown_of(found) if markdown else table_of(found), soft_wrap=markdown)
    sys.exit(any("failed" in each for each in found.values()))


if __name__ == "__main__":
    main()
