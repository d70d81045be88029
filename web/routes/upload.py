"""Uploading a file of ticks; the importer reads it."""

import os
import uuid
from pathlib import PurePath
from typing import Any, cast

from flask import request
from flask.views import MethodView
from marshmallow import ValidationError, fields

from common.uploads import Wanted, forget_upload, note_wanted
from web.api import Blueprint, stores
from web.errors import Problem, bad
from web.routes.tasks import Made, make_task
from web.schemas import Symbol
from web.spooled import SpoolingRequest, keep

MAX_NAME = 200
_MB = 1 << 20
_FORM_ROOM = 64 * 1024  # for the boundaries and the field `symbol`
_FILE_TEXT = "NDJSON or CSV of ticks, or a Binance archive; plain, .gz, .zip or .zst"
_SYMBOL_TEXT = "What the rows are of, where neither they nor the file's name say it."
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": _FILE_TEXT},
        "symbol": {"type": "string", "description": _SYMBOL_TEXT},
    },
}
blueprint = Blueprint("upload", __name__, url_prefix="/api/ingestion", description="Ways in")


class Uploaded(Made):
    """The file is stored and waits for the importer."""

    filename = fields.String()


@blueprint.route("/upload/")
class UploadResource(MethodView):
    """A file into the stream."""

    @blueprint.doc(requestBody={"required": True, "content": {"multipart/form-data": {"schema": _FORM}}})
    @blueprint.response(202, Uploaded)
    def post(self) -> dict[str, Any]:
        """Upload a file of ticks; answered once it is safely on disk"""
        try:
            return _take_file()
        finally:
            cast(SpoolingRequest, request).discard_parts()


def _take_file() -> dict[str, Any]:
    """The parts are read here, at the first look at `request.form`."""
    if request.mimetype != "multipart/form-data":
        raise Problem(415, f"the body must be sent as multipart/form-data, was {request.mimetype or 'without a type'}")
    request.max_content_length = stores().settings.upload_max_mb * _MB + _FORM_ROOM
    symbol = _symbol(request.form.get("symbol"))
    file = request.files.get("file")
    if file is None or not file.filename:
        raise bad("file", "is required: a multipart field with a file name")
    if file.stream.seek(0, os.SEEK_END) == 0:
        raise bad("file", f"is empty, was {file.filename!r:.100}")
    filename = "".join(char for char in PurePath(file.filename.replace("\\", "/")).name if char.isprintable())[:MAX_NAME]
    path = keep(file)
    wanted = Wanted(str(uuid.uuid4()), {"path": str(path), "filename": filename, "symbol": symbol})
    try:
        note_wanted(path, wanted)
        make_task("import", wanted.params, wanted.task_id)
    except BaseException:
        forget_upload(path)  # not acknowledged, so nobody would ever read it
        raise
    return {"status": "processing", "task_id": wanted.task_id, "filename": filename}


def _symbol(text: str | None) -> str | None:
    try:
        return Symbol().deserialize(text, "symbol") if text else None
    except ValidationError as exc:
        raise bad("symbol", str(exc.messages[0])) from exc
