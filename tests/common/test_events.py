"""Events on the stream `live`: an entry each, in order, and a refused one leaves no answer behind."""

import orjson
import pytest
import redis

from common.events import Event, publish
from common.streams import LIVE


def test_each_event_is_an_entry_in_order(redis_client):
    events = [Event("bar", {"n": n, "text": "é\r\n$3"}) for n in range(2_345)]
    publish(redis_client, iter(events))
    found = redis_client.xrange(LIVE)
    assert [(fields[b"event"], orjson.loads(fields[b"data"])) for _, fields in found] == [
        (b"bar", event.body) for event in events
    ]


def test_the_stream_keeps_about_its_length(redis_client):
    for _ in range(3):
        publish(redis_client, [Event("bar", {"n": n}) for n in range(10_000)])
    assert 20_000 <= redis_client.xlen(LIVE) < 21_000


def test_a_refusal_is_raised_and_the_client_goes_on_with_its_own_answers(redis_client):
    redis_client.set(LIVE, "no stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        publish(redis_client, [Event("bar", {"n": n}) for n in range(3)])
    assert redis_client.get(LIVE) == b"no stream"
    redis_client.delete(LIVE)
    publish(redis_client, [Event("bar", {"n": 1})])
    assert redis_client.xlen(LIVE) == 1
