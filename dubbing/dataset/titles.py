"""Finished titles as clips: who speaks where is known from their analysis, so faces are only cut, in one pass a film.

Where results lie in the output folder is asked of its pipeline. Splits and shards are unknown here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import experts, media
from dubbing.artifact import File, Ref
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, load_wave
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.tracks import FaceTracks, in_sight, load_tracks
from dubbing.clock import Timeline
from dubbing.dataset.clip import ClipInputs, Pieces, write_pieces
from dubbing.dataset.faces import cut_face, face_boxes
from dubbing.dataset.pieces import Piece, pieces
from dubbing.dataset.segment import Run
from dubbing.dataset.shards import FPS, LEAD, PER_FRAME, RATE_HZ, jpeg
from dubbing.dataset.source import Source
from dubbing.errors import InputError, MediaError
from dubbing.experts.crop import shown
from dubbing.job import Job
from dubbing.manifest import Title
from dubbing.records import Track
from dubbing.run_file import read_run
from dubbing.stage import Resources, Scope, Stage
from dubbing.store import open_store

__all__ = ["CutTitle", "KnownTitle", "Person", "Spoken", "TitleInputs", "find_titles"]

_JOIN_S = 1.0  # a silence this long between two stretches of speech belongs to them
_SMOOTH_S = 0.1  # to each side, as `generators.square` smooths boxes


def find_titles(out: Path) -> list[Source]:
    """Every person who speaks in every title of an output folder, one source a person and title, in film order.

    Raises InputError: no run (OutputError), one of another version, or one whose analysis is not finished; MediaError:
    a film that is gone.
    """
    store = open_store(out)
    sources: list[Source] = []
    seen: set[str] = set()
    for part in read_run(store, known_settings=True).parts:
        job = Job(part.manifest, store, part.config)
        job.decisions = {}
        for title in part.manifest.titles:
            if title.id not in seen:
                sources.append(_of_title(job, title, out))
            seen.add(title.id)
    return sources


def _of_title(job: Job, title: Title, out: Path) -> Source:
    try:
        shots, decided = job.shots(title), job.decided(title)
    except FileNotFoundError as e:
        raise MediaError(f"{e.filename!r}, the film of title {title.id}, is gone; bring it back.") from e
    if not shots or not decided:
        raise InputError(
            f"Title {title.id} in {str(out)!r} is not analysed, or was by other settings or another version; "
            "`dub run` its manifest again."
        )
    known = job.analysis(title)
    found, fitted, sound = known.get(ShotList), job.result(known.get(FittedActors)), known.get(SourceSound)
    people: dict[str, list[Spoken]] = {}
    line, silent = job.timeline(title), Counter[str]()
    for shot in shots:
        if why := decided[shot.id].reason:
            silent[why] += int((line.time(shot.end_frame) - line.time(shot.start_frame)) * FPS)
        for spoken in decided[shot.id].tracks:
            file = fitted.model_files.get(spoken.actor) if fitted else None
            faces = known.get(FaceTracks, None, shot.id)
            assert faces is not None
            one = Spoken(faces.ref, spoken.track, spoken.stretches)
            people.setdefault(file.removesuffix(".npz") if file else "unknown", []).append(one)
    assert found is not None
    cast = tuple(Person(f"{title.id}/{name}", tuple(spoken)) for name, spoken in sorted(people.items()))
    speakers = job.result(known.get(SpeakerList))
    heard = sound is not None and not (speakers and speakers.unheard)  # else its sound is not what the mouths say
    about = KnownTitle(found.ref, sound.ref if sound and heard else None, cast, dict(silent))
    return Source(title.id, title.id, job.film(title), None, about)


class _Wave:
    """The analysed sound of a title from one frame of it on, as `reading.Sound` gives a clip's."""

    def __init__(self, folder: Path, zero: int, length: int) -> None:
        self._folder, self._zero, self._length = folder, zero, length

    def between(self, first: int, last: int) -> np.ndarray:
        return load_wave(self._folder, self._zero + first, self._zero + last)

    def reaches(self, last: int) -> int:
        return min(last, self._length - self._zero)


class _Wanted:
    """One stretch of one face, at 25 a second from where its first frame begins: filled as the frames pass by."""

    def __init__(self, track: Track, line: Timeline, first: int, last: int, speaker: str, crop: str | None) -> None:
        self.speaker, self.start = speaker, first
        times_s = line.times_s(first, last)
        self.at_K = shown(times_s) + first
        local = self.at_K - track.start_frame
        reach = max(1, round(float(line.rate) * _SMOOTH_S))
        self.mesh_KP3 = track.mesh_NP3[local]
        self.boxes_K4 = face_boxes(track.mesh_NP3, reach, crop)[local]
        self.height_px = track.height_px
        self.jpegs: list[bytes] = []

    @property
    def last(self) -> int:
        return int(self.at_K[-1])

    def give(self, picture: media.Picture, side: int) -> None:
        """A frame of the film, each once and in order."""
        one: bytes | None = None
        while len(self.jpegs) < len(self.at_K) and self.at_K[len(self.jpegs)] == picture.frame:
            one = one or jpeg(cut_face(picture, self.boxes_K4[len(self.jpegs)], side))
            self.jpegs.append(one)


