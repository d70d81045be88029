"""Every container gives the lines that were put in, in bounded memory, and says so where it can't."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import zstandard

from producer import containers
from producer.containers import BrokenFile, Container

TEXT = "".join(f"{number},row\n" for number in range(5000))


def zipped(text: bytes, name: str = "BTCUSDT-trades-1.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._x.csv", b"junk")
        archive.writestr("folder/" + name, text)
        archive.writestr("BTCUSDT-trades-1.csv.CHECKSUM", b"junk")
    return buffer.getvalue()


def zstd_frames(text: bytes) -> bytes:
    half = len(text) // 2
    return zstandard.compress(text[:half]) + zstandard.compress(text[half:])


PACKED = {
    "plain": lambda text: text,
    "gz": gzip.compress,
    "gz of two parts": lambda text: gzip.compress(text[:100]) + gzip.compress(text[100:]),
    "zst": zstandard.compress,
    "zst of two frames": zstd_frames,
    "zip": zipped,
}


def read(path: Path) -> list[str]:
    with Container(path, path.name) as container:
        lines: list[str] = []
        for block in container.blocks():
            assert block.first_number == len(lines) + 1
            lines += block.lines
        assert container.position > 0
        return lines


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_container_gives_its_lines(tmp_path, packed, end):
    path = tmp_path / "file"
    path.write_bytes(PACKED[packed](b"\xef\xbb\xbf" + TEXT.replace("\n", end).encode()))
    assert read(path) == TEXT.split("\n")[:-1]


@pytest.mark.parametrize("packed", PACKED)
def test_the_last_line_needs_no_end(tmp_path, packed):
    path = tmp_path / "file"
    path.write_bytes(PACKED[packed](TEXT.removesuffix("\n").encode()))
    assert read(path) == TEXT.split("\n")[:-1]


@pytest.mark.parametrize("packed", [name for name in PACKED if name != "plain"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_file_is_said_to_be_cut(tmp_path, packed, share):
    content = PACKED[packed](TEXT.encode())
    path = tmp_path / "file"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BrokenFile, match="damaged or cut off"):
        read(path)


def test_what_came_before_the_cut_is_read(tmp_path):
    content = b"".join(gzip.compress(TEXT.encode()) for _ in range(100))
    path = tmp_path / "file"
    path.write_bytes(content[:-30])
    lines = 0
    with Container(path, "file") as container, pytest.raises(BrokenFile):
        for block in container.blocks():
            lines += len(block.lines)
    assert lines > 450_000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, zipped])
def test_a_bomb_is_stopped(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(containers, "SMALL_BYTES", 1_000_000)
    path = tmp_path / "file"
    path.write_bytes(pack(b"1\n" * 10_000_000))
    with pytest.raises(BrokenFile, match="expands to more than"):
        read(path)


def test_a_line_without_an_end_is_stopped(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1" * (containers.MOST_LINE_BYTES + 300_000))
    with pytest.raises(BrokenFile, match="line 1 is longer"):
        read(path)


def test_a_zip_without_trades_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(zipped(b"x", "picture.png"))
    with pytest.raises(BrokenFile, match="holds no file of trades"):
        read(path)
