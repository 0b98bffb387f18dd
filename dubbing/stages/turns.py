"""Turns: who says what in the dub, and which face that is.

Where there are stems, or lines, they say who speaks, and the cast says whose face that is (`dubbing.turns`). Without
anything that says it, a frame of the dub is said by the face that speaks nearest to it in the original, or, where
several speak and it is surer, by the one whose voice it is. It knows when a face speaks; lipsync decides what of it can
be rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.analysis.asked import characters_asked
from dubbing.analysis.line_drift import drift
from dubbing.analysis.lines import read_lines
from dubbing.artifact import File, Ref
from dubbing.artifacts.people import Cast, People
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, load_speech, sound_of, speech_mask
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.tracks import FaceTracks, Limits, load_tracks
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.clock import Timeline, mask_of, runs
from dubbing.experts.whose_voice import by_voice
from dubbing.records import Shot
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted
from dubbing.turns.asked import with_consent, with_names
from dubbing.turns.names import known_names, spelled_as
from dubbing.turns.voices import Voices, turns_by_voices, within_lines

__all__ = ["Turns", "TurnsInputs", "share_of"]


@dataclass(frozen=True)
class TurnsInputs(Inputs):
    """The inputs of the stage `turns`."""

    sound: Ref[DubSound]
    """What drives the lips."""
    speakers: Ref[SpeakerList]
    """Who speaks in the original."""
    frames: int | None = None
    """How many frames of the film the dub is for; None for all."""
    cast: Ref[Cast] | None = None
    """Who plays whom, where it is known."""
    lines: File | None = None
    """Who speaks when, where a list says it and there are no stems."""
    spelled: tuple[str, ...] | None = None
    """The characters of the cast, as names in that list are meant, and those of faces where somebody is left."""
    only: tuple[str, ...] | None = None
    """Characters who alone may be rendered; None for all."""
    leave: tuple[str, ...] | None = None
    """Characters who may not be rendered, where there are any."""
    coarse: bool | None = None
    """True where there are any, and people are told apart without a network."""
    off_screen: tuple[str, ...] | None = None
    """Characters who are never in sight, where there are any."""
    people: Ref[People] | None = None
    """Which tracks show one person, where it is known who speaks in the dub."""
    limits: Limits | None = None
    """The limits within which a face may be dubbed, likewise."""
    faces: tuple[Ref[FaceTracks] | None, ...] | None = awaited(default=None)
    """The faces of each shot, likewise; None where that failed."""
    consented: tuple[str, ...] | None = None
    """Characters who alone may be rendered, where consent is required, as far as their faces are named."""
    voice_network: str | None = None
    """What tells voices apart, `name@hash12`; None where it is not installed, or not asked."""
    given: tuple[tuple[str, File], ...] | None = None
    """Characters with a file of their voices alone, for that network, where there are any."""
    shots: Ref[ShotList] = uncounted("the speakers are those of its shots", default=None)
    """The shots, and the film's frames in time."""


class Turns(Stage[TurnsInputs, TurnList]):
    """The turns of one dub."""

    name: ClassVar[str] = "turns"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=1100)
    expands = True
    chain_ms = 60.0

    @classmethod
    def inputs(cls, at: Place) -> TurnsInputs:
        frames = at.made_of.frames[at.dub.language] if at.made_of else None
        cast = at.title.cast or {}
        only, leave = characters_asked(at.title, at.dub)
        inputs = TurnsInputs(
            at.ref(DubSound), at.ref(SpeakerList), frames, at.ref(Cast) if at.has(Cast) else None, only=only,
            leave=leave or None, off_screen=tuple(sorted(n for n, one in cast.items() if one.off_screen)) or None,
            spelled=(tuple(sorted(cast)) or None) if leave or (at.dub.lines and at.dub.stems is None) else None,
            coarse=True if leave and at.face_descriptor is None else None, shots=at.ref(ShotList),
            consented=at.consented,
        )  # fmt: skip
        if at.dub.stems is None and at.dub.lines is None:
            given = tuple((name, at.file(one.voice)) for name, one in sorted(cast.items()) if at.voices and one.voice)
            return replace(inputs, voice_network=at.voices, given=given or None)
        if at.dub.stems is None:
            inputs = replace(inputs, lines=at.file(at.dub.lines))
        limits = Limits(at.config.speakers.min_face_px, at.config.speakers.max_yaw_deg)
        return replace(inputs, people=at.ref(People), limits=limits, faces=at.each(FaceTracks))

    def process(self, inputs: TurnsInputs, out: Path, progress: Callable[[int], None]) -> TurnList:
        line = media.load_timeline(inputs.shots.folder)
        heard_N = speech_mask(load_speech(inputs.sound.folder), line, 0, len(line))
        names = inputs.cast.read().characters if inputs.cast else {}
        told = spelled_as(names, inputs.consented or ())
        shots = [
            Shot(s.number, s.start_frame, s.end_frame if inputs.frames is None else inputs.frames)
            for s in inputs.shots.read().shots
        ]
        notices: tuple[str, ...] = ()
        voices = _stems(inputs, line)
        if inputs.lines is not None:
            voices, notices = _lines(inputs, inputs.lines, heard_N, line)
        asked = {*(inputs.spelled or ()), *(inputs.only or ()), *(inputs.leave or ())}
        if voices is not None:
            voices = replace(voices, others=asked)
        names = spelled_as(names, voices.characters if voices else {*asked, *dict(inputs.given or ())})
        if voices is None:
            decisions = inputs.speakers.read().by_shot
            found = [_turns(s, decisions[s.id], heard_N[s.start_frame : s.end_frame]) for s in shots]
            if inputs.voice_network:
                given = {name: file.path for name, file in inputs.given or ()}
                found = by_voice(found, inputs.sound.folder, line, names, given)
        else:
            found, names, reasons = _by_voices(inputs, shots, voices, heard_N, names, line)
            notices += reasons
        progress(sum(map(len, shots)))
        meant = voices.characters if voices else asked if inputs.spelled else None
        turns = [
            with_names(one, names, inputs.only, inputs.leave or (), meant, coarse=bool(inputs.coarse)) for one in found
        ]
        if inputs.consented is not None:
            turns, left = with_consent(turns, told, inputs.consented)
            notices += left
        return TurnList(tuple(turns), notices)


