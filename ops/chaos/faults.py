"""What a fault is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from ops.chaos.plan import Shape
from ops.chaos.world import World


class Fault(ABC):
    """One kind of fault; an object of it hits once."""

    kind: ClassVar[str]
    targets: ClassVar[frozenset[str]]
    lasts_s: ClassVar[tuple[float, float]] = (0.0, 0.0)
    #: In a run of ten minutes or more; a shorter one has as much less of it.
    longest_s: ClassVar[float] = 0.0

    @abstractmethod
    def inject(self, world: World) -> None:
        """Do harm.

        Raises:
            NotNow: there is nothing to hit.
        """

    def heal(self, world: World) -> None:  # noqa: B027
        """Undo it; what is over by itself needs nothing."""

    @classmethod
    def shape(cls, length_s: float = 600.0) -> Shape:
        """For the plan of a run of that length."""
        shortest_s, longest_s = cls.lasts_s
        return Shape(cls.kind, cls.targets, shortest_s, max(longest_s, cls.longest_s * min(1.0, length_s / 600)))
