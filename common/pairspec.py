"""Names of pairs and baskets, and of the series that the settings ask for. Pure."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from common.pairmethod import PairMethod

WINDOWS = range(3, 10_001)
#: More legs than this explain anything.
MOST_LEGS = 8
#: How a basket's ratios may be estimated.
BASKET_METHODS = ("ols", "johansen")


class PairSpec(NamedTuple):
    """A pair of GEMS_PAIRS: `NAME`, `NAME@METHOD` or `NAME@METHOD:WINDOW`; `window` None is GEMS_WINDOW."""

    pair: str
    method: str = "ols"
    window: int | None = None

    @classmethod
    def parse(cls, text: str) -> "PairSpec":
        """The spec of a text; ValueError with a sentence.

        >>> PairSpec.parse("BTCUSDT_ETHUSDT@log+kalman:120")
        Traceback (most recent call last):
        ...
        ValueError: method must begin with one of ols, tls, kalman, huber, was 'log+kalman'
        >>> PairSpec.parse("BTCUSDT_ETHUSDT@kalman+log:120")
        PairSpec(pair='BTCUSDT_ETHUSDT', method='kalman+log', window=120)
        """
        pair, at, rest = text.partition("@")
        if not at:
            return cls(pair)
        method, colon, window = rest.partition(":")
        if colon and not (window.isascii() and window.isdigit() and int(window) in WINDOWS):
            raise ValueError(f"the window of {text!r} must be a whole number from {WINDOWS[0]} to {WINDOWS[-1]}, was {window!r}")
        return cls(pair, checked_method(method, 2 if method != "johansen" else 3), int(window) if colon else None)


def checked_method(text: str, legs: int) -> str:
    """The canonical text of a method for so many legs; ValueError with a sentence."""
    if legs > 2 and text not in BASKET_METHODS:
        raise ValueError(f"method must be one of {', '.join(BASKET_METHODS)} for a basket of {legs} legs, was {text!r}")
    return text if legs > 2 else PairMethod.parse(text).text


def least_window(method: str, legs: int) -> int:
    """The smallest window that leaves the method something to estimate."""
    return 3 if legs == 2 else 3 * legs + 3 if method == "johansen" else legs + 1


def pair_legs(pair: str, symbols: Collection[str]) -> tuple[str, str] | None:
    """The legs (y, x) of a pair name `Y_X`, or None if no split gives two different known symbols.

    >>> pair_legs("A_B_C", ("A", "B_C"))
    ('A', 'B_C')
    """
    cuts = [at for at, char in enumerate(pair) if char == "_"]
    for at in cuts:
        y, x = pair[:at], pair[at + 1 :]
        if y in symbols and x in symbols and y != x:
            return y, x
    return None


def basket_legs(name: str, symbols: Collection[str]) -> tuple[str, ...] | None:
    """The legs of a pair or basket name, y first; None if no split gives different known symbols. The fewest legs win.

    >>> basket_legs("A_B_C", ("A", "B", "C")), basket_legs("A_B_C", ("A", "B", "C", "B_C"))
    (('A', 'B', 'C'), ('A', 'B_C'))
    """
    found = [legs for legs in _splits(name, symbols) if 2 <= len(legs) <= MOST_LEGS and len(set(legs)) == len(legs)]
    return min(found, key=len, default=None)


def _splits(name: str, symbols: Collection[str], most: int = MOST_LEGS) -> Iterator[tuple[str, ...]]:
    if name in symbols:
        yield (name,)
    for at, char in enumerate(name if most > 1 else ""):
        if char == "_" and name[:at] in symbols:
            yield from ((name[:at], *rest) for rest in _splits(name[at + 1 :], symbols, most - 1))
