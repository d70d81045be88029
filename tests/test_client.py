"""`gems_client.py` against a real web: every list to its end, every format, keys, busy servers, answers that break off."""

import io
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pandas
import polars
import pyarrow.parquet as pq
import pytest
import urllib3
from psycopg2.extensions import connection as Connection

import gems_client
from common.apikeys import add_key
from common.database import connect_database
from common.events import Event, publish
from common.settings import Settings
from common.streams import connect_redis
from gems_client import Client, GemsError
from ops.embedded import PrivateServers
from ops.house import ROOT
from tests.servers import FreshDatabases
from tests.web.killable import KillableWeb
from tests.web.rows import AT, add_bars, add_pair_rows, add_stats, add_ticks, second
from web.exporting import AT_ONCE

ROWS, PAGE = 7, 3
#: Bars of BIG: more than what the sockets between hold.
MANY = 300_000
pytestmark = pytest.mark.process


class House(NamedTuple):
    """A web with rows of everything, and what asks it."""

    web: KillableWeb
    settings: Settings
    client: Client


def fill(database: Connection) -> None:
    """`ROWS` of everything that is listed."""
    moments = [second(n) for n in range(ROWS)]
    add_bars(database, "BTCUSDT", moments)
    add_bars(database, "BTCUSDT", moments, "1m")
    add_bars(database, "BIG", [second(n * 86_400) for n in range(4)], "1m")
    add_ticks(database, "BTCUSDT", [(n, at, "1.10", "0.000000000000000001", "b", None) for n, at in enumerate(moments)])
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": at, "z_score": 1.5} for at in moments])
    add_pair_rows(database, "A_B_C", [{"timestamp": AT, "hedge_ratios": [1.5, None], "leg_prices": [Decimal("1.10"), 2, 3]}])
    add_stats(database, "BTCUSDT", [(at, 0.5) for at in moments])
    with database, database.cursor() as cursor:
        for n in range(ROWS):
            cursor.execute(
                "INSERT INTO alerts (alert_type, symbol_pair, timeframe, condition) VALUES ('price_above', 'BTCUSDT', '1s',"
                " '{\"threshold\": 1}') RETURNING id"
            )
            cursor.execute(
                "INSERT INTO alert_events (alert_id, bar_timestamp, transition, value) VALUES (1, %s, 'triggered', 2)",
                (second(n),),
            )
            cursor.execute(
                "INSERT INTO alert_silences (symbol_pair, until) VALUES ('BTCUSDT', now() + %s * interval '1 day')", (n + 1,)
            )
        cursor.execute(
            "INSERT INTO processed_bars (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume,"
            " vwap, taker_buy_volume, first_trade_id, last_trade_id, status) SELECT 'BIG', '1s', %s + n * interval '1 second',"
            " 1, 2, 1, 2, n, 1, 1, 1, 0, n, n, 'complete' FROM generate_series(1, %s) AS n",
            (AT, MANY),
        )


