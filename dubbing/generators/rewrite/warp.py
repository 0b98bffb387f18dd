"""Bend pictures by moving points: smooth dense maps from sparse landmarks. Knows nothing of speech.

A map is fitted by a biharmonic-like radial basis (kernel r, with an affine part) on at most ~120
points (Turk and O'Brien 1999 for the method), and worked out at the nodes of a grid, which stand on pixels; between
them it is linear. Whatever a map is multiplied by or added to is done at its nodes: only reading the picture costs for
every pixel. All coordinates are pixels of the same crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

__all__ = ["Nodes", "dense_map", "half_places", "moved", "node_map", "warp", "warp_around", "warp_layers"]

_ROWS = 32  # pixels of a band that is read at once
_APART = 48  # pixels between two parts of a band from which on they are read one by one


@dataclass(frozen=True)
class Nodes:
    """The grid of a crop: R rows and C columns of nodes. size_wh: the crop's; step_px: spacing, an odd number.

    Node (i, j) stands at pixel ((j - 1) * step, (i - 1) * step), so some stand before the first pixel and after the
    last.
    """

    size_wh: tuple[int, int]
    step_px: int

    @classmethod
    def of(cls, size_wh: tuple[int, int], step_px: float) -> Nodes:
        """Nodes at most that far apart, and at least one pixel."""
        return cls(size_wh, max(1, (int(step_px) - 1) | 1))

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)."""
        width, height = self.size_wh
        return height // self.step_px + 4, width // self.step_px + 4

    @cached_property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the rows (R, 1) and of the columns (C,), float32."""
        rows, cols = self.shape
        y, x = (np.arange(-1, n - 1, dtype=np.float32) * np.float32(self.step_px) for n in (rows, cols))
        return y[:, None], x

    def enlarged(self, values_RC: np.ndarray) -> np.ndarray:
        """Values between the nodes, linearly, at every pixel of the crop, float32 (H, W), or (H, W, K) of (R, C, K)."""
        rows, cols = self.shape
        step, (width, height) = self.step_px, self.size_wh
        first = step + step // 2  # enlarged by an odd number, nodes lie on pixels
        whole = cv2.resize(values_RC, (cols * step, rows * step))
        return np.asarray(whole[first : first + height, first : first + width])

    def reading(self, move_2RC: np.ndarray, shift_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
        """The place that a displacement reads at every pixel, float32 (H, W, 2), x and y. shift_xy: where the crop lies
        in what is read."""
        y, x = self.at
        return self.enlarged(
            cv2.merge([move_2RC[0] + (x + np.float32(shift_xy[0])), move_2RC[1] + (y + np.float32(shift_xy[1]))])
        )

    def filled(self, outline_M2: np.ndarray) -> np.ndarray:
        """How much of the square around each node lies in a convex outline, float32 (R, C) 0..1."""
        rows, cols = self.shape
        step = self.step_px
        mask = np.zeros((rows * step, cols * step), np.uint8)
        corners = cv2.convexHull(outline_M2.astype(np.float32)) + np.float32(step + step // 2)
        cv2.fillConvexPoly(mask, np.rint(corners * 16).astype(np.int32), 255, shift=4)
        return np.asarray(cv2.resize(mask, (cols, rows), interpolation=cv2.INTER_AREA) * np.float32(1 / 255))

    def softened(self, values_RC: np.ndarray, reach_px: float) -> np.ndarray:
        """Values blurred by a triangle that reaches so far to each side; beyond the grid they are 0."""
        reach = max(reach_px / self.step_px, 1.0)
        taps = np.maximum(1 - np.abs(np.arange(-int(reach), int(reach) + 1)) / reach, 0)
        taps = (taps / taps.sum()).astype(np.float32)
        return np.asarray(cv2.sepFilter2D(values_RC, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_CONSTANT))

    def picked(self, values_HW: np.ndarray) -> np.ndarray:
        """The values of a crop at the nodes, (R, C); of those beyond its edge the pixel's next to them."""
        y, x = self.at
        width, height = self.size_wh
        rows, cols = (np.clip(a.ravel().astype(int), 0, n - 1) for a, n in ((y, height), (x, width)))
        return np.asarray(values_HW[rows][:, cols])


