"""What was checked, what was found, and what it says as a whole. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from common.codec import iso_us

#: First and last stamp, microseconds since 1970, both included.
Span = tuple[int, int]
#: Hears what is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]
#: Findings kept in words; beyond it they are only counted.
KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that breaks a law. `[first_us, last_us]` are the stamps it lies between, None where it has no place in time."""

    what: str
    symbol: str | None = None
    first_us: int | None = None
    last_us: int | None = None
    ids: tuple[int, int] | None = None  # first and last id, where ids are what is wrong

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        stamps = {"from": self.first_us, "to": self.last_us}
        named = {name: iso_us(stamp) for name, stamp in stamps.items() if stamp is not None}
        ids = {"first_id": self.ids[0], "last_id": self.ids[1]} if self.ids else {}
        return {"what": self.what, "symbol": self.symbol, **named, **ids}


@dataclass(slots=True)
class Check:
    """One line of the table; `pending` things were left out because a reader or a rebuild is still at them."""

    law: int
    name: str
    unit: str
    checked: int = 0
    found: int = 0
    pending: int = 0
    findings: list[Finding] = field(default_factory=list)
    known: list[str] = field(default_factory=list)  # what is missing, and is told as such: open gaps, dead letters

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings; the first of them are kept."""
        for finding in findings:
            self.found += 1
            if len(self.findings) < KEPT:
                self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        counts = {"law": self.law, "name": self.name, "unit": self.unit, "checked": self.checked, "found": self.found}
        findings = [finding.as_json() for finding in self.findings]
        return {**counts, "pending": self.pending, "known": self.known, "findings": findings}


@dataclass(slots=True)
class Report:
    """All checks of a run."""

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Findings of all checks."""
        return sum(check.found for check in self.checks)

    @property
    def pending(self) -> int:
        """What could not be judged yet."""
        return sum(check.pending for check in self.checks)

    def sentence(self) -> str:
        """The verdict."""
        if self.found:
            broken = sorted({check.law for check in self.checks if check.found})
            laws = f"law {broken[0]} does" if len(broken) == 1 else f"laws {' and '.join(map(str, broken))} do"
            return f"{laws} not hold: {self.found:,} finding{'s' if self.found > 1 else ''}"
        pending = f"; {self.pending:,} are left out until a reader or a rebuild has finished them" if self.pending else ""
        return f"laws 1 to 3 hold{pending}"

    def as_json(self) -> dict[str, Any]:
        """One object."""
        checks = [check.as_json() for check in self.checks]
        verdict = {"ok": not self.found, "sentence": self.sentence(), "found": self.found, "pending": self.pending}
        return {**verdict, "notes": self.notes, "checks": checks}


def wider(span: Span | None, other: Span) -> Span:
    """The span that holds both.

    >>> wider((3, 4), (1, 3))
    (1, 4)
    """
    return other if span is None else (min(span[0], other[0]), max(span[1], other[1]))
