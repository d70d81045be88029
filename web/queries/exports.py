# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""What can be exported, and its rows through a cursor of the server: a few thousand at a time, from one snapshot."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from common.database import connect_database
from common.settings import Settings
from web.queries.columns import EXPORTS, FRACTION_DIGITS, WHOLE_DIGITS, Column, Export, Form, written
from web.queries.pieces import within

BATCH_ROWS = 2_000
#: Of one FETCH; the first one of ticks sorts them all.
STATEMENT_TIMEOUT_S = 300
#: A client that takes nothing for so long loses its session.
IDLE_TIMEOUT_S = 120
#: Formats of rows by column with a type each; of the others, CSV has columns and the rest an object a row.
COLUMNAR = frozenset({"parquet", "arrow"})


class DoesNotFit(ValueError):
    """A decimal has more digits than the file's type holds."""


class Rows:
    """The rows of an export, in batches; open until `close`.

    Raises:
        DoesNotFit: before the first row, for formats whose decimals have a fixed number of digits.
    """

    def __init__(self, settings: Settings, name: str, query: Mapping[str, Any]) -> None:
        self.columns: Sequence[Column] = EXPORTS[name].columns
        self._connection = connect_database(settings, "web export")
        try:
            self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with self._connection.cursor() as settled:
                settled.execute(
                    f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'; SET LOCAL jit = off;"
                    f" SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'"
                )
                if query["format"] in COLUMNAR and query.get("decimals") != "string":
                    self._require_fit(settled, EXPORTS[name], query)
            self._cursor = self._connection.cursor(f"export_{uuid4().hex}")
            self._cursor.execute(_select(EXPORTS[name], query), query)
            self._first: list[tuple[Any, ...]] = self._cursor.fetchmany(BATCH_ROWS)
        except BaseException:
            self._connection.close()
            raise

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        batch = self._first
        while batch:
            yield batch
            batch = self._cursor.fetchmany(BATCH_ROWS)

    def close(self) -> None:
        """End the session, and with it the snapshot."""
        self._connection.close()

    @staticmethod
    def _require_fit(cursor: Any, export: Export, query: Mapping[str, Any]) -> None:
        """Of the same snapshot as the rows: a file that has begun has no place left for a sentence."""
        checks = {column.name: _fits(column) for column in export.columns if column.kind in ("decimal", "decimals")}
        if not checks:
            return
        asked = ", ".join(f"coalesce(bool_and({check}), true)" for check in checks.values())
        cursor.execute(f"SELECT {asked} {_from(export, query)}", query)
        (fits,) = cursor.fetchall()
        for name, fit in zip(checks, fits, strict=True):
            if not fit:
                digits = f"{WHOLE_DIGITS} digits before or {FRACTION_DIGITS} behind the point"
                raise DoesNotFit(f"must be string here: a {name} has more than {digits}")


def _fits(column: Column) -> str:
    """SQL for whether a decimal is exact as decimal128(38, 18); NULL where there is none."""
    if column.kind == "decimals":
        return f"NOT EXISTS (SELECT FROM unnest({column.sql}) AS each WHERE NOT ({_fits(Column('', 'each', 'decimal'))}))"
    scale = f"(scale({column.sql}) <= {FRACTION_DIGITS} OR scale(trim_scale({column.sql})) <= {FRACTION_DIGITS})"
    return f"{scale} AND abs({column.sql}) < 1e{WHOLE_DIGITS}"


def _select(export: Export, query: Mapping[str, Any]) -> str:
    """SQL of the rows: their columns, or one column of JSON."""
    form: Form = "columnar" if query["format"] in COLUMNAR else "csv" if query["format"] == "csv" else "json"
    columns = ", ".join(written(column, form, query.get("decimals") == "string") for column in export.columns)
    by = "ORDER BY " + ", ".join(f"{key} DESC" if query["order"] == "desc" else key for key in export.keys)
    if form != "json":
        return f"SELECT {columns} {_from(export, query)} {by}"
    row = f"SELECT row_to_json(listed)::text AS row FROM (SELECT {columns}) AS listed"
    return f"SELECT shown.row {_from(export, query, f', LATERAL ({row}) AS shown')} {by}"


def _from(export: Export, query: Mapping[str, Any], also: str = "") -> str:
    source = export.known(query) if export.known and query.get("as_of") else export.source
    narrowed = "".join(f" AND {column} = %({name})s" for name, column in export.filters.items() if query.get(name) is not None)
    return f"FROM {source}{also} WHERE true{narrowed}{within(query, export.stamp)}"
