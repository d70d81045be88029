"""A producer goes on behind what is in: the table's last id, or a later one in the stream."""

import pytest

from common.codec import encode_rows
from common.columns import read_entries
from common.judge import Limits
from common.lifecycle import Stop
from common.streams import append
from common.trades import Trade
from consumer.store import TickStore
from producer.flow import Flow
from producer.resume import CHUNK_ENTRIES, last_streamed_ids, resumed
from tests.consumer.running import entry

NOW_US = 1_795_417_200_000_000
SRC = "binance.trade"


def trade(trade_id: int, symbol: str = "A") -> Trade:
    return Trade(symbol, trade_id, NOW_US, "1", "1", "b")


def stream(client, *trades: Trade, src: str = SRC) -> None:
    append(client, "trades", src, encode_rows(trades), len(trades))


def flows(*symbols: str) -> list[Flow]:
    return [Flow(symbol, SRC, "trades") for symbol in symbols]


def test_the_last_row_of_the_newest_entry_of_each_symbol_tells(redis_client):
    stream(redis_client, trade(4), trade(90, "AB"), trade(5), trade(91, "AB"), trade(6))
    stream(redis_client, trade(92, "AB"))
    assert last_streamed_ids(redis_client, flows("A", "AB", "B")) == {"A": 6, "AB": 92}


def test_ids_of_another_source_say_nothing(redis_client):
    stream(redis_client, trade(4))
    stream(redis_client, trade(700), src="binance.aggTrade")
    stream(redis_client, trade(-3), src="api")
    assert last_streamed_ids(redis_client, flows("A")) == {"A": 4}


def test_it_is_found_behind_many_entries_of_others(redis_client):
    stream(redis_client, trade(4))
    for _ in range(2 * CHUNK_ENTRIES):
        stream(redis_client, trade(90, "AB"))
    assert last_streamed_ids(redis_client, flows("A", "AB")) == {"A": 4, "AB": 90}


@pytest.mark.parametrize(("stored", "streamed"), [(7, 9), (9, 7), (7, None), (None, 7), (None, None)])
def test_a_flow_goes_on_behind_the_later_of_both(database, redis_client, stored, streamed):
    if stored:
        entries = [entry(0, [trade(stored)])]
        TickStore(database, "worker-9").store("trades", entries, read_entries(entries, Limits(0, 10**18)))
    if streamed:
        stream(redis_client, trade(streamed))
    (flow,) = flows("A")
    assert resumed(redis_client, database, [flow], Stop()) and flow.catching
    assert flow.last_id == (max(stored or 0, streamed or 0) or None)
