"""What a head does in one sequence, 25 times a second; between, keypoints at exact times.

As published, for a sequence in place of a recording (a photograph's whole performance, a line of a film): expressions
from the sound, a motion of the head drawn from chance, blinks, smoothing, windows of 27 frames. Chance depends on seed,
track and first frame alone: so a rerun, or one window of a long sequence, gives the same pictures.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dubbing.generators.sadtalker.settings import SadTalkerSettings
from dubbing.networks.sadtalker import windows
from dubbing.networks.sadtalker.pose import CHANCE, PoseVAE
from dubbing.networks.sadtalker.run import Face, SadTalker
from dubbing.networks.sadtalker.windows import EXPRESSION
from dubbing.sound import RATE_HZ

__all__ = ["Performance", "References"]


@dataclass(frozen=True, eq=False)
class References:
    """Coefficients (T, 73) of films whose head or eyes are followed, 25 times a second; None where none is."""

    pose: np.ndarray | None = None
    eyes: np.ndarray | None = None


class Performance:
    """One sequence.

    wave: float32 mono 16 kHz of its track; span: when its first and its last frame begin, exact seconds from the wave's
    first sample; still: coefficients (73,) of its photograph, or of its first frame; whose: its track and first frame;
    moves: whether the head does; blinks: whether the lids do.
    """

    def __init__(
        self,
        net: SadTalker,
        settings: SadTalkerSettings,
        wave: np.ndarray,
        span: tuple[Fraction, Fraction],
        still: np.ndarray,
        whose: tuple[str, int],
        moves: bool,
        blinks: bool,
        references: References,
    ) -> None:
        self._net, self._begins, self._scale = net, span[0], settings.expression_scale
        count = self.count = -int(-(span[1] - span[0]) * windows.FPS // 1) + 1
        first = int(span[0] * RATE_HZ)
        heard = wave[first : first + count * windows.PER_FRAME]
        heard = np.pad(heard, (0, count * windows.PER_FRAME - len(heard))).astype(np.float32)
        sound = windows.mel_windows(windows.spectrogram(heard), windows.starts(count))
        seed = [settings.seed, zlib.crc32(whose[0].encode()), whose[1]]
        chance = np.random.default_rng(seed)
        own = np.tile(still[None, :EXPRESSION], (count, 1)).astype(np.float32)
        ratio = np.zeros(count, np.float32)
        if references.eyes is not None:
            own = _looped(references.eyes[:, :EXPRESSION], count)
        elif blinks:
            ratio = windows.blinks(count, random.Random("-".join(map(str, seed))))
        self._expression = net.expressions(sound, own, ratio)
        pose = np.tile(still[None, EXPRESSION:70], (count, 1)).astype(np.float32)
        self._angles: dict[str, np.ndarray] = {}
        if moves:
            drawn = chance.standard_normal((PoseVAE.blocks(count), CHANCE)).astype(np.float32)
            pose = windows.smooth(net.poses(sound, still[EXPRESSION:70], settings.style, drawn))
            if references.pose is not None:
                there = references.pose[:, EXPRESSION:70]
                pose = pose + _looped(there - there[:1], count)
            asked: Mapping[str, tuple[float, ...] | None] = {
                "yaw": settings.yaw, "pitch": settings.pitch, "roll": settings.roll
            }  # fmt: skip
            self._angles = {name: windows.angles(a, count) for name, a in asked.items() if a is not None}
        self._pose = pose
        self._full = net.coefficients == 73
        self._known: dict[int, np.ndarray] = {}

    def old(self, face: Face, own_73: np.ndarray) -> np.ndarray:
        """Keypoints (15, 3) of a picture as it is, from its own coefficients."""
        return self._net.keypoints(face, self._window(own_73[None, : self._net.coefficients], 0), {})[0]

    def new(self, face: Face, time_s: Fraction, own_73: np.ndarray, keep: bool) -> np.ndarray:
        """Keypoints (15, 3) of a moment, exact seconds from the wave's first sample.

        own: coefficients of the picture that is moved. keep: whether what was found for a 25th of a second is that of
        every frame, as of a photograph's.
        """
        at = (time_s - self._begins) * windows.FPS
        k = min(max(int(at // 1), 0), self.count - 1)
        part = float(at - k)
        before = self._tick(face, k, own_73, keep)
        if part <= 0 or k + 1 >= self.count:
            return before
        return before + (self._tick(face, k + 1, own_73, keep) - before) * np.float32(part)

    def _tick(self, face: Face, k: int, own_73: np.ndarray, keep: bool) -> np.ndarray:
        if keep and k in self._known:
            return self._known[k]
        reach = 13
        low, high = max(0, k - reach), min(self.count, k + reach + 1)
        pose = self._pose[low:high] if keep else np.tile(own_73[None, EXPRESSION:70], (high - low, 1))
        whole = windows.assembled(self._expression[low:high], pose, own_73, scale=self._scale, full=self._full)
        angles = {name: found[k : k + 1] for name, found in self._angles.items()}
        found = self._net.keypoints(face, self._window(whole, k - low), angles)[0]
        if keep:
            self._known = {n: kept for n, kept in self._known.items() if n >= k - 1} | {k: found}
        return found

    @staticmethod
    def _window(coefficients: np.ndarray, at: int) -> np.ndarray:
        return windows.renderer_window(coefficients.astype(np.float32), [at])


def _looped(values_TC: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(values_TC[np.arange(count) % len(values_TC)], np.float32)
