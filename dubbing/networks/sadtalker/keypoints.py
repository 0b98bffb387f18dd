"""The keypoint detector: 15 points in space of a face in a picture, nobody's pose and expression in them.

After Wang, Mallya and Liu, "One-Shot Free-View Neural Talking-Head Synthesis for Video Conferencing" (2021), as
SadTalker has it. Keys as published (`kp_extractor.`). Points are x, y, z, each -1..1 over the picture.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["KEYPOINTS", "DetectorShape", "Down2d", "KeypointDetector", "Up3d", "grid_of"]

KEYPOINTS = 15
_TEMPERATURE = 0.1
_EVERY = 4  # pixels of the picture for one that is looked at
_SIGMA, _SIZE = 1.5, 13


@dataclass(frozen=True)
class DetectorShape:
    """Sizes of the layers. first: half the channels of the first block; most: channels at most; blocks: down, and up;
    depth: planes of the volume."""

    first: int = 32
    most: int = 1024
    blocks: int = 5
    depth: int = 16

    def widths(self) -> list[int]:
        """Channels before and after each block on the way down; the first is not the picture's."""
        return [min(self.most, self.first * 2**n) for n in range(self.blocks + 1)]


class Down2d(nn.Module):
    """Convolution, batch norm, ReLU, half the size."""

    def __init__(self, inward: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inward, out, 3, padding=1), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(torch.relu(self.norm(self.conv(x))), 2)


class Up3d(nn.Module):
    """Twice the height and width, convolution, batch norm, ReLU."""

    def __init__(self, inward: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(inward, out, 3, padding=1), nn.BatchNorm3d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=(1, 2, 2))
        return torch.relu(self.norm(self.conv(x)))


class _Predictor(nn.Module):
    """A picture (N, 3, H, W) becomes a volume (N, first, depth, H, W)."""

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        widths, inward = shape.widths(), [3, *shape.widths()[1:]]
        self.down_blocks = nn.Sequential(
            OrderedDict((f"down{n}", Down2d(inward[n], widths[n + 1])) for n in range(shape.blocks))
        )
        self.conv = nn.Conv2d(widths[-1], widths[-1] * shape.depth, 1)
        ups = widths[::-1]
        self.up_blocks = nn.Sequential(OrderedDict((f"up{n}", Up3d(ups[n], ups[n + 1])) for n in range(shape.blocks)))
        self._depth = shape.depth

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.down_blocks(x))
        x = x.view(len(x), -1, self._depth, *x.shape[2:])
        out: Tensor = self.up_blocks(x)
        return out


class _Smaller(nn.Module):
    """Every fourth pixel of a picture after a Gaussian, black beyond its edges."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        at = np.arange(_SIZE) - (_SIZE - 1) / 2
        one = np.exp(-(at**2) / (2 * _SIGMA**2))
        kernel = np.outer(one, one)
        kernel = np.tile((kernel / kernel.sum()).astype(np.float32), (3, 1, 1, 1))
        self.register_buffer("weight", torch.from_numpy(kernel))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, stride=_EVERY, padding=_SIZE // 2, groups=3)


class KeypointDetector(nn.Module):
    """forward: pictures (N, 3, H, W), RGB 0..1, give canonical keypoints (N, 15, 3)."""

    def __init__(self, shape: DetectorShape = DetectorShape()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.predictor = _Predictor(shape)
        self.kp = nn.Conv3d(shape.first, KEYPOINTS, 3, padding=1)
        self.down = _Smaller()

    def volume(self, pictures: Tensor) -> Tensor:
        """The volume (N, C, D, H / 4, W / 4) that points are looked for in."""
        out: Tensor = self.predictor(self.down(pictures))
        return out

    def forward(self, pictures: Tensor) -> Tensor:
        logits = self.kp(self.volume(pictures))
        heat = torch.softmax(logits.flatten(2) / _TEMPERATURE, 2)
        grid = grid_of(logits.shape[2:], logits).view(1, 1, -1, 3)
        return (heat[..., None] * grid).sum(2)


def grid_of(size: Sequence[int], like: Tensor) -> Tensor:
    """x, y, z of every voxel of a volume of (depth, height, width), -1..1 from the first to the last, (D, H, W, 3)."""
    z, y, x = (2 * torch.arange(n, dtype=like.dtype, device=like.device) / (n - 1) - 1 for n in size)
    zz, yy, xx = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([xx, yy, zz], -1)
