"""What live trades did not wait for: ids still to be fetched, remembered on disk until they are in."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

import orjson

from common.log import get_logger

log = get_logger(__name__)


class Debt(NamedTuple):
    """Ids first_id..last_id of a symbol, of one source."""

    symbol: str
    src: str
    first_id: int
    last_id: int


class Debts:
    """A queue of debts and its file. One thread uses it; any may ask how much is owed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: deque[Debt] = deque()
        self._is_saved = True
        try:
            self._queue.extend(Debt(*row) for row in orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError) as exc:
            log.error("%s can not be read (%s); what it said is left to a backfill", path, exc)

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def trades(self) -> int:
        """How many trades are owed."""
        return sum(debt.last_id - debt.first_id + 1 for debt in list(self._queue))

    def has(self, symbol: str) -> bool:
        """True if trades of that symbol are owed."""
        return any(debt.symbol == symbol for debt in list(self._queue))

    def add(self, debt: Debt) -> None:
        """Owe it: on return it is on the disk."""
        self._queue.append(debt)
        self._save()

    def pop(self) -> Debt:
        """The oldest; what remains of it comes back by `put_back`. On the disk it stays until `settle`."""
        self._is_saved = False
        return self._queue.popleft()

    def put_back(self, debt: Debt) -> None:
        """Not paid, or only in part."""
        self._queue.append(debt)

    def settle(self) -> None:
        """What was fetched is in the stream or the spool: the disk may forget it."""
        if not self._is_saved:
            self._save()

    def _save(self) -> None:
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(orjson.dumps([tuple(debt) for debt in self._queue]))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._path)
        self._is_saved = True
