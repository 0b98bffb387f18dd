"""Turns: who says what in the dub, and which face that is.

Without anything that says it, a frame of the dub is said by the face that speaks nearest to it in the original, or,
where several speak and it is surer, by the one whose voice it is. It knows when a face speaks; lipsync decides what of
it can be rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.analysis import voices
from dubbing.artifact import Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, load_speech, load_wave, speech_mask
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.clock import Timeline, mask_of, runs
from dubbing.experts import resemblyzer
from dubbing.records import Shot
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

__all__ = ["Turns", "TurnsInputs", "by_voice", "share_of"]

_SHORTEST = RATE_HZ // 2  # samples of speech; shorter ones tell no voice


@dataclass(frozen=True)
class TurnsInputs(Inputs):
    """The inputs of the stage `turns`."""

    sound: Ref[DubSound]
    """What drives the lips."""
    speakers: Ref[SpeakerList]
    """Who speaks in the original."""
    frames: int | None = None
    """How many frames of the film the dub is for; None for all."""
    voices: str | None = None
    """The network that tells voices apart, `name@hash12`; None where it is not installed."""
    shots: Ref[ShotList] = uncounted("the speakers are those of its shots", default=None)
    """The shots, and the film's frames in time."""


class Turns(Stage[TurnsInputs, TurnList]):
    """The turns of one dub."""

    name: ClassVar[str] = "turns"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=700)
    expands = True
    chain_ms = 60.0

    @classmethod
    def inputs(cls, at: Place) -> TurnsInputs:
        frames = at.made_of.frames[at.dub.language] if at.made_of else None
        return TurnsInputs(at.ref(DubSound), at.ref(SpeakerList), frames, at.voices, at.ref(ShotList))

    def process(self, inputs: TurnsInputs, out: Path, progress: Callable[[int], None]) -> TurnList:
        line = media.load_timeline(inputs.shots.folder)
        decisions = inputs.speakers.read().by_shot
        heard_N = speech_mask(load_speech(inputs.sound.folder), line, 0, len(line))
        found = []
        for whole in inputs.shots.read().shots:
            end = whole.end_frame if inputs.frames is None else inputs.frames
            shot = Shot(whole.number, whole.start_frame, end)
            found.append(_turns(shot, decisions[shot.id], heard_N[shot.start_frame : end]))
            progress(len(shot))
        if inputs.voices:
            found = by_voice(found, inputs.sound.folder, line)
        return TurnList(tuple(found))


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


def by_voice(turns: Sequence[ShotTurns], sound: Path, line: Timeline) -> list[ShotTurns]:
    """The turns with what the voices of the dub know better (`analysis.voices`), where several faces of a shot speak.

    sound: the folder of a `DubSound`. Raises ModelError where the voices' network is not installed.
    """
    if all(len(shot.faces) < 2 for shot in turns):
        return list(turns)
    shots = []
    for shot in turns:
        spans = [*shot.heard, *(span for face in shot.faces for span in face.own)]
        first, last = min((a for a, _ in spans), default=0), max((b for _, b in spans), default=0)
        said = [voices.Said(f.actor, mask_of(f.own, first, last), mask_of(f.says, first, last)) for f in shot.faces]
        shots.append(voices.Scene(first, last, tuple(said)))
    parts, prints_WE = _prints(sound, line)
    followed = voices.follow(shots, parts, prints_WE, float(line.duration) / len(line))
    return [
        shot if heard is None else _followed(shot, scene.start, heard)
        for shot, scene, heard in zip(turns, shots, followed, strict=True)
    ]


def _followed(shot: ShotTurns, first: int, heard: voices.Followed) -> ShotTurns:
    faces = []
    for face, says_N in zip(shot.faces, heard.says_KN, strict=True):
        says = tuple(runs(says_N, first))
        faces.append(face if says == face.says else replace(face, says=says, by="voice"))
    return replace(shot, faces=tuple(faces), doubt=shot.doubt or heard.doubt)


def _prints(sound: Path, line: Timeline) -> tuple[list[voices.Part], np.ndarray]:
    """The voice of the dub's speech, window by window: unit vectors (W, 256), and the frames that each tells it of."""
    encoder = resemblyzer.VoiceEncoder()
    parts: list[voices.Part] = []
    found = [np.zeros((0, resemblyzer.SIZE), np.float32)]
    for a, b in load_speech(sound).tolist():
        if b - a < _SHORTEST:
            continue
        wave = load_wave(sound, a, b)
        spare = max(0, len(wave) - resemblyzer.WINDOW)
        starts = (np.linspace(0, spare, -(-spare // resemblyzer.HOP) + 1) // 160 * 160).astype(int)
        found.append(encoder.embed(np.resize(wave, max(len(wave), resemblyzer.WINDOW)), starts))
        middles = a + starts + resemblyzer.WINDOW // 2
        cuts = [a, *((middles[1:] + middles[:-1]) // 2).tolist(), b]
        frames = [line.frame_at(Fraction(int(cut), RATE_HZ)) for cut in cuts]
        frames[-1] = min(frames[-1] + 1, len(line))
        parts += [voices.Part(first, last) for first, last in zip(frames[:-1], frames[1:], strict=True)]
    return parts, np.concatenate(found)
