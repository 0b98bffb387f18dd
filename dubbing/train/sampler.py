"""Which clips belong to which step of which epoch, for which process; and the randomness of every item.

All of it is a function of the seed and nothing is stored, so a resumed run gets the same items for step n of epoch
e. It knows samples only by their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from dubbing.errors import InputError

__all__ = ["item_rng", "order", "step_seed", "steps_of", "strided"]


def _number(*parts: object) -> int:
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def item_rng(seed: int, epoch: int | str, sample_id: str) -> np.random.Generator:
    """The generator that draws one item: of this clip in this epoch, whatever process and order."""
    return np.random.default_rng(_number("item", seed, epoch, sample_id))


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of torch's generators before a step (dropout, noise)."""
    return _number("step", seed, step, rank) % 2**63


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation of range(count)."""
    return np.random.default_rng(_number("order", seed, epoch)).permutation(count)


def steps_of(order_N: np.ndarray, batch: int, workers: int = 1, least: int = 1) -> list[np.ndarray]:
    """An epoch cut into steps of at most `batch` items as even as can be, all of them, each once.

    least: items every process needs in a step; then a step may be larger than `batch`. Raises InputError where
    there are fewer than one step needs.
    """
    count, need = len(order_N), least * workers
    if count < need:
        raise InputError(
            f"The training split has {count} usable clips, and {workers} processes with at least {least} each in a "
            f"step need {need}: prepare more clips, or use fewer --workers."
        )
    steps = min(-(-count // batch), count // need)
    return np.array_split(order_N, steps)


def strided(items: Sequence[int] | np.ndarray, rank: int, workers: int) -> list[int]:
    """The share of one of several processes in a step's items."""
    return [int(i) for i in items[rank::workers]]
