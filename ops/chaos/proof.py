"""The tables against what was made and promised: trade by trade, bar by bar."""

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg2.extensions import cursor as Cursor

from common.codec import encode_row
from common.view import committed_view
from ops.chaos.made import made_rows
from ops.chaos.promises import Ledger
from ops.chaos.world import World
from ops.verify.bars import compare_day

_TABLE = """
CREATE TEMP TABLE made (symbol text COLLATE "C", trade_id bigint, timestamp timestamptz, price numeric, size numeric,
    side text COLLATE "C", seq integer, duty text)
"""
_STAGED = "CREATE TEMP TABLE staged (LIKE made); ALTER TABLE staged DROP COLUMN duty"
#: Each trade that should be there beside the one that is. A trade promised twice is one duty, the strictest.
_COMPARED = """
CREATE TEMP TABLE compared AS
WITH duty AS (
    SELECT DISTINCT ON (symbol, trade_id) * FROM made
    ORDER BY symbol, trade_id, array_position(ARRAY['made', 'promised', 'tried', 'before'], duty))
SELECT d.symbol, d.trade_id, d.duty, t.symbol IS NOT NULL AS there, (d.timestamp, d.price, d.size, coalesce(d.side, ''),
    coalesce(d.seq, 0)) IS NOT DISTINCT FROM (t.timestamp, t.price, t.size, coalesce(t.side, ''), coalesce(t.seq, 0)) AS same
FROM duty d LEFT JOIN raw_ticks t USING (symbol, trade_id)
"""
_BY_SYMBOL = """
SELECT symbol, count(DISTINCT trade_id) FILTER (WHERE duty IN ('made', 'promised')),
    count(DISTINCT trade_id) FILTER (WHERE there),
    count(DISTINCT trade_id) FILTER (WHERE NOT there AND duty IN ('made', 'promised')),
    count(*) FILTER (WHERE there AND NOT same),
    count(*) - count(DISTINCT trade_id) FROM compared GROUP BY symbol ORDER BY symbol
"""
_MISSING = """
SELECT symbol, min(trade_id), max(trade_id), count(*) FROM (
    SELECT symbol, trade_id, trade_id - row_number() OVER (PARTITION BY symbol ORDER BY trade_id) AS run FROM compared
    WHERE NOT there AND duty IN ('made', 'promised')) AS placed GROUP BY symbol, run ORDER BY 1, 2 LIMIT 20
"""
_STRANGE = """
SELECT count(*) FROM raw_ticks t WHERE NOT EXISTS (SELECT 1 FROM made m WHERE m.symbol = t.symbol AND m.trade_id = t.trade_id)
"""
_DAYS = "SELECT DISTINCT symbol, floor(extract(epoch FROM timestamp) / 86400)::integer FROM raw_ticks ORDER BY 1, 2"
_LETTERS = "SELECT src, field, count(*), min(reason) FROM dead_letters GROUP BY src, field ORDER BY 3 DESC LIMIT 12"
_BURIED = """
SELECT (SELECT count(*) FROM dead_letters WHERE entry_id = %s),
    (SELECT count(*) FROM raw_ticks WHERE symbol = 'POISON' AND trade_id = ANY(%s))
"""
_COUNTED = "SELECT count(*), (SELECT coalesce(sum(stored), 0) FROM writer_positions) FROM raw_ticks"
_GAPS = "SELECT state, count(*), coalesce(sum(last_id - first_id + 1), 0) FROM gaps GROUP BY state ORDER BY state"


@dataclass(slots=True)
class OfSymbol:
    """Trades of one symbol."""

    symbol: str
    due: int  # made by the exchange, or promised to a client
    stored: int
    lost: int
    changed: int  # stored with other values
    doubled: int


@dataclass(slots=True)
class Proof:
    """The outcome."""

    symbols: list[OfSymbol] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strange: int = 0  # stored, and nobody ever sent them
    bars: dict[str, int] = field(default_factory=dict)  # checked, by timeframe
    wrong_bars: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    dead_letters: list[tuple[Any, ...]] = field(default_factory=list)
    unburied: list[str] = field(default_factory=list)  # entries with poison that were stored in part
    gaps: dict[str, tuple[int, int]] = field(default_factory=dict)  # state -> gaps, ids in them

    def total(self, name: str) -> int:
        """Of all symbols."""
        return sum(getattr(each, name) for each in self.symbols)

    @property
    def holds(self) -> bool:
        """True if no law is broken."""
        bad = self.total("lost") + self.total("changed") + self.total("doubled") + self.strange
        return not (bad or self.wrong_bars or self.miscounted or self.unburied) and bool(self.symbols) and bool(self.bars)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        totals = {name: self.total(name) for name in ("due", "stored", "lost", "changed", "doubled")}
        return {**totals, "holds": self.holds, **asdict(self), "wrong_bars": len(self.wrong_bars), "wrong": self.wrong_bars[:50]}


