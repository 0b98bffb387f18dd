"""How a stretch of frames is cut into chunks that overlap, and how much each chunk counts where they do. Numbers only.

Chunks are all of one length, spread evenly from the stretch's first frame to its last, so that nothing is dropped or
drawn in a shorter chunk than the network knows; a stretch shorter than a chunk is one. They depend on the stretch
alone, never on which part of it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Chunk", "chunks"]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames [start, stop) of a stretch; weight_F: how much each of them counts, float32, 0..1."""

    start: int
    stop: int
    weight_F: np.ndarray

    @property
    def shown(self) -> tuple[int, int]:
        """The frames [a, b) in which it counts."""
        inside = np.flatnonzero(self.weight_F)
        return self.start + int(inside[0]), self.start + int(inside[-1]) + 1


def chunks(count: int, length: int, overlap: int) -> list[Chunk]:
    """The chunks of a stretch of `count` frames. length: of a chunk; overlap: frames of a transition, at most half."""
    if count <= length:
        return [Chunk(0, count, np.ones(count, np.float32))] if count else []
    apart = length - overlap
    many = -(-(count - overlap) // apart)
    starts = [n * (count - length) // (many - 1) for n in range(many)]
    weights = np.ones((many, length))
    for n, (before, start) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        shared = before + length - start
        fade = min(overlap, start - before)
        lead = (shared - fade) // 2
        rises = np.concatenate([np.zeros(lead), np.arange(1, fade + 1) / (fade + 1), np.ones(length - lead - fade)])
        weights[n + 1] *= rises
        weights[n, start - before :] *= 1 - rises[:shared]
    return [Chunk(a, a + length, w.astype(np.float32)) for a, w in zip(starts, weights, strict=True)]
