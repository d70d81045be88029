"""Messages are Binance's, to the byte."""

import json

import pytest

from ops.exchange.limits import FIRST_BAN_S, IncomingLimit, WeightLimit
from ops.exchange.protocol import (
    Aggregate,
    Fill,
    Request,
    Wire,
    aggregate_json,
    fill_json,
    frames,
    request,
    shutdown_message,
    trade_messages,
)  # fmt: skip

FILL = Fill(12345, "0.001", "100", "0.1", 1672515782136001, True)
AGGREGATE = Aggregate(12345, "0.001", "100", 100, 105, 1672515782136999, True)
MS, US = 1672515782136, 1672515782136123


def test_trade_is_binances_in_both_units_and_wrappings() -> None:
    raw = '{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}'
    assert trade_messages("BNBBTC", "trade", [FILL], US, Wire(False, False)) == [raw]
    combined = (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136123,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100",'
        '"T":1672515782136001,"m":true,"M":true}}'
    )
    assert trade_messages("BTCUSDT", "trade", [FILL], US, Wire(True, True)) == [combined]


def test_aggregate_is_binances() -> None:
    raw = (
        '{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,'
        '"m":true,"M":true}'
    )
    assert trade_messages("BNBBTC", "aggTrade", [AGGREGATE], None, Wire(False, False)) == [raw]


def test_rest_rows_have_binances_fields_in_order() -> None:
    assert list(fill_json(FILL, 1000)) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
    assert aggregate_json(AGGREGATE, 1000) == {
        "a": 12345, "p": "0.001", "q": "100", "f": 100, "l": 105, "T": MS, "m": True, "M": True,
    }  # fmt: skip


def test_shutdown_is_binances() -> None:
    raw = '{"e":"serverShutdown","E":1672515782136}'
    assert shutdown_message(US, Wire(False, False)) == raw
    assert shutdown_message(US, Wire(True, False)) == f'{{"stream":"!serverShutdown","data":{raw}}}'


@pytest.mark.parametrize("length", [0, 1, 125, 126, 300, 65535, 70000])
def test_frame_has_the_header_of_its_length(length: int) -> None:
    made = frames(["x" * length])
    size = 2 if length < 126 else 4 if length < 65536 else 10
    assert made[0] == 0x81 and made[size:] == b"x" * length
    assert (made[1] if size == 2 else int.from_bytes(made[2:size])) == length


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("[" * 50_000, 3),
        ("[]", 2),
        ('{"id":1}', 2),
        ('{"method":"SHOUT","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', 2),
        ('{"method":"SUBSCRIBE","params":[7],"id":1}', 2),
        ('{"method":"SUBSCRIBE","id":1}', 2),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}', 2),
    ],
)
def test_bad_request_is_answered_with_binances_code(text: str, code: int) -> None:
    refused = request(text)
    assert isinstance(refused, str) and json.loads(refused)["code"] == code


@pytest.mark.parametrize("request_id", [1, -(2**63), "abc123", None])
def test_request_ids_of_all_kinds_are_taken(request_id: object) -> None:
    asked = request(json.dumps({"method": "SUBSCRIBE", "params": ["a@trade"], "id": request_id}))
    assert asked == Request("SUBSCRIBE", ("a@trade",), request_id)  # type: ignore[arg-type]


def test_sixth_message_within_a_second_is_one_too_many() -> None:
    limit = IncomingLimit()
    assert [limit.exceeded(at / 10) for at in range(6)] == [False] * 5 + [True]
    patient = IncomingLimit()
    assert not any(patient.exceeded(at * 0.21) for at in range(50))


def test_weight_is_refused_until_the_minute_ends_and_banned_when_ignored() -> None:
    limit = WeightLimit()
    assert [limit.charge(25, 10.0)[0] for _ in range(241)] == [200] * 240 + [429]
    assert limit.charge(25, 59.0) == (429, 2)
    assert limit.charge(25, 61.0) == (200, 0)
    statuses = [limit.charge(6000, 62.0)[0] for _ in range(11)]
    assert statuses == [429] * 10 + [418]
    assert limit.charge(1, 62.0 + FIRST_BAN_S - 1)[0] == 418
    assert limit.charge(1, 62.0 + FIRST_BAN_S)[0] == 200
