"""The editor `mesh`: action units that a face shows are taken away, those of an emotion are added, pixels are bent."""

from __future__ import annotations

import numpy as np

from dubbing.expression import Edited, Look
from dubbing.expression.bend import bend, region
from dubbing.expression.units import Reading, Units, of_emotion
from dubbing.face import LOWER_FACE
from dubbing.generators.rewrite.shape import parted

__all__ = ["ByMesh", "taken"]

_TAKEN = 2.0  # of a unit that is taken away, at most: more is rather the person's own face
_NOTHING_PX = 0.05


def taken(shown: Reading) -> dict[int, float]:
    """How much of each unit is added to a face to make it neutral: negative."""
    return {unit: -min(much, _TAKEN) for unit, much in shown.amount.items() if much > 0}


class ByMesh:
    """See `dubbing.expression.Editor`. speaks: whether the face will speak, and what parts the lips is left to that.

    Raises ModelError where the package's neutral face is damaged."""

    def __init__(self, look: Look, *, speaks: bool = False) -> None:
        self._look = look
        self._speaks = speaks
        self._units = Units.load()

    def edit(self, bgr_HWC: np.ndarray, mesh_P3: np.ndarray) -> Edited:
        out, goal = bgr_HWC.copy(), np.array(mesh_P3, np.float64)
        wanted, (scale, turn, shift) = self._units.pose(mesh_P3)
        if self._look.neutralise:
            wanted = wanted + self._units.moved(taken(self._units.read(mesh_P3)))
            lower = wanted[None, list(LOWER_FACE)]
            wanted[list(LOWER_FACE)] = parted(lower, np.zeros(1))[0]  # a neutral face has its lips closed
        added = of_emotion(self._look.emotion or "neutral", self._look.strength)
        goal = scale * (wanted + self._units.moved(added, speaking=self._speaks)) @ turn.T + shift
        if np.abs(goal - mesh_P3).max() < _NOTHING_PX:
            return Edited(out, goal)
        x, y, width, height = region(np.stack([mesh_P3, goal]), (bgr_HWC.shape[1], bgr_HWC.shape[0]))
        part = np.ascontiguousarray(bgr_HWC[y : y + height, x : x + width])
        bent = bend(part, np.asarray(mesh_P3[:, :2], np.float64) - (x, y), goal[:, :2] - (x, y), added)
        out[y : y + height, x : x + width] = bent.bgr_HWC
        goal[:, :2] = bent.mesh_P2 + (x, y)
        return Edited(out, goal)
