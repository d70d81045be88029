"""Rows of a range as a file that is sent while it is read: which formats there are, how many at once, and its name."""

import csv
import io
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple

from flask import Response, request
from marshmallow import fields, validate

from web.api import stores
from web.columnar import arrow_stream, parquet
from web.errors import Problem, bad
from web.queries.exports import DoesNotFit, Rows

AT_ONCE = 3
#: A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS_OF_PEOPLE = ("note", "details")
#: What a list takes and a file has no use for.
_OF_PAGES = ("limit", "cursor", "before", "fill", "annualised")
_places = BoundedSemaphore(AT_ONCE)


class Format(NamedTuple):
    """How a file is written: its media type, the end of its name, and how rows become its parts."""

    mimetype: str
    suffix: str
    write: Callable[[Rows, bool], Iterator[str] | Iterator[bytes]]


def exported(name: str, query: dict[str, Any], subject: str = "") -> Response:
    """The rows as a file.

    Raises:
        Problem: 503 while as many exports run as may; 400 where decimals do not fit the format.
    """
    if not _places.acquire(blocking=False):
        raise Problem(503, f"{AT_ONCE} exports run already; try again soon")
    try:
        rows = Rows(stores().settings, name, query)
    except DoesNotFit as exc:
        _places.release()
        raise bad("decimals", str(exc)) from exc
    except BaseException:
        _places.release()
        raise

    closed = Lock()

    def close() -> None:
        if closed.acquire(blocking=False):  # once: at the last row, or when the client has gone
            rows.close()
            _places.release()

    form = FORMATS[query["format"]]
    written = form.write(rows, query.get("decimals") == "string")
    response = Response(_until_the_end(written, close), mimetype=form.mimetype)
    file_name = "-".join(filter(None, (name, subject.replace(":", "."), query.get("timeframe")))) + f".{form.suffix}"
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response.call_on_close(close)
    return response


def asked_as_file(name: str, query: dict[str, Any], subject: str = "") -> Response | None:
    """A list as the file of all its rows, oldest first unless asked otherwise; None where a page of JSON is asked for.

    Raises:
        Problem: as `exported`; 400 for what only pages have.
    """
    if query["format"] == "json":
        return None
    for field in _OF_PAGES:
        if field in request.args:
            raise bad(field, f"is of pages: format={query['format']} has all rows of [start, end)")
    return exported(name, query if "order" in request.args else {**query, "order": "asc"}, subject)


def format_field(default: str, of_json: str) -> fields.String:
    """Which format; `of_json` says what json is here."""
    text = f"ndjson: an object a line; csv: with a header; parquet; arrow: an IPC stream; json: {of_json}."
    one_of = validate.OneOf(tuple(FORMATS), error="must be one of {choices}, was '{input}'")
    return fields.String(load_default=default, validate=one_of, metadata={"description": text})


def list_format() -> fields.String:
    """Which format of a list that answers pages."""
    return format_field("json", "a page; the others are files of all rows of [start, end), oldest first")


def _until_the_end(written: Iterator[Any], close: Callable[[], None]) -> Iterator[Any]:
    try:
        yield from written
    finally:
        close()


def _ndjson(rows: Rows, exact: bool) -> Iterator[str]:
    """An object a line."""
    for batch in rows:
        yield "".join(f"{row}\n" for (row,) in batch)


def _json(rows: Rows, exact: bool) -> Iterator[str]:
    """One array."""
    between = "[\n"
    for batch in rows:
        yield between + ",\n".join(row for (row,) in batch)
        between = ",\n"
    yield "\n]\n" if between == ",\n" else "[]\n"


def _csv(rows: Rows, exact: bool) -> Iterator[str]:
    """A header and a line a row; NULL is empty."""
    names = tuple(column.name for column in rows.columns)
    guarded = [place for place, name in enumerate(names) if name in _TEXTS_OF_PEOPLE]
    yield _lines([names])
    for batch in rows:
        yield _lines([_harmless(row, guarded) for row in batch] if guarded else batch)


def _lines(batch: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(batch)
    return text.getvalue()


def _harmless(row: tuple[Any, ...], guarded: list[int]) -> tuple[Any, ...]:
    """Texts that people wrote, with a quote before what a spreadsheet would run."""
    return tuple(
        f"'{value}" if place in guarded and isinstance(value, str) and value.startswith(_FORMULA) else value
        for place, value in enumerate(row)
    )


FORMATS = {
    "ndjson": Format("application/x-ndjson", "ndjson", _ndjson),
    "csv": Format("text/csv", "csv", _csv),
    "json": Format("application/json", "json", _json),
    "parquet": Format("application/vnd.apache.parquet", "parquet", parquet),
    "arrow": Format("application/vnd.apache.arrow.stream", "arrows", arrow_stream),
}
#: For the document: a list that answers files too.
FILES_TOO: dict[str, Any] = {
    "responses": {
        200: {
            "content": {
                form.mimetype: {"schema": {"type": "string", "format": "binary"}}
                for name, form in FORMATS.items()
                if name != "json"
            }
        }
    }
}
