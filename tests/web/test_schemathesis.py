"""schemathesis over the document, in this process: what the document says of requests and answers is so, whatever is sent."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from psycopg2.extensions import connection as Connection
from schemathesis import checks

from tests.web.rows import add_bars, add_pair_rows, add_stats, second
from tests.web.test_bad_input import OPERATIONS

checks.load_all_checks()
#: Left out, because the document says less than the rules: positive_data_acceptance (a symbol that fits its pattern may be
#: unknown here) and negative_data_rejection (what a body or query has beyond the document is left aside).
CHECKS: list[Any] = checks.CHECKS.get_by_names([
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "missing_required_header",
])  # fmt: skip
EXAMPLES = 6
#: A live stream has no end to wait for; test_bad_input asks it with bad parameters, test_live with good ones.
ENDLESS = "/api/stream"
BOUNDED = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "method"), [(each.path, each.method) for each in OPERATIONS if each.path != ENDLESS], ids=lambda text: str(text)
)
def test_answers_are_as_the_document_says(app: Flask, database: Connection, path: str, method: str) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        add_bars(database, symbol, [second(0)], "1m")
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": second(0)}])
    add_stats(database, "BTCUSDT", [(second(0), 0.1)])
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app)

    @hypothesis.given(case=schema[path][method].as_strategy())
    @BOUNDED
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
