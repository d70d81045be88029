"""What the judge refuses, field by field, with the sentence that a person reads."""

import pytest

from common.codec import decode_row, read_rows
from common.errors import InvalidTrade
from common.judge import AHEAD_US, MAX_ID, MAX_SEQ, Limits, content_id, judge
from common.trades import US_PER_DAY, Trade

ENTRY_MS = 1_767_225_600_000
NOW_US = ENTRY_MS * 1000
LIMITS = Limits(earliest_us=1_230_768_000_000_000, retention_us=30 * US_PER_DAY)
OLDEST_US = NOW_US - 30 * US_PER_DAY
ODD_NUMBERS = ("", " ", "-1", "+1", "NaN", "inf", "Infinity", "1e5", "1E-8", ".5", "5.", "1,5", "0x10", "1_000", "٣", "1\n")
GOOD = Trade("BTCUSDT", 7, NOW_US, "43000.12", "0.5", "b", None)
PLAIN = "must be a plain positive decimal such as 43000.12, was "
SYMBOL = "symbol must be upper case, at most 40 of A-Z 0-9 : . _ -, was "


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        *[({"symbol": text}, f"{SYMBOL}{text!r}") for text in ("", "btcusdt", "BTC/USDT", "BTC USDT", "A\n", "É", "A" * 41)],
        *[({"trade_id": n}, f"trade_id must fit 63 bits, was {n}") for n in (MAX_ID + 1, -MAX_ID - 1)],
        *[({"side": text}, f"side must be b, s or empty, was {text!r}") for text in ("B", "buy", " ")],
        *[({"seq": n}, f"seq must be from 0 to 2147483647, was {n}") for n in (-1, MAX_SEQ + 1)],
        *[
            ({field: text}, f"{field} {PLAIN}{text!r}")
            for field in ("price", "size")
            for text in ODD_NUMBERS
        ],
        *[({"price": text}, f"price must be above 0, was {text!r}") for text in ("0", "0.000", "00")],
        *[({"size": text}, f"size must be above 0, was {text!r}") for text in ("0", "0.000", "00")],
        ({"price": "1" * 39}, f"price must have at most 38 digits, was {'1' * 39!r}"),
        ({"size": "0." + "1" * 38}, f"size must have at most 38 digits, was {'0.' + '1' * 38!r}"),
        ({"event_us": NOW_US + AHEAD_US + 1}, f"timestamp is more than 60 s in the future, was {NOW_US + AHEAD_US + 1}"),
        ({"event_us": LIMITS.earliest_us - 1}, f"timestamp is before GEMS_EARLIEST, was {LIMITS.earliest_us - 1}"),
        ({"event_us": OLDEST_US - 1}, f"timestamp is older than the tick retention, was {OLDEST_US - 1}"),
    ],
)  # fmt: skip
def test_a_refusal_names_field_value_and_rule(change, sentence):
    with pytest.raises(InvalidTrade) as refused:
        judge(GOOD._replace(**change), LIMITS, ENTRY_MS)
    assert str(refused.value) == sentence and refused.value.field == sentence.split()[0]


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "A" * 40}, {"symbol": "BINANCEUM:BTC_USDT-1.0"}, {"trade_id": MAX_ID}, {"trade_id": -MAX_ID}, {"trade_id": 0},
        {"side": ""}, {"seq": 0}, {"seq": MAX_SEQ}, {"price": "1" * 38}, {"size": "0." + "1" * 37},
        {"event_us": NOW_US + AHEAD_US}, {"event_us": OLDEST_US},
    ],
)  # fmt: skip
def test_the_last_value_inside_each_limit_is_taken(change):
    assert judge(GOOD._replace(**change), LIMITS, ENTRY_MS) == GOOD._replace(**change)


def test_time_rules_use_the_entrys_time():
    late = GOOD._replace(event_us=NOW_US + 10 * AHEAD_US)
    assert judge(late, LIMITS, ENTRY_MS + 600_000) == late
    kept = Limits(LIMITS.earliest_us, 0)
    old = GOOD._replace(event_us=LIMITS.earliest_us)
    assert judge(old, kept, ENTRY_MS) == old, "a retention of 0 keeps everything"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("", "row"), ("a,b", "row"), ("A,1,2026-01-01T00:00:00Z,1,1,b,,", "row"),
        ("A,,2026-01-01T00:00:00Z,1,1,b,", "trade_id"),
        ("A,1.5,2026-01-01T00:00:00Z,1,1,b,", "trade_id"), ("A,12345678901234567890,2026-01-01T00:00:00Z,1,1,b,", "trade_id"),
        ("A,1,,1,1,b,", "timestamp"), ("A,1,2026-01-01T00:00:00,1,1,b,", "timestamp"),
        ("A,1,2026-02-29T00:00:00Z,1,1,b,", "timestamp"),
        ("A,1,2026-01-01T00:00:00Z,1,1,b,x", "seq"),
    ],
)  # fmt: skip
def test_a_row_of_another_form_names_the_field(row, field):
    with pytest.raises(InvalidTrade) as refused:
        decode_row(row)
    assert refused.value.field == field
    assert [(number, text, found.field) for number, text, found in read_rows(row + "\n")] == [(0, row, field)]


def test_fractions_past_the_sixth_digit_are_cut_not_rounded():
    assert decode_row("A,1,2026-01-01T00:00:00.9999999Z,1,1,b,").event_us == NOW_US + 999_999


def test_content_ids_are_negative_and_the_same_for_the_same_content():
    made = {content_id("A", NOW_US, "1", "2", n) for n in range(1000)} | {content_id("B", NOW_US, "1", "2", 0)}
    assert len(made) == 1001 and all(-MAX_ID <= each < 0 for each in made)
    assert content_id("A", NOW_US, "1", "2", 0) == content_id("A", NOW_US, "1", "2", 0)
