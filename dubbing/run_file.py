"""run.json: how the last run ended, its manifest and settings, and what earlier runs into the same folder did.

A run into a folder in which others have written replaces `manifest` and `config`, keeps under `earlier` the manifest
and settings of those dubs that it was not asked for, and adds a record to `runs`. Whoever reads a run reads it here:
`status`, `review`, `export`, `rerun`, `dataset prepare`, and `open_results`. A file that was damaged, cut short or
written by somebody else is named in one sentence, and nothing of it is believed: ids and languages in it become
folders. Of what a run leaves beside it, it knows only whether a dub's table of shots is there.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dubbing.config import Config
from dubbing.errors import DubError, ManifestError, OutputError, StorageError
from dubbing.inputs import json_value
from dubbing.manifest import Dub, Manifest, Title
from dubbing.remote import place
from dubbing.store import Store

__all__ = ["FILE", "RunFile", "RunPart", "RunRecord", "account", "begun", "read_run"]

FILE = "run.json"
MOST_BYTES = 64 << 20
MOST_RUNS = 500  # records that are kept, the newest; each dub's manifest and settings are kept however old they are
State = Literal["running", "stopped", "finished"]


class _Dub(BaseModel):
    """What is read of a dub's row."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    title: str
    language: str
    error: str | None = None


class RunRecord(BaseModel):
    """One run. number: counts from 1 in its folder; command: `run` or `export`; by: whose account; started, finished:
    UTC, ISO 8601; manifest: the file that was given, empty where there was none; asked: title -> languages in that
    manifest; made: title -> languages whose table of shots it wrote; errors: `title/language` -> why it made no
    master, or what is wrong with it; verified: `title/language` -> whether its masters are proven, where they were
    compared."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)
    number: int = Field(1, ge=1)
    command: str = "run"
    by: str = ""
    dub: str = ""
    engine: str = ""
    started: str = ""
    finished: str = ""
    state: State = "finished"
    exit_status: int | None = Field(None, ge=0, le=255)
    seconds: float = Field(0.0, ge=0)
    manifest: str = ""
    asked: dict[str, list[str]] = {}
    made: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    verified: dict[str, bool] = {}


class _Earlier(BaseModel):
    """Dubs that later runs were not asked for, with what they were made by."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    run: int = Field(ge=1)
    manifest: dict[str, Any]
    config: dict[str, Any] = {}


class _Plain(BaseModel):
    """What every run.json of this project has, and what is read of it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)
    state: State = "finished"
    dub: str = ""
    engine: str = ""
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
    runs: list[RunRecord] = []
    earlier: list[_Earlier] = []


@dataclass(frozen=True)
class RunPart:
    """Dubs that were made by one manifest and one set of settings. run: number of the last run that was asked for them;
    config: the defaults where another version wrote its settings; known: whether it did not."""

    run: int
    manifest: Manifest
    config: Config
    known: bool
    plain_config: Mapping[str, Any]

    def dubs(self) -> Iterator[tuple[Title, Dub]]:
        """Every title with every one of its dubs."""
        return ((title, dub) for title in self.manifest.titles for dub in title.dubs)

    def only(self, wanted: Iterable[tuple[str, str]]) -> RunPart | None:
        """The same with these dubs only, by (title, language); None where none is left."""
        keys, titles = set(wanted), []
        for title in self.manifest.titles:
            dubs = [d for d in title.dubs if (title.id, d.language) in keys]
            if dubs:
                titles.append(title.model_copy(update={"dubs": dubs}))
        return replace(self, manifest=self.manifest.model_copy(update={"titles": titles})) if titles else None


@dataclass(frozen=True)
class RunFile:
    """One run.json. plain: its values as they were written; state: running, stopped or finished, as it says itself;
    manifest: of the last run; config: its settings, the defaults where another version wrote them; runs: a record of
    each, oldest first; parts: every dub that is in the folder, in one part each, those of the last run first."""

    where: str
    plain: Mapping[str, Any]
    state: State
    manifest: Manifest
    config: Config
    runs: tuple[RunRecord, ...]
    parts: tuple[RunPart, ...]

    @property
    def titles(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(id, languages) of every title that is in the folder."""
        found: dict[str, list[str]] = {}
        for part in self.parts:
            for title, dub in part.dubs():
                found.setdefault(title.id, []).append(dub.language)
        return tuple((title, tuple(languages)) for title, languages in found.items())

    def of_last_run(self, title: str, language: str) -> bool:
        """Whether the last run, exports aside, was asked for a dub; True where no record says so."""
        last = next((r for r in reversed(self.runs) if r.command == "run" and r.asked), None)
        return last is None or language in last.asked.get(title, ())

    def maker(self, title: str, language: str) -> RunRecord | None:
        """The last run that wrote this dub's table of shots; None where no record says so."""
        return next((r for r in reversed(self.runs) if language in r.made.get(title, ())), None)

    def error(self, title: str, language: str) -> str | None:
        """Why a dub has no master, or what is wrong with it; None where nothing is, or nobody has said yet."""
        for record in reversed(self.runs):
            error = record.errors.get(f"{title}/{language}")
            if error or language in record.made.get(title, ()):
                return error
        return None


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
    runs = tuple(plain.runs) or (_only_record(plain),)
    last = _part(where, runs[-1].number, plain.manifest, plain.config)
    if known_settings and not last.known:
        raise OutputError(f"{where!r} holds settings of another version of dub; run the job again.")
    earlier = [_there(store, _part(where, e.run, e.manifest, e.config)) for e in plain.earlier]
    parts = _joined([last, *(p for p in earlier if p and (p.known or not known_settings))])
    return RunFile(where, value, plain.state, last.manifest, last.config, runs, parts)


