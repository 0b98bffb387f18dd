"""An output folder on this machine or on a shared file system: atomic commits, content keys.

A result's folder or file appears under its final name in one rename, or not at all (architecture: done is a file).
Whatever a killed run left half-written carries `.part-` in its name and is removed when the next run starts. Knows no
media and no stage. Over 400 lines: `Store` is one interface, which an output at a URI takes over whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from dubbing import sequences
from dubbing.errors import DamagedResult, InputError, MediaError, OutputError
from dubbing.inputs import json_bytes, json_value, not_a_file
from dubbing.remote import Uri
from dubbing.store.contents import RESULT, Look, fault, read_result, seal, sealed, sync, unsealed
from dubbing.store.copies import Copies, walked
from dubbing.store.scratch import release

__all__ = [
    "PART", "RESULT", "Stamp", "Store", "alone", "content_key", "content_of", "followed", "key_of", "output_error",
    "read_folder", "read_json", "replace", "stamp_of", "standing",
]  # fmt: skip

PART = ".part-"
Stamp = tuple[int, int, int, int]
_FULL = (errno.ENOSPC, errno.EDQUOT)


def key_of(*parts: Any) -> str:
    """sha256 (hex) of the parts written as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The JSON value in a file this project wrote. Raises OSError; ValueError where it is damaged."""
    _refuse_special(path)
    return json_value(path.read_bytes())


def _refuse_special(path: Path) -> None:
    """Raises OSError for a pipe, a device, a socket or a folder, which could block for ever when it is opened."""
    if kind := not_a_file(path):
        raise OSError(None, f"it is {kind}, and not a file", str(path))


def read_folder(folder: Path) -> dict[str, Any]:
    """The value of a folder's result.json. Raises OSError; ValueError where it is damaged."""
    _refuse_special(folder / RESULT)
    return read_result((folder / RESULT).read_bytes())


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does: its bytes, when they and its entry were last changed (ns), and its number on the
    disk; of a sequence of pictures see `sequences.stamp`. The same stamp is the same content. Raises OSError, and
    MediaError where a sequence is not whole."""
    if (sequence := sequences.find(path)) is not None:
        return sequences.stamp(sequence)
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def content_key(path: Path, memory: Path | None = None) -> str:
    """sha256 (hex) of a file's bytes; of a sequence of pictures, of all their names and hashes.

    memory: a JSON file that remembers hashes by path and stamp, so that a film is read once; it is only a shortcut and
    may be deleted. Raises MediaError for a pipe, a device or a folder, InputError for a file that is being written.
    """
    sequence = sequences.find(path)
    if sequence is None and (kind := not_a_file(path)):
        raise MediaError(f"{path} is {kind}, and not a file.")
    stamp, name = stamp_of(path), str(path.resolve())
    known: dict[str, Any] = {}
    if memory is not None:
        with suppress(ValueError, OSError):
            _refuse_special(memory)
            known = unsealed(memory.read_bytes())
        held = known.get(name)
        if isinstance(held, list) and held[:-1] == [*stamp]:
            return str(held[-1])
    content = _hashed(path) if sequence is None else sequence.content(_hashed)
    if stamp_of(path) != stamp:
        raise InputError(f"{path} was changed while it was being read; run again once it is complete.")
    if memory is not None:
        known[name] = [*stamp, content]
        replace(memory, sealed(known))
    return content


def _hashed(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _linked(made: str | Path, final: str | Path) -> None:  # a second name, or a copy where the disk allows none
    try:
        os.link(made, final)
    except OSError:
        shutil.copyfile(made, final)
        sync(Path(final))


def _same(made: Path, final: Path) -> bool:
    """Whether a name is already that of a file, or a folder's names those of another's files."""
    if not made.is_dir() or not final.is_dir():
        return final.exists() and final.samefile(made)
    same = all((final / name).exists() and (final / name).samefile(made / name) for name in os.listdir(made))
    return same and len(os.listdir(made)) == len(os.listdir(final))


@lru_cache(maxsize=64)
def content_of(path: Path, stamp: Stamp) -> str:
    """`content_key` of a file that has this stamp, remembered by this process. Raises as that, and OSError."""
    return content_key(path)


def replace(path: Path, data: bytes) -> None:
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


def _result(folder: Path) -> dict[str, Any] | None:
    try:
        return read_folder(folder)
    except (OSError, ValueError):
        return None


def standing(path: Path) -> Path:
    """The nearest folder at or above `path` that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


