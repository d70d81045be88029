"""Canonical CSV rows read as columns, eight bytes at a time: about a quarter of a microsecond a row.

Every field is looked at through `words[i]`, the eight bytes from i on as one little-endian number; the digits of such a word
become a value in three multiplications. A row of any other form than the one that `common.codec.encode_row` writes is refused,
with all its batch: the caller then reads row by row.
"""

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from common.settings import SYMBOL_PATTERN
from common.trades import to_us

Array = np.ndarray[Any, Any]
_FIELDS = 7
_PAD = 48
_DAY = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
#: All characters up to the point, in the order of a row: symbol, id, stamp, price, size, side, seq.
_USUAL = np.frombuffer(b",,--.,.,.,,\n", dtype=np.uint8)
_USUAL_ENDS = [0, 1, 5, 7, 9, 10, 11]
_FEW_KEYS = 24
_STAMP_LENGTH = len("2026-11-23T07:00:00.123456Z")
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_CLOCK_COLONS = _U(0x00003A00003A0000)
_CLOCK_COLON_MASK = _U(0x0000FF0000FF0000)
_CLOCK_ZEROS = _U(0x3030003030003030)
_KEEP_LOW = np.array([0] + [(1 << (8 * length)) - 1 for length in range(1, 9)], dtype=np.uint64)
_POWERS = np.array([10**power for power in range(19)], dtype=np.int64)


class Unreadable(ValueError):
    """Some row is not in the canonical form."""


def read_fast(rows: bytes, count: int) -> tuple[list[str], Array, Array, Array, Array, Array, Array, Array, Array, Array]:
    """The fields of `count` rows, in the order of `common.columns.Columns`, without the entry.

    Raises:
        Unreadable: the rows are not all canonical.
    """
    if b"\0" in rows:
        raise Unreadable("a NUL: behind a symbol it would look like the symbol's end")
    padded = b"0" * _PAD + rows + b"0" * _PAD
    octets = np.frombuffer(padded, dtype=np.uint8)
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    found = _usual_marks(octets, count)
    ends, dots = found if found else (_field_ends(octets, count), None)
    starts = np.empty_like(ends)
    starts[:, 0] = np.concatenate(([_PAD], ends[:-1, 6] + 1)) if count else _PAD
    starts[:, 1:] = ends[:, :-1] + 1
    price_dot, size_dot = dots if dots else _first_dots(octets, starts[:, 3], starts[:, 4])
    symbols, symbol = _symbols(words, octets, starts[:, 0], ends[:, 0])
    price, price_scale = _decimals(words, price_dot, starts[:, 3], ends[:, 3])
    size, size_scale = _decimals(words, size_dot, starts[:, 4], ends[:, 4])
    trade_id = _signed(words, octets, starts[:, 1], ends[:, 1])
    seq = np.where(starts[:, 6] == ends[:, 6], 0, _digits_or_none(words, starts[:, 6], ends[:, 6]))
    event_us = _stamps(words, octets, starts[:, 2], ends[:, 2])
    return symbols, symbol, trade_id, event_us, price, price_scale, size, size_scale, _buys(octets, starts, ends), seq


def _usual_marks(octets: Array, count: int) -> tuple[Array, tuple[Array, Array]] | None:
    """Field ends, and the points of price and size, where every row has the usual marks and no other: found in one look.

    None where some row has not: a minus in its symbol or its id, or an amount without a point.
    """
    marks = np.flatnonzero(octets[_PAD:-_PAD] <= 46)
    if len(marks) != count * len(_USUAL) or not count:
        return None
    marks += _PAD
    table = marks.reshape(count, len(_USUAL))
    if not (octets[table] == _USUAL).all() or int(marks[-1]) != len(octets) - _PAD - 1:
        return None
    return table[:, _USUAL_ENDS], (table[:, 6], table[:, 8])


def _first_dots(octets: Array, *starts: Array) -> list[Array]:
    """The first point at or after each start; far beyond everything where there is none."""
    dots = np.append(np.flatnonzero(octets == 46), 2**62)
    return [dots[np.searchsorted(dots, start)] for start in starts]


def _field_ends(octets: Array, count: int) -> Array:
    """Where each field ends, as (count, 7): at a comma, the last at a newline."""
    marks = np.flatnonzero((octets == 44) | (octets == 10))
    if len(marks) != count * _FIELDS:
        raise Unreadable("a row has not 7 fields")
    ends: Array = marks.reshape(count, _FIELDS)
    if not (octets[ends[:, 6]] == 10).all() or len(octets) != 2 * _PAD + (int(ends[-1, 6]) + 1 - _PAD if count else 0):
        raise Unreadable("a row has not 7 fields")
    return ends


