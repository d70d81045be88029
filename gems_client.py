"""A client of GEMS in one file: copy it, or put its folder on the path. It needs Python 3.11 and urllib3, and nothing else.

    from gems_client import Client

    gems = Client("http://localhost:8000", key="gems_...")  # without keys: Client()
    for bar in gems.bars("BTCUSDT", "1m"):  # newest first, page after page
        print(bar.timestamp, bar.close)
    frame = gems.pandas("bars", symbol="BTCUSDT", timeframe="1m")  # or gems.polars(...)
    for event in gems.stream(topics=["bars"], symbols=["BTCUSDT"]):  # goes on over every break
        print(event.name, event.body)

Lists are iterators: pages are fetched as they are used. Prices and sizes are `Decimal`, moments are `datetime` in UTC, None is
what GEMS has no value for. `start` is included, `end` is not. 429 and 503 are tried again after what `Retry-After` says.
"""

import json
import logging
import random
import time
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from tempfile import SpooledTemporaryFile
from types import UnionType
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import urllib3

if TYPE_CHECKING:
    import pandas
    import polars

#: The server says something at least every 10 s; after this it is taken for dead, and asked anew.
SILENCE_S = 30.0
LONGEST_WAIT_S = 30.0
_BUSY = (429, 503)
_IN_MEMORY = 64 << 20
Moment = datetime | str | int
Row = TypeVar("Row")

log = logging.getLogger("gems_client")


class GemsError(Exception):
    """What GEMS answered instead: its sentence, the status, and the field at fault where there is one."""

    def __init__(self, sentence: str, status: int, field: str | None = None) -> None:
        super().__init__(sentence)
        self.status, self.field = status, field


@dataclass(frozen=True, slots=True)
class Tick:
    """One trade; `side` is the taker's, b or s."""

    symbol: str
    timestamp: datetime
    price: Decimal
    size: Decimal
    side: str | None
    trade_id: int
    seq: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """OHLCV over [timestamp, timestamp + timeframe); `status`: complete, gap or partial."""

    symbol: str
    timeframe: str
    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    tick_count: int
    quote_volume: Decimal
    vwap: Decimal | None
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    status: str
    revision: int


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair or basket at the close of a bar, from bars up to it; a statistic is None until its window is full."""

    timestamp: datetime
    symbol1_price: Decimal
    symbol2_price: Decimal
    hedge_ratio: float | None
    intercept: float | None
    spread: float | None
    z_score: float | None
    rolling_mean: float | None
    rolling_std: float | None
    correlation: float | None
    return_correlation: float | None
    half_life: float | None
    innovation_z: float | None
    adf_statistic: float | None
    adf_pvalue: float | None
    is_cointegrated: bool | None
    hurst: float | None
    variance_ratio: float | None
    spread_adf_statistic: float | None
    spread_adf_pvalue: float | None
    coint_at: datetime | None
    hedge_ratios: tuple[float | None, ...] | None
    leg_prices: tuple[Decimal, ...] | None
    carried: str
    has_gap: bool
    revision: int
    written_at: datetime
    window: int
    method: str


@dataclass(frozen=True, slots=True)
class StatsRow:
    """Statistics of a symbol at the close of a bar, from bars up to it; None where undefined."""

    timestamp: datetime
    returns: float | None
    log_return: float | None
    volatility: float | None
    realised_volatility: float | None
    volume_ma: float | None
    price_change_pct: float | None
    high_low_range: float | None
    vwap: float | None
    taker_imbalance: float | None
    atr: float | None
    drawdown: float | None
    has_gap: bool
    revision: int
    written_at: datetime
    window: int


@dataclass(frozen=True, slots=True)
class PairSeries:
    """A series of pair rows that is kept up to date (`live`), or was."""

    symbol_pair: str
    symbols: tuple[str, ...]
    timeframe: str
    window: int
    method: str
    origin: str
    live: bool
    added_at: datetime | None
    removed_at: datetime | None
    last_row_at: datetime | None
    newest: PairRow | None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it stands."""

    id: int
    alert_type: str
    symbol_pair: str
    status: str
    condition: Mapping[str, Any]
    timeframe: str
    severity: str
    note: str
    state: str
    firing: bool
    triggered_at: datetime | None
    trigger_value: float | None
    created_at: datetime
    updated_at: datetime | None
    expires_at: datetime | None
    silenced_until: datetime | None


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """A transition of the alert `id`, with the values that caused it; `timestamp` is its bar's."""

    event_id: int
    id: int
    alert_type: str
    symbol_pair: str
    timeframe: str
    transition: str
    timestamp: datetime
    value: float | None
    details: Mapping[str, Any] | None
    silenced: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Silence:
    """A pair or symbol whose alerts tell nobody until then."""

    id: int
    symbol_pair: str
    until: datetime
    note: str
    created_at: datetime
    ended_at: datetime | None
    active: bool


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told of alerts."""

    id: int
    name: str
    kind: str
    url: str
    template: str | None
    min_severity: str
    alert_types: tuple[str, ...]
    symbol_pairs: tuple[str, ...]
    send_resolved: bool
    enabled: bool
    created_at: datetime
    updated_at: datetime | None
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver was told, or is to be."""

    id: int
    receiver_id: int
    receiver: str
    event_id: str
    alert_id: int | None
    trial: bool
    state: str
    attempts: int
    next_at: datetime | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """What has just happened: its name (`bar`, `bar.open`, `bar.revised`, `spread`, `alert`, `health` ...) and its body.

    `reset` means that some events since `id` are no longer kept: load by the lists what you need of them. `id` is empty for
    what has no place in the stream (`health`).
    """

    name: str
    id: str
    body: Mapping[str, Any]


