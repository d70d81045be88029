"""`python -m ops.settings_page`: writes docs/settings.md from the settings themselves: the page can not tell otherwise."""

from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from common.settings import Settings
from ops.house import ROOT

PAGE = ROOT / "docs/settings.md"
#: The first setting of each part -> the part's heading.
_PARTS = {
    "database_url": "Servers and addresses",
    "feed": "What is traded and computed",
    "binance_ws_url": "The feed",
    "sim_port": "The simulated exchange",
    "batch_rows": "The stream and the writers",
    "lateness_ms": "Bars and pairs",
    "notify_private": "Delivery of alerts",
    "tick_retention_days": "Keeping, the web and the log",
}
_OPTIONS = ("data_dir", "port", "host", "feed", "symbols", "pairs", "timeframes", "history")
_HEAD = f"""# Settings

Every knob of GEMS is an environment variable `GEMS_*`. `./gems up` takes the most common ones as options too:
{", ".join(f"`--{name.replace('_', '-')}`" for name in _OPTIONS)}. An option wins over the environment.

```sh
GEMS_WINDOW=120 GEMS_SIM_RATE=500 ./gems up --timeframes 1s,1m,5m,1h
```

A list is written with commas. All bad or unknown `GEMS_*` settings are reported at once, by name, and the process exits with
code 78, which no supervisor repeats. What an instance was started with is in `settings.json` of its data directory; the
other commands (`status`, `psql`, `import` ...) read it there, so they need only `--data-dir`.

This page is written by `python -m ops.settings_page`; a test compares the two.
"""
_TABLE_HEAD = "| setting | default | allowed | what it is |\n|---|---|---|---|\n"


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        if name in _PARTS:
            parts.append(f"\n## {_PARTS[name]}\n\n{_TABLE_HEAD}")
        parts.append(row(name, field))
    return "".join(parts)


def row(name: str, field: FieldInfo) -> str:
    """A setting's line of the table."""
    default = default_text(field.default)
    shown = f"`{default}`" if default else "empty"
    return f"| `GEMS_{name.upper()}` | {shown} | {_allowed(field)} | {field.description} |\n"


def default_text(value: Any) -> str:
    """A default as one would write it in the environment."""
    assert value is not PydanticUndefined, "every setting has a default"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else str(value)


def _allowed(field: FieldInfo) -> str:
    if choices := [choice for choice in get_args(field.annotation) if isinstance(choice, str)]:
        return " ".join(f"`{choice}`" for choice in choices)
    low, above, high = (_bound(field, name) for name in ("ge", "gt", "le"))
    least = f"from {low:,}" if low is not None else f"above {above:,}" if above is not None else ""
    return " ".join(part for part in (least, f"to {high:,}" if high is not None else "") if part)


def _bound(field: FieldInfo, name: str) -> float | None:
    return next((getattr(rule, name) for rule in field.metadata if getattr(rule, name, None) is not None), None)


def main(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page())


if __name__ == "__main__":
    main()
