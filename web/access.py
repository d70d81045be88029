"""Who may do what. With `GEMS_API_KEYS=on` every route asks for a key but the few named here: what is forgotten is closed."""

import time
from collections.abc import Callable
from ipaddress import ip_address

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException

from common.apikeys import StoredKey
from common.errors import StoreUnavailable
from common.settings import Settings
from web.errors import Problem
from web.keyring import Keyring
from web.sessions import is_session, own_secret, session_prefix

COOKIE = "gems_session"
REALM = 'Bearer realm="GEMS"'
#: Pages and files without anybody's numbers, whether the web lives and is ready, and how a browser shows its key.
_OPEN_BLUEPRINTS = frozenset({"dashboard", "assets", "docs"})
_OPEN_ENDPOINTS = frozenset({"static", "healthz", "readyz", "session.SessionResource"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Where messages go, and with which secrets, is for admins alone.
_ADMIN_BLUEPRINTS = frozenset({"receivers"})
_READING_POSTS = frozenset({"backtest.BacktestResource"})
#: `X-MBX-APIKEY` is where Binance's clients have theirs.
_HEADERS = ("X-API-Key", "X-MBX-APIKEY")


class Unknown(Problem):
    """401: no key, or none that opens anything."""

    def __init__(self, sentence: str) -> None:
        super().__init__(401, sentence)

    def get_headers(self, *args: object, **kwargs: object) -> list[tuple[str, str]]:
        """With what a client has to show."""
        return [*HTTPException.get_headers(self), ("WWW-Authenticate", REALM)]


def is_open() -> bool:
    """True for a request that needs no key."""
    return request.endpoint in _OPEN_ENDPOINTS or request.blueprint in _OPEN_BLUEPRINTS


def needed_scope() -> str:
    """The scope that the current request needs."""
    if request.method in _READS or request.endpoint in _READING_POSTS:
        return "read"
    return "admin" if request.method == "DELETE" or request.blueprint in _ADMIN_BLUEPRINTS else "write"


def shown_key() -> str | None:
    """The key that a request shows in its headers."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if token and kind.lower() == "bearer":
        return token.strip()
    return next((request.headers[name] for name in _HEADERS if request.headers.get(name)), None)


def current_key() -> StoredKey | None:
    """The living key behind the current request, looked up once; None: there is none, or keys are off.

    Raises:
        StoreUnavailable: nobody can say.
    """
    if "api_key" not in g:
        on, shown = "gems.keyring" in current_app.extensions, shown_key()
        g.api_key = None if not on else keyring().find(shown) if shown else _of_session(request.cookies.get(COOKIE, ""))
    found: StoredKey | None = g.api_key
    return found


def keyring() -> Keyring:
    """The keys of the current app; only where keys are on."""
    found: Keyring = current_app.extensions["gems.keyring"]
    return found


def session_secret() -> bytes:
    """What sessions of the current app are proved with."""
    found: bytes = current_app.extensions["gems.session_secret"]
    return found


def _of_session(token: str) -> StoredKey | None:
    prefix = session_prefix(token, time.time())
    stored = keyring().living().get(prefix) if prefix else None
    if stored is None or not is_session(session_secret(), stored, token):
        return None
    keyring().note_use(stored)
    return stored


def lost_key() -> Callable[[], bool]:
    """A question for what outlives its request: was the key that opened it revoked since?"""
    key = current_key()
    if key is None:
        return lambda: False
    ring, prefix = keyring(), key.prefix

    def is_lost() -> bool:
        try:
            return prefix not in ring.living()
        except StoreUnavailable:
            return False  # nobody can say; new requests get 503

    return is_lost


def ask_for_key() -> None:
    """401 without a living key, 403 where its scope is too small."""
    if is_open():
        return
    key = current_key()
    if key is None:
        shown = shown_key() or request.cookies.get(COOKIE)
        why = "this key opens nothing: it is unknown or revoked" if shown else "a key is needed"
        raise Unknown(f"{why}; send Authorization: Bearer KEY (./gems keys add NAME --scope read makes one)")
    scope = needed_scope()
    if not key.may(scope):
        raise Problem(403, f"this needs a key of scope {scope}; the scope of {key.name} is {key.scope}")


def refuse_foreign_names(settings: Settings) -> None:
    """Without keys, only who asks for this machine by name is answered: a page whose name was made to lead here
    (DNS rebinding) asks by its own."""
    host = request.host.rpartition(":")[0] if request.host[-1:].isdigit() and ":" in request.host else request.host
    host = host.strip("[]").lower()
    if host == "localhost" or host == settings.host or host in settings.allowed_hosts or _is_loopback(host):
        return
    raise Problem(403, f"{host:.100} is not a name of this web; add it to GEMS_ALLOWED_HOSTS if it is")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def register_access(app: Flask, settings: Settings) -> None:
    """Ask for keys where they are on, and for our own name where they are off."""
    if settings.api_keys == "off":
        app.before_request(lambda: refuse_foreign_names(settings))
        return
    app.extensions["gems.keyring"] = Keyring(app.extensions["gems.stores"])
    app.extensions["gems.session_secret"] = own_secret(settings.data_dir)
    app.before_request(ask_for_key)
