"""How far the writers are behind, so that an import does not make live trades wait."""

import redis

from common.streams import GROUP

#: Entries of 1,000 rows that may wait for the writers: about half a second of their work.
MOST_WAITING = 50
LEAST_WAITING = 20


def waiting_entries(client: redis.Redis, stream: str, most: int = MOST_WAITING) -> int:
    """Entries of a stream that no writer has read yet; `most + 1` stands for any number above `most`."""
    try:
        groups = client.xinfo_groups(stream)
    except redis.ResponseError as exc:
        if "no such key" in str(exc):
            return 0
        raise
    group = next((group for group in groups if group["name"] == GROUP.encode()), None)
    if group is None:
        return min(client.xlen(stream), most + 1)  # the writers have never started: nobody trims either
    lag = group.get("lag")
    if lag is not None:
        return int(lag)
    # Redis can not tell after some trims: count behind what was delivered last.
    return len(client.xrange(stream, min=b"(" + group["last-delivered-id"], count=most + 1) or ())
