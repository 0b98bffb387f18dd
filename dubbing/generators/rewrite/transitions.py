"""From one donor to the next without a jump, and lips that look like the donor's.

Between frames that follow each other, forward or back, a mouth changes little. Where the donor changes otherwise, one
mouth dissolves into the other over a few frames, each bent onto the same wanted lips. The wanted lips take over what
the donor's lips have of their own, their thickness most of all: what is bent least looks best. Knows shapes only.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.face import INNER_LIPS, LOWER_FACE, OUTER_LIPS

__all__ = ["ALIKE", "NEAR", "dissolves", "own_lips"]

NEAR = 3  # frames of the film within which a mouth goes on rather than changes
ALIKE = 0.03  # openings (inter-ocular distances) of mouths that may be laid over each other; up to twice that, less
_FRAMES = 2  # on either side of a change
_OWN = 0.75  # of what the donor's lips have of their own
_OWN_FRAMES = 1.0  # standard deviation of its smoothing in time
_LIP_PLACES = np.array([LOWER_FACE.index(p) for p in OUTER_LIPS + INNER_LIPS])


def dissolves(
    path_T: np.ndarray,
    want_TK: np.ndarray,
    have_SK: np.ndarray,
    run_S: np.ndarray,
    usable_S: np.ndarray,
    forbidden_TS: np.ndarray | None = None,
) -> list[list[tuple[int, float]]]:
    """The lenders of every frame with their weights, which add up to 1: one, or two near a change.

    path_T: who lends; want_TK, have_SK: wanted mouths and those of the lenders in the same units, the opening first in
    inter-ocular distances; run_S: which run of the film each lender is of (equal numbers follow each other there);
    usable_S: bool, who may lend; forbidden_TS: bool, who must not lend to a frame. An open mouth under a closed one
    would be a veil: they are not mixed.
    """
    lent = [[(int(d), 1.0)] for d in path_T]
    steps = np.abs(np.diff(path_T))
    changes = np.flatnonzero((steps > NEAR) | (run_S[path_T[1:]] != run_S[path_T[:-1]])) + 1
    edges = [0, *changes.tolist(), len(path_T)]
    for n, change in enumerate(edges[1:-1], start=1):
        before, after = min(_FRAMES, (change - edges[n - 1]) // 2), min(_FRAMES, (edges[n + 1] - change + 1) // 2)
        count = before + after + 1
        for side, reach in ((1, after), (-1, before)):
            other = int(path_T[change - 1 if side > 0 else change])
            for k in range(reach):
                t = change + k if side > 0 else change - 1 - k
                other = _going_on(other, want_TK[t], have_SK, run_S, usable_S)
                here = int(path_T[t])
                apart = abs(have_SK[here, 0] - have_SK[other, 0])
                weight = (reach - k) / count * float(np.clip(2 - apart / ALIKE, 0, 1))
                allowed = forbidden_TS is None or not forbidden_TS[t, other]
                if weight > 0.02 and other != here and allowed:
                    lent[t] = [(here, 1 - weight), (other, weight)]
    return lent


def _going_on(last: int, want_K: np.ndarray, have_SK: np.ndarray, run_S: np.ndarray, usable_S: np.ndarray) -> int:
    """Of the frames next to a lender, the one whose mouth is most like the wanted one."""
    near = np.arange(max(0, last - 2), min(len(have_SK), last + 3))
    near = near[(run_S[near] == run_S[last]) & (usable_S[near] | (near == last))]
    return int(near[((have_SK[near] - want_K) ** 2).sum(1).argmin()])


def own_lips(left_SL3: np.ndarray, left_TL3: np.ndarray, lent: list[list[tuple[int, float]]]) -> np.ndarray:
    """What is added to wanted lower faces, (T, L, 3), so that lips look like those that are lent; 0 beside the lips.

    left_SL3: what lenders show beyond opening and width, left_TL3: the same of the wanted faces. Lenders whose place is
    beyond the list add nothing.
    """
    added = np.zeros_like(left_TL3)
    for t, lenders in enumerate(lent):
        for d, weight in lenders:
            if d < len(left_SL3):
                own = left_SL3[d, _LIP_PLACES] - left_TL3[t, _LIP_PLACES]
                added[t, _LIP_PLACES] += weight * (own - own.mean(0))  # the shape of the lips, not their place
    return np.asarray(gaussian_filter1d(_OWN * added, _OWN_FRAMES, axis=0, mode="nearest"))
