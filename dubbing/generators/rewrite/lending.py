"""Who lends a mouth to each frame of a stretch: the shot's own frames, or where none is near, the actor's other shots.

An own frame costs what `select` says. A frame of the store costs more: leaving the shot, other light, another size,
less detail; where one of these is too far it may not lend at all. So an own mouth that is near always stays first. The
mouth of another shot is then made to fit: its size, its light, its sharpness and grain. It knows no file, and nobody
but this one actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dubbing.generators.rewrite.donors import Store, light_of
from dubbing.generators.rewrite.geometry import Box, Face
from dubbing.generators.rewrite.select import choose, distances
from dubbing.generators.rewrite.transitions import dissolves

__all__ = ["Here", "Lent", "WEIGHTS", "fitted", "lend", "misses", "reach"]

WEIGHTS = np.array([1 / 0.03, 1 / 0.05, 1 / 0.05])
"""Of opening, width and protrusion: lengths in inter-ocular distances, where one unit is about a visible difference."""
VISIBLE = 1.0  # cost beyond which a miss of the own frames is seen
_LEAVING, _SAME_TRACK = 0.6, 0.3  # cost of a frame that is not of this stretch
_CROSSING = 0.5  # cost of going over to another shot, or back
_MOST_UP = 1.3  # times that a mouth may be enlarged
_MOST_TURN = 20.0  # degrees by which the head of another shot may be turned away
_MOST_LIGHT, _MOST_TINT = 0.8, 0.25  # log2 of code values: brighter or darker in all, in one channel
_SLOPES = np.array([0.4, 1.0])  # of light across and down, over its mean: down it a beard looks like shade
_ROLL = 0.75  # of a turn's cost is given back where heads are only tilted otherwise, which bending undoes
_MOST = 240  # frames of a store among which one stretch chooses


@dataclass(frozen=True, eq=False)
class Here:
    """The stretch that borrows, T frames. track: its id; first_frame: of the title; scale_T: pixels of an inter-ocular
    distance; light_33: `donors.light_of`, grain_B: `grain.levels`, both of one frame of it."""

    track: str
    first_frame: int
    scale_T: np.ndarray
    light_33: np.ndarray
    grain_B: np.ndarray


@dataclass(frozen=True, eq=False)
class Lent:
    """Who lends to T frames. path_T: places among S lenders, of which the first `own` are the stretch's frames and the
    others those of the store at `at`; want_TK, have_SK: wanted mouths and theirs; run_S: numbers of runs, equal where
    they follow each other in the film; usable_S, forbidden_TS: bool, who may lend at all, and who must not to a frame.
    """

    path_T: np.ndarray
    want_TK: np.ndarray
    have_SK: np.ndarray
    run_S: np.ndarray
    usable_S: np.ndarray
    own: int
    at: np.ndarray
    forbidden_TS: np.ndarray | None = None

    def lenders(self) -> list[list[tuple[int, float]]]:
        """The lenders of every frame with their weights: two where one mouth dissolves into another."""
        return dissolves(self.path_T, self.want_TK, self.have_SK, self.run_S, self.usable_S, self.forbidden_TS)


def misses(
    want_TK: np.ndarray, have_SK: np.ndarray, turn_T3: np.ndarray, turn_S3: np.ndarray, usable_S: np.ndarray,
    pose_weight: float,
) -> np.ndarray:  # fmt: skip
    """How far the nearest of a stretch's own usable frames is from each wanted mouth, (T,), in the units of
    `select.choose`; over VISIBLE it is seen."""
    cost = distances(want_TK, have_SK, turn_T3, turn_S3, WEIGHTS[: want_TK.shape[1]], pose_weight)
    return np.asarray(cost[:, usable_S].min(1))


def lend(
    want_TK: np.ndarray,
    have_SK: np.ndarray,
    turn_T3: np.ndarray,
    turn_S3: np.ndarray,
    usable_S: np.ndarray,
    *,
    pose_weight: float,
    jump: float,
    forbidden_TS: np.ndarray | None = None,
    changed_T: np.ndarray | None = None,
    store: Store | None = None,
    here: Here | None = None,
) -> Lent:
    """Choose for a whole stretch. changed_T: bool, frames whose mouth is rendered; others as of `select.choose`.

    store, here: the actor's other mouths, and what they must fit; they are looked at only for frames whose own stretch
    misses them visibly.
    """
    own = len(have_SK)
    weights = WEIGHTS[: want_TK.shape[1]]
    none = np.zeros(0, int)
    at, extra_TM = none, np.zeros((len(want_TK), 0))
    if store is not None and here is not None and len(store):
        miss_T = misses(want_TK, have_SK, turn_T3, turn_S3, usable_S, pose_weight)
        if changed_T is not None:
            miss_T = np.where(changed_T, miss_T, 0.0)
        at, extra_TM = _candidates(store, here, want_TK, turn_T3, miss_T, pose_weight)
    if not len(at):
        path = choose(
            want_TK, have_SK, turn_T3, turn_S3, usable_S, weights, pose_weight=pose_weight, jump=jump,
            forbidden_TS=forbidden_TS,
        )  # fmt: skip
        return Lent(path, want_TK, have_SK, np.zeros(own, int), usable_S, own, none, forbidden_TS)
    assert store is not None
    place = {int(m): own + n for n, m in enumerate(at)}
    after = store.follows_M[at]
    follows_S = np.concatenate([np.arange(1, own), [-1], [place.get(int(m), -1) for m in after]])
    have = np.concatenate([have_SK, store.measures_M3[at].astype(np.float64)])
    turn = np.concatenate([turn_S3, store.turn_M3[at].astype(np.float64)])
    usable = np.concatenate([usable_S, np.ones(len(at), bool)])
    extra = np.concatenate([np.zeros((len(want_TK), own)), extra_TM], 1)
    forbidden = ~np.isfinite(extra)
    if forbidden_TS is not None:
        forbidden[:, :own] |= forbidden_TS
    path = choose(
        want_TK, have, turn_T3, turn, usable, weights, pose_weight=pose_weight, jump=jump, forbidden_TS=forbidden,
        follows_S=follows_S, extra_TS=np.where(forbidden, 0.0, extra), crossing=(own, _CROSSING),
    )  # fmt: skip
    run_S = np.concatenate([[0], np.cumsum(follows_S[:-1] != np.arange(1, len(follows_S)))])
    return Lent(path, want_TK, have, run_S, usable, own, at, forbidden)


def _candidates(
    store: Store, here: Here, want_TK: np.ndarray, turn_T3: np.ndarray, miss_T: np.ndarray, pose_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a store that better some frame of the stretch, with those beside them in their runs: places in the
    store, rising, and what each costs more than an own frame, (T, M), infinite where it may not lend."""
    none = np.zeros(0, int), np.zeros((len(want_TK), 0))
    if not (miss_T > VISIBLE).any():
        return none
    extra = _extra(store, here, turn_T3, pose_weight)
    cost = distances(want_TK, store.measures_M3, turn_T3, store.turn_M3, WEIGHTS[: want_TK.shape[1]], pose_weight)
    gain_M = np.where(miss_T[:, None] > VISIBLE, miss_T[:, None] - cost - extra, -np.inf).max(0)
    good = np.flatnonzero(gain_M > 0)
    if not len(good):
        return none
    good = good[np.argsort(-gain_M[good], kind="stable")][:_MOST]
    keep = np.zeros(len(store), bool)
    keep[good] = True
    after = store.follows_M
    for _ in range(2):  # its neighbours, so that the mouth can move on
        keep[after[keep & (after >= 0)]] = True
        keep[np.flatnonzero(after >= 0)[keep[after[after >= 0]]]] = True
    keep &= np.isfinite(extra).any(0)
    at = np.flatnonzero(keep)
    return at, extra[:, at]


