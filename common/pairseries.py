"""The registry of pair series (table `pair_series`): what the settings ask for, what people add and remove while it runs.

A series is live if the settings have it or somebody asked for it, and nobody has removed it since. Removing keeps the rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from common.pairspec import basket_legs
from common.settings import Settings
from common.tasks import queue_task

#: Series that may be live at once: each costs memory and a row a bar.
MOST_SERIES = 20_000
LIVE = "(in_settings OR requested) AND removed_at IS NULL"
_COLUMNS = "symbol_pair, timeframe, window_bars, method, symbols"
_SEED = f"""
INSERT INTO pair_series AS s ({_COLUMNS}, in_settings) VALUES %s
ON CONFLICT (symbol_pair, timeframe, window_bars, method) DO UPDATE SET in_settings = true WHERE NOT s.in_settings
RETURNING {_COLUMNS}, removed_at IS NULL
"""  # noqa: S608
_UNSEED = """
UPDATE pair_series SET in_settings = false
WHERE in_settings AND NOT (symbol_pair, timeframe, window_bars, method) IN (SELECT * FROM unnest(%s, %s, %s, %s))
"""
_ADD = f"""
INSERT INTO pair_series AS s ({_COLUMNS}, requested) VALUES (%s, %s, %s, %s, %s, true)
ON CONFLICT (symbol_pair, timeframe, window_bars, method) DO UPDATE SET requested = true, removed_at = NULL, added_at = now()
    WHERE NOT ({LIVE.replace("in_settings", "s.in_settings").replace("requested", "s.requested").replace("removed", "s.removed")})
RETURNING 1
"""  # noqa: S608
_NOTE = f"""
INSERT INTO pair_series ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""  # noqa: S608


class SeriesKey(NamedTuple):
    """One series of rows; `method` is the canonical text."""

    pair: str
    timeframe: str
    window: int
    method: str = "ols"


class Series(NamedTuple):
    """A key and its legs, y first."""

    key: SeriesKey
    symbols: tuple[str, ...]


def settings_series(settings: Settings) -> list[Series]:
    """GEMS_PAIRS x GEMS_TIMEFRAMES, each once."""
    found: dict[SeriesKey, Series] = {}
    for spec in settings.pair_specs:
        legs = basket_legs(spec.pair, settings.symbols)
        for timeframe in settings.timeframes if legs else ():
            key = SeriesKey(spec.pair, timeframe, spec.window or settings.window, spec.method)
            found[key] = Series(key, tuple(legs or ()))
    return list(found.values())


def seed(cursor: Cursor, settings: Settings) -> None:
    """Make the registry say what the settings say now; the past of a series that becomes live by it is filled by a task."""
    wanted = settings_series(settings)
    keys = [list(column) for column in zip(*(series.key for series in wanted), strict=True)] or [[], [], [], []]
    cursor.execute(_UNSEED.replace("%s, %s, %s, %s", "%s::text[], %s::text[], %s::integer[], %s::text[]"), keys)
    lines = [(*series.key, list(series.symbols), True) for series in wanted]
    new = execute_values(cursor, _SEED, lines, fetch=True) if lines else []
    for *key, symbols, live in new:
        if live:
            queue_fill(cursor, Series(SeriesKey(*key), tuple(symbols)))


def add(cursor: Cursor, series: Series) -> str | None:
    """Make a series live and fill its past by a task, whose id is answered; None if it is live already.

    Raises:
        ValueError: there are as many series as there may be.
    """
    cursor.execute(f"SELECT count(*) FROM pair_series WHERE {LIVE}")  # noqa: S608
    row = cursor.fetchone()
    if row and row[0] >= MOST_SERIES:
        raise ValueError(f"there are {row[0]:,} live series already, and {MOST_SERIES:,} is the most; remove some first")
    cursor.execute(_ADD, (*series.key, list(series.symbols)))
    return queue_fill(cursor, series) if cursor.fetchone() else None


def note(cursor: Cursor, series: Series) -> None:
    """Remember a series that has rows but is not live: its rows follow what rebuilds change."""
    cursor.execute(_NOTE, (*series.key, list(series.symbols)))


def remove(cursor: Cursor, pair: str, filters: Mapping[str, Any]) -> list[SeriesKey]:
    """Stop the live series of a pair; `filters` may name `timeframe`, `window_bars`, `method`. Answers which; rows stay."""
    narrow = "".join(f" AND {name} = %({name})s" for name in ("timeframe", "window_bars", "method") if name in filters)
    cursor.execute(
        f"UPDATE pair_series SET removed_at = now(), requested = false WHERE {LIVE} AND symbol_pair = %(pair)s{narrow}"  # noqa: S608
        " RETURNING symbol_pair, timeframe, window_bars, method",
        {**filters, "pair": pair},
    )
    return [SeriesKey(*row) for row in cursor.fetchall()]


def version(cursor: Cursor) -> int:
    """Rises with every change of the registry; costs one look at an index."""
    cursor.execute("SELECT coalesce(max(version), 0) FROM pair_series")
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def live_series(cursor: Cursor) -> list[Series]:
    """All live series."""
    return _read(cursor, f"SELECT {_COLUMNS} FROM pair_series WHERE {LIVE} ORDER BY 1, 2, 3, 4")  # noqa: S608


def series_of_legs(cursor: Cursor, symbols: Iterable[str]) -> list[tuple[Series, bool]]:
    """Every series that has one of these legs, and whether it is live."""
    cursor.execute(f"SELECT {_COLUMNS}, {LIVE} FROM pair_series WHERE symbols && %s ORDER BY 1, 2, 3, 4", (list(symbols),))  # noqa: S608
    return [(Series(SeriesKey(*row[:4]), tuple(row[4])), row[5]) for row in cursor.fetchall()]


def queue_fill(cursor: Cursor, series: Series) -> str:
    """A task that computes all of a series' past."""
    return queue_task(cursor, "spread", task_params(series))


def task_params(series: Series, **more: Any) -> dict[str, Any]:
    """What a `spread` task is told: the series, and optionally `start_us`, `end_us`, `check`."""
    key = series.key
    return {"symbols": list(series.symbols), "timeframe": key.timeframe, "window": key.window, "method": key.method, **more}


def series_of_task(params: Mapping[str, Any]) -> Series:
    """The series that a `spread` task is about."""
    symbols: Sequence[str] = params.get("symbols") or (params["symbol1"], params["symbol2"])
    key = SeriesKey("_".join(symbols), params["timeframe"], int(params["window"]), params.get("method", "ols"))
    return Series(key, tuple(symbols))


def _read(cursor: Cursor, query: str) -> list[Series]:
    cursor.execute(query)
    return [Series(SeriesKey(*row[:4]), tuple(row[4])) for row in cursor.fetchall()]
