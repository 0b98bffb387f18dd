"""Objects at URIs (s3://bucket/name; http and https to read), read and written patiently.

An object appears under its name whole or not at all. What fails for a moment (a connection, a busy
server) is tried again for two minutes; what will not get better is said in one sentence at once. It
knows names and bytes, and nothing of manifests or results. fsspec is imported when first needed.

Over 400 lines: one class of objects with what it needs to be patient.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from dubbing.errors import InputError, StorageError
from dubbing.inputs import unwritable_name

__all__ = [
    "OBJECT_STORES", "Objects", "Uri", "at_once", "forget_connections", "local_scheme", "place", "scheme_of",
    "unusable",
]  # fmt: skip

T = TypeVar("T")
PATIENCE_S = 120.0
MANY = 500  # objects asked for together
AT_ONCE = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
_PART = ".part-"
_SHOWN = 100  # letters of a URI in a message
_LOCAL = ("file", "local")
_READ_ONLY = ("http", "https")
# Where a write is atomic by itself; elsewhere it goes to a part first, which is then renamed.
OBJECT_STORES = ("s3", "s3a", "memory")
_EXTRAS = {"s3": "pip install 'dubbing[s3]'", "s3a": "pip install 'dubbing[s3]'"}
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NETWORK = ("aiohttp", "aiobotocore", "botocore", "urllib3", "requests", "paramiko", "google", "azure")
_NO_KEYS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
            "ProfileNotFound", "NoAuthTokenError", "DefaultCredentialsError")  # fmt: skip
_WRONG = (
    "ParamValidationError",
    "InvalidRegionError",
    "UnknownEndpointError",
    "InvalidEndpointDiscoveryConfigurationError",
)


class Uri(str):
    """The name of an object or of a folder of them: `s3://films/reel.mp4`. Joined with `/`."""

    __slots__ = ()

    @property
    def scheme(self) -> str:
        return self.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """What follows the last slash; of an http address without its query."""
        path = urlsplit(self).path if self.scheme in _READ_ONLY else self.partition("://")[2]
        return path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> Uri:
        """The folder it lies in; a bucket is its own."""
        scheme, _, rest = self.partition("://")
        folder, slash, _ = rest.rstrip("/").rpartition("/")
        return Uri(f"{scheme}://{folder}") if slash else self

    def __truediv__(self, name: str) -> Uri:
        """`name` may climb with `..`, not out of the bucket."""
        scheme, _, rest = self.partition("://")
        top, _, path = rest.partition("/")
        joined = posixpath.normpath(posixpath.join("/", path, name)).lstrip("/")
        return Uri(f"{scheme}://{top}/{joined}")


def scheme_of(text: str) -> str | None:
    """`s3` of `s3://films/a.mp4`; None of a path."""
    found = re.match(r"((?:[A-Za-z][\w+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+)://", text)
    return found[1].lower() if found else None


def local_scheme(scheme: str) -> bool:
    """Whether it names files of this machine."""
    return scheme in _LOCAL


def place(value: str | Path) -> Path | Uri:
    """What a person wrote as a path, or as a URI: those of this machine become paths.

    Raises InputError for a URI that cannot be used, and for a name that no file can have.
    """
    text = str(value) if isinstance(value, Uri) or not isinstance(value, Path) else ""
    scheme = scheme_of(text)
    if scheme is None:
        if problem := unwritable_name(value):
            shown = ascii(str(value))
            raise InputError(f"{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'} cannot be used: {problem}.")
        return Path(value)
    if problem := unusable(text):
        raise InputError(f"{problem}.")
    return Path(unquote(urlsplit(text).path)) if local_scheme(scheme) else Uri(text.rstrip("/"))


def unusable(text: str) -> str | None:
    """Why a URI cannot be used, as the end of a sentence; None where it can. Opens and imports nothing."""
    shown = repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
    if any(not letter.isprintable() for letter in unquote(text)):
        return f"{shown} holds a letter that no name has (a line end, a NUL, or half a letter)"
    try:
        parts = urlsplit(text)
        secret = parts.password is not None
    except ValueError as e:
        return f"{shown} is no URI ({e}); write s3://bucket/name"
    scheme = scheme_of(text) or parts.scheme.lower()
    if local_scheme(scheme):
        if parts.netloc not in ("", "localhost"):
            return f"{shown} names a file of another machine ({parts.netloc}); write a path, or file:///..."
        return unwritable_name(unquote(parts.path))
    if secret or (scheme in _READ_ONLY and parts.query):
        return (
            f"a {scheme}:// address with a password or a signature in it would be written into the records; "
            "give it without, and the keys in the environment"
        )
    if scheme not in (*OBJECT_STORES, *_READ_ONLY):
        return (
            f"{shown} begins with {scheme[:_SHOWN]}://, which dub does not support; allowed are a path, file:///..., "
            f"s3://bucket/... ({_EXTRAS['s3']}), and https://... to read: copy it to one of these"
        )
    if not text.partition("://")[2].strip("/"):
        return f"{shown} names nothing; write {scheme}://bucket/name"
    return None


def at_once(call: Callable[[T], object], items: Sequence[T]) -> None:
    """call(item) for every item, AT_ONCE at a time; the first error ends it and is raised.

    An interruption does not wait for what is under way (threads of an executor would be waited for).
    """
    left, errors = deque(items), deque[BaseException]()

    def work() -> None:
        while not errors:
            try:
                item = left.popleft()
            except IndexError:
                return
            try:
                call(item)
            except BaseException as e:
                errors.append(e)

    if len(items) < 2:
        for item in items:
            call(item)
        return
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(items)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        left.clear()
        raise
    if errors:
        raise errors[0]


@dataclass(frozen=True)
class Objects:
    """The objects under one URI. Names are relative to it; the empty name is the URI itself.

    patience_s: for how long what fails for a moment is tried again. All methods raise StorageError for
    what does not get better (no library, no access, no bucket), and the reading ones FileNotFoundError
    where there is no such object.
    """

    uri: Uri
    patience_s: float | None = None

    def read(self, name: str = "") -> bytes:
        return bytes(self._patiently("read", name, lambda fs, path: fs.cat_file(path)))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Those that exist, many at a time."""
        every = list(names)
        found: dict[str, bytes] = {}
        for i in range(0, len(every), MANY):
            found |= self._read_some(every[i : i + MANY])
        return found

    def _read_some(self, names: list[str]) -> dict[str, bytes]:
        paths = [self._path(n) for n in names]

        def call(fs: Any, _: str) -> dict[str, bytes]:
            found = fs.cat_ranges(paths, None, None, on_error="return")
            for value in found:
                if isinstance(value, Exception) and not isinstance(value, FileNotFoundError):
                    raise value
            return {n: bytes(v) for n, v in zip(names, found, strict=True) if not isinstance(v, Exception)}

        return self._patiently("read", "", call)

    def write(self, name: str, data: bytes) -> None:
        """Replace the object, whole."""
        self._atomically("write", name, lambda fs, path: fs.pipe_file(path, data))

    def put(self, name: str, file: Path) -> None:
        """Replace the object by a local file's bytes, whole."""
        self._atomically("write", name, lambda fs, path: fs.put_file(str(file), path))

    def get(self, name: str, file: Path) -> None:
        """Write the object's bytes into a local file (the caller renames it)."""
        self._patiently("read", name, lambda fs, path: fs.get_file(path, str(file)))

    def copy(self, name: str, to: str) -> None:
        """Inside the store, where it can."""
        source = self._path(name)
        self._atomically("write", to, lambda fs, path: fs.cp_file(source, path))

    def remove(self, name: str) -> None:
        """Absent is as good as removed."""

        def call(fs: Any, path: str) -> None:
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                return

        self._patiently("remove", name, call)

    def find(self, under: str = "") -> dict[str, int]:
        """Every object below, name -> bytes, in one listing; empty where there is none."""
        root = self._path("")

        def call(fs: Any, path: str) -> dict[str, int]:
            fs.invalidate_cache()
            try:
                found = fs.find(path, detail=True)
            except FileNotFoundError:
                return {}
            return {p[len(root) :].lstrip("/"): int(i.get("size") or 0) for p, i in found.items() if p != root}

        return dict(self._patiently("list", under, call))

    def children(self, under: str = "") -> list[str]:
        """The last names of what lies directly below; empty where there is nothing."""

        def call(fs: Any, path: str) -> list[str]:
            fs.invalidate_cache()
            try:
                return [str(p).rstrip("/").rpartition("/")[2] for p in fs.ls(path, detail=False)]
            except FileNotFoundError:
                return []

        return list(self._patiently("list", under, call))

    def stamp(self, name: str = "") -> tuple[int, str]:
        """(bytes, a mark that changes with the content)."""

        def call(fs: Any, path: str) -> tuple[int, str]:
            fs.invalidate_cache()
            info = fs.info(path)
            if info.get("type") == "directory":
                raise FileNotFoundError(path)
            marks = ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "last_modified", "Last-Modified")
            mark = next((str(info[m]) for m in marks if info.get(m)), str(info.get("created", "")))
            return int(info.get("size") or 0), mark

        size, mark = self._patiently("read", name, call)
        return int(size), str(mark)

    def writable(self) -> None:
        """Try it, with a small object that is removed again. Raises StorageError."""
        name = f"{_PART}{uuid.uuid4().hex[:8]}"
        self.write(name, b"\0")
        self.remove(name)

    # -- how ---------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        uri = f"{self.uri}/{name}" if name else str(self.uri)
        fs = self.filesystem()
        return str(fs._strip_protocol(uri))

    def filesystem(self) -> Any:
        """The connection, which all threads of this process share."""
        scheme, _, rest = self.uri.partition("://")
        with _opening:
            return _opened(scheme.lower(), rest.partition("/")[0], os.getpid())

    def _atomically(self, verb: str, name: str, write: Callable[[Any, str], object]) -> None:
        def call(fs: Any, path: str) -> None:
            if self.uri.scheme in OBJECT_STORES:
                write(fs, path)
                return
            folder, _, last = path.rpartition("/")
            fs.makedirs(folder, exist_ok=True)
            part = f"{folder}/{_PART}{uuid.uuid4().hex[:8]}-{last}"
            try:
                write(fs, part)
                fs.mv(part, path)
            except BaseException:
                if fs.exists(part):
                    fs.rm_file(part)
                raise

        if self.uri.scheme in _READ_ONLY:
            raise StorageError(f"{str(self.uri)!r} can be read but not written to; choose a folder or s3://bucket/...")
        self._patiently(verb, name, call)

    def _patiently(self, verb: str, name: str, call: Callable[[Any, str], T]) -> T:
        """call(filesystem, path), again and again while it fails in a way that may pass."""
        patience = PATIENCE_S if self.patience_s is None else self.patience_s
        until, pause = time.monotonic() + patience, FIRST_PAUSE_S
        fs, path = self.filesystem(), self._path(name)
        while True:
            try:
                return call(fs, path)
            except StorageError:
                raise
            except Exception as e:
                if isinstance(e, FileNotFoundError) and verb in ("read", "list"):
                    raise
                if not _may_pass(e) or time.monotonic() + pause > until:
                    raise self._sentence(verb, name, e, patience) from e
            time.sleep(pause * random.uniform(0.7, 1.0))  # workers that were refused together come back apart
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _sentence(self, verb: str, name: str, e: Exception, patience_s: float) -> StorageError:
        where = str(self.uri / name) if name else str(self.uri)
        kind, scheme = type(e).__name__, self.uri.scheme
        if kind in _NO_KEYS:
            keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if scheme in ("s3", "s3a") else "its keys"
            return StorageError(f"There are no credentials for {where!r}; set {keys} in the environment.")
        if isinstance(e, FileNotFoundError):
            return StorageError(f"There is no place for {where!r}: its bucket or folder does not exist; make it first.")
        if isinstance(e, PermissionError):
            return StorageError(f"Access to {where!r} was denied; check its keys in the environment and their rights.")
        if isinstance(e, OSError) and e.errno in _FULL:
            disk = "disk for copies of remote files (DUB_SCRATCH names its folder)" if verb == "read" else "place"
            return StorageError(
                f"The {disk} was full when {where!r} was {_DONE[verb]}; make room there and run the same command "
                "again: finished shots are kept."
            )
        if _may_pass(e):
            return StorageError(
                f"{where!r} could not be {_DONE[verb]} for {patience_s:.0f} s ({_short(e)}); check the network and the "
                "endpoint, and run the same command again: finished shots are kept."
            )
        return StorageError(f"{where!r} cannot be {_DONE[verb]} ({_short(e)}); check its name.")


