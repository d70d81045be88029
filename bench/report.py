"""What a bench found: medians over its runs, a table for people, one JSON object for programs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each figure, the median over the runs; what is no number is the first run's.

    >>> medians([{"a": 1, "of": {"b": 2.0}}, {"a": 9, "of": {"b": 4.0}}, {"a": 3, "of": {"b": 3.0}}])
    {'a': 3, 'of': {'b': 3.0}}
    """
    return {name: _median([run[name] for run in runs if name in run]) for name in runs[0]}


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        return medians(values)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or not numbers:
        return values[0]
    middle = median(numbers)
    return round(middle) if all(isinstance(value, int) for value in values) else round(middle, 4)


def spread(values: Iterable[float]) -> dict[str, float]:
    """p50, p99 and the largest.

    >>> spread(range(1, 101))
    {'p50': 51, 'p99': 100, 'max': 100}
    """
    ordered = sorted(values)
    picked = {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}
    return {name: round(value, 2) for name, value in {**picked, "max": ordered[-1]}.items()}


def several(measure: Callable[[], dict[str, Any]], runs: int) -> dict[str, Any]:
    """Measure so many times; the medians, and how many runs they are of."""
    return {**medians([measure() for _ in range(runs)]), "runs": runs}


def show(title: str, found: Mapping[str, Any], as_json: bool) -> None:
    """Print a table, or one JSON object."""
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("", "", title=title, show_header=False)
    for name, value in found.items():
        table.add_row(name, _text(value))
    Console().print(table)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        lines = isinstance(next(iter(value.values()), None), Mapping)
        return ("\n" if lines else "   ").join(f"{name} {_text(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
