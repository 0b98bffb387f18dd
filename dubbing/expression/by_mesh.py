"""The editor `mesh`: action units read off a face are taken away, those of an emotion are added, the picture is bent."""

from __future__ import annotations

import numpy as np

from dubbing.expression import Edited, Look
from dubbing.expression.bend import bend, region
from dubbing.expression.units import Reading, Units, of_emotion

__all__ = ["ByMesh", "amounts"]

_TAKEN = 1.2  # of a unit that is taken away, at most: more is rather the person's own face


def amounts(look: Look, shown: Reading | None) -> dict[int, float]:
    """How much of each unit is added to a face, negative where it is taken away. shown: what it shows, where that is to
    go."""
    found = {unit: -min(much, _TAKEN) for unit, much in shown.amount.items()} if shown and look.neutralise else {}
    for unit, much in of_emotion(look.emotion or "neutral", look.strength).items():
        found[unit] = found.get(unit, 0.0) + much
    return {unit: much for unit, much in found.items() if abs(much) > 1e-3}


class ByMesh:
    """See `dubbing.expression.Editor`. Raises ModelError where the package's neutral face is damaged."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._units = Units.load()

    def edit(self, bgr_HWC: np.ndarray, mesh_P3: np.ndarray) -> Edited:
        added = amounts(self._look, self._units.read(mesh_P3) if self._look.neutralise else None)
        out, goal = bgr_HWC.copy(), np.array(mesh_P3, np.float64)
        if not added:
            return Edited(out, goal)
        _, (scale, turn, _) = self._units.pose(mesh_P3)
        goal += scale * self._units.moved(added) @ turn.T
        x, y, width, height = region(np.stack([mesh_P3, goal]), (bgr_HWC.shape[1], bgr_HWC.shape[0]))
        part = np.ascontiguousarray(bgr_HWC[y : y + height, x : x + width])
        bent = bend(part, np.asarray(mesh_P3[:, :2], np.float64) - (x, y), goal[:, :2] - (x, y), added)
        out[y : y + height, x : x + width] = bent.bgr_HWC
        goal[:, :2] = bent.mesh_P2 + (x, y)
        return Edited(out, goal)
