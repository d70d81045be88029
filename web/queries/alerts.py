# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Rows of `alerts`, `alert_events` and `alert_silences`; a deleted alert stays in the table, for its events name it."""

from collections.abc import Mapping
from typing import Any

from psycopg2.extras import Json

from common.database import transaction
from common.pairseries import LIVE, settings_series
from web.alert_rules import Series
from web.paging import by_id, one_page
from web.queries.pieces import instant, within
from web.stores import Stores

MAX_ID = 2**63 - 1
_STAMPS = ", ".join(f"{instant(f'a.{name}')} AS {name}" for name in ("triggered_at", "created_at", "updated_at", "expires_at"))
_SILENCED = "(SELECT max(until) FROM alert_silences s WHERE s.symbol_pair = a.symbol_pair AND ended_at IS NULL AND until > now())"
_COLUMNS = f"""a.id, a.alert_type, a.symbol_pair, a.condition, a.timeframe, a.status,
    coalesce(a.state->>'name', 'inactive') AS state, a.severity, a.note,
    a.firing, a.trigger_value, {_STAMPS}, {instant(_SILENCED)} AS silenced_until"""
_ONE = f"""
SELECT row_to_json(listed)::text FROM (SELECT {_COLUMNS} FROM alerts a WHERE id = %(id)s AND deleted_at IS NULL) AS listed
"""
_INSERT = """
INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe, expires_at, severity, note)
VALUES (%(alert_type)s, %(symbol_pair)s, %(condition)s, %(timeframe)s, %(expires_at)s, %(severity)s, %(note)s)
RETURNING json_build_object('id', id, 'alert_type', alert_type, 'symbol_pair', symbol_pair, 'status', status,
    'condition', condition, 'timeframe', timeframe, 'severity', severity, 'note', note)::text
"""
_DELETE = """
UPDATE alerts SET deleted_at = now(), version = next_alert_change() WHERE id = %(id)s AND deleted_at IS NULL RETURNING id
"""
_EVENT = f"""e.id AS event_id, e.alert_id AS id, a.alert_type, a.symbol_pair, a.timeframe, e.transition,
    {instant("e.bar_timestamp")} AS timestamp, e.value, e.details, e.silenced, {instant("e.created_at")} AS created_at"""
_SILENCE = f"""id, symbol_pair, note, {instant("until")} AS until, {instant("created_at")} AS created_at,
    {instant("ended_at")} AS ended_at, ended_at IS NULL AND until > now() AS active"""


def list_alerts(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of what is not deleted."""
    query = by_id(query)
    names = ("status", "symbol_pair", "severity", "alert_type")
    filters = "".join(f" AND {name} = %({name})s" for name in names if query.get(name))
    living = f"alerts WHERE deleted_at IS NULL{filters}{_before(query)}{within(query, 'created_at')}"
    shown = f"SELECT {_COLUMNS} FROM page AS a ORDER BY a.id {_way(query)}"
    return one_page(stores, query, "alerts", f"SELECT * FROM {living}", "id DESC", shown, "id")


def alert_json(stores: Stores, alert_id: int) -> str | None:
    """One alert; None if there is none, or no more."""
    row = stores.row(_ONE, {"id": alert_id}) if alert_id <= MAX_ID else None
    return str(row[0]) if row else None


def insert_alert(stores: Stores, alert: Mapping[str, Any]) -> str:
    """Store an alert and answer it."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute(_INSERT, {**alert, "condition": Json(alert["condition"])})
        row = cursor.fetchone()
    assert row, "just inserted"
    return str(row[0])


def delete_alert(stores: Stores, alert_id: int) -> bool:
    """Mark an alert as deleted; False if there is none, or no more."""
    if alert_id > MAX_ID:
        return False
    return stores.row(_DELETE, {"id": alert_id}) is not None


def list_events(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of events, also of deleted alerts; start and end are of the bars."""
    query = by_id(query)
    fields = {"alert_id": "e.alert_id", "symbol_pair": "a.symbol_pair", "transition": "e.transition", "severity": "a.severity"}
    filters = "".join(f" AND {column} = %({name})s" for name, column in fields.items() if query.get(name) is not None)
    among = f"alert_events e JOIN alerts a ON a.id = e.alert_id WHERE true{filters}{_before(query, 'e.id')}"
    found = f"SELECT e.* FROM {among}{within(query, 'e.bar_timestamp')}"
    shown = f"SELECT {_EVENT} FROM page AS e JOIN alerts a ON a.id = e.alert_id ORDER BY e.id {_way(query)}"
    return one_page(stores, query, "events", found, "id DESC", shown, "id")


def insert_silence(stores: Stores, silence: Mapping[str, Any]) -> str:
    """Store a silence and answer it."""
    values = "INSERT INTO alert_silences (symbol_pair, until, note) VALUES (%(symbol_pair)s, %(until)s, %(note)s) RETURNING *"
    listed = f"SELECT row_to_json(listed)::text FROM (SELECT {_SILENCE} FROM made) AS listed"
    return stores.text(f"WITH made AS ({values}) {listed}", silence)


def list_silences(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of silences, newest first; those that are over only if asked for."""
    query = by_id(query)
    pair = " AND symbol_pair = %(symbol_pair)s" if query.get("symbol_pair") else ""
    over = "" if query["ended"] else " AND ended_at IS NULL AND until > now()"
    found = f"SELECT * FROM alert_silences WHERE true{pair}{over}{_before(query)}"
    return one_page(stores, query, "silences", found, "id DESC", f"SELECT {_SILENCE} FROM page ORDER BY id DESC", "id")


def end_silence(stores: Stores, silence_id: int) -> bool:
    """End a silence; False if there is none, or no more."""
    if silence_id > MAX_ID:
        return False
    end = "UPDATE alert_silences SET ended_at = now() WHERE id = %(id)s AND ended_at IS NULL RETURNING id"
    return stores.row(end, {"id": silence_id}) is not None


def followed_series(stores: Stores) -> set[Series]:
    """The series of pair rows that are kept up to date."""
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT symbol_pair, timeframe, window_bars, method, {LIVE} FROM pair_series")
        known: dict[Series, bool] = {row[:4]: row[4] for row in cursor.fetchall()}
    live = {key for key, is_live in known.items() if is_live}
    own: set[Series] = {series.key for series in settings_series(stores.settings)}  # before an aggregator has entered them
    return live | {key for key in own if known.get(key, True)}


def _way(query: Mapping[str, Any]) -> str:
    return "DESC" if query["order"] == "desc" else "ASC"


def _before(query: Mapping[str, Any], column: str = "id") -> str:
    return f" AND {column} < %(before)s" if query.get("before") is not None else ""
