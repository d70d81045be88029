"""A file of trades into the stream: what `upload/` and `./gems import` take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from common.codec import encode_row
from common.errors import MalformedMessage
from common.judge import Limits
from common.letters import UPLOAD
from common.settings import Settings
from common.sources import CONTENT, register_source, source_of
from common.streams import shard_of, stream_names
from producer.batcher import Batch, Batcher
from producer.clock import StreamClock
from producer.containers import Block, BrokenFile, Container
from producer.pacing import LEAST_WAITING, MOST_WAITING, waiting_entries
from producer.patient import Patient, Stopped
from producer.rejects import Reject, store_rejects
from producer.uploaded import Witness
from producer.venues.archive import UNNAMED, Reader, Rows, parse_file_name
from producer.venues.binance import source_name
from producer.venues.formats import reader_for

SEND_BATCHES = 16
PACE_S = 0.02
REJECTS_AT_ONCE = 1000
TELL_EVERY_S = 1.0


@dataclass
class Counts:
    """What an import has done."""

    accepted: int = 0
    rejected: int = 0
    symbols: set[str] = field(default_factory=set)

    def as_json(self) -> dict[str, Any]:
        """For a task's row; `rows` are those that hold something."""
        rows = self.accepted + self.rejected
        return {"rows": rows, "accepted": self.accepted, "rejected": self.rejected, "symbols": sorted(self.symbols)}


Progress = Callable[[float, Counts], None]


class FileImport:
    """One file's way into the stream. Started over after a crash it makes the same trades, which are stored once."""

    def __init__(
        self,
        settings: Settings,
        patient: Patient,
        path: Path,
        name: str,
        symbol: str | None,
        letters: str,
        tell: Progress,
        kind: str | None = None,
    ) -> None:
        """`letters` is the entry id of its dead letters; `tell` hears of the progress, 0 to 1, about every second.

        `kind` (`trade` or `aggTrade`) says whose ids they are where neither the rows nor the file's name do.
        """
        self._settings, self._patient, self._path, self._name = settings, patient, path, name
        self._kind = source_name(kind) if kind else None
        self._symbol, self._letters, self._tell = symbol, letters, tell
        self._limits, self._streams = Limits.of(settings), stream_names(settings)
        self._batcher, self._clock = Batcher(settings.batch_rows, 0.0), StreamClock()
        self._ready: list[Batch] = []
        self._rejects: list[Reject] = []
        self._targets: dict[tuple[str, str], tuple[str, str]] = {}
        self.fraction, self._told_s = 0.0, time.monotonic()
        self.counts = Counts()
        self.witness = Witness()

    def run(self) -> Counts:
        """Read all of it.

        Raises:
            BrokenFile: it ends early or is damaged; what came before is in.
            MalformedMessage: no known format. SourceConflict: ids of another kind than the symbol's.
            Stopped: the process was asked to.
        """
        self._patient.meanwhile = self._maybe_tell
        self._patient.of_redis(self._clock.measure)
        try:
            self._read_all()
        except BrokenFile as exc:
            self._flush()
            raise BrokenFile(f"{exc}; the {self.counts.accepted + self.counts.rejected:,} rows before were read") from exc
        self._flush()
        return self.counts

    def _read_all(self) -> None:
        member, reader = None, None
        with Container(self._path, self._name) as container:
            for block in container.blocks():
                if reader is None or block.member != member:
                    reader, member = self._reader(block), block.member
                if reader:
                    self._take(reader.read(block.lines, block.first_number, self._clock.now_ms()))
                self.fraction = container.position / max(1, container.size)
                self._maybe_tell()
        if reader is None:
            raise MalformedMessage(f"{self._name} holds no rows")

    def _reader(self, block: Block) -> Reader | None:
        """By the first line that holds something; None: there is none in this block yet."""
        first = next((line for line in block.lines if line.strip()), None)
        if first is None:
            return None
        inner, outer = parse_file_name(block.member), parse_file_name(self._name)
        told = inner if inner.symbol else outer
        return reader_for(first, told._replace(kind=told.kind or self._kind), self._symbol, self._limits)

    def _take(self, rows: Rows) -> None:
        if rows.encoded:
            self.counts.accepted += len(rows.encoded)
            target = self._targets.get(rows.encoded_of) or self._target(*rows.encoded_of)
            self._ready.extend(self._batcher.extend(*target, rows.encoded, 0.0))
        for kind, trades in rows.trades.items():
            self.counts.accepted += len(trades)
            for trade in trades:
                stream, src = self._targets.get((trade.symbol, kind)) or self._target(trade.symbol, kind)
                full = self._batcher.add(stream, src, encode_row(trade), 0.0)
                if full:
                    self._ready.append(full)
        for number, text, error in rows.rejects:
            self.counts.rejected += 1
            self._rejects.append(Reject.of((UPLOAD, self._letters, number), UPLOAD, error, text))
        if len(self._ready) >= SEND_BATCHES:
            self._send()
        if len(self._rejects) >= REJECTS_AT_ONCE:
            self._store_rejects()

    def _target(self, symbol: str, kind: str) -> tuple[str, str]:
        """Stream and source of a symbol's trades of one kind; registers the source before the first entry."""

        def bind(connection: Connection) -> str:
            src = kind
            if kind == UNNAMED:
                known = source_of(connection, symbol)
                src = known if known and known != CONTENT else UNNAMED
            register_source(connection, symbol, src)
            return src

        target = self._streams[shard_of(symbol, self._settings.shards)], self._patient.of_database(bind)
        self._targets[symbol, kind] = target
        self.counts.symbols.add(symbol)
        return target

    def _flush(self) -> None:
        self._ready.extend(self._batcher.drain())
        self._send()
        self._store_rejects()

    def _send(self) -> None:
        batches, self._ready = self._ready, []
        for first in range(0, len(batches), SEND_BATCHES):
            part = batches[first : first + SEND_BATCHES]
            for stream in {batch.stream for batch in part}:
                self._wait_for_writers(stream)
            self._patient.of_redis(partial(self.witness.send, batches=part))

    def _wait_for_writers(self, stream: str) -> None:
        """Live trades queue behind ours: let the writers come near before more is sent."""
        bound = MOST_WAITING
        while self._patient.of_redis(lambda client: waiting_entries(client, stream)) > bound:
            bound = LEAST_WAITING
            if self._patient.stop.wait(PACE_S):
                raise Stopped
            self._maybe_tell()
        if self._patient.stop.requested():
            raise Stopped

    def _store_rejects(self) -> None:
        rejects, self._rejects = self._rejects, []
        if rejects:
            self._patient.of_database(lambda connection: store_rejects(connection, rejects))

    def _maybe_tell(self) -> None:
        if time.monotonic() - self._told_s >= TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(min(self.fraction, 0.999), self.counts)