class Client:
    """Reads GEMS; may be shared between threads.

    Args:
        url: Where the web of GEMS listens.
        key: An API key, where keys are on.
        retries: How often a request that met 429, 503 or a broken connection is tried again. Live streams try for ever.
        timeout_s: Seconds to wait for the next bytes of an answer.
        page_rows: Rows of a list that are fetched at once, 10,000 at most (deliveries 1,000).
    """

    def __init__(
        self, url: str = "http://localhost:8000", key: str = "", *, retries: int = 8, timeout_s: float = 60.0,
        page_rows: int = 1_000,
    ) -> None:  # fmt: skip
        self._url, self._retries, self._page_rows = url.rstrip("/"), retries, page_rows
        headers = {"User-Agent": "gems-client/1", **({"X-API-Key": key} if key else {})}
        self._pool = urllib3.PoolManager(headers=headers, timeout=urllib3.Timeout(connect=5.0, read=timeout_s), maxsize=8)

    def ticks(self, symbol: str, *, start: Moment | None = None, end: Moment | None = None) -> Iterator[Tick]:
        """Ticks of a symbol, newest first."""
        return self._listed(Tick, "/api/ingestion/ticks/", "ticks", {"symbol": symbol, "start": start, "end": end, **_EXACT})

    def bars(
        self, symbol: str, timeframe: str = "1s", *, start: Moment | None = None, end: Moment | None = None,
        as_of: Moment | None = None,
    ) -> Iterator[Bar]:  # fmt: skip
        """Bars of a symbol, newest first; with `as_of`, as they were known then."""
        query = {"symbol": symbol, "timeframe": timeframe, "start": start, "end": end, "as_of": as_of}
        return self._listed(Bar, "/api/ingestion/bars/", "bars", {**query, **_EXACT})

    def spread(
        self, symbols: Sequence[str], timeframe: str = "1s", *, window: int | None = None, method: str | None = None,
        start: Moment | None = None, end: Moment | None = None, as_of: Moment | None = None,
    ) -> Iterator[PairRow]:  # fmt: skip
        """Rows of a pair or basket (y first), newest first; with `as_of`, as they were known then."""
        series = {"symbols": ",".join(symbols), "timeframe": timeframe, "window": window, "method": method}
        query = {**series, "start": start, "end": end, "as_of": as_of}
        return self._listed(PairRow, "/api/analytics/spread/", "analytics", {**query, **_EXACT})

    def stats(
        self, symbol: str, timeframe: str = "1s", *, window: int | None = None, annualised: bool = False,
        start: Moment | None = None, end: Moment | None = None, as_of: Moment | None = None,
    ) -> Iterator[StatsRow]:  # fmt: skip
        """Statistics of a symbol's bars, newest first; with `as_of`, as they were known then."""
        series = {"symbol": symbol, "timeframe": timeframe, "window": window, "annualised": annualised}
        query = {**series, "start": start, "end": end, "as_of": as_of}
        return self._listed(StatsRow, "/api/analytics/stats/", "stats", query)

    def pairs(self, **query: Any) -> Iterator[PairSeries]:
        """The pair series that are kept up to date; `all=True`: also those that were; `newest=True`: each with its last row."""
        return self._listed(PairSeries, "/api/analytics/pairs/", "pairs", {**query, **_EXACT}, paged=False)

    def alerts(self, **query: Any) -> Iterator[Alert]:
        """Alerts, newest first, by `status`, `symbol_pair`, `severity`, `alert_type`, `start`, `end`."""
        return self._listed(Alert, "/api/analytics/alerts/", "alerts", query)

    def alert_events(self, alert_id: int | None = None, **query: Any) -> Iterator[AlertEvent]:
        """The history of one alert or of all, newest first, by `symbol_pair`, `severity`, `transition`, `start`, `end`."""
        of_one = f"{alert_id}/" if alert_id is not None else ""
        return self._listed(AlertEvent, f"/api/analytics/alerts/{of_one}events/", "events", query)

    def silences(self, **query: Any) -> Iterator[Silence]:
        """Silences, newest first, by `symbol_pair`; `ended=True`: also those that are over."""
        return self._listed(Silence, "/api/analytics/alerts/silences/", "silences", query)

    def receivers(self) -> Iterator[Receiver]:
        """Who is told of alerts."""
        return self._listed(Receiver, "/api/analytics/alerts/receivers/", "receivers", {}, paged=False)

    def deliveries(self, **query: Any) -> Iterator[Delivery]:
        """Deliveries of alerts, newest first, by `state`, `receiver_id`, `alert_id`."""
        return self._listed(Delivery, "/api/analytics/alerts/deliveries/", "deliveries", query)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of any other route that reads."""
        return json.loads(self._answer("GET", path, query).data)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a route that does something. What has reached GEMS and broke off is not sent twice."""
        return json.loads(self._answer(method, path, {}, json.dumps(body).encode()).data)

    def export(self, what: str, file: IO[bytes], form: str = "parquet", **query: Any) -> int:
        """All rows of a range into an open file, at constant memory; the answer is how many bytes.

        Args:
            what: `ticks`, `bars`, `spread`, `stats` or `alert-events`.
            form: `parquet`, `arrow` (an IPC stream), `csv`, `ndjson` or `json`.
            query: As that list takes it (`symbol`, `timeframe`, `start`, `end`, `as_of`, `order` ...), and `decimals="string"`.

        Raises:
            GemsError: also where the answer was cut off, with the status 0.
        """
        response = self._answer("GET", f"/api/export/{what}/", {**query, "format": form}, stream=True)
        try:
            return sum(file.write(part) for part in response.stream(1 << 16))
        except urllib3.exceptions.HTTPError as exc:
            raise GemsError(f"the export of {what} was cut off: {exc}", 0) from exc
        finally:
            response.close()

    def pandas(self, what: str, *, exact: bool = False, **query: Any) -> "pandas.DataFrame":
        """All rows of a range; decimals as float64, or `exact` as Decimal. Needs pandas and pyarrow; `what` as in `export`."""
        import pyarrow
        import pyarrow.parquet

        with self._downloaded(what, query) as file:
            table = pyarrow.parquet.read_table(file)
        if not exact:
            types = [
                field.with_type(pyarrow.float64()) if pyarrow.types.is_decimal(field.type) else field for field in table.schema
            ]
            table = table.cast(pyarrow.schema(types))
        frame: pandas.DataFrame = table.to_pandas()
        return frame

    def polars(self, what: str, *, exact: bool = False, **query: Any) -> "polars.DataFrame":
        """All rows of a range; decimals as Float64, or `exact` as Decimal. Needs polars; `what` as in `export`."""
        import polars

        with self._downloaded(what, query) as file:
            frame = polars.read_parquet(file.read())
        return frame if exact else frame.with_columns(polars.selectors.decimal().cast(polars.Float64))

    def stream(
        self, *, topics: Iterable[str] = (), symbols: Iterable[str] = (), timeframes: Iterable[str] = (), since: str = ""
    ) -> Iterator[Event]:
        """What happens, for ever: each event once and in order, over every break of the connection or of GEMS.

        Args:
            topics: Of `bars`, `spread`, `alerts`, `stats`, `ticks` (where `GEMS_LIVE_TICKS=on`), `health`; none: all.
            symbols: Symbols or pairs; a symbol also brings the pairs it is a leg of.
            since: The id of the last event that is known already; `0`: all that GEMS still keeps (about 20,000).

        Raises:
            GemsError: the request itself is wrong, or the key is.
        """
        wanted = {"topics": ",".join(topics), "symbols": ",".join(symbols), "timeframe": ",".join(timeframes)}
        last_id, failures = since, 0
        while True:
            wait_s = 0.0
            try:
                for event in self._live(wanted, last_id):
                    failures, last_id = 0, event.id or last_id
                    if event.name:
                        yield event
                log.info("the live stream ended; it is opened again after %s", last_id or "now")
            except _Busy as exc:
                wait_s = exc.wait_s
            except (urllib3.exceptions.HTTPError, OSError) as exc:
                log.warning("the live stream broke: %s; it is opened again after %s", exc, last_id or "now")
            failures += 1
            time.sleep(max(wait_s, min(LONGEST_WAIT_S, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0)))

    def _live(self, wanted: Mapping[str, str], last_id: str) -> Iterator[Event]:
        """The events of one connection; one without a name only moves the place."""
        address = self._address("/api/stream", wanted)
        headers = {**self._pool.headers, "Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        timeout = urllib3.Timeout(connect=5.0, read=SILENCE_S)
        response = self._pool.request(
            "GET", address, headers=headers, timeout=timeout, retries=False, preload_content=False,
        )  # fmt: skip
        try:
            if response.status in _BUSY or response.status >= 500:
                raise _Busy(urllib3.Retry().get_retry_after(response) or 1.0)
            if response.status != 200:
                raise _failure(response.status, response.read())
            for event in _events(response):
                if event.name == "dropped":
                    log.warning("GEMS dropped this stream: %s", event.body.get("reason"))
                    return
                yield event
        finally:
            response.close()

    def _listed(self, kind: type[Row], path: str, name: str, query: Mapping[str, Any], *, paged: bool = True) -> Iterator[Row]:
        """Rows page by page, along `next_cursor`, until a page says that it was the last one."""
        asked = {**query, **({"limit": self._page_rows} if paged else {}), **({"order": "desc"} if path in _SORTED else {})}
        while True:
            page = self.get(path, **asked)
            for row in page[name]:
                yield _made(kind, row)
            if not page["next_cursor"]:
                return
            asked["cursor"] = page["next_cursor"]

    def _downloaded(self, what: str, query: Mapping[str, Any]) -> IO[bytes]:
        file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            self.export(what, file, **query)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _answer(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes | None = None, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        n = self._retries
        retry = urllib3.Retry(
            n, connect=n, status=n, read=n if method == "GET" else 0, other=0, redirect=0, status_forcelist=_BUSY,
            allowed_methods=None, backoff_factor=0.1, backoff_max=LONGEST_WAIT_S, backoff_jitter=0.1, raise_on_status=False,
        )  # fmt: skip
        headers = {**self._pool.headers, **({"Content-Type": "application/json"} if body is not None else {})}
        response = self._pool.request(
            method, self._address(path, query), body=body, headers=headers, retries=retry, preload_content=not stream
        )
        if response.status >= 300:
            raise _failure(response.status, response.read() if stream else response.data)
        return response

    def _address(self, path: str, query: Mapping[str, Any]) -> str:
        given = {name: _text(value) for name, value in query.items() if value is not None and value != ""}
        return f"{self._url}{path}{'?' if given else ''}{urlencode(given)}"


class _Busy(Exception):
    """GEMS asks to come back later."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"busy for {wait_s} s")
        self.wait_s = wait_s


_EXACT = {"decimals": "string"}
_SORTED = ("/api/ingestion/ticks/", "/api/ingestion/bars/", "/api/analytics/spread/", "/api/analytics/stats/")


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[Event]:
    """Server-sent events. What was cut off before its empty line never happened: neither its body nor its id."""
    name, event_id, body, kept = "", "", [], b""
    for part in response.stream(1 << 16):
        *lines, kept = (kept + part).split(b"\n")
        for line in lines:
            key, _, value = line.decode().rstrip("\r").partition(":")
            value = value.removeprefix(" ")
            if key == "event":
                name = value
            elif key == "id":
                event_id = value
            elif key == "data":
                body.append(value)
            elif not (key or value):
                if body or event_id:
                    yield Event(name if body else "", event_id, json.loads("\n".join(body)) if body else {})
                name, event_id, body = "", "", []


def _failure(status: int, body: bytes) -> GemsError:
    try:
        answer = json.loads(body)
        return GemsError(answer["error"], status, answer.get("field"))
    except (ValueError, KeyError, TypeError):
        return GemsError(f"answered {status}: {body[:200].decode(errors='replace')}", status)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"a moment must have a time zone, was {value!r}")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _made(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """A row as its class has it; what the class does not know is left out, so that a newer GEMS can say more."""
    return kind(**{name: _value(hint, row.get(name)) for name, hint in _hints(typing.cast(Any, kind)).items()})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(hint, UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], each) for each in value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if is_dataclass(hint):
        return _made(typing.cast(Any, hint), value)
    return hint(value) if hint in (Decimal, float) else value
