"""What `./gems up` shows while it works: a line for each step that is done, and what it waits for now."""

import time

from rich.console import Console

from ops.house import House


class Steps:
    """Lines on standard output; on a terminal also a spinner with the step at hand."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._status = self.console.status("")
        self._began_s = time.monotonic()

    def say(self, line: str) -> None:
        """A line of its own."""
        self._status.stop()
        self.console.print(f"  [dim]{time.monotonic() - self._began_s:5.1f} s[/dim]  {line}", soft_wrap=True)

    def waiting(self, what: str) -> None:
        """Show what is being waited for, until the next line."""
        self._status.update(f"waiting for {what}")
        if self.console.is_terminal:
            self._status.start()

    def welcome(self, house: House, address: str, detached: bool) -> None:
        """Where the dashboard is, and what to do next."""
        self._status.stop()
        option = house.option
        ending = f"./gems down{option} stops it." if detached else "Ctrl-C stops it."
        self.console.print(
            f"\nGEMS runs: [bold]{address}[/bold]   (API: {address}api/docs)\n"
            f"Look inside: ./gems status{option}   ./gems logs{' ' + option.strip() if option else ''} -f   "
            f"./gems psql{option}   ./gems redis-cli{option}\n{ending}",
            soft_wrap=True,
        )
