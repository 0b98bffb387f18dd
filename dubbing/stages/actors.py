"""Actors: fit how each person's mouth moves with sound, on the title's own dialogue.

One actor is one person found by `speakers` in any number of shots: everything that the person says in the title is
used, each frame for as much as its mouth is seen clearly; of more than `voice.MOST_S` the clearest of all parts of the
title. Where the manifest says so, what the same person says in other runs is used too (`LentActors`), which were put
into this title's analysis when the run began. Where a title has minutes of dialogue, several tasks fit some of its
people each, and one joins what they have made. The model, and the dialogue in numbers that it was made of, lie in the
title's analysis folder and go nowhere else: a film must not train anything that outlives the job.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import maximum_filter1d

from dubbing import media
from dubbing.analysis.casting import Looks, same_people
from dubbing.analysis.windows import people_in_parts, shared_out
from dubbing.artifact import File, Ref
from dubbing.artifacts.actors import FittedActors, LentActors
from dubbing.artifacts.descriptors import Descriptors, load_descriptors
from dubbing.artifacts.people import Cast
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, load_wave
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.tracks import FaceTracks, clear_frames, load_tracks
from dubbing.clock import Timeline, mask_of
from dubbing.face import canonical
from dubbing.generators.rewrite import minutes, voice
from dubbing.generators.rewrite.shape import lower_of
from dubbing.records import Track
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Scope, Stage
from dubbing.task import WindowedFilm, awaited, uncounted

__all__ = ["PART_S", "Actors", "ActorsInputs", "looks_of"]

PART_S = 60.0  # of dialogue, below which no task of its own is worth its start

_LEAST_FRAMES = 12  # of a stretch of a track, and of speech in it
_PIECE_S = 40  # into pieces about so long a track is cut, so that a long one needs no more memory
_REST_S = 2  # around speech a mouth at rest is looked for
_COVERED = "the speakers were found in it"


@dataclass(frozen=True)
class ActorsInputs(WindowedFilm):
    """The inputs of the stage `actors`, or of a task that fits some of the people: `end` is then their share of the
    film's frames."""

    speakers: Ref[SpeakerList]
    """Who speaks where."""
    prior: str
    """Key of what every actor is fitted on."""
    also: tuple[File, ...] | None = None
    """What other runs lend, each the result.json of a folder in this title's analysis; None where none is asked."""
    cast: Ref[Cast] | None = None
    """The characters of the title, by which people of other runs are found; None where there are none, or no others."""
    descriptors: tuple[Ref[Descriptors] | None, ...] | None = awaited(default=None)
    """What each shot's faces look like, for the same; None where there is no network for it, or no others."""
    faces: tuple[Ref[FaceTracks] | None, ...] = awaited(why=_COVERED, default=())
    """The faces of each shot, None where they could not be looked for."""
    source_sound: Ref[SourceSound] | None = uncounted(_COVERED, default=None)
    """The film's own sound, where it has one."""
    timeline: Ref[ShotList] = uncounted(_COVERED, default=None)
    """The film's frames in time."""
    only: tuple[int, ...] | None = field(default=None, kw_only=True)
    """Numbers of the people that are fitted; None for all."""


@dataclass(frozen=True)
class _Piece:
    """A part of a track with some dialogue of one person. start, end: its frames; spoken: how many of them speak and
    are seen; clear: how clearly, 0..1, on average over these."""

    shot: int
    track: str
    start: int
    end: int
    says: tuple[tuple[int, int], ...]
    spoken: int
    clear: float


