"""The Flask app of the web."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from common.errors import ConfigError
from common.settings import Settings
from common.streams import connect_redis
from web.access import register_access
from web.api import Api, declare_keys
from web.binance.errors import register_refusals
from web.caching import register_compression
from web.errors import register_errors
from web.health import Health
from web.limits import register_limits
from web.live import Hub
from web.metrics import register_metrics
from web.readiness import Readiness
from web.routes import API_BLUEPRINTS, PLAIN_BLUEPRINTS
from web.routes.health import register_healthz, register_readyz
from web.security import register_security
from web.spooled import request_class
from web.stores import Stores

MAX_BODY_BYTES = 16 << 20
ABOUT = """Ticks, exact bars, pairs and alerts, live and stored. [The dashboard](/) shows the same.

- Intervals are `[start, end)`, times are UTC. A list that does not say `complete` has a `next_cursor` for the rest.
- Every failure is `{"error": sentence, "status": code, "field"?: name}`; bad input is 400.
- Whole ranges as files: `/api/export/...`, or any list with `format=csv`, `json`, `ndjson`, `parquet` or `arrow`.
- Not listed: Binance's `/api/v3/...` and TradingView's `/udf/...`, in their own shapes; `/healthz`, `/readyz`, `/metrics`."""


class App(Flask):
    """Nothing here is a coroutine, so no request looks at every function that it calls whether it is one."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """As it is."""
        return func


def create_app(settings: Settings) -> Flask:
    """The web over these settings' PostgreSQL and Redis; neither has to be up yet.

    Raises:
        ConfigError: a store is not named.
    """
    for name in ("database_url", "redis_url"):
        if not getattr(settings, name):
            raise ConfigError(f"GEMS_{name.upper()}: is not set; start with ./gems up, or name your own")
    app = App("web")
    app.request_class = request_class(settings)
    app.url_map.strict_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        API_TITLE="GEMS",
        API_VERSION="v1",
        OPENAPI_VERSION="3.0.3",
        API_SPEC_OPTIONS={"info": {"description": ABOUT}},
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
    )
    _open_stores(app, settings)
    _register(app, settings)
    return app


def _open_stores(app: Flask, settings: Settings) -> None:
    stores = Stores(settings)
    health = Health(stores)
    app.extensions["gems.stores"] = stores
    app.extensions["gems.health"] = health
    app.extensions["gems.hub"] = Hub(lambda: connect_redis(settings), health.facts, settings.sse_clients)


def _register(app: Flask, settings: Settings) -> None:
    api = Api(app)
    if settings.api_keys == "on":
        declare_keys(api)
    for blueprint in API_BLUEPRINTS:
        api.register_blueprint(blueprint)
    for plain in PLAIN_BLUEPRINTS:
        app.register_blueprint(plain)
    register_healthz(app)
    register_readyz(app, Readiness(settings))
    register_metrics(app, settings, app.extensions["gems.hub"])
    register_compression(app)
    register_errors(app)
    register_refusals(app)
    register_limits(app, settings)
    register_access(app, settings)
    register_security(app)


def close_app(app: Flask) -> None:
    """End the live streams and give back every connection."""
    hub: Hub = app.extensions["gems.hub"]
    hub.close()
    hub.wait_ended(5.0)
    app.extensions["gems.stores"].close()
