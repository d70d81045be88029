"""Posted ticks that were acknowledged reach PostgreSQL though Redis forgets them; nothing is removed before."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from common.codec import decode_rows, encode_rows
from common.errors import StoreUnavailable
from common.journal import FILE_BYTES, Journal, Post, append_posts, posted_folder, read_posts
from common.lifecycle import Stop
from common.streams import connect_redis
from common.trades import Trade
from producer.posted import KEEP_S, SETTLE_S, PostedTicks, lost_posts
from tests.consumer.running import a_writer, rows, wait
from web.app import close_app, create_app

URL = "/api/ingestion/ingest/"


def tick(number: int) -> Trade:
    return Trade("BTCUSDT", -1 - number, 1_795_417_200_000_000 + number, "43000.12", "0.5", "b", number)


def a_post(*ticks: Trade, entry_id: str = "1-1") -> Post:
    return Post("trades", entry_id, "api", len(ticks), encode_rows(ticks))


def files(settings) -> list[Path]:
    return sorted(posted_folder(settings).glob("*.posted"))


@pytest.fixture
def client(settings) -> Iterator[FlaskClient]:
    app = create_app(settings)
    yield app.test_client()
    close_app(app)


@pytest.fixture
def keeper(settings) -> PostedTicks:
    return PostedTicks(settings, Stop())


def post_ticks(client: FlaskClient, *ticks: Trade) -> None:
    body = [{"symbol": t.symbol, "ts": t.event_us, "price": t.price, "size": t.size, "side": "buy"} for t in ticks]
    assert client.post(URL, json={"ticks": body}).status_code == 202


def stored(database) -> int:
    return rows(database, "SELECT count(*) FROM raw_ticks")[0][0]


def age(paths: list[Path], seconds: float) -> None:
    """As if they had been written so long ago."""
    for path in paths:
        os.utime(path, times=(time.time() - seconds, time.time() - seconds))


def test_an_answer_comes_after_its_ticks_are_on_disk(settings, client, redis_client):
    post_ticks(client, tick(1), tick(2))
    (path,) = files(settings)
    (kept,) = read_posts(path)
    ((entry_id, fields),) = redis_client.xrange("trades")
    assert (kept.entry_id, kept.rows, kept.n) == (entry_id.decode(), fields[b"rows"].decode(), 2)


def test_a_disk_that_takes_nothing_is_a_503(settings, client):
    posted_folder(settings).write_text("no folder")
    answer = client.post(URL, json={"ticks": [{"symbol": "A", "ts": tick(1).event_us, "price": 1, "size": 1}]})
    assert answer.status_code == 503 and "Retry-After" in answer.headers


@pytest.mark.parametrize("forget", ["flushall", "entry"])
def test_what_redis_forgot_is_sent_again_and_stored_once(settings, client, redis_client, database, keeper, forget):
    with a_writer(settings):
        post_ticks(client, tick(0))
        wait(lambda: stored(database) == 1, "first tick")
    post_ticks(client, tick(1), tick(2))
    if forget == "flushall":
        redis_client.flushall()
    else:  # as after an older copy: other entries follow
        redis_client.xtrim("trades", maxlen=0)
        append_posts(redis_client, [a_post(tick(3))])
    with a_writer(settings):
        wait(lambda: redis_client.exists("trades") and not redis_client.xpending("trades", "writers")["pending"], "group")
        age(files(settings), SETTLE_S)

        def sent() -> bool:
            keeper.look(time.time())
            return keeper.sent_again > 0

        wait(sent, "second sending")
        in_stream = {entry_id.decode() for entry_id, _ in redis_client.xrange("trades")}
        kept = {post.entry_id for path in files(settings) for post in read_posts(path)}
        assert kept & in_stream, "what was sent again is kept as it was the first time"
        wait(lambda: stored(database) == (3 if forget == "flushall" else 4), "every tick")
        age(files(settings), SETTLE_S)
        wait(lambda: keeper.look(time.time()) or not keeper.waiting, "check of what was sent again")
    assert keeper.sent_again == 2
    age(files(settings), KEEP_S)
    keeper.look(time.time())
    assert not files(settings)


def test_an_older_copy_of_postgresql_is_looked_at_again(settings, client, database, keeper, monkeypatch):
    """Where PostgreSQL was started anew, what it once had need not be there."""
    with a_writer(settings):
        post_ticks(client, tick(1), tick(2))
        wait(lambda: stored(database) == 2, "ticks")
        age(files(settings), SETTLE_S)
        wait(lambda: keeper.look(time.time()) or not keeper.waiting, "check")
        rows(database, "DELETE FROM raw_ticks")
        keeper.look(time.time())
        assert keeper.sent_again == 0, "it was seen there, and PostgreSQL has run since"
        monkeypatch.setattr("producer.posted._started_at", lambda connection: "later")
        wait(lambda: keeper.look(time.time()) or keeper.sent_again, "second sending")
        wait(lambda: stored(database) == 2, "ticks again")


def test_a_trade_of_another_day_with_the_same_id_is_no_proof(settings, database):
    day_us = 86_400_000_000
    with a_writer(settings):
        with connect_redis(settings) as client:
            append_posts(client, [a_post(tick(1)._replace(event_us=tick(1).event_us - day_us)), a_post(tick(2))])
        wait(lambda: stored(database) == 2, "ticks")
    assert lost_posts(database, [a_post(tick(1)), a_post(tick(2))]) == [a_post(tick(1))]


def test_nothing_is_removed_while_the_writers_are_behind(settings, client, redis_client, keeper):
    redis_client.xgroup_create("trades", "writers", "0", mkstream=True)
    post_ticks(client, tick(1))
    age(files(settings), 10 * KEEP_S)
    keeper.look(time.time())
    assert (len(files(settings)), keeper.waiting, keeper.sent_again) == (1, 1, 0)


def test_a_file_that_may_still_grow_is_left_alone(settings, client, keeper):
    post_ticks(client, tick(1))
    keeper.look(time.time())
    assert (len(files(settings)), keeper.waiting) == (1, 1)


def test_a_row_among_the_dead_letters_is_not_lost(database):
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dead_letters (stream, entry_id, row_number, src, field, reason, payload)"
            " VALUES ('trades', '7-0', 1, 'api', 'row', 'x', 'y')"
        )
    both, other = a_post(tick(1), tick(2), entry_id="7-0"), a_post(tick(2), entry_id="8-0")
    assert lost_posts(database, [both, other]) == [both, other]
    assert lost_posts(database, [a_post(tick(2), entry_id="7-0")._replace(rows=both.rows, n=2)])  # row 0 is nowhere
    rows_of_one = both._replace(rows=encode_rows([tick(1), tick(2)]))
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dead_letters (stream, entry_id, row_number, src, field, reason, payload)"
            " VALUES ('trades', '7-0', 0, 'api', 'row', 'x', 'y')"
        )
    assert lost_posts(database, [rows_of_one]) == []


def test_a_torn_tail_was_never_acknowledged(settings):
    journal = Journal(settings)
    journal.append([a_post(tick(1))])
    journal.append([a_post(tick(2))])
    (path,) = files(settings)
    os.truncate(path, path.stat().st_size - 1)
    assert [decode_rows(post.rows) for post in read_posts(path)] == [[tick(1)]]


def test_a_record_whose_file_could_not_be_synced_is_no_promise(settings, monkeypatch):
    """Another thread closes the file in which ours has written and not yet synced; the disk fails it."""
    journal = Journal(settings)
    sync = journal._sync

    def a_thread_closes_it(file, number):
        with monkeypatch.context() as broken:
            broken.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(5, "the disk fails")))
            with pytest.raises(OSError, match="the disk fails"):
                journal.close()
        sync(file, number)

    monkeypatch.setattr(journal, "_sync", a_thread_closes_it)
    with pytest.raises(StoreUnavailable):
        journal.append([a_post(tick(1))])
    monkeypatch.setattr(journal, "_sync", sync)
    journal.append([a_post(tick(2))])
    assert [decode_rows(post.rows) for path in files(settings)[1:] for post in read_posts(path)] == [[tick(2)]]


def test_threads_share_their_syncs_and_lose_nothing(settings):
    journal = Journal(settings)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: journal.append([a_post(tick(number))]), range(200)))
    kept = [trade for path in files(settings) for post in read_posts(path) for trade in decode_rows(post.rows)]
    assert sorted(trade.trade_id for trade in kept) == [-1 - number for number in reversed(range(200))]


def test_a_journal_that_nobody_looks_after_is_bounded(settings):
    journal = Journal(settings.model_copy(update={"posted_max_mb": 1}))
    journal.append([a_post(tick(1))._replace(rows="x" * (FILE_BYTES + 1))])
    with pytest.raises(StoreUnavailable, match="importer"):
        journal.append([a_post(tick(2))])


def test_a_removed_file_is_no_promise(settings):
    journal = Journal(settings)
    journal.append([a_post(tick(1))])
    files(settings)[0].unlink()
    with pytest.raises(StoreUnavailable, match="removed"):
        journal.append([a_post(tick(2))])
