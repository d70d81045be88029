"""What a browser may do with our answers. Who may ask for them at all: `web.access`."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from web.errors import Problem, bad

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",  # an API answer is never cached, a file says itself how long
}
_BY_LOWER_NAME = {name.lower(): (name, value) for name, value in _HEADERS.items()}


def refuse_foreign_pages() -> None:
    """A page of another origin may not change anything through a visitor's browser."""
    origin = request.headers.get("Origin")
    if request.method in ("GET", "HEAD", "OPTIONS") or not origin:
        return
    if urlsplit(origin).netloc != request.host:
        raise Problem(403, f"a page of {origin:.100} may not do this")


def refuse_nul() -> None:
    """No path and no parameter of ours holds NUL, and PostgreSQL takes none."""
    if "\x00" in request.path:
        raise Problem(400, f"the path must be text without NUL, was {request.path!a:.80}", "path")
    for name, value in request.args.items(multi=True) if request.query_string else ():
        if "\x00" in name + value:
            raise bad(name.replace("\x00", ""), f"must be text without NUL, was {value!a:.80}")


def completed(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """With the headers of every answer, where it has none of that name itself.

    >>> [name for name, _ in completed([("cache-control", "no-cache"), ("X-Frame-Options", "DENY")])][1:3]
    ['X-Frame-Options', 'Content-Security-Policy']
    """
    own = {name.lower() for name, _ in headers}
    return headers + [header for name, header in _BY_LOWER_NAME.items() if name not in own]


def register_security(app: Flask) -> None:
    """Guard every request of the app."""
    app.before_request(refuse_foreign_pages)
    app.before_request(refuse_nul)
    answer = app.wsgi_app

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, completed(headers), exc_info)

        return answer(environ, start)

    app.wsgi_app = guarded  # type: ignore[method-assign]
