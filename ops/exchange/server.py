"""The exchange as a process: sockets, clocks and the loop that trades; what is said on them is decided elsewhere."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from common.errors import ConfigError
from common.lifecycle import Stop
from common.log import get_logger
from common.settings import Settings
from ops.exchange.faults import changed
from ops.exchange.hub import GOING_AWAY, POLICY, Connection, Hub
from ops.exchange.play import PlayTape
from ops.exchange.protocol import Request, Wire, request
from ops.exchange.rest import RestApi
from ops.exchange.trading import now_us, play, walk
from ops.exchange.walk import WalkTape

HOUSE_S = 0.1
NOTICE_S = 10.0
CLOSE_S = 0.5
LARGEST_REQUEST = 64 << 10

log = get_logger(__name__)


def serve(settings: Settings, stop: Stop) -> None:
    """Run the exchange until it is asked to stop.

    Raises:
        ConfigError: the port is taken, the file to play can not be used, or another exchange works in the same folder.
    """
    folder = settings.data_dir / "exchange"
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder / "lock")
    tape = PlayTape(Path(settings.sim_play), folder) if settings.sim_play else WalkTape(settings, folder, now_us())
    try:
        asyncio.run(Exchange(settings, tape).run(stop))
    finally:
        tape.close()
        os.close(lock)


class Exchange:
    """Server, market loop and housekeeping around one tape."""

    def __init__(self, settings: Settings, tape: WalkTape | PlayTape) -> None:
        self._settings, self._tape = settings, tape
        self._hub = Hub(settings.sim_seed)
        self._rest = RestApi(tape, self._hub)
        self._closing: set[asyncio.Task[Any]] = set()

    async def run(self, stop: Stop) -> None:
        """Serve; on the way out warn and close every client."""
        async with self._listening():
            loops = [asyncio.create_task(loop) for loop in (self._trade(), self._keep_house(), _asked(stop))]
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._say_goodbye()
        for task in done:
            task.result()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        app = web.Application(middlewares=[self._rest.guard])
        app.add_routes([
            web.get("/stream", self._stream), web.get("/ws", self._stream), web.get("/ws/{streams:.*}", self._stream),
            web.get("/sim/state", self._state), web.post("/sim/faults", self._set_faults), web.post("/sim/drop", self._drop),
            *self._rest.routes(),
        ])  # fmt: skip
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=CLOSE_S)
        await runner.setup()
        port = self._settings.sim_listen_port
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as exc:
            await runner.cleanup()
            raise ConfigError(f"GEMS_SIM_PORT: 127.0.0.1:{port} can not be listened on ({exc.strerror})") from exc
        log.info("listening on 127.0.0.1:%d, %s", port, ", ".join(self._tape.symbols))
        try:
            yield
        finally:
            await runner.cleanup()

    async def _stream(self, http: web.Request) -> web.StreamResponse:
        if self._hub.faults.refuse:
            return web.Response(status=503)
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_S, max_msg_size=LARGEST_REQUEST)
        await ws.prepare(http)
        unit = http.query.get("timeUnit", "").upper() == "MICROSECOND"
        connection = Connection(http, ws, Wire(http.path == "/stream", unit), time.monotonic())
        names = http.query.get("streams", "") if http.path == "/stream" else http.match_info.get("streams", "")
        try:
            with suppress(ConnectionError):  # a client that is gone needs no answer
                if self._hub.add(connection, [name for name in names.split("/") if name]):
                    await self._listen(connection)
                else:
                    await ws.close(code=POLICY, message=b"Too many streams")
        finally:
            self._hub.remove(connection)
        return ws

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.ws:
            if connection.incoming.exceeded(time.monotonic()):
                await connection.ws.close(code=POLICY, message=b"Too many requests")
            elif message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                connection.pong(bytes(message.data))
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._hear(connection, message.data)

    async def _hear(self, connection: Connection, said: str | bytes) -> None:
        asked = request(said if isinstance(said, str) else said.decode("utf-8", "replace"))
        if not isinstance(asked, Request):
            connection.write([asked])
        elif not self._hub.obey(connection, asked):
            await connection.ws.close(code=POLICY, message=b"Too many streams")

    async def _trade(self) -> None:
        if isinstance(self._tape, WalkTape):
            await walk(self._tape, self._hub)
        else:
            await play(self._tape, self._hub, self._settings.sim_speed)

    async def _keep_house(self) -> None:
        """Pings, overdue pongs, connections past their life, old history."""
        dropped_s = 0.0
        while True:
            now_s, faults = time.monotonic(), self._hub.faults
            for connection in list(self._hub.connections.values()):
                age_s = now_s - connection.opened_s
                if connection.overdue(now_s, faults.pong_within_s):
                    log.warning("client %d answered no ping for %g s: disconnected", connection.number, faults.pong_within_s)
                    connection.cut()
                elif age_s >= faults.life_s:
                    self._close(connection)
                elif age_s >= faults.life_s - min(NOTICE_S, faults.life_s / 2):
                    self._hub.warn(connection, now_us())
                if now_s - connection.pinged_s >= faults.ping_every_s:
                    connection.ping(now_s)
            if now_s - dropped_s > 60:
                self._tape.drop_old(now_us())
                dropped_s = now_s
            await asyncio.sleep(HOUSE_S)

    def _close(self, connection: Connection) -> None:
        if connection.ws.closed:
            return
        task = asyncio.create_task(connection.ws.close(code=GOING_AWAY, message=b"connection life is over"))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _say_goodbye(self) -> None:
        connections = list(self._hub.connections.values())
        for connection in connections:
            self._hub.warn(connection, now_us())
        closing = (connection.ws.close(code=GOING_AWAY, message=b"server shutdown") for connection in connections)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _state(self, http: web.Request) -> web.Response:
        clients = [
            {"number": connection.number, "streams": list(connection.streams), "sent": connection.sent}
            for connection in self._hub.connections.values()
        ]
        return _json({
            "symbols": self._tape.state(), "rate": self._settings.sim_rate, "play": self._settings.sim_play or None,
            "clients": clients, "faults": vars(self._hub.faults), "published": self._hub.published,
            "rest_refused": self._rest.refused,
            "cpu_s": time.process_time(),
        })  # fmt: skip

    async def _set_faults(self, http: web.Request) -> web.Response:
        try:
            self._hub.faults = changed(self._hub.faults, orjson.loads(await http.read() or b"{}"))
        except (ValueError, AttributeError) as exc:
            return _json({"error": str(exc)}, 400)
        log.info("faults: %s", self._hub.faults)
        return _json(vars(self._hub.faults))

    async def _drop(self, http: web.Request) -> web.Response:
        return _json({"dropped": self._hub.cut_all()})


async def _asked(stop: Stop) -> None:
    while not await asyncio.to_thread(stop.wait, 0.25):
        pass


def _locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(file)
        raise ConfigError(f"GEMS_DATA_DIR: another simulated exchange works in {path.parent}; stop it first") from exc
    return file


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