def node_map(
    points_P2: np.ndarray, moves_PK: np.ndarray, nodes: Nodes, smooth: float = 0.5, *, twice: bool = False
) -> np.ndarray:
    """The displacement at the nodes, float32 (2, R, C), x and y, that equals `moves` at `points`.

    points_P2, moves_PK: (P, 2) pixels; of several displacements of the same points (P, 2 D) and (2 D, R, C); smooth:
    how many pixels a point may be missed by, roughly (landmarks carry noise); twice: work it out at every other node
    only, and at those between by cubics through four.
    """
    p = np.asarray(points_P2, np.float64)
    count = len(p)
    system = np.zeros((count + 3, count + 3))
    dx, dy = p[:, :1] - p[:, 0], p[:, 1:] - p[:, 1]
    system[:count, :count] = np.sqrt(dx * dx + dy * dy)
    # kernel r is conditionally negative definite: a negative diagonal makes the fit smoother
    system[np.arange(count), np.arange(count)] -= smooth
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = p
    system[count + 1 :, :count] = p.T
    planes = moves_PK.shape[1]
    right = np.zeros((count + 3, planes))
    right[:count] = moves_PK
    weights = np.linalg.solve(system, right).astype(np.float32)
    y, x = nodes.at
    y = y.ravel()
    if twice:
        y, x = ((np.arange(len(v) // 2 + 3, dtype=np.float32) * 2 - 3) * np.float32(nodes.step_px) for v in (y, x))
    p = p.astype(np.float32)
    across, down = (x - p[:, :1]) ** 2, (y - p[:, 1:]) ** 2
    radius = down[:, :, None] + across[:, None]
    np.sqrt(radius, out=radius)
    level, slope_x, slope_y = weights[count:, :, None, None]
    found = (weights[:count].T @ radius.reshape(count, -1)).reshape(planes, len(y), len(x))
    found += level + slope_x * x + slope_y * y[:, None]
    if not twice:
        return np.asarray(found)
    rows, cols = nodes.shape
    half = np.empty((planes, rows, len(x)), np.float32)
    half[:, ::2] = found[:, 1 : 1 + (rows + 1) // 2]
    half[:, 1::2] = _between(*(found[:, k : k + rows // 2] for k in range(4)))
    out = np.empty((planes, rows, cols), np.float32)
    out[..., ::2] = half[..., 1 : 1 + (cols + 1) // 2]
    out[..., 1::2] = _between(*(half[..., k : k + cols // 2] for k in range(4)))
    return out


def _between(before: np.ndarray, left: np.ndarray, right: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Half way between left and right, by the cubic through these and their neighbours (Deslauriers and Dubuc 1989)."""
    return (left + right) * np.float32(9 / 16) - (before + after) * np.float32(1 / 16)


def dense_map(
    points_P2: np.ndarray, moves_P2: np.ndarray, size_wh: tuple[int, int], step_px: int, smooth: float = 0.5
) -> np.ndarray:
    """`node_map` at every pixel of a crop, float32 (2, H, W). step_px: spacing of its nodes, at most."""
    nodes = Nodes.of(size_wh, step_px)
    return np.stack([nodes.enlarged(plane) for plane in node_map(points_P2, moves_P2, nodes, smooth)])


def warp(image_HWC: np.ndarray, at_HW2: np.ndarray) -> np.ndarray:
    """`image`, (H, W) or (H, W, C), read, cubic, at the places of a map: a picture of the map's H and W, of the image's
    type."""
    return cv2.remap(image_HWC, at_HW2, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def warp_layers(layers: Sequence[np.ndarray], at_HW2: np.ndarray) -> list[np.ndarray]:
    """`warp` of each layer of one picture (`Face.layers`); a second one has half the size."""
    return [warp(layer, half_places(at_HW2) if n else at_HW2) for n, layer in enumerate(layers)]


def warp_around(
    layers: Sequence[np.ndarray], at_HW2: np.ndarray, where_RC: np.ndarray, nodes: Nodes, out: Sequence[np.ndarray]
) -> None:
    """`warp_layers` into `out`, of the map's size, around the nodes of `where_RC`, bool, alone."""
    for here in _parts(where_RC, nodes):
        _read(layers[0], at_HW2[here], out[0][here])
        if len(layers) > 1:
            half = tuple(slice(s.start // 2, -(-s.stop // 2)) for s in here)
            _read(layers[1], half_places(at_HW2[tuple(slice(2 * s.start, 2 * s.stop) for s in half)]), out[1][half])


def _read(image: np.ndarray, at_HW2: np.ndarray, out: np.ndarray) -> None:
    cv2.remap(image, at_HW2, None, cv2.INTER_CUBIC, dst=out, borderMode=cv2.BORDER_REPLICATE)


def half_places(at_HW2: np.ndarray) -> np.ndarray:
    """The places of a map, H and W even, as its chroma at half the size is read, which lies in the middle of its
    blocks of four."""
    size = (at_HW2.shape[1] // 2, at_HW2.shape[0] // 2)
    return (cv2.resize(at_HW2, size, interpolation=cv2.INTER_AREA) - np.float32(0.5)) * np.float32(0.5)


def _parts(where_RC: np.ndarray, nodes: Nodes) -> list[tuple[slice, slice]]:
    """The rows and columns of pixels around the wanted nodes, in bands that are split where they have a wide gap."""
    step, (width, height) = nodes.step_px, nodes.size_wh
    band, gap = max(1, _ROWS // step), max(1, _APART // step)
    firsts = np.arange(0, len(where_RC), band)
    some = np.logical_or.reduceat(where_RC, firsts)
    some[:-1] |= where_RC[firsts[1:]]  # the pixels between nodes i and i + 1 are those from (i - 1) * step to i * step
    rows, cols = np.nonzero(some)
    if not len(rows):
        return []
    ends = np.flatnonzero((np.diff(rows) > 0) | (np.diff(cols) > gap))
    parts = []
    for a, b in zip([0, *(ends + 1).tolist()], [*ends.tolist(), len(rows) - 1], strict=True):
        first = int(firsts[rows[a]])
        top, bottom = max(0, (first - 1) * step), min(height, (first + band - 1) * step)
        left, right = max(0, (int(cols[a]) - 2) * step), min(width, int(cols[b]) * step + 1)
        if top < bottom and left < right:
            parts.append((slice(top, bottom), slice(left, right)))
    return parts


def moved(image_HWC: np.ndarray, move_2HW: np.ndarray) -> np.ndarray:
    """`image` with every pixel read `move` further, x and y."""
    height, width = move_2HW.shape[1:]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    return warp(image_HWC, cv2.merge([move_2HW[0] + x, move_2HW[1] + y]))
