"""Which id space a symbol's exchange ids come from. Trade ids and aggTrade ids count differently and must never mix."""

from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.errors import SourceConflict

#: Ticks without ids of their own; allowed beside any source, for their ids are negative.
CONTENT = "api"
#: Venues that count a symbol's ids one by one: a hole in these says that trades are missing. Ids that clients name need not.
_COUNTING = ("binance.",)


def ids_follow_on(src: str) -> bool:
    """True if a hole between two ids of this source is a gap.

    >>> ids_follow_on("binance.aggTrade"), ids_follow_on("api.trade")
    (True, False)
    """
    return src.startswith(_COUNTING)


def register_source(connection: Connection, symbol: str, src: str) -> None:
    """Bind a symbol to a source before its first entry is made.

    Raises:
        SourceConflict: the symbol has ids of another kind.
    """
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("INSERT INTO sources (symbol, src) VALUES (%s, %s) ON CONFLICT DO NOTHING", (symbol, src))
        cursor.execute("SELECT src FROM sources WHERE symbol = %s", (symbol,))
        row = cursor.fetchone()
    assert row, "just inserted"
    if row[0] == CONTENT and src != CONTENT:
        return _promote(connection, symbol, src)
    if src not in (CONTENT, row[0]):
        raise SourceConflict(symbol, row[0], src)
    return None


def source_of(connection: Connection, symbol: str) -> str | None:
    """The registered source of a symbol; None where it has none yet."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT src FROM sources WHERE symbol = %s", (symbol,))
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _promote(connection: Connection, symbol: str, src: str) -> None:
    """A symbol that had only content ids gets its first exchange."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("UPDATE sources SET src = %s WHERE symbol = %s AND src = %s", (src, symbol, CONTENT))
        lost_the_race = cursor.rowcount == 0
    if lost_the_race:
        register_source(connection, symbol, src)
