"""What GEMS leans on goes away, fills up or forgets: it comes back by itself, catches up, and says meanwhile what is wrong.

`OUTAGE_S=60 pytest tests/processes/test_outages.py` makes each outage as long as that.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg2
import pytest
import redis

from common.database import connect_database
from common.settings import Settings
from common.streams import GROUP, EntryId, connect_redis
from ops.chaos.disk import SmallDisks
from ops.embedded import PrivateServers
from ops.house import ROOT
from ops.migrate import migrate
from tests.exchange.running import RunningExchange, running_exchange
from tests.pipeline import Pipeline, a_pipeline
from tests.processes.failover import Address, replica_of
from tests.processes.feeding import RunningProducer, feed_settings, producing, until
from tests.servers import private_servers
from tests.web.streams import running_web

OUTAGE_S = float(os.environ.get("OUTAGE_S", "5"))
pytestmark = [pytest.mark.process, pytest.mark.timeout(240 + int(OUTAGE_S))]
SYMBOLS = ("BTCUSDT", "ETHUSDT")
RATE = 400
#: Of a core; the busiest of them works for about 0.1 while all is well.
MOST_CPU = 0.25
MOST_GROWTH_MB = 64
MOST_SWITCHES_PER_S = 100
EXTENT = "SELECT min(trade_id), max(trade_id), count(*) FROM raw_ticks WHERE symbol = %s AND trade_id >= 0"
POST = {"ticks": [{"symbol": "POSTED", "ts": "2024-01-01T00:00:00Z", "price": "1", "size": "1"}]}


class Outage(NamedTuple):
    """How it begins and ends, and what is to be seen meanwhile."""

    begin: Callable[["House"], None]
    end: Callable[["House"], None]
    says: str  # in `status`
    metric: str  # a line of /metrics
    is_spooled: bool = False
    is_503: bool = True
    needs_disk: str = ""


class House:
    """All processes of GEMS around servers that can be broken."""

    def __init__(self, servers: PrivateServers, settings: Settings, exchange: RunningExchange, address: Address) -> None:
        self.servers, self.settings, self.exchange, self.address = servers, settings, exchange, address
        self.disks = SmallDisks(servers.data_dir)
        self.pipeline: Pipeline
        self.producer: RunningProducer
        self.port = 0
        self.web: subprocess.Popen[bytes]
        self.replica: Any = None

    def pids(self) -> dict[str, int]:
        """By name; the web's is that of gunicorn's worker."""
        assert self.producer.process
        own = {name: process.pid for name, process in self.pipeline.processes.items()}
        (worker,) = psutil.Process(self.web.pid).children()
        return own | {"producer": self.producer.process.pid, "web": worker.pid}

    def post(self) -> tuple[int, str | None]:
        """Status of a posted tick, and its Retry-After."""
        address = f"http://127.0.0.1:{self.port}/api/ingestion/ingest/"
        request = urllib.request.Request(address, json.dumps(POST).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, None
        except urllib.error.HTTPError as exc:
            return exc.code, exc.headers["Retry-After"]

    def metrics(self) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return str(answer.read(), "utf-8").splitlines()

    def troubles(self) -> str:
        """What `./gems status` says."""
        environ = {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "ops", "status", "--json", "--data-dir", str(self.settings.data_dir)]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return "\n".join(json.loads(done.stdout)["troubles"])

    def spooled_bytes(self) -> int:
        while True:
            with suppress(FileNotFoundError):  # one was sent meanwhile
                return sum(path.stat().st_size for path in (self.settings.data_dir / "spool").glob("*.spool"))

    def newest(self) -> dict[str, int]:
        return {symbol: found["trade_id"] for symbol, found in self.exchange.get("/sim/state")["symbols"].items()}

    def has_all(self, newest: dict[str, int]) -> bool:
        """Every id up to these is stored."""
        for symbol in SYMBOLS:
            first, last, count = self.pipeline.rows(EXTENT, symbol)[0]
            if first is None or last < newest[symbol] or last - first + 1 != count:
                return False
        return True

    def wait_for_all(self, deadline_s: float) -> None:
        """All that the exchange has made by now is stored: what is lost meanwhile too, for it is fetched while the feed runs."""
        newest = self.newest()
        self.pipeline.wait(lambda: patiently(lambda: self.has_all(newest)), deadline_s, "all trades")


class Use(NamedTuple):
    """Of one process during an outage. A loop that does not wait gives up the processor again and again: `switches_per_s`."""

    cores: float
    grown_mb: float
    switches_per_s: float


@contextmanager
def usage(pids: dict[str, int]) -> Iterator[dict[str, Use]]:
    """By process, filled in at the end."""
    watched = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _totals(each) for name, each in watched.items()}
    began_s, used = time.monotonic(), dict[str, Use]()
    yield used
    took_s = time.monotonic() - began_s
    for name, each in watched.items():
        cpu_s, rss, switches = (now - then for now, then in zip(_totals(each), before[name], strict=True))
        used[name] = Use(round(cpu_s / took_s, 3), round(rss / 1e6, 1), round(switches / took_s))


def _totals(process: psutil.Process) -> tuple[float, ...]:
    switches = process.num_ctx_switches().voluntary
    return sum(process.cpu_times()[:2]), process.memory_info().rss, switches


def assert_nothing_spins(used: dict[str, Use]) -> None:
    """Who has nothing to do hardly wakes up; the producer reads on, and `tasks` does what can be done."""
    for name, use in used.items():
        assert use.cores < MOST_CPU and use.grown_mb < MOST_GROWTH_MB, used
        assert not name.startswith(("writer", "aggregator")) or use.switches_per_s < MOST_SWITCHES_PER_S, used


@pytest.fixture
def servers() -> Iterator[PrivateServers]:
    """Of each test's own: some of them end on a disk that is taken away."""
    with private_servers() as started:
        yield started


