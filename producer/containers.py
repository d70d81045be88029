"""Files as blocks of lines: plain, .gz, .zip or .zst by their first bytes, streamed, with bounds against bombs."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

from common.errors import MessageError

BLOCK_BYTES = 256 * 1024
MOST_LINE_BYTES = 16 * 1024 * 1024
#: A file may grow to this many times its size, and to this much in any case. Trades compress 5 to 40 times.
MOST_EXPANSION = 300
SMALL_BYTES = 64 * 1024 * 1024
ZSTD_WINDOW_BYTES = 128 * 1024 * 1024
ZSTD_PIECE_BYTES = 2 * 1024  # 4 bytes of zstandard can become 128 KiB; pieces keep one answer under 64 MiB


class BrokenFile(MessageError):
    """A file that can not be read to its end."""


class Block(NamedTuple):
    """Lines that follow each other, without their ends."""

    member: str  # file name inside a .zip, else the file's own
    first_number: int  # of the first line, from 1; counts on over the members of a .zip
    lines: list[str]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Container:
    """An open file; `blocks` can be read once, `position` tells how far the file itself is read."""

    def __init__(self, path: Path, name: str) -> None:
        self._file: BinaryIO = path.open("rb")
        self._name, self.size = name, path.stat().st_size
        self._most_bytes = max(SMALL_BYTES, self.size * MOST_EXPANSION)
        self._expanded, self._number = 0, 1

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes of the file that are read."""
        return min(self._file.tell(), self.size)

    def blocks(self) -> Iterator[Block]:
        """All lines, block by block.

        Raises:
            BrokenFile: truncated, damaged, encrypted or a bomb; what came before was good.
        """
        try:
            for member, read in self._members():
                yield from self._lines(member, read)
        except (EOFError, zlib.error, OSError, zstandard.ZstdError, zipfile.BadZipFile) as exc:
            raise BrokenFile(f"the file is damaged or cut off: {exc or type(exc).__name__}") from exc
        except (RuntimeError, NotImplementedError) as exc:
            raise BrokenFile(f"the .zip can not be opened: {exc}") from exc

    def _members(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        start = self._file.read(4)
        self._file.seek(0)
        if start == b"PK\x03\x04" or start == b"PK\x05\x06":
            yield from self._zip_members()
        elif start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=self._file) as stream:
                yield self._name, lambda: stream.read1(BLOCK_BYTES)
        elif start == b"\x28\xb5\x2f\xfd":
            pieces = _zstd_pieces(self._file)
            yield self._name, lambda: next(pieces, b"")
        else:
            yield self._name, lambda: self._file.read(BLOCK_BYTES)

    def _zip_members(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        with zipfile.ZipFile(self._file) as archive:
            names = [name for name in archive.namelist() if _holds_trades(name)]
            if not names:
                raise BrokenFile("the .zip holds no file of trades (.csv, .json, .jsonl, .ndjson or .txt)")
            for name in names:
                with closing(archive.open(name)) as stream:
                    yield name.rpartition("/")[2], _reader(stream)

    def _lines(self, member: str, read: Callable[[], bytes]) -> Iterator[Block]:
        rest = b""
        while part := read():
            self._expanded += len(part)
            if self._expanded > self._most_bytes:
                raise BrokenFile(f"the file expands to more than {self._most_bytes:,} bytes, too much for its size")
            whole, newline, part_rest = part.rpartition(b"\n")
            if newline:
                yield self._block(member, rest + whole)
                rest = part_rest
            else:
                rest += part
            if len(rest) > MOST_LINE_BYTES:
                raise BrokenFile(f"line {self._number} is longer than {MOST_LINE_BYTES:,} bytes")
        if rest:
            yield self._block(member, rest)

    def _block(self, member: str, text: bytes) -> Block:
        lines = text.decode("utf-8-sig" if self._number == 1 else "utf-8", "replace").split("\n")
        if b"\r" in text:
            lines = [line.removesuffix("\r") for line in lines]
        block = Block(member, self._number, lines)
        self._number += len(lines)
        return block


def _reader(stream: _Readable) -> Callable[[], bytes]:
    return lambda: stream.read(BLOCK_BYTES)


def _holds_trades(name: str) -> bool:
    base = name.rpartition("/")[2]
    hidden = name.startswith("__MACOSX") or base.startswith(".")
    return not hidden and base.lower().endswith((".csv", ".json", ".jsonl", ".ndjson", ".txt"))


def _zstd_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Expanded pieces of all frames; a frame without its end is an error, which the library's own reader passes over."""
    context = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frame, begun = context.decompressobj(), False
    while read := file.read(BLOCK_BYTES):
        for at in range(0, len(read), ZSTD_PIECE_BYTES):
            piece = read[at : at + ZSTD_PIECE_BYTES]
            while piece:
                begun = True
                expanded = frame.decompress(piece)
                if expanded:
                    yield expanded
                piece = b""
                if frame.eof:
                    piece, frame, begun = frame.unused_data, context.decompressobj(), False
    if begun:
        raise EOFError("the zstandard stream ends early")
