# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Pieces of SQL that several queries share. All values travel as parameters; only these constants are text."""

from collections.abc import Mapping, Sequence
from typing import Any

NEWEST_FIRST, OLDEST_FIRST = "timestamp DESC", "timestamp"


def instant(column: str) -> str:
    """SQL for a moment as live events write it too: `2026-11-23T07:00:00.123456Z`, always six digits; or NULL."""
    return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def finite(column: str) -> str:
    """SQL for a float that JSON can hold: NaN and the infinities become NULL."""
    return f"nullif(nullif(nullif({column}, 'NaN'), 'Infinity'), '-Infinity') AS {column}"


def as_list(name: str, rows: str) -> str:
    """SQL for `{"<name>": [...], "count": n}` of a sorted subquery that is always the whole list."""
    listed = (
        f"json_build_object('{name}', coalesce(json_agg(listed), '[]'), 'count', count(*), 'complete', true, 'next_cursor', null)"
    )
    return f"SELECT {listed}::text FROM ({rows}) AS listed"


def decimal(columns: str, query: Mapping[str, Any], kind: str = "text") -> str:
    """SQL of decimals as they are, or as text where the query says `decimals=string`; also of arrays, by `kind`."""
    if query.get("decimals") != "string":
        return columns
    return ", ".join(f"{name}::{kind} AS {name}" for name in columns.split(", "))


def written(columns: Sequence[str], query: Mapping[str, Any]) -> str:
    """SQL of decimals for `web.listing`: as they are, or in quotes where the query says `decimals=string`; NULL stays NULL."""
    exact = query.get("decimals") == "string"
    return ", ".join(quoted(name) if exact else name for name in columns)


def quoted(column: str) -> str:
    """SQL of a value as a JSON string, where nothing in it needs an escape; NULL stays NULL."""
    return f"""'"' || {column} || '"'"""


def within(query: Mapping[str, Any], column: str = "timestamp") -> str:
    """SQL for `AND start <= column < end`, of what the query has of the two; constants let the planner leave leaves out."""
    first = f" AND {column} >= %(start)s" if query.get("start") else ""
    end = f" AND {column} < %(end)s" if query.get("end") else ""
    return first + end


def sort(order: str) -> str:
    """SQL of `asc` or `desc` by time."""
    return NEWEST_FIRST if order == "desc" else OLDEST_FIRST
