"""Entries with rows that no judge has seen, as a broken writer of entries would make them."""

import time

import redis

from common.codec import encode_row, iso_us
from common.judge import content_id
from common.streams import append, stream_names
from common.trades import Trade
from ops.chaos.clients import Clients
from ops.chaos.faults import Fault
from ops.chaos.promises import Poison, Promise
from ops.chaos.world import NotNow, World

SYMBOL = "POISON"
_SOURCE = "api"


class Poisoned(Fault):
    """Good rows among zero prices, lower-case symbols, cut rows and noise; and an entry that is none."""

    kind, targets = "poison rows", frozenset[str]()

    def __init__(self, clients: Clients) -> None:
        self._ledger = clients.ledger

    def inject(self, world: World) -> None:
        now_us = time.time_ns() // 1000
        good = [_trade(now_us + number) for number in range(3)]
        bad = _bad_rows(now_us)
        rows = [row for pair in zip(bad, [*map(encode_row, good), ""], strict=True) for row in pair]
        self._ledger.add(Promise("poison", good))  # tried: nobody was told anything
        stream = stream_names(world.settings)[0]
        try:
            with world.redis() as client:
                entry_id = append(client, stream, _SOURCE, "".join(rows), len(good) + len(bad))
                client.xadd(stream, {"what": "nobody knows"})
        except redis.RedisError as exc:
            raise NotNow(f"Redis: {exc}") from exc
        self._ledger.poisons.append(Poison(entry_id.decode(), good, len(bad)))


def _trade(event_us: int) -> Trade:
    price, size = "42.5", "0.25"
    return Trade(SYMBOL, content_id(SYMBOL, event_us, price, size, 0), event_us, price, size, "b", 0)


def _bad_rows(event_us: int) -> list[str]:
    stamp = iso_us(event_us)
    return [f"{SYMBOL},1,{stamp},0,1,b,\n", f"poison,2,{stamp},1,1,b,\n", f"{SYMBOL},3,{stamp}\n", "\x01;--,\n"]
