"""`./gems status`: how an instance does."""

import json
from typing import Any

import click

from ops.commands import takes_house
from ops.house import House, NotRunning

_GOOD = {"running": "green", "exited": "dim", "starting": "yellow", "stopping": "yellow", "elsewhere": "green"}


@click.command()
@takes_house
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
def status(house: House, as_json: bool) -> int:
    """Processes, rate, lag of each reader, age of the last trades, gaps, dead letters, alert deliveries."""
    from ops.facts import gather

    if not house.is_running() and not _has_own_servers(house):
        raise NotRunning(f"Nothing is running in {house}; start it with ./gems up{house.option}")
    facts = gather(house)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        _show(facts)
    return 1 if facts["away"] else 0


def _has_own_servers(house: House) -> bool:
    """True where a supervisor of the user's own may run the processes: then the servers can be asked all the same."""
    return not (house.data_dir / "instance.json").exists() and bool(house.settings())


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{facts['dashboard']}[/bold]  feed {facts['feed']}  data {facts['data_dir']}", soft_wrap=True)
    table = Table("process", "state", "pid", "up", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for process in facts["processes"]:
        colour = "red" if process["exit_code"] else _GOOD.get(process["state"], "red")
        state = process["state"] + (f" ({process['exit_code']})" if process["exit_code"] else "")
        table.add_row(process["name"], f"[{colour}]{state}[/]", str(process["pid"] or ""), _duration(process["up_s"]))
    if facts["processes"]:
        console.print(table)
    console.print(
        f"rate {_number(facts['rate_per_s'])} trades/s   ticks {_number(facts['ticks'])}   bars {_number(facts['bars'])}   "
        f"late {_number(facts['late'])}   gaps {_number(facts['gaps_open'])}   dead letters {_number(facts['dead_letters'])}   "
        f"open tasks {_number(facts['tasks_open'])}",
        soft_wrap=True,
    )
    for stream in facts["streams"]:
        console.print(f"stream {stream['name']}   length {_number(stream['length'])}")
        for reader in stream["readers"]:
            entries = "200 or more" if reader["lag_entries"] is None else _number(reader["lag_entries"])
            lag = f"lag {entries} entries, {reader['lag_s']:.3f} s"
            console.print(f"  {reader['name']}   {lag}   pending {_number(reader['pending'])}")
    ages = [f"{symbol} {'-' if age is None else f'{age:.1f} s ago'}" for symbol, age in facts["last_trade_age_s"].items()]
    if ages:
        console.print("last trade  " + "   ".join(ages), soft_wrap=True)
    outbox = facts["outbox"]
    if outbox and (outbox["waiting"] or outbox["dead"]):
        oldest = f", the oldest for {_duration(outbox['oldest_waiting_s'])}" if outbox["waiting"] else ""
        waiting, dead = _number(outbox["waiting"]), _number(outbox["dead"])
        console.print(f"alert deliveries   waiting {waiting}{oldest}   dead {dead}", soft_wrap=True)
    for line in facts["away"]:
        console.print(f"[red]{line}[/red]", soft_wrap=True)
    for line in facts["troubles"]:
        console.print(line, style="yellow", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
