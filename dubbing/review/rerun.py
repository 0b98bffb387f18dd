"""New takes of some shots, by another generator or other settings, beside the old ones.

The same tasks as a run's, of those shots only: no master is made, and nothing is chosen. Knows no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dubbing.analysis.asked import within
from dubbing.artifacts.takes import Scores, Take
from dubbing.config import Config
from dubbing.decisions import ShotKey
from dubbing.engine import Event, do_tasks
from dubbing.errors import InputError, OutputError
from dubbing.job import Job
from dubbing.manifest import Dub, GeneratorChoice, Manifest, Title
from dubbing.place import TitleTasks
from dubbing.records import Shot
from dubbing.rendered_by import RenderedBy, needs_faces
from dubbing.review.library import Library
from dubbing.run_file import RunPart
from dubbing.store import Store
from dubbing.task import Outcome, Task

__all__ = ["Made", "TakesOf", "rerun", "shots_named"]

_MADE = (Take, Scores)  # what is made anew of a shot
_FEW = 3  # shots that one process does sooner than workers start


@dataclass(frozen=True)
class Made:
    """What became of one shot. take: the new take's id, None where it failed; known: whether the same take was there
    before; error: of one that failed."""

    key: ShotKey
    take: str | None
    known: bool
    error: str | None


class TakesOf(Job):
    """The takes and scores of some shots. What they need is done already: else `tasks` raises OutputError."""

    def __init__(self, manifest: Manifest, out: Store, config: Config, keys: Iterable[ShotKey]) -> None:
        super().__init__(manifest, out, config)
        self._keys = set(keys)

    def tasks(self, failed: Mapping[str, Outcome] | None = None) -> list[Task]:
        every = super().tasks(failed)
        wanted = [t for t in every if t.kind.Result in _MADE and (t.title, t.language, t.shot) in self._keys]
        mine = {t.id for t in wanted}
        needed = {n for t in wanted for n in (*t.needs, *t.after)} - mine
        done = [t for t in every if t.id in needed and self.done(t)]
        if len(done) < len(needed) or len({t.id for t in wanted if t.window is None}) < len(_MADE) * len(self._keys):
            raise OutputError("The run of these shots is not finished; `dub run` its manifest, then rerun.")
        return [*done, *wanted]


class _Rerun(TakesOf):
    """The same by another generator; None: by those of the manifest, whatever reviewers chose."""

    def __init__(self, library: Library, part: RunPart, keys: Sequence[ShotKey], choice: RenderedBy | None) -> None:
        super().__init__(part.manifest, library.store, part.config, keys)
        self._choice = choice
        for title in part.manifest.titles:
            if any(key[0] == title.id for key in keys):
                self.recall(title)

    def candidates(self, title: Title, dub: Dub, shot: Shot, known: TitleTasks) -> tuple[RenderedBy, ...] | None:
        if self._choice is not None and (title.id, dub.language, shot.id) in self._keys:
            return (self._choice,)
        return super().candidates(title, dub, shot, known)

    def chosen(self, title: str, language: str, shot: str) -> RenderedBy | None:
        return None if (title, language, shot) in self._keys else super().chosen(title, language, shot)

    def refuse_left(self) -> None:
        """Raises InputError where the run was told to leave a shot as it is, or where several takes would be made."""
        for task in self.tasks():
            if task.variant is not None and (task.title, task.language, task.shot) in self._keys:
                names = ", ".join(choice.name for choice in self.manifest.generators)
                raise InputError(
                    f"{task.title}/{task.language}/{task.shot} has several takes by its manifest; name the generator "
                    f"that is to render it again, of {names} or another."
                )
        for title in self.manifest.titles:
            for dub in title.dubs:
                ranges = self.asked(title, dub)
                for shot in (self.shots(title) or []) if ranges is not None else []:
                    mine = (title.id, dub.language, shot.id) in self._keys
                    if mine and not within(ranges or (), shot.start_frame, shot.end_frame):
                        raise InputError(
                            f"{title.id}/{dub.language}/{shot.id} was left as it is, as 'only' or 'leave' says; run "
                            "again with it among what is asked for, then rerun it."
                        )


def rerun(
    library: Library, keys: Sequence[ShotKey], choice: RenderedBy | GeneratorChoice | None, reviewer: str,
    on_part: Callable[[float, str], None], engine: str | None = None,
) -> list[Made]:  # fmt: skip
    """Render and score these shots with `choice`, None: by what their manifest names for them. A record of kind `rerun`
    is appended for each.

    on_part: told how much is done, 0..1, and the stage at work; engine: ray or local; None: local for a few shots.
    Raises InputError: no such shot, one that the run left as it was told to, or of which the manifest has several takes
    and no generator is named; another run writes there, the generator cannot be used.
    """
    named = RenderedBy(choice) if isinstance(choice, GeneratorChoice) else choice
    for key in keys:
        library.find(*key)
    jobs: list[tuple[list[ShotKey], _Rerun]] = []
    plain: dict[ShotKey, dict[str, Any] | None] = {}
    for part in library.parts:
        mine = [key for key in keys if library.part(*key[:2]) is part]
        if mine:
            own = named
            if named is None and not needs_faces(part.manifest.rules):
                own = RenderedBy(part.manifest.generators[0])
            for one in own.every if own is not None else part.manifest.generators:
                library.choice({"name": one.name, **one.settings})
            said = own.decision if own is not None else None
            plain |= dict.fromkeys(mine, said)
            job = _Rerun(library, part, mine, own)
            job.refuse_left()
            jobs.append((mine, job))
    for key in keys:
        library.log.append(key, "rerun", reviewer, generator=plain[key])
    made: dict[ShotKey, Made] = {}
    for n, (mine, job) in enumerate(jobs):

        def on_share(share: float, stage: str, before: int = n) -> None:
            on_part((before + share) / len(jobs), stage)

        made |= _rendered(job, mine, on_share, engine or ("local" if len(keys) <= _FEW else "ray"))
    return [made[key] for key in keys]


def _rendered(
    job: _Rerun, keys: Sequence[ShotKey], on_part: Callable[[float, str], None], engine: str
) -> dict[ShotKey, Made]:
    made_by = {
        (t.kind.Result, t.title, t.language, t.shot): t
        for t in job.tasks()
        if t.kind.Result in _MADE and t.window is None
    }
    known = {name for name, t in made_by.items() if job.done(t)}
    failed = do_tasks(job, engine, _Counter(on_part))
    made = {}
    for key in keys:
        broken = next((o for kind in _MADE if (o := failed.get(made_by[kind, *key].id))), None)
        take = None if broken else made_by[Take, *key].key[:12]
        made[key] = Made(key, take, (Take, *key) in known, broken.error if broken else None)
    return made


class _Counter:
    """How much of the takes and scores is done, from an engine's events."""

    def __init__(self, on_part: Callable[[float, str], None]) -> None:
        self._on_part, self._whole, self._done = on_part, 0, 0

    def __call__(self, event: Event) -> None:
        if event.kind == "planned":
            mine = [event.totals[s] for s in ("lipsync", "sync") if s in event.totals]
            self._whole, self._done = sum(t[2] for t in mine), sum(t[3] for t in mine)
        elif event.kind == "frames":
            self._done += event.frames
        if event.kind in ("planned", "frames", "started"):
            self._on_part(min(1.0, self._done / self._whole) if self._whole else 0.0, event.stage)


