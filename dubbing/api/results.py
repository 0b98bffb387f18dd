"""What an output folder or URI holds, to be read from Python: how its run ended, shots, takes, patches, masters.

It only reads, at any moment, also while a run writes: whatever is there is whole. An object is a picture of the moment
at which it was opened; open again to see what came since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from dubbing import media
from dubbing.api.progress import read_figures
from dubbing.api.tables import to_pandas
from dubbing.config import Config
from dubbing.errors import DamagedResult, InputError
from dubbing.manifest import Manifest
from dubbing.provenance.claims import SIDECAR
from dubbing.records import Patch
from dubbing.remote import Uri, place
from dubbing.review import takes as on_disk
from dubbing.run_file import RunRecord, read_run
from dubbing.severity import severity
from dubbing.shot_table import FACE_SCHEMA, FACES, SCHEMA, read_table
from dubbing.store import PART, RESULT, Store, open_store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DubResults", "Results", "Take", "TitleResults", "open_results"]

PATIENCE_S = 15.0  # for which a place that does not answer is asked again: a person waits
_WORST = 5
State = Literal["running", "killed", "stopped", "finished"]


@dataclass(frozen=True)
class Take:
    """One attempt at one shot.

    shot: its id; id: 12 hex digits, of everything the take depends on; delivered: whether it is in the table of shots,
    and so in the master; generator: name and settings, as in a manifest; status: `dubbed`, or `untouched` with the
    reason; scores: columns of `dub.shot.1`, of its worst face, without those that were not measured; review_reason:
    which thresholds of the run it crosses, None where none; made: UTC, ISO 8601, empty where it lies at a URI; faces:
    the faces that have patches, `face_1` and so on; face_scores: of each of these that was scored, columns of
    `dub.face.1`, over the frames in which it is rendered.
    """

    shot: str
    id: str
    delivered: bool
    generator: Mapping[str, Any]
    status: str
    reason: str | None
    scores: Mapping[str, Any]
    review_reason: str | None
    made: str
    faces: tuple[str, ...]
    face_scores: Mapping[str, Mapping[str, Any]]
    _folder: Path = field(repr=False)
    _store: Store = field(repr=False)

    def patches(self, face: str | None = None, *, first: int | None = None, last: int | None = None) -> Iterator[Patch]:
        """The changed regions of the frames, in the order of the film, decoded one at a time.

        Each has frame (number in the title), x, y (its top left in the upright picture, pixels), bgr (uint8, (H, W, 3))
        and alpha (uint8, (H, W): 0 keeps the source, 255 replaces it). face: one of `faces`, None for all, one after
        another; first, last: only frames [first, last). A shot that was left alone has none.

        Raises InputError: there is no such face; DamagedResult (an OutputError): the take is damaged, or gone.
        """
        if face is not None and face not in self.faces:
            raise InputError(
                f"Take {self.id} of {self.shot} has no face {face!r}; it has: {', '.join(self.faces) or 'none'}."
            )
        return self._read(self.faces if face is None else (face,), first, last)

    def _read(self, faces: tuple[str, ...], first: int | None, last: int | None) -> Iterator[Patch]:
        if not faces:
            return
        with self._store.brought(self._folder) as (folder,):
            self._store.whole(folder)
            for face in faces:
                yield from media.read_patches(folder / face, first, last)


@dataclass(frozen=True)
class DubResults:
    """One language of one title. error: why there is no master or what is wrong with it, None where nothing is or
    nobody has said yet;
    made_by: the last run that wrote its table of shots, None where no record says so."""

    title: str
    language: str
    error: str | None
    made_by: RunRecord | None
    _store: Store = field(repr=False)
    _config: Config = field(repr=False)

    @cached_property
    def shots(self) -> pa.Table:
        """One row per shot, schema `dub.shot.1` (README, "What comes out"); no rows before the run has ended."""
        try:
            return read_table(self._store.read_bytes(self._table), self._store.shown(self._table))
        except FileNotFoundError:
            return SCHEMA.empty_table()

    @cached_property
    def faces(self) -> pa.Table:
        """One row per rendered face of a shot, schema `dub.face.1` (README, "What comes out"); no rows before the run
        has ended, or where an older version of dub wrote the folder."""
        try:
            return read_table(self._store.read_bytes(self._home / FACES), self._store.shown(self._home / FACES))
        except FileNotFoundError:
            return FACE_SCHEMA.empty_table()

    def to_pandas(self) -> pd.DataFrame:
        """`shots` as a DataFrame. Raises InputError where pandas is not installed."""
        return to_pandas(self.shots)

    @property
    def finished(self) -> bool:
        """Whether its table of shots is written."""
        return self.shots.num_rows > 0

    @property
    def counts(self) -> dict[str, int]:
        """Status (dubbed, untouched, failed) -> shots."""
        return dict(Counter(r["status"] for r in self._rows))

    @property
    def needs_review(self) -> int:
        """How many shots ask for a person."""
        return sum(bool(r["needs_review"]) for r in self._rows)

    @property
    def worst(self) -> pa.Table:
        """The shots that are not untouched, worst first, as the review page orders them: failed, then by how far they
        are over the thresholds of the config's `review`. Columns as of `shots`."""
        return pa.Table.from_pylist(self._worst_rows, self.shots.schema)

    @property
    def master(self) -> Path | Uri | None:
        """Where the master lies, the first where there are several; None where none was made yet."""
        return self.masters[0] if self.masters else None

    @property
    def masters(self) -> tuple[Path | Uri, ...]:
        """Where the masters of the last run lie, in the order in which they were asked for; not those that an earlier
        run was asked for under other names."""
        beginning, draft = f"{self.title}.{self.language}.", self._config.quality == "draft"
        there = (n for n in self._store.names(self._home, beginning) if n.suffix != SIDECAR)
        named = sorted(there, key=lambda n: (n.name.count("."), n))
        found = [n for n in named if n.name.startswith(f"{beginning[:-1]}{media.DRAFT}.") == draft]
        results = self._store.results(self._store.names(self._home, "master-")).values()
        order = [name for told in results if told for name in (told.get("file"), *told.get("others", ()))]
        made = [n for name in order for n in found if n.name == name]
        return tuple(place(self._store.shown(n)) for n in made or found)

    @cached_property
    def damage(self) -> str | None:
        """What is wrong with the master, as far as sizes tell; None where nothing is, or none was made."""
        signed = self._store.names(self._home, "signed-")
        for folder in [*self._store.names(self._home, "master-"), *signed]:
            told = self._store.results([folder]).get(folder, {})
            problem = "is damaged: result.json" if told is None else self._store.fault(folder, told)
            for master in self.masters:
                elsewhere = folder not in signed and any((one / master.name).exists() for one in signed)
                made = folder / master.name
                if problem is None and not elsewhere and isinstance(master, Path) and made.exists():
                    if master.stat().st_size != made.stat().st_size:
                        problem = f"has another length than {master.name} beside it"
            if problem:
                return f"{self._store.shown(folder)!r} {problem}; `dub run` its manifest again"
        return None

    @property
    def verified(self) -> bool | None:
        """Whether its masters were compared with the film and the dub and nothing differed; None where they were not
        compared (`proof: false`), or nobody has said yet."""
        return None if self.made_by is None else self.made_by.verified.get(f"{self.title}/{self.language}")

    @property
    def table(self) -> Path | Uri | None:
        """Where shots.parquet lies; None where it is not written yet."""
        return place(self._store.shown(self._table)) if self.finished else None

    def takes(self, shot: str) -> tuple[Take, ...]:
        """The takes of one shot, oldest first, whether the run has ended or not; empty where there is none yet.

        shot: its id, `shot_0004`. Raises InputError where a finished dub has no such shot.
        """
        row = next((r for r in self._rows if r["shot"] == shot), None)
        if row is None and self.finished:
            raise InputError(
                f"{self.title}/{self.language} has no shot {shot!r}; it has shot_0001 to {self._rows[-1]['shot']}."
            )
        delivered = row["take"] if row is not None and row["status"] == "dubbed" else None
        found = on_disk.read_takes(self._store, self._home, shot, delivered, "unknown", self._config.review)
        return tuple(
            Take(t.shot, t.id, t.current, t.generator, t.status, t.reason, t.scores, t.review_reason, t.made,
                 tuple(f.folder for f in t.faces), {f["track"].rsplit("/", 1)[-1]: f for f in t.scored}, t.folder,
                 self._store)
            for t in found
        )  # fmt: skip

    def take(self, shot: str) -> Take | None:
        """The take of a shot that is delivered; None where the source's own picture is. Raises as `takes`."""
        return next((t for t in self.takes(shot) if t.delivered), None)

    @property
    def out(self) -> str:
        """The output folder or URI."""
        return self._store.shown(self._store.root)

    def patch_folders(self) -> tuple[Path, ...]:
        """On this machine, a folder of patches for each face of the takes that are delivered, in the film's order.
        Of an output at a URI they stay where they are until this process ends.
        Raises DamagedResult (an OutputError): a take is damaged, or gone."""
        found: list[Path] = []
        for row in self._rows:
            if row["status"] == "dubbed":
                take = self._home / "takes" / row["shot"] / row["take"] / "patch"
                folder = Path(self._store.bring({"take": str(take)})["take"])
                self._store.whole(folder)
                found += sorted(folder.glob("face_*"))
        return tuple(found)

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.shots.to_pylist()
        return rows

    @property
    def _worst_rows(self) -> list[dict[str, Any]]:
        rows = sorted(self._rows, key=lambda r: severity(r, self._config.review), reverse=True)
        return [r for r in rows if r["status"] != "untouched"]

    @property
    def _home(self) -> Path:
        return self._store.dub(self.title, self.language)

    @property
    def _table(self) -> Path:
        return self._home / "shots.parquet"

    def to_dict(self) -> dict[str, Any]:
        """Counts, means, the five worst shots and where things are, as plain values."""
        dubbed = [r for r in self._rows if r["status"] == "dubbed"]
        return {
            "title": self.title,
            "language": self.language,
            "counts": self.counts,
            "reasons": dict(Counter(r["reason"] for r in self._rows if r["reason"])),
            "generators": dict(Counter(r["generator"] for r in dubbed)),
            "selected": sum(bool(r.get("selection")) for r in dubbed),
            "excluded_frames": sum(r.get("excluded_frames") or 0 for r in self._rows),
            "covered_frames": sum(r.get("covered_frames") or 0 for r in self._rows),
            "mixed_frames": sum(r.get("mixed_frames") or 0 for r in self._rows),
            "needs_review": self.needs_review,
            **{n: _mean(dubbed, n) for n in ("lse_d", "lse_c", "source_lse_d", "source_lse_c")},
            "worst": [{n: row[n] for n in _SHORT} for row in self._worst_rows[:_WORST]],
            "table": str(self.table) if self.table else None,
            "master": str(self.master) if self.master else None,
            "other_masters": [str(one) for one in self.masters[1:]],
            "verified": self.verified,
            "error": self.error or self.damage,
            "run": self.made_by.number if self.made_by else None,
        }