class Actors(Stage[ActorsInputs, FittedActors]):
    """The models of all people of a title who speak enough of it."""

    name: ClassVar[str] = "actors"
    scope = Scope.TITLE
    version = 4
    expands = True
    chain_ms = 65.0

    @classmethod
    def inputs(cls, at: Place) -> ActorsInputs:
        sound = at.ref(SourceSound) if at.has(SourceSound) else None
        also, cast, described = at.lent, None, None
        if also:
            cast = at.ref(Cast) if at.has(Cast) else None
            described = at.each(Descriptors) if at.face_descriptor else None
        at.result(SpeakerList)  # of which it depends whether one task does it
        return ActorsInputs(
            at.ref(SpeakerList), at.prior, also, cast, described, at.each(FaceTracks), sound, at.ref(ShotList),
            end=at.result(ShotList).frames,
        )  # fmt: skip

    @classmethod
    def windows(cls, inputs: ActorsInputs, at: Place) -> list[ActorsInputs]:
        """Not parts of the film but of its people, where there is much dialogue."""
        speakers = at.result(SpeakerList)
        if inputs.source_sound is None or speakers.unheard:
            return []
        said: Counter[int] = Counter()
        for spoken in (one for decision in speakers.decisions for one in decision.tracks):
            said[spoken.actor] += sum(b - a for a, b in spoken.stretches)
        parts = people_in_parts(said, PART_S * at.rate)
        return [replace(inputs, end=frames, only=part) for part, frames in shared_out(parts, said, inputs.end)]

    @classmethod
    def joins(cls, inputs: ActorsInputs, parts: tuple[Ref[Any], ...]) -> ActorsInputs:
        """Those who fitted the people have read the faces."""
        return replace(inputs, parts=parts, faces=(), descriptors=None)

    @classmethod
    def weight(cls, frames: float) -> float:
        """Everything waits for each of them, and the longest goes first."""
        return super().weight(0) + cls.chain_ms * frames

    def process(self, inputs: ActorsInputs, out: Path, progress: Callable[[int], None]) -> FittedActors:
        if inputs.parts is not None:
            return _joined(inputs.parts, out)
        line = media.load_timeline(inputs.timeline.folder)
        speakers = inputs.speakers.read()
        if inputs.source_sound is None or speakers.unheard:
            return FittedActors({}, {})
        pieces = self._pieces(inputs, speakers, line)
        lent, doubts = _lent(inputs, speakers) if inputs.also else ({}, ())
        models, kept, dialogue_s, used_s, lent_s = {}, {}, {}, {}, {}
        for actor, mine in sorted(pieces.items()):
            own = voice.dialogue(list(_examples(inputs, line, _used(mine, line))))
            also = [minutes.load(file) for file in lent.get(actor, ())]
            model = voice.fitted(own, also)
            models[actor] = f"actor_{model.hash[:12]}.npz"
            voice.save(model, out / models[actor])
            kept[actor] = f"minutes_{actor}.npz"
            minutes.save(own.minutes, out / kept[actor])
            dialogue_s[actor] = round(sum(p.spoken for p in mine) / float(line.rate), 3)
            used_s[actor] = round(own.minutes.film_s, 3)
            if also:
                lent_s[actor] = round(sum(m.film_s for m in also), 3)
        progress(inputs.end)
        return FittedActors(models, dialogue_s, kept, used_s, lent_s, doubts)

    def _pieces(self, inputs: ActorsInputs, speakers: SpeakerList, line: Timeline) -> dict[int, list[_Piece]]:
        """The pieces of each person's dialogue, in the film's order."""
        found: dict[int, list[_Piece]] = defaultdict(list)
        longest = int(_PIECE_S * line.rate)
        for shot, (decision, faces) in enumerate(zip(speakers.decisions, inputs.faces, strict=True)):
            mine = [one for one in decision.tracks if inputs.only is None or one.actor in inputs.only]
            tracks = {t.id: t for t in load_tracks(faces.folder)} if faces is not None and mine else {}
            for spoken in mine if tracks else ():
                track = tracks[spoken.track]
                clear_N = clear_frames(track) * mask_of(spoken.stretches, track.start_frame, track.end_frame)
                count = max(1, -(-len(clear_N) // longest))
                for part in np.array_split(np.arange(len(clear_N)), count):
                    says_N = clear_N[part] > 0
                    if len(part) < _LEAST_FRAMES or says_N.sum() < _LEAST_FRAMES:
                        continue
                    start, end = track.start_frame + int(part[0]), track.start_frame + int(part[-1]) + 1
                    clear = float(clear_N[part][says_N].mean())
                    found[spoken.actor].append(
                        _Piece(shot, track.id, start, end, spoken.stretches, int(says_N.sum()), clear)
                    )
        return found


def _joined(parts: Sequence[Ref[FittedActors]], out: Path) -> FittedActors:
    """What was made of several people each, as if it had been made at once."""
    found = [(one.folder, one.read()) for one in parts]
    for folder, made in found:
        for name in (*made.model_files.values(), *made.minutes_files.values()):
            shutil.copyfile(folder / name, out / name)

    def every(name: str) -> dict[int, Any]:
        return dict(sorted((actor, value) for _, made in found for actor, value in getattr(made, name).items()))

    doubts = dict.fromkeys(text for _, made in found for text in made.doubts)
    return FittedActors(
        every("model_files"), every("dialogue_s"), every("minutes_files"), every("used_s"), every("lent_s"),
        tuple(doubts),
    )  # fmt: skip


def _used(pieces: list[_Piece], line: Timeline) -> list[_Piece]:
    """Those that a person is fitted on: all, or the clearest of all parts of the title."""
    spoken_s = [p.spoken / float(line.rate) for p in pieces]
    return [pieces[n] for n in minutes.clearest(spoken_s, [p.clear for p in pieces], voice.MOST_S)]


def _examples(inputs: ActorsInputs, line: Timeline, pieces: list[_Piece]) -> Iterator[voice.Example]:
    """The pieces in numbers, one after another."""
    assert inputs.source_sound is not None
    shot, tracks = -1, dict[str, Track]()
    for piece in pieces:
        if piece.shot != shot:
            faces = inputs.faces[piece.shot]
            assert faces is not None
            shot, tracks = piece.shot, {t.id: t for t in load_tracks(faces.folder)}
        track = tracks[piece.track]
        at = slice(piece.start - track.start_frame, piece.end - track.start_frame)
        clear_N = clear_frames(track)[at] * mask_of(piece.says, piece.start, piece.end)
        first, last = line.sample(piece.start, RATE_HZ), line.sample(piece.end, RATE_HZ)
        wave = load_wave(inputs.source_sound.folder, first, last)
        times_s = line.times_s(piece.start, piece.end, centre=True) - float(line.time(piece.start))
        shape, _ = canonical(track.mesh_NP3[at])
        near = maximum_filter1d(clear_N > 0, 2 * int(_REST_S * line.rate) + 1)
        lower = lower_of(shape)[near].astype(np.float32)
        yield voice.Example(lower, times_s[near], wave, clear_N[near] > 0, clear_N[near])


def _lent(inputs: ActorsInputs, speakers: SpeakerList) -> tuple[dict[int, list[Path]], tuple[str, ...]]:
    """Files of the dialogue of each person in other runs; and what is not used and why, as clauses without a stop."""
    mine = looks_of(speakers, inputs.cast.read() if inputs.cast else None, inputs.descriptors)
    found: dict[int, list[Path]] = defaultdict(list)
    doubts: list[str] = []
    for file in inputs.also or ():
        folder = file.path.parent
        lent = LentActors.read(folder)
        theirs = lent.looks(folder)
        same, unsure = same_people(mine, theirs)
        for other, actor in sorted(same.items()):
            found[actor].append(folder / lent.minutes_files[other])
        doubts += [f"{lent.where}: {text}" for text in unsure]
        if not same and not unsure:
            doubts.append(f"{lent.where}: nobody in it is known to be anybody here")
    return found, tuple(doubts)


def looks_of(
    speakers: SpeakerList, cast: Cast | None, descriptors: tuple[Ref[Descriptors] | None, ...] | None
) -> Mapping[int, Looks]:
    """By which each person who speaks may be known elsewhere."""
    known: dict[str, np.ndarray] = {}
    for one in descriptors or ():
        known |= load_descriptors(one.folder) if one else {}
    tracks: dict[int, list[str]] = defaultdict(list)
    for decision in speakers.decisions:
        for spoken in decision.tracks:
            tracks[spoken.actor].append(spoken.track)
    names = cast.characters if cast else {}
    return {
        actor: Looks(
            tuple(sorted({names[t] for t in mine if t in names})),
            np.stack([known[t].mean(0) for t in mine if len(known.get(t, ()))])
            if any(len(known.get(t, ())) for t in mine) else np.zeros((0, 128), np.float32),
        )
        for actor, mine in sorted(tracks.items())
    }  # fmt: skip
