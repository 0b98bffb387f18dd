"""Weights that need no file: every tensor of a network is a function of its own name and shape.

The reference outputs in tests/golden were made with these weights in the published networks, so a network of ours
that has the published names, shapes and layers gives the same numbers. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    import torch

    Net = TypeVar("Net", bound=torch.nn.Module)

__all__ = ["fill", "tensor"]

SPREAD = np.float32(0.05)  # of what is one number per channel, around 0 or 1


def tensor(key: str, shape: Sequence[int]) -> np.ndarray:
    """The values of one entry of a state dict: float32 of `shape`, int64 zeros for `num_batches_tracked`.

    The noise is standard normal, of NumPy's legacy generator, seeded by the lower 31 bits of the key's CRC-32. A weight
    with inputs is scaled as He et al. do (variance 2 / inputs), a variance is 1 plus a tenth of the noise's size.
    """
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(tuple(shape), np.int64)
    seed = crc32(key.encode()) % 2**31
    noise = np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
    if kind == "running_var":
        return np.float32(1) + np.float32(0.1) * np.abs(noise)
    if kind == "running_mean":
        return SPREAD * noise
    if len(shape) < 2:
        return SPREAD * noise if kind == "bias" else np.float32(1) + SPREAD * noise
    inputs = np.prod(shape[1:])
    return noise * np.float32(np.sqrt(2 / inputs))


def fill(net: Net) -> Net:
    """Give a network these weights, in place. Returns it, in evaluation mode."""
    import torch

    net.load_state_dict({key: torch.from_numpy(tensor(key, now.shape)) for key, now in net.state_dict().items()})
    return net.eval()
