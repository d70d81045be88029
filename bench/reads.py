"""`python -m bench.reads`: GETs of 500 bars, of 500 ticks and of the totals over millions of ticks, with 20 clients at once.

Private servers with fsync on, ticks made by the server, bars by the rebuild, and the web as it is started in earnest. Beside it
in the same run: FastAPI, asyncpg and orjson with one uvicorn worker on the same rows, and a bare loop of psycopg2 that fetches
them without HTTP or JSON. All of them must answer the same rows. They are asked in turn, in several rounds, and the medians are
told: a shared core changes from minute to minute. The clients are a process of their own, whose share is told.
"""

import multiprocessing
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import click
import orjson
import requests

from bench.backlog import a_house
from bench.bareread import looped
from bench.cpu import CpuMeter
from bench.report import medians, show
from bench.requesters import Asked, figures, request
from bench.stock import SYMBOLS, fill
from bench.venv import NoPeer, a_peer, ensure_peers
from common.codec import parse_iso_us
from ops.embedded import PrivateServers
from tests.pipeline import Pipeline
from tests.web.streams import running_web

LIMIT = 500
WARM_S = 1.0
ROUTES = {
    "bars": f"/api/ingestion/bars/?symbol=SYM0USDT&timeframe=1s&limit={LIMIT}",
    "ticks": f"/api/ingestion/ticks/?symbol=SYM0USDT&limit={LIMIT}",
    "stats": "/api/ingestion/stats/",
}
_SPAWN = multiprocessing.get_context("spawn")


def measure(ticks: int, per_s: int, clients: int, seconds: float, rounds: int, peers: bool) -> dict[str, Any]:
    """Run once; answers the medians of the rounds by program and route."""
    missing = ensure_peers() if peers else {}
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            pipeline = a_house(servers, "gems_reads", folder, SYMBOLS)
            try:
                bars = fill(pipeline, ticks, per_s)
                asking = _Asking(servers, clients, seconds)
                told = list[dict[str, Any]]()
                for _ in range(rounds):
                    found = {"ours": _ours(pipeline, asking), "psycopg2": looped(pipeline, servers, LIMIT, seconds)}
                    if peers:
                        found["fastapi"] = _theirs(pipeline, asking, missing.get("fastapi"))
                    told.append(compared(found))
                return {"ticks": ticks, "bars": bars, "clients": clients, "rounds": rounds, **medians(told)}
            finally:
                pipeline.database.close()
                pipeline.client.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Asking:
    """How each program is asked: by how many clients, for how long, with a meter on it and on PostgreSQL."""

    def __init__(self, servers: PrivateServers, clients: int, seconds: float) -> None:
        self._postgres = servers.processes["postgres"].pid
        self._clients, self._seconds = clients, seconds

    def routes(self, port: int, pid: int) -> dict[str, Any]:
        """Of each route the figures and the rows."""
        return {name: {**self._one(port, pid, path), "rows": rows_of(port, path)} for name, path in ROUTES.items()}

    def _one(self, port: int, pid: int, path: str) -> dict[str, Any]:
        ours, theirs = _SPAWN.Pipe()
        arguments = (port, path, self._clients, WARM_S, self._seconds, theirs)
        process = _SPAWN.Process(target=request, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            self._expect(ours.recv(), str)
            meter = CpuMeter({"web": pid, "postgres": self._postgres})
            asked = self._expect(ours.recv(), Asked)
            return figures(asked, meter.used_s())
        finally:
            process.kill()
            process.join()

    @staticmethod
    def _expect(told: Any, kind: type) -> Any:
        if not isinstance(told, kind) or (kind is str and told != "began"):
            raise AssertionError(f"the clients failed: {told}")
        return told


def rows_of(port: int, path: str) -> Any:
    """What is answered, stamps as whole microseconds and without what names the program's own cursor."""
    answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=60)
    answer.raise_for_status()
    told = orjson.loads(answer.content)
    rows = told.get("bars", told.get("ticks"))
    return told if rows is None else [{**row, "timestamp": parse_iso_us(row["timestamp"])} for row in rows]


def _ours(pipeline: Pipeline, asking: _Asking) -> dict[str, Any]:
    with running_web(pipeline.settings) as (port, web):
        return asking.routes(port, web.pid)


def _theirs(pipeline: Pipeline, asking: _Asking, missing: str | None) -> dict[str, Any]:
    if missing:
        return {"not installed": missing}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        with a_peer("fastapi_reads", str(port), str(pipeline.settings.database_url)) as peer:
            return asking.routes(port, peer.pid)
    except NoPeer as exc:
        return {"failed": str(exc)}


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Without the rows, once they are the same everywhere; each other program with its figures as parts of ours.

    Raises:
        AssertionError: a program answers other rows.
    """
    ours = found["ours"]
    rows = {name: ours[name].pop("rows") for name in ROUTES}
    for program, routes in found.items():
        for name in ROUTES if program != "ours" and ROUTES.keys() <= routes.keys() else ():
            told = routes[name]
            if told.pop("rows") != rows[name]:
                raise AssertionError(f"{name}: {program} answers other rows than ours")
            told["ours_per_s_ratio"] = round(ours[name]["per_s"] / told["per_s"], 2)
            told["ours_cpu_ratio"] = round(ours[name]["cpu_us"]["total"] / told["cpu_us"]["total"], 2)
    return found


@click.command()
@click.option("--ticks", default=1_000_000, show_default=True, help="Ticks that are stored.")
@click.option("--per-s", default=100, show_default=True, help="Ticks a second of event time, all symbols together.")
@click.option("--clients", default=20, show_default=True, help="Clients that ask at once, each again as soon as it is answered.")
@click.option("--seconds", default=5.0, show_default=True, help="Seconds that each route of each program is asked.")
@click.option("--rounds", default=3, show_default=True, help="How often all programs are asked in turn; the medians are told.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Also FastAPI with asyncpg.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(ticks: int, per_s: int, clients: int, seconds: float, rounds: int, peers: bool, as_json: bool) -> None:
    """Measure reads on private servers."""
    show("Reads: 500 rows a request", measure(ticks, per_s, clients, seconds, rounds, peers), as_json)


if __name__ == "__main__":
    main()