@pytest.fixture(scope="module")
def house(servers: PrivateServers, fresh_databases: FreshDatabases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One web for all tests of this file."""
    with fresh_databases.one() as url:
        folder = tmp_path_factory.mktemp("client")
        settings = Settings.from_env({}, database_url=url, redis_url=servers.redis_url(), data_dir=folder)
        database = connect_database(settings, "test")
        fill(database)
        with KillableWeb(settings) as web:
            client = Client(web.url, page_rows=PAGE)
            client.send("POST", "/api/analytics/pairs/", {"symbol1": "BTCUSDT", "symbol2": "BIG", "timeframe": "1s"})
            for n in range(ROWS):
                receiver = {"name": f"r{n}", "url": "https://93.184.216.34/hook", "alert_types": ["price_above"]}
                client.send("POST", "/api/analytics/alerts/receivers/", receiver)
                client.send("POST", "/api/analytics/alerts/receivers/1/test/", {})
            yield House(web, settings, client)
        database.close()


def every_list(client: Client) -> dict[str, Iterator[Any]]:
    """Each list by the method that reads it."""
    return {
        "ticks": client.ticks("BTCUSDT"),
        "bars": client.bars("BTCUSDT"),
        "spread": client.spread(["BTCUSDT", "ETHUSDT"]),
        "stats": client.stats("BTCUSDT"),
        "pairs": client.pairs(all=True),
        "alerts": client.alerts(),
        "alert_events": client.alert_events(),
        "alert_events of one": client.alert_events(1),
        "silences": client.silences(),
        "receivers": client.receivers(),
        "deliveries": client.deliveries(),
    }


def test_every_list_is_read_to_its_end(house: House) -> None:
    for name, rows in every_list(house.client).items():
        found = list(rows)
        if name == "pairs":
            assert [row.symbols for row in found] == [("BTCUSDT", "BIG")]
            continue
        assert len(found) == len(set(map(repr, found))) == ROWS, name
        if hasattr(found[0], "timestamp"):
            assert all(newer.timestamp > older.timestamp for newer, older in pairwise(found)), name
            assert found[-1].timestamp == AT and found[-1].timestamp.tzinfo == UTC


def test_rows_are_typed(house: House) -> None:
    tick = next(house.client.ticks("BTCUSDT"))
    assert (tick.price, tick.size) == (Decimal("1.10"), Decimal("0.000000000000000001"))
    assert isinstance(tick.timestamp, datetime)
    (basket,) = house.client.spread(["A", "B", "C"])
    assert basket.leg_prices == (Decimal("1.10"), Decimal(2), Decimal(3))
    assert (basket.hedge_ratios, basket.z_score, basket.coint_at) == ((1.5, None), None, None)
    assert next(house.client.alerts()).condition == {"threshold": 1}


def test_ranges_and_what_was_known_are_asked_for(house: House) -> None:
    assert [bar.timestamp for bar in house.client.bars("BTCUSDT", start=second(2), end=second(4))] == [second(3), second(2)]
    assert list(house.client.bars("BTCUSDT", as_of=AT)) == []
    with pytest.raises(ValueError, match="must have a time zone"):
        next(house.client.bars("BTCUSDT", start=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_every_list_of_the_document_has_a_method_and_its_fields(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    document = house.client.get("/api/openapi.json")
    schemas = document["components"]["schemas"]
    listed = {}
    for path, item in document["paths"].items():
        answer = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
        name = answer.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if "next_cursor" in schemas.get(name, {}).get("properties", {}):
            rows = next(node for node in schemas[name]["properties"].values() if node["type"] == "array")
            listed[path] = set(schemas[rows["items"]["$ref"].rpartition("/")[2]]["properties"])
    asked: list[str] = []
    kinds: list[type] = []
    inner_get, inner_made = Client.get, gems_client._made

    def noted(client: Client, path: str, **query: Any) -> Any:
        asked.append(path.replace("/alerts/1/", "/alerts/{alert_id}/"))
        return inner_get(client, path, **query)

    monkeypatch.setattr(Client, "get", noted)
    monkeypatch.setattr(gems_client, "_made", lambda kind, row: kinds.append(kind) or inner_made(kind, row))
    found = {}
    for rows in every_list(house.client).values():
        next(rows)
        found[asked[-1]] = {field.name for field in fields(kinds[-1])}
    once = {"secret", "task_id"}  # only in the answer that creates it
    assert found == {path: names - once for path, names in listed.items()}


def test_all_rows_of_a_range_as_a_frame(house: House) -> None:
    frame = house.client.pandas("bars", symbol="BTCUSDT", timeframe="1s", start=second(1))
    assert frame["close"].tolist() == [101.0 + n for n in range(ROWS - 1)]
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert house.client.pandas("ticks", symbol="BTCUSDT", exact=True)["price"][0] == Decimal("1.10")
    typed = house.client.polars("bars", symbol="BTCUSDT", timeframe="1s")
    assert (typed.schema["close"], typed.schema["timestamp"]) == (polars.Float64, polars.Datetime("us", "UTC"))
    assert house.client.polars("ticks", symbol="BTCUSDT", exact=True)["size"][0] == Decimal("0.000000000000000001")
    file = io.BytesIO()
    assert house.client.export("stats", file, "csv", symbol="BTCUSDT") == len(file.getvalue())
    assert len(file.getvalue().splitlines()) == ROWS + 1


def test_what_is_wrong_is_said_with_its_field(house: House) -> None:
    with pytest.raises(GemsError, match="limit must be from 1") as caught:
        house.client.get("/api/ingestion/bars/", symbol="BTCUSDT", limit=0)
    assert (caught.value.status, caught.value.field) == (400, "limit")
    with pytest.raises(GemsError, match="timeframe must be") as caught:
        next(house.client.stream(timeframes=["7s"]))
    assert caught.value.status == 400


def test_a_busy_web_is_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place for exports is taken, until the client was told so once."""
    told, sleep = [], urllib3.Retry.sleep
    with urllib3.PoolManager(maxsize=AT_ONCE) as pool:
        path = f"{house.web.url}/api/export/bars/?symbol=BIG"
        held = [pool.request("GET", path, preload_content=False) for _ in range(AT_ONCE)]

        def let_in(retry: urllib3.Retry, response: Any = None) -> None:
            told.append((response.status, response.headers["Retry-After"]))
            for each in held:
                each.close()
            sleep(retry, response)

        monkeypatch.setattr(urllib3.Retry, "sleep", let_in)
        assert house.client.export("bars", io.BytesIO(), symbol="BTCUSDT") > 0
    assert told and set(told) == {(503, "2")}


def test_a_key_is_shown_and_its_rate_is_kept(house: House, tmp_path: Path) -> None:
    database = connect_database(house.settings, "test")
    add_key(database, "boss", "admin")
    key = add_key(database, "reader", "read")
    database.close()
    limited = house.settings.model_copy(update={"api_keys": "on", "rate_limit": "4/second", "data_dir": tmp_path})
    with KillableWeb(limited) as web:
        client = Client(web.url, key, page_rows=1)
        assert len(list(client.bars("BTCUSDT"))) == ROWS  # more pages than may be asked for in a second
        for key_shown in ("", "gems_no_such_key"):
            with pytest.raises(GemsError, match="key") as caught:
                Client(web.url, key_shown).get("/api/health/")
            assert caught.value.status == 401
            with pytest.raises(GemsError, match="key"):
                next(Client(web.url, key_shown).stream())
        with pytest.raises(GemsError, match="scope") as caught:
            client.send("DELETE", "/api/analytics/alerts/1/delete/")
        assert caught.value.status == 403


def test_what_was_cut_off_is_no_file(house: House) -> None:
    class Murderous(io.BytesIO):
        """Kills the web at its first part."""

        def write(self, part: Any) -> int:
            if not self.tell():
                house.web.kill()
            return super().write(part)

    try:
        with pytest.raises(GemsError, match="cut off"):
            house.client.export("bars", Murderous(), "ndjson", symbol="BIG")
    finally:
        house.web.start()
    with house.client._downloaded("bars", {"symbol": "BIG"}) as file:
        assert pq.read_metadata(file).num_rows == MANY


def blocks_of_the_readme() -> list[str]:
    """Python of the README that asks a GEMS, but for what other projects' clients do (tests/clients)."""
    found = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in found if "localhost:8000" in block and "ccxt" not in block]


