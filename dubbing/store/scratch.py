"""The scratch folder of a machine: all of it is copies, and what was used longest ago goes when its disk fills.

Every process that works there keeps a list of what it uses, in a file that it holds a lock on. The kernel lets go of a
lock when its process ends, however it ends; so what no list with a lock names may go at any moment. Whoever uses
something puts it on the list first, and then looks whether it is there. Knows nothing of what the copies hold, but that
a film's lies in `media/<name>`, and a result's below `out`, in a folder with a `result.json`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dubbing.store.contents import RESULT
from dubbing.store.home import user_folder

__all__ = ["ENVIRONMENT", "make_room", "release", "scratch", "use"]

ENVIRONMENT = "DUB_SCRATCH"
FREE = 0.1  # of the disk: with less, what was used longest ago goes
_USING, _GONE = ".using", ".part-gone-"
QUIET_S = 60.0  # after room was looked for in vain
_lists: dict[Path, _List] = {}
_quiet_until_s: dict[Path, float] = {}


def scratch() -> Path:
    """$DUB_SCRATCH, else $XDG_CACHE_HOME/dub; without it ~/Library/Caches/dub on macOS and ~/.cache/dub elsewhere."""
    if given := os.environ.get(ENVIRONMENT, ""):
        return Path(given).absolute()
    return user_folder("cache")


class _List:
    """What this process uses. kept: as long as it lives; the rest until `release`."""

    def __init__(self, home: Path) -> None:
        self._home, self.pid = home, os.getpid()
        self._kept: dict[Path, None] = {}
        self._names: set[Path] = set()
        (home / _USING).mkdir(parents=True, exist_ok=True)
        with _gate(home, fcntl.LOCK_SH):
            how = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(home / _USING / uuid.uuid4().hex[:12], how, 0o600)  # closed by the process's end
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def add(self, folders: Iterable[Path], kept: bool) -> None:
        new = [f for f in dict.fromkeys(folders) if f not in self._names]
        self._kept |= dict.fromkeys(new) if kept else {}
        self._names |= {*new}
        if new:
            with _gate(self._home, fcntl.LOCK_SH):
                self._write(new)
        for folder in new:
            with suppress(OSError):
                os.utime(folder)  # the order in which they go

    def release(self) -> None:
        if len(self._names) > len(self._kept):
            self._names = {*self._kept}
            with _gate(self._home, fcntl.LOCK_SH):
                os.ftruncate(self._file, 0)
                self._write(self._kept)

    def _write(self, folders: Iterable[Path]) -> None:
        os.write(self._file, b"".join(os.fsencode(folder) + b"\0" for folder in folders))


def use(folders: Iterable[Path], *, kept: bool = False) -> None:
    """Say that this process uses folders of the scratch folder, before it looks whether they are there.

    kept: as long as it lives, and not only until `release`. Where no list can be kept, nothing is ever removed by
    others either: they could not keep theirs.
    """
    home = scratch()
    with suppress(OSError):
        if home not in _lists or _lists[home].pid != os.getpid():
            _lists[home] = _List(home)
        _lists[home].add(folders, kept)


def release() -> None:
    """This process uses nothing any more but what it keeps."""
    if (own := _lists.get(scratch())) is not None and own.pid == os.getpid():
        with suppress(OSError):
            own.release()


def make_room(more: int = 0) -> int:
    """Where less than FREE of the disk would be free after `more` bytes are written, remove what was used longest ago,
    and nobody uses. Returns the bytes that were removed."""
    home = scratch()
    if not home.is_dir() or time.monotonic() < _quiet_until_s.get(home, 0.0):
        return 0
    disk = shutil.disk_usage(home)
    short = more + int(FREE * disk.total) - disk.free
    if short <= 0:
        return 0
    gone: list[Path] = []
    freed = 0
    with suppress(OSError):
        (home / _USING).mkdir(exist_ok=True)
        with _gate(home, fcntl.LOCK_EX):
            used = _used(home)
            for _, folder in sorted((f.stat().st_mtime, f) for f in _folders(home) if f not in used):
                if freed >= short:
                    break
                freed += sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
                gone.append(folder.rename(folder.parent / f"{_GONE}{uuid.uuid4().hex[:8]}"))
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    if freed < short:
        _quiet_until_s[home] = time.monotonic() + QUIET_S
    return freed


@contextmanager
def _gate(home: Path, how: int) -> Iterator[None]:
    """Shared while a list is written, alone while what is on none is removed."""
    with (home / _USING / "gate").open("a") as handle:
        fcntl.flock(handle, how)
        yield


def _used(home: Path) -> set[Path]:
    """What living processes use. Lists of dead ones are removed."""
    used: set[Path] = set()
    for path in (home / _USING).iterdir():
        if path.name == "gate":
            continue
        with path.open("rb") as handle:
            if _free(handle):
                path.unlink()
            else:
                used |= {Path(os.fsdecode(name)) for name in handle.read().split(b"\0") if name}
    return used


def _free(handle: IO[bytes]) -> bool:
    """Whether nobody holds the lock on a list; then it is held from here on."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _folders(home: Path) -> Iterator[Path]:
    """What may be removed by itself."""
    if (home / "media").is_dir():
        yield from (f for f in (home / "media").iterdir() if f.is_dir() and not f.name.startswith("."))
    for at, inner, files in os.walk(home / "out"):
        inner[:] = [name for name in inner if not name.startswith(".")]
        if RESULT in files:
            inner.clear()
            yield Path(at)