_opening = threading.Lock()


@lru_cache(maxsize=64)
def _opened(scheme: str, top: str, process: int) -> Any:
    """The file system of a bucket or server, for all threads of a process (fsspec's own cache has one for each)."""
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False} if scheme in OBJECT_STORES else {}
    if scheme in _EXTRAS:
        options["max_concurrency"] = 4  # parts of 50 MB held while a large file is uploaded
    uri = f"{scheme}://{top}"
    try:
        return fsspec.core.url_to_fs(uri, skip_instance_cache=True, **options)[0]
    except ImportError as e:
        hint = _EXTRAS.get(scheme) or fsspec.registry.known_implementations.get(scheme, {}).get("err", "")
        raise StorageError(f"{uri!r} needs a library that is not installed ({hint or e}).") from e
    except ValueError as e:
        raise StorageError(f"{uri!r} cannot be used ({e}); allowed are paths and s3://bucket/...") from e


def forget_connections() -> None:
    """Open them anew from here on: the environment with their addresses and keys has changed."""
    with _opening:
        _opened.cache_clear()


_DONE = {"read": "read", "write": "written", "list": "listed", "remove": "removed"}


def _short(e: Exception) -> str:
    text = re.sub(r"//[^/@\s]+@", "//", " ".join(str(e).split())) or "no reason given"  # no password of a proxy
    return f"{type(e).__name__}: {text[:160]}"


def _may_pass(e: Exception) -> bool:
    """Whether trying again can help."""
    if type(e).__name__ in (*_NO_KEYS, *_WRONG):
        return False
    if isinstance(e, OSError):
        return not isinstance(e, _LASTING) and e.errno not in _FULL
    return type(e).__module__.partition(".")[0] in _NETWORK
