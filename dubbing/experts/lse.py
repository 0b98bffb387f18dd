"""LSE: the distance between lips and sound, by the definition that all published numbers use.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016), as used by Prajwal et al.,
"A lip sync expert is all you need" (2020): windows of 5 frames at 25 fps and the 0.2 s of sound under
them, both embedded in one space by a sync expert; for window v and shift s in -15..15

    d(v, s) = || l_v - a_(v+s) + 1e-6 ||,   a zero outside the stretch

averaged over v; LSE-D is the least over s, LSE-C the median over s minus the least, the offset
-argmin over s: positive means that the sound is early. A stretch of n frames at 25 fps has n - 5
windows (the published code leaves the last one out). Nothing here knows where embeddings come from.

Axes: V windows, S shifts, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dubbing.records import Score

__all__ = ["FPS", "MIN_FRAMES", "SHIFTS", "WINDOW", "Lse", "confidence", "instants", "lse", "score", "windows_in"]

FPS = 25
WINDOW = 5
SHIFTS = 15
MIN_FRAMES = 6
_EPS = 1e-6
_MEDIAN = 9


@dataclass(frozen=True, eq=False)
class Lse:
    """offset: frames at 25 fps, positive when the sound is early; d: LSE-D; c: LSE-C; distance_S:
    float64 (2 vshift + 1,), mean distance at shifts -vshift..vshift; distance_SV: float32, of every window
    that counts."""

    offset: int
    d: float
    c: float
    distance_S: np.ndarray
    distance_SV: np.ndarray


def instants(times_s: np.ndarray) -> np.ndarray:
    """The instants k / 25 s at which a stretch is seen by an expert, float64 (n,), from its first frame's start.

    times_s: (N,) the start of each frame in seconds, increasing. The last frame is taken to last as
    long as the median frame.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) < 2:
        return times.copy()
    length_s = times[-1] - times[0] + float(np.median(np.diff(times)))
    # A frame time rounded to its time base must not cost the stretch an instant.
    return times[0] + np.arange(int(length_s * FPS + 0.05)) / FPS


def windows_in(times_s: np.ndarray) -> int:
    """How many windows a stretch rests on: 0 under 6 frames, or where 5 frames at 25 fps do not fit.

    n - 5 of n frames at 25 fps; one for n = 5, so that every stretch of 6 frames at up to 30 fps has one.
    """
    count = len(instants(times_s))
    return max(count - WINDOW, 1) if len(times_s) >= MIN_FRAMES and count >= WINDOW else 0


def lse(video_VE: np.ndarray, audio_AE: np.ndarray, vshift: int = SHIFTS, counted_V: np.ndarray | None = None) -> Lse:
    """The distance curve of lips and sound, and LSE read from it.

    video_VE: (V, E) embeddings of windows 0..V-1; audio_AE: (A, E), of the sound under the same
    windows (A may differ from V: what is missing counts as zeros); counted_V: bool, the windows that
    count, None for all; sound of the others is still shifted under these. Raises ValueError on other
    shapes or without a window.
    """
    video = np.asarray(video_VE, np.float32)
    audio = np.asarray(audio_AE, np.float32)
    if video.ndim != 2 or audio.ndim != 2 or video.shape[1] != audio.shape[1] or not len(video):
        raise ValueError(f"embeddings are (V, E) and (A, E) with V > 0, not {video.shape} and {audio.shape}")
    count = len(video)
    padded = np.zeros((count + 2 * vshift, video.shape[1]), np.float32)
    held = audio[: count + vshift]
    padded[vshift : vshift + len(held)] = held
    distance_SV = np.empty((2 * vshift + 1, count), np.float32)
    for shift in range(2 * vshift + 1):
        apart = video - padded[shift : shift + count] + np.float32(_EPS)
        distance_SV[shift] = np.sqrt(np.einsum("ve,ve->v", apart, apart, dtype=np.float64))
    if counted_V is not None and not counted_V.all():
        if not counted_V.any():
            raise ValueError(f"none of {count} windows counts")
        distance_SV = distance_SV[:, counted_V]
    distance_S = distance_SV.mean(1, dtype=np.float64)
    best = int(distance_S.argmin())
    least = float(distance_S[best])
    return Lse(vshift - best, least, float(np.median(distance_S)) - least, distance_S, distance_SV)


def confidence(result: Lse) -> np.ndarray:
    """LSE-C window by window, float32 (V,): how far each window's distance at the stretch's own best
    shift lies below the median of the mean curve, median-filtered over 9 windows (zeros outside)."""
    best = int(result.distance_S.argmin())
    raw = np.median(result.distance_S) - result.distance_SV[best]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(raw, _MEDIAN // 2), _MEDIAN)
    return np.median(around, axis=1).astype(np.float32)


def score(video_VE: np.ndarray, audio_AE: np.ndarray, model: str) -> Score | None:
    """The record of one stretch, by the expert named `model` (`name@hash12`); None without a window."""
    if not len(video_VE):
        return None
    result = lse(video_VE, audio_AE)
    return Score(
        d=result.d,
        c=result.c,
        offset_frames=float(result.offset),
        windows=len(video_VE),
        model=model,
        distance_S=result.distance_S.astype(np.float32),
        at_zero=float(result.distance_S[SHIFTS]),
    )
