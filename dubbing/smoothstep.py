"""The smooth step from 0 to 1 with which mattes, motion and weights come and go."""

from __future__ import annotations

import numpy as np

__all__ = ["smoothstep"]


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, between them the cubic that is level at both ends (Hermite)."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
