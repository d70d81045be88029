"""Sessions of browsers: a cookie that says which key opened it, until when, and proves it. Pure, but for the secret's file.

`<prefix>.<until, seconds since 1970>.<HMAC-SHA256>`: nothing is stored, and it dies with its key. The secret is a file of this
web alone, so that who reads the database can make no session.
"""

import base64
import hmac
import os
import re
import secrets
from pathlib import Path

from common.apikeys import StoredKey

LASTS_S = 12 * 3600
_TOKEN = re.compile(r"(gems_[0-9a-f]{8})\.(\d{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)


def session_token(secret: bytes, stored: StoredKey, until_s: int) -> str:
    """The cookie of a session that this key opened."""
    return f"{stored.prefix}.{until_s}.{_proof(secret, stored, until_s)}"


def session_prefix(token: str, now_s: float) -> str | None:
    """The prefix of the key that a token names, if its time is not over. It proves nothing yet."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found and int(found[2]) > now_s else None


def is_session(secret: bytes, stored: StoredKey, token: str) -> bool:
    """True for a token that `session_token` made of this key."""
    found = _TOKEN.fullmatch(token)
    return found is not None and hmac.compare_digest(_proof(secret, stored, int(found[2])), found[3])


def _proof(secret: bytes, stored: StoredKey, until_s: int) -> str:
    said = f"session {stored.prefix} {until_s} ".encode() + stored.hash
    return base64.urlsafe_b64encode(hmac.digest(secret, said, "sha256")).rstrip(b"=").decode()


def own_secret(data_dir: Path) -> bytes:
    """The secret of this instance's sessions, made at the first use; nobody else may read its file."""
    path = data_dir / "session.secret"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # whoever is first; a rename would replace another web's
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_bytes()
