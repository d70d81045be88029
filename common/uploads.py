"""Uploaded files and what was asked for with each: beside `X` lies `X.task`, until its rows are in PostgreSQL for sure."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from common.records import sync_directory
from common.settings import Settings

SUFFIX = ".task"


class Wanted(NamedTuple):
    """The task of an upload: the id that the client was told, and what the importer has to know."""

    task_id: str
    params: dict[str, Any]


def upload_folder(settings: Settings) -> Path:
    """Where this instance's uploads are; web and importer share it."""
    return settings.data_dir.resolve() / "uploads"


def note_wanted(path: Path, wanted: Wanted) -> None:
    """Write down what an upload is for; on return it is on the disk."""
    with note_of(path).open("wb") as file:
        file.write(orjson.dumps(list(wanted)))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def read_wanted(note: Path) -> Wanted | None:
    """None: the web was killed while it wrote, so nobody was told anything."""
    try:
        return Wanted(*orjson.loads(note.read_bytes()))
    except ValueError:
        return None


def note_of(path: Path) -> Path:
    """The note that belongs to an upload."""
    return path.with_name(path.name + SUFFIX)


def forget_upload(path: Path) -> None:
    """Remove a file and its note."""
    path.unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)
