"""The folder of models: which files are there, whether they are right, and who accepted which licence.

    FOLDER/<file>          one per model, under its final name only when its size and hash were right
    FOLDER/<file>.part     a download that broke off; the next one goes on there
    FOLDER/accepted.json   licences: which text was accepted for which model, when, by whom
    FOLDER/added.json      hashes of models whose published hash is not known: the first file counts
    FOLDER/own.json        models that `dub train` made, under names of their own (`own`)
    FOLDER/.hashes.json    hashes by path, size and time, so that a file is read once; may be deleted

It loads nothing from anywhere (`download` does) and never opens a file as a checkpoint (`weights` does).
"""

from __future__ import annotations

import getpass
import hashlib
import os
import stat
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from dubbing.errors import ModelError, OutputError, several
from dubbing.inputs import not_a_file
from dubbing.models import own
from dubbing.models.added import added
from dubbing.models.entries import MODELS, SETS, Model, ModelSet
from dubbing.models.entries import find as find_entry
from dubbing.models.weights import is_program
from dubbing.store import PART, Store, content_key, output_error, read_json, user_folder

__all__ = ["ENVIRONMENT", "ModelStore", "State", "chosen", "digest", "folder", "is_present", "path", "require"]

ENVIRONMENT = "DUB_MODELS"
_BLOCK = 1 << 20
OnBytes = Callable[[int], None]


def folder(configured: str | Path | None = None) -> Path:
    """The folder of models: $DUB_MODELS, else the configured one, else the user's data folder.

    That is $XDG_DATA_HOME/dub/models; without it ~/Library/Application Support/dub/models on macOS and
    ~/.local/share/dub/models elsewhere. Nothing is created.
    """
    said = os.environ.get(ENVIRONMENT) or configured
    if said:
        return Path(said).expanduser().absolute()
    return user_folder("data") / "models"


def path(name: str, *, configured: str | Path | None = None) -> Path:
    """The local file of a model, its hash checked (and remembered by size and time).

    configured: the folder the configuration names, if any. Raises ModelError: unknown name, absent (with
    the next step), another file than the published one.
    """
    return ModelStore(folder(configured)).checked(name)


def digest(name: str, *, configured: str | Path | None = None) -> str:
    """sha256 (hex) of a model's checked file; its first 12 digits name it in results. Raises ModelError."""
    model_store = ModelStore(folder(configured))
    return model_store.hash_of(model_store.checked(name))


def chosen(model: str, configured: str | Path | None = None) -> tuple[Path, str]:
    """(file, sha256) of a model that a setting names: one of `dub models`, or the path of the user's own file, which
    has a / in it. Raises ModelError: as `path`; a relative path; no such file."""
    if "/" not in model:
        return path(model, configured=configured), digest(model, configured=configured)
    file = Path(model).expanduser()
    if not file.is_absolute():
        raise ModelError(f"model: {model!r} is a relative path; give it from / or from ~.")
    if not file.is_file():
        raise ModelError(f"There is no model file {model!r}; `dub models list` shows those by name.")
    return file, content_key(file)


def require(names: Sequence[str], *, configured: str | Path | None = None) -> None:
    """Raise ModelError unless each of these models is on this machine: one sentence with the missing files, and the one
    command that brings them. Files are looked for, not read."""
    model_store = ModelStore(folder(configured))
    absent = [m for m in map(model_store.find, dict.fromkeys(names)) if not model_store.file(m).is_file()]
    if absent:
        whole = next((s.name for s in model_store.sets if set(s.models) == set(names)), None)
        files = ", ".join(m.file for m in absent)
        raise ModelError(
            f"Missing of {several(len(set(names)), 'model')} in {str(model_store.root)!r}: {files}; run "
            f"`dub models pull {whole or ' '.join(m.name for m in absent)}`."
        )


def is_present(name: str, *, configured: str | Path | None = None) -> bool:
    """Whether there is a file for that model; not whether it is right. Raises ModelError: unknown name."""
    model_store = ModelStore(folder(configured))
    return model_store.file(model_store.find(name)).is_file()


@dataclass(frozen=True)
class State:
    """The state of one model in the folder. size: bytes of its file or of its part, 0 if there is neither."""

    model: Model
    path: Path
    state: Literal["present", "wrong size", "partly", "absent"]
    size: int


