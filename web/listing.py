"""A page of a list out of plain columns: PostgreSQL writes each value once, and the names are put around them here.

Its own JSON (`json_agg`) costs it four times as much as the values alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from common.codec import parse_iso_us
from web.paging import page_text


class Listing(NamedTuple):
    """The objects of a list whose rows come newest first, as cells that are JSON already; the first is the time.

    `texts` are put in quotes here: they are never NULL, and nothing in them needs an escape. `place` are the numbers that a
    cursor is made of, of a row's cells from its time in microseconds on.
    """

    name: str
    columns: tuple[str, ...]
    texts: frozenset[str]
    place: Callable[[int, Sequence[str]], tuple[object, ...]]

    def page(self, cells: list[str], query: Mapping[str, Any], fixed: Mapping[str, str]) -> str:
        """`{"<name>": [...], "count", "complete", "next_cursor"}` of one row more than `limit`, if there is one.

        `cells` are of one row after the other, and are used up; `fixed` stands first in each object.
        """
        width, limit = len(self.columns), query["limit"]
        found, cursor = len(cells) // width, None
        cells[::width] = map(instant_text, cells[::width])
        if found > limit:
            del cells[limit * width :]
            last = cells[-width:]
            cursor = ".".join(map(str, (self.name, *self.place(parse_iso_us(last[0]), last))))
        if query["order"] == "asc":
            for column in range(width):
                cells[column::width] = cells[column::width][::-1]
        return page_text(self.name, (as_objects(cells, self.columns, self.texts, fixed), found, cursor), limit)


def as_objects(cells: Sequence[str], columns: Sequence[str], texts: frozenset[str], fixed: Mapping[str, str]) -> str:
    """The list of objects of cells, row by row.

    >>> as_objects(["1", "b", "2", "s"], ["price", "side"], frozenset({"side"}), {"symbol": "X"})
    '[{"symbol":"X","price":1,"side":"b"},{"symbol":"X","price":2,"side":"s"}]'
    """
    if not cells:
        return "[]"
    quotes = ['"' if name in texts else "" for name in columns]
    begins = "{" + "".join(f"{json.dumps(name)}:{json.dumps(value)}," for name, value in fixed.items())
    leads = [f'{"," if at else begins}"{name}":{quotes[at]}' for at, name in enumerate(columns)]
    ends = [*quotes[-1:], *quotes[:-1]]  # of the cell before
    row = [part for at, lead in enumerate(leads) for part in (ends[at] + (lead if at else f"}},{lead}"), "")]
    parts = row * (len(cells) // len(columns))
    parts[1::2] = cells
    parts[0] = f"[{leads[0]}"
    return "".join((*parts, ends[0], "}]"))


def instant_text(text: str) -> str:
    """A moment as PostgreSQL writes it in UTC, with always six digits: what `web.queries.pieces.instant` costs more for.

    >>> instant_text("2026-11-23 07:00:00.5+00")
    '2026-11-23T07:00:00.500000Z'
    """
    return f"{text[:10]}T{text[11:19]}{text[19:-3] or '.':0<7}Z"
