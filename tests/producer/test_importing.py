"""Files into a real stream, with their dead letters, sources and tasks in a real database."""

import gzip
import threading
import time
from pathlib import Path

import pytest

from common.codec import decode_rows
from common.errors import MalformedMessage, SourceConflict
from common.lifecycle import Stop
from common.sources import register_source, source_of
from common.streams import GROUP
from common.tasks import claim_task, create_task
from producer.containers import BrokenFile
from producer.importer import Importer, import_file
from producer.pacing import MOST_WAITING, waiting_entries
from producer.patient import Stopped
from tests.producer.paths import HALF_DAY, HALF_DAY_ROWS, market_file

MS = 1704067200001
DEADLINE_S = 60.0


def streamed(client, src=None):
    """All trades of the stream, or those of one source."""
    entries = client.xrange("trades")
    return [t for _, fields in entries if src in (None, fields[b"src"].decode()) for t in decode_rows(fields[b"rows"].decode())]


def archive(path: Path, ids: range, name: str = "BTCUSDT-aggTrades-2024-01-01.csv") -> Path:
    file = path / name
    file.write_text("".join(f"{number},42.5,0.1,1,2,{MS + number},True,True\n" for number in ids))
    return file


def until(condition, what: str):
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.02)
    return found


def test_the_half_day_gives_each_of_its_trades(settings, redis_client):
    path = market_file(HALF_DAY)
    told = []
    counts = import_file(settings.model_copy(update={"batch_rows": 10_000}), path, on_progress=lambda *args: told.append(args))
    assert counts.as_json() == {
        "rows": HALF_DAY_ROWS, "accepted": HALF_DAY_ROWS, "rejected": 0, "symbols": ["BTCUSDT"],
    }  # fmt: skip
    rows = b"".join(fields[b"rows"] for _, fields in redis_client.xrange("trades")).split(b"\n")[:-1]
    assert [int(row.split(b",", 2)[1]) for row in rows] == list(range(2807759891, 2808104267 + 1))
    assert all(0 <= fraction <= 1 for fraction, _ in told)


def test_the_same_file_again_gives_the_same_identities(settings, redis_client, tmp_path):
    file = tmp_path / "ticks.ndjson"
    file.write_text(f'{{"symbol":"X","ts":{MS},"price":1,"size":2}}\n' * 3)
    import_file(settings, file)
    import_file(settings, file)
    trades = streamed(redis_client, "api")
    assert trades[:3] == trades[3:] and len({trade.trade_id for trade in trades}) == 3


def test_a_bad_row_is_a_dead_letter_once(settings, database, redis_client, tmp_path):
    file = archive(tmp_path, range(1, 4))
    with file.open("ab") as rows:
        rows.write(b"4,-1,0.1,1,2,9,True,True\n5,1,1,1,2,1704067200009,True,True\n\0x\xff\n")
    for _ in range(2):
        counts = import_file(settings, file)
        assert (counts.accepted, counts.rejected) == (4, 2)
    with database.cursor() as cursor:
        cursor.execute("SELECT stream, entry_id, row_number, field, reason, payload FROM dead_letters ORDER BY row_number")
        letters = cursor.fetchall()
    assert [(row[0], row[1], row[2]) for row in letters] == [
        ("upload", f"file:{file.name}", 4),
        ("upload", f"file:{file.name}", 6),
    ]
    assert letters[0][3] == "timestamp" and "GEMS_EARLIEST" in letters[0][4] and letters[0][5].startswith("4,-1")


@pytest.mark.parametrize("wrong_s", [3600, -3600])
def test_stamps_are_judged_by_the_streams_clock_not_by_this_hosts(settings, redis_client, tmp_path, monkeypatch, wrong_s):
    right_ms, right, right_ns = redis_client.time()[0] * 1000, time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: right() + wrong_s)
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + wrong_s * 10**9)
    file = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv"
    file.write_text("".join(f"{n},1,1,1,1,{right_ms + ahead_s * 1000},True,True\n" for n, ahead_s in enumerate((0, 30, 1800))))
    counts = import_file(settings, file)
    assert (counts.accepted, counts.rejected) == (2, 1)
    assert [trade.trade_id for trade in streamed(redis_client)] == [0, 1]


def test_a_source_is_registered_and_the_other_kind_is_refused(settings, database, redis_client, tmp_path):
    import_file(settings, archive(tmp_path, range(1, 3)))
    assert source_of(database, "BTCUSDT") == "binance.aggTrade"
    other = tmp_path / "BTCUSDT-trades-2024-01-01.csv"
    other.write_text(f"7,1,1,1,{MS},True,True\n")
    with pytest.raises(SourceConflict, match="SIM:BTCUSDT"):
        import_file(settings, other)
    assert len(streamed(redis_client)) == 2
    assert import_file(settings, other, symbol="SIM:BTCUSDT").as_json()["symbols"] == ["SIM:BTCUSDT"]


def test_ids_of_no_stated_kind_adopt_the_symbols(settings, database, redis_client, tmp_path):
    register_source(database, "A", "binance.trade")
    file = tmp_path / "ticks.ndjson"
    file.write_text("".join(f'{{"symbol":"{s}","ts":{MS},"price":1,"size":2,"trade_id":5}}\n' for s in "AB"))
    import_file(settings, file)
    assert [trade.symbol for trade in streamed(redis_client, "binance.trade")] == ["A"]
    assert [trade.symbol for trade in streamed(redis_client, "api.trade")] == ["B"]


