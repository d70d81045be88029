"""How often each key may ask, where keys are on: Flask-Limiter, counted in Redis; while that is away, in this process.

Who shows no living key is counted by address, and much sooner refused: at most a guesser or a forgotten script.
"""

import logging
import time
from typing import cast

import redis
from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address

from common.apikeys import StoredKey
from common.errors import StoreUnavailable
from common.settings import Settings
from web.access import current_key, is_open
from web.errors import answer

UNKNOWN_RATE = "60/minute"
#: Redis that takes longer counts as away: counting must not hold up a request.
REDIS_TIMEOUT_S = 0.5


def _counted_key() -> StoredKey | None:
    """The key to count; None also where nobody can say whose it is: that request fails later, with a better sentence."""
    try:
        return current_key()
    except StoreUnavailable:
        return None


def _who() -> str:
    key = _counted_key()
    return f"key:{key.id}" if key else f"address:{get_remote_address()}"


def _is_free() -> bool:
    """Pages and files; but showing a key is counted."""
    return is_open() and request.method != "POST"


def register_limits(app: Flask, settings: Settings) -> None:
    """Count requests, and refuse too many with 429. Without keys, on this machine alone, nobody is counted."""
    if settings.api_keys == "off":
        return
    limiter = Limiter(
        _who,
        application_limits=[lambda: settings.rate_limit if _counted_key() else UNKNOWN_RATE],
        strategy="sliding-window-counter",
        storage_uri=settings.redis_url.replace("unix://", "redis+unix://", 1),
        storage_options={"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S},  # type: ignore[dict-item]
        key_prefix="gems",
        in_memory_fallback_enabled=True,
    )
    limiter.request_filter(_is_free)
    limiter.init_app(app)
    app.extensions["gems.limiter"] = limiter
    app.register_error_handler(RateLimitExceeded, _refuse)
    logging.getLogger("flask-limiter").setLevel(logging.ERROR)  # it tells every refusal and every try to reach Redis


def _refuse(error: RateLimitExceeded) -> Response:
    whose = "this key" if _counted_key() else "requests without a living key from this address"
    response = answer(429, f"too many requests: {whose} may make {str(error.limit.limit).replace(' per 1 ', ' per ')}")
    response.headers["Retry-After"] = str(_wait_s(error))
    return response


def _wait_s(error: RateLimitExceeded) -> int:
    """Whole seconds until there is room again."""
    limiter = cast(Limiter, current_app.extensions["gems.limiter"])
    window_s = error.limit.limit.get_expiry()
    try:
        reset_s = limiter.current_limit.reset_at - time.time() if limiter.current_limit else window_s
    except redis.RedisError:
        return int(window_s)
    return max(1, min(int(window_s), int(reset_s) + 1))