def shots_named(library: Library, names: Sequence[str]) -> list[ShotKey]:
    """The shots that a person names, in the order of the film: `shot_0004` or `4` (in every dub), `fr/shot_0004`,
    `reel/fr/4`, `review` (all that need review), `rejected`.

    Raises InputError where a name fits none.
    """
    rows = sorted(library.rows(), key=lambda r: (r["title"], r["language"], r["order"]))
    found: set[ShotKey] = set()
    for name in names:
        hits = {(r["title"], r["language"], r["shot"]) for r in rows if _fits(name, r)}
        if not hits:
            raise InputError(
                f"No shot fits {name!r}; write shot_0004 or 4, fr/shot_0004, reel/fr/4, `review` for all that need "
                "review, or `rejected`."
            )
        found |= hits
    return [key for r in rows if (key := (r["title"], r["language"], r["shot"])) in found]


def _fits(name: str, row: Mapping[str, Any]) -> bool:
    if name == "review":
        return bool(row["needs_review"])
    if name == "rejected":
        return row["verdict"] == "rejected"
    *where, shot = name.split("/")
    if shot.isdecimal():
        shot = Shot(int(shot), 0, 0).id
    place = [row["title"], row["language"]]
    return row["shot"] == shot and place[len(place) - len(where) :] == where if len(where) <= 2 else False
