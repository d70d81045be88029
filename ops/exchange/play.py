"""A recorded file as a tape: its rows in its order, from where the last run stood, with the file's ids and texts.

The file is unpacked once under `<data_dir>/exchange/play/`, with the place, id and time of each row beside it, so that any
row is found without reading the others. The position is written before the rows are sent: what a crash keeps from a
client is in the past, and to be had by REST.
"""

import bisect
import json
import os
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import ConfigError
from common.log import get_logger
from ops.exchange.archive import Layout, is_header, layout_of, open_lines, symbol_of
from ops.exchange.protocol import Aggregate, Fill, Print

FLUSH_ROWS = 1 << 18
_COLUMNS = ("offsets", "ids", "times_us")

log = get_logger(__name__)


class PlayTape:
    """A file's rows: those before `position` have been played and are served by REST."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.symbol = symbol_of(path)
        self.symbols: tuple[str, ...] = (self.symbol,)
        folder = folder / "play"
        about = _unpacked(path, folder)
        self._layout = Layout(**about["layout"])
        self.rows: int = about["rows"]
        self.kind = self._layout.kind
        self._offsets, self._ids, self._times_us = (np.memmap(folder / f"{name}.i8", "<i8", "r") for name in _COLUMNS)
        self._file = os.open(folder / "rows.csv", os.O_RDONLY)
        self._position_file = os.open(folder / "position", os.O_RDWR | os.O_CREAT, 0o644)
        self.position: int = min(int(os.pread(self._position_file, 20, 0) or b"0"), self.rows)

    @property
    def ended(self) -> bool:
        """True once every row is played."""
        return self.position >= self.rows

    def next_us(self) -> int:
        """Time of the next row; ask only before the end."""
        return int(self._times_us[self.position])

    def take(self, until_us: int | None, limit: int) -> list[Print]:
        """Play on: at most `limit` rows, none from the first that is later than `until_us` (None: any time) on."""
        times_us = self._times_us[self.position : self.position + limit]
        count = len(times_us)
        if until_us is not None:
            later = np.flatnonzero(times_us > until_us)
            count = int(later[0]) if len(later) else count
        if not count:
            return []
        prints = self._read(self.position, count)
        self.position += count
        os.pwrite(self._position_file, b"%020d" % self.position, 0)
        return prints

    def fills(self, symbol: str, from_id: int | None, limit: int) -> list[Fill]:
        """Played trades by id ascending; none of a file of aggTrades."""
        if self.kind != "trade":
            return []
        return [row for row in self._window(from_id, None, None, limit) if isinstance(row, Fill)]

    def aggregates(
        self, symbol: str, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[Aggregate]:
        """Played aggTrades ascending; none of a file of trades."""
        if self.kind != "aggTrade":
            return []
        return [row for row in self._window(from_id, start_us, end_us, limit) if isinstance(row, Aggregate)]

    def state(self) -> dict[str, dict[str, object]]:
        """How far the file is played."""
        played = {"kind": self.kind, "rows": self.rows, "position": self.position, "ended": self.ended}
        last = self._read(self.position - 1, 1)[0] if self.position else None
        newest = {"last_id": last[0], "price": last.price, "time_us": last.time_us} if last else {}
        return {self.symbol: played | newest}

    def drop_old(self, now_us: int) -> None:
        """Nothing: the file is as long as it is."""

    def close(self) -> None:
        """Close the files."""
        os.close(self._file)
        os.close(self._position_file)

    def _window(self, from_id: int | None, start_us: int | None, end_us: int | None, limit: int) -> list[Print]:
        end = self.position if end_us is None else self._place(self._times_us, end_us + 1)
        if from_id is not None:
            start = self._place(self._ids, from_id)
        else:
            start = end - limit if start_us is None else self._place(self._times_us, start_us)
        start = max(0, start)
        return self._read(start, min(limit, end - start))

    def _place(self, column: Any, value: int) -> int:
        return bisect.bisect_left(column, value, 0, self.position)

    def _read(self, at: int, count: int) -> list[Print]:
        if count <= 0:
            return []
        start, end = int(self._offsets[at]), int(self._offsets[at + count])
        text = os.pread(self._file, end - start, start).decode("ascii")
        return [self._layout.read(line) for line in text.splitlines()]


def _unpacked(path: Path, folder: Path) -> dict[str, Any]:
    """Unpack the file unless that was done; what is known about it."""
    try:
        status = path.stat()
    except OSError as exc:
        raise ConfigError(f"GEMS_SIM_PLAY: {path} can not be read: {exc.strerror}") from exc
    source = {"path": str(path.resolve()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        if about["source"] == source:
            return about
    except (OSError, ValueError, KeyError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    about = {"source": source, **_unpack(path, folder)}
    (folder / "about.part").write_text(json.dumps(about))
    os.replace(folder / "about.part", folder / "about.json")
    log.info("unpacked %s: %d rows of %s", path.name, about["rows"], about["layout"]["kind"])
    return about


def _unpack(path: Path, folder: Path) -> dict[str, Any]:
    layout: Layout | None = None
    columns = {name: array("q") for name in _COLUMNS}
    rows, offset, last_id = 0, 0, -1
    with open_lines(path) as lines, (folder / "rows.csv").open("wb") as out:
        for number, line in _filled(lines):
            text = line.decode("ascii", "replace")
            if number == 1 and is_header(text):
                continue
            layout = layout or layout_of(text)
            trade_id, time_us = _identity(layout, text, path, number)
            if trade_id <= last_id:
                where = f"{path.name} line {number}"
                raise ConfigError(f"GEMS_SIM_PLAY: {where}: id {trade_id} is not above {last_id}; sort it by id")
            for name, value in zip(_COLUMNS, (offset, trade_id, time_us), strict=True):
                columns[name].append(value)
            out.write(line)
            rows, offset, last_id = rows + 1, offset + len(line), trade_id
            if rows % FLUSH_ROWS == 0:
                _flush(columns, folder)
    if layout is None:
        raise ConfigError(f"GEMS_SIM_PLAY: {path.name} has no rows")
    columns["offsets"].append(offset)
    _flush(columns, folder)
    return {"rows": rows, "layout": vars(layout)}


def _filled(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _identity(layout: Layout | None, text: str, path: Path, number: int) -> tuple[int, int]:
    try:
        if layout is None:
            raise ValueError("not the columns of Binance's trades or aggTrades")
        return layout.identity(text)
    except ValueError as exc:
        raise ConfigError(f"GEMS_SIM_PLAY: {path.name} line {number}: {exc}: {text.strip()[:80]!r}") from exc


def _flush(columns: dict[str, "array[int]"], folder: Path) -> None:
    for name, values in columns.items():
        with (folder / f"{name}.i8").open("ab") as file:
            values.tofile(file)
        del values[:]