def _word_value(word: Array) -> Array:
    """Value of eight ASCII digits."""
    word = word - _ZEROS
    word = (word * _U(10) + (word >> _U(8))) & _U(0x00FF00FF00FF00FF)
    word = (word * _U(100) + (word >> _U(16))) & _U(0x0000FFFF0000FFFF)
    return (word * _U(10_000) + (word >> _U(32))) & _U(0xFFFFFFFF)


def _check_digits(word: Array) -> None:
    high_nibbles = word & (word + _U(0x0606060606060606)) & _U(0xF0F0F0F0F0F0F0F0)
    if not (high_nibbles == _ZEROS).all():
        raise Unreadable("a number has another character than digits")


def _digits(words: Array, start: Array, end: Array) -> Array:
    """Whole numbers of up to 18 digits, from `[start, end)`; an empty field counts as 0."""
    length = end - start
    longest = int(length.max()) if len(length) else 0
    if longest > 18:
        raise Unreadable("a number has more than 18 digits")
    total = np.zeros(len(start), dtype=np.uint64)
    for step in range((longest + 7) // 8):
        here = np.clip(length - 8 * step, 0, 8)
        word = words[end - 8 * (step + 1)]
        drop = (8 * (8 - here)).astype(np.uint64)
        keep = ~_KEEP_LOW[8 - here]
        word = (word & keep) | (_ZEROS & ~keep) if int(drop.max(initial=0)) else word
        _check_digits(word)
        total += _word_value(word) * _U(10 ** (8 * step))
    return total.astype(np.int64)


def _digits_or_none(words: Array, start: Array, end: Array) -> Array:
    if not (end - start).any():
        return np.zeros(len(start), dtype=np.int64)
    value = _digits(words, start, end)
    if (value > 2**31 - 1).any():
        raise Unreadable("a seq is above 31 bits")
    return value


def _signed(words: Array, octets: Array, start: Array, end: Array) -> Array:
    negative = octets[start] == 45
    first = start + negative
    if (first == end).any():
        raise Unreadable("an id is empty")
    value = _wide_digits(words, first, end)
    return np.where(negative, -value, value)


def _wide_digits(words: Array, start: Array, end: Array) -> Array:
    """As `_digits`, for 19 digits that fit 63 bits: content ids have them."""
    longest = int((end - start).max()) if len(start) else 0
    if longest <= 18:
        return _digits(words, start, end)
    if longest > 19:
        raise Unreadable("an id has more than 19 digits")
    split = np.maximum(start, end - 18)
    lead = _digits(words, start, split)
    rest = _digits(words, split, end)
    if ((lead == 9) & (rest > 2**63 - 1 - 9 * 10**18)).any():
        raise Unreadable("an id is above 63 bits")
    value: Array = lead * 10**18 + rest
    return value


def _decimals(words: Array, dot: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Mantissas and scales of plain decimals such as 43000.12, 7 or 0.5; `dot` is the first point from their start on."""
    has_dot = dot < end
    whole_end = np.where(has_dot, dot, end)
    fraction_start = np.where(has_dot, dot + 1, end)
    if (whole_end == start).any() or (has_dot & (fraction_start == end)).any():
        raise Unreadable("a decimal begins or ends with its point")
    scale = end - fraction_start
    if int((whole_end - start + scale).max(initial=0)) > 18:
        raise Unreadable("a decimal has more than 18 digits")
    mantissa = _digits(words, start, whole_end) * _POWERS[scale]
    if scale.any():
        mantissa += _digits(words, fraction_start, end)
    return mantissa, scale


def _buys(octets: Array, starts: Array, ends: Array) -> Array:
    start, length = starts[:, 5], ends[:, 5] - starts[:, 5]
    side = octets[start]
    buy = side == 98
    if not (((length == 1) & (buy | (side == 115))) | (length == 0)).all():
        raise Unreadable("a side is not b, s or empty")
    bought: Array = buy & (length == 1)
    return bought


def _stamps(words: Array, octets: Array, start: Array, end: Array) -> Array:
    """Microseconds since 1970 of `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    if not len(start):
        return np.zeros(0, dtype=np.int64)
    if not (end - start == _STAMP_LENGTH).all() or not (octets[end - 1] == 90).all() or not (octets[start + 19] == 46).all():
        raise Unreadable("a stamp is not YYYY-MM-DDTHH:MM:SS.ffffffZ")
    fraction = (words[start + 18] & ~_KEEP_LOW[2]) | (_ZEROS & _KEEP_LOW[2])
    _check_digits(fraction)
    second_us = _days_us(words, octets, start) + _clock_s(words[start + 11]) * 1_000_000
    stamps: Array = second_us + _word_value(fraction).astype(np.int64)
    return stamps


def _clock_s(word: Array) -> Array:
    """Seconds of the day of `HH:MM:SS`."""
    if not ((word & _CLOCK_COLON_MASK) == _CLOCK_COLONS).all():
        raise Unreadable("a clock time is not HH:MM:SS")
    _check_digits((word & ~_CLOCK_COLON_MASK) | (_ZEROS & _CLOCK_COLON_MASK))
    digit = ((word & ~_CLOCK_COLON_MASK) - _CLOCK_ZEROS).astype(np.int64)
    hour, minute, second = (((digit >> shift) & 15) * 10 + ((digit >> (shift + 8)) & 15) for shift in (0, 24, 48))
    if (hour > 23).any() or (minute > 59).any() or (second > 59).any():
        raise Unreadable("a clock time is past 23:59:59")
    seconds: Array = hour * 3600 + minute * 60 + second
    return seconds


def _days_us(words: Array, octets: Array, start: Array) -> Array:
    """Midnight of each stamp's day; the text of a day is read once."""
    head, tail = words[start], words[start + 3]
    if (head == head[0]).all() and (tail == tail[0]).all():
        return np.full(len(start), _midnight_us(octets, int(start[0])), dtype=np.int64)
    key = head ^ (tail * _U(0x9E3779B97F4A7C15))
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if not ((head == head[first][inverse]) & (tail == tail[first][inverse])).all():
        raise Unreadable("two days look alike")
    return np.array([_midnight_us(octets, int(start[row])) for row in first], dtype=np.int64)[inverse]


def _midnight_us(octets: Array, at: int) -> int:
    text = octets[at : at + 11].tobytes()
    try:
        if not _DAY.fullmatch(text):  # strptime and fromisoformat take other forms too
            raise ValueError(text)
        return to_us(datetime(int(text[:4]), int(text[5:7]), int(text[8:10]), tzinfo=UTC))
    except ValueError as exc:
        raise Unreadable("a day is not YYYY-MM-DD") from exc


def _symbols(words: Array, octets: Array, start: Array, end: Array) -> tuple[list[str], Array]:
    """The distinct symbols and each row's index among them."""
    length = end - start
    if not len(length):
        return [], np.zeros(0, dtype=np.intp)
    if int(length.min()) < 1 or int(length.max()) > 40:
        raise Unreadable("a symbol has not 1 to 40 characters")
    parts = [
        words[start + 8 * step] & _KEEP_LOW[np.clip(length - 8 * step, 0, 8)] for step in range((int(length.max()) + 7) // 8)
    ]
    key = parts[0]
    for part in parts[1:]:
        key = (key ^ part) * _U(0x9E3779B97F4A7C15) + (key >> _U(29))
    first, inverse = _first_and_inverse(key)
    if len(parts) > 1 and not all((part == part[first][inverse]).all() for part in parts):
        raise Unreadable("two symbols look alike")
    names = [octets[start[row] : end[row]].tobytes().decode("utf-8", "replace") for row in first]
    if not all(SYMBOL_PATTERN.fullmatch(name) for name in names):
        raise Unreadable("a symbol has another character than A-Z 0-9 : . _ -")
    return names, inverse


def _first_and_inverse(key: Array) -> tuple[Array, Array]:
    """Index of each distinct key's first row, and each row's index among the distinct ones."""
    first, inverse, left = [], np.zeros(len(key), dtype=np.intp), np.ones(len(key), dtype=bool)
    for code in range(_FEW_KEYS):  # a look at all rows for each key is quicker than to sort them
        first.append(int(left.argmax()))
        same = key == key[first[-1]]
        inverse[same] = code
        left &= ~same
        if not left.any():
            return np.array(first, dtype=np.intp), inverse
    _, firsts, inverse = np.unique(key, return_index=True, return_inverse=True)
    return firsts, inverse
