"""Templates fill in and do nothing else; URLs are shown without their secrets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ReceiverRejected
from common.messages import MAX_MESSAGE, check_template, headline, plain_text, render
from common.outbox import message_body
from common.receivers import apprise_scheme, masked_url, webhook_target, without_secrets
from tests.notifier.house import event

BODY = message_body(event(5, note='say "now"\nand \\ {{value}}'), trial=False)


def test_without_a_template_the_event_is_the_message() -> None:
    message = render("", BODY)
    assert message.content_type == "application/json"
    assert json.loads(message.text) == {"version": 1, "trial": False, **event(5, note=BODY["note"])}


def test_a_json_template_stays_json_whatever_the_values_are() -> None:
    values = '"v": {{value}}, "d": {{details}}, "z": {{details.z_score}}, "n": {{details.no}}'
    template = '{"text": "{{symbol_pair}} \\"q\\" {{ note }}", ' + values + "}"
    check_template(template)
    message = render(template, BODY)
    assert message.content_type == "application/json"
    text = f'BTCUSDT_ETHUSDT "q" {BODY["note"]}'
    assert json.loads(message.text) == {"text": text, "v": 2.5, "d": {"z_score": 2.5}, "z": 2.5, "n": None}


@given(st.text(max_size=50), st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_no_value_breaks_out_of_its_place(note: str, value: float | None) -> None:
    body = message_body(event(note=note, value=value), trial=False)
    try:
        found = json.loads(render('{"a": "x{{note}}y", "b": {{value}}}', body).text)
    except TypeError:  # orjson has no lone surrogates; PostgreSQL would not have stored them
        assert any(0xD800 <= ord(char) <= 0xDFFF for char in note)
        return
    assert found["a"] == f"x{note}y"
    assert found["b"] == value or abs(value or 0) > 1e300


def test_a_text_template_is_text_and_a_value_is_not_filled_in_again() -> None:
    message = render("{{alert_type}} at {{value}}{{details.nothing}}: {{note}}", BODY)
    assert message == ("text/plain; charset=utf-8", f"zscore_high at 2.5: {BODY['note']}")


@pytest.mark.parametrize(
    "template",
    ["{{nothing}}", "{{ ''.__class__ }}", "{{value.__class__}}", "{{details[0]}}", "{{7*7}}", '{"a": {{note}', '{"a": "{{note}}}',
     "x" * 8001],
)  # fmt: skip
def test_a_template_that_can_not_be_filled_in_is_refused(template: str) -> None:
    with pytest.raises(ReceiverRejected):
        check_template(template)


def test_a_message_has_an_end() -> None:
    body = message_body(event(note="x" * 60_000), trial=False)
    assert len(render("{{note}}" * 900, body).text) == MAX_MESSAGE
    assert json.loads(render('["{{note}}{{note}}"]', body).text)["event_id"] == 1


def test_people_read_a_headline_and_lines() -> None:
    assert headline(BODY) == "[warning] zscore_high BTCUSDT_ETHUSDT 1s: triggered"
    assert headline({**BODY, "trial": True}).startswith("Trial: ")
    assert plain_text(message_body(event(note=""), trial=False)).splitlines() == [
        "value: 2.5", "threshold: 2.0", "timestamp: 2026-01-15T12:00:00.000000Z", "event 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "http://", "http:///x", "https://user:pass@a.example/", "https://a.example/#x",
     "http://a.example:0/", "http://a.example:99999/", "http://a b/", "http://a.example/\n", "http://ä.example/", "http://[::1/",
     "https://a/" + "x" * 2000],
)  # fmt: skip
def test_what_is_no_webhook_url_is_refused(url: str) -> None:
    with pytest.raises(ReceiverRejected):
        webhook_target(url)


def test_a_url_is_taken_apart() -> None:
    assert webhook_target("https://a.example?x=1") == (True, "a.example", 443, "/?x=1")
    assert webhook_target("http://[2001:db8::1]:81/p/") == (False, "2001:db8::1", 81, "/p/")


def test_secrets_of_urls_are_not_shown() -> None:
    assert masked_url("webhook", "https://h.example:8443/services/T0/token?key=1") == "https://h.example:8443/***"
    assert masked_url("webhook", "http://[2001:db8::1]/x") == "http://[2001:db8::1]/***"
    assert masked_url("apprise", "tgram://123456789:token/1") == "tgram://***"
    assert without_secrets("no answer from token-1234 at /x", "json://u:token-1234@h/x") == "no answer from *** at /x"
    with pytest.raises(ReceiverRejected):
        apprise_scheme("no url")
