"""The scratch folder of a machine: all of it is copies, and what was used longest ago goes when its disk fills.

Every process that works there keeps a list of what it uses, in a file that it holds a lock on. The kernel lets go of a
lock when its process ends, however it ends; so what no list with a lock names may go at any moment. Whoever uses
something puts it on the list first, and then looks whether it is there. Names are relative to the scratch folder, which
two processes may call by different names. A list has its room on the disk before there is something to write into it;
where there is none, its process holds the gate, and nothing at all is removed until it could write.

What a task, a page or a call uses is on the list until that ends. What is named without a user stays on it as long as
the process lives: these are the files of its manifest, whose paths a job remembers as long. Knows nothing of what the
copies hold, but that a film's lies in `media/<name>`, and a result's below `out`, in a folder with a `result.json`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dubbing.errors import OutputError
from dubbing.store.contents import RESULT
from dubbing.store.home import user_folder

__all__ = ["ENVIRONMENT", "make_room", "release", "scratch", "use"]

ENVIRONMENT = "DUB_SCRATCH"
FREE = 0.1  # of the disk: with less, what was used longest ago goes
MORE = 0.02  # of the disk, that is freed beyond it: room is not looked for again at once
QUIET_S = 60.0  # after room was looked for in vain
GATE_S = 5.0  # how long whoever removes something waits for those that write their lists
_USING, _GATE, _ALONE, _GONE = ".using", "gate", "alone", ".part-gone-"
_CHUNK = 4096  # bytes by which the room of a list grows
_lists: dict[Path, _List] = {}
_quiet_until_s: dict[Path, float] = {}
_lock = threading.Lock()  # never taken by whoever has the gate
_ended: deque[object] = deque()  # users whose names are still on a list
_ALWAYS = object()  # the user of what is kept


def scratch() -> Path:
    """$DUB_SCRATCH, else $XDG_CACHE_HOME/dub; without it ~/Library/Caches/dub on macOS and ~/.cache/dub elsewhere."""
    if given := os.environ.get(ENVIRONMENT, ""):
        return Path(given).absolute()
    return user_folder("cache")


class _List:
    """What this process uses of a scratch folder, by user. All of it is called with the lock."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._users: dict[object, set[str]] = {}
        self._written: set[str] = set()
        self._file: int | None = None  # closed by the end of the process
        self._room = 0  # bytes of the file that the disk has given already
        self._gate: int | None = None  # held while something is not written

    def add(self, folders: Iterable[Path], user: object) -> None:
        """Raises OutputError where nobody can be told."""
        names = {os.path.relpath(folder, self._home) for folder in folders}
        self._write(self._names() | names)
        self._users.setdefault(user, set()).update(names)

    def release(self, user: object) -> None:
        if self._users.pop(user, None):
            self._write(self._names(), wait=False)

    def _names(self) -> set[str]:
        return set[str]().union(*self._users.values())

    def _write(self, names: set[str], *, wait: bool = True) -> None:
        """wait: for the gate; without, the list is left with too many names where it is not open."""
        there = self._file is not None and os.fstat(self._file).st_nlink > 0
        if there and names == self._written and self._gate is None:
            return
        data = (b"".join(os.fsencode(name) + b"\0" for name in sorted(names)) or b"\0") + b"\0"
        if (gate := self._entered(wait)) is None:
            return
        try:
            self._reserve(len(data))
        except OSError:  # the list on the disk is as it was
            if wait:
                _let_go(gate)
                make_room()
                gate = self._entered(wait)
        if gate is None:
            return
        try:
            file = self._reserve(len(data))
            self._written = set()
            if os.pwrite(file, data, 0) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._hold(gate)
            return
        self._written = names
        self._hold(None)
        _let_go(gate)

    def _entered(self, wait: bool) -> int | None:
        """The gate, shared. None: it is not free; or nobody can lock anything here, so nobody removes anything."""
        try:
            gate = _opened(self._home, _GATE)
        except OSError as e:
            if not self._home.is_dir():
                return None  # there is nothing to be removed; what is brought says why it cannot be
            raise OutputError(
                f"Copies of remote files cannot be written to {str(self._home)!r} ({e.strerror}); let {ENVIRONMENT} "
                "name a folder on a local disk with free space."
            ) from e
        try:
            fcntl.flock(gate, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(gate)
            return None
        return gate

    def _hold(self, gate: int | None) -> None:
        if self._gate is not None:
            _let_go(self._gate)
        self._gate = gate

    def _reserve(self, size: int) -> int:
        """The list, there and locked, with room for so many bytes. Raises OSError, and changes no names."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:  # all of the scratch folder was removed
            os.close(self._file)
            self._file, self._room = None, 0
        if self._file is None:
            how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            file = os.open(self._home / _USING / uuid.uuid4().hex[:12], how, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # whoever looks whether it is free lets go of it at once
            except OSError:
                os.close(file)
                raise
            self._file = file
        while self._room < size:
            if os.pwrite(self._file, bytes(_CHUNK), self._room) != _CHUNK:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._room += _CHUNK
        return self._file


def use(folders: Iterable[Path], user: object = None) -> None:
    """Say that this process uses folders of the scratch folder, before it looks whether they are there.

    user: who does, until it is released; None: the process, as long as it lives. Raises OutputError where the scratch
    folder is there and nobody can be told.
    """
    folders, home = list(folders), scratch()
    if folders:
        with _lock:
            _settle()
            if home not in _lists:
                _clear(home)
                _lists[home] = _List(home)
            _lists[home].add(folders, _ALWAYS if user is None else user)
    for folder in folders:
        with suppress(OSError):
            os.utime(folder)  # the order in which they go


def release(user: object) -> None:
    """What this user used it does not use any more. Never raises, and waits a second at most: it may be called while
    something is collected, by whoever has the lock or the gate. What is not taken off the list then is later."""
    _ended.append(user)
    if _lock.acquire(timeout=1.0):
        try:
            _settle()
        finally:
            _lock.release()


def _settle() -> None:
    """Take what is not used any more off the lists."""
    with suppress(IndexError):
        while True:
            user = _ended.popleft()
            for one in _lists.values():
                with suppress(OSError, OutputError):
                    one.release(user)


def _forget() -> None:
    """A process that was forked has lists of its own; those of the other stay locked until both have ended."""
    global _lock
    _lock = threading.Lock()
    _lists.clear()
    _ended.clear()


os.register_at_fork(after_in_child=_forget)


def make_room(more: int = 0) -> int:
    """Where less than FREE of the disk would be free after `more` bytes are written, remove what was used longest ago
    and nobody uses, and MORE than that. Returns the bytes that were removed. One process looks for room at a time."""
    home = scratch()
    if _short(home, more) <= 0 or time.monotonic() < _quiet_until_s.get(home, 0.0):
        return 0
    freed, short = 0, 1
    with suppress(OSError), _held(home, _ALONE):
        short = _short(home, more)  # another may have made room meanwhile
        if short > 0:
            freed = _removed(home, short + int(MORE * shutil.disk_usage(home).total))
    if freed < short:
        _quiet_until_s[home] = time.monotonic() + QUIET_S
    return freed


def _short(home: Path, more: int) -> int:
    """How many bytes too few are free."""
    if not home.is_dir():
        return 0
    disk = shutil.disk_usage(home)
    return int(more + int(FREE * disk.total) - disk.free)


def _removed(home: Path, wanted: int) -> int:
    """Remove what was used longest ago until so many bytes are gone. The gate is closed to others only while lists are
    read and folders renamed. Raises OSError where it cannot be known what is used; then nothing is removed."""
    found: list[tuple[int, Path]] = []
    freed = 0
    for folder in _folders(home):
        if folder.name.startswith(_GONE):  # of a process that was killed while it removed it
            freed += _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
            continue
        with suppress(OSError):
            found.append((folder.stat().st_mtime_ns, folder))
    with _held(home, _GATE, GATE_S):
        used = _used(home)
    rest = iter([one for one in sorted(found) if one[1].relative_to(home) not in used])
    gone: list[Path] = []
    with suppress(OSError):
        while freed < wanted and (chosen := _oldest(rest, wanted - freed)):
            with _held(home, _GATE, GATE_S):
                used = _used(home)
                for at, folder, size in chosen:
                    with suppress(OSError):
                        if folder.relative_to(home) not in used and folder.stat().st_mtime_ns == at:
                            gone.append(folder.rename(folder.parent / f"{_GONE}{uuid.uuid4().hex[:8]}"))
                            freed += size
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _oldest(rest: Iterator[tuple[int, Path]], wanted: int) -> list[tuple[int, Path, int]]:
    """The next folders that hold so many bytes, with their times and sizes; empty where there are no more."""
    chosen: list[tuple[int, Path, int]] = []
    for at, folder in rest:
        chosen.append((at, folder, _size(folder)))
        wanted -= chosen[-1][-1]
        if wanted <= 0:
            break
    return chosen


def _opened(home: Path, name: str) -> int:
    """A file that is there to be locked; one that exists needs no room on the disk. Raises OSError."""
    path = home / _USING / name
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


@contextmanager
def _held(home: Path, name: str, patience_s: float | None = None) -> Iterator[None]:
    """Hold such a file alone. patience_s: how long it is waited for (None: as long as it takes). Raises OSError."""
    file = _opened(home, name)
    try:
        end_s = time.monotonic() + (patience_s or 0.0)
        while patience_s is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    raise
                time.sleep(0.02)
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        _let_go(file)


def _let_go(file: int) -> None:
    """Also where a process that was forked meanwhile has the file open too."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)


def _clear(home: Path) -> None:
    """Remove the lists of dead processes, unless others are at the gate just now."""
    with suppress(OSError):
        if (home / _USING).is_dir():
            with _held(home, _GATE, 0.0):
                _used(home)


class _Used:
    """What living processes use: folders, and all that is in them or around them."""

    def __init__(self, names: Iterable[Path]) -> None:
        self._names = {*names}
        self._around = {folder for name in self._names for folder in name.parents}

    def __contains__(self, folder: Path) -> bool:
        return folder in self._around or any(one in self._names for one in (folder, *folder.parents))


def _used(home: Path) -> _Used:
    """What living processes use, by its name in the scratch folder; the gate is held. Lists of dead ones are removed.
    Raises OSError where a list cannot be read."""
    used: set[str] = set()
    for path in (home / _USING).iterdir():
        if path.name in (_GATE, _ALONE):
            continue
        with path.open("rb") as handle:
            if _free(handle):
                path.unlink()
            else:
                names = handle.read().partition(b"\0\0")[0].split(b"\0")  # what follows is left of a longer list
                used |= {os.fsdecode(name) for name in names if name}
    return _Used(map(Path, used))


def _free(handle: IO[bytes]) -> bool:
    """Whether nobody holds the lock on a list; then it is held from here on."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(folder: Path) -> int:
    size = 0
    for at, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                size += os.lstat(Path(at, name)).st_size
    return size


def _folders(home: Path) -> Iterator[Path]:
    """What may be removed by itself, with what was about to be."""
    with suppress(OSError):
        for folder in (home / "media").iterdir():
            if folder.is_dir() and (folder.name.startswith(_GONE) or not folder.name.startswith(".")):
                yield folder
    for at, inner, files in os.walk(home / "out"):
        yield from (Path(at, name) for name in inner if name.startswith(_GONE))
        inner[:] = [name for name in inner if not name.startswith(".")]
        if RESULT in files:
            inner.clear()
            yield Path(at)
