"""Looking at the dashboard: through `window.gems`, which only reads, and through what stands in the document."""

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.processes.house import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: What `open_at_work` takes for the present, and the rows of which it wants some.
NOW_S = 15
ROWS = ("bars", "pairRows")


class Dashboard:
    """An open page, and the API behind it."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page, self.url = page, url
        page.set_default_timeout(60_000)
        self.home = ""
        self.faults: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self) -> "Dashboard":
        """Show the default view, loading the page only if another is shown, and wait until a z-score is drawn."""
        if self.address != self.home:
            self.page.goto(f"{self.url}/")
            self.home = self.address  # with the view in it, once the page has begun
        wait_until(lambda: any(row["z_score"] is not None for row in self.look("pairRows")[-1:]), 60, "z-score drawn")
        wait_until(lambda: self.look("live")["state"] == "live", 60, "live line")
        return self

    def open_at_work(self) -> "Dashboard":
        """As `open`, of an instance that trades: both charts show the present.

        While an instance that has just begun still makes bars of its history, the pair's are minutes behind the price's.
        """
        self.open()
        wait_until(self.shows_now, 120, "rows of this time")
        return self

    def shows_now(self) -> bool:
        """True if both charts have rows of the present."""
        return all(rows and time.time() - rows[-1]["time"] < NOW_S for rows in map(self.look, ROWS))

    @property
    def address(self) -> str:
        """What the browser shows as the address; `page.url` is the one that playwright last heard of."""
        return str(self.page.evaluate("location.href"))

    def look(self, what: str) -> Any:
        """What `window.gems.<what>()` answers; an empty list while the page is not that far."""
        return self.page.evaluate(f"window.gems ? window.gems.{what}() : []")

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.page.inner_text(selector)

    def api(self, path: str) -> Any:
        """What the API answers at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def frame(self) -> None:
        """Let the page draw what it has."""
        self.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
