"""Files of a cache in one folder: whole or not there, the least recently used removed when they take too much.

What a process was killed over is removed by the next. Several processes of one machine may share a folder. Knows no
media.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["HALF", "Kept"]

_IN_USE_S = 60.0  # a file asked for within this time is not removed
_USED = ".used"
HALF = ".half-"
"""How a name begins until its file is whole; another than a run's, which removes its own when it begins."""
_writing: set[str] = set()
"""Names of what this process is writing now."""


class Kept:
    """The files of one kind, `<name><suffix>`, in a folder. limit_bytes: what they may take together."""

    def __init__(self, folder: Path, suffix: str, limit_bytes: int) -> None:
        self.folder, self.suffix, self.limit_bytes = folder, suffix, limit_bytes
        for part in folder.glob(f"{HALF}*"):
            pid = part.name.removeprefix(HALF).split("-")[0]
            mine = pid == str(os.getpid())
            if part.name not in _writing and (mine or not pid.isdigit() or not _alive(int(pid))):
                part.unlink(missing_ok=True)

    def get(self, name: str) -> Path | None:
        """A file that is there, kept from removal for a minute; None where it is not."""
        file = self.folder / f"{name}{self.suffix}"
        if not file.is_file():
            return None
        with suppress(OSError):  # beside it: its own time belongs to a browser's cache
            file.with_suffix(_USED).touch()
        return file

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """A path to write a file at, which has its name when the block ends, and is gone where it fails.

        Raises OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{HALF}{os.getpid()}-{uuid.uuid4().hex}"
        _writing.add(part.name)
        try:
            yield part
            file = self.folder / f"{name}{self.suffix}"
            file.with_suffix(_USED).touch()
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
            _writing.discard(part.name)
        self._trim(name)

    def _trim(self, keep: str) -> None:
        """Remove the least recently used until all fit, but none that is in use."""
        known = []
        for file in self.folder.glob(f"*{self.suffix}"):
            with suppress(FileNotFoundError):
                used = file.with_suffix(_USED)
                known.append(((used if used.exists() else file).stat().st_mtime, file.stat().st_size, file))
        total = sum(size for _, size, _ in known)
        for stamp, size, file in sorted(known):
            if total <= self.limit_bytes:
                return
            if file.stem != keep and time.time() - stamp >= _IN_USE_S:
                file.unlink(missing_ok=True)
                file.with_suffix(_USED).unlink(missing_ok=True)
                total -= size


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
