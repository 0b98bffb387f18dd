"""What a photographed face does beside its mouth in every frame of a dub: head, brows and lids together.

Knows no picture: only the sound, the frames' times, and in which of them the face may act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing.performance import blinks, brows, motion
from dubbing.performance.speech import STEP_HZ, Heard, hear
from dubbing.sound import RATE_HZ

__all__ = ["Acts", "acts_of"]

_LEAVES_S = 0.6  # over which a face leaves the photograph's pose, and comes back to it, where other frames stand
_PAD_S = 0.1  # this much around speech still counts as it


@dataclass(frozen=True, eq=False)
class Acts:
    """Of each frame of a track: acts_N, bool, whether the face acts at all; pose_N6: as `motion.POSE`; brows_N: eye
    distances; shut_N: how far the lids are down, 0..1. All 0 where it does not act."""

    acts_N: np.ndarray
    pose_N6: np.ndarray
    brows_N: np.ndarray
    shut_N: np.ndarray

    @staticmethod
    def none(count: int) -> Acts:
        """A face that does nothing."""
        return Acts(np.zeros(count, bool), np.zeros((count, 6)), np.zeros(count), np.zeros(count))


def acts_of(
    wave: np.ndarray, speech_N: np.ndarray, times_s: np.ndarray, ranges: Sequence[tuple[int, int]], seed: int, *,
    moves: bool, blinking: bool,
) -> Acts:  # fmt: skip
    """The same sound, times and seed give the same acts.

    wave: float32 mono 16 kHz; speech_N: bool, where this face speaks; times_s: (N,) middles of frames, rising, 0 at the
    first sample; ranges: frames [a, b) of these in which it may act.
    """
    count = len(times_s)
    share_N = np.zeros(count)
    for a, b in ranges:
        at = times_s[a:b]
        if not len(at):
            continue
        share = np.ones(len(at))
        if a > 0:
            share = np.minimum(share, (at - at[0]) / _LEAVES_S)
        if b < count:
            share = np.minimum(share, (at[-1] - at) / _LEAVES_S)
        share_N[a:b] = share * share * (3 - 2 * share)
    none = Acts.none(count)
    acts_N = none.acts_N
    for a, b in ranges:
        acts_N[a:b] = True
    pose_N6, brows_N, shut_N = none.pose_N6, none.brows_N, none.shut_N
    heard = _own(wave, speech_N, times_s)
    if moves:
        pose_N6 = motion.poses(heard, times_s, seed) * share_N[:, None]
        brows_N = brows.lifts(heard, times_s, seed + 1) * share_N
    if blinking:
        begins = blinks.blink_times(heard, float(times_s[-1]), seed + 2)
        frame_s = float(np.median(np.diff(times_s))) if count > 1 else 0.04
        shut_N = np.array([blinks.shut_at(begins, float(t), frame_s) for t in times_s]) * (share_N > 0)
    return Acts(acts_N, pose_N6, brows_N, shut_N)


def _own(wave: np.ndarray, speech_N: np.ndarray, times_s: np.ndarray) -> Heard:
    """The dub as this face says it: what others say, and music, does not move it."""
    steps = np.arange(round(len(wave) / RATE_HZ * STEP_HZ) + 1) / STEP_HZ
    says = np.interp(steps, times_s, np.asarray(speech_N, float))
    reach = 2 * round(_PAD_S * STEP_HZ) + 1
    says = cv2.blur(says[None], (reach, 1), borderType=cv2.BORDER_REPLICATE)[0]
    gain = np.interp(np.arange(len(wave)) / RATE_HZ, steps, np.clip(3 * says, 0, 1))
    return hear((wave * gain).astype(np.float32))
