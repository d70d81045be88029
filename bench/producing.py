"""`python -m bench.producing`: a producer whose messages are in its memory: all that it does but the socket.

The product's own feed and publisher, from the text of each message to the entry in the stream. It makes its messages, says so
with a line, begins at a line on its standard input, and tells its CPU seconds and peak memory as JSON.
"""

import json
import resource
import sys
import threading
import time
from collections.abc import Collection, Sequence

from bench.feed import made_rows
from common.codec import parse_iso_us
from common.lifecycle import Stop
from common.settings import Settings
from common.streams import connect_redis
from producer.clock import StreamClock
from producer.feed import Feed
from producer.flow import Flow
from producer.publisher import Publisher
from producer.spool import Spool

SRC = "binance.trade"


class Memory:
    """What a feed reads, as if from a connection; its end asks the feed to stop."""

    def __init__(self, messages: list[bytes], stop: Stop) -> None:
        self._messages, self._stop = messages[::-1], stop

    def ready(self, _timeout_s: float) -> bool:
        """True while there are messages."""
        if not self._messages:
            self._stop.ask()
        return bool(self._messages)

    def recv(self, most: int) -> list[bytes]:
        """The next ones."""
        part = self._messages[: -most - 1 : -1]
        del self._messages[-most:]
        return part

    def close(self) -> None:
        """Nothing is open."""


def messages_of(rows: list[str], symbols: Collection[str]) -> list[bytes]:
    """The rows of these symbols as Binance's combined stream writes them."""
    fields = (row.split(",")[:6] for row in rows)
    return [_message(*each) for each in fields if each[0] in symbols]


def _message(symbol: str, trade_id: str, stamp: str, price: str, size: str, side: str) -> bytes:
    us, is_sale = parse_iso_us(stamp), str(side == "s").lower()
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{us + 300},"s":"{symbol}","t":{trade_id},'
        f'"p":"{price}000000","q":"{size}000","T":{us},"m":{is_sale},"M":true}}}}'
    ).encode()


def produce(settings: Settings, symbols: Sequence[str], messages: list[bytes]) -> dict[str, float]:
    """Send all messages of these symbols; answers CPU seconds of this process, and how long it took."""
    stop, client = Stop(), connect_redis(settings)
    spool = Spool(settings.data_dir / f"spool-{symbols[0]}", settings.spool_max_mb << 20)
    publisher = Publisher(client, spool, stop)
    flows = [Flow(symbol, SRC, "trades") for symbol in symbols]
    feed = Feed(settings, flows, publisher, _no_catch_up, StreamClock(), stop, connect=lambda _url: Memory(messages, stop))
    sending = threading.Thread(target=publisher.run, name="publisher")
    used_s, began_s = time.process_time(), time.monotonic()
    sending.start()
    feed.run()
    publisher.close()
    sending.join()
    return {"cpu_s": time.process_time() - used_s, "took_s": time.monotonic() - began_s, "sent": publisher.trades}


def _no_catch_up(flow: Flow) -> None:
    raise AssertionError(f"{flow.symbol}: the made ids follow on each other")


def main() -> None:
    """`python -m bench.producing TRADES PER_S SHARE OF`: the share's symbols of all those trades; settings as in any process."""
    settings = Settings.from_env()
    trades, per_s, share, of = map(int, sys.argv[1:])
    symbols = settings.symbols[share::of]
    messages = messages_of(made_rows(trades, len(settings.symbols), per_s), frozenset(symbols))
    print("ready", flush=True)
    sys.stdin.readline()
    found = produce(settings, symbols, messages)
    print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


if __name__ == "__main__":
    main()
