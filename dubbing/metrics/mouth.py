"""Our own metrics: whether the mouth follows, how it rests, whether it is quiet in silence, and how sharp it is."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar

import cv2
import numpy as np

from dubbing.face import LIPS
from dubbing.metrics import FramePair, Metric, RenderedShot
from dubbing.records import Samples

__all__ = ["STILL", "Following", "LipLeak", "RestOpening", "Sharpness", "SilenceMotion"]

_LEAST_PAIRS = 3  # of frames running
STILL = 0.002  # inter-ocular distances a frame: the mesh's own noise on a mouth that does not move


class Following(Metric):
    """How well the opening that is seen follows the one that was wanted: their correlation over rendered frames.

    None where nothing was wanted, or always the same.
    """

    name: ClassVar[str] = "following"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "correlation"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def of(self, shot: RenderedShot) -> float | None:
        patched_N = shot.patched_N
        wanted_N = shot.wanted_N[patched_N]
        if patched_N.sum() > 5 and np.std(wanted_N) > 1e-4:
            return float(np.corrcoef(wanted_N, shot.opening_N[patched_N])[0, 1])
        return None


class RestOpening(Metric):
    """How far the rendered mouth stands open while the dub is silent: the median. None where it is never silent."""

    name: ClassVar[str] = "rest_opening"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "inter-ocular distances"
    range: ClassVar[tuple[float, float]] = (0.0, inf)

    def of(self, shot: RenderedShot) -> float | None:
        silent_N = shot.silent_N & shot.patched_N
        return float(np.median(shot.opening_N[silent_N])) if silent_N.any() else None


class SilenceMotion(Metric):
    """Motion of the opening while the dub is silent, over the source's while it is: 1 is as quiet as the source.

    None where either has no three pairs of silent frames.
    """

    name: ClassVar[str] = "silence_motion"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    range: ClassVar[tuple[float, float]] = (0.0, inf)

    def of(self, shot: RenderedShot) -> float | None:
        silent_N, was_silent_N = shot.silent_N & shot.patched_N, shot.source_silent_N
        pairs, was_pairs = silent_N[1:] & silent_N[:-1], was_silent_N[1:] & was_silent_N[:-1]
        if min(pairs.sum(), was_pairs.sum()) < _LEAST_PAIRS:
            return None
        still = float(np.abs(np.diff(shot.source_opening_N))[was_pairs].mean())
        return float(np.abs(np.diff(shot.opening_N))[pairs].mean()) / max(still, STILL)


class LipLeak(Metric):
    """Motion of the opening while the dub is silent, over that of the true performance in speech: 0 rests, 1 talks on.

    Where the original has no sound, and so no known speech, over the result's own motion while the dub speaks. None
    where either has no three pairs of such frames. KeySync (Bigata et al. 2025) gave it the name; there it is the part
    of the frames with an open mouth in a clip that was rendered to silence.
    """

    name: ClassVar[str] = "lip_leak"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    range: ClassVar[tuple[float, float]] = (0.0, inf)

    def of(self, shot: RenderedShot) -> float | None:
        silent_N = shot.silent_N & shot.patched_N
        if shot.source_wave is not None:
            speaks_N, spoken_N = ~shot.source_silent_N, shot.source_opening_N
        else:
            speaks_N, spoken_N = ~shot.silent_N & shot.patched_N, shot.opening_N
        pairs, speech = silent_N[1:] & silent_N[:-1], speaks_N[1:] & speaks_N[:-1]
        if min(pairs.sum(), speech.sum()) < _LEAST_PAIRS:
            return None
        moves = float(np.abs(np.diff(spoken_N))[speech].mean())
        return float(np.abs(np.diff(shot.opening_N))[pairs].mean()) / max(moves, STILL)


class Sharpness(Metric):
    """Detail around the mouth, result over source, 1 = equal: the mean absolute Laplacian, its median over frames."""

    name: ClassVar[str] = "sharpness"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    range: ClassVar[tuple[float, float]] = (0.0, inf)

    def frame(self, pair: FramePair) -> Sequence[float]:
        """Detail of source and result, code values."""
        return _detail(pair.before, pair.before_P2), _detail(pair.after, pair.after_P2)

    def of(self, shot: RenderedShot) -> float | None:
        if not len(shot.seen_KC):
            return None
        before, after = np.median(shot.seen_KC, axis=0)
        return float(after / max(before, 1e-6))


def _detail(picture: np.ndarray | Samples, mesh_P2: np.ndarray) -> float:
    """Mean absolute Laplacian of the mouth's surroundings, in code values."""
    lips = mesh_P2[list(LIPS)]
    low, high = lips.min(0), lips.max(0)
    room = 0.25 * (high - low).max()
    x0, y0 = np.maximum(np.floor(low - room), 0).astype(int)
    x1, y1 = np.ceil(high + room).astype(int)
    height, width = picture.shape[:2]
    if y0 >= min(y1, height) or x0 >= min(x1, width):
        return 0.0
    around = slice(y0, y1), slice(x0, x1)
    part = picture[around] if isinstance(picture, np.ndarray) else picture.shown(*around)
    gray = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    return float(np.abs(cv2.Laplacian(gray, cv2.CV_32F)).mean())
