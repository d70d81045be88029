"""Scans: all pairs of the symbols, ranked."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from web.api import Blueprint, json_text, stores
from web.errors import bad
from web.queries.scan import SORTS, newest_scan
from web.queries.totals import known_symbols
from web.routes.analytics import asked_symbols
from web.routes.spread import Symbols
from web.routes.tasks import Made, make_task
from web.schemas import MAX_LIMIT, Body, Timeframe, Whole

#: A test costs about a millisecond for each hundred rows, and there are two a pair.
WINDOWS = (20, 2000)
blueprint = Blueprint("scan", __name__, url_prefix="/api/analytics", description="Ranking all pairs")


class ScanBody(Body):
    """What to scan."""

    timeframe = Timeframe(load_default="1s")
    window = Whole(*WINDOWS, metadata={"description": "Rows that are looked at; default GEMS_WINDOW."})
    symbols = Symbols(metadata={"description": "At most 200; default GEMS_SYMBOLS."})


class ScanMade(Made):
    """A task was made."""

    timeframe = fields.String()
    window = fields.Integer()
    pairs = fields.Integer()


class ScanQuery(Body):
    """Which scan, and how it is sorted."""

    timeframe = Timeframe(load_default="1s")
    window = Whole(*WINDOWS, metadata={"description": "Default GEMS_WINDOW."})
    sort = fields.String(
        load_default="coint_pvalue",
        validate=validate.OneOf(SORTS, error="must be one of {choices}, was '{input}'"),
        metadata={"description": "Best first; z_score and correlations by their size without the sign. Null comes last."},
    )
    limit = Whole(1, MAX_LIMIT, load_default=100, metadata={"description": "The best so many."})


class ScannedPair(Schema):
    """A pair Y_X, Y the leg that is explained better; null where undefined."""

    symbol_pair = fields.String()
    symbol1 = fields.String()
    symbol2 = fields.String()
    coint_statistic = fields.Float(allow_none=True)
    coint_pvalue = fields.Float(allow_none=True, metadata={"description": "Engle-Granger, the better of both ways."})
    other_way_pvalue = fields.Float(allow_none=True)
    hedge_ratio = fields.Float(allow_none=True)
    spread = fields.Float(allow_none=True)
    z_score = fields.Float(allow_none=True)
    half_life = fields.Float(allow_none=True, metadata={"description": "Bars until half of a deviation is gone; null: never."})
    hurst = fields.Float(allow_none=True)
    correlation = fields.Float(allow_none=True)
    return_correlation = fields.Float(allow_none=True)
    rows = fields.Integer(metadata={"description": "Fewer than the window: there are not more, and nothing is said of it."})
    carried = fields.Integer(metadata={"description": "Rows that used a close carried forward."})


class Scan(Schema):
    """The newest finished scan; null and empty where there is none."""

    scan_id = fields.String(allow_none=True, metadata={"description": "Its task."})
    timeframe = fields.String()
    window = fields.Integer()
    symbols = fields.List(fields.String(), allow_none=True)
    computed_on = fields.String(allow_none=True, metadata={"description": "The newest bar that it looked at."})
    started_at = fields.String(allow_none=True)
    finished_at = fields.String(allow_none=True)
    pairs_scanned = fields.Integer(allow_none=True)
    pairs = fields.List(fields.Nested(ScannedPair))
    count = fields.Integer()


@blueprint.route("/scan/")
class ScanResource(MethodView):
    """Scans."""

    @blueprint.arguments(ScanQuery, location="query")
    @blueprint.response(200, Scan)
    def get(self, query: dict[str, Any]) -> Response:
        """The pairs of the newest finished scan, best first"""
        return json_text(newest_scan(stores(), {"window": stores().settings.window, **query}))

    @blueprint.arguments(ScanBody)
    @blueprint.response(202, ScanMade)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Rank all pairs of the symbols: cointegration both ways, half-life, z-score, hedge ratio, correlations"""
        settings = stores().settings
        symbols = asked_symbols(settings, body)
        known = known_symbols(stores())
        for symbol in symbols:
            if symbol not in known:
                raise bad("symbols", f"must be known symbols ({', '.join(sorted(known)[:20])}), was {symbol!r}")
        window = body.get("window", settings.window)
        if not WINDOWS[0] <= window <= WINDOWS[1]:
            raise bad("window", f"must be from {WINDOWS[0]} to {WINDOWS[1]}, was {window} (GEMS_WINDOW)")
        task_id = make_task("scan", {"timeframe": body["timeframe"], "window": window, "symbols": symbols})
        pairs = len(symbols) * (len(symbols) - 1) // 2
        return {
            "status": "processing", "task_id": task_id, "timeframe": body["timeframe"], "window": window, "pairs": pairs,
        }  # fmt: skip