class ModelStore:
    """One folder of models. root need not exist; models: the entries that it may hold, besides those that other
    packages add; sets: names for several of them; `MODELS` and `SETS` where nothing is said."""

    def __init__(
        self, root: Path, models: Sequence[Model] | None = None, sets: Sequence[ModelSet] | None = None
    ) -> None:
        self.root, self.models = root, MODELS if models is None else models
        known = {m.name for m in self.models}
        self.sets = [s for s in (SETS if sets is None else sets) if known.issuperset(s.models)]

    @property
    def every(self) -> tuple[Model, ...]:
        """The published models, those that other packages add, and those of `own`."""
        return (*self.published, *own.entries(self.root))

    @property
    def published(self) -> tuple[Model, ...]:
        """The published models, and those that other packages add."""
        return (*self.models, *added(self.models).models)

    def wanted(self, name: str, file: Path) -> Model:
        """The entry that `file` would be added as: a published one, or a new one of your own. Raises ModelError."""
        published = self.published
        if any(m.name == name for m in published):
            return self.find(name)
        return own.described(name, file, ", ".join(m.name for m in published))

    def find(self, name: str) -> Model:
        """The entry of that name. Other packages are asked only where it is none of ours. Raises ModelError: there is
        none; PluginError: there is none, and a package could not be asked."""
        known = (*self.models, *own.entries(self.root))
        if any(m.name == name for m in known):
            return find_entry(name, known)
        more = added(self.models)
        if more.problems and all(m.name != name for m in more.models):
            raise more.problems[0]
        return find_entry(name, (*known, *more.models))

    def named(self, names: Sequence[str]) -> list[Model]:
        """The entries of these names, each once; the name of a set means several. Raises as `find`."""
        sets = {s.name: s.models for s in self.sets}
        return [self.find(n) for n in dict.fromkeys(n for name in names for n in sets.get(name, (name,)))]

    def file(self, model: Model) -> Path:
        """The path of the model's file."""
        return self.root / model.file

    def part(self, model: Model) -> Path:
        """The path of its unfinished download."""
        return self.root / f"{model.file}.part"

    # -- what is there -----------------------------------------------------------------------

    def states(self) -> list[State]:
        """The state of every model, by names and sizes of files alone."""
        return [self.state(m) for m in self.every]

    def state(self, model: Model) -> State:
        """The state of one model, by the name and size of its file."""
        file, part = self.file(model), self.part(model)
        if file.is_file():
            size = file.stat().st_size
            return State(model, file, "present" if model.size in (None, size) else "wrong size", size)
        if part.is_file():
            return State(model, part, "partly", part.stat().st_size)
        return State(model, file, "absent", 0)

    def expected(self, model: Model) -> str | None:
        """The sha256 that the model's file must have: the published one, or that of the first file added."""
        if model.sha256 is not None:
            return model.sha256
        record = self._records("added.json").get(model.name, {})
        return str(record["sha256"]) if "sha256" in record else None

    def checked(self, name: str) -> Path:
        model = self.find(name)
        file = self._there(model)
        self.compare(model, file, self.hash_of(file), repr(str(file)))
        return file

    def _there(self, model: Model) -> Path:
        file = self.file(model)
        if file.is_file():
            return file
        raise ModelError(f"The model {model.name!r} is not on this machine ({str(file)!r}); {self._next_step(model)}")

    def compare(self, model: Model, file: Path, found: str, shown: str) -> None:
        """Raise ModelError unless `file`, whose sha256 is `found`, is the model; `shown` is what to call it."""
        expected = self.expected(model)
        if expected is None:
            raise ModelError(
                f"{shown} was never added, and nothing says what {model.name!r} must be; run "
                f"`dub models add {model.name} FILE` with a file you trust."
            )
        if found != expected:
            which = "published" if model.sha256 else "first added"
            raise ModelError(
                f"{shown} is not the {which} {model.file}: {file.stat().st_size} bytes with sha256 {found}, not "
                f"{model.size or 'those'} with {expected}; {self._next_step(model)}"
            )

    def _next_step(self, model: Model) -> str:
        if model.urls:
            return f"run `dub models pull {model.name}`."
        return f"get {model.file} ({model.by_hand}; {model.source}) and run `dub models add {model.name} FILE`."

    def hash_of(self, file: Path) -> str:
        """sha256 (hex) of a file here, read only when its size or time changed. Raises ModelError."""
        try:
            stamp = file.stat()
            return _hash(str(file), stamp.st_size, stamp.st_mtime_ns)
        except OSError as e:
            raise ModelError(f"The model file {str(file)!r} cannot be read ({e.strerror or e}).") from e

    def verify(self, model: Model, on_bytes: OnBytes = lambda n: None) -> str:
        """Read the model's whole file now and return its sha256. Raises ModelError: absent, wrong."""
        file = self._there(model)
        try:
            found = _copy(file, None, on_bytes=on_bytes)
        except OSError as e:
            raise ModelError(f"The model file {str(file)!r} cannot be read ({e.strerror or e}).") from e
        self.compare(model, file, found, repr(str(file)))
        return found

    # -- what comes in -----------------------------------------------------------------------

    def look_at(self, model: Model, source: Path, on_bytes: OnBytes | None = None) -> None:
        """Raise ModelError where a file cannot be that model: none is there, of another size, not the published one.
        on_bytes: told while its content is read; None: it is not read."""
        try:
            kind = source.stat()
        except OSError as e:
            raise ModelError(f"No such file: {str(source)!r} ({e.strerror or e}).") from e
        if not stat.S_ISREG(kind.st_mode):
            raise ModelError(f"{str(source)!r} is not a file; give the path of {model.file}.")
        if model.size not in (None, kind.st_size):
            what = "is a TorchScript program, no checkpoint," if is_program(source) else f"has {kind.st_size} bytes"
            raise ModelError(
                f"{str(source)!r} is not the published {model.file} ({model.source}): it {what} where that has "
                f"{model.size} bytes{f' and the sha256 {model.sha256}' if model.sha256 else ''}."
            )
        if model.sha256 is not None and on_bytes is not None:
            try:
                found = _copy(source, None, on_bytes=on_bytes)
            except OSError as e:
                raise ModelError(f"{str(source)!r} cannot be read ({e.strerror or e}).") from e
            self.compare(model, source, found, repr(str(source)))

    def add(self, name: str, source: Path, on_bytes: OnBytes = lambda n: None) -> tuple[Path, str, bool]:
        """Copy a file here as that model: (where, its sha256, whether the hash is now trusted for the first time).

        The licence must have been accepted where it limits use. Raises ModelError: no such file, too large,
        not the published file; OutputError: the folder cannot be written.
        """
        model = self.wanted(name, source)
        self.look_at(model, source)
        self.require_acceptance(model)
        final = self.file(model)
        part = final.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{model.file}")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            found = _copy(source, part, limit=model.limit_bytes, on_bytes=on_bytes)
            first = self.accept_file(model, part, found, str(source.absolute()), repr(str(source)))
            if model not in self.published:
                self._record(own.FILE, model.name, own.record(model))
        except OSError as e:
            if str(e.filename) == str(source):
                raise ModelError(f"{str(source)!r} cannot be read ({e.strerror or e}).") from e
            raise output_error(final, e) from e
        finally:
            with suppress(OSError):
                part.unlink()
        return final, found, first

    def accept_file(self, model: Model, part: Path, found: str, origin: str, shown: str) -> bool:
        """Give a whole file its final name, if it is the model; True where its hash is trusted on first use.

        Raises ModelError when it is not the model, OSError when it cannot be renamed.
        """
        file = self.file(model)
        first = model.sha256 is None and (self.expected(model) is None or not file.exists())
        if first:
            record = {"sha256": found, "size": part.stat().st_size, "from": origin, **_who()}
            self._record("added.json", model.name, record)
        self.compare(model, part, found, shown)
        os.replace(part, file)
        return first

    # -- licences ----------------------------------------------------------------------------

    def is_accepted(self, model: Model) -> bool:
        """Whether the licence limits nothing, or its present text was accepted once, for this or another model."""
        records = self._records("accepted.json").values()
        return not model.licence.limited or any(r.get("licence") == model.licence.text for r in records)

    def accept(self, model: Model) -> None:
        """Record that a person accepted the licence, with date and name. Raises OutputError."""
        self._record("accepted.json", model.name, {"licence": model.licence.text, **_who()})

    def require_acceptance(self, model: Model) -> None:
        """Raise ModelError where the licence limits use and nobody accepted it."""
        if not self.is_accepted(model):
            raise ModelError(
                f"{model.name!r} is for {model.licence.use} only ({model.source}): say with --accept-licence that your "
                "use is within that."
            )

    # -- small files -------------------------------------------------------------------------

    def _records(self, file: str) -> dict[str, dict[str, Any]]:
        """A JSON file of records by model; empty where it cannot be read."""
        try:
            records = read_json(self.root / file)
        except (OSError, ValueError):
            return {}
        found = records.items() if isinstance(records, dict) else ()
        return {str(k): v for k, v in found if isinstance(v, dict)}

    def _record(self, file: str, name: str, record: dict[str, Any]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        Store(self.root).write_json(self.root / file, {**self._records(file), name: record})


def _who() -> dict[str, str]:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user number without an account, as in containers
        name = f"user {os.getuid()}"
    return {"by": name, "at": datetime.now(UTC).isoformat(timespec="seconds")}


@lru_cache(maxsize=64)
def _hash(file: str, size: int, time_ns: int) -> str:
    """The hash of a file as it was at that size and time; remembered beside it where the folder can be written."""
    where = Path(file)
    if kind := not_a_file(where):
        raise ModelError(f"{file!r} is {kind}, and not a model file.")
    with suppress(OutputError, AttributeError):
        return content_key(where, where.with_name(".hashes.json"))
    return content_key(where)


def _copy(source: Path, to: Path | None, *, limit: int | None = None, on_bytes: OnBytes) -> str:
    """Read a file, write it where `to` says, and return its sha256. Raises ModelError past `limit` bytes."""
    seen, count = hashlib.sha256(), 0
    with source.open("rb") as f, open(os.devnull if to is None else to, "wb") as out:
        while block := f.read(_BLOCK):
            seen.update(block)
            count += len(block)
            if limit is not None and count > limit:
                raise ModelError(f"{str(source)!r} is larger than the {limit} bytes that are taken.")
            out.write(block)
            on_bytes(len(block))
        if to is not None:
            out.flush()
            os.fsync(out.fileno())
    return seen.hexdigest()
