"""The tree of errors. A leaf answers the caller's only question: try again, or give up?

GemsError
├── ConfigError            a setting is missing or wrong; exit code 78
├── FeedError
│   ├── FeedUnavailable    transient: reconnect
│   └── FeedRejected       permanent: bad symbol, refused
├── MessageError
│   ├── MalformedMessage   not what the venue documents
│   └── InvalidTrade       the judge refused it: field, value, reason
├── InvalidCondition       an alert that makes no sense: field, value, reason
├── ReceiverRejected       alerts can not, or may not, be sent there; permanent
├── SourceConflict         the symbol's ids come from another kind of source
└── StoreError
    ├── StoreUnavailable   transient: Redis or PostgreSQL is away
    └── Fenced             another owner has taken over; exit
"""


class GemsError(Exception):
    """Base of all errors that GEMS raises itself."""


class ConfigError(GemsError):
    """A setting is missing or out of range."""


class FeedError(GemsError):
    """Something about an exchange's feed."""


class FeedUnavailable(FeedError):
    """The feed can not be reached now; trying again may help."""


class FeedRejected(FeedError):
    """The feed refuses what we ask; trying again will not help."""


class MessageError(GemsError):
    """A message from outside can not be used."""


class MalformedMessage(MessageError):
    """A message is not what its venue documents."""


class InvalidTrade(MessageError):
    """A trade that the judge refuses.

    >>> str(InvalidTrade("price", "-1", "must be positive"))
    "price must be positive, was '-1'"
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field, self.value, self.reason = field, value, reason
        super().__init__(f"{field} {reason}, was {_short(value)}")


class InvalidCondition(GemsError):
    """A condition of an alert that makes no sense; `value` None: there is none to show.

    >>> str(InvalidCondition("condition.once", 1, "must be true or false"))
    'condition.once must be true or false, was 1'
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field, self.reason = field, reason if value is None else f"{reason}, was {_short(value)}"
        super().__init__(f"{field} {self.reason}")


class ReceiverRejected(GemsError):
    """Alerts can not, or may not, be sent to such a receiver; trying again will not help."""


class SourceConflict(GemsError):
    """A symbol already has exchange ids of another kind."""

    def __init__(self, symbol: str, have: str, given: str) -> None:
        self.symbol, self.have, self.given = symbol, have, given
        super().__init__(
            f"{symbol} has ids of {have}; ids of {given} count differently and would mix. "
            f"Use a symbol name of its own for them (for example SIM:{symbol})"
        )


class StoreError(GemsError):
    """Something about Redis or PostgreSQL."""


class StoreUnavailable(StoreError):
    """Redis or PostgreSQL is away or full; trying again may help."""


class Fenced(StoreError):
    """Another process owns this shard now; this one must stop."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
