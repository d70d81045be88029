"""The form of the dashboard, without a browser: what its script sends, and what comes back, against a real web with keys on."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import requests
from psycopg2.extensions import connection as Connection

from common.apikeys import add_key, new_key
from common.settings import Settings
from tests.web.streams import running_web
from web.access import COOKIE
from web.limits import UNKNOWN_RATE
from web.sessions import LASTS_S

pytestmark = pytest.mark.process
SESSION, READ, WRITE = "/api/session/", "/api/ingestion/stats/", "/api/analytics/alerts/1/ack/"


class Keyed(NamedTuple):
    """A running web that asks for keys."""

    url: str
    key: str  # of scope write
    settings: Settings


@pytest.fixture
def keyed(settings: Settings, database: Connection) -> Iterator[Keyed]:
    """One with an owner, and a key for the form."""
    add_key(database, "owner", "admin")
    key = add_key(database, "desk", "write")
    on = settings.model_copy(update={"api_keys": "on"})
    with running_web(on) as (port, _):
        yield Keyed(f"http://localhost:{port}", key, on)


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    """What a browser keeps between two requests."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


def log_in(browser: requests.Session, keyed: Keyed, key: str, **headers: str) -> requests.Response:
    """As web/static/js/login.js does it."""
    return browser.post(keyed.url + SESSION, json={"key": key}, headers=headers, timeout=60)


def code(browser: requests.Session, keyed: Keyed, method: str, path: str, **headers: str) -> int:
    return browser.request(method, keyed.url + path, headers=headers, timeout=60).status_code


def test_the_form_is_there_for_everybody_and_its_script_does_what_is_tested_here(keyed: Keyed, browser: requests.Session) -> None:
    page = browser.get(keyed.url + "/", timeout=60)
    assert page.status_code == 200
    assert keyed.key not in page.text
    script = browser.get(keyed.url + "/static/js/login.js", timeout=60).text
    assert 'fetch("/api/session/", { method: "POST", headers, body: JSON.stringify({ key }) })' in script
    assert 'type="password"' in script
    assert code(browser, keyed, "GET", READ) == 401


def test_wrong_keys_open_nothing_and_say_so(keyed: Keyed, browser: requests.Session) -> None:
    for wrong in (new_key(), keyed.key[:-1], keyed.key.swapcase(), "'; --", "<script>"):
        answer = log_in(browser, keyed, wrong)
        assert (answer.status_code, answer.json()["error"]) == (401, "this key opens nothing: it is unknown or revoked")
        assert "Set-Cookie" not in answer.headers
        assert wrong not in answer.text
    for body in ({}, {"key": None}, {"key": 5}, {"key": ""}, {"key": "x" * 300}, [], "x"):
        answer = browser.post(keyed.url + SESSION, json=body, timeout=60)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (400, False)
    assert code(browser, keyed, "GET", READ) == 401


def test_the_right_key_opens_with_a_cookie_until_the_logout(keyed: Keyed, browser: requests.Session) -> None:
    answer = log_in(browser, keyed, f" {keyed.key} ")  # as it is pasted
    assert answer.json() == {"keys": "on", "name": "desk", "scope": "write"}
    told = answer.headers["Set-Cookie"]
    flags = {part.strip() for part in told.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LASTS_S}"} <= flags
    assert not any(flag.startswith("Domain") for flag in flags)
    assert answer.headers["Cache-Control"] == "no-store"
    assert keyed.key[13:] not in told
    assert code(browser, keyed, "GET", READ) == 200
    assert code(browser, keyed, "POST", WRITE) == 404  # it may; there is none
    assert code(browser, keyed, "DELETE", "/api/analytics/alerts/1/delete/") == 403  # only an admin may
    assert browser.get(keyed.url + SESSION, timeout=60).json()["name"] == "desk"
    out = browser.delete(keyed.url + SESSION, timeout=60)
    assert out.status_code == 204
    assert COOKIE not in browser.cookies
    assert code(browser, keyed, "GET", READ) == 401


def test_no_other_site_can_use_or_make_a_session(keyed: Keyed, browser: requests.Session) -> None:
    assert log_in(browser, keyed, keyed.key, Origin="http://evil.example").status_code == 403, "login CSRF"
    assert COOKIE not in browser.cookies
    assert log_in(browser, keyed, keyed.key, Origin=keyed.url).status_code == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost",
        keyed.url.replace("localhost", "127.0.0.1"),
        f"{keyed.url}.evil.example",
    ):
        assert code(browser, keyed, "POST", WRITE, Origin=origin) == 403, origin
        assert code(browser, keyed, "DELETE", SESSION, Origin=origin) == 403, origin
    assert code(browser, keyed, "POST", WRITE, Origin=keyed.url) == 404
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):  # what a form of a page can send
        answer = browser.post(keyed.url + SESSION, data=b'{"key": "x"}', headers={"Content-Type": kind}, timeout=60)
        assert answer.status_code == 415
    answer = browser.get(keyed.url + READ, headers={"Origin": "http://evil.example"}, timeout=60)
    assert not any(name.lower().startswith("access-control") for name in answer.headers), "no other page may read"


def test_a_session_outlives_the_web_and_not_its_secret(keyed: Keyed, browser: requests.Session) -> None:
    log_in(browser, keyed, keyed.key)
    with running_web(keyed.settings) as (port, _):
        assert browser.get(f"http://localhost:{port}{READ}", timeout=60).status_code == 200
    (keyed.settings.data_dir / "session.secret").unlink()
    with running_web(keyed.settings) as (port, _):
        assert browser.get(f"http://localhost:{port}{READ}", timeout=60).status_code == 401


def test_who_guesses_is_stopped_and_who_knows_goes_on(keyed: Keyed, browser: requests.Session) -> None:
    most = int(UNKNOWN_RATE.partition("/")[0])
    log_in(browser, keyed, keyed.key)
    with requests.Session() as guesser:
        guesser.trust_env = False
        answers = [log_in(guesser, keyed, f"guess {number}") for number in range(most + 5)]
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert set(codes) == {401, 429}
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert code(browser, keyed, "GET", READ) == 200
