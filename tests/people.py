"""Real faces that tests look at: a woman who speaks and a portrait. Knows nothing of what is rendered of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dubbing.clock import Timeline
from dubbing.mesh import MeshTracker


@dataclass(frozen=True, eq=False)
class Speaker:
    """A clip of one person who speaks. mesh_NP3: of every frame, px; wave: float32 (T,), 16 kHz."""

    mesh_NP3: np.ndarray
    timeline: Timeline
    wave: np.ndarray


def meshes_of(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """The one face of pictures that follow each other, BGR (H, W, 3): float32 (N, 478, 3) px. Each must show it."""
    tracker = MeshTracker()
    try:
        found = [tracker.find(picture) for picture in pictures]
    finally:
        tracker.close()
    assert all(mesh is not None for mesh in found)
    return np.stack([mesh for mesh in found if mesh is not None])
