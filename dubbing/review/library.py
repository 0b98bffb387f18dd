"""What an output folder holds for a reviewer: every shot of every dub, its takes, its words, what was decided.

Reads only, at any moment; what a run or a rerun adds meanwhile is seen at the next call. Knows no page.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from dubbing import sequences
from dubbing.artifacts.people import Cast, People, Span, named_tracks, names_of, spans_of
from dubbing.clock import Timeline
from dubbing.decisions import DecisionLog, ShotKey, Standing
from dubbing.errors import DubError, InputError, ManifestError, MediaError, OutputError
from dubbing.job import Job, Step
from dubbing.manifest import Dub, Title
from dubbing.remote import Uri, place
from dubbing.rendered_by import RenderedBy
from dubbing.review.takes import Take, read_takes
from dubbing.run_file import RunFile, RunPart, read_run
from dubbing.severity import parts, severity
from dubbing.shot_table import read_rows
from dubbing.store import open_store
from dubbing.words import TABLE as WORDS
from dubbing.words import Word, joined, read_words

__all__ = ["TitleFilm", "Library", "Shown", "Take"]


@dataclass(frozen=True)
class TitleFilm:
    """A title's picture. size: upright (width, height) in pixels; rate: nominal frames a second; frames_hint: as its
    header promises."""

    size: tuple[int, int]
    rate: Fraction
    frames_hint: int


@dataclass(frozen=True)
class Shown:
    """One shot in one language, with all that a page may ask of it."""

    title: Title
    dub: Dub
    step: Step
    line: Timeline
    row: Mapping[str, Any]
    standing: Standing
    takes: tuple[Take, ...]

    @property
    def key(self) -> ShotKey:
        return self.title.id, self.dub.language, self.step.shot.id

    @property
    def current(self) -> Take | None:
        """The take in the master, unless the source's own picture is (`delivers_source`)."""
        return next((t for t in self.takes if t.current), None)

    @property
    def delivers_source(self) -> bool:
        """Whether reviewers put the source's own picture in the place of the current take."""
        return self.current is not None and self.standing.delivers_source(self.current.id)

    def take(self, take_id: str) -> Take:
        """The take of that id, or `current`. Raises InputError where there is none."""
        wanted = [t for t in self.takes if t.id == take_id or (take_id == "current" and t.current)]
        if not wanted:
            raise InputError(
                f"{self.step.shot.id} has no take {take_id!r}; it has: {', '.join(t.id for t in self.takes) or 'none'}."
            )
        return wanted[0]


@dataclass(frozen=True)
class _Listed:
    """Rows as they were when the tables had `stamp` and the log `seq` records; order: the same, worst first."""

    stamp: tuple[int, ...]
    rows: dict[ShotKey, dict[str, Any]]
    order: list[dict[str, Any]] = field(default_factory=list)
    seq: int = 0


