"""Fields and queries that several resources share: one schema validates and documents."""

import re
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from common.codec import parse_iso_us
from common.errors import InvalidTrade
from common.settings import SYMBOL_PATTERN
from common.timeframes import TIMEFRAMES_S
from common.trades import from_us

MAX_LIMIT = 10_000
STAMPS = "must be ISO 8601 with Z or an offset, such as 2026-11-28T06:00:00Z, or epoch ms or us"
#: Epoch stamps from here on are microseconds, below it milliseconds (this is 1973 in us, the year 5138 in ms).
_US_FROM = 10**14
_S_BELOW = 10**11  # as milliseconds this is March 1973: nobody asks for a range of then
_EPOCH = re.compile(r"(\d{1,18})(?:\.(\d{1,20}))?", re.ASCII)
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$", re.ASCII)  # a query string turns the + of an offset into a space


class Body(Schema):
    """A body or query: what it doesn't know is left aside."""

    class Meta:
        unknown = EXCLUDE
        ordered = True

    error_messages = {"type": "must be a JSON object"}  # noqa: RUF012


class Symbol(fields.String):
    """A symbol, upper-cased."""

    pattern = "^[A-Za-z0-9:._-]{1,40}$"  # as the document says it
    about, example = "A symbol such as BTCUSDT.", "BTCUSDT"

    def __init__(self, **kwargs: Any) -> None:
        said = {"pattern": self.pattern, "description": self.about}
        if kwargs.get("required"):
            said["example"] = self.example  # what the page of the API begins with
        super().__init__(**{**kwargs, "metadata": {**said, **kwargs.get("metadata", {})}})

    default_error_messages = {"required": "is required", "null": "must be given", "invalid": "must be text"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        symbol = str(super()._deserialize(value, attr, data, **kwargs)).strip().upper()
        if not SYMBOL_PATTERN.fullmatch(symbol):
            raise ValidationError(f"must be a symbol such as BTCUSDT (at most 40 of A-Z 0-9 : . _ -), was {symbol[:60]!r}")
        return symbol


class PairName(Symbol):
    """A pair `Y_X`, or a symbol, of at most 81 characters."""

    pattern = "^[A-Za-z0-9:._-]{1,81}$"
    about, example = "A symbol, or a pair Y_X such as BTCUSDT_ETHUSDT.", "BTCUSDT_ETHUSDT"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name = fields.String._deserialize(self, value, attr, data, **kwargs).strip().upper()
        if not re.fullmatch(r"[A-Z0-9:._-]{1,81}", name, re.ASCII):
            raise ValidationError(f"must be a symbol or a pair such as BTCUSDT_ETHUSDT, was {name[:100]!r}")
        return name


class Timeframe(fields.String):
    """The name of a bar length."""

    def __init__(self, **kwargs: Any) -> None:
        names = validate.OneOf(TIMEFRAMES_S, error="must be one of {choices}, was '{input}'")
        texts: dict[str, Any] = {"invalid": "must be text", "null": "must be given"}
        said = {"description": "Length of a bar.", **kwargs.pop("metadata", {})}
        super().__init__(validate=names, error_messages=texts, metadata=said, **kwargs)


class Whole(fields.Integer):
    """A whole number from `low` to `high`."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        inside = validate.Range(low, high, error="must be from {min} to {max}, was {input}")
        texts: dict[str, Any] = {
            "invalid": f"must be a whole number from {low} to {high}, was {{input!r:.60}}",
            "null": "must be given",
        }
        super().__init__(validate=inside, error_messages=texts, **kwargs)

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and not value.is_integer():
            raise self.make_error("invalid", input=value)  # int() would cut it
        return super()._validated(value)


class Stamp(fields.Field[datetime]):
    """A moment: ISO 8601 with Z or an offset, or epoch seconds, milliseconds or microseconds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            return from_us(moment_us(value))
        except InvalidTrade as exc:
            raise ValidationError(f"{exc.reason}, was {str(value)[:60]!r}") from exc
        except OverflowError as exc:
            raise ValidationError(f"must be a real moment, was {str(value)[:60]!r}") from exc


class RangeQuery(Body):
    """The newest `limit` rows of `[start, end)`; `order` only sorts them."""

    start = Stamp(metadata={"type": "string", "description": "First moment (included): ISO 8601, or epoch s, ms or us."})
    end = Stamp(metadata={"type": "string", "description": "End (not included): ISO 8601, or epoch s, ms or us."})
    limit = Whole(1, MAX_LIMIT, load_default=100, metadata={"description": "The newest so many rows."})


def as_of_field() -> Stamp:
    """The moment whose knowledge is asked for."""
    text = "What was known then: rows and revisions written by that moment."
    return Stamp(metadata={"type": "string", "description": text})


def order_field(default: str) -> fields.String:
    """`asc` or `desc` by time."""
    one_of = validate.OneOf(("asc", "desc"), error="must be asc or desc, was '{input}'")
    return fields.String(load_default=default, validate=one_of, metadata={"description": "How the rows are sorted."})


def decimals_field() -> fields.String:
    """How decimals are written."""
    one_of = validate.OneOf(("number", "string"), error="must be number or string, was '{input}'")
    text = "`string`: exact decimals as text; a JSON number may lose digits where it is read."
    return fields.String(load_default="number", validate=one_of, metadata={"description": text})


def moment_us(value: Any) -> int:
    """As `stamp_us`, and what is too small for milliseconds is seconds: `date +%s` and `time.time()` mean what they say.

    >>> moment_us("1795848000"), moment_us(1795848000.25), moment_us(1795848000000)
    (1795848000000000, 1795848000250000, 1795848000000000)

    Raises:
        InvalidTrade: not such a moment.
    """
    found = None if isinstance(value, bool) else _EPOCH.fullmatch(str(value).strip())
    if found and int(found[1]) < _S_BELOW:
        return int(found[1]) * 1_000_000 + int((found[2] or "")[:6].ljust(6, "0"))
    try:
        return stamp_us(value)
    except InvalidTrade as exc:
        raise InvalidTrade(exc.field, value, exc.reason.replace("epoch ms or us", "epoch s, ms or us")) from exc


def stamp_us(value: Any) -> int:
    """Microseconds since 1970 of a moment as clients write it; what is finer is cut.

    Raises:
        InvalidTrade: not such a moment.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidTrade("ts", value, STAMPS)
    text = value.strip() if isinstance(value, str) else repr(value)
    found = _EPOCH.fullmatch(text)
    if not found:
        return _iso_us(_LOST_PLUS.sub(r"+\1", text))
    whole, fraction = int(found[1]), (found[2] or "")
    return whole if whole >= _US_FROM else whole * 1000 + int(fraction[:3].ljust(3, "0"))


def _iso_us(text: str) -> int:
    try:
        return parse_iso_us(text)
    except InvalidTrade as exc:
        raise InvalidTrade("ts", text, exc.reason if "real moment" in exc.reason else STAMPS) from exc
