"""Measure 10, the expert: whether the sync expert's own judgement can be trusted.

On footage with its own sound, in stretches of four seconds in which the face speaks: the sound is moved by known
offsets, which the expert has to find; and its own sound has to be told from foreign ones. It knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dubbing.experts import Expert
from dubbing.experts.lse import FPS, SHIFTS, lse, windows_in
from dubbing.sound import RATE_HZ

__all__ = ["INJECTED", "LENGTH_S", "Judged", "judge", "spoken_only"]

LENGTH_S, HOP_S = 4.0, 0.5
LEAST_S = 2.5  # a shorter stretch says nothing
INJECTED = range(-10, 11)  # frames at 25 a second
PLACES = 8  # in each foreign sound
_SPEAKS = 0.8  # of a stretch
_BLOCK = 800


@dataclass(frozen=True)
class Judged:
    """stretches: how many; offset_frames: the median found where nothing was moved; found: part of the offsets of
    -10 to 10 frames that are found within one; consistent: the same, from the clip's own offset_frames; nearer: part
    of the foreign sounds that lie further from the lips than their own, at the clip's offset; c: median LSE-C."""

    stretches: int
    offset_frames: float
    found: float
    consistent: float
    nearer: float
    c: float


def judge(
    expert: Expert, mesh_NP3: np.ndarray, times_s: np.ndarray, wave: np.ndarray, speaks_N: np.ndarray,
    foreign: Sequence[np.ndarray],
) -> Judged | None:  # fmt: skip
    """One face. times_s: (N,) starts of its frames on the clock where sample 0 of `wave` is 0; speaks_N: bool.

    foreign: float32 mono 16 kHz of others. None where the face does not speak for one stretch.
    """
    stretches = _stretches(times_s, speaks_N)
    if not stretches:
        return None
    at_S, moved, own, other = [], [], [], []
    surety = []
    for start, end in stretches:
        stretch_s = times_s[start:end]
        count = windows_in(stretch_s)
        video_VE = expert.embed_video(mesh_NP3[start:end], stretch_s)

        def heard(sound: np.ndarray, at_s: float, video: np.ndarray = video_VE, count: int = count) -> np.ndarray:
            return lse(video, expert.embed_sound(sound, at_s, count)).distance_S

        curves = [heard(wave, float(stretch_s[0]) + k / FPS) for k in INJECTED]
        moved.append([SHIFTS - int(c.argmin()) for c in curves])
        unmoved = curves[INJECTED.index(0)]
        at_S.append(moved[-1][INJECTED.index(0)])
        surety.append(float(np.median(unmoved) - unmoved.min()))
        own.append(unmoved)
        room_s = [len(f) / RATE_HZ - count / FPS - 0.2 for f in foreign]
        other.append([
            heard(sound, float(at_s))[SHIFTS]
            for sound, most_s in zip(foreign, room_s, strict=True) if most_s > 0
            for at_s in np.linspace(0, most_s, PLACES)
        ])  # fmt: skip
    offset = float(np.median(at_S))
    wanted = np.array(INJECTED)
    place = int(np.clip(SHIFTS - round(offset), 0, 2 * SHIFTS))
    beaten = [np.mean(np.array(far) > near[place]) for near, far in zip(own, other, strict=True) if far]
    return Judged(
        stretches=len(stretches),
        offset_frames=offset,
        found=float((np.abs(np.array(moved) - wanted) <= 1).mean()),
        consistent=float((np.abs(np.array(moved) - wanted - offset) <= 1).mean()),
        nearer=float(np.mean(beaten)) if beaten else float("nan"),
        c=float(np.median(surety)),
    )


def spoken_only(wave: np.ndarray) -> np.ndarray:
    """A sound without its digital silences."""
    blocks = wave[: len(wave) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    return np.asarray(blocks[np.abs(blocks).max(1, initial=0) > 1e-6].ravel(), np.float32)


def _stretches(times_s: np.ndarray, speaks_N: np.ndarray) -> list[tuple[int, int]]:
    """Half-open frames of four seconds (or all, of a clip that is a little shorter) in which the face mostly speaks."""
    if len(times_s) < 2:
        return []
    step_s = float(np.median(np.diff(times_s)))
    whole_s = times_s[-1] - times_s[0] + step_s
    length_s = min(LENGTH_S, whole_s)
    if length_s < LEAST_S:
        return []
    found = []
    for k in range(int((whole_s - length_s) / HOP_S + 1e-6) + 1):
        begin_s = times_s[0] + k * HOP_S
        start, end = np.searchsorted(times_s, [begin_s - step_s / 2, begin_s + length_s - step_s / 2])
        if speaks_N[start:end].mean() >= _SPEAKS:
            found.append((int(start), int(end)))
    return found
