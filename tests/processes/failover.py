"""A Redis address that can be moved to another server, as a proxy or a failover does it; and a replica to move it to."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from ops.embedded import PrivateServers
from tests.servers import REDIS_ARGS, a_folder

DEADLINE_S = 60.0


class Address:
    """Forwards connections to the port it is moved to; a move cuts those that there are."""

    def __init__(self, servers: PrivateServers) -> None:
        self._password, self._target = servers.instance.redis_password, servers.instance.redis_port
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @classmethod
    @contextmanager
    def of(cls, servers: PrivateServers) -> Iterator["Address"]:
        """An address for the servers' Redis."""
        made = cls(servers)
        made._thread.start()
        asyncio.run_coroutine_threadsafe(made._listen(), made._loop).result(DEADLINE_S)
        try:
            yield made
        finally:
            asyncio.run_coroutine_threadsafe(made._close(), made._loop).result(DEADLINE_S)
            made._loop.call_soon_threadsafe(made._loop.stop)
            made._thread.join(DEADLINE_S)
            made._loop.close()

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis://:{self._password}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def move_to(self, port: int) -> None:
        """From now on it is the server of that port."""
        self._target = port
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(DEADLINE_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(tasks, timeout=5) if tasks else None

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


class Replica:
    """A Redis that follows another one."""

    def __init__(self, servers: PrivateServers, primary: PrivateServers) -> None:
        self.port = servers.instance.redis_port
        self.client = redis.Redis.from_url(servers.redis_url())
        self.client.acl_setuser("default", enabled=True, passwords=[f"+{primary.instance.redis_password}"])
        self.client.config_set("masterauth", primary.instance.redis_password)
        self.client.replicaof("127.0.0.1", primary.instance.redis_port)

    def wait_in_step(self, primary: PrivateServers) -> None:
        """Until it has what the primary had at the beginning of this wait."""
        with redis.Redis.from_url(primary.redis_url()) as client:
            wanted = client.info("replication")["master_repl_offset"]
        until_s = time.monotonic() + DEADLINE_S
        while (told := self.client.info("replication"))["master_link_status"] != "up" or told["slave_repl_offset"] < wanted:
            assert time.monotonic() < until_s, told
            time.sleep(0.02)

    def stop_following(self) -> None:
        """It keeps what it has, and can be written."""
        self.client.replicaof("NO", "ONE")

    def close(self) -> None:
        """Leave it."""
        self.client.close()


@contextmanager
def replica_of(primary: PrivateServers) -> Iterator[Replica]:
    """A replica that is gone at the end."""
    with a_folder() as folder:
        servers = PrivateServers(folder, (), REDIS_ARGS)
        try:
            servers.start("redis")
            replica = Replica(servers, primary)
            yield replica
            replica.close()
        finally:
            servers.stop()
