"""Folders for the time of one piece of work, which the next one clears away where that was killed.

They lie in the system's folder for temporary files, only their owner can look into them, and the process that made one
holds a lock in it. The kernel lets go of a lock when its process ends, however it ends: a folder whose lock is free is
nobody's any more. Knows nothing of what others put there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dubbing.store.folder import output_error

__all__ = ["temporary"]

_LOCK = "lock"
_INNER = "r"  # short, because the names of sockets are limited


@contextmanager
def temporary(kind: str, base: Path | str | None = None) -> Iterator[Path]:
    """An empty folder `dub-<kind>-...` of mode 0700, removed at the end. What killed processes of this user left beside
    it is removed first. base: where, for a name that must be short; default: as `tempfile` says.

    Raises OutputError where none can be made.
    """
    parent = Path(base or tempfile.gettempdir())
    _sweep(parent)
    while True:
        try:
            outer = Path(tempfile.mkdtemp(prefix=f"dub-{kind}-", dir=parent))
            held = _held(outer)
        except OSError as e:
            raise output_error(parent / f"dub-{kind}", e) from e
        if held is not None:
            break  # else another process took the folder for a dead one's before its lock was held
    try:
        inner = outer / _INNER
        inner.mkdir()
        yield inner
    finally:
        _remove(outer)
        held.close()


def _held(folder: Path) -> IO[bytes] | None:
    """The lock in a folder, held; None where another process holds it, or has removed it."""
    try:
        handle = (folder / _LOCK).open("ab")
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle.fileno()).st_nlink:
            return handle
    handle.close()
    return None


def _sweep(parent: Path) -> None:
    """Remove what killed processes left: folders of ours with a lock that nobody holds."""
    for folder in parent.glob("dub-*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.getuid() or folder.is_symlink() or not (folder / _LOCK).is_file():
                continue
            if held := _held(folder):
                with held:
                    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: what a process that is just ending still writes into is found the next time."""
    shutil.rmtree(folder / _INNER, ignore_errors=True)
    if not (folder / _INNER).exists():
        shutil.rmtree(folder, ignore_errors=True)
