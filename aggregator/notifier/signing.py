"""How a receiver knows that a webhook is ours: HMAC-SHA256 over the time of sending and the body.

    X-Gems-Signature: v1=<hex of HMAC-SHA256(secret, "<X-Gems-Timestamp>." + body)>
"""

import hashlib
import hmac

SIGNATURE, TIMESTAMP, EVENT_ID = "X-Gems-Signature", "X-Gems-Timestamp", "X-Gems-Event-Id"


def signed_headers(secret: str, event_key: str, body: bytes, now_s: int) -> dict[str, str]:
    """The headers of one attempt; the event's id is the same at each of them, timestamp and signature are not."""
    digest = hmac.new(secret.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {SIGNATURE: f"v1={digest}", TIMESTAMP: str(now_s), EVENT_ID: event_key}
