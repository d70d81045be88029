"""Records in append-only files: `length crc32 payload`. A machine that stops in the middle of a write leaves a torn tail.

    spool (producer)      batches while Redis is away
    posted ticks (web)    what clients were promised, until it is in PostgreSQL
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_HEAD = struct.Struct("!II")


def to_record(payload: bytes) -> bytes:
    """The payload with its head."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each whole record as (offset behind it, payload); stops at the first that is torn."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, crc = _HEAD.unpack(head)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != crc:
                return
            yield file.tell(), payload


def sync_directory(directory: Path) -> None:
    """Make it durable that files were made or removed in it."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
