"""Local copies of remote files: brought once to each machine, at a path that follows from the URI alone.

They lie in the scratch folder (`dubbing.store.scratch`), from which what is not used goes when the disk fills; all of
it may be deleted while no run is under way. A copy is used again only while the object behind it is the same (size and
mark, see `Objects.stamp`). Knows no media: what the files hold is for others.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dubbing.errors import MediaError, OutputError
from dubbing.remote import Objects, Uri
from dubbing.store.scratch import ENVIRONMENT, make_room, scratch, use

__all__ = ["Copies", "folder_of", "walked"]

_MEDIA = "media"
Stamp = tuple[int, str]


def folder_of(uri: Uri, kind: str) -> Path:
    """Where the local side of a URI lies: `<scratch>/<kind>/<hash>`."""
    return scratch() / kind / hashlib.sha256(str(uri).encode()).hexdigest()[:20]


def walked(value: Any, change: Callable[[str], str]) -> Any:
    """A value of dicts, lists and plain values with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {k: walked(v, change) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [walked(v, change) for v in value]
    return value


class Copies:
    """The remote files of one job. Pickled, it tells a worker which path of the driver is which URI."""

    def __init__(self) -> None:
        self._origin = str(scratch() / _MEDIA)
        self._known: dict[str, tuple[Uri, Stamp]] = {}

    def fetch(self, uri: Uri) -> Path:
        """The local copy, loaded unless the one there is of the same object. Remembered, and kept, for this process.

        Raises MediaError where there is no such object, StorageError where it cannot be read.
        """
        folder = folder_of(uri, _MEDIA)
        if folder.name not in self._known:
            use([folder])
            try:
                self._known[folder.name] = uri, self._load(uri, folder, None)
            except FileNotFoundError as e:
                raise MediaError(f"There is no file {uri}; check its name and bucket.") from e
        return folder / uri.name

    def bring(self, text: str, user: object = None) -> str:
        """A path of the driver's copies as a path here, loaded where it is missing; any other text as it is.

        user: as of `scratch.use`.

        Raises MediaError when the object is no longer what the driver saw.
        """
        if not text.startswith(self._origin + os.sep):
            return text
        key = text[len(self._origin) + 1 :].partition(os.sep)[0]
        if key not in self._known:
            return text
        uri, stamp = self._known[key]
        folder = folder_of(uri, _MEDIA)
        path = folder / uri.name
        use([folder], user)
        if not _is(folder, path, stamp):
            try:
                self._load(uri, folder, stamp)
            except FileNotFoundError as e:
                raise OutputError(f"{uri} was removed while the run was going; put it back and run again.") from e
        return str(path)

    def named(self, text: str) -> str:
        """A message with the URIs that a person gave, instead of the paths of their copies."""
        for uri, _ in self._known.values():
            text = text.replace(str(folder_of(uri, _MEDIA) / uri.name), str(uri))
        return text

    def _load(self, uri: Uri, folder: Path, wanted: Stamp | None) -> Stamp:
        """Bring the object here unless it is: one process of this machine at a time."""
        objects = Objects(uri)
        stamp = wanted or objects.stamp()
        path = folder / uri.name
        if _is(folder, path, stamp):
            return stamp
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("a+")
        except OSError as e:
            raise OutputError(
                f"Copies of remote files cannot be written to {str(folder)!r} ({e.strerror}); let {ENVIRONMENT} name "
                "a folder on a local disk."
            ) from e
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is(folder, path, stamp):
                return stamp
            for left in folder.glob(".part-*"):  # of a process that was killed: we hold the lock
                left.unlink(missing_ok=True)
            make_room(stamp[0])
            free = shutil.disk_usage(folder).free
            if free < stamp[0]:
                raise OutputError(
                    f"{uri} has {stamp[0] / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free at {str(folder)!r}; "
                    f"make room there, or let {ENVIRONMENT} name a folder on a larger disk."
                )
            part = folder / f".part-{uuid.uuid4().hex[:8]}"
            try:
                objects.get("", part)
                if objects.stamp() != stamp or part.stat().st_size != stamp[0]:
                    raise OutputError(f"{uri} was changed while it was being read; run again once it is complete.")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            note = folder / f".part-{uuid.uuid4().hex[:8]}"
            note.write_text(json.dumps({"uri": str(uri), "stamp": stamp}), encoding="utf-8")
            note.replace(folder / ".copy.json")
        return stamp


def _is(folder: Path, path: Path, stamp: Stamp) -> bool:
    """Whether the copy is there and of this object."""
    try:
        noted = json.loads((folder / ".copy.json").read_text(encoding="utf-8"))
        return tuple(noted["stamp"]) == stamp and path.stat().st_size == stamp[0]
    except (OSError, ValueError, KeyError, TypeError):
        return False