@dataclass(frozen=True)
class TitleResults:
    """One title. dubs: in the manifest's order."""

    id: str
    dubs: tuple[DubResults, ...]

    @property
    def frames(self) -> int:
        """Of its film, as its shots say; 0 before the first dub is finished."""
        ends = [d.shots["end_frame"].to_pylist() for d in self.dubs]
        return max((end for column in ends for end in column), default=0)


@dataclass(frozen=True)
class Results:
    """One output folder or URI, as it was when it was opened.

    out: where; state: running, killed (ended without a word: the same run goes on), stopped (by an error or a person),
    or finished; run: run.json; progress: figures of a run under way, else None; manifest: of the last run;
    runs: a record of each, oldest first; titles: all that is in the folder, whichever run made it.
    """

    out: str
    state: State
    run: Mapping[str, Any]
    progress: Mapping[str, Any] | None
    titles: tuple[TitleResults, ...]
    manifest: Manifest
    runs: tuple[RunRecord, ...]
    _store: Store = field(repr=False)

    @property
    def dubs(self) -> tuple[DubResults, ...]:
        """Every dub of every title."""
        return tuple(dub for title in self.titles for dub in title.dubs)

    @property
    def exit_code(self) -> int | None:
        """How the run ended: 0, 1, 2, 3, 4 or 130, as in the README; None while it goes on, or where it was killed."""
        code: int | None = self.run.get("exit_status") if self.state in ("stopped", "finished") else None
        return code

    @property
    def counts(self) -> dict[str, int]:
        """Status (dubbed, untouched, failed) -> shots of all finished dubs."""
        return dict(sum((Counter(d.counts) for d in self.dubs), Counter()))

    def dub(self, title: str, language: str) -> DubResults:
        """One dub. Raises InputError where the run has no such title or language."""
        found = next((d for d in self.dubs if (d.title, d.language) == (title, language)), None)
        if found is None:
            names = ", ".join(f"{d.title}/{d.language}" for d in self.dubs)
            raise InputError(f"There is no dub {title}/{language} in {self.out!r}; there is: {names or 'none'}.")
        return found

    def verify(self) -> tuple[str, ...]:
        """Looks at everything below `out` that runs have finished, all of its contents, and at tables and masters:
        what is damaged, a sentence each. `dubbing.run` makes it again; with its `verify` also what it need not read.

        Results of earlier versions of dub cannot be looked at: they carry no checksums.
        """
        found: list[str] = []
        store = open_store(self.out)
        folders = sorted(path.parent for path in store.find(store.root, RESULT))
        told = store.results(f for f in folders if not any(PART in part for part in f.parts))
        for folder, value in told.items():
            problem = "is damaged: result.json" if value is None else store.fault(folder, value, "all")
            if problem:
                found.append(f"{store.shown(folder)!r} {problem}")
        for dub in self.dubs:
            try:
                dub.shots  # noqa: B018 - reading it is looking at it
            except DamagedResult as e:
                found.append(str(e))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """What `dub status --json` prints."""
        dubs = [d.to_dict() for d in self.dubs]
        runs = [r.model_dump(mode="json") for r in self.runs]
        run = {k: v for k, v in self.run.items() if k not in ("runs", "earlier")}
        return {
            "out": self.out, "state": self.state, "run": run, "progress": self.progress, "dubs": dubs, "runs": runs,
        }  # fmt: skip


_SHORT = ("shot", "start_tc", "status", "lse_d", "source_lse_d", "lse_c", "source_lse_c", "lse_offset_frames",
          "sharpness", "silence_motion", "needs_review", "review_reason", "reason", "error")  # fmt: skip


def open_results(out: Path | str) -> Results:
    """What a run has left, finished or not. out: its output folder, or a URI.

    Raises OutputError (an InputError): no run has written there, or another version of dub has; StorageError: the
    place does not answer within 15 s.
    """
    store = open_store(out, PATIENCE_S)
    run = read_run(store)
    state: State = "killed" if run.state == "running" and not store.held() else run.state
    titles = (
        TitleResults(
            name,
            tuple(
                DubResults(name, language, run.error(name, language), run.maker(name, language), store, run.config)
                for language in languages
            ),
        )
        for name, languages in run.titles
    )
    progress = read_figures(store) if state == "running" else None
    return Results(str(out), state, run.plain, progress, tuple(titles), run.manifest, run.runs, store)


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [r[name] for r in rows if r[name] is not None]
    return round(sum(values) / len(values), 4) if values else None