@pytest.mark.parametrize("block", blocks_of_the_readme(), ids=lambda block: block.split()[0])
def test_python_of_the_readme_does_what_it_says(
    house: House, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = threading.Event()

    def trade() -> None:
        with connect_redis(house.settings) as client:
            while not done.wait(0.05):
                publish(client, [Event("bar", {"symbol": "BTCUSDT", "timeframe": "1m", "close": 1})])

    market = threading.Thread(target=trade)
    market.start()
    names = {"pandas": pandas, "polars": polars, "urlopen": urlopen}
    try:
        for line in block.splitlines() if "import" not in block else [block]:
            exec(line.replace("http://localhost:8000", house.web.url), names)
            for name in ("bars", "ticks") if line.startswith(("bars", "ticks")) or line == block else ():
                if name in names:
                    assert len(names[name]) == ROWS, line
    finally:
        done.set()
        market.join()


def test_it_is_one_file_that_needs_urllib3_alone(tmp_path: Path) -> None:
    shutil.copy(ROOT / "gems_client.py", tmp_path)
    code = (
        "import sys, gems_client;"
        " alien = {n.partition('.')[0] for n in sys.modules} - sys.stdlib_module_names - {'gems_client', 'urllib3', '__main__'};"
        " own = {'common', 'web', 'producer', 'consumer', 'aggregator', 'ops', 'pandas', 'polars', 'pyarrow', 'requests'};"
        " sys.exit(str(alien & own) if alien & own else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={}, check=False).returncode == 0
