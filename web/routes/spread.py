"""Rows of pairs and baskets: reading them, and computing them over what is stored."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, ValidationError, fields, validates_schema

from common.pairseries import Series, SeriesKey, task_params
from common.pairspec import MOST_LEGS, WINDOWS, checked_method, least_window
from web.api import Blueprint, stores
from web.caching import range_json
from web.errors import bad
from web.exporting import FILES_TOO, asked_as_file, list_format
from web.paging import Cursor, Page
from web.queries.spread import named_series, of_series, spread_rows
from web.queries.totals import known_symbols
from web.routes.tasks import Made, RangedTask, make_task
from web.schemas import RangeQuery, Symbol, Timeframe, Whole, as_of_field, decimals_field, order_field

blueprint = Blueprint("spread", __name__, url_prefix="/api/analytics", description="Pairs")
_METHOD = "ols, tls, kalman or huber, with the options log, prior, strict (kalman+log); baskets: ols or johansen."
_WHICH = "Instead of symbol1 and symbol2: the legs of a basket, y first."


class Method(fields.String):
    """A method's canonical text; in a query string a plus sign may come as a space."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip().lower().replace(" ", "+")
        if text == "johansen":
            return text
        try:
            return checked_method(text, 2)
        except ValueError as exc:
            raise ValidationError(str(exc).removeprefix("method ")) from exc


