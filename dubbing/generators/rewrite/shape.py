"""The lower face as a few numbers: how far it stands from the actor's own closed, resting mouth.

Coefficient 0 is the opening of the lips and coefficient 1 their change of width, both in inter-ocular
distances; the others are principal components of what these two leave unexplained (protrusion,
smile, jaw, lip roll). All are 0 at rest. Knows no sound, no picture and no actor but one array, the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dubbing.face import INNER_LIPS, LOWER_FACE, OUTER_LIPS
from dubbing.models import shipped_arrays

__all__ = [
    "COEFS",
    "PARTED",
    "PRIOR_FILE",
    "ShapeSpace",
    "learn_space",
    "lower_of",
    "parted",
    "prior_arrays",
    "resting",
    "smoothed",
    "spread",
]

COEFS = 8
PARTED = 0.035  # of lips that stand so far apart, what is between them would be squeezed into the seam
PRIOR_FILE = Path(__file__).with_name("prior.npz")
_PLACE = {point: place for place, point in enumerate(LOWER_FACE)}
# Inner lip points that touch when the mouth is shut: upper, lower, from one corner to the other.
_UPPER = np.array([_PLACE[p] for p in INNER_LIPS[1:10]])
_LOWER = np.array([_PLACE[p] for p in INNER_LIPS[:10:-1]])
# The outer lip beside each of those pairs, which gives way when the lips are shut.
_OUTER_UPPER = np.array([_PLACE[p] for p in OUTER_LIPS[1:10]])
_OUTER_LOWER = np.array([_PLACE[p] for p in OUTER_LIPS[:10:-1]])
_MIDDLE = slice(3, 6)  # of the nine pairs, the three that `face.mouth_measures` reads
_CORNERS = (_PLACE[61], _PLACE[291])
_OWN_FRAMES = 250.0  # of a face, that weigh as much as what is known of everyone's
_SHUT = 0.02  # below this opening the whole lip line closes, not only its middle


def prior_arrays() -> dict[str, np.ndarray]:
    """The arrays of the prior that ships with the package. Raises ModelError where it is damaged."""
    return shipped_arrays(PRIOR_FILE, "the generator rewrite", "shipped_weights/prior.py")


@dataclass(frozen=True, eq=False)
class ShapeSpace:
    """Linear coordinates of the lower face, the same for everyone.

    analysis_KD, synthesis_KD: float64 (COEFS, 3 * len(LOWER_FACE)); analysis @ synthesis.T is the identity.
    """

    analysis_KD: np.ndarray
    synthesis_KD: np.ndarray

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> ShapeSpace:
        """The space that ships with the prior, which predicts in it."""
        data = prior_arrays()
        return ShapeSpace(data["analysis"].astype(np.float64), data["synthesis"].astype(np.float64))

    def encode(self, shape_NP3: np.ndarray, rest_L3: np.ndarray) -> np.ndarray:
        """Coefficients, float64 (N, COEFS), of canonical meshes (N, 478, 3), or of lower faces (N, L, 3)."""
        lower = lower_of(shape_NP3)
        return (lower - rest_L3).reshape(len(lower), -1) @ self.analysis_KD.T

    def of_face(self, shape_NP3: np.ndarray, rest_L3: np.ndarray, weight_N: np.ndarray) -> ShapeSpace:
        """The same coefficients, and what they do to one very face: how its left and its right move, and whatever else
        moves along with them in a way of its own. weight_N: how much each of its frames counts, 0 for not at all.
        """
        coef = self.encode(shape_NP3, rest_L3)
        left = (lower_of(shape_NP3) - rest_L3).reshape(len(coef), -1) - coef @ self.synthesis_KD
        weight = np.asarray(weight_N, np.float64)[:, None]
        square = coef.T @ (weight * coef)
        shrink = np.diag(_OWN_FRAMES * np.diag(square) / max(float(weight.sum()), 1e-9) + 1e-12)
        return ShapeSpace(
            self.analysis_KD, self.synthesis_KD + np.linalg.solve(square + shrink, coef.T @ (weight * left))
        )

    def decode(self, coef_NK: np.ndarray, rest_L3: np.ndarray) -> np.ndarray:
        """Canonical lower faces, float64 (N, L, 3). Lips never cross, and touch all along at opening 0."""
        coef = np.asarray(coef_NK, np.float64)
        lower = rest_L3 + (coef @ self.synthesis_KD).reshape(len(coef), len(LOWER_FACE), 3)
        return parted(lower, coef[:, 0])


def parted(lower_NL3: np.ndarray, opening_N: np.ndarray) -> np.ndarray:
    """Lower faces (N, L, 3), in place, whose lips do not cross, and touch all along where the opening is 0."""
    part = np.clip(opening_N / _SHUT, 0, 1)
    return _lips_apart(lower_NL3, part * part * (3 - 2 * part))


def lower_of(shape_NP3: np.ndarray) -> np.ndarray:
    """LOWER_FACE of canonical meshes (N, 478, 3), float64 (N, L, 3); lower faces are given back as they are."""
    shape = np.asarray(shape_NP3, np.float64)
    return shape if shape.shape[1] == len(LOWER_FACE) else shape[:, list(LOWER_FACE)]


def resting(shape_NP3: np.ndarray, speaking_N: np.ndarray | None = None) -> np.ndarray:
    """The closed resting mouth of one face, float64 (L, 3), from its canonical meshes or lower faces.

    The median over the most closed frames, those of silence first where there are enough; any gap
    that they still show is shut. A face that never closes its mouth gets its least open one, shut.
    """
    lower = lower_of(shape_NP3)
    gap = _gaps(lower)[:, _MIDDLE].mean(1)
    closed = gap <= max(np.quantile(gap, 0.1), gap.min() + 0.01)
    if speaking_N is not None and (closed & ~speaking_N).sum() >= 10:
        closed &= ~speaking_N
    rest = np.median(lower[closed], axis=0)
    return _lips_apart(rest[None], np.zeros(1))[0]


def smoothed(coef_NK: np.ndarray, times_s: np.ndarray, sigma_s: float = 0.02) -> np.ndarray:
    """The mesh's frame-to-frame noise taken out by a Gaussian in time; frames may come at any rate."""
    times = np.asarray(times_s, np.float64)
    out = np.empty_like(coef_NK, dtype=np.float64)
    low = np.searchsorted(times, times - 3 * sigma_s)
    high = np.searchsorted(times, times + 3 * sigma_s, side="right")
    for n, (a, b) in enumerate(zip(low, high, strict=True)):
        weight = np.exp(-0.5 * ((times[a:b] - times[n]) / sigma_s) ** 2)
        out[n] = weight @ coef_NK[a:b] / weight.sum()
    return out


