"""What other runs lend to the actors of a title: the dialogue of the same people, in numbers.

Before a run begins it is copied out of their output folders into the title's own analysis, and written down there. From
then on the title needs these folders no more: whoever looks at the run, exports it or goes on with it reads the copy.
Who is who is decided where actors are fitted.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from dubbing.artifact import File, Ref
from dubbing.artifacts.actors import FittedActors, LentActors, lent_folder, recorded, save_looks, write_record
from dubbing.artifacts.descriptors import Descriptors
from dubbing.artifacts.people import Cast
from dubbing.artifacts.speakers import SpeakerList
from dubbing.errors import InputError, OutputError, several
from dubbing.inputs import json_bytes
from dubbing.job import Job
from dubbing.manifest import Title
from dubbing.remote import Uri
from dubbing.run_file import read_run
from dubbing.stages.actors import looks_of
from dubbing.store import RESULT, Store, key_of, open_store
from dubbing.task import Task

__all__ = ["foreseen", "take"]

VERSION = 1


@dataclass(frozen=True)
class _Lender:
    """A title of another run. key: of all that it lends."""

    where: str
    key: str
    store: Store
    fitted: Task
    actors: FittedActors
    speakers: SpeakerList
    cast: Cast | None
    described: tuple[Ref[Descriptors] | None, ...]

    @property
    def about(self) -> str:
        """`out/one, title pilot: 312 s of 2 people`."""
        seconds = sum(self.actors.used_s.values())
        return f"{self.where}: {seconds:.0f} s of {several(len(self.actors.minutes_files), 'person', 'people')}"


def foreseen(job: Job, title: Title) -> list[str]:
    """What a run would take for a title, as notes; this job plans with it. Raises InputError as `take`."""
    notes: list[str] = []
    files: list[File] = []
    for n, out in enumerate(title.actors.also if title.actors else ()):
        lenders, earlier = _found(job, title, out, n)
        if earlier is not None:
            notes.append(f"{title.id}: {str(out)!r} is not there any more; what was taken from it earlier is used.")
        notes += [
            f"{title.id}: of {one.about} what the same people say is used, where they are known for sure."
            for one in lenders
        ]
        keys = earlier or [one.key for one in lenders]
        files += [File(lent_folder(job.store, title.id, key) / RESULT, key) for key in keys]
    if title.actors:
        job.taken[title.id] = tuple(dict.fromkeys(files))
    return notes


def take(job: Job) -> None:
    """Copy what other runs lend into the analysis of every title that asks for it.

    Raises InputError with the key of the title that is at fault: no output folder of a run, this run's own, one whose
    analysis is not there or is another version's, one of the same film.
    """
    asking = [title for title in job.manifest.titles if title.actors]
    if not asking:
        return
    with job.store.lock():
        for title in asking:
            before = recorded(job.store, title.id)
            taken = dict(before)
            for n, out in enumerate(title.actors.also if title.actors else ()):
                lenders, earlier = _found(job, title, out, n)
                taken[str(out)] = [one.key for one in lenders] if earlier is None else earlier
                for lender in lenders:
                    _copy(job, title, lender)
            if taken != before:
                write_record(job.store, title.id, taken)
            job.taken.pop(title.id, None)


def _found(job: Job, title: Title, out: Path | Uri, n: int) -> tuple[list[_Lender], list[str] | None]:
    """The titles of another run that lend; or the keys of what was taken from it, where it is not there any more."""
    at = ("actors", "also", n)
    store = open_store(out)
    if _same_place(store, job.store):
        raise InputError(
            f"{job.store.shown(job.store.root)!r} is the output folder of this very run, whose own dialogue is used "
            "anyway; name the --out of another run.",
            at=at,
        )
    try:
        run = read_run(store, known_settings=True)
    except OutputError as e:
        earlier = recorded(job.store, title.id).get(str(out))
        if earlier and all(job.store.done(lent_folder(job.store, title.id, key)) for key in earlier):
            return [], earlier
        raise OutputError(f"Nothing can be learnt from {str(out)!r}: {e}", at=at) from e
    film = job.file(title.video).content
    lenders: list[_Lender] = []
    for part in run.parts:
        other = Job(part.manifest, store, part.config)
        for lent in part.manifest.titles:
            try:
                if other.file(lent.video).content != film:
                    lenders.append(_lender(other, lent, str(out)))
            except FileNotFoundError as e:
                raise InputError(
                    f"{e.filename!r}, the film of title {lent.id} in {str(out)!r}, is gone, so what is known of it "
                    "cannot be found; bring it back, or leave this folder out.",
                    at=at,
                ) from e
            except InputError as e:
                e.at = at
                raise
    unique = list({one.key: one for one in lenders}.values())
    if not unique:
        raise InputError(f"{str(out)!r} holds the same film as title {title.id}, and no other; leave it out.", at=at)
    return unique, None


def _lender(other: Job, title: Title, out: str) -> _Lender:
    other.recall(title)
    known = other.analysis(title)
    fitted, speakers = known.get(FittedActors), known.get(SpeakerList)
    actors, who = other.result(fitted), other.result(speakers)
    if fitted is None or speakers is None or actors is None or who is None:
        raise InputError(
            f"Title {title.id} in {out!r} has no fitted actors of this version of dub: its run did not get so far, or "
            "was another version's. Run it again, or leave this folder out."
        )
    shots = other.shots(title) or []
    described = [known.get(Descriptors, None, shot.id) for shot in shots] if other.face_descriptor else []
    faces = tuple(t.ref if t is not None and other.done(t) else None for t in described)
    cast: Cast | None = other.result(known.get(Cast))
    names = dict(cast.characters) if cast else {}
    key = key_of("lent", VERSION, fitted.key, names, [f.key if f else None for f in faces])
    return _Lender(f"{out}, title {title.id}", key, other.store, fitted, actors, who, cast, faces)


def _copy(job: Job, title: Title, lender: _Lender) -> None:
    """Put what a title lends where it is kept, unless it is there and whole."""
    final = lent_folder(job.store, title.id, lender.key)
    (told,) = job.store.results([final]).values() or (None,)
    if told is not None and not job.store.fault(final, told, "all"):
        return
    job.store.remove(final)
    theirs = [ref for ref in lender.described if ref]
    with lender.store.brought(lender.fitted.folder, *(ref.folder for ref in theirs)) as (fitted, *folders):
        here = dict(zip(theirs, folders, strict=True))
        described = tuple(ref and Ref(ref.kind, ref.task, ref.key, here[ref]) for ref in lender.described)
        looks = looks_of(lender.speakers, lender.cast, described)
        files = lender.actors.minutes_files
        mine = {n: looks[n] for n in files if n in looks}
        lent = LentActors(
            lender.where, {n: one.names for n, one in mine.items()}, {n: files[n] for n in mine},
            {n: lender.actors.used_s[n] for n in mine},
        )  # fmt: skip
        with job.store.commit(final) as part:
            for n in mine:
                shutil.copyfile(fitted / files[n], part / files[n])
            save_looks(part, mine)
            (part / RESULT).write_bytes(json_bytes({**lent.to_dict(), "key": lender.key}))


def _same_place(one: Store, other: Store) -> bool:
    a, b = one.root, other.root
    return a == b or (a.exists() and b.exists() and a.samefile(b))
