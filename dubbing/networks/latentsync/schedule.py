"""DDIM as LatentSync samples: Song et al., "Denoising Diffusion Implicit Models" (2021).

1000 trained steps with scaled-linear betas, noise foretold, no clipping, nothing drawn on the way (eta 0); steps lead,
with an offset of 1. In front of step 0 the alpha is that of step 0, not 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

__all__ = ["TRAINED", "Step", "alphas", "guided", "steps", "stepped"]

TRAINED = 1000
_BETAS = (0.00085, 0.012)
_T = TypeVar("_T")  # numpy arrays and torch tensors alike


@cache
def alphas() -> np.ndarray:
    """The product of alphas up to each trained step, float64 (1000,)."""
    betas = np.linspace(_BETAS[0] ** 0.5, _BETAS[1] ** 0.5, TRAINED) ** 2
    return np.asarray(np.cumprod(1 - betas))


@dataclass(frozen=True)
class Step:
    """One step. at: of the trained ones; alpha, before: the product of alphas there, and after the step."""

    at: int
    alpha: float
    before: float


def steps(count: int) -> list[Step]:
    """The steps of a run of `count`, 1..1000, in order. Raises ValueError for another count."""
    if not 1 <= count <= TRAINED:
        raise ValueError(f"{count} steps: 1 to {TRAINED}")
    apart, known = TRAINED // count, alphas()
    found = []
    for n in reversed(range(count)):
        at = min(n * apart + 1, TRAINED - 1)
        found.append(Step(at, float(known[at]), float(known[max(at - apart, 0)])))
    return found


def stepped(step: Step, x: _T, noise: _T) -> _T:
    """Latents after a step, from those before it and the noise foretold in them."""
    clean = (x - (1 - step.alpha) ** 0.5 * noise) / step.alpha**0.5
    made: _T = step.before**0.5 * clean + (1 - step.before) ** 0.5 * noise
    return made


def guided(without: _T, heard: _T, guidance: float) -> _T:
    """The noise foretold with sound, moved further away from that without: Ho and Salimans (2022)."""
    made: _T = without + guidance * (heard - without)  # type: ignore[operator]
    return made
