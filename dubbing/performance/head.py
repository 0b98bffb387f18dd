"""The map that moves a head with its hair and neck, by a pose about the photograph's own.

The photograph is bent, not cut: inside the head a rigid turn in three dimensions (the mesh's depth over the face, a
round skull behind it) seen from far away, so the nose goes further than the ears; from the hair outwards, from the chin
down to the shoulders and to the picture's border it dies away smoothly, and the background gives way by so little that
it is not torn. Poses must be small (`motion.LIMITS`): what a head hides is never shown. Worked out on a coarse grid and
enlarged; one pass over the pixels of the box that moves. Knows no mouth, no lids and no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from dubbing.face import OVAL
from dubbing.performance.brows import raised_field
from dubbing.smoothstep import smoothstep

__all__ = ["Head", "Part"]

_EYES, _EARS, _TOP, _CHIN = (33, 263), (234, 454, 127, 356), 10, 152
# Shares of the face's half width and half height: how far head and hair reach, and over which way motion dies away.
_ASIDE, _ABOVE, _RAISED = 1.5, 1.7, 0.25
_FADE = 0.95  # of these reaches
_NECK = 1.35  # half heights below the chin, where the shoulders stand
_BORDER = 0.6  # eye distances inside the picture's border, which stands: nothing is known of what lies beyond it
_APART = 0.3  # of the way to another face, over which motion dies away
_AROUND = 1.6  # of the oval: where the skull is as far back as the ears
_POINTS = 3  # every third point of the mesh gives the depth
_STEPS = 14  # of the grid, between the eyes' outer corners
_MOVES = 0.004  # weights below move nothing that could be seen
_SOLID = 0.03  # weights from which on the picture is wholly the moved one
_ROUNDS = 3  # of the inversion


class Part(NamedTuple):
    """A part of the picture: top left and size, in pixels."""

    x: int
    y: int
    width: int
    height: int


class Head:
    """One head. mesh_P3: (478, 3) pixels of the photograph, z away from the camera; picture_wh: its size, even; holds:
    what must lie in its region (x, y, width, height); others: where other faces are, which stand.

    region: the part of the picture that moves, even.
    """

    def __init__(
        self, mesh_P3: np.ndarray, picture_wh: tuple[int, int], holds: tuple[int, int, int, int],
        others: Sequence[tuple[float, float, float, float]] = (),
    ) -> None:  # fmt: skip
        self._mesh = np.asarray(mesh_P3, np.float64)
        self._picture_wh, self._others = picture_wh, others
        self.eye = max(float(np.linalg.norm(self._mesh[_EYES[1]] - self._mesh[_EYES[0]])), 4.0)
        down = self._mesh[_CHIN, :2] - self._mesh[_TOP, :2]
        down = down / max(float(np.linalg.norm(down)), 1e-6)
        self._axes = np.array([[down[1], -down[0]], down])  # the head's right and down in the picture
        self._step = step = max(4, round(self.eye / _STEPS))
        whole = self._weights(np.arange(0, picture_wh[0], step), np.arange(0, picture_wh[1], step))
        rows, cols = (np.flatnonzero((whole > _MOVES).any(axis)) for axis in (1, 0))
        low, size = holds[:2], holds[2:]
        x, y = (
            min(max(0, int(at[0] - 1) * step), n) // 2 * 2 if len(at) else n
            for at, n in zip((cols, rows), low, strict=True)
        )
        right, below = (
            min(limit, max(int(at[-1] + 2) * step if len(at) else 0, n + long))
            for limit, at, n, long in zip(picture_wh, (cols, rows), low, size, strict=True)
        )
        self.region = Part(x, y, (right - x) // 2 * 2, (below - y) // 2 * 2)
        # nodes: one more before the first pixel and two after the last
        self._cols = x + step * np.arange(-1.0, self.region.width // step + 3)
        self._rows = y + step * np.arange(-1.0, self.region.height // step + 3)
        weights = self._weights(self._cols, self._rows)
        middle = self._mesh[list(_EYES)].mean(0)
        nodes = np.stack(np.meshgrid(self._cols, self._rows), -1)
        self._place = np.concatenate([nodes - middle[:2], self._depth(nodes)[..., None] - middle[2]], -1)
        self._weight = weights[..., None]
        self._nodes = nodes.astype(np.float32)
        self._brows = raised_field(self._mesh, nodes).astype(np.float32)

    @cached_property
    def matte_HW(self) -> np.ndarray:
        """How much of each pixel of the region is the moved picture's, uint8: 0 where nothing moves."""
        share = np.clip((self._weight[..., 0] - _MOVES) / (_SOLID - _MOVES), 0, 1)
        return np.asarray(np.rint(255 * self._full(share.astype(np.float32))), np.uint8)

    def moved(self, bgr_HWC: np.ndarray, pose_6: np.ndarray, brows: float = 0.0) -> np.ndarray:
        """The region with its head in a pose (`motion.POSE`) and its brows up (eye distances), of its type.

        bgr_HWC: the region of the photograph, or of one with another mouth; uint8, or float32 0..255.
        """
        at = self._full(self._from(pose_6, brows))
        return cv2.remap(bgr_HWC, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)

    def points(self, mesh_P3: np.ndarray, pose_6: np.ndarray) -> np.ndarray:
        """Where points of the face go, (P, 3) pixels of the picture."""
        rotation, scale, shift = self._rigid(pose_6)
        middle = self._mesh[list(_EYES)].mean(0)
        return np.asarray(scale * (mesh_P3 - middle) @ rotation.T + middle + np.array([*(self.eye * shift), 0.0]))

    def _rigid(self, pose_6: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Rotation (3, 3), scale and shift (2,) of a pose in the picture: a head that leans nods along its own axis."""
        pose = np.asarray(pose_6, np.float64)
        about = np.radians([*(pose[:2] @ self._axes), pose[2]])
        return cv2.Rodrigues(about)[0], float(np.exp(pose[5])), pose[3:5] @ self._axes

    def _from(self, pose_6: np.ndarray, brows: float) -> np.ndarray:
        """Where each node is read, float32 (rows, columns, 2) pixels of the region."""
        rotation, scale, shift = self._rigid(pose_6)
        turned = scale * self._place @ rotation[:2].T - self._place[..., :2] + self.eye * shift
        forth = (turned * self._weight).astype(np.float32)
        at = self._nodes - forth
        for _ in range(_ROUNDS - 1):
            at = self._nodes - self._read(forth, at)
        if brows:
            at = at - np.float32(brows * self.eye) * self._read(self._brows, at)
        return np.asarray(at - np.array(self.region[:2], np.float32), np.float32)

    def _read(self, field: np.ndarray, at: np.ndarray) -> np.ndarray:
        """A field of the grid at pixels of the picture."""
        place = (at - self._nodes[0, 0]) / np.float32(self._step)
        return np.asarray(cv2.remap(field, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def _full(self, grid: np.ndarray) -> np.ndarray:
        """What stands at the nodes at every pixel of the region."""
        size, step = (self.region.width, self.region.height), self._step
        to_grid = np.array([[1 / step, 0, 1], [0, 1 / step, 1]], np.float32)
        return np.asarray(cv2.warpAffine(grid, to_grid, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))

    def _weights(self, cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How much of the head's motion each place takes part in, (rows, columns), 0..1."""
        oval = self._mesh[list(OVAL), :2]
        middle = oval.mean(0)
        across, along = ((oval - middle) @ self._axes.T).T
        wide, high = float(np.ptp(across)) / 2, float(np.ptp(along)) / 2
        u, v = np.moveaxis((np.stack(np.meshgrid(cols, rows), -1) - middle) @ self._axes.T, -1, 0)
        above = np.minimum(v + _RAISED * high, 0) / (_ABOVE * high)
        reach = np.hypot(u / (_ASIDE * wide), above)
        chin = float(along.max())
        x, y = np.meshgrid(cols, rows)
        last_x, last_y = (n - 1 for n in self._picture_wh)
        inset = np.minimum(np.minimum(x, last_x - x), np.minimum(y, last_y - y))
        weight = (1 - smoothstep((reach - 1) / _FADE)) * (1 - smoothstep((v - chin) / (_NECK * high)))
        weight = weight * smoothstep(inset / (_BORDER * self.eye))
        mine = np.hypot(x - middle[0], y - middle[1]) / high
        for left, top, width, height in self._others:  # from nothing half way to the other face, in sizes of each
            theirs = np.hypot(x - left - width / 2, y - top - height / 2) / (height / 2)
            weight = weight * smoothstep((theirs - mine) / np.maximum(theirs + mine, 1e-6) / _APART)
        return np.asarray(weight)

    def _depth(self, nodes: np.ndarray) -> np.ndarray:
        """How far away each node is, in pixels as the mesh's z: the face, and a skull that goes back to the ears."""
        oval = self._mesh[list(OVAL)]
        back = float(self._mesh[list(_EARS), 2].mean())
        ring = oval[::2].copy()
        ring[:, :2] = oval.mean(0)[:2] + _AROUND * (ring[:, :2] - oval.mean(0)[:2])
        ring[:, 2] = back
        known = np.concatenate([self._mesh[:468:_POINTS], ring])
        unit = known[:, :2] / self.eye
        system = np.linalg.norm(unit[:, None] - unit[None], axis=-1) - 0.02 * np.eye(len(unit))
        weights = np.linalg.solve(system, known[:, 2] - back)
        far = np.linalg.norm(nodes.reshape(-1, 1, 2) / self.eye - unit[None], axis=-1) @ weights
        # beyond the ring there is only what is behind
        radius = np.linalg.norm((nodes - oval.mean(0)[:2]) / np.ptp(oval[:, :2], axis=0) * 2, axis=-1)
        return np.asarray(back + far.reshape(nodes.shape[:2]) * (1 - smoothstep((radius - 1.1) / 0.6)))
