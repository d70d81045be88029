"""Pages of a list: the newest `limit` rows, and a cursor from which the page before it (towards older rows) goes on.

A cursor is the place of the last row that was given, not a number of rows: what comes in meanwhile moves nothing.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields

from common.trades import from_us
from web.stores import Stores

_MOST = 2**63 - 1
_LAST_US = 253_402_300_000_000_000  # in the year 9999
Place = tuple[int, ...]


class Cursor(fields.String):
    """`next_cursor` of a page of this list, as the place that it stands for: whole numbers, first a stamp in us if `stamped`."""

    def __init__(self, listing: str, parts: int = 1, stamped: bool = True) -> None:
        self.listing, self.parts, self.stamped = listing, parts, stamped
        text = "`next_cursor` of a page: the rows that are older than it. Opaque."
        super().__init__(error_messages={"invalid": "must be text"}, metadata={"description": text, "type": "string"})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        listing, *parts = str(super()._deserialize(value, attr, data, **kwargs)).split(".")
        try:
            place = tuple(map(_whole, parts))
            if listing != self.listing or len(place) != self.parts:
                raise ValueError(value)
            if self.stamped and not 0 < place[0] < _LAST_US:
                raise ValueError(value)
        except ValueError:
            raise ValidationError(f"must be the next_cursor of a page of this list, was {str(value)[:60]!r}") from None
        return place


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= _MOST):
        raise ValueError(text)
    return int(text)


class Page(Schema):
    """What every list says of itself."""

    count = fields.Integer()
    complete = fields.Boolean(metadata={"description": "True: there are no older rows of what was asked for."})
    next_cursor = fields.String(
        allow_none=True, metadata={"description": "`cursor` of the page of older rows; null where `complete`."}
    )


def by_stamp(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query of a list with one row a stamp: a cursor is nothing but an earlier `end`, and one more row than asked is read."""
    paged = {**query, "fetch": query["limit"] + 1}
    if query.get("cursor"):
        paged["end"] = min(from_us(query["cursor"][0]), query.get("end") or from_us(query["cursor"][0]))
    return paged


def by_id(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query of a list that is sorted by id: a cursor is a smaller `before`."""
    given = [before for before in (query.get("before"), *(query.get("cursor") or ())) if before is not None]
    return {**query, "fetch": query["limit"] + 1, "before": min(given, default=None)}


def as_page(name: str, found: str, newest_first: str, shown: str, *places: str) -> str:
    """SQL for a row of a page's list as JSON text, how many rows were found, and the cursor or NULL; `page_text` makes the page.

    `found` selects all that is asked for, `newest_first` sorts it wholly, `shown` selects and sorts what is answered from `page`,
    and `places` are whole numbers of a row of `page` that the cursor is made of. The list stands alone: each time that PostgreSQL
    puts a long text into another one costs a tenth of the query.
    """
    cursor = " || '.' || ".join((f"'{name}'", *places))
    return f"""
WITH found AS MATERIALIZED ({found} ORDER BY {newest_first} LIMIT %(fetch)s),
page AS NOT MATERIALIZED (SELECT * FROM found ORDER BY {newest_first} LIMIT %(limit)s)
SELECT (SELECT json_agg(listed)::text FROM ({shown}) AS listed), count(*),
    CASE WHEN count(*) > %(limit)s THEN (SELECT {cursor} FROM found ORDER BY {newest_first} LIMIT 1 OFFSET %(limit)s - 1) END
FROM found"""  # noqa: S608 - only constants of the callers are text; values travel as parameters


def one_page(stores: Stores, query: Mapping[str, Any], name: str, *parts: str) -> str:
    """A page as JSON text; `parts` are those of `as_page`."""
    row: Any = stores.row(as_page(name, *parts), query)
    return page_text(name, row, query["limit"])


def page_text(name: str, row: tuple[str | None, int, str | None], limit: int) -> str:
    """`{"<name>": [...], "count", "complete", "next_cursor"}` of the row that `as_page` answers.

    >>> page_text("bars", ("[1, 2]", 3, "bars.7"), 2)
    '{"bars": [1, 2], "count": 2, "complete": false, "next_cursor": "bars.7"}'
    """
    listed, found, cursor = row
    complete, following = ("true", "null") if cursor is None else ("false", f'"{cursor}"')
    head = f'{{"{name}": {listed or "[]"}, "count": {min(found, limit)}, '
    return f'{head}"complete": {complete}, "next_cursor": {following}}}'


def us(column: str) -> str:
    """SQL of a moment as whole microseconds since 1970."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"
