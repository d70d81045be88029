"""schemathesis over the document, in this process: what the document says of requests and answers is so, whatever is sent.

All of its checks, with requests that fit the document and requests that do not; with keys off, and with keys on. With many more
examples by `./gems test --siege`.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from common.apikeys import add_key
from common.database import connect_database
from common.settings import Settings
from ops.embedded import PrivateServers
from tests.servers import FreshDatabases
from tests.web.openapi import FORM, Operation
from tests.web.rows import add_bars, add_pair_rows, add_stats, second
from tests.web.test_bad_input import OPERATIONS, THEIRS
from web.app import close_app, create_app

checks.load_all_checks()
#: Left out: positive_data_acceptance. Some rules are no JSON schema's: two fields or else a list of them, a threshold beside its
#: clearing, a cursor that the web has made, stamps in three spellings. That good requests are accepted is tested beside it.
CHECKS: list[Any] = [check for check in checks.CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]
#: Parts of a form are text: "1" is no wrong type for a symbol, though the document calls the number 1 one.
OF_FORMS: list[Any] = [check for check in CHECKS if check.__name__ != "negative_data_rejection"]
EXAMPLES, SIEGE_EXAMPLES = 5, 60
#: A live stream has no end to wait for; test_bad_input asks it with bad parameters, test_live with good ones.
ENDLESS = "/api/stream"
ASKED = [each for each in OPERATIONS if each.path != ENDLESS]


def bounded(examples: int) -> Any:
    """The same examples at every run."""
    return hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled_settings(servers: PrivateServers, fresh_databases: FreshDatabases, tmp_path_factory: Any) -> Iterator[Settings]:
    """Of a database with some rows, so that no list is empty only because nothing was there; one for all of this file."""
    with fresh_databases.one() as url:
        folder = tmp_path_factory.mktemp("web")
        made = Settings.from_env({}, database_url=url, redis_url=servers.redis_url(), data_dir=folder)
        database = connect_database(made, "test")
        for symbol in ("BTCUSDT", "ETHUSDT"):
            add_bars(database, symbol, [second(0)], "1m")
        add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": second(0)}])
        add_stats(database, "BTCUSDT", [(second(0), 0.1)])
        database.close()
        yield made


@pytest.fixture(scope="module")
def open_web(filled_settings: Settings) -> Iterator[Flask]:
    """A web without keys."""
    made = create_app(filled_settings)
    yield made
    close_app(made)


@pytest.fixture(scope="module")
def keyed_web(filled_settings: Settings) -> Iterator[Flask]:
    """A web that asks for keys, but counts nobody's requests: 429 would hide every other answer."""
    made = create_app(filled_settings.model_copy(update={"api_keys": "on"}))
    made.extensions["gems.limiter"].enabled = False
    yield made
    close_app(made)


@pytest.fixture(scope="module")
def admin(filled_settings: Settings, keyed_web: Flask) -> dict[str, str]:
    """How a client shows a key that may do everything."""
    database = connect_database(filled_settings, "test")
    key = add_key(database, "schemathesis", "admin")
    database.close()
    return {"X-API-Key": key, "Authorization": f"Bearer {key}"}


def ask_all(web: Flask, operation: Operation, examples: int, key: dict[str, str] | None = None) -> None:
    """Good and bad requests of one operation, judged by every check."""
    headers = {**(key or {}), "Accept-Encoding": "identity"}  # schemathesis asks for gzip and does not unpack it in process
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", web, headers=headers)
    described = schema[operation.path][operation.method]
    judged = OF_FORMS if operation.content == FORM else CHECKS

    takes_anything = not (operation.parameters or operation.content)
    for mode in GenerationMode.POSITIVE, *([] if takes_anything else [GenerationMode.NEGATIVE]):

        @hypothesis.given(case=described.as_strategy(generation_mode=mode))
        @bounded(examples)
        def ask(case: Any) -> None:
            case.call_and_validate(checks=judged, headers=headers)

        with suppress(hypothesis.errors.Unsatisfiable):  # a path of any text at all: no request breaks the document
            ask()


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", ASKED, ids=name_of)
def test_answers_are_as_the_document_says(open_web: Flask, operation: Operation) -> None:
    ask_all(open_web, operation, EXAMPLES)


