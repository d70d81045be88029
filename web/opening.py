"""Before the web opens with keys on: there is a key that can make others useful, or it does not open."""

from contextlib import closing

from common.apikeys import living_keys
from common.database import wait_for_schema
from common.errors import ConfigError
from common.lifecycle import Stop
from common.settings import Settings


def require_admin_key(settings: Settings) -> None:
    """Return once the web may open; with keys on, waits for PostgreSQL, without which no key could be looked up.

    Raises:
        ConfigError: keys are on, and no living one is of scope admin.
    """
    if settings.api_keys == "off":
        return
    connection = wait_for_schema(settings, Stop(), "web")  # no signals: until it serves, the first one may end it at once
    assert connection, "nobody asks this one to stop"
    with closing(connection):
        if any(key.may("admin") for key in living_keys(connection).values()):
            return
    raise ConfigError(
        "GEMS_API_KEYS=on, but there is no living key of scope admin; make one while GEMS runs without keys: "
        "./gems up -d && ./gems keys add NAME --scope admin && ./gems down"
    )
