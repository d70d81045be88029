"""`python -m bench.websocket`: what a message costs the live feed, from the socket to the entry in the stream.

A real simulated exchange in a process of its own plays a recorded day as fast as it is read; a producer process takes it to
a private Redis, by each of the libraries that GEMS_WS_CLIENT names. Beside it, in the same run and from the same exchange: a
bare loop of websocket-client's `recv` and `orjson.loads`, which is the least that any client of this library does. With
`--processes N`, N exchanges of a symbol each and N producers at the same time, each into a stream of its own.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import click
import orjson
import psutil
import redis
import urllib3
import websocket

from bench.feed import USUAL_SHARE
from bench.memory import MemoryMeter
from bench.report import several, show
from common.settings import Settings
from common.streams import connect_redis
from ops.embedded import PrivateServers
from ops.house import ROOT
from ops.migrate import migrate

Client = Literal["websocket-client", "picows"]
SYMBOL = "BTCUSDT"
CLIENTS: tuple[Client, ...] = get_args(Client)
DEADLINE_S = 300.0


def measure(messages: int, clients: Sequence[Client], processes: int) -> dict[str, Any]:
    """Run once; answers the figures: the first client's, and below its name each other one's."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        files = [_played(folder, symbol, messages) for symbol in _symbols(processes)]
        with PrivateServers(folder) as servers:
            bare_us = _bare(folder / "bare", files[0], messages)
            found = {client: _feeds(servers, folder / client, files, messages, client) for client in clients}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    first, *others = found.values()
    return {"messages": messages, "bare_us": bare_us, **first, **dict(zip(clients[1:], others, strict=True))}


def _symbols(count: int) -> list[str]:
    return [SYMBOL, *(f"SYM{number}USDT" for number in range(1, count))]


def _played(folder: Path, symbol: str, messages: int) -> Path:
    file = folder / f"{symbol}-aggTrades-2024-01-01.csv"
    file.write_text("".join(map(_line, range(messages))))
    return file


def _line(number: int) -> str:
    """A row of an archive file; prices and sizes repeat about as much as real ones do (`bench.feed.USUAL_SHARE`)."""
    price, size = 4_300_000 + number * 7919 % 3001, 1 + number * 104_729 % 99_999
    if number % 100 < 100 * USUAL_SHARE:
        size = 1 + size % 4_000 * 7
    stamp_ms = 1_704_067_200_000 + number * 2
    return f"{number},{price // 100}.{price % 100:02d}000000,0.{size:05d}000,{number},{number},{stamp_ms},True,True\n"


@contextmanager
def _exchange(folder: Path, file: Path) -> Iterator[int]:
    """The port of an exchange that plays the file at full speed."""
    folder.mkdir(parents=True)
    symbol = _symbol_of(file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    given = {"DATA_DIR": folder, "SIM_PORT": port, "SIM_PLAY": file, "SIM_SPEED": "max", "SYMBOLS": symbol, "PAIRS": ""}
    process = _started("ops.exchange", {f"GEMS_{name}": str(value) for name, value in given.items()}, folder)
    try:
        _wait(lambda: _answers(port), "the exchange")
        yield port
    finally:
        process.kill()
        process.wait()


def _symbol_of(file: Path) -> str:
    return file.name.partition("-")[0]


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/api/v3/ping", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _started(module: str, environ: dict[str, str], folder: Path) -> "subprocess.Popen[bytes]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("GEMS_")} | environ
    with (folder / f"{module}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=own, stderr=log)


def _wait(reached: Any, what: str) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not reached():
        if time.monotonic() > until_s:
            raise TimeoutError(f"no {what} after {DEADLINE_S:g} s")
        time.sleep(0.02)


def _bare(folder: Path, file: Path, messages: int) -> float:
    """CPU microseconds a message of recv and JSON alone."""
    with _exchange(folder, file) as port:
        url = f"ws://127.0.0.1:{port}/stream?streams={SYMBOL.lower()}@aggTrade&timeUnit=MICROSECOND"
        client = websocket.create_connection(url, skip_utf8_validation=True)
        began_s = time.process_time()
        for _ in range(messages):
            orjson.loads(client.recv())
        used_s = time.process_time() - began_s
        client.shutdown()  # type: ignore[no-untyped-call]
    return round(used_s / messages * 1e6, 2)


def _feeds(servers: PrivateServers, folder: Path, files: Sequence[Path], messages: int, client: Client) -> dict[str, Any]:
    """A producer for each file, all at the same time."""
    name = f"gems_bench_{client.replace('-', '_')}"
    migrate(servers.postgres_url(name))
    with ExitStack() as stack:
        producers = []
        for number, file in enumerate(files):
            port = stack.enter_context(_exchange(folder / str(number), file))
            urls = {"database_url": servers.postgres_url(name), "redis_url": servers.redis_url(number)}
            feed = {"symbols": (_symbol_of(file),), "pairs": (), "feed_kind": "aggTrade", "history": "0", "ws_client": client}
            settings = Settings.from_env({}, data_dir=folder / str(number), sim_port=port, **urls, **feed)
            redis_client = stack.enter_context(connect_redis(settings))
            redis_client.flushdb()
            producers.append((redis_client, settings))
        return _watch(producers, messages)


def _watch(producers: Sequence[tuple[redis.Redis, Settings]], messages: int) -> dict[str, Any]:
    """From the first entry of all to the last of all; the trades that came before the first look are some batches."""
    clients = [client for client, _ in producers]
    processes = [_started("producer", settings.to_env(), settings.data_dir) for _, settings in producers]
    try:
        with MemoryMeter({f"producer_{number}": process.pid for number, process in enumerate(processes)}) as memory:
            _wait(lambda: all(client.exists("trades") for client in clients), "first entry")
            began_s, before_s, first = time.monotonic(), _used_s(processes), sum(map(_last_id, clients))
            _wait(lambda: all(_last_id(client) == messages - 1 for client in clients), "last trade")
            took_s, used_s = time.monotonic() - began_s, _used_s(processes) - before_s
            peak_mb = memory.peak_mb()
        entries = sum(int(client.xlen("trades")) for client in clients)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
    read = len(clients) * (messages - 1) - first
    return {
        "feed_us": round(used_s / read * 1e6, 2),
        "messages_per_s": round(read / took_s),
        "rows_per_entry": round(len(clients) * messages / entries),
        "peak_mb": peak_mb,
    }


def _used_s(processes: "Sequence[subprocess.Popen[bytes]]") -> float:
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def _last_id(client: redis.Redis) -> int:
    found: Any = client.xrevrange("trades", count=1)
    return int(found[0][1][b"rows"].decode().splitlines()[-1].split(",")[1]) if found else -1


@click.command()
@click.option("--messages", default=400_000, show_default=True, help="How many trades are played.")
@click.option("--client", type=click.Choice(CLIENTS), help="One of the libraries instead of both.")
@click.option("--processes", default=1, show_default=True, help="So many exchanges and producers at the same time.")
@click.option("--runs", default=3, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(messages: int, client: Client | None, processes: int, runs: int, as_json: bool) -> None:
    """Measure the live feed on private servers."""
    found = several(lambda: measure(messages, [client] if client else CLIENTS, processes), runs)
    found["ratio_to_bare"] = round(found["feed_us"] / found["bare_us"], 3)
    show("Live feed: us of CPU a message", found, as_json)


if __name__ == "__main__":
    main()