def begun(store: Store, job: Manifest, **about: Any) -> tuple[RunRecord, dict[str, Any], str | None]:
    """What a new run starts its run.json with: its own record, not yet among `runs`; `runs` and `earlier`, as plain
    values; and why nothing is known of the runs before it, None where it is.

    job: what the run is asked for; about: fields of the record. Raises StorageError: the place does not answer.
    """
    try:
        before = read_run(store)
    except StorageError:
        raise
    except OutputError as e:
        there = bool(store.names(store.root, FILE))
        return RunRecord(**about), {"runs": [], "earlier": []}, str(e) if there else None
    mine = {(t.id, d.language) for t in job.titles for d in t.dubs}
    kept = (part.only({(t.id, d.language) for t, d in part.dubs()} - mine) for part in before.parts)
    earlier = [
        {"run": p.run, "manifest": p.manifest.model_dump(mode="json"), "config": dict(p.plain_config)}
        for p in (_there(store, one) for one in kept if one) if p
    ]  # fmt: skip
    runs = [r.model_dump(mode="json") for r in before.runs[-MOST_RUNS + 1 :]]
    return RunRecord(number=before.runs[-1].number + 1, **about), {"runs": runs, "earlier": earlier}, None


def account() -> str:
    """Whose account this is, for records; `unknown` where the machine does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _only_record(plain: _Plain) -> RunRecord:
    """The run of a file that keeps no records: one that was written before they were kept."""
    titles = plain.manifest.get("titles")
    asked: dict[str, list[str]] = {}
    for row in plain.dubs:
        asked.setdefault(row.title, []).append(row.language)
    ended = plain.state == "finished" and isinstance(titles, list)
    return RunRecord(
        started=plain.started, finished=plain.finished, state=plain.state, exit_status=plain.exit_status,
        seconds=plain.seconds, dub=plain.dub, engine=plain.engine, asked=asked, made=asked if ended else {},
        errors={f"{row.title}/{row.language}": row.error for row in plain.dubs if row.error},
    )  # fmt: skip


def _part(where: str, run: int, manifest: Mapping[str, Any], config: Mapping[str, Any]) -> RunPart:
    try:
        read = Manifest.model_validate(_of_run(manifest), strict=False)
    except ValidationError as e:
        raise OutputError(f"{where!r} holds no manifest of this version (at {_at(e)}); run the job again.") from e
    except (DubError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise OutputError(f"{where!r} holds no manifest of this version ({_short(e)}); run the job again.") from e
    try:
        return RunPart(run, read, Config.model_validate(config, strict=False), True, config)
    except (ValidationError, ManifestError):
        return RunPart(run, read, Config(), False, config)  # only the order of the worst shots rests on it


def _there(store: Store, part: RunPart) -> RunPart | None:
    """The same with those dubs only whose table of shots is there: what a person has removed is not kept."""
    keys = ((t.id, d.language) for t, d in part.dubs())
    return part.only(key for key in keys if store.names(store.dub(*key), "shots.parquet"))


def _joined(parts: Iterable[RunPart]) -> tuple[RunPart, ...]:
    """The same dubs, each once, the first counts; those of the same generator, settings and film in one part."""
    found: list[RunPart] = []
    seen: set[tuple[str, str]] = set()
    for one in parts:
        keys = {(t.id, d.language) for t, d in one.dubs()} - seen
        part = one.only(keys)
        seen |= keys
        if part is None:
            continue
        fits = (n for n, other in enumerate(found) if _same(other, part))
        n = next(fits, None)
        if n is None:
            found.append(part)
        else:
            found[n] = _with(found[n], part)
    return tuple(found)


def _same(a: RunPart, b: RunPart) -> bool:
    films = {t.id: t.model_copy(update={"dubs": []}) for t in a.manifest.titles}
    one, two = (
        (p.config, p.known, *(getattr(p.manifest, name) for name in ("generator", "master", "provenance", "consent")))
        for p in (a, b)
    )
    return one == two and all(films.get(t.id) in (None, t.model_copy(update={"dubs": []})) for t in b.manifest.titles)


def _with(a: RunPart, b: RunPart) -> RunPart:
    more = {t.id: t for t in b.manifest.titles}
    titles = [
        t.model_copy(update={"dubs": [*t.dubs, *more.pop(t.id).dubs]}) if t.id in more else t for t in a.manifest.titles
    ]
    return replace(a, manifest=a.manifest.model_copy(update={"titles": [*titles, *more.values()]}))


def _at(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "its top"
    return f"{place[:80]}: {_short(first['msg'])}"


def _short(what: object) -> str:
    text = " ".join(str(what).split())
    return (text if len(text) <= 120 else text[:117] + "...").rstrip(".")


def _of_run(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as run.json holds it, its files as a manifest at hand has them."""
    plain: dict[str, Any] = json.loads(json.dumps(manifest))
    for title in plain["titles"]:
        title |= {k: place(title[k]) for k in ("video", "shots") if title.get(k)}
        if (title.get("original") or {}).get("dialogue"):
            title["original"]["dialogue"] = place(title["original"]["dialogue"])
        if (title.get("actors") or {}).get("also"):
            title["actors"]["also"] = [place(out) for out in title["actors"]["also"]]
        for dub in title["dubs"]:
            dub |= {k: place(dub[k]) for k in ("audio", "dialogue", "lines") if dub.get(k)}
            if dub.get("stems"):
                dub["stems"] = {k: place(v) for k, v in dub["stems"].items()}
        for member in (title.get("cast") or {}).values():
            member |= {k: place(member[k]) for k in ("voice",) if member.get(k)}
            if member.get("face"):
                member["face"] = [place(f) for f in member["face"]]
    return plain
