"""Who of a shot says what in a dub by whose voice it is: the dub's sound and turns, brought to `analysis.voices`.

It listens only where several faces of some shot speak. It decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.analysis import voices
from dubbing.artifacts.sound import load_speech, load_wave
from dubbing.artifacts.turns import ShotTurns
from dubbing.clock import Timeline, mask_of, runs
from dubbing.experts.resemblyzer import HOP, SIZE, WINDOW, VoiceEncoder
from dubbing.sound import RATE_HZ

__all__ = ["beginning", "by_voice"]

_SHORTEST = RATE_HZ // 2  # samples of speech; shorter ones tell no voice
_GIVEN = 30 * RATE_HZ


def by_voice(
    turns: Sequence[ShotTurns],
    sound: Path,
    line: Timeline,
    names: Mapping[str, str] | None = None,
    given: Mapping[str, Path] | None = None,
) -> list[ShotTurns]:
    """The turns with what the voices of the dub know better (`analysis.voices`), where several faces of a shot speak.

    sound: the folder of a `DubSound`; names: the character of each track, where it is known; given: by character, a
    file of its voice alone, of which the first half minute is heard. Raises ModelError where the voices' network is
    not installed.
    """
    if all(len(shot.faces) < 2 for shot in turns):
        return list(turns)
    shots = []
    for shot in turns:
        spans = [*shot.heard, *(span for face in shot.faces for span in face.own)]
        first, last = min((a for a, _ in spans), default=0), max((b for _, b in spans), default=0)
        said = [voices.Said(f.actor, mask_of(f.own, first, last), mask_of(f.says, first, last)) for f in shot.faces]
        shots.append(voices.Scene(first, last, tuple(said)))
    encoder, names, given = VoiceEncoder(), names or {}, given or {}
    known: dict[int, np.ndarray] = {}
    for face in (face for shot in turns for face in shot.faces):
        name = names.get(face.track, "")
        if name in given and face.actor not in known:
            wave = beginning(given[name])
            known[face.actor] = encoder.embed(wave, np.arange(0, max(1, len(wave) - WINDOW), WINDOW)).mean(0)
    parts, prints_WE = _prints(encoder, sound, line)
    followed = voices.follow(shots, parts, prints_WE, float(line.duration) / len(line), known)
    return [
        shot if heard is None else _followed(shot, scene.start, heard)
        for shot, scene, heard in zip(turns, shots, followed, strict=True)
    ]


def beginning(path: Path) -> np.ndarray:
    """The first half minute of a sound, float32 (T,); no more of the file is decoded."""
    kept, count = [np.zeros(0, np.float32)], 0
    for block in media.sound_blocks(path, RATE_HZ):
        kept.append(block)
        count += len(block)
        if count >= _GIVEN:
            break
    return np.concatenate(kept)[:_GIVEN]


def _followed(shot: ShotTurns, first: int, heard: voices.Followed) -> ShotTurns:
    faces = []
    for face, says_N in zip(shot.faces, heard.says_KN, strict=True):
        says = tuple(runs(says_N, first))
        faces.append(face if says == face.says else replace(face, says=says, by="voice"))
    return replace(shot, faces=tuple(faces), doubt=shot.doubt or heard.doubt)


def _prints(encoder: VoiceEncoder, sound: Path, line: Timeline) -> tuple[list[voices.Part], np.ndarray]:
    """The voice of the dub's speech, window by window: unit vectors (W, 256), and the frames that each tells it of."""
    parts: list[voices.Part] = []
    found = [np.zeros((0, SIZE), np.float32)]
    for a, b in load_speech(sound).tolist():
        if b - a < _SHORTEST:
            continue
        wave = load_wave(sound, a, b)
        spare = max(0, len(wave) - WINDOW)
        starts = (np.linspace(0, spare, -(-spare // HOP) + 1) // 160 * 160).astype(int)
        found.append(encoder.embed(np.resize(wave, max(len(wave), WINDOW)), starts))
        middles = a + starts + WINDOW // 2
        cuts = [a, *((middles[1:] + middles[:-1]) // 2).tolist(), b]
        frames = [line.frame_at(Fraction(int(cut), RATE_HZ)) for cut in cuts]
        frames[-1] = min(frames[-1] + 1, len(line))
        parts += [voices.Part(first, last) for first, last in zip(frames[:-1], frames[1:], strict=True)]
    return parts, np.concatenate(found)