def learn_space(faces: list[tuple[np.ndarray, np.ndarray]]) -> ShapeSpace:
    """The space of a list of (canonical meshes (N, 478, 3), rest (L, 3)), one per speaker, each of equal weight."""
    size = len(LOWER_FACE) * 3
    opening_D, width_D = np.zeros((len(LOWER_FACE), 3)), np.zeros((len(LOWER_FACE), 3))
    opening_D[_LOWER[_MIDDLE], 1] = 1 / 3
    opening_D[_UPPER[_MIDDLE], 1] = -1 / 3
    width_D[_CORNERS[1], 0], width_D[_CORNERS[0], 0] = 1, -1
    moves, weights = [], []
    for shape, rest in faces:
        move = (lower_of(shape) - rest).reshape(len(shape), size)
        moves.append(move)
        weights.append(np.full(len(move), 1 / len(move)))
    left, weight = np.concatenate(moves), np.concatenate(weights)[:, None]
    analysis, synthesis = [], []
    for functional in (opening_D.ravel(), width_D.ravel()):
        amount = left @ functional
        centred = amount - np.concatenate([np.full(len(m), (m @ functional).mean()) for m in moves])
        direction = (weight[:, 0] * centred) @ left
        direction /= direction @ functional
        analysis.append(functional)
        synthesis.append(direction)
        left = left - np.outer(amount, direction)
        moves = [m - np.outer(m @ functional, direction) for m in moves]
    centred_ND = np.concatenate([m - m.mean(0) for m in moves]) * np.sqrt(weight)
    _, _, components = np.linalg.svd(centred_ND, full_matrices=False)
    components = components[: COEFS - 2]
    components *= np.sign(components[np.arange(len(components)), np.abs(components).argmax(1)])[:, None]
    # What the first two coefficients take is taken before the rest is read.
    rest_of_it = np.eye(size) - np.outer(analysis[0], synthesis[0])
    width_analysis = rest_of_it @ analysis[1]
    remaining = rest_of_it - np.outer(width_analysis, synthesis[1])
    return ShapeSpace(
        np.vstack([analysis[0], width_analysis, components @ remaining.T]), np.vstack([*synthesis, components])
    )


def _gaps(lower_NL3: np.ndarray) -> np.ndarray:
    """How far apart each of the nine pairs of inner lip points stands, (N, 9)."""
    return np.asarray(np.linalg.norm(lower_NL3[:, _LOWER] - lower_NL3[:, _UPPER], axis=-1))


def _lips_apart(lower_NL3: np.ndarray, part_N: np.ndarray) -> np.ndarray:
    """Scale the gap between the lips by part_N (0 shuts them) and uncross them where they cross; in place."""
    gap = lower_NL3[:, _LOWER] - lower_NL3[:, _UPPER]
    keep = part_N[:, None] * (gap[..., 1] > 0)
    half = 0.5 * gap * (1 - keep[..., None])
    for inner, outer, sign in ((_UPPER, _OUTER_UPPER, 1), (_LOWER, _OUTER_LOWER, -1)):
        lower_NL3[:, inner] += sign * half
        lower_NL3[:, outer] += sign * 0.5 * half
    return lower_NL3


def spread(face_P3: np.ndarray, reach: float = 0.12) -> np.ndarray:
    """Weights (478, L) that carry the lower face's moves to the points of a canonical face around it, fading over
    `reach`."""
    lower = face_P3[list(LOWER_FACE)]
    near = np.exp(-0.5 * (np.linalg.norm(face_P3[:, None] - lower[None], axis=-1) / reach) ** 2)
    return np.asarray(near / (near.sum(1, keepdims=True) + 0.5))
