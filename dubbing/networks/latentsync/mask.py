"""The part of a face that LatentSync draws: one picture of 256 pixels, the same for every face (see mask.md)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

__all__ = ["kept", "kept_latents"]

_FILE = Path(__file__).with_name("mask.npz")
_SIDE = 256


@cache
def kept(side: int) -> np.ndarray:
    """How much of each pixel is kept, float32 (side, side), 0..1 (and a little beyond, by its enlargement): 0 in the
    hole that the network fills."""
    with np.load(_FILE) as stored:
        mask = np.unpackbits(stored["keep"]).reshape(_SIDE, _SIDE) * np.uint8(255)
    if side != _SIDE:
        mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LANCZOS4)
    return (mask / 255).astype(np.float32)


@cache
def kept_latents(side: int) -> np.ndarray:
    """The same for latents, float32 (side // 8, side // 8): every eighth pixel."""
    return np.ascontiguousarray(kept(side)[::8, ::8])
