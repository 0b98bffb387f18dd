"""The arithmetic of `warp` and `grain` on many pictures at once, in torch, on whatever device they lie.

Each picture comes out the same whatever others are worked out beside it: maps are worked out in float64, blurs
are sums in one order, and a picture is padded beyond what any of them reads. Nothing here waits for the device or
copies from it. Axes: M pictures, K planes, H rows and W columns, P points, R by C nodes, S samples. Knows no face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dubbing.generators import grain

__all__ = ["ROOM", "Samples", "blurred", "enlarged", "gathered", "half_places", "halved", "levels",
           "node_maps", "order_statistic", "read", "regrained", "sent", "softened"]  # fmt: skip

ROOM = 10
"""Pixels after a picture's last row and column that are to be there, so that no blur reads beyond."""
_PART = 32.0  # of a pixel: OpenCV reads at the nearest of these places, and so it is done here


def sent(arrays: Sequence[np.ndarray], device: str | torch.device) -> Tensor:
    """Arrays of one shape and type, stacked and copied to a device at once."""
    return torch.from_numpy(np.stack(arrays)).to(device)


def node_maps(
    points_MP2: Tensor, moves_MP2: Tensor, shape: tuple[int, int], step_px: int, smooth: float, *, twice: bool
) -> Tensor:
    """`warp.node_map` of many: float32 (M, 2, R, C). points_MP2, moves_MP2: float64; shape: (R, C)."""
    count, device = points_MP2.shape[1], points_MP2.device
    system = points_MP2.new_zeros((len(points_MP2), count + 3, count + 3))
    apart = points_MP2[:, :, None] - points_MP2[:, None]
    system[:, :count, :count] = apart.square().sum(-1).sqrt()
    system[:, :count, :count] -= smooth * torch.eye(count, dtype=torch.float64, device=device)
    system[:, :count, count] = system[:, count, :count] = 1
    system[:, :count, count + 1 :] = points_MP2
    system[:, count + 1 :, :count] = points_MP2.transpose(1, 2)
    right = points_MP2.new_zeros((len(points_MP2), count + 3, 2))
    right[:, :count] = moves_MP2
    weights = torch.linalg.solve_ex(system, right)[0].transpose(1, 2)
    rows, cols = shape
    many = [n // 2 + 3 if twice else n for n in shape]
    y, x = (torch.arange(n, dtype=torch.float64, device=device) for n in many)
    y, x = ((v * 2 - 3) * step_px if twice else (v - 1) * step_px for v in (y, x))
    across, down = (x - points_MP2[..., :1]).square(), (y - points_MP2[..., 1:]).square()
    radius = (down[:, :, :, None] + across[:, :, None]).sqrt().flatten(2)
    found = (weights[:, :, :count] @ radius).unflatten(2, (len(y), len(x)))
    level, slope_x, slope_y = weights[:, :, count:, None, None].unbind(2)
    found = (found + level + slope_x * x + slope_y * y[:, None]).float()
    if not twice:
        return found
    half = found.new_empty((*found.shape[:2], rows, len(x)))
    half[:, :, ::2] = found[:, :, 1 : 1 + (rows + 1) // 2]
    half[:, :, 1::2] = _between(*(found[:, :, k : k + rows // 2] for k in range(4)))
    out = found.new_empty((*found.shape[:2], rows, cols))
    out[..., ::2] = half[..., 1 : 1 + (cols + 1) // 2]
    out[..., 1::2] = _between(*(half[..., k : k + cols // 2] for k in range(4)))
    return out


def _between(before: Tensor, left: Tensor, right: Tensor, after: Tensor) -> Tensor:
    return (left + right) * (9 / 16) - (before + after) * (1 / 16)


def enlarged(values_MKRC: Tensor, step_px: int, size_hw: tuple[int, int]) -> Tensor:
    """`Nodes.enlarged` of many: values between the nodes at every pixel, (M, K, H, W)."""
    size = [n * step_px for n in values_MKRC.shape[2:]]
    whole = F.interpolate(values_MKRC, size, mode="bilinear", align_corners=False)
    first = step_px + step_px // 2  # enlarged by an odd number, nodes lie on pixels
    return whole[..., first : first + size_hw[0], first : first + size_hw[1]]


def read(pictures_MKHW: Tensor, x_MHW: Tensor, y_MHW: Tensor) -> Tensor:
    """`warp.warp` of many: pictures, float32, read at places, cubic (A = -0.75), their edges repeated beyond them. It
    may swing below and above what is there."""
    height, width = pictures_MKHW.shape[2:]
    x, y = ((v * _PART).round() / _PART for v in (x_MHW, y_MHW))
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], -1)
    return F.grid_sample(pictures_MKHW, grid, mode="bicubic", padding_mode="border", align_corners=True)


def halved(values_MHW: Tensor) -> Tensor:
    """The means of blocks of four, (M, H / 2, W / 2)."""
    return F.avg_pool2d(values_MHW[:, None], 2)[:, 0]


def half_places(at_MHW: Tensor) -> Tensor:
    """`warp.half_places` of many, of one direction: (M, H / 2, W / 2)."""
    return (halved(at_MHW) - 0.5) / 2


def gathered(pictures_MHWK: Tensor, corner_M2: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """A window of each picture, (M, h, w, K), its edge repeated beyond it. corner_M2: columns and rows of their first
    pixels."""
    height, width = pictures_MHWK.shape[1:3]
    device = pictures_MHWK.device
    rows = (corner_M2[:, 1:] + torch.arange(size_hw[0], device=device)).clamp(0, height - 1)
    cols = (corner_M2[:, :1] + torch.arange(size_hw[1], device=device)).clamp(0, width - 1)
    which = torch.arange(len(pictures_MHWK), device=device)[:, None, None]
    return pictures_MHWK[which, rows[:, :, None], cols[:, None]]


def _taps(sigmas: Sequence[float]) -> np.ndarray:
    """OpenCV's kernels for float pictures, float32 (M, taps), around the middle."""
    sizes = [round(sigma * 8 + 1) | 1 for sigma in sigmas]
    out = np.zeros((len(sizes), max(sizes)), np.float32)
    for row, sigma, size in zip(out, sigmas, sizes, strict=True):
        first = (len(row) - size) // 2
        row[first : first + size] = cv2.getGaussianKernel(size, sigma, cv2.CV_32F)[:, 0]
    return out


def blurred(pictures_MKHW: Tensor, sigmas: Sequence[float], *, mirrored: bool) -> Tensor:
    """`cv2.GaussianBlur` of many. sigmas: pixels, one for all or one each; mirrored: beyond the edges, else there is
    nothing."""
    taps = torch.from_numpy(_taps(sigmas)).to(pictures_MKHW.device)[:, :, None, None, None]
    reach = taps.shape[1] // 2
    out = pictures_MKHW
    for axis, room in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        wide = F.pad(out, room, mode="reflect") if mirrored else F.pad(out, room)
        n = out.shape[axis]
        out = wide.narrow(axis, 0, n) * taps[:, 0]
        for k in range(1, taps.shape[1]):
            out.addcmul_(wide.narrow(axis, k, n), taps[:, k])
    return out


def order_statistic(values_MS: Tensor, there_MS: Tensor, place_M: Tensor) -> Tensor:
    """Of the values that are there, the one at a place when they are sorted, (M,)."""
    rising = values_MS.masked_fill(~there_MS, torch.inf).sort(1).values
    return rising.gather(1, place_M[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Samples:
    """The pixels by which grain is told. at_MS: their places in a flattened picture; there_MS: bool, which of these
    count; enough_M: bool, whether a mask holds enough of them."""

    at_MS: Tensor
    there_MS: Tensor
    enough_M: Tensor

    @classmethod
    def of(cls, masks: Sequence[np.ndarray], width: int, device: str | torch.device) -> Samples:
        """Of masks, bool (h, w) of any size, in pictures of that width, chosen as `grain.levels` does."""
        found = []
        for mask in masks:
            rows, cols = np.nonzero(mask)
            at = rows * width + cols
            found.append(at[:: max(1, len(at) // grain.SAMPLES)])
        most = max(1, *map(len, found))
        at_MS, there_MS = np.zeros((len(found), most), np.int64), np.zeros((len(found), most), bool)
        for n, at in enumerate(found):
            at_MS[n, : len(at)], there_MS[n, : len(at)] = at, True
        enough = np.array([np.count_nonzero(mask) >= grain.LEAST_PIXELS for mask in masks])
        return cls(*(torch.from_numpy(one).to(device) for one in (at_MS, there_MS, enough)))

    def of_frames(self, frame_M: Tensor) -> Samples:
        """Those of some frames."""
        return Samples(self.at_MS[frame_M], self.there_MS[frame_M], self.enough_M[frame_M])


def levels(bgr_M3HW: Tensor, samples: Samples) -> Tensor:
    """`grain.levels` of many, (M, 3, H, W) or luma (M, 1, H, W), float32 (M, BANDS)."""
    smooth = [bgr_M3HW]
    if bgr_M3HW.shape[1] == 3:
        blue, green, red = bgr_M3HW.split(1, 1)
        smooth = [0.114 * blue + 0.587 * green + 0.299 * red]
    smooth += [blurred(smooth[0], [sigma], mirrored=True) for sigma in grain.SIGMAS]
    half = samples.there_MS.sum(1) // 2
    found = []
    for a, b in zip(smooth, smooth[1:], strict=False):
        values = (a - b).abs().flatten(1).gather(1, samples.at_MS)
        found.append(grain.NORMAL * order_statistic(values, samples.there_MS, half.clamp(max=values.shape[1] - 1)))
    return torch.stack(found, 1).masked_fill(~samples.enough_M[:, None], torch.nan)


def softened(layers: Sequence[Tensor], samples: Samples, wanted_MB: Tensor) -> list[Tensor]:
    """Each picture's layers, float32 (M, K, H, W), blurred by its `grain.blur_px`, as the first tells it; a second has
    half the size, and is blurred by half as much."""
    out = [layer.clone() for layer in layers]
    unknown = wanted_MB.isnan().any(1)
    done = torch.zeros_like(unknown)
    factor, more = grain.SLACK
    for sigma in (0.0, *grain.BLURS):
        found = [blurred(layer, [sigma / (n + 1)], mirrored=True) if sigma else layer for n, layer in enumerate(layers)]
        keep = (done | unknown)[:, None, None, None]
        out = [torch.where(keep, was, now) for was, now in zip(out, found, strict=True)]
        have = levels(found[0], samples)
        done = done | have.isnan().any(1) | (have <= factor * wanted_MB + more).all(1)
    return out


def regrained(bgr_M3HW: Tensor, samples: Samples, wanted_MB: Tensor, numbers: Sequence[int]) -> Tensor:
    """`grain.regrained` of many, (M, 3, H, W) or luma (M, 1, H, W), with the noise of their numbers, float32."""
    device, (height, width) = bgr_M3HW.device, bgr_M3HW.shape[2:]
    have = levels(bgr_M3HW, samples)
    lack = (wanted_MB.clamp(max=grain.MOST).square() - have.square()).clamp(min=0).sqrt()
    wants = ~lack.isnan().any(1) & (lack >= grain.LEAST).any(1)
    corner_M2 = torch.tensor([grain.corner(n) for n in numbers]).to(device)
    rows = (corner_M2[:, :1] + torch.arange(height, device=device)) % grain.PERIOD
    cols = (corner_M2[:, 1:] + torch.arange(width, device=device)) % grain.PERIOD
    made = torch.zeros_like(bgr_M3HW[:, 0])
    for band, much in zip(_noise(device), lack.unbind(1), strict=True):
        made = made + band[rows[:, :, None], cols[:, None]] * much[:, None, None]
    made = torch.where(wants[:, None, None], made, 0.0)
    return bgr_M3HW + made[:, None]


@cache
def _noise(device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(grain.noise())).to(device)