@pytest.fixture
def house(servers: PrivateServers, tmp_path: Path) -> Iterator[House]:
    (tmp_path / "sim").mkdir()
    with ExitStack() as stack:
        address = stack.enter_context(Address.of(servers))
        migrate(servers.postgres_url("gems_sim"))
        urls = {"database_url": servers.postgres_url("gems_sim"), "redis_url": address.url}
        own = Settings.from_env({}, **urls, data_dir=tmp_path, lateness_ms=200)
        client, database = connect_redis(own), connect_database(own)
        stack.callback(database.close)
        exchange = stack.enter_context(
            running_exchange(tmp_path / "sim", sim_rate=RATE, symbols=",".join(SYMBOLS), history="5s")
        )
        # A promoted replica calls entries pending whose acknowledgement it never heard of: another worker claims them.
        settings = feed_settings(own, exchange, symbols=SYMBOLS, claim_after_s=20.0)
        made = House(servers, settings, exchange, address)
        stack.callback(made.disks.remove)
        names = ("writer_0", "writer_1", "aggregator_0", "tasks")
        made.pipeline = stack.enter_context(a_pipeline(settings, client, database, *names))
        made.producer = stack.enter_context(producing(settings))
        made.port, made.web = stack.enter_context(running_web(settings))
        made.wait_for_all(60)
        yield made


def take_down(*names: str) -> Callable[[House], None]:
    def begin(house: House) -> None:
        for name in names:
            house.servers.kill(name)

    return begin


def bring_up(*names: str) -> Callable[[House], None]:
    def end(house: House) -> None:
        for name in names:
            house.servers.start(name, wait=False)
        house.servers.wait_ready()
        house.pipeline.database = connect_database(house.settings)

    return end


def limit_memory(limit: str) -> Callable[[House], None]:
    def change(house: House) -> None:
        house.pipeline.client.config_set("maxmemory", limit)

    return change


def fill_disk(name: str) -> Callable[[House], None]:
    """A server that writes meanwhile may be faster than the change of the disk's size: then it is changed again."""

    def begin(house: House) -> None:
        def is_full() -> bool:
            house.disks.fill(name)
            return os.statvfs(house.servers.data_dir / name).f_bfree == 0

        until(is_full, "a full disk")

    return begin


def clear_disk(name: str) -> Callable[[House], None]:
    def end(house: House) -> None:
        house.disks.clear(name)
        process = house.servers.processes[name]
        if process.poll() is not None:  # it gave up: its supervisor would start it again
            house.servers.start(name)
        house.pipeline.database = connect_database(house.settings)

    return end


