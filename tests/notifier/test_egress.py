"""Where alerts may go: the address that is connected to decides, when the receiver is made and at each delivery."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aggregator.notifier.schedule import Answer
from aggregator.notifier.webhook import Poster, Wire
from common.apprise_child import Child, Guard
from common.egress import refusal, resolve
from common.errors import ReceiverRejected
from common.receivers import webhook_target
from tests.notifier.receiving import Reply, Server, a_server

REFUSED = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 169.254.169.254 192.0.2.1
198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ::1 :: ::ffff:127.0.0.1
::ffff:169.254.169.254 ::ffff:a00:1 ::127.0.0.1 fe80::1 fe80::1%1 fc00::1 fd12::1 fec0::1 ff02::1 2001:db8::1 2001::1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe::
""".split()  # noqa: SIM905 - a table
ALLOWED = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
#: Ways to write 127.0.0.1 that are no dotted quad.
DISGUISED = ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "localhost"]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize("host", DISGUISED)
def test_a_disguised_address_is_refused(host: str) -> None:
    with pytest.raises(ReceiverRejected, match="loopback; GEMS_NOTIFY_PRIVATE=true"):
        resolve(host, 80, allow_private=False)
    assert resolve(host, 80, allow_private=True)


class Names:
    """A name server of the test: each look-up of a name takes its next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __call__(self, host: str, port: int, **options: Any) -> list[Any]:
        """As `socket.getaddrinfo`."""
        self.asked.append(host)
        addresses = self.answers.pop(0)
        return [entry for address in addresses for entry in socket.getaddrinfo(address, port, **options)]


def post(server: Server, host: str, names: Names, allow_private: bool, trust: ssl.SSLContext | None = None) -> Answer:
    target = webhook_target(f"{server.scheme}://{host}:{server.port}/hook?k=1")
    return Poster(allow_private, 3.0, names, trust).post(target, {}, b"{}", Wire())


def test_a_name_that_turns_private_after_it_was_checked_is_not_reached() -> None:
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    assert resolve("rebind.example", 80, False, names) == ["93.184.216.34"]
    with a_server() as server:
        answer = post(server, "rebind.example", names, allow_private=False)
        assert (answer.outcome, server.calls) == ("refused", [])
        assert answer.reason.startswith("rebind.example is 127.0.0.1: loopback")


def test_a_name_is_asked_for_once_and_that_very_address_is_connected_to() -> None:
    names = Names(["127.0.0.1"])  # a second question would fail
    with a_server() as server:
        assert post(server, "once.example", names, allow_private=True).outcome == "delivered"
        (call,) = server.calls
        assert call.headers["host"] == f"once.example:{server.port}"
        assert call.path == "/hook?k=1"
    assert names.asked == ["once.example"]


def test_a_name_with_one_private_address_is_refused_whole() -> None:
    with pytest.raises(ReceiverRejected):
        resolve("both.example", 443, False, Names(["93.184.216.34", "10.0.0.1"]))


def test_what_a_server_redirects_to_is_not_visited() -> None:
    with a_server() as other, a_server() as server:
        for status in (301, 302, 303, 307, 308):
            server.reply = lambda call, status=status: Reply(status, {"Location": other.url()})  # type: ignore[misc]
            answer = post(server, "127.0.0.1", Names(["127.0.0.1"]), allow_private=True)
            assert answer == Answer("refused", f"HTTP {status}; redirects are not followed")
        assert other.calls == []


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    """Its certificate is for hooks.example, and it takes nobody who does not ask for that name."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(context)
    context.sni_callback = lambda connection, name, inner: asked.append(name)
    with a_server(context) as server:
        server.asked = asked  # type: ignore[attr-defined]
        yield server


def test_a_pinned_address_still_proves_that_it_is_the_name(authority: trustme.CA, tls_server: Server) -> None:
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    assert post(tls_server, "hooks.example", Names(["127.0.0.1"]), True, trust).outcome == "delivered"
    assert tls_server.asked == ["hooks.example"]  # type: ignore[attr-defined]
    wrong = post(tls_server, "other.example", Names(["127.0.0.1"]), True, trust)
    assert wrong.outcome == "failed" and "certificate is not trusted" in wrong.reason
    stranger = post(tls_server, "hooks.example", Names(["127.0.0.1"]), True)
    assert stranger.outcome == "failed" and "certificate is not trusted" in stranger.reason
    assert len(tls_server.calls) == 1


def test_apprise_reaches_no_private_address_however_its_service_connects() -> None:
    with a_server() as server, Child(allow_private=False) as child:
        for url in (
            f"json://127.0.0.1:{server.port}/x", f"xml://localhost:{server.port}/x", f"form://[::ffff:7f00:1]:{server.port}/",
            f"rsyslog://127.0.0.1:{server.port}", f"ntfy://localhost:{server.port}/topic",
            f"gotify://127.0.0.1:{server.port}/aBcDeFgHiJkLmNo",
        ):  # fmt: skip
            answer = child.ask({"do": "send", "url": url, "text": "x"}, 30)
            assert answer["refused"] and "loopback" in answer["error"], (url, answer)
        assert child.ask({"do": "check", "url": "json://localhost/"}, 30)["refused"]
        assert child.ask({"do": "check", "url": "tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/1"}, 30) == {"ok": True}
        for url in ("syslog://x", "dbus://x", "gnome://x"):
            assert "not offered" in child.ask({"do": "check", "url": url}, 30)["error"]
        assert server.calls == []


def test_apprise_starts_no_program_and_speaks_to_no_local_socket(tmp_path: Path) -> None:
    guard = Guard(allow_private=True)
    with pytest.raises(PermissionError, match="programs"):
        guard("subprocess.Popen", ("/bin/sh", [], None, None))
    with socket.socket(socket.AF_UNIX) as local, pytest.raises(PermissionError, match="internet addresses"):
        guard("socket.connect", (local, str(tmp_path / "x")))
    with socket.socket() as plain, pytest.raises(PermissionError, match="by name"):
        Guard(allow_private=False)("socket.connect", (plain, ("localhost", 80)))


def test_apprise_that_hangs_is_ended() -> None:
    with a_server() as server, Child(allow_private=True) as child:
        server.reply = lambda call: Reply(drip=1000)
        assert child.ask({"do": "check", "url": "json://127.0.0.1/"}, 30) == {"ok": True}
        began_s = time.monotonic()
        with pytest.raises(TimeoutError):
            child.ask({"do": "send", "url": f"json://127.0.0.1:{server.port}/", "text": "x"}, 1.0)
        assert time.monotonic() - began_s < 60  # it would drip for 200 s
