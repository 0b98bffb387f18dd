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
    "CHIPS", "CHIP_PX", "NEAR", "PORTRAIT_PX", "Chips", "Signature", "alikeness", "chip", "group_actors",
    "group_described", "portrait", "proportions", "spread_out",
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
CHIP_PX = 150
_CHIP_ROOM = 0.25  # of the inner square, around it, as the network was trained
_CHIP_CORNERS = ((263,), (362,), (33,), (133,), (2,))  # eyes, outer and inner corner, image right first; below the nose
# Where those lie in a face of side 1, as dlib's `get_face_chip_details` has them.
_CHIP_PLACES = np.array([
    [0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677], [0.1205750620789, 0.2137274526848],
    [0.3340850613712, 0.2290642403242], [0.4901123135679, 0.6277975316475],
])  # fmt: skip
_MOST_CHIPS = 24  # of a face that are held while it is followed
CHIPS = 5  # of a face that are kept: 5 to 10 tell people apart equally well


@dataclass(frozen=True, eq=False)
class Signature:
    """The look of one track. portrait_HWC: float32 (64, 64, 3) mean aligned face, 0..255, BGR;
    shape_P3: float32 (478, 3) mean canonical mesh; frames: how many frames the portrait is the mean of (0:
    none was frontal enough, and the signature matches no other); chips: up to CHIPS good pictures of it, as of `chip`,
    in order."""

    portrait_HWC: np.ndarray
    shape_P3: np.ndarray
    frames: int
    chips: tuple[np.ndarray, ...] = ()


class Chips:
    """Pictures of a face for its descriptor, taken while it is followed: every few frames, more rarely the longer it is
    seen, so that a long shot holds no more than a short one. Memory: at most _MOST_CHIPS."""

    def __init__(self) -> None:
        self._every, self._met = 4, 0
        self._held: list[tuple[int, float, np.ndarray]] = []

    @property
    def due(self) -> bool:
        """Whether a picture of the frame that comes now is wanted; to be asked once for each."""
        self._met += 1
        return (self._met - 1) % self._every == 0

    def add(self, frame: int, yaw_deg: float, chip_HWC: np.ndarray) -> None:
        """A picture, as of `chip`."""
        self._held.append((frame, abs(yaw_deg), chip_HWC))
        if len(self._held) > _MOST_CHIPS:
            self._held = self._held[::2]
            self._every *= 2

    def best(self, usable: Collection[int]) -> tuple[np.ndarray, ...]:
        """Of up to CHIPS parts of the face's time the picture that looks most straight ahead. usable: frames in which
        the face is seen well."""
        held = sorted((one for one in self._held if one[0] in usable), key=lambda one: one[0])
        parts = np.array_split(np.arange(len(held)), min(CHIPS, max(1, len(held))))
        return tuple(held[min(part, key=lambda n: held[n][1])][2] for part in parts if len(part))


def spread_out(chips: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """CHIPS of them, evenly spread; all where there are no more."""
    at = np.linspace(0, len(chips) - 1, min(CHIPS, len(chips))).round().astype(int)
    return tuple(chips[n] for n in at)


def portrait(bgr_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """One face moved so that its eyes and mouth lie where every portrait has them, uint8 (64, 64, 3).

    points_P2: (478, >=2) mesh points in pixels of the picture given.
    """
    found = np.array([points_P2[list(pair), :2].mean(0) for pair in _EYES_MOUTH], np.float32)
    move = cv2.getAffineTransform(found, _PLACES)
    size = (PORTRAIT_PX, PORTRAIT_PX)
    return cv2.warpAffine(bgr_HWC, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def chip(bgr_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """A face as dlib's network of descriptors sees it, uint8 (CHIP_PX, CHIP_PX, 3) RGB. points_P2: (478, >= 2) mesh
    points, pixels of the picture given."""
    found = np.array([points_P2[list(one), :2].mean(0) for one in _CHIP_CORNERS], np.float32)
    wanted = ((_CHIP_PLACES + _CHIP_ROOM) / (1 + 2 * _CHIP_ROOM) * CHIP_PX).astype(np.float32)
    move = _similarity(found, wanted)
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    if scale < 0.5:  # shrunk by areas first, or fine detail would turn into noise
        part = 2 * scale
        height, width = (max(1, round(side * part)) for side in bgr_HWC.shape[:2])
        by = np.array([width / bgr_HWC.shape[1], height / bgr_HWC.shape[0]], np.float32)
        bgr_HWC = cv2.resize(bgr_HWC, (width, height), interpolation=cv2.INTER_AREA)
        move = _similarity((found + 0.5) * by - 0.5, wanted)
    face = cv2.warpAffine(bgr_HWC, move, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_BGR2RGB))


def _similarity(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The turn, scale and shift, float64 (2, 3), that take points (P, 2) onto others, least squares (Umeyama 1991)."""
    a, b = found - found.mean(0), wanted - wanted.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = (u * sign) @ vt
    scale = (s * sign).sum() / (a**2).sum()
    return np.column_stack([scale * turn, wanted.mean(0) - scale * turn @ found.mean(0)])


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
