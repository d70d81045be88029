"""The loops that trade: a market that walks, or a file that plays, in time or as fast as it is read."""

import asyncio
import time

from common.lifecycle import backoff_s
from common.log import get_logger
from ops.exchange.aggregate import aggregates
from ops.exchange.hub import Hub
from ops.exchange.play import PlayTape
from ops.exchange.walk import WalkTape, aggregate_columns, fill_columns

TICK_S = 0.01
PLAYED_AT_ONCE = 500

log = get_logger(__name__)


async def walk(tape: WalkTape, hub: Hub) -> None:
    """Trade for ever; a disk that refuses stops trading until it takes the same trades."""
    delays_s = backoff_s()
    while True:
        try:
            traded = [] if hub.faults.halted else tape.advance(now_us())
            delays_s = backoff_s()
        except OSError as exc:
            delay_s = next(delays_s)
            log.warning("trades can not be stored (%s): none are sent, trying again in %.1f s", exc, delay_s)
            await asyncio.sleep(delay_s)
            continue
        sent_us = now_us()
        for symbol, rows in traded:
            instrument = tape.instruments[symbol]
            if hub.listeners(symbol, "trade"):
                hub.publish(symbol, "trade", list(fill_columns(instrument, rows)), sent_us)
            if hub.listeners(symbol, "aggTrade"):
                hub.publish(symbol, "aggTrade", list(aggregate_columns(instrument, aggregates(rows))), sent_us)
        await asyncio.sleep(TICK_S - time.time() % TICK_S)


async def play(tape: PlayTape, hub: Hub, speed: str) -> None:
    """Play the file to its end, then stay silent for ever."""
    if not tape.ended:
        await _listened_to(tape, hub)
        log.info("playing %s from row %d of %d, speed %s", tape.symbol, tape.position, tape.rows, speed)
        await (_play_at_once(tape, hub) if speed == "max" else _play_in_time(tape, hub, float(speed)))
        log.info("played %s to its end", tape.symbol)
    await asyncio.get_running_loop().create_future()


async def _play_in_time(tape: PlayTape, hub: Hub, speed: float) -> None:
    """From the first subscription the play goes on, watched or not, as a market does."""
    first_us, started_s = tape.next_us(), time.monotonic()
    while not tape.ended:
        due_us = first_us + int((time.monotonic() - started_s) * speed * 1e6)
        while prints := tape.take(due_us, PLAYED_AT_ONCE):
            hub.publish(tape.symbol, tape.kind, prints, None)
            await asyncio.sleep(0)
        await asyncio.sleep(TICK_S)


async def _play_at_once(tape: PlayTape, hub: Hub) -> None:
    """As fast as every listener reads, and only while there is one."""
    while not tape.ended:
        await _listened_to(tape, hub)
        hub.publish(tape.symbol, tape.kind, tape.take(None, PLAYED_AT_ONCE), None)
        drained = (connection.drain() for connection in hub.listeners(tape.symbol, tape.kind))
        await asyncio.gather(*drained, return_exceptions=True)
        await asyncio.sleep(0)


async def _listened_to(tape: PlayTape, hub: Hub) -> None:
    while not hub.listeners(tape.symbol, tape.kind):
        hub.subscribed.clear()
        await hub.subscribed.wait()


def now_us() -> int:
    """The wall clock in microseconds."""
    return time.time_ns() // 1000
