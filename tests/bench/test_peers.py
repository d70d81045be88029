"""The benches' own venv: what can not be installed is told with pip's reason, and does not hide what can."""

import sys
from pathlib import Path

import orjson
import pytest

from bench import venv
from bench.peers import message_of, tick_of
from common.trades import Trade
from producer.venues.binance import parse_message

TRADE = Trade("BTCUSDT", 7, 1_700_000_000_123_000, "43000.12", "0.0123", "s")


def test_what_pip_can_not_install_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in (("VENV", tmp_path / "own"), ("PYTHON", tmp_path / "own" / "bin" / "python")):
        monkeypatch.setattr(venv, name, path)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"# none of the index\n{tmp_path}/there-is-no-such-folder\n")
    monkeypatch.setattr(venv, "REQUIREMENTS", requirements)
    (reason,) = venv.ensure_peers().values()
    assert "there-is-no-such-folder" in reason
    assert not (tmp_path / "own" / "installed").exists()  # the next bench tries again
    requirements.write_text("")
    assert venv.ensure_peers() == {}
    assert (tmp_path / "own" / "installed").exists()


def test_a_peer_that_breaks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venv, "PYTHON", Path(sys.executable))
    with pytest.raises(venv.NoPeer, match="FileNotFoundError"), venv.a_peer("bars", "no.npz", "no.csv") as peer:
        peer.go()
    with pytest.raises(venv.NoPeer, match="can't open file"), venv.a_peer("there_is_no_such_peer"):
        pass


def test_peers_get_the_same_trade_as_our_own_parser() -> None:
    read = parse_message(orjson.dumps(message_of(TRADE)), "aggTrade")
    assert read == TRADE
    assert tick_of(TRADE) == {"symbol": "BTCUSDT", "ts": "2023-11-14T22:13:20.123000Z", "price": "43000.12", "size": "0.0123"}
