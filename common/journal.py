"""Ticks that the API has acknowledged: files under `<data dir>/posted`, until PostgreSQL has them whatever becomes of Redis.

The web writes (`Journal`), an answer waits for its fsync; threads that come together share one. The importer looks after them
(`read_posts`): what Redis has lost it sends again. A file takes records for a few seconds only, so that an old one is complete.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson
import redis

from common.errors import StoreUnavailable
from common.records import read_records, sync_directory, to_record
from common.settings import Settings
from common.streams import append

SUFFIX = ".posted"
#: A file takes records for so long, and about so many bytes.
OPEN_S = 4.0
FILE_BYTES = 8 << 20


class Post(NamedTuple):
    """One entry as it was appended: `n` rows of one source, and the id that Redis gave it."""

    stream: str
    entry_id: str
    src: str
    n: int
    rows: str


def posted_folder(settings: Settings) -> Path:
    """Where they are; web and importer of an instance share it."""
    return settings.data_dir.resolve() / "posted"


def read_posts(path: Path) -> Iterator[Post]:
    """All that was acknowledged of a file; a torn tail was not."""
    for _, payload in read_records(path):
        for post in orjson.loads(payload):
            yield Post(*post)


def append_posts(client: redis.Redis, posts: Sequence[Post]) -> list[Post]:
    """Into their streams, those of one stream all together or not at all; answers them with the ids they got now.

    Raises:
        redis.RedisError, OSError: some may have been appended all the same; doing it again is harmless.
    """
    appended: list[Post] = []
    for stream, group in groupby(posts, key=lambda post: post.stream):
        of_stream = list(group)
        with client.pipeline(transaction=True) as pipe:
            for post in of_stream:
                append(pipe, stream, post.src, post.rows, post.n)
            appended += [post._replace(entry_id=found.decode()) for post, found in zip(of_stream, pipe.execute(), strict=True)]
    return appended


class Journal:
    """Appends; any thread may."""

    def __init__(self, settings: Settings) -> None:
        self._folder, self._most_bytes = posted_folder(settings), settings.posted_max_mb << 20
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        self._file: BinaryIO | None = None
        self._began_s = 0.0
        self._written = self._synced = self._doubtful = 0  # records, of all files: up to this number

    def append(self, posts: Sequence[Post]) -> None:
        """Keep the entries of one request; on return they are on the disk.

        Raises:
            StoreUnavailable: the disk does not take them, or too many wait for their check.
        """
        record = to_record(orjson.dumps([tuple(post) for post in posts]))
        try:
            with self._writing:
                file = self._open_file()
                try:
                    file.write(record)
                except OSError:
                    self._close()  # half a record would hide all that follow it
                    raise
                self._written += 1
                number = self._written
            self._sync(file, number)
        except OSError as exc:
            raise StoreUnavailable(f"posted ticks can not be kept on the disk: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Sync and close the open file; the next record begins another."""
        with self._writing:
            self._close()

    def _sync(self, file: BinaryIO, number: int) -> None:
        """Whoever comes first syncs for all that have written by then."""
        with self._syncing:
            with self._writing:
                if number <= self._doubtful:
                    raise OSError("the file could not be synced")
                if number <= self._synced:  # by another thread, or as the file was closed
                    return
                handle, written = os.dup(file.fileno()), self._written
            try:
                os.fsync(handle)
                if os.fstat(handle).st_nlink == 0:  # we slept so long that the importer took it for an old one
                    raise OSError("the file was removed meanwhile")
            finally:
                os.close(handle)
            self._synced = max(self._synced, written)

    def _open_file(self) -> BinaryIO:
        """The file that takes records now; an older one is synced and closed before the next is begun."""
        if self._file and (time.monotonic() - self._began_s > OPEN_S or self._file.tell() > FILE_BYTES):
            self._close()
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._must_have_room()
            path = self._folder / f"{time.time_ns() // 1000}-{uuid.uuid4().hex[:8]}{SUFFIX}"
            self._file, self._began_s = path.open("xb", buffering=0), time.monotonic()
            sync_directory(self._folder)
        return self._file

    def _must_have_room(self) -> None:
        used = sum(path.stat().st_size for path in self._folder.glob(f"*{SUFFIX}") if path.exists())
        if used >= self._most_bytes:
            raise StoreUnavailable(
                f"{used >> 20:,} MB of posted ticks wait until they are stored; is the importer running? ./gems status tells"
            )

    def _close(self) -> None:
        file, self._file = self._file, None
        if file:
            try:
                with file:
                    os.fsync(file.fileno())
            except OSError:
                self._doubtful = self._written
                raise
            self._synced = self._written