def _extra(store: Store, here: Here, turn_T3: np.ndarray, pose_weight: float) -> np.ndarray:
    """What each frame of a store costs beside its mouth and turn, (T, M), infinite where it may not lend."""
    mine = np.flatnonzero(store.tracks == here.track)
    same_M = np.isin(store.track_M, mine)
    inside_M = same_M & (store.frame_M >= here.first_frame) & (store.frame_M < here.first_frame + len(turn_T3))
    cost_M = np.where(same_M, _SAME_TRACK, _LEAVING)
    wanted, light = here.light_33, store.light_M33.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain_MC = np.log2(np.maximum(wanted[0], 1.0) / np.maximum(light[:, 0], 1.0))
        bright_M = gain_MC.mean(1)
        tint_M = np.abs(gain_MC - bright_M[:, None]).max(1)
        slope_M2 = wanted[1:].mean(1) / max(float(wanted[0].mean()), 1.0) - (
            light[:, 1:].mean(2) / np.maximum(light[:, 0].mean(1), 1.0)[:, None]
        )
        soft_M = np.log2((here.grain_B[0] + 0.3) / (store.grain_MB[:, 0] + 0.3))
    cost_M = cost_M + 0.5 * (bright_M / 0.4) ** 2 + 0.5 * (tint_M / 0.12) ** 2
    cost_M += 0.5 * ((slope_M2 / _SLOPES) ** 2).sum(1)
    cost_M += 0.3 * np.maximum(np.nan_to_num(soft_M), 0) ** 2
    never_M = inside_M | ~np.isfinite(cost_M) | (np.abs(bright_M) > _MOST_LIGHT) | (tint_M > _MOST_TINT)
    up_TM = here.scale_T[:, None] / store.scale_M[None].astype(np.float64)
    out = cost_M[None] + 0.5 * (np.maximum(up_TM - 1, 0) / 0.3) ** 2
    tilt_TM = np.minimum((turn_T3[:, None, 2] - store.turn_M3[None, :, 2]) ** 2, 225.0)
    out -= _ROLL * pose_weight * tilt_TM
    turned_TM = np.abs(turn_T3[:, None, :2] - store.turn_M3[None, :, :2]).max(-1) > _MOST_TURN
    return np.where(never_M[None] | (up_TM > _MOST_UP) | turned_TM, np.inf, out)


