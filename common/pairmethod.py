"""How a pair's hedge ratio is estimated, and the text of it that pair rows carry in their column `method`."""

from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

Estimator = Literal["ols", "tls", "kalman", "huber"]
ESTIMATORS: tuple[str, ...] = get_args(Estimator)
#: In the order in which the canonical text names them.
OPTIONS: tuple[str, ...] = ("log", "prior", "strict")


@dataclass(frozen=True, slots=True)
class PairMethod:
    """An estimator and its options.

    `log`: log prices instead of prices. `prior`: mean and deviation over the W spreads before the row's own, which is left out.
    `strict`: a row whose window used a bar with status gap has no statistics.

    >>> PairMethod.parse("huber+strict+log").text
    'huber+log+strict'
    """

    estimator: Estimator = "ols"
    log: bool = False
    prior: bool = False
    strict: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The method of a text such as `kalman+log+prior`, options in any order; ValueError names the field and the value."""
        estimator, *options = text.split("+")
        if estimator not in ESTIMATORS:
            raise ValueError(f"method must begin with one of {', '.join(ESTIMATORS)}, was {text!r}")
        for option in options:
            if option not in OPTIONS:
                raise ValueError(f"method has the unknown option {option!r} (there are {', '.join(OPTIONS)}), was {text!r}")
        if len(set(options)) < len(options):
            raise ValueError(f"method must name each option once, was {text!r}")
        return cls(cast(Estimator, estimator), **dict.fromkeys(options, True))

    @property
    def text(self) -> str:
        """The canonical text: `parse(method.text) == method`, and equal methods have equal texts."""
        return "+".join((self.estimator, *(option for option in OPTIONS if getattr(self, option))))

    @property
    def is_recursive(self) -> bool:
        """Whether a row needs more of its past than the window: a filter's state."""
        return self.estimator == "kalman"
