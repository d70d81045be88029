"""What a client may keep of an answer: a range that is over, as long as it asks whether it still is the same.

Late trades can change any bar, so nothing is fresh by itself; but a client that has it gets 304 and no body.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from flask import Flask, Response, request
from flask_compress import Compress

from web.api import json_text

#: What is sent packed, from this size; live events never are, for they would wait in the packer.
MIN_PACKED_BYTES = 1024
PACKED_TYPES = ["application/json", "application/x-ndjson", "text/csv", "text/html", "text/css", "text/javascript"]


def range_json(text: str, query: Mapping[str, Any]) -> Response:
    """A list as a response; with a weak ETag, and 304 for who has it, if both ends of its range are given and past."""
    response = json_text(text)
    start, end = query.get("start"), query.get("end")
    if start and end and end <= datetime.now(UTC):
        response.set_etag(blake2b(text.encode(), digest_size=16).hexdigest(), weak=True)
        response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
    return response


def register_compression(app: Flask) -> None:
    """gzip for clients that take it."""
    app.config.update(
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_ALGORITHM_STREAMING=["gzip"],
        COMPRESS_MIMETYPES=PACKED_TYPES,
        COMPRESS_MIN_SIZE=MIN_PACKED_BYTES,
        COMPRESS_LEVEL=5,
        COMPRESS_EVALUATE_CONDITIONAL_REQUEST=False,
    )
    Compress(app)
