"""What the API acknowledged of posted ticks, seen through to PostgreSQL: what Redis has lost on the way is sent again.

A file of the journal is looked at once the writers have passed its entries, and again where PostgreSQL was started meanwhile (it
may have come back as an older copy). It is removed after as long as the stream itself keeps what is stored.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psycopg2
import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.codec import decode_rows
from common.database import transaction
from common.errors import StoreUnavailable
from common.journal import SUFFIX, Journal, Post, append_posts, posted_folder, read_posts
from common.layout import rows_by_stream
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.streams import START, EntryId, writers_position
from common.trades import US_PER_DAY, from_us
from producer.patient import Patient
from producer.uploaded import Uploads

LOOK_S = 1.0
#: A file that was not written for so long is complete.
SETTLE_S = 5.0
#: The stream keeps its last minute, so that PostgreSQL may come back a little older; so do we, and some more.
KEEP_S = 75.0
_ASKED_AT_ONCE = 10_000

_ABSENT = """
SELECT w.post, w.number FROM unnest(%(symbols)s, %(ids)s::bigint[], %(posts)s::integer[], %(numbers)s::integer[])
    AS w (symbol, trade_id, post, number)
WHERE NOT EXISTS (SELECT 1 FROM raw_ticks t WHERE t.symbol = w.symbol COLLATE "C" AND t.trade_id = w.trade_id
    AND t.timestamp >= %(first)s AND t.timestamp < %(end)s)
"""
_DEAD = "SELECT stream, entry_id, row_number FROM dead_letters WHERE entry_id = ANY(%s)"

log = get_logger(__name__)


class PostedTicks:
    """`run` is the body of the importer's second thread."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings, self._stop = settings, stop
        self._patient = Patient(settings, stop, "importer.posted")
        self._journal = Journal(settings)
        self.uploads = Uploads(settings, self._patient)
        self._seen: dict[Path, str] = {}  # stored when PostgreSQL had been started at that time
        self.waiting = self.sent_again = 0

    def run(self) -> None:
        """Look each second until asked to stop."""
        delays_s = backoff_s(0.5, 10.0)
        while not self._stop.wait(LOOK_S):
            try:
                self.look(time.time())
                self.uploads.look(time.time())
                delays_s = backoff_s(0.5, 10.0)
            except (psycopg2.Error, redis.RedisError, OSError, StoreUnavailable) as exc:
                delay_s = next(delays_s)
                log.warning("posted ticks wait: %s; next look in %.1f s", (str(exc).strip().splitlines() or [""])[0], delay_s)
                self._stop.wait(delay_s)
        self._journal.close()
        self._patient.close()

    def facts(self) -> dict[str, int]:
        """For the heartbeat."""
        posted = {"posted_waiting": self.waiting, "posted_sent_again": self.sent_again}
        return posted | {"uploads_waiting": self.uploads.waiting}

    def look(self, now_s: float) -> None:
        """Check the files that are complete, and remove those that were stored long enough ago."""
        paths = sorted(posted_folder(self._settings).glob(f"*{SUFFIX}"))
        started = self._patient.once_of_database(_started_at) if paths else ""
        self.waiting = sum(self._seen.get(path) != started for path in paths)
        for path in paths:
            age_s = now_s - path.stat().st_mtime
            if age_s >= SETTLE_S and self._seen.get(path) != started and self._check(path):
                self._seen[path] = started
                self.waiting -= 1
            if age_s >= KEEP_S and self._seen.get(path) == started:
                path.unlink()
                del self._seen[path]

    def _check(self, path: Path) -> bool:
        """True once all of a file is stored, or what was lost of it was sent again and is in a file of its own."""
        posts = list(read_posts(path))
        if not self._have_passed(posts):
            return False
        lost = self._patient.once_of_database(lambda connection: lost_posts(connection, posts))
        if lost:
            rows = sum(post.n for post in lost)
            log.warning("%d posted ticks were acknowledged and are not stored: Redis has lost them; sending them again", rows)
            again = [own for post in lost for own in respread(post, self._settings.shards)]
            self._journal.append(append_posts(self._patient.redis, again))
            self.sent_again += rows
        return True

    def _have_passed(self, posts: Sequence[Post]) -> bool:
        """True if the writers have done all that there is up to these entries; what the stream forgot they will never do."""
        newest: dict[str, EntryId] = {}
        for post in posts:
            newest[post.stream] = max(newest.get(post.stream, START), EntryId.parse(post.entry_id))
        client = self._patient.redis
        return all((writers_position(client, stream) or START) >= min(at, _last(client, stream)) for stream, at in newest.items())


def respread(post: Post, shards: int) -> list[Post]:
    """A post by the streams of today: it may have been made with another GEMS_SHARDS."""
    by_stream = rows_by_stream(post.rows, shards)
    return [post._replace(stream=stream, rows=rows, n=rows.count("\n")) for stream, rows in by_stream.items()]


def lost_posts(connection: Connection, posts: Sequence[Post]) -> list[Post]:
    """Those of which a row is neither in `raw_ticks` nor a dead letter."""
    by_day: defaultdict[int, list[tuple[str, int, int, int]]] = defaultdict(list)
    for place, post in enumerate(posts):
        for number, trade in enumerate(decode_rows(post.rows)):
            by_day[trade.event_us // US_PER_DAY].append((trade.symbol, trade.trade_id, place, number))
    with transaction(connection), connection.cursor() as cursor:
        absent = [
            found
            for day, rows in sorted(by_day.items())
            for at in range(0, len(rows), _ASKED_AT_ONCE)
            for found in _absent(cursor, day, rows[at : at + _ASKED_AT_ONCE])
        ]
        if not absent:
            return []
        cursor.execute(_DEAD, ([posts[place].entry_id for place in {place for place, _ in absent}],))
        dead = set(cursor.fetchall())
    lost = {place for place, number in absent if (posts[place].stream, posts[place].entry_id, number) not in dead}
    return [posts[place] for place in sorted(lost)]


def _absent(cursor: Cursor, day: int, rows: Sequence[tuple[str, int, int, int]]) -> list[tuple[int, int]]:
    """(place of the post, number of the row) of those that a UTC day does not have."""
    symbols, ids, places, numbers = map(list, zip(*rows, strict=True))
    cursor.execute(_ABSENT, {
        "symbols": symbols, "ids": ids, "posts": places, "numbers": numbers,
        "first": from_us(day * US_PER_DAY), "end": from_us((day + 1) * US_PER_DAY),
    })  # fmt: skip
    return list(cursor.fetchall())


def _started_at(connection: Connection) -> str:
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time()::text")
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def _last(client: redis.Redis, stream: str) -> EntryId:
    try:
        told: dict[str, bytes] = client.xinfo_stream(stream)
    except redis.ResponseError as exc:
        if "no such key" not in str(exc):
            raise
        return START
    return EntryId.parse(told["last-generated-id"])
