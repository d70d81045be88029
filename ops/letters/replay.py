"""Dead letters judged again by the time it is now; the good ones go into the stream, and only then are they deleted.

A crash between the two repeats a trade, which is stored once; it never loses one.
"""

import ast
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.codec import decode_row, encode_row
from common.database import transaction
from common.errors import GemsError, InvalidTrade
from common.judge import Limits, judge
from common.letters import FEED, UPLOAD
from common.settings import Settings
from common.sources import register_source
from common.streams import EntryId, append, shard_of, stream_names
from common.trades import Trade, utc_day
from ops.letters.shelf import Letter, chosen, delete, newest_id
from ops.letters.uploads import replay_upload

_MARK = """
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory) VALUES %s
"""


@dataclass(slots=True)
class Outcome:
    """How many went back into the stream, and why the others stay, by their ids."""

    replayed: int = 0
    stayed: list[tuple[int, str]] = field(default_factory=list)


class Replay:
    """Sends chosen letters."""

    def __init__(self, settings: Settings, client: redis.Redis, connection: Connection) -> None:
        self._settings, self._client, self._connection = settings, client, connection
        self._limits, self._streams = Limits.of(settings), stream_names(settings)
        self._outcome = Outcome()

    def run(self, ids: Sequence[int] | None) -> Outcome:
        """Replay these (None: all that there are now).

        Raises:
            redis.RedisError, psycopg2.Error: those sent before are replayed, the others untouched.
        """
        uploads: dict[str, list[Letter]] = {}
        found: set[int] = set()
        for letters in chosen(self._connection, ids, newest_id(self._connection)):
            found |= {letter.id for letter in letters}
            for letter in letters:
                if letter.stream == UPLOAD:
                    uploads.setdefault(letter.entry_id, []).append(letter)
            self._send([letter for letter in letters if letter.stream != UPLOAD])
        for entry_id, of_file in uploads.items():
            self._send_file(entry_id, of_file)
        self._outcome.stayed += [(letter_id, "there is no such letter") for letter_id in ids or () if letter_id not in found]
        return self._outcome

    def _send(self, letters: Sequence[Letter]) -> None:
        """Those that are good now, by stream and source, in entries of the usual size."""
        good: dict[tuple[str, str], list[tuple[int, Trade]]] = {}
        now_ms = time.time_ns() // 1_000_000
        for letter in letters:
            try:
                trade = judge(trade_of(letter), self._limits, now_ms)
                register_source(self._connection, trade.symbol, letter.src)
            except GemsError as exc:
                self._outcome.stayed.append((letter.id, str(exc)))
                continue
            stream = self._streams[shard_of(trade.symbol, self._settings.shards)]
            good.setdefault((stream, letter.src), []).append((letter.id, trade))
        for (stream, src), trades in good.items():
            for at in range(0, len(trades), self._settings.batch_rows):
                self._send_entry(stream, src, trades[at : at + self._settings.batch_rows])

    def _send_entry(self, stream: str, src: str, trades: Sequence[tuple[int, Trade]]) -> None:
        """Append, then delete and mark: the aggregators may have counted these trades before the writers refused them, so
        that they take them for repeats now."""
        rows = "".join([encode_row(trade) for _, trade in trades])
        entry = EntryId.parse(append(self._client, stream, src, rows, len(trades)))
        spans = spans_of([trade for _, trade in trades])
        marks = [(symbol, *span, stream, entry.ms, entry.seq, "replayed", True) for (symbol, _), span in spans.items()]
        with transaction(self._connection), self._connection.cursor() as cursor:
            execute_values(cursor, _MARK, marks)
            self._outcome.replayed += delete(cursor, [letter_id for letter_id, _ in trades])

    def _send_file(self, entry_id: str, letters: list[Letter]) -> None:
        stayed = replay_upload(self._settings, self._connection, entry_id, letters)
        self._outcome.stayed += stayed.items()
        self._outcome.replayed += len(letters) - len(stayed)


def spans_of(trades: Sequence[Trade]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and last stamp of each symbol on each UTC day.

    >>> spans_of([Trade("A", 1, 7, "1", "1"), Trade("A", 2, 5, "1", "1")])
    {('A', 0): (5, 7)}
    """
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for trade in trades:
        key = trade.symbol, utc_day(trade.event_us)
        first, last = spans.get(key, (trade.event_us, trade.event_us))
        spans[key] = min(first, trade.event_us), max(last, trade.event_us)
    return spans


def trade_of(letter: Letter) -> Trade:
    """The trade that a letter of a stream or of the feed was, not yet judged.

    Raises:
        InvalidTrade: its payload has not even the form of one, or nobody knows what its id counts.
    """
    if not letter.src:
        raise InvalidTrade("src", letter.src, "must say what the ids count")
    if letter.stream != FEED:
        return decode_row(letter.payload)
    try:
        trade = Trade(*ast.literal_eval(letter.payload))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise InvalidTrade("payload", letter.payload, "must be the fields of a trade") from exc
    types = (str, int, int, str, str, str)
    if [type(value) for value in trade[:6]] != list(types) or type(trade.seq) not in (int, type(None)):
        raise InvalidTrade("payload", letter.payload, "must be the fields of a trade")
    return trade
