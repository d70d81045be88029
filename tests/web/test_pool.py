"""Sessions are kept, and one that died is replaced before anybody uses it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from web.pool import POOL_SIZE
from web.stores import Stores

_OWN = "SELECT pg_backend_pid()"


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    found = Stores(settings)
    yield found
    found.close()


def _pid(stores: Stores) -> int:
    row = stores.row(_OWN)
    assert row
    return int(row[0])


def test_a_session_is_used_again(stores: Stores) -> None:
    assert _pid(stores) == _pid(stores)


def test_one_that_died_a_moment_ago_is_replaced(stores: Stores, database: Connection) -> None:
    before = _pid(stores)
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))
        assert cursor.fetchone() == (True,)
    assert _pid(stores) != before


def test_all_that_were_ever_open_at_once_stay_open(stores: Stores) -> None:
    with ExitStack() as stack:
        pids = [stack.enter_context(stores.session()).info.backend_pid for _ in range(POOL_SIZE)]
    with ExitStack() as stack:
        again = [stack.enter_context(stores.session()).info.backend_pid for _ in range(POOL_SIZE)]
    assert len(set(pids)) == POOL_SIZE and set(again) == set(pids)
