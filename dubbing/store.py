"""Folders, content keys and atomic commits. Knows no media and no stage.

Done is a file (design decision 8): a result's folder or file appears under its final name in one
rename, or not at all. Whatever a killed run left half-written carries `.part-` in its name and is
removed when the next run starts.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dubbing.errors import OutputError

__all__ = ["Store", "content_key", "key_of", "read_json"]

PART = ".part-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def key_of(*parts: Any) -> str:
    """sha256 (hex) of the parts written as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The JSON value in a file this project wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def content_key(path: Path, memory: Path | None = None) -> str:
    """sha256 (hex) of a file's bytes.

    memory: a JSON file that remembers hashes by path, size and modification time, so that a film
    is read once; it is only a shortcut and may be deleted.
    """
    stat = path.stat()
    name, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
    known: dict[str, Any] = {}
    if memory is not None and memory.exists():
        try:
            known = read_json(memory)
        except (ValueError, OSError):
            known = {}
        if known.get(name, [None])[:-1] == stamp:
            return str(known[name][-1])
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    if memory is not None:
        known[name] = [*stamp, digest.hexdigest()]
        _replace(memory, json.dumps(known, indent=0).encode())
    return digest.hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Write `data` under `path` so that a reader sees the old file or the new one, whole."""
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise output_error(path, e) from e


def output_error(path: Path, e: OSError) -> OutputError:
    """The one sentence for a write that failed."""
    if e.errno in _FULL:
        return OutputError(
            f"The disk that holds {str(path.parent)!r} is full; free some space and run the same "
            "command again: finished shots are kept."
        )
    return OutputError(f"{str(path)!r} cannot be written ({e.strerror or e}); check its folder's permissions.")


class Store:
    """One output folder (`OUT`): where everything lies, and how it is committed."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def analysis(self, title: str) -> Path:
        return self.root / title / "analysis"

    def dub(self, title: str, language: str) -> Path:
        return self.root / title / language

    @contextmanager
    def commit(self, final: Path) -> Iterator[Path]:
        """A fresh folder to fill; renamed to `final` when the block ends without an error.

        Raises OutputError when the folder cannot be written or the disk is full.
        """
        part = final.parent / f"{PART}{uuid.uuid4().hex[:8]}-{final.name}"
        try:
            part.mkdir(parents=True)
            yield part
            if final.exists():
                shutil.rmtree(part)
            else:
                part.rename(final)
        except OSError as e:
            if e.errno in (*_FULL, errno.EACCES, errno.EROFS, errno.EPERM):
                raise output_error(final, e) from e
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def write_json(self, path: Path, value: Any) -> None:
        """Atomic. Raises OutputError."""
        _replace(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Atomic. Raises OutputError."""
        _replace(path, data)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this output folder alone; the kernel lets go when the process ends, however it ends.

        Raises OutputError when another run holds it or the folder cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a+")
        except OSError as e:
            raise output_error(self.root, e) from e
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                raise OutputError(
                    f"Another run is writing to {str(self.root)!r}; wait for it to end, or choose another --out."
                ) from e
            yield

    def sweep(self) -> int:
        """Remove what killed runs left half-written; returns how many. Call only under `lock`."""
        left = list(self.root.rglob(f"{PART}*"))
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return len(left)