@contextmanager
def alone(path: Path, busy: str) -> Iterator[None]:
    """Hold a file, made where it is not there, as the only one; the kernel lets go when the process ends.

    Raises OutputError: `busy` where another process holds it; it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+b")
    except OSError as e:
        raise output_error(path, e) from e
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise OutputError(busy) from e
        yield


def followed(folder: Path) -> list[Path]:
    """The folders beside `master-<key>` that are called the same with another key."""
    stem = folder.name.rpartition("-")[0]
    return [f for f in folder.parent.glob(f"{stem}-*") if f != folder]


class Store:
    """One output folder (`OUT`): where everything lies, how it is committed and read.

    `root` is where this process finds it. Stages and engines see local paths only; what lies elsewhere
    (media named by URIs, and everything below OUT when that is a URI: `RemoteStore`) is brought here
    first. A store travels to workers by pickle.
    """

    lasting: ClassVar[bool] = True
    """Whether what lies below the root has to outlive the machine's power."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.copies = Copies()

    def analysis(self, title: str) -> Path:
        return self.root / title / "analysis"

    def dub(self, title: str, language: str) -> Path:
        return self.root / title / language

    def shown(self, path: Path) -> str:
        """What people call a path of this store."""
        return str(path)

    @property
    def private(self) -> bool:
        """Whether other processes see nothing of what lies here."""
        return False

    # -- what is there -----------------------------------------------------------------------

    def done(self, folder: Path) -> bool:
        """Whether the result of this folder was committed."""
        return folder.exists()

    def note(self, folder: Path) -> None:
        """A worker has just committed this folder."""

    def results(self, folders: Iterable[Path]) -> dict[Path, dict[str, Any] | None]:
        """The result.json of those folders that are done; None of one that is missing or damaged."""
        return {f: _result(f) for f in folders if self.done(f)}

    def fault(self, folder: Path, told: Mapping[str, Any], look: Look = "sizes") -> str | None:
        """What is wrong with the files of a result, as the end of a sentence; None where nothing is. told: its
        result.json."""
        return fault(folder, told, look)

    def whole(self, folder: Path) -> None:
        """Raises DamagedResult unless a result that was brought here is as it was committed, all of it."""
        told = _result(folder)
        problem = "is damaged: result.json" if told is None else fault(folder, told, "all")
        if problem:
            raise DamagedResult(f"{self.shown(folder)!r} {problem}", folder)

    def read_bytes(self, path: Path) -> bytes:
        """A file below the root, as it is now. Raises FileNotFoundError, and OSError for what is no file."""
        _refuse_special(path)
        return path.read_bytes()

    def find(self, folder: Path, name: str) -> set[Path]:
        """The files of this name anywhere below a folder."""
        return set(folder.rglob(name))

    def names(self, folder: Path, beginning: str) -> list[Path]:
        """What lies directly in a folder under names that begin so; empty where there is no folder."""
        return [p for p in folder.iterdir() if p.name.startswith(beginning)] if folder.is_dir() else []

    # -- what a worker needs -----------------------------------------------------------------

    def local(self, file: Path | Uri) -> Path:
        """A file of the manifest as a path of this machine; a remote one is brought here first.

        Raises MediaError where there is none.
        """
        return self.copies.fetch(file) if isinstance(file, Uri) else file

    def bring(self, args: Mapping[str, Any], user: object = None) -> Mapping[str, Any]:
        """A task's arguments with every path in them present on this machine; user: as of `scratch.use`."""
        return walked(args, lambda text: self.copies.bring(text, user))

    @contextmanager
    def brought(self, *paths: Path) -> Iterator[list[Path]]:
        """Paths of this store, present on this machine until the block ends."""
        user = object()
        try:
            yield [Path(path) for path in self.bring({"paths": [str(p) for p in paths]}, user)["paths"]]
        finally:
            release(user)

    def tidy(self) -> None:
        """Called once by each worker: nothing to do where `sweep` reaches."""

    def here(self, folder: Path) -> Path:
        """A folder of the process that planned the work, as this process calls it."""
        return folder

    def there(self, folder: Path) -> Path:
        """The other way round."""
        return folder

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def commit(self, final: Path) -> Iterator[Path]:
        """A fresh folder to fill; when the block ends without an error its files are listed in its result.json, all of
        it is on the disk, and it is renamed to `final`.

        Raises OutputError when the folder cannot be written or the disk is full.
        """
        with self._filled(final) as part:
            yield part
            seal(part, self.lasting)
            self._send(part, final)

    def _send(self, part: Path, final: Path) -> None:
        """Take a folder that is filled to where it belongs, if that is elsewhere."""

    @contextmanager
    def _filled(self, final: Path) -> Iterator[Path]:
        part = final.parent / f"{PART}{uuid.uuid4().hex[:8]}-{final.name}"
        try:
            part.mkdir(parents=True)
            yield part
            if final.exists():
                shutil.rmtree(part)
            else:
                part.rename(final)
                sync(final.parent)
        except OSError as e:
            if e.errno in (*_FULL, errno.EACCES, errno.EROFS, errno.EPERM):
                raise output_error(final, e) from e
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def write_json(self, path: Path, value: Any) -> None:
        """Atomic. Raises OutputError."""
        self.write_bytes(path, json_bytes(value))

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Atomic. Raises OutputError."""
        replace(path, data)

    def remove(self, folder: Path) -> None:
        """Take a result away that nothing needs any more, or whatever else is in its place."""
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)

    def publish(self, made: Path, final: Path) -> None:
        """Give a file of a result, or a folder in it, a second name, without copying where the disk allows it, and
        remove the results that this one follows (same folder name up to the key)."""
        if not _same(made, final):
            part = final.with_name(f"{PART}{os.getpid()}-{final.name}")
            self.remove(part)
            if made.is_dir():
                shutil.copytree(made, part, copy_function=_linked)
                sync(part)
                self.remove(final)
            else:
                _linked(made, part)
            part.replace(final)
            sync(final.parent)
        self.retire(made.parent)

    def retire(self, folder: Path) -> None:
        """Remove the results that the one in a folder follows (same folder name up to the key)."""
        for old in followed(folder):
            shutil.rmtree(old)

    def retract(self, final: Path) -> None:
        """Remove what was published under a name, where anything was."""
        final.unlink(missing_ok=True)

    # -- one run at a time -------------------------------------------------------------------

    def check(self) -> None:
        """Raises OutputError where nothing can be written."""
        folder = standing(self.root)
        if not folder.is_dir():
            raise OutputError(f"{str(folder)!r} is a file, so nothing can be written under it; choose another --out.")
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0")
        except OSError as e:
            raise output_error(self.root, e) from e

    def held(self) -> bool:
        """Whether a run that is alive writes here."""
        try:
            with (self.root / ".lock").open("rb") as f:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this output folder alone; the kernel lets go when the process ends, however it ends.

        Raises OutputError when another run holds it or the folder cannot be made.
        """
        busy = f"Another run is writing to {str(self.root)!r}; wait for it to end, or choose another --out."
        with alone(self.root / ".lock", busy):
            yield

    def sweep(self) -> int:
        """Remove what killed runs left half-written; returns how many. Call only under `lock`."""
        left = list(self.root.rglob(f"{PART}*"))
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return len(left)
