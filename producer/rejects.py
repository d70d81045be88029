"""What could not be used: counted, logged by sample, and kept for the dead letters."""

from collections import deque
from collections.abc import Iterable

from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.errors import InvalidTrade
from common.letters import MAX_PAYLOAD, NewLetter, bury
from common.log import get_logger

KEPT = 10_000
LOG_FIRST, LOG_EVERY = 3, 1000

log = get_logger(__name__)


class Reject(NewLetter):
    """A letter of what never became an entry: `stream` is FEED or UPLOAD."""

    __slots__ = ()

    @classmethod
    def of(cls, where: tuple[str, str, int], src: str, error: Exception, payload: str) -> "Reject":
        """From the error that the judge or a parser raised; `where` is the letter's identity."""
        field = error.field if isinstance(error, InvalidTrade) else ""
        return cls(*where, src, field, _storable(str(error)), _storable(payload[:MAX_PAYLOAD]))


def store_rejects(connection: Connection, rejects: Iterable[Reject]) -> None:
    """Into the dead letters, each once."""
    with transaction(connection), connection.cursor() as cursor:
        bury(cursor, rejects)


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
