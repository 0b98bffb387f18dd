"""Downloads of models into the model store by http and https: whole and checked, or not at all.

It speaks to no other scheme, whatever a redirect says, loads no more bytes than the entry allows, and
leaves what it could not finish in `<file>.part`, where the next attempt goes on. It asks the
model store whether a licence was accepted.

Written out here because pooch (1.9) does not do that: it begins anew after every break and deletes what it had, loads
whatever length a server sends before it looks at the hash, follows a redirect from https to http, tries one source,
and lets two processes load the same file.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import shutil
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

from dubbing import __version__
from dubbing.errors import ModelError, OutputError
from dubbing.models.entries import Model
from dubbing.models.store import ModelStore
from dubbing.store import content_key, output_error

__all__ = ["mirrored", "pull"]

BLOCK = 1 << 18
MAX_HOPS = 5
OnBytes = Callable[[int, int | None], None]
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class _Broken(Exception):
    """The connection failed in a way that may pass. The text says how."""


def pull(
    model_store: ModelStore,
    name: str,
    *,
    mirror: str | None = None,
    on_bytes: OnBytes = lambda done, total: None,
    timeout_s: float = 30.0,
    tries: int = 3,
    pause_s: float = 1.0,
) -> tuple[Path, bool]:
    """The model's file in the model store: (path, whether it was loaded now). A right file is not loaded again.

    mirror: a base address; its `<base>/<file>` is then the only source. on_bytes: told (bytes so far, all
    bytes or None). timeout_s: how long a server may stay silent; tries, pause_s: attempts per source, and
    the seconds between them, for faults that may pass. Raises ModelError: unknown name, licence not
    accepted, no source, the server's refusal, another size or hash than published; OutputError: no room.
    """
    model = model_store.find(name)
    if _is_right(model_store, model):
        return model_store.file(model), False
    sources = (mirrored(mirror, model),) if mirror else model.urls
    if not sources:
        raise ModelError(
            f"{model.name!r} cannot be pulled: {model.by_hand}. Get {model.file} (sha256 "
            f"{model.sha256 or 'not known'}; {model.source}) and run `dub models add {model.name} FILE`, or set "
            "`mirror` in the group `models` of the configuration."
        )
    model_store.require_acceptance(model)
    with _growing(model_store, model) as part:
        if _is_right(model_store, model):  # by another process, while this one asked for the lock
            return model_store.file(model), False
        for i, url in enumerate(sources):
            try:
                return _from(url, model_store, model, part, on_bytes, timeout_s, tries, pause_s), True
            except ModelError:
                if i == len(sources) - 1:
                    raise
    raise AssertionError("unreachable: the last source returns or raises")


def _is_right(model_store: ModelStore, model: Model) -> bool:
    """Whether there is nothing to load. A file without a published hash is never replaced: ModelError if wrong."""
    try:
        return model_store.file(model).is_file() and bool(model_store.checked(model.name))
    except ModelError:
        if model.sha256 is None:
            raise
        return False


def mirrored(base: str, model: Model) -> str:
    """The address of a model at a mirror. Raises ModelError unless the base is an http or https address."""
    return _allowed(f"{base.rstrip('/')}/{quote(model.file)}")


@contextmanager
def _growing(model_store: ModelStore, model: Model) -> Iterator[IO[bytes]]:
    """The part file, open to read and append, held by this process alone."""
    path = model_store.part(model)
    while True:
        try:
            model_store.root.mkdir(parents=True, exist_ok=True)
            part = path.open("a+b", buffering=0)
        except OSError as e:
            raise output_error(path, e) from e
        with part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                raise ModelError(f"{model.name!r} is being pulled by another process; wait for it to end.") from e
            try:
                ours = os.path.samestat(os.fstat(part.fileno()), os.stat(path))
            except FileNotFoundError:
                ours = False
            if not ours:  # another process finished it meanwhile, so this is the model itself and must not be written
                continue
            try:
                yield part
            finally:
                if _size(part) == 0:
                    path.unlink(missing_ok=True)
            return


def _from(
    url: str,
    model_store: ModelStore,
    model: Model,
    part: IO[bytes],
    on_bytes: OnBytes,
    timeout_s: float,
    tries: int,
    pause_s: float,
) -> Path:
    """Load from one source, with repeated tries. An incomplete part is kept for the next try, a wrong one is not."""
    host, fault, resumed = urlsplit(url).netloc, "", _size(part) > 0
    for attempt in range(tries):
        if attempt:
            time.sleep(pause_s)
        if model.sha256 is None or _size(part) > model.limit_bytes:
            part.truncate(0)  # without a hash, parts of two different files could not be told apart
        try:
            if model.size is None or _size(part) != model.size:
                _load(url, model, part, on_bytes, timeout_s)
            found = content_key(model_store.part(model))
            if resumed and found != model.sha256:  # the part was of another file: start anew
                part.truncate(0)
                resumed = False
                _load(url, model, part, on_bytes, timeout_s)
                found = content_key(model_store.part(model))
            os.fsync(part.fileno())
            try:
                model_store.accept_file(model, model_store.part(model), found, url, f"What {host} sent")
            except ModelError:
                part.truncate(0)
                raise
            return model_store.file(model)
        except _Broken as e:
            fault = str(e)
        except OSError as e:
            raise _full(part, e) from e
    have = _size(part)
    kept = f" after {have} of {model.size} bytes; run the command again to go on there" if have else ""
    raise ModelError(f"{model.name!r} could not be loaded from {host}: {fault}{kept}.")


def _size(part: IO[bytes]) -> int:
    return os.fstat(part.fileno()).st_size


def _load(url: str, model: Model, part: IO[bytes], on_bytes: OnBytes, timeout_s: float) -> None:
    """Append what is missing. Raises _Broken where trying again may help, else ModelError."""
    have = _size(part)
    ask = urllib.request.Request(url, headers={"User-Agent": f"dub/{__version__}", "Accept-Encoding": "identity"})
    if have:
        ask.add_header("Range", f"bytes={have}-")
    host = urlsplit(url).netloc
    try:
        with _opener().open(ask, timeout=timeout_s) as answer:
            total = _begin(answer, model, part, have, host)
            have = _size(part)
            _need_room(part, model, have)
            on_bytes(have, total)
            while block := answer.read1(BLOCK):
                have += len(block)
                if have > model.limit_bytes:
                    part.truncate(0)
                    raise ModelError(
                        f"{host} sends more than the {model.limit_bytes} bytes of {model.file}; nothing was kept."
                    )
                _append(part, block)
                on_bytes(have, total)
    except urllib.error.HTTPError as e:
        e.close()
        answered = f"{e.code} {http.client.responses.get(e.code, '')}".strip()
        if e.code == 416:  # the server has no bytes after these, so they are no part of its file
            part.truncate(0)
            raise _Broken("what was there did not fit") from e
        if e.code in _AGAIN:
            raise _Broken(f"it answered {answered}") from e
        raise ModelError(
            f"{host} answered {answered} for {url}; get {model.file} ({model.source}) by hand and run "
            f"`dub models add {model.name} FILE`."
        ) from e
    except TimeoutError as e:
        raise _Broken(f"no answer within {timeout_s:g} s") from e
    except urllib.error.URLError as e:
        if isinstance(e.reason, TimeoutError):
            raise _Broken(f"no answer within {timeout_s:g} s") from e
        raise _Broken(f"no connection ({e.reason})") from e
    except (http.client.HTTPException, OSError) as e:
        raise _Broken(f"the connection broke ({e or type(e).__name__})") from e
    if total is not None and have < total:
        raise _Broken("the connection broke off")


def _begin(answer: Any, model: Model, part: IO[bytes], have: int, host: str) -> int | None:
    """Read an answer's head, make the part end where its body begins, and return the whole size, if it says."""
    whole: int | None
    if answer.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != have:
            part.truncate(0)
            raise _Broken("it answered with another part of the file")
        whole = int(span[2])
    else:
        length = answer.headers.get("Content-Length", "")
        whole = int(length) if length.isdecimal() else None
    if model.size is not None and whole not in (None, model.size):
        page = "a web page" if answer.headers.get_content_type() == "text/html" else f"{whole} bytes"
        raise ModelError(f"{host} offers {page} where {model.file} has {model.size} bytes; nothing was loaded.")
    if answer.status != 206:
        part.truncate(0)
    return model.size if whole is None else whole


