"""The dashboard for Grafana and the rules for Prometheus: they parse, and all that they name is in a real scrape."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import redis
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extensions import connection as Connection

from common.health import Heartbeat
from ops.house import ROOT
from tests.web.test_metrics import make_facts
from web.families import FAMILIES

RULES = [rule for group in yaml.safe_load((ROOT / "docs/prometheus-rules.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
pytestmark = pytest.mark.usefixtures("patient")
#: Added by Prometheus itself.
OF_PROMETHEUS = {"instance", "job"}


def expressions() -> Iterator[str]:
    """All of both files, with Grafana's own variables filled in."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*") for target in TARGETS)


def names_of(expression: str) -> set[str]:
    return set(re.findall(r"\bgems_[a-z0-9_]+", expression))


@pytest.fixture
def scraped(client: FlaskClient, database: Connection, redis_client: redis.Redis) -> dict[str, set[str]]:
    """The labels of each sample of a scrape, by its name, of a pipeline in which everything has a value."""
    make_facts(database, redis_client)
    Heartbeat(redis_client, "writer_0").tell({"commits": 2, "commit_s": 0.5, "outage": "DiskFull"})
    Heartbeat(redis_client, "notifier").tell({"delivered": 1, "failed": 2, "given_up": 3})
    facts = {"messages": 1, "repeats": 1, "malformed": 0, "reconnects": 2, "fetched": 3, "backfilled": 4, "lost": 5}
    Heartbeat(redis_client, "producer_2").tell(facts)
    with database, database.cursor() as cursor:
        cursor.execute("INSERT INTO tasks (task_id, kind, params) VALUES (gen_random_uuid(), 'stats', '{}')")
    client.get("/healthz")
    samples = [s for family in text_string_to_metric_families(client.get("/metrics").text) for s in family.samples]
    return {name: set().union(*(s.labels for s in samples if s.name == name)) for name in {s.name for s in samples}}


def test_every_metric_that_a_file_names_is_in_a_scrape(scraped: dict[str, set[str]]) -> None:
    named = set().union(*map(names_of, expressions()))
    assert named - set(scraped) == set()
    assert {name for name in FAMILIES if not {name, f"{name}_total"} & set(scraped)} == set(), "a family that nothing sets"


def test_every_metric_is_shown_or_watched() -> None:
    named = set().union(*map(names_of, expressions()))
    left_out = {name for name in FAMILIES if not {name, f"{name}_total"} & named}
    assert left_out == {"gems_producer_messages"}  # beside trades and what is malformed it says nothing


def test_every_label_that_a_file_names_is_on_its_metric(scraped: dict[str, set[str]]) -> None:
    for target in TARGETS:
        known = OF_PROMETHEUS.union(*(scraped[name] for name in names_of(target["expr"])))
        assert set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])) <= known, target
    for rule in RULES:
        known = OF_PROMETHEUS.union(*(scraped[name] for name in names_of(rule["expr"])))
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= known, rule
    for expression in expressions():
        known = OF_PROMETHEUS.union({"le"}, *(scraped[name] for name in names_of(expression)))
        grouped = [names.split(",") for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)]
        assert {name.strip() for names in grouped for name in names} <= known, expression


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_parses(expression: str) -> None:
    assert promql_parser.parse(expression)


def test_a_parser_that_takes_everything_would_be_seen() -> None:
    for wrong in ("sum(rate(gems_ticks_stored_total))) > 1", "max by gems_gaps", "rate(gems_gaps)"):
        with pytest.raises(ValueError):
            promql_parser.parse(wrong)


def test_every_rule_says_what_it_means() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) > 20
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Gems[A-Z][A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert all(text and not text.endswith(" ") for text in rule["annotations"].values())


def test_each_outage_has_its_alarm() -> None:
    text = " ".join(rule["expr"] for rule in RULES)
    for needed in ("gems_redis_up", "gems_postgres_up", "gems_process_outage", "gems_disk_free_bytes", "gems_reader_lag_seconds"):
        assert needed in text


def test_panels_lie_side_by_side() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(box["x"] >= 0 and box["w"] > 0 and box["x"] + box["w"] <= 24 for box in boxes)
    assert not [(one, other) for one, other in combinations(boxes, 2) if overlap(one, other)]


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    return across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


def test_panels_ask_whatever_source_is_chosen() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in PANELS:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"} == {panel["datasource"]["uid"]}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) >= 1
    assert all('instance=~"$instance"' in target["expr"] for target in TARGETS)
