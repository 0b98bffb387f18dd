"""Which tracks show the same actor: by a network's descriptors of them, else by a small portrait and the proportions.

Descriptors (`networks.face_descriptor`) hold over light, pose and cuts. Without that optional network this is
deliberately cautious: it joins tracks only when pictures and proportions both agree, in similar light and pose. To
take one person for two actors costs some footage; to take two people for one actor puts the wrong mouth on
a face. It knows no file and no film.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing.face import LOWER_FACE, canonical

__all__ = [
    "NEAR", "PORTRAIT_PX", "Signature", "alikeness", "group_actors", "group_described", "portrait", "proportions",
]  # fmt: skip

PORTRAIT_PX = 64
# Where the eyes and the mouth lie in a portrait, in pixels: left eye, right eye, mouth.
_PLACES = np.array([[20.0, 26.0], [44.0, 26.0], [32.0, 50.0]], np.float32)
_EYES_MOUTH = ((33, 133), (263, 362), (61, 291))
_UPPER = 42  # rows of a portrait above the mouth
_STILL = [p for p in range(468) if p not in LOWER_FACE]
_MIN_FRAMES = 3
_ROWS = 512  # compared at once
# On 43 tracks of third-party clips: one person in two shots 1.35 to 1.99, two people at most 1.40 (two
# men of the GRID corpus in the same light); the lines between are kept apart.
_SAME = 1.46
_NOT_SAME = 1.30
_SHAPE_WEIGHT = 5.0
# How far the mean descriptors of one person's tracks lie apart. Measured on 29 tracks of third-party clips: all tracks
# of one person join from 0.38 on, and no others below 0.46, where the nearest of 390 pairs of two people lies.
NEAR = 0.40
_NEVER = 1e9


@dataclass(frozen=True, eq=False)
class Signature:
    """The look of one track. portrait_HWC: float32 (64, 64, 3) mean aligned face, 0..255, BGR;
    shape_P3: float32 (478, 3) mean canonical mesh; frames: how many frames the portrait is the mean of (0:
    none was frontal enough, and the signature matches no other)."""

    portrait_HWC: np.ndarray
    shape_P3: np.ndarray
    frames: int


def portrait(bgr_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """One face moved so that its eyes and mouth lie where every portrait has them, uint8 (64, 64, 3).

    points_P2: (478, >=2) mesh points in pixels of the picture given.
    """
    found = np.array([points_P2[list(pair), :2].mean(0) for pair in _EYES_MOUTH], np.float32)
    move = cv2.getAffineTransform(found, _PLACES)
    size = (PORTRAIT_PX, PORTRAIT_PX)
    return cv2.warpAffine(bgr_HWC, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def proportions(mesh_NP3: np.ndarray) -> np.ndarray:
    """Mean canonical mesh, float32 (478, 3), from meshes (N, 478, 3)."""
    return np.median(canonical(mesh_NP3)[0], axis=0).astype(np.float32)


def alikeness(signatures: Sequence[Signature]) -> np.ndarray:
    """How alike each two are, float32 (K, K), about -2 (unlike) to 2 (the same picture).

    The upper face's correlation at two scales, coarse and fine, less five times the distance between
    the proportions of what speech does not move (mean over points, in inter-ocular distances).
    """
    count = len(signatures)
    rows, cols = np.mgrid[0:_UPPER, 0:PORTRAIT_PX]
    weight = np.exp(-(((cols - 32) / 24.0) ** 4) - ((rows - 34) / 28.0) ** 4)
    weight = np.sqrt(weight / weight.sum()).astype(np.float32)
    alike = np.zeros((count, count), np.float32)
    gray = [cv2.cvtColor(s.portrait_HWC.astype(np.float32), cv2.COLOR_BGR2GRAY) for s in signatures]
    for width in (8, 3):
        seen = np.stack([(g - cv2.GaussianBlur(g, (0, 0), width))[:_UPPER] for g in gray])
        seen = seen - (seen * weight**2).sum(axis=(1, 2), keepdims=True)
        flat = (seen * weight).reshape(count, -1)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
        alike += flat @ flat.T
    shape = np.stack([s.shape_P3[_STILL, :2] for s in signatures]).reshape(count, -1).astype(np.float64)
    square = (shape**2).sum(1)
    for at in (slice(n, n + _ROWS) for n in range(0, count, _ROWS)):
        apart = np.sqrt(np.maximum(square[at, None] + square - 2 * shape[at] @ shape.T, 0) / len(_STILL))
        alike[at] -= np.float32(_SHAPE_WEIGHT) * apart.astype(np.float32)
    return alike


def group_actors(signatures: Sequence[Signature], apart: Collection[tuple[int, int]] = ()) -> list[int]:
    """Which tracks show one actor: a number from 0 for each signature, new actors in order of appearance.

    A track joins the group that it resembles most, if it clearly resembles it and differs from none of its members.
    apart: pairs that cannot be one person because they are in the picture together.
    """
    if not signatures:
        return []
    alike = alikeness(signatures)
    for a, b in apart:
        alike[a, b] = alike[b, a] = -np.inf
    for n, one in enumerate(signatures):
        if one.frames < _MIN_FRAMES:
            alike[n, :] = alike[:, n] = -np.inf
    groups: list[list[int]] = []
    number_K = np.zeros(len(signatures), int)
    for n in range(len(signatures)):
        least_G = np.full(len(groups), np.inf, np.float32)
        np.minimum.at(least_G, number_K[:n], alike[n, :n])
        best, at = _SAME, len(groups)
        for k in np.flatnonzero(least_G >= _NOT_SAME):
            middle = float(np.median(alike[n, groups[k]]))
            if middle >= best:
                best, at = middle, int(k)
        if at == len(groups):
            groups.append([])
        groups[at].append(n)
        number_K[n] = at
    return [int(number) for number in number_K]


def group_described(
    described: Sequence[np.ndarray | None], apart: Collection[tuple[int, int]] = (), *, near: float = NEAR
) -> list[int]:
    """Which tracks show one actor, by descriptors: a number from 0 for each, new actors in order of appearance.

    described: float32 (F, 128) of each track's pictures; None or no picture: the track is joined with no other. Groups
    grow together as long as their tracks' mean descriptors are on average within `near` of each other (Euclidean
    distance; average linkage, Sokal and Michener 1958). apart: as of `group_actors`.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to load, and every command loads this module
    from scipy.spatial.distance import pdist, squareform

    middle = {n: np.mean(x, axis=0, dtype=np.float64) for n, x in enumerate(described) if x is not None and len(x)}
    known = list(middle)
    labels = {}
    if len(known) > 1:
        far = squareform(pdist(np.stack([*middle.values()])))
        at = {n: k for k, n in enumerate(known)}
        for a, b in apart:
            if a in at and b in at:
                far[at[a], at[b]] = far[at[b], at[a]] = _NEVER
        labels = dict(zip(known, fcluster(linkage(squareform(far), "average"), near, "distance").tolist(), strict=True))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(labels.get(n, -1 - n), len(numbers)) for n in range(len(described))]
