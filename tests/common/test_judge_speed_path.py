"""The judge remembers and takes short cuts; the rule written out long is here, and the two must never differ."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codec import decode_rows, encode_row, iso_us, parse_iso_us
from common.errors import InvalidTrade
from common.judge import AHEAD_US, MAX_ID, Limits, judge, plain_decimal
from common.settings import SYMBOL_PATTERN
from common.trades import US_PER_DAY, Trade

ENTRY_MS = 1_700_000_000_000
decimals = st.one_of(
    st.from_regex(r"[0-9]{1,22}(\.[0-9]{1,22})?", fullmatch=True),
    st.from_regex(r"0{0,3}[0-9]{0,3}\.?0{0,9}", fullmatch=True),
    st.text(alphabet="0123456789.+-eE_ \n٣", max_size=12),
    st.sampled_from(["0", "0.0", "10", "10.00", "100", "0.10", ".5", "5.", "1e5", "NaN", "inf", "-1.0", "1.0\n", "٣.0"]),
)
stamps = st.one_of(
    st.integers(ENTRY_MS * 1000 - 3 * US_PER_DAY, ENTRY_MS * 1000 + 2 * AHEAD_US),
    st.integers(-(10**7), 10**18),
    st.sampled_from([0, 1, 999_999, 1_000_000, ENTRY_MS * 1000 + AHEAD_US, ENTRY_MS * 1000 + AHEAD_US + 1]),
)


def long_form(trade: Trade, limits: Limits) -> Trade | str:
    """The rule of DESIGN section 2, word by word: the canonical trade, or the field at fault."""
    if not SYMBOL_PATTERN.fullmatch(trade.symbol):
        return "symbol"
    if abs(trade.trade_id) > MAX_ID:
        return "trade_id"
    oldest = max(limits.earliest_us, ENTRY_MS * 1000 - limits.retention_us) if limits.retention_us else limits.earliest_us
    if not oldest <= trade.event_us <= ENTRY_MS * 1000 + AHEAD_US:
        return "timestamp"
    plain = {}
    for field in ("price", "size"):
        text = getattr(trade, field)
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
            return field
        whole, _, fraction = text.partition(".")
        whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
        plain[field] = whole + ("." + fraction if fraction else "")
        if plain[field] == "0" or len(whole + fraction) > 38:
            return field
    return trade._replace(**plain)


@given(
    st.sampled_from(["BTCUSDT", "BINANCEUM:BTCUSDT", "btc", "", "A" * 41, "BTC\n"]),
    st.sampled_from([0, 1, -5, MAX_ID, -MAX_ID, MAX_ID + 1]),
    stamps, decimals, decimals, st.sampled_from([0, US_PER_DAY]),
)  # fmt: skip
def test_short_cuts_judge_as_the_rule_written_out(symbol, trade_id, event_us, price, size, retention_us):
    trade, limits = Trade(symbol, trade_id, event_us, price, size, "b", None), Limits(1_000_000_000, retention_us)
    expected = long_form(trade, limits)
    for _ in range(2):  # the second time from memory
        try:
            found = judge(trade, limits, ENTRY_MS)
        except InvalidTrade as exc:
            assert exc.field == expected
        else:
            assert found == expected and type(found) is Trade


@given(decimals)
def test_canonical_decimals_are_fixed_points(text):
    try:
        plain = plain_decimal("price", text)
    except InvalidTrade:
        return
    assert plain_decimal("price", plain) == plain


@given(st.integers(-(10**12), 4 * 10**15))
def test_stamps_survive_the_text_form(event_us):
    assert parse_iso_us(iso_us(event_us)) == event_us


@pytest.mark.parametrize("seq", [None, 0, 7])
def test_a_row_gives_its_trade_back(seq):
    trade = Trade("BTCUSDT", -3, 1_700_000_000_000_001, "43000.12", "0.0123", "", seq)
    assert decode_rows(encode_row(trade)) == [trade]
