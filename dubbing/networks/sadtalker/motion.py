"""Where each voxel of a face comes from, when its keypoints move.

One guess for every keypoint and one that nothing moves; a network weighs them for each voxel, and says what of the new
picture the old one cannot show. Keys as published (`generator.dense_motion_network.`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dubbing.networks.sadtalker.keypoints import KEYPOINTS, Up3d, grid_of

__all__ = ["DenseMotion", "Motion", "MotionShape", "deformed"]

_VARIANCE = 0.01  # of a keypoint's heat
_LEAST = 1e-3  # weights below are none


@dataclass(frozen=True)
class MotionShape:
    """Sizes of the layers. first, most, blocks: as of the keypoint detector, of an hourglass in space; compress:
    features that are looked at; depth: planes of the volume."""

    first: int = 32
    most: int = 1024
    blocks: int = 5
    compress: int = 4
    depth: int = 16


@dataclass(frozen=True, eq=False)
class Motion:
    """mask: (N, 16, D, H, W), 0..1, how much each guess counts (what is under 1e-3 moves nothing);
    deformation: (N, D, H, W, 3), where each voxel comes from; occlusion: (N, 1, H, W), 0..1, what the old picture
    shows."""

    mask: Tensor
    deformation: Tensor
    occlusion: Tensor


class _Down3d(nn.Module):
    """Convolution, batch norm, ReLU, half the height and width."""

    def __init__(self, inward: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(inward, out, 3, padding=1), nn.BatchNorm3d(out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool3d(torch.relu(self.norm(self.conv(x))), (1, 2, 2))


class _Encoder(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(_Down3d(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        out = [x]
        for block in self.down_blocks:
            out.append(block(out[-1]))
        return out


class _Decoder(nn.Module):
    def __init__(self, widths: list[int], first: int) -> None:
        super().__init__()
        ups = [*widths[:0:-1], first]
        blocks = [Up3d(ups[n] * (2 if n else 1), ups[n + 1]) for n in range(len(ups) - 1)]
        self.up_blocks = nn.ModuleList(blocks)
        self.out_channels = out = first + widths[0]
        self.conv, self.norm = nn.Conv3d(out, out, 3, padding=1), nn.BatchNorm3d(out)

    def forward(self, seen: list[Tensor]) -> Tensor:
        x, skips = seen[-1], seen[:-1]
        for block in self.up_blocks:
            x = torch.cat([block(x), skips[-1]], 1)
            skips = skips[:-1]
        return torch.relu(self.norm(self.conv(x)))


class _Hourglass(nn.Module):
    def __init__(self, inward: int, shape: MotionShape) -> None:
        super().__init__()
        widths = [inward, *(min(shape.most, shape.first * 2 ** (n + 1)) for n in range(shape.blocks))]
        self.encoder = _Encoder(widths)
        self.decoder = _Decoder(widths, shape.first)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out


class DenseMotion(nn.Module):
    """forward: the old face's volume (N, C, D, H, W), old and new keypoints (N, 15, 3), give a `Motion`.

    channels: C. least_heat: heat under it is none. Far from a keypoint it falls to numbers so small that a processor is
    five times slower with them; as published they stay.
    """

    least_heat = 0.0

    def __init__(self, channels: int, shape: MotionShape = MotionShape()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.hourglass = _Hourglass((KEYPOINTS + 1) * (shape.compress + 1), shape)
        wide = self.hourglass.decoder.out_channels
        self.mask = nn.Conv3d(wide, KEYPOINTS + 1, 7, padding=3)
        self.compress = nn.Conv3d(channels, shape.compress, 1)
        self.norm = nn.BatchNorm3d(shape.compress)
        self.occlusion = nn.Conv2d(wide * shape.depth, 1, 7, padding=3)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> Motion:
        return self.moved(self.look(volume), source, driving)

    def look(self, volume: Tensor) -> Tensor:
        """The few features of a volume that motion is found by: of the old face alone."""
        return torch.relu(self.norm(self.compress(volume)))

    def moved(self, seen: Tensor, source: Tensor, driving: Tensor) -> Motion:
        """As forward, from what `look` gives."""
        count, features, *size = seen.shape
        grid = grid_of(size, seen)
        guesses = grid - driving[:, :, None, None, None] + source[:, :, None, None, None]
        guesses = torch.cat([grid.expand(count, 1, -1, -1, -1, -1), guesses], 1)
        slots = guesses.shape[1]
        spread = seen[:, None].expand(-1, slots, -1, -1, -1, -1).reshape(count * slots, features, *size)
        shown = deformed(spread, guesses.flatten(0, 1)).view(count, slots, features, *size)
        heat = _heat(grid, driving) - _heat(grid, source)
        if self.least_heat:
            heat = torch.where(heat.abs() < self.least_heat, 0, heat)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1)
        x = self.hourglass(torch.cat([heat[:, :, None], shown], 2).flatten(1, 2))
        mask = torch.softmax(self.mask(x), 1)
        deformation = torch.einsum("nkdhw,nkdhwc->ndhwc", torch.where(mask < _LEAST, 0, mask), guesses)
        occlusion = torch.sigmoid(self.occlusion(x.flatten(1, 2)))
        return Motion(mask, deformation, occlusion)


def deformed(volume: Tensor, grid: Tensor) -> Tensor:
    """A volume (N, C, D, H, W) read where a grid (N, D, H, W, 3) says; nothing beyond its edges.

    The grid runs from the first voxel's middle to the last one's, and is read as from edge to edge: so it was trained.
    """
    return nn.functional.grid_sample(volume, grid, align_corners=False)


def _heat(grid: Tensor, points: Tensor) -> Tensor:
    """How near each voxel is to each keypoint, (N, 15, D, H, W), 0..1."""
    far = (grid - points[:, :, None, None, None]).square().sum(-1)
    return torch.exp(-0.5 * far / _VARIANCE)
