"""Rows as Parquet or as an Arrow stream, batch by batch: what is held is one row group, however many rows there are.

pyarrow is loaded by the first such export: it takes some 50 MB, which a web that is never asked does not spend.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from web.queries.columns import FRACTION_DIGITS, WHOLE_DIGITS, Column

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 65_536


class Batches(Protocol):
    """Rows in batches, and what their columns are."""

    columns: Sequence[Column]

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]: ...


class Sink:
    """A file that only grows; what was written is taken away with `take`."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: Any) -> int:
        """Keep a part until it is taken."""
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def close(self) -> None:
        """Its last part is still to be taken."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def arrow_stream(rows: Batches, exact: bool) -> Iterator[bytes]:
    """Arrow's IPC stream, a record batch a batch; one that was cut off has no end mark.

    Args:
        exact: Decimals are text, else decimal128(38, 18).
    """
    import pyarrow as pa

    schema, sink = _schema(rows.columns, exact), Sink()
    writer = pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema, options=pa.ipc.IpcWriteOptions(use_threads=False))
    yield sink.take()
    for batch in rows:
        writer.write_batch(_record_batch(batch, schema))
        yield sink.take()
    writer.close()
    yield sink.take()


def parquet(rows: Batches, exact: bool) -> Iterator[bytes]:
    """Parquet with zstd, a row group each 65,536 rows; one that was cut off has no footer, and nothing reads it.

    Args:
        exact: Decimals are text, else decimal128(38, 18).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, sink = _schema(rows.columns, exact), Sink()
    writer = pq.ParquetWriter(sink, schema, compression="zstd")
    for group in _groups(_record_batch(batch, schema) for batch in rows):
        writer.write_table(pa.Table.from_batches(group, schema), row_group_size=GROUP_ROWS)
        yield sink.take()
    writer.close()
    yield sink.take()


def _groups(batches: "Iterable[pa.RecordBatch]") -> "Iterator[list[pa.RecordBatch]]":
    """Batches that make about a row group: as columns they take a tenth of what their rows took."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        if group and sum(map(len, group)) + len(batch) > GROUP_ROWS:
            yield group
            group = []
        group.append(batch)
    if group:
        yield group


def _schema(columns: Sequence[Column], exact: bool) -> "pa.Schema":
    import pyarrow as pa

    decimal = pa.string() if exact else pa.decimal128(WHOLE_DIGITS + FRACTION_DIGITS, FRACTION_DIGITS)
    types = {
        "text": pa.string(),
        "json": pa.string(),
        "whole": pa.int64(),
        "flag": pa.bool_(),
        "stamp": pa.timestamp("us", "UTC"),
        "float": pa.float64(),
        "quotient": pa.string() if exact else pa.float64(),
        "decimal": decimal,
        "floats": pa.list_(pa.float64()),
        "decimals": pa.list_(decimal),
    }
    return pa.schema([(column.name, types[column.kind]) for column in columns])


def _record_batch(batch: list[tuple[Any, ...]], schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    columns = zip(*batch, strict=True)
    return pa.record_batch([_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _array(values: tuple[Any, ...], kind: "pa.DataType") -> "pa.Array":
    """Decimals come as text, stamps as whole microseconds."""
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_decimal(inner):
        came = pa.list_(pa.string()) if pa.types.is_list(kind) else pa.string()
        return pa.array(values, came).cast(kind)
    return pa.array(values, kind)
