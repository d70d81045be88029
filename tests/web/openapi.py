"""`/api/openapi.json`, walked: every operation, what it takes, and a request that it accepts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flask.testing import FlaskClient

JSON, FORM = "application/json", "multipart/form-data"
#: A value that is good wherever a field or parameter has this name and the document gives no example.
GOOD: dict[str, Any] = {
    "symbol": "BTCUSDT", "symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "symbols": ["BTCUSDT", "ETHUSDT"], "price": 43000.12,
    "symbol_pair": "BTCUSDT_ETHUSDT", "ts": "2026-11-23T07:00:00Z", "size": 0.5, "alert_type": "zscore_high", "name": "n",
    "condition": {"threshold": 2.0}, "url": "https://93.184.216.34/hook", "timeframe": "1m", "matchers": {"symbol_pair": "X_Y"},
    "ends_at": "2999-01-01T00:00:00Z", "starts_at": "2026-11-23T07:00:00Z", "key": "gems_", "note": "n", "window": 60,
    "until": "2999-01-01T00:00:00Z",
}  # fmt: skip
#: Needed by a rule that the document can not say: these two, or else a list.
ALSO = ("symbol1", "symbol2")
PATH_GOOD = {"task_id": "00000000-0000-0000-0000-000000000000", "symbol_pair": "BTCUSDT_ETHUSDT"}


class Operation(NamedTuple):
    """A route with a method."""

    method: str
    path: str
    parameters: list[dict[str, Any]]  # `name`, `in`, `required`
    content: str | None  # of its body
    body: dict[str, Any]  # fields that its body must have, with good values
    fields: list[tuple[str, ...]]  # every field of its body, as a way down

    def address(self, **values: Any) -> str:
        """The path with its parameters."""
        names = [parameter["name"] for parameter in self.parameters if parameter["in"] == "path"]
        return self.path.format(**{name: values.get(name, PATH_GOOD.get(name, 1)) for name in names})

    def query(self) -> dict[str, str]:
        """Parameters that it must have, with good values."""
        wanted = [p for p in self.parameters if p["in"] == "query" and (p.get("required") or p["name"] in ALSO)]
        return {p["name"]: str(GOOD.get(p["name"], 1)) for p in wanted}


def operations(client: FlaskClient) -> list[Operation]:
    """All of the document."""
    document = client.get("/api/openapi.json").get_json()
    found = []
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        methods = [method for method in ("get", "post", "put", "patch", "delete") if method in item]
        found += [_operation(document, method.upper(), path, item[method], shared) for method in methods]
    return found


def _operation(document: Any, method: str, path: str, node: Any, shared: list[Any]) -> Operation:
    parameters = [_resolved(document, each) for each in [*shared, *node.get("parameters", [])]]
    contents = node.get("requestBody", {}).get("content", {})
    content = next(iter(contents), None)
    schema = _resolved(document, contents[content]["schema"]) if content else {}
    return Operation(method, path, parameters, content, _good(document, schema), list(_ways(document, schema)))


def _resolved(document: Any, schema: Any) -> Any:
    """What a reference stands for, also one in an `allOf` of one."""
    while True:
        if "$ref" in schema:
            node = document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part]
            schema = node
        elif len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        else:
            return schema


def _good(document: Any, schema: Any) -> dict[str, Any]:
    body = {}
    for name in [*schema.get("required", ()), *(name for name in ALSO if name in schema.get("properties", {}))]:
        inner = _resolved(document, schema["properties"][name])
        body[name] = _good_value(document, name, inner)
    return body


def _good_value(document: Any, name: str, schema: Any) -> Any:
    if name in GOOD:
        return GOOD[name]
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "array":
        items = _resolved(document, schema["items"])
        return [_good(document, items)] if items.get("properties") else []
    return _good(document, schema) if schema.get("properties") else 1


def _ways(document: Any, schema: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, node in schema.get("properties", {}).items():
        inner = _resolved(document, node)
        yield (*above, name)
        if inner.get("type") == "array":
            inner = _resolved(document, inner["items"])
        yield from _ways(document, inner, (*above, name))


def changed(body: Any, way: tuple[str, ...], value: Any, remove: bool = False) -> Any:
    """A copy of a body with another value at the end of a way; through a list, in its first element."""
    if isinstance(body, list):
        return [changed(body[0] if body else {}, way, value, remove), *body[1:]]
    name, *rest = way
    inner = dict(body) if isinstance(body, dict) else {}
    if rest:
        inner[name] = changed(inner.get(name, {}), tuple(rest), value, remove)
    elif remove:
        inner.pop(name, None)
    else:
        inner[name] = value
    return inner
