"""`celery_django.py TICKS.ndjson BARS`, with PEER_REDIS_URL and PEER_POSTGRES: ticks by Celery tasks into Django's ORM.

The way of many a trading dashboard: a task a batch of ticks (JSON over the broker), `bulk_create`, and then, with BARS=1, a task
a symbol that reads its last minute back, resamples it with pandas and upserts the bars. The worker has two child processes.
"""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django
from celery import Celery
from django.conf import settings
from django.db import connection, models
from django.db.models import Max

BATCH = 500
LOOK_BACK_S = 60

REDIS_URL, POSTGRES = os.environ["PEER_REDIS_URL"], json.loads(os.environ["PEER_POSTGRES"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": POSTGRES["host"], "PORT": POSTGRES["port"],
            "NAME": POSTGRES["database"], "USER": POSTGRES["user"], "PASSWORD": POSTGRES["password"], "CONN_MAX_AGE": None,
        }
    },
    INSTALLED_APPS=[], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)  # fmt: skip
django.setup()
app = Celery("celery_django", broker=REDIS_URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


class RawTick(models.Model):
    """A tick, with the indexes of such a table."""

    symbol = models.CharField(max_length=20, db_index=True)
    timestamp = models.DateTimeField(db_index=True)
    price = models.DecimalField(max_digits=20, decimal_places=8)
    size = models.DecimalField(max_digits=20, decimal_places=8)

    class Meta:
        app_label = "peer"
        indexes = (models.Index(fields=["symbol", "timestamp"], name="peer_tick"),)


class ProcessedBar(models.Model):
    """A bar."""

    symbol = models.CharField(max_length=20)
    timestamp = models.DateTimeField()
    open = models.DecimalField(max_digits=20, decimal_places=8)
    high = models.DecimalField(max_digits=20, decimal_places=8)
    low = models.DecimalField(max_digits=20, decimal_places=8)
    close = models.DecimalField(max_digits=20, decimal_places=8)
    volume = models.DecimalField(max_digits=30, decimal_places=8)
    tick_count = models.IntegerField()

    class Meta:
        app_label = "peer"
        constraints = (models.UniqueConstraint(fields=["symbol", "timestamp"], name="peer_bar"),)


@app.task(name="ingest")
def ingest(ticks: list[dict[str, str]], with_bars: bool) -> None:
    """Store a batch; ask for the bars of its symbols."""
    RawTick.objects.bulk_create([
        RawTick(symbol=tick["symbol"], timestamp=tick["ts"], price=tick["price"], size=tick["size"]) for tick in ticks
    ])  # fmt: skip
    for symbol in {tick["symbol"] for tick in ticks} if with_bars else ():
        make_bars.delay(symbol)


@app.task(name="make_bars")
def make_bars(symbol: str) -> None:
    """Bars of a symbol's last minute."""
    import pandas as pd

    mine = RawTick.objects.filter(symbol=symbol)
    newest = mine.aggregate(Max("timestamp"))["timestamp__max"]
    recent = mine.filter(timestamp__gte=newest - pd.Timedelta(seconds=LOOK_BACK_S)).values_list("timestamp", "price", "size")
    frame = pd.DataFrame(list(recent), columns=["timestamp", "price", "size"]).set_index("timestamp").astype(float).sort_index()
    made = frame.resample("1s").agg({"price": ["first", "max", "min", "last"], "size": ["sum", "count"]}).dropna()
    names = ("open", "high", "low", "close", "volume", "tick_count")
    bars = [ProcessedBar(symbol=symbol, timestamp=at, **dict(zip(names, row, strict=True))) for at, *row in made.itertuples()]
    ProcessedBar.objects.bulk_create(
        bars, update_conflicts=True, unique_fields=["symbol", "timestamp"], update_fields=list(names)
    )


def measure(ticks: list[dict[str, str]], with_bars: bool) -> dict[str, Any]:
    """CPU microseconds a tick of client and worker together, and ticks a second until all is stored."""
    with connection.schema_editor() as editor:
        for model in (RawTick, ProcessedBar):
            editor.create_model(model)
    command = [sys.executable, "-m", "celery", "-A", "celery_django", "worker", "-c", "2", "--loglevel", "ERROR", "-P", "prefork"]
    worker = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL)
    try:
        _wait(lambda: app.control.inspect(timeout=0.5).ping())
        print("ready", flush=True)
        sys.stdin.readline()
        before, began_s = sum(os.times()[:2]) + _tree_s(worker.pid), time.monotonic()
        for at in range(0, len(ticks), BATCH):
            ingest.delay(ticks[at : at + BATCH], with_bars)
        _wait(lambda: RawTick.objects.count() == len(ticks) and not _waiting())
        took_s, used_s = time.monotonic() - began_s, sum(os.times()[:2]) + _tree_s(worker.pid) - before
    finally:
        worker.terminate()
        worker.wait(60)
    bars = ProcessedBar.objects.count()
    return {
        "version": f"{version('celery')}, Django {version('django')}",
        "trades": len(ticks),
        "client_us": round(used_s / len(ticks) * 1e6, 2),
        "per_s": round(len(ticks) / took_s),
        "bars": bars,
    }


def _waiting() -> bool:
    """Whether the broker still has a task, queued or in hand."""
    with app.connection_for_read() as broker:
        client = broker.default_channel.client
        return bool(client.llen("celery") or client.hlen("unacked"))


def _tree_s(pid: int) -> float:
    """CPU seconds of a process and its children (Linux)."""
    total, ticks_a_s = 0, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat.parent.name == str(pid) or fields[1] == str(pid):
            total += int(fields[11]) + int(fields[12])
    return total / ticks_a_s


def _wait(reached: Any) -> None:
    until_s = time.monotonic() + 300
    while not reached():
        if time.monotonic() > until_s:
            raise TimeoutError("the worker has not done its work in 300 s")
        time.sleep(0.05)


if __name__ == "__main__":
    _ticks = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print(json.dumps(measure(_ticks, sys.argv[2] == "1")))
