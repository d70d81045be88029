"""A run as a person sees it: a bar while it goes on, then the table, the first findings in words, the verdict."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ops.verify.report import Check, Report

#: Findings told in words, of each check.
EXAMPLES = 5


class Screen:
    """Standard output; the bar is for terminals only, and `quiet` shows nothing at all."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._console = quiet, Console(highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = quiet or not self._console.is_terminal
        self._bars = Progress(*columns, console=self._console, transient=True, disable=hidden)
        self._bar = self._bars.add_task("verify", total=None)

    def __enter__(self) -> "Screen":
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """How far it is."""
        self._bars.update(self._bar, description=what, completed=done, total=total)

    def show(self, report: Report) -> None:
        """Print a report."""
        if self._quiet:
            return
        table = Table("law", "what", "checked", "findings", "left out", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for check in report.checks:
            found = f"[red]{check.found:,}[/]" if check.found else "[green]none[/]"
            left_out = f"{check.pending:,}" if check.pending else "-"
            table.add_row(str(check.law), check.name, f"{check.checked:,} {check.unit}", found, left_out)
        Console(width=max(self._console.width, 100), highlight=False).print(table)
        for line in [line for check in report.checks for line in _lines(check)]:
            self._console.print(f"  {line}", soft_wrap=True)
        for note in report.notes:
            self._console.print(f"  [yellow]{escape(note)}[/]", soft_wrap=True)
        self._console.print(f"[{'red' if report.found else 'green'}]{report.sentence()}[/]", soft_wrap=True)


def _lines(check: Check) -> list[str]:
    lines = [f"[red]law {check.law}[/]  {escape(finding.what)}" for finding in check.findings[:EXAMPLES]]
    lines += [f"[dim]law {check.law}  {escape(known)}[/]" for known in check.known[:EXAMPLES]]
    more = check.found + len(check.known) - len(lines)
    return [*lines, f"[dim]       and {more:,} more like these[/]"] if more else lines
