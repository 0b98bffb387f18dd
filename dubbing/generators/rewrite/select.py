"""Which of the actor's own frames lends its mouth to each output frame. Shapes and poses only.

A Viterbi search over source frames, after Video Rewrite (Bregler, Covell, Slaney 1997): each frame's
cost is how far its mouth is from the wanted one and its head from the target's; runs of consecutive
source frames are free, so real coarticulation, teeth and tongue come along.
"""

from __future__ import annotations

import numpy as np

__all__ = ["choose"]

_NEVER = 1e12
_NEAR = 3  # frames within which a mouth goes on
_STILL, _BACK, _FAST = 0.25, 0.25, 0.25  # of a jump's cost: holding a frame, each frame back, each frame beyond the next


def choose(
    wanted_TK: np.ndarray,
    have_SK: np.ndarray,
    pose_T3: np.ndarray,
    pose_S3: np.ndarray,
    usable_S: np.ndarray,
    weights_K: np.ndarray,
    *,
    pose_weight: float = 0.02,
    jump: float = 0.6,
    forbidden_TS: np.ndarray | None = None,
) -> np.ndarray:
    """A source frame for every output frame, int (T,), indices into S.

    wanted_TK, have_SK: mouth features of output and source, in standard deviations; pose_T3, pose_S3:
    yaw, pitch, roll in degrees; usable_S: bool, frames that may lend; weights_K: importance of each
    feature; pose_weight: cost of one square degree; jump: cost of leaving a run; forbidden_TS: bool, source
    frames that must not serve an output frame. Raises ValueError when no source frame is usable, or none is
    left for an output frame.
    """
    pool = np.flatnonzero(usable_S)
    if not len(pool):
        raise ValueError("no usable source frame")
    have, pose = have_SK[pool] * weights_K, pose_S3[pool]
    want = wanted_TK * weights_K
    frame_cost = ((want[:, None] - have[None]) ** 2).sum(-1)
    frame_cost += pose_weight * np.minimum(((pose_T3[:, None] - pose[None]) ** 2).sum(-1), 400.0)
    if forbidden_TS is not None:
        if forbidden_TS[:, pool].all(1).any():
            raise ValueError("no source frame is left for an output frame: all are forbidden")
        frame_cost[forbidden_TS[:, pool]] = _NEVER
    # going from a to b costs `jump` plus how unlike b is to the frame that would follow a
    following = np.searchsorted(pool, pool + 1).clip(0, len(pool) - 1)
    unlike = ((have[following][:, None] - have[None]) ** 2).sum(-1)
    move = jump + np.minimum(0.5 * unlike, 2 * jump)
    runs = pool[following] == pool + 1
    stay = np.arange(len(pool))
    # a mouth changes little from frame to frame: it may go slower, faster or back
    ahead, steps = stay[runs], 1
    behind = following[runs]
    while steps <= _NEAR and len(ahead):
        move[behind, ahead] = np.minimum(move[behind, ahead], jump * _BACK * steps)
        move[ahead, behind] = np.minimum(move[ahead, behind], jump * _FAST * (steps - 1))
        on = runs[behind]
        ahead, behind, steps = ahead[on], following[behind[on]], steps + 1
    move[stay, stay] = jump * _STILL
    total = frame_cost[0].copy()
    back = np.zeros((len(want), len(pool)), np.int32)
    for t in range(1, len(want)):
        reach = total[:, None] + move
        back[t] = reach.argmin(0)
        total = reach[back[t], stay] + frame_cost[t]
    path = np.empty(len(want), int)
    path[-1] = int(total.argmin())
    for t in range(len(want) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return pool[path]
