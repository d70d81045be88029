"""`GET /api/export/...`: all rows of a range as a file, however many; memory stays as it is."""

from typing import Any

from flask import Response
from flask.views import MethodView

from web.api import Blueprint, stores
from web.exporting import exported, format_field
from web.queries.spread import of_series
from web.routes.alert_actions import EventFilters
from web.routes.alerts import MAX_ID
from web.routes.analytics import STATS_WINDOWS
from web.routes.spread import OfSeries
from web.schemas import Body, Stamp, Symbol, Timeframe, Whole, as_of_field, decimals_field, order_field

blueprint = Blueprint("exports", __name__, url_prefix="/api/export", description="Exports")


class ExportQuery(Body):
    """Which rows of `[start, end)`, all of them, and how they are written."""

    start = Stamp(metadata={"type": "string", "description": "First moment (included): ISO 8601, or epoch s, ms or us."})
    end = Stamp(metadata={"type": "string", "description": "End (not included): ISO 8601, or epoch s, ms or us."})
    order = order_field("asc")
    decimals = decimals_field()
    format = format_field("ndjson", "one array")


class TicksExport(ExportQuery):
    """Which ticks."""

    symbol = Symbol(required=True)


class BarsExport(TicksExport):
    """Which bars."""

    timeframe = Timeframe(load_default="1s")
    as_of = as_of_field()


class StatsExport(BarsExport):
    """Which statistics."""

    window = Whole(*STATS_WINDOWS, metadata={"description": "W, bars in the rolling window; default GEMS_STATS_WINDOW."})


class SpreadExport(OfSeries, ExportQuery):
    """Which rows of a pair."""

    as_of = as_of_field()


class EventsExport(EventFilters, ExportQuery):
    """Which events of alerts."""

    alert_id = Whole(1, MAX_ID)


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
        series = of_series(stores().settings, query)
        return exported("spread", series, series["symbol_pair"])


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
