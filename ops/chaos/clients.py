"""Clients of the API: they post ticks and upload files, and try again until they are told that all is stored."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import urllib3

from common.codec import iso_us
from common.judge import content_id, plain_decimal
from common.lifecycle import backoff_s
from common.trades import Trade
from ops.chaos.faults import Fault
from ops.chaos.promises import Ledger, Promise
from ops.chaos.world import SYMBOLS, NotNow, World

POSTED, FILED = "POSTED", "FILED"
_EVERY_S = 0.4
_TICKS, _ROWS = 20, 300
_SIDES = {"b": "buy", "s": "sell", "": ""}


class Clients:
    """A thread that posts all the time, and one more for each request that a plan asks for."""

    def __init__(self, world: World, ledger: Ledger, seed: int) -> None:
        self._world, self.ledger, self._chance = world, ledger, random.Random(seed)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._files: list[Promise] = []
        self.attempts = self.refused = 0
        self.faults: list[str] = []  # 4xx: we asked for nonsense, or were told so
        self._run(self._post_on)

    def stop(self, deadline_s: float) -> bool:
        """No new requests; True if those under way were answered in time."""
        self._stop.set()
        until_s = time.monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def post_late(self) -> None:
        """Ticks of a live symbol, stamped a while ago: bars of them are closed."""
        late_us = _now_us() - self._chance.randint(5, 150) * 1_000_000
        self._run(lambda: self._post(self._anonymous("late", self._chance.choice(SYMBOLS), late_us)))

    def post_again(self) -> None:
        """Trades that the exchange has just made, posted by somebody else too: each is still one trade.

        Raises:
            NotNow: the exchange does not answer.
        """
        symbol = self._chance.choice(SYMBOLS)
        try:
            found = self._world.ask_exchange(f"/api/v3/trades?symbol={symbol}&limit=50", **{"X-MBX-TIME-UNIT": "MICROSECOND"})
        except urllib3.exceptions.HTTPError as exc:
            raise NotNow("the exchange is away") from exc
        if not isinstance(found, list):
            raise NotNow("the exchange refuses")
        trades = [
            Trade(
                symbol, row["id"], row["time"], plain_decimal("price", row["price"]), plain_decimal("size", row["qty"]),
                "s" if row["isBuyerMaker"] else "b",
            ) for row in found
        ]  # fmt: skip
        self._run(lambda: self._post(self.ledger.add(Promise("again", trades)), source="binance.trade"))

    def upload(self) -> None:
        """A file, or one that was uploaded before."""
        if self._files and self._chance.random() < 0.6:
            promise = self._chance.choice(self._files)
        else:
            promise = self.ledger.add(Promise("file", self._numbered()))
            self._files.append(promise)
        self._run(lambda: self._send_file(promise))

    def _run(self, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _post_on(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._post(self._anonymous("posted", POSTED, _now_us()))

    def _anonymous(self, what: str, symbol: str, first_us: int) -> Promise:
        ticks = [self._tick(symbol, 0, first_us + number * 1000, number) for number in range(_TICKS)]
        named = [tick._replace(trade_id=content_id(tick.symbol, tick.event_us, tick.price, tick.size, 0)) for tick in ticks]
        return self.ledger.add(Promise(what, named))

    def _numbered(self) -> list[Trade]:
        first_id, first_us = len(self._files) * _ROWS + 1, _now_us() - self._chance.randint(1, 90) * 1_000_000
        return [self._tick(FILED, first_id + n, first_us + n * 10_000, n)._replace(seq=None) for n in range(_ROWS)]

    def _tick(self, symbol: str, trade_id: int, event_us: int, number: int) -> Trade:
        price, size = self._chance.randint(1, 10**8), self._chance.randint(1, 10**6)
        side = self._chance.choice(("b", "s", ""))
        decimals = plain_decimal("price", f"{price}.{price % 997:04d}"), plain_decimal("size", f"{size}.{size % 997:04d}")
        return Trade(symbol, trade_id, event_us, *decimals, side, number)

    def _post(self, promise: Promise, source: str | None = None) -> None:
        ticks = [_as_json(trade) for trade in promise.trades]
        body: dict[str, Any] = {"ticks": ticks} | ({"source": source} if source else {})
        headers = {"Content-Type": "application/json"}
        if self._chance.random() < 0.5:
            headers["Idempotency-Key"] = str(uuid.UUID(int=self._chance.getrandbits(128)))
        self._until_promised(promise, lambda http: http.request(
            "POST", f"{self._world.house.dashboard(self._world.settings)}api/ingestion/ingest/",
            body=json.dumps(body).encode(), headers=headers,
        ))  # fmt: skip

    def _send_file(self, promise: Promise) -> None:
        header = "symbol,trade_id,ts,price,size,side\n"
        rows = [
            f"{trade.symbol},{trade.trade_id},{iso_us(trade.event_us)},{trade.price},{trade.size},{_SIDES[trade.side]}\n"
            for trade in promise.trades
        ]
        file = ("chaos.csv", header + "".join(rows), "text/csv")
        self._until_promised(promise, lambda http: http.request(
            "POST", f"{self._world.house.dashboard(self._world.settings)}api/ingestion/upload/", fields={"file": file},
        ))  # fmt: skip

    def _until_promised(self, promise: Promise, send: Callable[[urllib3.PoolManager], urllib3.BaseHTTPResponse]) -> None:
        """Try until there is a 2xx."""
        until_s = time.monotonic() + 120.0
        for delay_s in backoff_s(0.2, 2.0):
            self.attempts += 1
            try:
                answer = send(self._world.http)
                if 200 <= answer.status < 300:
                    promise.acknowledged = True
                    return
                if 400 <= answer.status < 500:
                    self.faults.append(f"{promise.what}: {answer.status} {answer.data[:300]!r}")
                    return
            except urllib3.exceptions.HTTPError:
                pass
            self.refused += 1
            if time.monotonic() > until_s:
                return
            time.sleep(delay_s)


class Asked(Fault):
    """A request of a client at a random moment."""

    targets = frozenset[str]()

    def __init__(self, clients: Clients) -> None:
        self._clients = clients


class Late(Asked):
    kind = "late trades posted"

    def inject(self, world: World) -> None:
        self._clients.post_late()


class Again(Asked):
    kind = "live trades posted again"

    def inject(self, world: World) -> None:
        self._clients.post_again()


class Filed(Asked):
    kind = "file uploaded, or once more"

    def inject(self, world: World) -> None:
        self._clients.upload()


def _as_json(trade: Trade) -> dict[str, Any]:
    """A tick as clients write it; ids below 0 are not ours to tell, they are made from the content."""
    told = {"symbol": trade.symbol, "ts": iso_us(trade.event_us), "price": trade.price, "size": trade.size}
    side = {"side": _SIDES[trade.side]} if trade.side else {}
    return told | side | ({"trade_id": trade.trade_id} if trade.trade_id > 0 else {})


def _now_us() -> int:
    return time.time_ns() // 1000
