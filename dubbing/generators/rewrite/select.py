"""Which of the actor's own frames lends its mouth to each output frame. Shapes and poses only.

A Viterbi search over source frames, after Video Rewrite (Bregler, Covell, Slaney 1997): each frame's
cost is how far its mouth is from the wanted one and its head from the target's; runs of consecutive
source frames are free, so real coarticulation, teeth and tongue come along.
"""

from __future__ import annotations

import numpy as np

__all__ = ["choose", "distances"]

_NEVER = 1e12
_NEAR = 3  # frames within which a mouth goes on
_STILL, _BACK, _FAST = (
    0.25,
    0.25,
    0.25,
)  # of a jump's cost: holding a frame, each frame back, each frame beyond the next


def distances(
    wanted_TK: np.ndarray, have_SK: np.ndarray, pose_T3: np.ndarray, pose_S3: np.ndarray, weights_K: np.ndarray,
    pose_weight: float,
) -> np.ndarray:  # fmt: skip
    """How far each source frame's mouth and head are from each output frame's, (T, S), as of `choose`."""
    found = (((wanted_TK[:, None] - have_SK[None]) * weights_K) ** 2).sum(-1)
    found += pose_weight * np.minimum(((pose_T3[:, None] - pose_S3[None]) ** 2).sum(-1), 400.0)
    return np.asarray(found)


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
    follows_S: np.ndarray | None = None,
    extra_TS: np.ndarray | None = None,
    crossing: tuple[int, float] | None = None,
) -> np.ndarray:
    """A source frame for every output frame, int (T,), indices into S.

    wanted_TK, have_SK: mouth features of output and source, in standard deviations; pose_T3, pose_S3:
    yaw, pitch, roll in degrees; usable_S: bool, frames that may lend; weights_K: importance of each
    feature; pose_weight: cost of one square degree; jump: cost of leaving a run; forbidden_TS: bool, source
    frames that must not serve an output frame; follows_S: which frame comes after each, -1 for none (None: the next);
    extra_TS: what each costs beside; crossing: (n, cost) of going from the first n frames to the others, or back.
    Raises ValueError when no source frame is usable, or none is left for an output frame.
    """
    pool = np.flatnonzero(usable_S)
    if not len(pool):
        raise ValueError("no usable source frame")
    have, pose = have_SK[pool] * weights_K, pose_S3[pool]
    frame_cost = distances(wanted_TK, have_SK[pool], pose_T3, pose, weights_K, pose_weight)
    if extra_TS is not None:
        frame_cost += extra_TS[:, pool]
    if forbidden_TS is not None:
        if forbidden_TS[:, pool].all(1).any():
            raise ValueError("no source frame is left for an output frame: all are forbidden")
        frame_cost[forbidden_TS[:, pool]] = _NEVER
    # going from a to b costs `jump` plus how unlike b is to the frame that would follow a
    after = pool + 1 if follows_S is None else np.where(follows_S[pool] >= 0, follows_S[pool], pool)
    following = np.searchsorted(pool, after).clip(0, len(pool) - 1)
    unlike = ((have[following][:, None] - have[None]) ** 2).sum(-1)
    move = jump + np.minimum(0.5 * unlike, 2 * jump)
    if crossing is not None:
        own = pool < crossing[0]
        move += crossing[1] * (own[:, None] != own[None])
    runs = (pool[following] == after) & (after != pool)
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
    back = np.zeros((len(wanted_TK), len(pool)), np.int32)
    for t in range(1, len(wanted_TK)):
        reach = total[:, None] + move
        back[t] = reach.argmin(0)
        total = reach[back[t], stay] + frame_cost[t]
    path = np.empty(len(wanted_TK), int)
    path[-1] = int(total.argmin())
    for t in range(len(wanted_TK) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return pool[path]