OUTAGES = {
    "redis away": Outage(take_down("redis"), bring_up("redis"), "Redis can not be asked", "gems_redis_up 0.0", True),
    "postgres away": Outage(take_down("postgres"), bring_up("postgres"), "PostgreSQL can not be asked", "gems_postgres_up 0.0"),
    "both away": Outage(
        take_down("redis", "postgres"), bring_up("redis", "postgres"), "PostgreSQL can not be asked", "gems_redis_up 0.0", True
    ),
    "redis full": Outage(limit_memory("1mb"), limit_memory("2gb"), "Redis is full", "gems_redis_writable 0.0", True),
    "redis disk full": Outage(
        fill_disk("redis"), clear_disk("redis"), "Redis can not", "", True, needs_disk="redis"
    ),
    "postgres disk full": Outage(
        fill_disk("postgres"),
        clear_disk("postgres"),
        "",
        'gems_process_outage{process="writer_0",reason="DiskFull"} 1.0',
        needs_disk="postgres",
    ),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_lived_through_and_caught_up(house: House, kind: str) -> None:
    outage = OUTAGES[kind]
    if outage.needs_disk:
        put_on_a_disk(house, outage.needs_disk)
    with usage(house.pids()) as used:
        outage.begin(house)
        began_s = time.monotonic()
        if outage.is_503:
            assert until(lambda: refusal(house), "a refusal") == (503, "2")
        if outage.is_spooled:
            until(house.spooled_bytes, "the spool")
        if outage.metric:
            until(lambda: outage.metric in house.metrics(), outage.metric)
        if outage.says:
            until(lambda: outage.says in house.troubles(), outage.says)
        time.sleep(max(0.0, began_s + OUTAGE_S - time.monotonic()))
    print(kind, {name: tuple(use) for name, use in used.items()})
    assert_nothing_spins(used)
    outage.end(house)
    assert_all_is_well_again(house)


def refusal(house: House) -> tuple[int, str | None] | None:
    """The answer to a post that is not taken; a disk that is full may take one more."""
    answer = house.post()
    return answer if answer[0] >= 300 else None


def put_on_a_disk(house: House, name: str) -> None:
    house.disks.put(name, house.servers.kill, house.servers.start)
    house.pipeline.database = connect_database(house.settings)
    if name not in house.disks.mounted:
        pytest.skip("a disk of its own can be mounted by root on Linux only")
    house.wait_for_all(60)


def assert_all_is_well_again(house: House) -> None:
    began_s = time.monotonic()
    house.wait_for_all(120)
    print(f"all trades are stored {time.monotonic() - began_s:.1f} s later")
    until(lambda: house.post()[0] < 300, "an answer to a post")
    until(lambda: house.spooled_bytes() == 0, "the end of the spool")
    assert house.producer.stop() == 0
    house.pipeline.settle(90, closed=lambda: house.pipeline.scalar("SELECT count(*) FROM gaps WHERE state = 'open'") == 0)
    assert [each for each in house.pipeline.differences() if each[1] != "POSTED"] == []  # whose bar is still open
    assert house.pipeline.scalar("SELECT count(*) FROM dead_letters") == 0
    assert "can not be" not in house.troubles()


def patiently(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (psycopg2.Error, redis.RedisError):
        return False


def test_a_flushed_redis_is_filled_again_without_a_hot_loop(house: House) -> None:
    """NOGROUP: the group and what nobody had stored are gone."""
    with usage(house.pids()) as used:
        began_s = time.monotonic()
        while time.monotonic() < began_s + OUTAGE_S:
            house.pipeline.client.flushall()
            until(lambda: GROUP.encode() in groups(house), "the group anew")
            time.sleep(0.2)
    assert all(use.cores < MOST_CPU * 2 and use.grown_mb < MOST_GROWTH_MB for use in used.values()), used
    assert_all_is_well_again(house)


def groups(house: House) -> list[bytes]:
    try:
        return [group["name"] for group in house.pipeline.client.xinfo_groups("trades")]
    except redis.ResponseError:
        return []


def test_a_replica_that_is_promoted_with_less_costs_no_trade(house: House) -> None:
    """The replica stops following; the primary acknowledges for a while more, then it is gone and the replica answers.

    Of what the replica lacks, the writers have stored most, and not the last.
    """
    with replica_of(house.servers) as replica:
        replica.wait_in_step(house.servers)
        replica.stop_following()
        time.sleep(OUTAGE_S / 2)
        with frozen(house, "writer_0", "writer_1"):
            unstored = newest_entry(house.pipeline.client)
            until(lambda: newest_entry(house.pipeline.client) > unstored, "what nobody has stored")
            assert newest_entry(replica.client) < unstored
            house.servers.kill("redis")
            house.address.move_to(replica.port)
        assert_all_is_well_again(house)


@contextmanager
def frozen(house: House, *names: str) -> Iterator[None]:
    pids = [house.pipeline.processes[name].pid for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def newest_entry(client: redis.Redis) -> EntryId:
    return EntryId.parse(client.xinfo_stream("trades")["last-generated-id"])
