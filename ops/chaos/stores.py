"""Faults of Redis and PostgreSQL: away, cut off, full, forgetful."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import psycopg2
import redis

from common.streams import GROUP, stream_names
from ops.chaos.disk import copy_owned
from ops.chaos.faults import Fault
from ops.chaos.world import NotNow, World

_TORN_BYTES = 300_000


class Away(Fault):
    """Killed, and not started again for a while."""

    servers: ClassVar[tuple[str, ...]]
    lasts_s, longest_s = (4.0, 15.0), 60.0

    def inject(self, world: World) -> None:
        taken: list[str] = []
        try:
            for name in self.servers:
                world.take_down(name)
                taken.append(name)
        except NotNow:
            for name in taken:
                world.bring_up(name)
            raise

    def heal(self, world: World) -> None:
        for name in self.servers:
            world.bring_up(name)


def away(*servers: str) -> type[Fault]:
    """The kind that takes these servers away."""
    body = {"kind": f"{' and '.join(servers)} away", "targets": frozenset(servers), "servers": servers}
    return type(f"Away_{'_'.join(servers)}", (Away,), body)


class RedisCut(Fault):
    """Every connection to Redis is closed by it."""

    kind, targets = "redis connections cut", frozenset({"redis"})

    def inject(self, world: World) -> None:
        try:
            with world.redis() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal")
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc


class PostgresCut(Fault):
    """Every session of PostgreSQL is terminated."""

    kind, targets = "postgres sessions cut", frozenset({"postgres"})

    def inject(self, world: World) -> None:
        try:
            world.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        except psycopg2.Error as exc:
            raise NotNow(f"PostgreSQL: {exc}") from exc


class RedisFull(Fault):
    """Redis takes no more writes."""

    kind, targets, lasts_s = "redis out of memory", frozenset({"redis"}), (2.0, 8.0)

    def inject(self, world: World) -> None:
        self._limit(world, "1mb")

    def heal(self, world: World) -> None:
        self._limit(world, f"{world.settings.redis_max_mb}mb")

    @staticmethod
    def _limit(world: World, memory: str) -> None:
        try:
            with world.redis() as client:
                client.config_set("maxmemory", memory)
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc


class DiskFull(Fault):
    """The server's disk has no room left."""

    server: ClassVar[str]
    lasts_s = (3.0, 10.0)

    def inject(self, world: World) -> None:
        if self.server not in world.disks.mounted:
            raise NotNow("disks can not be mounted here")
        world.disks.fill(self.server)

    def heal(self, world: World) -> None:
        world.disks.clear(self.server)


def disk_full(server: str) -> type[Fault]:
    """The kind that fills the disk of this server."""
    body = {"kind": f"{server} disk full", "targets": frozenset({server}), "server": server}
    return type(f"DiskFull_{server}", (DiskFull,), body)


class RedisEverysec(Fault):
    """As a user's own Redis may be: its log is synced once a second. Killed at the end."""

    kind, targets, lasts_s = "kill -9 redis at everysec", frozenset({"redis"}), (2.0, 6.0)

    def inject(self, world: World) -> None:
        try:
            with world.redis() as client:
                client.config_set("appendfsync", "everysec")
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc

    def heal(self, world: World) -> None:
        world.signal("redis", signal.SIGKILL)


class GroupDestroyed(Fault):
    """The writers' group is gone, and with it who has what: NOGROUP."""

    kind, targets = "redis group destroyed", frozenset({"redis"})

    def inject(self, world: World) -> None:
        try:
            with world.redis() as client:
                for stream in stream_names(world.settings):
                    client.xgroup_destroy(stream, GROUP)
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc


class RedisFlushed(Fault):
    """FLUSHALL: streams, groups and all."""

    kind, targets = "redis flushed", frozenset({"redis"})

    def inject(self, world: World) -> None:
        try:
            with world.redis() as client:
                client.flushall()
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc


class RedisTorn(Fault):
    """Killed, and the newest of its log cut off, as a lost machine would."""

    kind, targets = "redis log cut", frozenset({"redis"})

    def inject(self, world: World) -> None:
        world.take_down("redis")
        try:
            logs = list((world.settings.data_dir / "redis").rglob("*.incr.aof"))
            newest = max(logs, key=lambda path: path.stat().st_mtime)
            with newest.open("rb+") as file:
                file.truncate(max(0, newest.stat().st_size - _TORN_BYTES))
        finally:
            world.bring_up("redis")


class OldCopy(Fault):
    """Killed, and started on a copy of its files made some seconds before."""

    server: ClassVar[str]

    def heal(self, world: World) -> None:
        folder = world.settings.data_dir / self.server
        world.take_down(self.server)
        try:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            copy_owned(self.copy(world), folder)
        finally:
            world.bring_up(self.server)
            shutil.rmtree(self.copy(world))

    def copy(self, world: World) -> Path:
        """Where the copy is."""
        folder = world.settings.data_dir / f"{self.server}.copy"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


class RedisOld(OldCopy):
    """A running server's files: what is torn at their end, it cuts by itself when it starts on them."""

    kind, targets, lasts_s = "redis on an older copy", frozenset({"redis"}), (3.0, 10.0)
    server = "redis"

    def inject(self, world: World) -> None:
        try:
            copy_owned(world.settings.data_dir / "redis", self.copy(world))
        except subprocess.CalledProcessError as exc:
            raise NotNow("Redis is writing its log anew") from exc


class PostgresOld(OldCopy):
    """What is younger than the copy comes from the stream again."""

    kind, targets, lasts_s = "postgres on an older copy", frozenset({"postgres", "redis"}), (5.0, 12.0)
    server = "postgres"

    def inject(self, world: World) -> None:
        world.take_down("postgres")  # a copy of a running server's files would not be of one moment
        try:
            copy_owned(world.settings.data_dir / "postgres", self.copy(world))
        finally:
            world.bring_up("postgres")