def _append(part: IO[bytes], block: bytes) -> None:
    try:
        rest = memoryview(block)
        while rest:
            rest = rest[part.write(rest) :]
    except OSError as e:
        raise _full(part, e) from e


def _need_room(part: IO[bytes], model: Model, have: int) -> None:
    folder = Path(part.name).parent
    missing, free = (model.size or 0) - have, shutil.disk_usage(folder).free
    if missing > free:
        raise OutputError(f"{str(folder)!r} has {free} bytes free, and {model.file} needs {missing} more.")


def _full(part: IO[bytes], e: OSError) -> OutputError:
    error = output_error(Path(part.name), e)
    return OutputError(str(error).replace("finished shots are kept", "it goes on where it was"))


# -- http ------------------------------------------------------------------------------------


def _allowed(url: str) -> str:
    """The address, if it is one to load from. Raises ModelError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        good = False
    if not good:
        raise ModelError(f"{url!r} is no address to load a model from: http:// or https:// and a host are allowed.")
    if parts.username is not None or parts.password is not None:
        raise ModelError(f"The address of {parts.hostname} holds a user name or password, which is not supported.")
    return url


class _Redirects(urllib.request.BaseHandler):
    """To http and https only, never from https back to http, at most MAX_HOPS; the body is not read."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()
        target = urljoin(req.full_url, headers.get("Location", ""))
        hops = getattr(req, "hops", 0) + 1
        if urlsplit(target).scheme not in ("http", "https") or target == req.full_url or hops > MAX_HOPS:
            raise ModelError(f"{req.host} redirects to {target!r}, which is not followed: only http and https are.")
        if req.type == "https" and urlsplit(target).scheme != "https":
            raise ModelError(f"{req.host} redirects from https to {target!r}, which is not followed.")
        onward = urllib.request.Request(quote(_allowed(target), safe=string.punctuation), headers=req.headers)
        onward.hops = hops  # type: ignore[attr-defined]
        return self.parent.open(onward, timeout=req.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Handlers of http and https alone: no file:, ftp: or data:. Proxies are the environment's."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
