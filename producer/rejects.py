"""What could not be used: counted, logged by sample, and kept for the dead letters."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.database import transaction
from common.errors import InvalidTrade
from common.log import get_logger

KEPT = 10_000
LOG_FIRST, LOG_EVERY = 3, 1000

log = get_logger(__name__)


class Reject(NamedTuple):
    """A row of the table `dead_letters`; unique by (stream, entry_id, row_number)."""

    stream: str  # where it would have come from: `feed` or `upload`
    entry_id: str
    row_number: int
    src: str
    field: str
    reason: str
    payload: str

    @classmethod
    def of(cls, where: tuple[str, str, int], src: str, error: Exception, payload: str) -> "Reject":
        """From the error that the judge or a parser raised."""
        field = error.field if isinstance(error, InvalidTrade) else ""
        return cls(*where, src, field, _storable(str(error)), _storable(payload[:1000]))


def store_rejects(connection: Connection, rejects: Iterable[Reject]) -> None:
    """Into the dead letters, each once."""
    sql = (
        "INSERT INTO dead_letters (stream, entry_id, row_number, src, field, reason, payload) VALUES %s"
        " ON CONFLICT (stream, entry_id, row_number) DO NOTHING"
    )
    with transaction(connection), connection.cursor() as cursor:
        execute_values(cursor, sql, list(rejects), page_size=500)


class Samples:
    """Counts messages that could not be used and logs a few of them; keeps the trades among them until they are stored."""

    def __init__(self) -> None:
        self.counted = 0
        self.waiting: deque[Reject] = deque(maxlen=KEPT)

    def note(self, error: Exception, reject: Reject | None = None) -> None:
        """One more."""
        self.counted += 1
        if self.counted <= LOG_FIRST or self.counted % LOG_EVERY == 0:
            log.warning("message no. %d that can not be used: %s", self.counted, error)
        if reject:
            self.waiting.append(reject)

    def take(self) -> list[Reject]:
        """What waits to be stored."""
        return [self.waiting.popleft() for _ in range(len(self.waiting))]

    def put_back(self, rejects: list[Reject]) -> None:
        """They could not be stored now."""
        self.waiting.extendleft(reversed(rejects))


def _storable(text: str) -> str:
    """PostgreSQL has no NUL in text, and no half of a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "replace").decode()
