"""Every knob of GEMS: name, default, unit and a sentence; read once from the environment (`GEMS_*`)."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from common.errors import ConfigError
from common.pairspec import PairSpec, basket_legs, checked_method, least_window
from common.pairspec import pair_legs as pair_legs
from common.timeframes import TIMEFRAMES_S, duration_s

NameList = Annotated[tuple[str, ...], NoDecode]
_RATE = re.compile(r"(\d{1,9})/(?:second|minute|hour|day)", re.ASCII)
SYMBOL_PATTERN = re.compile(r"[A-Z0-9:._-]{1,40}")


class Settings(BaseSettings):
    """One frozen object for all processes; a list is written with commas (`GEMS_SYMBOLS=BTCUSDT,ETHUSDT`)."""

    model_config = SettingsConfigDict(env_prefix="GEMS_", frozen=True, extra="ignore", env_file=None)

    database_url: str = Field("", description="PostgreSQL to use, a libpq URL; empty: the embedded one.")
    redis_url: str = Field("", description="Redis to use, a URL with its database number; empty: the embedded one.")
    data_dir: Path = Field(Path("var"), description="Where an instance keeps its servers' files, spool, uploads and logs.")
    api_keys: Literal["on", "off"] = Field("off", description="Whether the API asks for keys, made by `./gems keys`.")
    host: str = Field("127.0.0.1", description="Address the web listens on; any but a loopback one needs GEMS_API_KEYS=on.")
    allowed_hosts: NameList = Field((), description="Host names, beside localhost, under which a web without keys may be asked.")
    rate_limit: str = Field("600/minute", description="Requests that each key may make (`10/second;600/minute`).")
    port: int = Field(8000, ge=1, le=65535, description="Port the web listens on.")

    feed: Literal["sim", "binance"] = Field("sim", description="Where live trades come from: the simulated exchange or Binance.")
    feed_kind: Literal["trade", "aggTrade"] = Field("trade", description="Binance stream to subscribe to; its ids count.")
    symbols: NameList = Field(("BTCUSDT", "ETHUSDT", "SOLUSDT"), description="Symbols to subscribe to, as the venue spells them.")
    pairs: NameList = Field(
        ("BTCUSDT_ETHUSDT",), description="Pairs to follow, each Y_X or Y_X@METHOD:WINDOW: Y is regressed on X (Y_X1_X2: on all)."
    )
    timeframes: NameList = Field(("1s", "1m", "5m"), description="Bars to build, of 1s 5s 15s 30s 1m 3m 5m 15m 30m 1h 4h 1d.")
    window: int = Field(60, ge=3, le=10_000, description="Bars in the rolling window of a pair.")
    history: str = Field("10m", description="How far back the first start fetches trades by REST (30s, 10m, 6h; 0: not at all).")
    earliest: datetime = Field(datetime(2009, 1, 1, tzinfo=UTC), description="Trades stamped before this are refused (ISO 8601).")

    binance_ws_url: str = Field("", description="WebSocket base without a path; empty: the feed's own.")
    binance_rest_url: str = Field("", description="REST base without a path; empty: the feed's own.")
    ws_client: Literal["websocket-client", "picows"] = Field(
        "websocket-client", description="Library that reads the WebSocket; picows costs less CPU a message."
    )
    connections: int = Field(1, ge=1, le=16, description="WebSocket connections the symbols are spread over.")
    stale_after_s: float = Field(60.0, gt=0, description="Seconds without any message after which a connection is replaced.")
    rotate_after_h: float = Field(
        23.0, gt=0, le=24, description="Hours after which a connection is replaced, with overlap; the venue ends it after 24."
    )
    spool_max_mb: int = Field(1024, ge=1, description="Megabytes the producer may hold on disk while Redis is away.")
    posted_max_mb: int = Field(1024, ge=1, description="Megabytes of posted ticks the web may hold on disk until stored.")
    backfill_max_trades: int = Field(5_000_000, ge=0, description="Largest gap, in trades, that REST fills; 0: none.")

    sim_port: int = Field(0, ge=0, le=65535, description="Port of the simulated exchange; 0: the web's port + 1.")
    sim_rate: float = Field(30.0, ge=0.1, le=200_000, description="Trades a second of the simulated exchange, all symbols.")
    sim_seed: int = Field(1, description="Seed of the simulated exchange's prices.")
    sim_play: str = Field("", description="Binance archive file the simulated exchange plays instead of random walks.")
    sim_speed: str = Field("1", description="Speed of the played file: 1 is as recorded, 60 is a minute a second, max.")

    batch_rows: int = Field(1000, ge=1, le=10_000, description="Trades in one stream entry at most.")
    linger_ms: float = Field(5.0, ge=0, le=1000, description="Milliseconds a trade waits for its entry to fill.")
    shards: int = Field(1, ge=1, le=64, description="Streams the symbols are spread over; 1 is the stream `trades`.")
    writers: int = Field(2, ge=1, le=8, description="Worker processes that store ticks.")
    commit_rows: int = Field(20_000, ge=1, le=500_000, description="Rows a worker stores in one transaction at most.")
    claim_after_s: float = Field(60.0, ge=1, description="Seconds after which a dead worker's entries are taken over.")
    redis_max_mb: int = Field(2048, ge=64, description="`maxmemory` of the embedded Redis, in megabytes.")
    stream_high_mb: int = Field(1024, ge=16, description="Redis memory past which trimming waits for ticks alone.")

    lateness_ms: int = Field(500, ge=0, le=3_600_000, description="Event time a bar waits for trades out of order.")
    live_per_s: float = Field(10.0, gt=0, le=100, description="Updates of an open bar a second, for each symbol.")
    live_ticks: Literal["on", "off"] = Field("off", description="Live events of every trade too, `topics=ticks`.")
    rebuild_sessions: int = Field(2, ge=1, le=8, description="Symbols rebuilt at once after a large import, while bars keep up.")
    stale_leg_s: int = Field(300, ge=1, description="Seconds a leg without a bar carries its last close.")
    stats: Literal["on", "off"] = Field("on", description="Statistics of every symbol's bars, written as each bar closes.")
    stats_window: int = Field(20, ge=2, le=1000, description="Bars in the rolling window of a symbol's statistics.")
    scan_every_s: int = Field(0, ge=0, description="Seconds between two scans of all pairs of GEMS_SYMBOLS; 0: only on demand.")
    coint_every_bars: int = Field(30, ge=1, description="Bars between two Engle-Granger tests of a pair.")

    notify_private: bool = Field(False, description="Alerts may be sent to private, loopback and link-local addresses too.")
    notify_at_once: int = Field(32, ge=4, le=256, description="Receivers of alerts that are served at the same time at most.")
    notify_timeout_s: float = Field(10.0, ge=1, le=60, description="Seconds one delivery of an alert may take.")
    notify_attempts: int = Field(15, ge=1, le=100, description="Attempts after which a delivery is given up as dead.")
    notify_give_up_s: int = Field(21_600, ge=1, description="Seconds of failing after which a delivery is given up as dead.")

    tick_retention_days: int = Field(0, ge=0, description="Days of ticks kept; 0: all.")
    bar_retention_days: int = Field(0, ge=0, description="Days of bars and pair rows kept; 0: all.")
    upload_max_mb: int = Field(2048, ge=1, description="Largest file `upload/` takes, in megabytes.")
    ready_lag_s: float = Field(30.0, gt=0, description="Lag of writers or an aggregator past which `/readyz` says 503.")
    web_threads: int = Field(64, ge=4, le=1024, description="Requests worked on at once; live streams need no thread.")
    web_patience_s: float = Field(20.0, ge=1, le=600, description="Seconds a slow client may keep the web waiting for a request.")
    sse_clients: int = Field(500, ge=1, le=5000, description="Live streams served at once; past it 503.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="What the log shows.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> "Settings":
        """Read `GEMS_*` from `environ` (default: this process's), overridden by `given`.

        Raises:
            ConfigError: every bad or unknown `GEMS_*` setting at once, by name.
        """
        environ = os.environ if environ is None else environ
        found = {name.lower()[5:]: text for name, text in environ.items() if name.startswith("GEMS_")}
        unknown = [f"GEMS_{name.upper()} is not a setting" for name in sorted(found) if name not in cls.model_fields]
        try:
            settings = cls.model_validate({**found, **given})
        except ValidationError as exc:
            raise ConfigError("; ".join([*map(_sentence, exc.errors()), *unknown])) from exc
        if unknown:
            raise ConfigError("; ".join(unknown))
        return settings

    def to_env(self) -> dict[str, str]:
        """Every setting as the environment variable that would give it again."""
        return {f"GEMS_{name.upper()}": _as_text(getattr(self, name)) for name in type(self).model_fields}

    @field_validator("host")
    @classmethod
    def _only_this_machine(cls, value: str, found: ValidationInfo) -> str:
        if found.data.get("api_keys") != "on" and value != "localhost" and not _is_loopback(value):
            why = "would open an API without keys to other machines"
            how = "set GEMS_API_KEYS=on (and make a key: ./gems keys add NAME --scope admin), or use 127.0.0.1"
            raise ValueError(f"{why}; {how}")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        parts = [_RATE.fullmatch(part.strip()) for part in value.split(";")]
        if not all(part and int(part[1]) > 0 for part in parts):
            raise ValueError("must be such as 600/minute or 10/second;600/minute (second, minute, hour, day)")
        return value

    @model_validator(mode="before")
    @classmethod
    def _default_pairs_of(cls, given: Any) -> Any:
        """Other symbols and no word of pairs: the default pairs that are left, or else the first two symbols."""
        names = given.get("symbols") if isinstance(given, dict) and "pairs" not in given else None
        symbols = cls._split(names) if names is not None else ()
        if names is None or not all(isinstance(symbol, str) for symbol in symbols):
            return given
        kept = [pair for pair in cls.model_fields["pairs"].default if pair_legs(pair, tuple(symbols))]
        return {**given, "pairs": tuple(kept) or (("_".join(symbols[:2]),) if len(symbols) > 1 else ())}

    @field_validator("symbols", "pairs", "timeframes", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("symbols")
    @classmethod
    def _known_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            if not SYMBOL_PATTERN.fullmatch(symbol):
                raise ValueError(f"{symbol!r} is not a symbol (upper case, at most 40 of A-Z 0-9 : . _ -)")
        return value

    @field_validator("timeframes")
    @classmethod
    def _known_timeframes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for timeframe in value:
            if timeframe not in TIMEFRAMES_S:
                raise ValueError(f"{timeframe!r} is not one of {' '.join(TIMEFRAMES_S)}")
        if not value:
            raise ValueError("at least one timeframe is needed")
        return tuple(sorted(set(value), key=TIMEFRAMES_S.__getitem__))

    @field_validator("history")
    @classmethod
    def _a_duration(cls, value: str) -> str:
        duration_s(value)
        return value

    @field_validator("sim_speed")
    @classmethod
    def _a_speed(cls, value: str) -> str:
        if value != "max" and not float(value) > 0:
            raise ValueError("must be a number above 0, or max")
        return value

    @field_validator("earliest")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("pairs")
    @classmethod
    def _pairs_of_symbols(cls, value: tuple[str, ...], found: ValidationInfo) -> tuple[str, ...]:
        symbols: tuple[str, ...] = found.data.get("symbols") or ()
        for text in value:
            spec = PairSpec.parse(text)
            legs = basket_legs(spec.pair, symbols) if symbols else (spec.pair, "")
            if legs is None:
                raise ValueError(f"{spec.pair!r} is not Y_X of two different GEMS_SYMBOLS ({', '.join(symbols)})")
            checked_method(spec.method, len(legs))
            if spec.window and spec.window < (least := least_window(spec.method, len(legs))):
                raise ValueError(f"the window of {text!r} must be at least {least} for {len(legs)} legs")
        return value

    @property
    def pair_specs(self) -> tuple[PairSpec, ...]:
        """`pairs` with their methods and windows."""
        return tuple(PairSpec.parse(text) for text in self.pairs)

    @property
    def pair_names(self) -> tuple[str, ...]:
        """The names in `pairs`, each once."""
        return tuple(dict.fromkeys(spec.pair for spec in self.pair_specs))

    @property
    def earliest_us(self) -> int:
        """`earliest` in microseconds since 1970."""
        return int(self.earliest.timestamp()) * 1_000_000

    @property
    def history_s(self) -> int:
        """`history` in seconds."""
        return duration_s(self.history)

    @property
    def sim_listen_port(self) -> int:
        """Where the simulated exchange listens."""
        return self.sim_port or self.port + 1

    @property
    def ws_url(self) -> str:
        """WebSocket base of the feed, without a path."""
        own = {"sim": f"ws://127.0.0.1:{self.sim_listen_port}", "binance": "wss://stream.binance.com:9443"}
        return (self.binance_ws_url or own[self.feed]).rstrip("/")

    @property
    def rest_url(self) -> str:
        """REST base of the feed, without a path."""
        own = {"sim": f"http://127.0.0.1:{self.sim_listen_port}", "binance": "https://api.binance.com"}
        return (self.binance_rest_url or own[self.feed]).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _sentence(error: Any) -> str:
    name = "GEMS_" + "_".join(str(part) for part in error["loc"]).upper() + ": " if error["loc"] else ""
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}{message}" + (f", was {error['input']!r}" if error["loc"] else "")


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
