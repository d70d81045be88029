"""A bar that was gone and is made again counts on from what is kept of it: none of its versions is lost to `as_of`."""

from datetime import datetime
from itertools import pairwise

import pytest

from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, House, each_second

ELEVENTH = from_us(START_US + 11 * SECOND)
OF_BAR = "WHERE symbol = 'A' AND timeframe = '1s' AND timestamp = %(at)s"
VERSIONS = f"""
SELECT revision, close, written_at, replaced_at FROM bar_revisions {OF_BAR} UNION ALL
SELECT revision, close, written_at, 'infinity' FROM processed_bars {OF_BAR} ORDER BY written_at, replaced_at
"""  # noqa: S608


def trades(first: int, end: int) -> list[Trade]:
    return each_second("A", [str(100 + n) for n in range(30)])[first:end]


def late(house: House, number: int) -> None:
    """A trade at the end of second 11, from elsewhere: its id tells of no hole."""
    house.take([Trade("A", -number, START_US + 11 * SECOND + 500_000 + number, str(number), "1", "b")], "api")
    house.rebuild_marks()


def lose(house: House) -> None:
    """Four seconds are seen and forgotten by the stream before a writer comes: their bars go."""
    for n in range(10):
        house.take(trades(n, n + 1))
    house.see(trades(10, 14))
    house.quiet(2)
    house.doubt()
    house.trust()
    house.rebuild_marks()


def versions(house: House, at: datetime = ELEVENTH) -> list[tuple[int, int]]:
    """Revision and close of each version of a bar, in the order of time; none begins before the one before it has ended."""
    with house.database, house.database.cursor() as cursor:
        cursor.execute(VERSIONS, {"at": at})
        rows = cursor.fetchall()
    assert all(before[3] <= after[2] for before, after in pairwise(rows))
    return [(row[0], int(row[1])) for row in rows]


def remove(house: House, second: int) -> None:
    at_us = START_US + second * SECOND
    house.rows("DELETE FROM raw_ticks WHERE timestamp >= %s AND timestamp < %s", from_us(at_us), from_us(at_us + SECOND))
    house.rows(
        "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
        " VALUES ('A', %s, %s, 'trades', 0, 0, 'a test')", at_us, at_us + SECOND - 1,
    )  # fmt: skip
    house.rebuild_marks()


def test_a_bar_that_comes_back_counts_on_and_can_be_revised_and_go_again(house):
    lose(house)
    house.take(trades(10, 14))
    back = [bar for bar in house.rebuild_marks() if bar.timeframe == "1s" and bar.timestamp == ELEVENTH]
    assert [(bar.revision, bar.is_new) for bar in back] == [(1, True)]
    assert versions(house) == [(0, 111), (1, 111)]
    late(house, 1)
    late(house, 2)
    assert versions(house) == [(0, 111), (1, 111), (2, 1), (3, 2)]
    remove(house, 11)
    assert versions(house) == [(0, 111), (1, 111), (2, 1), (3, 2)]
    assert house.rows("SELECT 1 FROM processed_bars WHERE timeframe = '1s' AND timestamp = %s", ELEVENTH) == []


@pytest.mark.parametrize("then", ["it changes", "it goes"])
def test_a_bar_that_was_revision_0_twice_keeps_both(house, then):
    """Older versions made a bar that came back revision 0."""
    lose(house)
    house.take(trades(10, 14))
    house.rebuild_marks()
    house.rows("UPDATE processed_bars SET revision = 0")
    if then == "it changes":
        late(house, 1)
    else:
        remove(house, 11)
    assert versions(house) == [(0, 111), (1, 111), (2, 1)][: 3 if then == "it changes" else 2]