def fitted(store: Store, m: int, target: Face, scale: float) -> Face:
    """A frame of a store as it may lend to a target: no larger than needed, and in the target's light.

    scale: pixels of an inter-ocular distance in the target.
    """
    donor = store.face(m)
    part = scale / float(store.scale_M[m])
    bgr, mesh = donor.bgr_HWC, donor.mesh_P2
    if part < 0.9:
        width, height = (max(8, round(v * part)) for v in (donor.box.width, donor.box.height))
        size = np.array([width / donor.box.width, height / donor.box.height])
        bgr = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        mesh = (mesh + 0.5) * size - 0.5
    light = light_of(target.bgr_HWC, target.local_P2)[0]
    own = store.light_M33[m, 0].astype(np.float64)
    most = 2.0 ** (_MOST_LIGHT + _MOST_TINT)
    gain = np.clip(np.maximum(light, 1.0) / np.maximum(own, 1.0), 1 / most, most)
    gain = np.where(np.isfinite(gain), gain, 1.0)
    shone = bgr.astype(np.float32) * gain.astype(np.float32)
    # as floats even of 8 bits: what is bent and matched next should not be rounded twice
    return replace(donor, pixels=np.clip(shone, 0, 255), box=Box(0, 0, bgr.shape[1], bgr.shape[0]), mesh_P2=mesh)


def reach(
    have_NK: np.ndarray, usable_N: np.ndarray, store: Store | None, percentiles: Sequence[float] = (1.0, 99.0)
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest opening, width and protrusion, each (3,), that an actor's frames show.

    have_NK, usable_N: of the shot; store: of all shots, whose frames were chosen to cover what there is. Percentiles,
    because a mesh errs.
    """
    low, high = np.percentile(have_NK[usable_N] if usable_N.any() else have_NK, percentiles, axis=0)
    if store is not None and len(store) >= 20:
        found = np.percentile(store.measures_M3.astype(np.float64), percentiles, axis=0)
        low, high = np.minimum(low, found[0]), np.maximum(high, found[1])
    return np.asarray(low), np.asarray(high)
