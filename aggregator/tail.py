"""One stream, read in order by one reader that keeps its own position."""

from typing import Any

import redis

from common.streams import START, Entry, EntryId, ReadSize, in_pieces, to_entry

#: Rows that come in one piece: what they are read into fits the processor's caches. Each piece costs something for each symbol in
#: it too, so with many symbols it has more rows.
CHUNK_ROWS, ROWS_A_SYMBOL, MOST_ROWS = 20_000, 60, 60_000


class Tail:
    """Reads entries after `position`; the caller commits the position with what it made of them."""

    def __init__(self, client: redis.Redis, stream: str, full_entry_rows: int) -> None:
        self._client, self.stream = client, stream
        self._size = ReadSize(CHUNK_ROWS, full_entry_rows)
        self.position = START
        self.is_behind = False  # entries were waiting at the last read
        self._catch_up_to: EntryId | None = None

    def read(self, block_ms: int, symbols: int = 0) -> list[Entry]:
        """The next entries, about as many rows as do for so many symbols; waits up to `block_ms` for the first.

        What a read brings beyond that is left where it is, for the next one.
        """
        self._size.rows = min(max(CHUNK_ROWS, ROWS_A_SYMBOL * symbols), MOST_ROWS)
        count = self._size.entries()
        found: Any = self._client.xread({self.stream: str(self.position)}, count=count, block=block_ms)
        if not found:
            self.is_behind = False
            return []
        entries = [to_entry(*item) for item in found[0][1]]
        self._size.note(entries)
        piece = list(next(in_pieces(entries, 2 * self._size.rows)))
        self.position = piece[-1].id
        self.is_behind = len(piece) < len(entries) or len(entries) == count
        return piece

    def quiet_until_ms(self) -> int | None:
        """Redis' time if nothing is unread at that time; None otherwise. The time is taken first, both in one transaction."""
        pipe = self._client.pipeline(transaction=True)
        pipe.time()
        pipe.xread({self.stream: str(self.position)}, count=1)
        (seconds, micros), unread = pipe.execute()
        return None if unread else seconds * 1000 + micros // 1000

    def holds_position(self) -> bool:
        """True if the stream still has the entry at the position: trimming keeps it, so else the stream was changed.

        Before the first entry read there is nothing to miss.
        """
        return self.position == START or self.holds(self.position)

    def holds_all_up_to(self, before: EntryId) -> bool:
        """After a read: False if the stream lost what was there up to the position before it."""
        return before == START or self.holds(before)

    def holds(self, at: EntryId) -> bool:
        """True if the stream still has this entry."""
        return bool(self._client.xrange(self.stream, str(at), str(at), count=1))

    def is_whole(self) -> bool:
        """True if no entry was ever trimmed from the stream, or it does not exist yet."""
        try:
            told: Any = self._client.xinfo_stream(self.stream)
        except redis.ResponseError as exc:
            if "no such key" not in str(exc):
                raise
            return True
        return int(told["entries-added"]) == int(told["length"])

    def catch_up_from(self, start: bool) -> None:
        """Read again from the first entry on, or from here; `has_caught_up` tells when what is there now has been read."""
        if start:
            self.position = START
        last: Any = self._client.xrevrange(self.stream, count=1)
        self._catch_up_to = EntryId.parse(last[0][0]) if last else START

    def has_caught_up(self, writers: EntryId | None) -> bool:
        """True once everything has been read, and stored up to `writers`, that was there when `catch_up_from` was called."""
        if self._catch_up_to is None:
            return True
        return self.position >= self._catch_up_to and (writers or START) >= self._catch_up_to