class Symbols(fields.List[str]):
    """Symbols, y first: a list, or text with commas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Symbol(), error_messages={"invalid": "must be a list of symbols", "null": "must be given"}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        given = [value] if isinstance(value, str) else value
        if isinstance(given, list):
            given = [part for text in given for part in (text.split(",") if isinstance(text, str) else [text])]
        return super()._deserialize(given, attr, data, **kwargs)


class OfSeries(Schema):
    """The legs, timeframe, window and method of a series; mixed into bodies and queries."""

    symbol1 = Symbol(metadata={"description": "y, the leg that is explained", "example": "BTCUSDT"})
    symbol2 = Symbol(metadata={"description": "x, the leg that explains", "example": "ETHUSDT"})
    symbols = Symbols(metadata={"description": _WHICH})
    timeframe = Timeframe(load_default="1s")
    window = Whole(WINDOWS[0], WINDOWS[-1], metadata={"description": "Bars in the rolling window; default GEMS_WINDOW."})
    method = Method(error_messages={"invalid": "must be text", "null": "must be given"}, metadata={"description": _METHOD})

    @validates_schema
    def _legs(self, given: dict[str, Any], **kwargs: Any) -> None:
        if "symbols" in given:
            legs = given["symbols"]
            if not 2 <= len(legs) <= MOST_LEGS or len(set(legs)) < len(legs):
                raise ValidationError(f"must be 2 to {MOST_LEGS} different symbols, was {','.join(legs)!r:.200}", "symbols")
            return
        for name in ("symbol1", "symbol2"):
            if name not in given:
                raise ValidationError("is required", name)
        if given["symbol1"] == given["symbol2"]:
            raise ValidationError(f"must differ from symbol1, was {given['symbol2']!r}", "symbol2")


def series_of(given: dict[str, Any]) -> Series:
    """The series that a body names; 400 where the method or the window does not fit its legs."""
    legs = tuple(given.get("symbols") or (given["symbol1"], given["symbol2"]))
    name, window, method = named_series(stores().settings, given)
    try:
        method = checked_method(method, len(legs))
    except ValueError as exc:
        raise bad("method", str(exc).removeprefix("method ")) from exc
    if window < (least := least_window(method, len(legs))):
        raise bad("window", f"must be at least {least} for {method} of {len(legs)} legs, was {window}")
    return Series(SeriesKey(name, given["timeframe"], window, method), legs)


def known_legs(series: Series) -> None:
    """400 for a leg that nobody has ever traded or asked for."""
    known = known_symbols(stores())
    for number, symbol in enumerate(series.symbols, 1):
        if symbol not in known:
            field = f"symbol{number}" if len(series.symbols) == 2 else "symbols"
            raise bad(field, f"must be one of the known symbols ({', '.join(sorted(known)[:20])}), was {symbol!r}")


class SpreadQuery(OfSeries, RangeQuery):
    """Which rows of a pair."""

    as_of = as_of_field()
    order = order_field("asc")
    decimals = decimals_field()
    cursor = Cursor("analytics")
    format = list_format()


class PairRow(Schema):
    """A pair at the close of a bar, from bars up to this one; a statistic is null until its window is full."""

    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.000000Z"})
    symbol1_price = fields.Float()
    symbol2_price = fields.Float()
    hedge_ratio = fields.Float(allow_none=True)
    intercept = fields.Float(allow_none=True)
    spread = fields.Float(allow_none=True)
    z_score = fields.Float(allow_none=True)
    rolling_mean = fields.Float(allow_none=True)
    rolling_std = fields.Float(allow_none=True)
    correlation = fields.Float(allow_none=True)
    return_correlation = fields.Float(allow_none=True)
    half_life = fields.Float(allow_none=True, metadata={"description": "Bars until half of a deviation is gone; null: never."})
    innovation_z = fields.Float(allow_none=True, metadata={"description": "kalman: the surprise, in expected deviations."})
    adf_statistic = fields.Float(allow_none=True, metadata={"description": "Engle-Granger, at the bar `coint_at`."})
    adf_pvalue = fields.Float(allow_none=True)
    is_cointegrated = fields.Boolean(allow_none=True)
    hurst = fields.Float(allow_none=True, metadata={"description": "Of the spread, at the bar `coint_at`."})
    variance_ratio = fields.Float(allow_none=True)
    spread_adf_statistic = fields.Float(allow_none=True, metadata={"description": "Dickey-Fuller of the spread itself."})
    spread_adf_pvalue = fields.Float(allow_none=True)
    coint_at = fields.String(allow_none=True)
    hedge_ratios = fields.List(fields.Float(), allow_none=True, metadata={"description": "Baskets: the ratio of each x."})
    leg_prices = fields.List(fields.Float(), allow_none=True, metadata={"description": "Baskets: the price of each leg."})
    carried = fields.String(metadata={"description": "The legs whose last close was carried forward: y, x or empty."})
    has_gap = fields.Boolean()
    revision = fields.Integer(metadata={"description": "How often rebuilt bars have changed it."})
    written_at = fields.String(metadata={"description": "When this revision was written."})
    window = fields.Integer()
    method = fields.String()


class PairRows(Page):
    """Rows of a series, oldest first."""

    analytics = fields.List(fields.Nested(PairRow))


@blueprint.route("/spread/")
class SpreadResource(MethodView):
    """Rows of a pair."""

    @blueprint.arguments(SpreadQuery, location="query")
    @blueprint.response(200, PairRows)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest rows of a pair, oldest first"""
        series = of_series(stores().settings, query)
        return asked_as_file("spread", series, series["symbol_pair"]) or range_json(spread_rows(stores(), query), query)


class SpreadTask(OfSeries, RangedTask):
    """Which pair to compute again."""


class SpreadTaskMade(Made):
    """A task was made."""

    symbol_pair = fields.String()


@blueprint.route("/compute-spread/")
class ComputeSpreadResource(MethodView):
    """Computing a pair."""

    @blueprint.arguments(SpreadTask)
    @blueprint.response(202, SpreadTaskMade)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Compute the rows of a pair or basket from its bars: any range, window, method; rows of other parameters stay"""
        series = series_of(body)
        span = {name: body[name] for name in ("start_us", "end_us") if name in body}
        return {
            "status": "processing", "task_id": make_task("spread", task_params(series, **span)), "symbol_pair": series.key.pair,
        }  # fmt: skip
