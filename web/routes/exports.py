"""`GET /api/export/...`: all rows of a range as a file, however many; memory stays as it is."""

import csv
import io
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore, Lock
from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import fields, validate

from web.api import Blueprint, stores
from web.errors import Problem
from web.queries.exports import Rows
from web.queries.spread import named_series
from web.routes.alerts import MAX_ID
from web.routes.analytics import STATS_WINDOWS
from web.routes.spread import OfSeries
from web.schemas import Body, PairName, Stamp, Symbol, Timeframe, Whole, decimals_field, order_field

AT_ONCE = 3
TYPE_BY_FORMAT = {"ndjson": "application/x-ndjson", "csv": "text/csv", "json": "application/json"}
#: A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS_OF_PEOPLE = ("note", "details")
_places = BoundedSemaphore(AT_ONCE)
blueprint = Blueprint("exports", __name__, url_prefix="/api/export", description="Exports")


class ExportQuery(Body):
    """Which rows of `[start, end)`, all of them, and how they are written."""

    start = Stamp(metadata={"type": "string", "description": "First moment (included): ISO 8601, or epoch ms or us."})
    end = Stamp(metadata={"type": "string", "description": "End (not included): ISO 8601, or epoch ms or us."})
    order = order_field("asc")
    decimals = decimals_field()
    format = fields.String(
        load_default="ndjson",
        validate=validate.OneOf(TYPE_BY_FORMAT, error="must be one of {choices}, was '{input}'"),
        metadata={"description": "ndjson: an object a line; csv: with a header; json: one array."},
    )


class TicksExport(ExportQuery):
    """Which ticks."""

    symbol = Symbol(required=True)


class BarsExport(TicksExport):
    """Which bars."""

    timeframe = Timeframe(load_default="1s")


class StatsExport(BarsExport):
    """Which statistics."""

    window = Whole(*STATS_WINDOWS, metadata={"description": "W, bars in the rolling window; default GEMS_STATS_WINDOW."})


class SpreadExport(OfSeries, ExportQuery):
    """Which rows of a pair."""


class EventsExport(ExportQuery):
    """Which events of alerts."""

    symbol_pair = PairName()
    alert_id = Whole(1, MAX_ID)


def exported(name: str, query: dict[str, Any], subject: str = "") -> Response:
    """The rows as a file that is sent while it is read.

    Raises:
        Problem: 503 while as many exports run as may.
    """
    if not _places.acquire(blocking=False):
        raise Problem(503, f"{AT_ONCE} exports run already; try again soon")
    try:
        rows = Rows(stores().settings, name, query)
    except BaseException:
        _places.release()
        raise

    closed = Lock()

    def close() -> None:
        if closed.acquire(blocking=False):  # once: at the last row, or when the client has gone
            rows.close()
            _places.release()

    written = _csv(rows) if query["format"] == "csv" else _json(rows, query["format"] == "json")
    response = Response(_until_the_end(written, close), mimetype=TYPE_BY_FORMAT[query["format"]])
    file_name = "-".join(filter(None, (name, subject.replace(":", "."), query.get("timeframe")))) + f".{query['format']}"
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response.call_on_close(close)
    return response


def _until_the_end(written: Iterator[str], close: Callable[[], None]) -> Iterator[str]:
    try:
        yield from written
    finally:
        close()


def _json(rows: Rows, as_array: bool) -> Iterator[str]:
    """An array, or an object a line."""
    between, sep = ("[\n", ",\n") if as_array else ("", "\n")
    for batch in rows:
        yield between + sep.join(row for (row,) in batch)
        between = sep
    if as_array:
        yield "\n]\n" if between == sep else "[]\n"
    elif between:
        yield "\n"


def _csv(rows: Rows) -> Iterator[str]:
    """A header and a line a row; NULL is empty."""
    guarded = [place for place, name in enumerate(rows.names) if name in _TEXTS_OF_PEOPLE]
    yield _lines([tuple(rows.names)])
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


@blueprint.route("/ticks/")
class TicksExportResource(MethodView):
    """Ticks."""

    @blueprint.arguments(TicksExport, location="query")
    @blueprint.response(200, description="A file of rows.")
    def get(self, query: dict[str, Any]) -> Response:
        """All ticks of a symbol"""
        return exported("ticks", query, query["symbol"])


@blueprint.route("/bars/")
class BarsExportResource(MethodView):
    """Bars."""

    @blueprint.arguments(BarsExport, location="query")
    @blueprint.response(200, description="A file of rows.")
    def get(self, query: dict[str, Any]) -> Response:
        """All bars of a symbol and timeframe"""
        return exported("bars", query, query["symbol"])


@blueprint.route("/spread/")
class SpreadExportResource(MethodView):
    """Pair rows."""

    @blueprint.arguments(SpreadExport, location="query")
    @blueprint.response(200, description="A file of rows.")
    def get(self, query: dict[str, Any]) -> Response:
        """All rows of a pair"""
        name, window, method = named_series(stores().settings, query)
        return exported("spread", {**query, "symbol_pair": name, "window": window, "method": method}, name)


@blueprint.route("/stats/")
class StatsExportResource(MethodView):
    """Statistics."""

    @blueprint.arguments(StatsExport, location="query")
    @blueprint.response(200, description="A file of rows.")
    def get(self, query: dict[str, Any]) -> Response:
        """All statistics of a symbol"""
        return exported("stats", {"window": stores().settings.stats_window, **query}, query["symbol"])


@blueprint.route("/alert-events/")
class EventsExportResource(MethodView):
    """History of alerts."""

    @blueprint.arguments(EventsExport, location="query")
    @blueprint.response(200, description="A file of rows.")
    def get(self, query: dict[str, Any]) -> Response:
        """All events of alerts, also of deleted ones"""
        return exported("alert-events", query, query.get("symbol_pair", ""))
