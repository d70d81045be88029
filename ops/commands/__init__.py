"""The commands of `./gems`, one a file; `ops/cli.py` lists them. This file holds what several of them take."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ops.house import DEFAULT_DATA_DIR, House


def _house(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> House:
    return House(value or Path(os.environ.get("GEMS_DATA_DIR") or DEFAULT_DATA_DIR))


def takes_house(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--data-dir`; it receives the `House` as `house`."""
    return click.option(
        "--data-dir",
        "house",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_house,
        help="Which instance: its data directory (GEMS_DATA_DIR; default: var/ of this folder).",
    )(command)