@dataclass(frozen=True)
class Spoken:
    """The stretches in which one face speaks."""

    faces: Ref[FaceTracks]
    """The faces of its shot."""
    track: str
    """Id of its track."""
    stretches: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title in which it speaks."""


@dataclass(frozen=True)
class Person:
    """One person of a title."""

    speaker: str
    """`title/actor`."""
    spoken: tuple[Spoken, ...]
    """Where it speaks, in film order."""


@dataclass(frozen=True)
class KnownTitle:
    """The findings of the analysis of a finished title."""

    shots: Ref[ShotList]
    """The shots, and the film's frames in time."""
    sound: Ref[SourceSound] | None
    """The film's own sound."""
    people: tuple[Person, ...]
    """Everybody who speaks."""
    left_out: Mapping[str, int]
    """Frames at 25 a second of shots in which nobody is to be dubbed, by the analysis's reason."""


@dataclass(frozen=True)
class TitleInputs(ClipInputs):
    """The inputs of the stage `cut_title`."""

    known: KnownTitle
    """What its analysis found; the results lie on this machine."""

    def read(self) -> Iterator[File | Ref[Any]]:
        yield from super().read()
        yield self.known.shots
        if self.known.sound is not None:
            yield self.known.sound
            yield from (spoken.faces for person in self.known.people for spoken in person.spoken)


class CutTitle(Stage[TitleInputs, Pieces]):
    """The pieces of one finished title; each says its speaker."""

    name: ClassVar[str] = "cut_title"
    scope = Scope.TITLE
    bad_input_costs = "shot"
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def setup(self) -> None:
        self._expert = experts.load("lips")

    def process(self, inputs: TitleInputs, out: Path, progress: Callable[[int], None]) -> Pieces:
        lost: Counter[str] = Counter(inputs.known.left_out)
        if inputs.known.sound is None:
            return Pieces("rejected", "no_sound", "", (), {})
        try:
            found = self._pieces(inputs, inputs.known.sound, lost, progress)
            return write_pieces(out, (({**p.about, "speaker": who}, p.packed) for who, p in found), lost)
        except MediaError as e:
            return Pieces("unreadable", "unreadable", str(e), (), {})

    def _pieces(
        self, inputs: TitleInputs, own: Ref[SourceSound], lost: Counter[str], progress: Callable[[int], None]
    ) -> Iterator[tuple[str, Piece]]:
        limits = inputs.limits
        line = media.load_timeline(inputs.known.shots.folder)
        length = line.sample(len(line), RATE_HZ)
        bounds = (limits.min_face_px, limits.shortest_s, limits.longest_s)
        wanted = []
        for stretch in sorted(_stretches(inputs.known.people, line, limits.longest_s), key=lambda s: s[1]):
            length_s = line.time(stretch[2]) - line.time(stretch[1])
            if length_s < limits.shortest_s:
                lost["too_short"] += int(length_s * FPS)
            else:
                wanted.append(stretch)
        if not wanted:
            return
        open_: list[_Wanted] = []
        end = max(last for _, _, last, _ in wanted)
        for picture in media.read(inputs.file.path, line, wanted[0][1], end, threads=1):
            while wanted and wanted[0][1] <= picture.frame:
                track, first, last, speaker = wanted.pop(0)
                open_.append(_Wanted(track(), line, first, last, speaker, limits.crop))
            for one in open_:
                one.give(picture, limits.size)
            for one in [o for o in open_ if o.last <= picture.frame]:
                open_.remove(one)
                before = min(int(line.time(one.start) * FPS), -(-LEAD // PER_FRAME))  # frames of sound that lead in
                sound = _Wave(own.folder, line.sample(one.start, RATE_HZ) - before * PER_FRAME, length)
                run = Run(0, before, one.mesh_KP3, one.boxes_K4, tuple(one.jpegs), one.height_px)
                at_s = float(line.time(one.start)) - before / FPS
                for piece in pieces(run, sound, self._expert, limits.size, bounds, lost, at_s):
                    yield one.speaker, piece
            progress(1)


def _stretches(
    people: Sequence[Person], line: Timeline, longest_s: float
) -> Iterator[tuple[Callable[[], Track], int, int, str]]:
    """(track, first, last, speaker) of every stretch in which a speaking face is in sight, none too long."""
    longest = max(2, int(longest_s * line.rate))
    for person in people:
        for spoken in person.spoken:
            get = _later(spoken.faces.folder, spoken.track)
            track = get()
            speaks_N = np.zeros(len(track.frames_N), bool)
            before: int | None = None
            for a, b in spoken.stretches:
                first = before if before is not None and a - before <= line.rate * _JOIN_S else a
                speaks_N[max(0, first - track.start_frame) : max(0, b - track.start_frame)] = True
                before = b
            seen_N = np.concatenate([[False], speaks_N & in_sight(track, line.rate), [False]])
            for a, b in (np.flatnonzero(np.diff(seen_N)).reshape(-1, 2) + track.start_frame).tolist():
                cuts = np.linspace(a, b, -(-(b - a) // longest) + 1).round().astype(int).tolist()
                for first, last in zip(cuts[:-1], cuts[1:], strict=True):
                    if last - first > 1:
                        yield get, first, last, person.speaker


def _later(folder: Path, name: str) -> Callable[[], Track]:
    """A track that is loaded when it is needed: a film has thousands."""
    return lambda: _track(folder, name)


def _track(folder: Path, name: str) -> Track:
    return next(t for t in load_tracks(folder) if t.id == name)
