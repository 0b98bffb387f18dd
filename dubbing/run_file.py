"""run.json as it is read back: how a run ended, and its manifest and settings, every part of it checked.

Whoever reads a run reads it here: `status`, `review`, `export`, `rerun`, `dataset prepare`, and `open_results`. A file
that was damaged, cut short or written by somebody else is named in one sentence, and nothing of it is believed: ids and
languages in it become folders. It knows nothing of what a run leaves beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dubbing.config import Config
from dubbing.errors import DubError, ManifestError, OutputError
from dubbing.inputs import json_value
from dubbing.manifest import Manifest, of_run
from dubbing.store import Store

__all__ = ["FILE", "RunFile", "read_run"]

FILE = "run.json"
MOST_BYTES = 64 << 20


class _Dub(BaseModel):
    """What is read of a dub's row."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    title: str
    language: str
    error: str | None = None


class _Plain(BaseModel):
    """What every run.json of this project has, and what is read of it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)
    state: Literal["running", "stopped", "finished"] = "finished"
    started: str = ""
    finished: str = ""
    error: str = ""
    exit_status: int | None = Field(None, ge=0, le=255)
    seconds: float = Field(0.0, ge=0)
    seconds_by_stage: dict[str, float] = {}
    done_now: int = Field(0, ge=0)
    found_done: int = Field(0, ge=0)
    dubs: list[_Dub] = []
    manifest: dict[str, Any]
    config: dict[str, Any] = {}


@dataclass(frozen=True)
class RunFile:
    """One run.json. plain: its values as they were written; state: running, stopped or finished, as it says itself;
    titles: (id, languages) of each; errors: why a dub has no master, by (title, language); config: its settings, the
    defaults where another version wrote them."""

    where: str
    plain: Mapping[str, Any]
    state: Literal["running", "stopped", "finished"]
    manifest: Manifest
    config: Config
    errors: Mapping[tuple[str, str], str | None]

    @property
    def titles(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((t.id, tuple(d.language for d in t.dubs)) for t in self.manifest.titles)


def read_run(store: Store, *, known_settings: bool = False) -> RunFile:
    """The run.json of an output folder or URI.

    known_settings: refuse one whose settings are of another version, instead of taking the defaults. Raises
    OutputError: there is none, it is damaged, or another version of dub wrote it.
    """
    path = store.root / FILE
    where = store.shown(path)
    try:
        data = store.read_bytes(path)
    except OSError as e:
        if not isinstance(e, FileNotFoundError | NotADirectoryError):
            raise OutputError(f"{where!r} cannot be read ({e.strerror}).") from e
        raise OutputError(
            f"There is no run.json in {store.shown(store.root)!r}; give the folder that a run writes to (its --out)."
        ) from e
    if len(data) > MOST_BYTES:
        raise OutputError(f"{where!r} has {len(data)} bytes and was not written by dub; run the job again.")
    try:
        value = json_value(data)
    except ValueError as e:
        raise OutputError(f"{where!r} is damaged ({_short(e)}); restore it, or run the job again.") from e
    if not isinstance(value, dict):
        raise OutputError(f"{where!r} was not written by dub (it holds no mapping); run the job again.")
    try:
        plain = _Plain.model_validate(value)
    except ValidationError as e:
        raise OutputError(f"{where!r} was not written by dub (at {_at(e)}); run the job again.") from e
    try:
        manifest = Manifest.model_validate(of_run(plain.manifest), strict=False)
    except ValidationError as e:
        raise OutputError(f"{where!r} holds no manifest of this version (at {_at(e)}); run the job again.") from e
    except (DubError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise OutputError(f"{where!r} holds no manifest of this version ({_short(e)}); run the job again.") from e
    try:
        config = Config.model_validate(plain.config, strict=False)
    except (ValidationError, ManifestError) as e:
        if known_settings:
            raise OutputError(f"{where!r} holds settings of another version of dub; run the job again.") from e
        config = Config()  # only the order of the worst shots rests on it
    errors = {(d.title, d.language): d.error for d in plain.dubs}
    return RunFile(where, value, plain.state, manifest, config, errors)


def _at(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "its top"
    return f"{place[:80]}: {_short(first['msg'])}"


def _short(what: object) -> str:
    text = " ".join(str(what).split())
    return (text if len(text) <= 120 else text[:117] + "...").rstrip(".")
