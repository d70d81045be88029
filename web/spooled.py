"""Uploads go to disk while they arrive: never whole in memory, and never under their name before they are complete."""

import os
import uuid
from pathlib import Path
from typing import IO

from flask import Request
from werkzeug.datastructures import FileStorage
from werkzeug.utils import secure_filename

from common.settings import Settings
from common.uploads import upload_folder

_PART = ".part"


class SpoolingRequest(Request):
    """A request whose file parts are written to the upload folder."""

    upload_folder: Path

    def _get_file_stream(
        self, total_content_length: int | None, content_type: str | None, filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:  # fmt: skip
        name = secure_filename(filename or "")[-100:] or "upload"
        self.upload_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = open(self.upload_folder / f"{uuid.uuid4()}-{name}{_PART}", "w+b")  # noqa: SIM115 - keep() or discard() closes it
        self._parts().append(part)
        return part

    def _parts(self) -> list[IO[bytes]]:
        parts: list[IO[bytes]] = self.__dict__.setdefault("_spooled", [])
        return parts

    def discard_parts(self) -> None:
        """Remove what was not kept."""
        for part in self._parts():
            part.close()
            Path(part.name).unlink(missing_ok=True)


def keep(file: FileStorage) -> Path:
    """Make a complete upload durable under its own name, and answer its path."""
    stream = file.stream
    stream.flush()
    os.fsync(stream.fileno())
    part = Path(str(stream.name))
    kept = part.with_name(part.name.removesuffix(_PART))
    part.rename(kept)
    folder = os.open(kept.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept


def discard_abandoned(settings: Settings) -> None:
    """At the start: remove what a killed web had not received in full. Nobody was told that it is here."""
    for part in upload_folder(settings).glob(f"*{_PART}"):
        part.unlink(missing_ok=True)


def request_class(settings: Settings) -> type[SpoolingRequest]:
    """The request class that spools into this instance's folder."""
    return type("Request", (SpoolingRequest,), {"upload_folder": upload_folder(settings)})