def _stems(inputs: TurnsInputs, line: Timeline) -> Voices | None:
    """What each character says by its stem; None where there are none."""
    spoken = {name: load_speech(sound_of(inputs.sound.folder, name)) for name in inputs.sound.read().stems}
    if not spoken:
        return None
    masks = {name: speech_mask(speech, line, 0, len(line)) for name, speech in spoken.items()}
    return Voices(masks, "stem", inputs.off_screen or ())


def _lines(inputs: TurnsInputs, file: File, heard_N: np.ndarray, line: Timeline) -> tuple[Voices, tuple[str, ...]]:
    """What each character says by the list of lines, and what is wrong with all of its times."""
    spoken = read_lines(file.path, line.rate, line.start_tc, inputs.spelled or ())
    wrong = drift(spoken, load_speech(inputs.sound.folder), float(line.duration))
    masks = within_lines(spoken, heard_N, line)
    notices = (f"{file.path.name} names who speaks, and {wrong}.",) if wrong else ()
    return Voices(masks, "lines", inputs.off_screen or ()), notices


def _by_voices(
    inputs: TurnsInputs, shots: Sequence[Shot], voices: Voices, heard_N: np.ndarray, cast: Mapping[str, str],
    line: Timeline,
) -> tuple[list[ShotTurns], Mapping[str, str], tuple[str, ...]]:  # fmt: skip
    """The turns of each shot, the name of each track that has one, and notices. What no line covers is said by whoever
    speaks nearest in the original."""
    assert inputs.people is not None and inputs.faces is not None and inputs.limits is not None
    decisions, people = inputs.speakers.read().by_shot, inputs.people.read().of_track
    own: dict[int, np.ndarray] = {}
    for decision in decisions.values():
        for spoken in decision.tracks:
            mask_N = own.setdefault(spoken.actor, np.zeros(len(line), bool))
            mask_N |= mask_of(spoken.stretches, 0, len(line))
    seen = {name: mask_N for name, mask_N in voices.spoken.items() if name not in voices.off_screen and mask_N.any()}
    leave = set(inputs.leave or ()) - set(voices.off_screen)
    names = known_names(cast, people, own, seen, float(line.rate), leave)
    found = []
    for shot, faces in zip(shots, inputs.faces, strict=True):
        tracks = [t for t in load_tracks(faces.folder) if t.start_frame < shot.end_frame] if faces else []
        decision = decisions[shot.id]
        rest_N = heard_N[shot.start_frame : shot.end_frame] & ~voices.known_N[shot.start_frame : shot.end_frame]
        shares = share_of(rest_N, decision.tracks, shot) if decision.tracks and rest_N.any() else []
        nearest = {s.track: share_N for s, share_N in zip(decision.tracks, shares, strict=False) if share_N.any()}
        found.append(
            turns_by_voices(
                shot, decision, tracks, people, names.of_track, voices, line, inputs.limits, rest_N, nearest
            )
        )
    return found, names.of_track, tuple(names.joined.values())


def _turns(shot: Shot, decision: Decision, heard_N: np.ndarray) -> ShotTurns:
    first = shot.start_frame
    heard = tuple(runs(heard_N, first))
    if not decision.tracks:
        return ShotTurns(shot.id, heard)
    shares = share_of(heard_N, decision.tracks, shot)
    faces = tuple(
        FaceTurns(spoken.track, spoken.actor, spoken.stretches, tuple(runs(share_N, first)))
        for spoken, share_N in zip(decision.tracks, shares, strict=True)
    )
    return ShotTurns(shot.id, heard, faces)


def share_of(speech_N: np.ndarray, tracks: Sequence[Speaking], shot: Shot) -> list[np.ndarray]:
    """Who of the shot's speakers says which frame of the dub: the one who speaks nearest to it in the original."""
    if len(tracks) == 1:
        return [speech_N]
    frames = np.arange(shot.start_frame, shot.end_frame)
    far = []
    for spoken in tracks:
        distance = np.full(len(frames), len(frames) * 2)
        for a, b in spoken.stretches:
            distance = np.minimum(distance, np.maximum(np.maximum(a - frames, frames - b + 1), 0))
        far.append(distance)
    nearest = np.argmin(np.stack(far), 0)
    return [speech_N & (nearest == k) for k in range(len(tracks))]
