"""Brows that rise a little with stressed syllables: when, and by which bend of the skin.

Speakers raise their brows on accents (Cavé et al. 1996, Swerts and Krahmer 2008): not on each, and by little. Knows no
head that moves and no mouth.
"""

from __future__ import annotations

import numpy as np

from dubbing.performance.speech import Heard

__all__ = ["HIGHEST", "lifts", "raised_field"]

HIGHEST = 0.028  # of the distance between the eyes' outer corners
_RISE_S, _FALL_S, _EARLY_S = 0.16, 0.32, 0.06  # standard deviations of a rise and a fall; it comes before its syllable
_SHARE = 0.6  # of stresses
# Brows, right and left; the middle of each eye's upper lid, which stays.
_BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 285, 295, 282, 283, 276, 300, 293, 334, 296, 336)
_LIDS = (246, 161, 160, 159, 158, 157, 173, 33, 133, 398, 384, 385, 386, 387, 388, 466, 362, 263)
_REACH = 0.17  # eye distances, standard deviation of the bend around a brow


def lifts(heard: Heard, times_s: np.ndarray, seed: int) -> np.ndarray:
    """How far the brows stand up at each time, float64 (N,), eye distances, 0..HIGHEST."""
    rng = np.random.default_rng(seed)
    times = np.asarray(times_s, np.float64)
    out = np.zeros(len(times))
    for at_s, strength in heard.stresses:
        chosen, height = rng.uniform() < _SHARE, rng.uniform(0.6, 1.0)
        if chosen:
            since = times - (at_s - _EARLY_S)
            near = np.where(since < 0, since / _RISE_S, since / _FALL_S)
            out = np.maximum(out, HIGHEST * height * (0.4 + 0.6 * strength) * np.exp(-0.5 * near**2))
    return np.asarray(np.round(out, 6))


def raised_field(mesh_P3: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """How the skin moves where the brows rise by 1, (rows, columns, 2): up along the face at the brows, 0 at the lids.

    mesh_P3: (478, 3) pixels; nodes: (rows, columns, 2) pixels.
    """
    mesh = mesh_P3[:, :2]
    eye = max(float(np.linalg.norm(mesh[263] - mesh[33])), 1e-6)
    up = mesh[10] - mesh[152]
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    flat = nodes.reshape(-1, 2)
    to_brow, to_lid = (
        (np.linalg.norm(flat[:, None] - mesh[list(points)][None], axis=-1) / eye).min(1) for points in (_BROWS, _LIDS)
    )
    weight = np.exp(-0.5 * (to_brow / _REACH) ** 2)
    # from nothing at the lid to everything at the brow, whichever is nearer
    share = np.clip(to_lid / np.maximum(to_lid + to_brow, 1e-6) * 1.6 - 0.35, 0, 1)
    below = (flat - mesh[[33, 263]].mean(0)) @ up < 0
    weight = np.where(below, 0.0, weight * share * share * (3 - 2 * share))
    return np.asarray((weight[:, None] * up).reshape(nodes.shape))