class Library:
    """One output folder. Safe to ask from several threads. left_out: dubs of earlier runs that cannot be shown, and
    why.

    Raises OutputError where the folder holds no finished run, or lies at a URI.
    """

    def __init__(self, out: Path | Uri | str) -> None:
        where = place(out)
        if isinstance(where, Uri):
            raise OutputError(
                f"A review plays films from this machine's disk; copy {str(where)!r} here, and name that folder."
            )
        self.out = where
        self._lock = threading.RLock()
        self._rows: dict[Path, tuple[int, list[dict[str, Any]]]] = {}
        self._listed: _Listed | None = None
        self._plans: dict[tuple[str, str], tuple[Timeline, dict[str, Step]]] = {}
        self._films: dict[str, TitleFilm] = {}
        self._spans: dict[str, tuple[tuple[int, ...], Mapping[Span, str]]] = {}
        self._characters: dict[str, tuple[tuple[int, ...], Mapping[str, str]]] = {}
        self._heard: dict[Path, tuple[int, list[Word]]] = {}
        self._jobs: tuple[tuple[int, ...], dict[int, Job]] | None = None
        self.log = DecisionLog(where)
        found = read_run(open_store(where), known_settings=True)
        self.run_file, self.run, self.config = found, found.plain, found.config
        self.left_out: dict[str, str] = {}
        self.parts = self._with_files(found)
        self._part_of = {(t.id, d.language): n for n, part in enumerate(self.parts) for t, d in part.dubs()}

    @cached_property
    def store(self) -> Any:
        return open_store(self.out)

    def _with_files(self, found: RunFile) -> tuple[RunPart, ...]:
        """The parts without those dubs of earlier runs whose film or sound is gone: these are `left_out`, and keep
        nobody from reviewing what the last run made."""
        parts = []
        for part in found.parts:
            kept = []
            for title, dub in part.dubs():
                files = () if found.of_last_run(title.id, dub.language) else (title.video, dub.audio)
                gone = [f for f in files if isinstance(f, Path) and not sequences.is_there(f)]
                if gone:
                    self.left_out[f"{title.id}/{dub.language}"] = f"{gone[0]} is gone; bring it back."
                else:
                    kept.append((title.id, dub.language))
            parts.append(part.only(kept))
        return tuple(part for part in parts if part)

    def part(self, title: str, language: str) -> RunPart:
        """By which manifest and settings a dub was made. Raises InputError where there is no such dub."""
        if (title, language) not in self._part_of:
            raise InputError(f"There is no dub {title}/{language} in {str(self.out)!r}.")
        return self.parts[self._part_of[title, language]]

    def job(self, title: str, language: str) -> Job:
        """The job that a dub belongs to, without what was decided, which is looked up shot by shot; made anew when a
        table was. Raises InputError where there is no such dub."""
        with self._lock:
            part, stamp = self.part(title, language), self.tables_stamp()
            if self._jobs is None or self._jobs[0] != stamp:
                self._jobs = (stamp, {})
                self._plans.clear()
            n = self._part_of[title, language]
            if n not in self._jobs[1]:
                self._jobs[1][n] = job = Job(part.manifest, self.store, part.config)
                job.decisions = {}
            job = self._jobs[1][n]
            if title not in job.descriptors:
                with suppress(DubError, FileNotFoundError):  # its film is gone: whoever needs it says so
                    job.recall(next(t for t in part.manifest.titles if t.id == title))
            return job

    def dubs(self) -> list[tuple[Title, Dub]]:
        """Every title with every one of its dubs, those of the last run first."""
        return [pair for part in self.parts for pair in part.dubs()]

    def tables_stamp(self) -> tuple[int, ...]:
        """Changes whenever a run, an export or listening has written a table anew."""
        found = []
        for title, dub in self.dubs():
            home, analysis = self.store.dub(title.id, dub.language), self.store.analysis(title.id)
            found += [_changed_ns(path) for path in (home / "shots.parquet", home / WORDS, analysis / WORDS)]
        return tuple(found)

    def film(self, title: str) -> TitleFilm:
        """The picture of a title, by its header. Raises MediaError where it cannot be opened."""
        with self._lock:
            if title not in self._films:
                source, dub = next(pair for pair in self.dubs() if pair[0].id == title)
                info = self.job(title, dub.language).info(source)
                assert info.video is not None
                self._films[title] = TitleFilm(info.upright_size, info.video.rate, info.video.frames_hint)
            return self._films[title]

    def characters(self, title: str) -> Mapping[str, str]:
        """The character of each face track of a title that is known: as pictures say, and over that as reviewers say
        now."""
        with self._lock:
            records = self.log.records()
            stamp = (len(records), self.log.generation, *self.tables_stamp())
            if self._characters.get(title, ((), {}))[0] != stamp:
                whole, dub = next(pair for pair in self.dubs() if pair[0].id == title)
                known = (job := self.job(title, dub.language)).analysis(whole)
                people: People | None = job.result(known.get(People))
                cast: Cast | None = job.result(known.get(Cast))
                said = self.said(title)
                seen = {t: cast.characters[t] for t in cast.likeness if t not in said} if cast else {}
                named = named_tracks(people, [(t, name) for t, name in said.items() if name]) if people else {}
                self._characters[title] = (stamp, seen | named)
            return self._characters[title][1]

    def said(self, title: str) -> Mapping[str, str]:
        """The name of each face track of a title, as reviewers say now; empty where it was taken away."""
        with self._lock:
            records = [r for r in self.log.records() if r.title == title and r.kind == "name"]
            stamp = self.tables_stamp()
            if self._spans.get(title, ((), {}))[0] != stamp and any(r.spans for r in records):
                whole, dub = next(pair for pair in self.dubs() if pair[0].id == title)
                self._spans[title] = (stamp, spans_of(self.job(title, dub.language).shots(whole) or ()))
            shots = self._spans.get(title, ((), {}))[1]
            return names_of(records, {title: shots} if shots else {}).get(title, {})

    def heard(self, title: str, language: str | None) -> list[Word]:
        """What was heard in a dub, in order: of each character where there are stems; None: in the original. Nothing
        where nobody has listened."""
        home = self.store.analysis(title) if language is None else self.store.dub(title, language)
        with self._lock:
            stamp = _changed_ns(home / WORDS)
            if self._heard.get(home, (-1, []))[0] != stamp:
                words = read_words(self.store, home) if stamp else []
                named = [w for w in words if w.character is not None]
                self._heard[home] = (stamp, sorted(named or words, key=lambda w: w.start_s))
            return self._heard[home][1]

    # -- all shots ---------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Every shot of every dub, as in its shots.parquet, and: severity, severity_parts, verdict, by, at, revision,
        comments (how many), comment_severity (the worst of them), chosen (take), reject_reasons, said and source_said
        (what is heard in it, None where nobody has listened) and order (place in the film); character is as
        reviewers say now.

        Worst first; dubs that are not finished have none. Shared between callers: not to be changed.
        """
        with self._lock:
            records = self.log.records()
            stamp = (self.log.generation, *self.tables_stamp())
            if self._listed is None or self._listed.stamp != stamp or self._listed.seq > len(records):
                self._listed = _Listed(stamp, {})
                changed = None
            else:
                new = records[self._listed.seq :]
                changed = None if any(r.kind == "name" for r in new) else {r.key for r in new}
            if changed is None or changed:
                self._list(self._listed.rows, changed)
                order = sorted(self._listed.rows.values(), key=_worst_first)
                self._listed = _Listed(stamp, self._listed.rows, order, len(records))
            return self._listed.order

    def _list(self, rows: dict[ShotKey, dict[str, Any]], keys: set[ShotKey] | None) -> None:
        """Put the rows of some shots, None for all, among `rows` as they are now."""
        limits = self.config.review
        for title, dub in self.dubs():
            if keys is not None and not any(key[:2] == (title.id, dub.language) for key in keys):
                continue
            said, names = self._said(title, dub), self.said(title.id)
            for n, row in enumerate(self._table(title, dub)):
                key = (title.id, dub.language, row["shot"])
                if keys is not None and key not in keys:
                    continue
                now = self.log.of(key)
                full = {**row, "order": n, **said(row), **self._chosen(title, dub, row, now)}
                full |= _standing(now, full["take"])
                if full["face"] in names:
                    full["character"] = names[full["face"]] or None
                full["severity"] = round(severity(full, limits), 3)
                full["severity_parts"] = {k: round(v, 3) for k, v in parts(full, limits).items()}
                rows[key] = full

    def _said(self, title: Title, dub: Dub) -> Callable[[Mapping[str, Any]], dict[str, str | None]]:
        """What is heard in a row's shot, by the middles of the words."""
        every = {"said": self.heard(title.id, dub.language), "source_said": self.heard(title.id, None)}
        if not any(every.values()):
            return lambda row: dict.fromkeys(every)
        try:
            line = self.job(title.id, dub.language).timeline(title)
        except (DubError, OSError):  # another version's: whoever opens the shot is told
            return lambda row: dict.fromkeys(every)
        middles = {name: [(w.start_s + w.end_s) / 2 for w in words] for name, words in every.items()}

        def said(row: Mapping[str, Any]) -> dict[str, str | None]:
            a, b = (float(line.time(row[f])) for f in ("start_frame", "end_frame"))
            return {
                name: joined(words[bisect_left(middles[name], a) : bisect_left(middles[name], b)]) or None
                for name, words in every.items()
            }

        return said

    def _table(self, title: Title, dub: Dub) -> list[dict[str, Any]]:
        path = self.store.dub(title.id, dub.language) / "shots.parquet"
        try:
            stamp = path.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if self._rows.get(path, (0, []))[0] != stamp:
            self._rows[path] = (stamp, read_rows(path))
        return self._rows[path][1]

    def _chosen(self, title: Title, dub: Dub, row: Mapping[str, Any], now: Standing) -> dict[str, Any]:
        """What differs from its row where another take was chosen since."""
        if now.take is None or now.take == row["take"]:
            return {}
        home, limits = self.store.dub(title.id, dub.language), self.config.review
        generator = self.part(title.id, dub.language).manifest.generators[-1].name
        found = read_takes(self.store, home, row["shot"], None, generator, limits)
        take = next((t for t in found if t.id == now.take), None)
        if take is None:
            return {}
        own = {name: value for name, value in take.row(limits).items() if name in row}
        actor = row["actor"] if own.get("face", row["face"]) == row["face"] else None
        needs = own["review_reason"] is not None and not now.approves(take.id)
        gone = {name: None for name in row if name.startswith("metric_")}
        return gone | own | {"needs_review": needs, "error": None, "actor": actor}

    # -- one shot ----------------------------------------------------------------------------

    def find(self, title: str, language: str, shot: str) -> Shown:
        """One shot. Raises InputError where there is none, MediaError where its film is gone, OutputError where its run
        must be done again."""
        with self._lock:
            pair = next(((t, d) for t, d in self.dubs() if t.id == title and d.language == language), None)
            row = next((r for r in self._table(*pair) if r["shot"] == shot), None) if pair else None
            if pair is None or row is None:
                raise InputError(f"There is no shot {title}/{language}/{shot} in {str(self.out)!r}.")
            line, steps = self._planned(*pair)
            step = replace(steps[row["shot"]], decided=self.log.of((title, language, shot)))
            return Shown(*pair, step, line, row, step.decided, tuple(self._takes(step, row)))

    def _planned(self, title: Title, dub: Dub) -> tuple[Timeline, dict[str, Step]]:
        """The film's times, and what is done for each shot in one language; looked up once."""
        key = (title.id, dub.language)
        job = self.job(*key)
        if key not in self._plans:
            try:
                steps = {step.shot.id: step for step in job.dub(title, dub, {}).steps}
                line = job.timeline(title) if steps else None
            except FileNotFoundError as e:
                raise MediaError(f"{e.filename!r} is gone; bring it back, and go on.") from e
            if line is None:
                raise OutputError(
                    f"What was analysed of {title.id}/{dub.language} was made by other settings or another version; "
                    "`dub run` its manifest again, then review."
                )
            self._plans[key] = (line, steps)
        return self._plans[key]

    def _takes(self, step: Step, row: Mapping[str, Any]) -> list[Take]:
        """All takes of a shot in one language, oldest first."""
        current = step.decided.take or row["take"] or step.take.key[:12]
        home = self.store.dub(row["title"], row["language"])
        generator = self.part(row["title"], row["language"]).manifest.generators[-1].name
        return read_takes(self.store, home, step.shot.id, current, generator, self.config.review)

    def choice(self, generator: Mapping[str, Any]) -> RenderedBy:
        """Generators as a client named them. Raises InputError (unknown name or setting, missing weights)."""
        from dubbing.generators import create  # slow to load

        try:
            by = RenderedBy.said(generator)
        except (ManifestError, TypeError) as e:
            raise InputError(f"A generator is a name and its settings; found {dict(generator)!r}.") from e
        for choice in by.every:
            if endless := [n for n, v in choice.settings.items() if isinstance(v, float) and not math.isfinite(v)]:
                raise InputError(f"generator {choice.name}: {', '.join(endless)}: a finite number is needed.")
            create(choice.name, choice.settings, self.config.models.folder, device="cpu").check()
        return by


def _changed_ns(path: Path) -> int:
    """When a file was last written; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _worst_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (-row["severity"], row["title"], row["language"], row["order"])


def _standing(now: Standing, take: str | None) -> dict[str, Any]:
    """What was decided, for a row; one on another take than the row's is none on it; that a take is chosen holds."""
    order = ("note", "issue", "blocker")
    worst = max((c.severity for c in now.comments if c.severity), key=order.index, default=None)
    holds = now.verdict in ("original", "chosen") or take is None or now.about == take
    verdict, by, at = (now.verdict, now.by, now.at) if holds else (None, None, None)
    if verdict is None and now.take is not None:
        verdict, by, at = "chosen", now.chosen_by, now.chosen_at
    return {
        "verdict": verdict, "by": by, "at": at, "revision": now.revision, "comments": len(now.comments),
        "comment_severity": worst, "chosen": now.take,
        "reject_reasons": list(now.reasons) if verdict == "rejected" else [],
    }  # fmt: skip
