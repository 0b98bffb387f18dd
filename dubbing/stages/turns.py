"""Turns: who says what in the dub, and which face that is.

Without anything that says it, a frame of the dub is said by the face that speaks nearest to it in the original, or,
where several speak and it is surer, by the one whose voice it is. It knows when a face speaks; lipsync decides what of
it can be rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import Ref
from dubbing.artifacts.people import Cast
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, load_speech, speech_mask
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.clock import runs
from dubbing.experts.whose_voice import by_voice
from dubbing.records import Shot
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

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
    voice_network: str | None = None
    """What tells voices apart, `name@hash12`; None where it is not installed."""
    cast: Ref[Cast] | None = None
    """Which character each face plays, where that is known."""
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
        cast = at.ref(Cast) if at.has(Cast) else None
        return TurnsInputs(at.ref(DubSound), at.ref(SpeakerList), frames, at.voices, cast, at.ref(ShotList))

    def process(self, inputs: TurnsInputs, out: Path, progress: Callable[[int], None]) -> TurnList:
        line = media.load_timeline(inputs.shots.folder)
        decisions = inputs.speakers.read().by_shot
        heard_N = speech_mask(load_speech(inputs.sound.folder), line, 0, len(line))
        names = inputs.cast.read().characters if inputs.cast else {}
        found = []
        for whole in inputs.shots.read().shots:
            end = whole.end_frame if inputs.frames is None else inputs.frames
            shot = Shot(whole.number, whole.start_frame, end)
            found.append(_turns(shot, decisions[shot.id], heard_N[shot.start_frame : end], names))
            progress(len(shot))
        if inputs.voice_network:
            found = by_voice(found, inputs.sound.folder, line)
        return TurnList(tuple(found))


def _turns(shot: Shot, decision: Decision, heard_N: np.ndarray, names: Mapping[str, str]) -> ShotTurns:
    first = shot.start_frame
    heard = tuple(runs(heard_N, first))
    if not decision.tracks:
        return ShotTurns(shot.id, heard)
    shares = share_of(heard_N, decision.tracks, shot)
    faces = tuple(
        FaceTurns(spoken.track, spoken.actor, spoken.stretches, tuple(runs(share_N, first)), names.get(spoken.track))
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