def prove(world: World, ledger: Ledger, first_ids: dict[str, int]) -> Proof:
    """Compare everything, in one snapshot. The exchange's trades are owed from `first_ids` on."""
    proof = Proof()
    with closing(world.database()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL work_mem = '256MB'")
        _load(cursor, world, ledger, first_ids)
        _compare_ticks(cursor, proof)
        _compare_bars(cursor, world, proof)
        _look_for_poison(cursor, ledger, proof)
        _look_at_the_rest(cursor, world, proof)
        cursor.execute("ROLLBACK")
    return proof


def _load(cursor: Cursor, world: World, ledger: Ledger, first_ids: dict[str, int]) -> None:
    cursor.execute(_TABLE)
    cursor.execute(_STAGED)
    for symbol in world.settings.symbols:
        _copy(cursor, made_rows(world.settings, symbol))
        duty = "CASE WHEN trade_id >= %s THEN 'made' ELSE 'before' END"
        cursor.execute(f"INSERT INTO made SELECT *, {duty} FROM staged", (first_ids[symbol],))  # noqa: S608
    for promise in ledger:
        _copy(cursor, map(encode_row, promise.trades))
        duty = "promised" if promise.acknowledged else "tried"
        cursor.execute("INSERT INTO made SELECT *, %s FROM staged", (duty,))
    cursor.execute("CREATE INDEX ON made (symbol, trade_id)")
    cursor.execute("ANALYZE made")


def _copy(cursor: Cursor, rows: Iterable[str]) -> None:
    cursor.execute("TRUNCATE staged")
    cursor.copy_expert("COPY staged FROM STDIN (FORMAT csv)", _Text(iter(rows)))


class _Text(io.RawIOBase):
    """Rows as the file that COPY reads."""

    def __init__(self, rows: Iterator[str]) -> None:
        self._rows, self._rest = rows, b""

    def read(self, size: int = -1) -> bytes:
        parts, length = [self._rest], len(self._rest)
        for row in self._rows if length < size else ():
            parts.append(row.encode())
            length += len(parts[-1])
            if length >= size:
                break
        text = b"".join(parts)
        self._rest = text[size:]
        return text[:size]


def _compare_ticks(cursor: Cursor, proof: Proof) -> None:
    cursor.execute(_COMPARED)
    cursor.execute(_BY_SYMBOL)
    proof.symbols = [OfSymbol(*row) for row in cursor.fetchall()]
    cursor.execute(_MISSING)
    proof.missing = [f"{symbol} {first} to {last}: {count}" for symbol, first, last, count in cursor.fetchall()]
    cursor.execute(_STRANGE)
    proof.strange = _scalar(cursor)


def _compare_bars(cursor: Cursor, world: World, proof: Proof) -> None:
    view = committed_view(cursor, world.settings)
    cursor.execute(_DAYS)
    for symbol, day in cursor.fetchall():
        found = compare_day(cursor, symbol, day, world.settings.timeframes, view.closed_us(symbol))
        for timeframe, checked in found.checked.items():
            proof.bars[timeframe] = proof.bars.get(timeframe, 0) + checked
        proof.wrong_bars += [bar.as_finding(symbol).what for bar in [*found.bad, *found.marked]]


def _look_for_poison(cursor: Cursor, ledger: Ledger, proof: Proof) -> None:
    """Of an entry all is there, rows and letters, or nothing: Redis forgot it, and nobody had been promised it."""
    for poison in ledger.poisons:
        cursor.execute(_BURIED, (poison.entry_id, [trade.trade_id for trade in poison.good]))
        found = cursor.fetchone()
        if found not in ((0, 0), (poison.bad, len(poison.good))):
            proof.unburied.append(f"entry {poison.entry_id}: letters and rows {found}, not {poison.bad, len(poison.good)}")


def _look_at_the_rest(cursor: Cursor, world: World, proof: Proof) -> None:
    cursor.execute(_COUNTED)
    row = cursor.fetchone()
    assert row, "a query of counts answers a row"
    if row[0] != row[1]:
        proof.miscounted.append(f"{row[0]:,} ticks are there, the writers counted {int(row[1]):,}")
    url = f"{world.house.dashboard(world.settings)}api/ingestion/stats/"
    told = json.loads(world.http.request("GET", url, timeout=60).data)["tick_count"]
    if told != row[0]:
        proof.miscounted.append(f"{row[0]:,} ticks are there, stats/ tells {told:,}")
    cursor.execute(_LETTERS)
    proof.dead_letters = cursor.fetchall()
    cursor.execute(_GAPS)
    proof.gaps = {state: (int(gaps), int(ids)) for state, gaps, ids in cursor.fetchall()}


def _scalar(cursor: Cursor) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0
