"""Receivers of alerts: how their URLs are read, and how they are shown without their secrets."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from common.errors import ReceiverRejected

KINDS = ("webhook", "apprise")
MAX_URL = 2000
_ASCII = re.compile(r"[\x21-\x7e]+")
_PIECES = re.compile(r"[/?&=:@,]+")
#: Pieces of a URL shorter than this are words such as `api`, not secrets.
_SECRET_FROM = 6


class Target(NamedTuple):
    """Where a webhook goes; `path` is with its query."""

    tls: bool
    host: str
    port: int
    path: str


def webhook_target(url: str) -> Target:
    """The parts of a webhook's URL.

    Raises:
        ReceiverRejected: not an http or https URL that we would call.
    """
    _check_form(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ReceiverRejected(f"is not a URL: {exc}") from exc
    if parts.scheme not in ("http", "https"):
        raise ReceiverRejected("must begin with http:// or https://")
    if not host or port == 0:
        raise ReceiverRejected("must name a host")
    if parts.username is not None or parts.fragment:
        raise ReceiverRejected("must have neither a user nor a #fragment")
    tls = parts.scheme == "https"
    return Target(tls, host, port or (443 if tls else 80), (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def apprise_scheme(url: str) -> str:
    """The scheme of an apprise URL.

    Raises:
        ReceiverRejected: it has none.
    """
    _check_form(url)
    found = re.match(r"([a-zA-Z0-9]{2,32})://.", url)
    if not found:
        raise ReceiverRejected("must be an apprise URL such as mailto://... or tgram://...")
    return found[1].lower()


def masked_url(kind: str, url: str) -> str:
    """What may be shown: a webhook's host, of apprise only the scheme, for its hosts are often tokens.

    >>> masked_url("webhook", "https://hooks.example.com/services/T0/secret")
    'https://hooks.example.com/***'
    """
    if kind == "webhook":
        target = webhook_target(url)
        usual = target.port == (443 if target.tls else 80)
        host = f"[{target.host}]" if ":" in target.host else target.host
        return f"http{'s' if target.tls else ''}://{host}{'' if usual else f':{target.port}'}/***"
    return f"{apprise_scheme(url)}://***"


def without_secrets(text: str, url: str) -> str:
    """A sentence of somebody else, without any longer piece of the URL."""
    pieces = sorted((piece for piece in _PIECES.split(url) if len(piece) >= _SECRET_FROM), key=len, reverse=True)
    for piece in pieces:
        text = text.replace(piece, "***")
    return text


def _check_form(url: str) -> None:
    if len(url) > MAX_URL:
        raise ReceiverRejected(f"must be at most {MAX_URL} characters")
    if not _ASCII.fullmatch(url):
        raise ReceiverRejected("must be ASCII without spaces; other characters are written with %, names of hosts as xn--")
