"""Backtests of pairs."""

from typing import Any

from flask.views import MethodView
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from common.backtest import Outcome, Rules, backtest, summary, thinned
from common.codec import iso_us
from common.timeframes import TIMEFRAMES_S
from web.api import Blueprint, stores
from web.errors import bad
from web.queries.backtest import rows_of_pair
from web.queries.spread import named_series
from web.routes.spread import OfSeries
from web.schemas import Body, Stamp, Whole

MOST_ROWS = 100_000
EQUITY_POINTS = 1000
TRADES_SHOWN = 1000
blueprint = Blueprint("backtest", __name__, url_prefix="/api/analytics", description="Backtests of pairs")


class Number(fields.Float):
    """A finite number from `low` to `high`."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        inside = validate.Range(low, high, error="must be from {min} to {max}, was {input}")
        text = f"must be a number from {low:g} to {high:g}"
        texts: dict[str, Any] = {"invalid": f"{text}, was {{input!r:.60}}", "special": text, "null": "must be given"}
        super().__init__(allow_nan=False, validate=inside, error_messages=texts, **kwargs)


class BacktestQuery(OfSeries, Body):
    """A pair's series, a range, and the rules."""

    start = Stamp(metadata={"type": "string", "description": "First moment (included): ISO 8601, or epoch s, ms or us."})
    end = Stamp(metadata={"type": "string", "description": "End (not included)."})
    limit = Whole(2, MOST_ROWS, load_default=10_000, metadata={"description": "The newest so many rows of the range."})
    revisions = fields.String(
        load_default="first",
        validate=validate.OneOf(("first", "last"), error="must be first or last, was '{input}'"),
        metadata={"description": "`first`: rows as they were first written; `last`: as rebuilt bars have changed them since."},
    )
    entry = Number(0.01, 100, load_default=2.0, metadata={"description": "Enter at a z-score this far from zero."})
    exit = Number(0, 100, load_default=0.5, metadata={"description": "Leave when it is back within this."})
    stop = Number(0.01, 1000, metadata={"description": "Leave when it is this far out on the wrong side; default: never."})
    cost_bps = Number(0, 1000, load_default=5.0, metadata={"description": "Of each leg's value, at the entry and at the exit."})
    notional = Number(1e-9, 1e15, load_default=10_000.0, metadata={"description": "Of both legs together, at the entry."})

    @validates_schema
    def _two_legs(self, given: dict[str, Any], **kwargs: Any) -> None:
        if len(given.get("symbols") or ()) > 2:
            raise ValidationError("must be two symbols: baskets have no backtest yet", "symbols")


class BacktestTrade(Schema):
    """One position. Units below 0 are sold."""

    side = fields.String(metadata={"description": "long: bought the spread (y bought, x sold); short: sold it."})
    signal_at = fields.String(metadata={"description": "The bar whose z-score asked for it."})
    entry_at = fields.String(metadata={"description": "A later bar, at whose closes it was entered."})
    exit_at = fields.String()
    reason = fields.String(metadata={"description": "exit, stop, or end of the rows."})
    hedge_ratio = fields.Float(metadata={"description": "Of the signal's bar; held."})
    y_units = fields.Float()
    x_units = fields.Float()
    entry_z = fields.Float()
    entry_y = fields.Float()
    entry_x = fields.Float()
    exit_y = fields.Float()
    exit_x = fields.Float()
    costs = fields.Float()
    profit = fields.Float(metadata={"description": "After costs."})
    bars = fields.Integer()


class EquityPoint(Schema):
    """Notional plus profit so far, open positions at the bar's closes."""

    timestamp = fields.String()
    equity = fields.Float()


class BacktestResult(Schema):
    """What the rules would have done, each trade at prices after its signal."""

    symbol_pair = fields.String()
    timeframe = fields.String()
    window = fields.Integer()
    method = fields.String()
    rows = fields.Integer()
    first_at = fields.String(allow_none=True)
    last_at = fields.String(allow_none=True)
    total_return = fields.Float(metadata={"description": "Profit over notional; nothing is compounded."})
    profit = fields.Float()
    costs = fields.Float()
    sharpe = fields.Float(allow_none=True, metadata={"description": "Of returns a bar, times the root of bars in 365 days."})
    max_drawdown = fields.Float(metadata={"description": "0 or below."})
    hit_rate = fields.Float(allow_none=True)
    exposure = fields.Float(allow_none=True, metadata={"description": "Share of rows with an open position."})
    trade_count = fields.Integer()
    trades = fields.List(fields.Nested(BacktestTrade), metadata={"description": f"The last {TRADES_SHOWN:,}."})
    equity = fields.List(fields.Nested(EquityPoint), metadata={"description": f"At most {EQUITY_POINTS:,}, evenly spread."})


@blueprint.route("/backtest/")
class BacktestResource(MethodView):
    """Backtests."""

    @blueprint.arguments(BacktestQuery, location="query")
    @blueprint.response(200, BacktestResult)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Z-score entry and exit on the stored rows of a pair, with costs

        A signal at a bar's close is traded at the closes of the next bar that both legs have; its hedge ratio is held.
        """
        return run_backtest(query)

    @blueprint.arguments(BacktestQuery)
    @blueprint.response(200, BacktestResult)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """The same, with the parameters as a body"""
        return run_backtest(body)


def run_backtest(query: dict[str, Any]) -> dict[str, Any]:
    """Read the rows and play the rules; 400 where these make no sense."""
    name, window, method = named_series(stores().settings, query)
    try:
        rules = Rules(
            query["entry"], query["exit"], query.get("stop"), query["cost_bps"], query["notional"], "log" in method.split("+")
        )
    except ValueError as exc:
        field, _, reason = str(exc).partition(" ")
        raise bad(field, reason) from exc
    rows = rows_of_pair(stores(), {**query, "symbol_pair": name, "window": window, "method": method})
    outcome = backtest(rows, rules)
    stamps = [iso_us(rows[at].start_us) for at in (0, -1)] if rows else [None, None]
    return {
        "symbol_pair": name, "timeframe": query["timeframe"], "window": window, "method": method,
        "first_at": stamps[0], "last_at": stamps[1], **summary(outcome, rules, TIMEFRAMES_S[query["timeframe"]])._asdict(),
        "trades": _trades(outcome),
        "equity": [
            {"timestamp": iso_us(rows[at].start_us), "equity": rules.notional + outcome.profits[at]}
            for at in thinned(len(rows), EQUITY_POINTS)
        ],
    }  # fmt: skip


def _trades(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            **trade._asdict(), "side": "long" if trade.side > 0 else "short", "signal_at": iso_us(trade.signal_us),
            "entry_at": iso_us(trade.entry_us), "exit_at": iso_us(trade.exit_us),
        }
        for trade in outcome.trades[-TRADES_SHOWN:]
    ]  # fmt: skip