@pytest.mark.siege
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", ASKED, ids=name_of)
def test_answers_are_as_the_document_says_to_many_requests(open_web: Flask, operation: Operation) -> None:
    ask_all(open_web, operation, SIEGE_EXAMPLES)


@pytest.mark.parametrize("operation", ASKED, ids=name_of)
def test_with_keys_on_too_and_nothing_opens_without_one(keyed_web: Flask, admin: dict[str, str], operation: Operation) -> None:
    ask_all(keyed_web, operation, 2, admin)


@pytest.mark.siege
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", ASKED, ids=name_of)
def test_with_keys_on_many_requests(keyed_web: Flask, admin: dict[str, str], operation: Operation) -> None:
    ask_all(keyed_web, operation, SIEGE_EXAMPLES // 3, admin)


#: Good requests that find nothing to work on, or, the session, that keys are off.
FINDS_NOTHING = (404, 409)


@pytest.mark.parametrize("operation", [each for each in ASKED if each.content != FORM], ids=name_of)
def test_a_good_request_is_accepted(open_web: Flask, operation: Operation) -> None:
    body = {"json": operation.body or {"note": "a PATCH names what it changes"}} if operation.content else {}
    followed = open_web.test_client().post("/api/analytics/pairs/", json={"symbol1": "BTCUSDT", "symbol2": "ETHUSDT"})
    assert followed.status_code < 400 or followed.status_code in FINDS_NOTHING, followed.text  # another test may have removed it
    answer = open_web.test_client().open(operation.address(), method=operation.method, query_string=operation.query(), **body)
    assert answer.status_code < 400 or answer.status_code in FINDS_NOTHING, answer.text


TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["BTCUSDT", "ETHUSDT", "1m", "60", "0", '["BTCUSDT"]']
)
NUMBER = st.integers(-(10**25), 10**25).map(str)
QUERY = st.dictionaries(
    st.sampled_from(["symbol", "symbols", "interval", "startTime", "endTime", "timeZone", "limit", "fromId", "type", "from", "to",
                     "resolution", "countback", "query", "exchange"]),
    TEXT | NUMBER,
)  # fmt: skip


def ask_theirs(client: FlaskClient, path: str, examples: int, headers: dict[str, str] | None = None) -> None:
    """Routes in others' shapes are not in the document: any query at all makes no fault."""

    @hypothesis.given(query=QUERY)
    @bounded(examples)
    def ask(query: dict[str, str]) -> None:
        answer = client.get(path, query_string={**THEIRS.get(path, {}), **query}, headers=headers)
        assert answer.status_code < 500, (query, answer.text)

    ask()


THEIR_PATHS = [*THEIRS, "/api/v3/ping", "/api/v3/time", "/udf/config", "/udf/time", "/udf/symbol_info"]


@pytest.mark.parametrize("path", THEIR_PATHS)
def test_no_query_of_routes_in_others_shapes_makes_a_fault(open_web: Flask, path: str) -> None:
    ask_theirs(open_web.test_client(), path, 20)


@pytest.mark.parametrize("path", THEIR_PATHS)
def test_nor_with_keys_on(keyed_web: Flask, admin: dict[str, str], path: str) -> None:
    assert keyed_web.test_client().get(path).status_code == 401
    ask_theirs(keyed_web.test_client(), path, 10, admin)


@pytest.mark.siege
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", THEIR_PATHS)
def test_nor_many_queries(open_web: Flask, path: str) -> None:
    ask_theirs(open_web.test_client(), path, 1_500)