def test_a_task_may_say_the_kind_of_its_ids(settings, database, redis_client, importer, tmp_path):
    file = tmp_path / "ticks.ndjson"
    file.write_text(f'{{"symbol":"A","ts":{MS},"price":1,"size":2,"trade_id":5}}\n')
    create_task(database, "import", {"path": str(file), "kind": "aggTrade"})
    until(lambda: streamed(redis_client, "binance.aggTrade"), "the trade")


def test_what_came_before_a_cut_is_in(settings, redis_client, tmp_path):
    file = tmp_path / "BTCUSDT-aggTrades-2024.csv.gz"
    whole = b"".join(gzip.compress(archive(tmp_path, range(n, n + 1000)).read_bytes()) for n in range(0, 20_000, 1000))
    file.write_bytes(whole[:-20])
    with pytest.raises(BrokenFile, match=r"cut off.* rows before were read"):
        import_file(settings, file)
    ids = [trade.trade_id for trade in streamed(redis_client)]
    assert ids == list(range(len(ids))) and len(ids) > 15_000


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n1,2\n"])
def test_a_file_of_no_trades_is_refused(settings, redis_client, tmp_path, text):
    file = tmp_path / "file.csv"
    file.write_text(text)
    with pytest.raises(MalformedMessage):
        import_file(settings, file)


def test_it_waits_for_the_writers(settings, redis_client, tmp_path):
    """With a group that reads nothing, at most one round past the bound is sent; once it reads, the rest follows."""
    redis_client.xgroup_create("trades", GROUP, "0", mkstream=True)
    small = settings.model_copy(update={"batch_rows": 10})
    done = threading.Thread(target=import_file, args=(small, archive(tmp_path, range(3000))))
    done.start()
    until(lambda: waiting_entries(redis_client, "trades") > MOST_WAITING, "the bound")
    time.sleep(0.2)
    assert redis_client.xlen("trades") <= MOST_WAITING + 16

    def drained() -> bool:
        redis_client.xreadgroup(GROUP, "w", {"trades": ">"}, count=50, noack=True)
        return not done.is_alive()

    until(drained, "the import's end")
    assert len(streamed(redis_client)) == 3000


def test_waiting_entries_are_counted_where_redis_has_lost_count(redis_client):
    assert waiting_entries(redis_client, "trades") == 0
    for number in range(5):
        redis_client.xadd("trades", {"n": number}, id=f"{number + 1}-0")
    assert waiting_entries(redis_client, "trades", most=3) == 4
    redis_client.xgroup_create("trades", GROUP, "3-5")
    assert waiting_entries(redis_client, "trades") == 2


@pytest.fixture
def importer(settings):
    """An importer at work."""
    stop = Stop()
    thread = threading.Thread(target=Importer(settings, stop).run)
    thread.start()
    yield
    stop.ask()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def task_row(database, task_id: str):
    with database, database.cursor() as cursor:
        cursor.execute("SELECT state, progress, counts, error FROM tasks WHERE task_id = %s", (task_id,))
        return cursor.fetchone()


def uploaded(settings, ids: range) -> Path:
    folder = settings.data_dir / "uploads"
    folder.mkdir()
    return archive(folder, ids, "3f-x.csv")


def test_a_task_is_done_and_its_upload_removed(settings, database, redis_client, importer):
    file = uploaded(settings, range(100))
    task_id = create_task(database, "import", {"path": str(file), "filename": "BTCUSDT-aggTrades-1.csv", "symbol": None})
    until(lambda: task_row(database, task_id)[0] == "done", "the task")
    assert task_row(database, task_id)[2] == {"rows": 100, "accepted": 100, "rejected": 0, "symbols": ["BTCUSDT"]}
    until(lambda: not file.exists(), "the removal")
    assert redis_client.hget("health:importer", "files")


def test_a_users_own_file_is_left_alone(settings, database, redis_client, importer, tmp_path_factory):
    file = archive(tmp_path_factory.mktemp("home"), range(10))
    task_id = create_task(database, "import", {"path": str(file)})
    until(lambda: task_row(database, task_id)[0] == "done", "the task")
    assert file.exists()


def test_a_task_that_can_not_be_done_fails_with_a_sentence(settings, database, redis_client, importer):
    file = uploaded(settings, range(3))
    task_id = create_task(database, "import", {"path": str(file), "filename": "unknown.csv"})
    until(lambda: task_row(database, task_id)[0] == "failed", "the task")
    assert "which symbol" in task_row(database, task_id)[3]
    gone = create_task(database, "import", {"path": "/nowhere/x.csv"})
    until(lambda: task_row(database, gone)[0] == "failed", "the other task")
    assert "not there any more" in task_row(database, gone)[3]


def test_a_task_is_given_back_when_asked_to_stop(settings, database, redis_client):
    redis_client.xgroup_create("trades", GROUP, "0", mkstream=True)
    file = uploaded(settings, range(3000))
    task_id = create_task(database, "import", {"path": str(file), "filename": "BTCUSDT-aggTrades-1.csv"})
    stop = Stop()
    thread = threading.Thread(target=Importer(settings.model_copy(update={"batch_rows": 10}), stop).run)
    thread.start()
    until(lambda: waiting_entries(redis_client, "trades") > MOST_WAITING, "the bound")
    stop.ask()
    thread.join(DEADLINE_S)
    assert task_row(database, task_id)[0] == "queued" and file.exists()
    assert claim_task(database, ["import"]).attempts == 1


def test_direct_imports_stop_too(settings, redis_client, tmp_path):
    stop = Stop()
    stop.ask()
    with pytest.raises(Stopped):
        import_file(settings, archive(tmp_path, range(10)), stop=stop)
