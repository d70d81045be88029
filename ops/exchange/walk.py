"""The random walks as a tape: what the market trades is in the history before anyone sees it."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from common.log import get_logger
from common.settings import Settings
from ops.exchange.aggregate import Rows, aggregates
from ops.exchange.history import KEPT_ROWS, History
from ops.exchange.instruments import Instrument, decimal_text, decimal_texts, instrument_of
from ops.exchange.market import Market, leaders, line_of
from ops.exchange.protocol import Aggregate, Fill

LONGEST_PAUSE_US = 5_000_000
LONGEST_PAST_S = 3600
LARGEST_PAST = 2_000_000
"""Trades made beforehand at most, all symbols together."""

log = get_logger(__name__)


class WalkTape:
    """Live market and its history under `<data_dir>/exchange/`; one process owns it."""

    def __init__(self, settings: Settings, folder: Path, now_us: int) -> None:
        self.instruments = {symbol: instrument_of(symbol) for symbol in settings.symbols}
        self.symbols: tuple[str, ...] = tuple(self.instruments)
        self._history = {symbol: History(folder / f"walk-{symbol}", KEPT_ROWS // len(self.symbols)) for symbol in self.symbols}
        self._unsent: list[tuple[str, Rows]] = []
        lasts = {symbol: history.last() for symbol, history in self._history.items()}
        past_us = _past_us(settings) if all(last is None for last in lasts.values()) else 0
        newest_us = max((int(last["time_us"]) for last in lasts.values() if last is not None), default=0)
        lines = [line_of(self.instruments[symbol], _first_id(now_us), lasts[symbol]) for symbol in self.symbols]
        follows = leaders(self.symbols, settings.pair_names)
        self._market = Market(lines, follows, settings.sim_rate, settings.sim_seed, max(now_us - past_us, newest_us))
        if past_us:
            self._make_past(now_us)

    def advance(self, now_us: int) -> list[tuple[str, Rows]]:
        """Trade until `now_us` and give what was stored, to be sent now.

        Raises:
            OSError: the disk refuses; nothing is lost, the next call tries the same trades again.
        """
        if not self._unsent:
            if now_us - self._market.now_us > LONGEST_PAUSE_US:
                log.warning("clock went on by %.1f s: no trades in between", (now_us - self._market.now_us) / 1e6)
                self._market.skip_to(now_us)
            self._unsent = self._market.advance(now_us)
        return self._store()

    def fills(self, symbol: str, from_id: int | None, limit: int) -> list[Fill]:
        """Trades by id ascending from `from_id` on; None: the newest."""
        history = self._history[symbol]
        rows = history.newest(limit) if from_id is None else history.read(from_id, limit)
        return fills_of(self.instruments[symbol], rows)

    def aggregates(
        self, symbol: str, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[Aggregate]:
        """Aggregates ascending: from an id or a time on; else the newest, up to `end_us`, inclusive."""
        history = self._history[symbol]
        if from_id is not None or start_us is not None:
            field, value = ("agg_id", from_id) if from_id is not None else ("time_us", start_us)
            assert value is not None
            found = history.read_aggregates(history.id_at(field, value), limit)
        else:
            end_id = history.next_id() if end_us is None else history.id_at("time_us", end_us + 1)
            found = self._newest_aggregates(history, end_id, limit)
        within = found if end_us is None else found[found["time_us"] <= end_us]
        return [Aggregate._make(columns) for columns in aggregate_columns(self.instruments[symbol], within)]

    def drop_old(self, now_us: int) -> None:
        """Forget what is older than a day."""
        for history in self._history.values():
            history.drop_old(now_us)

    def state(self) -> dict[str, dict[str, object]]:
        """Each symbol's newest ids, price and time."""
        return {symbol: _newest(self.instruments[symbol], history.last()) for symbol, history in self._history.items()}

    def close(self) -> None:
        """Close the files."""
        for history in self._history.values():
            history.close()

    def _store(self) -> list[tuple[str, Rows]]:
        stored: list[tuple[str, Rows]] = []
        while self._unsent:
            symbol, rows = self._unsent[0]
            try:
                self._history[symbol].append(rows)
            except OSError:
                if stored:
                    break
                raise
            stored.append(self._unsent.pop(0))
        return stored

    def _make_past(self, now_us: int) -> None:
        start_us, made = self._market.now_us, 0
        while self._market.now_us < now_us:
            made += sum(len(rows) for _, rows in self.advance(min(now_us, self._market.now_us + 1_000_000)))
        log.info("first start: made %d trades of the last %d s", made, (now_us - start_us) // 1_000_000)

    @staticmethod
    def _newest_aggregates(history: History, end_id: int, limit: int) -> Rows:
        span = 4 * limit
        while True:
            trades = history.read(end_id - span, span)
            trades = trades[trades["id"] < end_id]
            from_start = not len(trades) or int(trades["id"][0]) > end_id - span
            found = aggregates(trades) if from_start else aggregates(trades)[1:]
            if len(found) >= limit or from_start:
                return found[-limit:]
            span *= 4


def fill_columns(instrument: Instrument, rows: Rows) -> Iterator[tuple[Any, ...]]:
    """TRADE rows as the fields of `Fill`, as text; without the quote, which the stream does not show."""
    makers = (rows["buyer_is_maker"] == 1).tolist()
    prices, sizes = _texts(instrument, rows)
    return zip(rows["id"].tolist(), prices, sizes, repeat(""), rows["time_us"].tolist(), makers, repeat(True))


def fills_of(instrument: Instrument, rows: Rows) -> list[Fill]:
    """TRADE rows as fills, quote included."""
    decimals = instrument.price_decimals + instrument.size_decimals
    products = zip(rows["price"].tolist(), rows["size"].tolist(), strict=True)
    quotes = [decimal_text(price * size, decimals) for price, size in products]
    fills = map(Fill._make, fill_columns(instrument, rows))
    return [fill._replace(quote=quote) for fill, quote in zip(fills, quotes, strict=True)]


def aggregate_columns(instrument: Instrument, rows: Rows) -> Iterator[tuple[Any, ...]]:
    """AGGREGATE rows as the fields of `Aggregate`, as text."""
    makers = (rows["buyer_is_maker"] == 1).tolist()
    prices, sizes = _texts(instrument, rows)
    ids = (rows[field].tolist() for field in ("first_id", "last_id", "time_us"))
    return zip(rows["agg_id"].tolist(), prices, sizes, *ids, makers, repeat(True))


def _texts(instrument: Instrument, rows: Rows) -> tuple[list[str], list[str]]:
    prices = decimal_texts(rows["price"].tolist(), instrument.price_decimals)
    return prices, decimal_texts(rows["size"].tolist(), instrument.size_decimals)


def _first_id(now_us: int) -> int:
    """A new exchange's first id: above those of one that began earlier (at under 64 trades a second), for both may feed one
    database, where a trade is known by its symbol, day and id."""
    return (now_us // 1_000_000 - 1_577_836_800) * 64


def _past_us(settings: Settings) -> int:
    return int(min(settings.history_s, LONGEST_PAST_S, LARGEST_PAST / settings.sim_rate) * 1e6)


def _newest(instrument: Instrument, last: Rows | None) -> dict[str, object]:
    if last is None:
        return {"trade_id": None, "agg_id": None, "price": None, "time_us": None}
    price = decimal_text(int(last["price"]), instrument.price_decimals)
    return {"trade_id": int(last["id"]), "agg_id": int(last["agg_id"]), "price": price, "time_us": int(last["time_us"])}
