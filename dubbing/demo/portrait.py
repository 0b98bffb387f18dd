"""A photograph that talks: the demo's actress, animated by warping one still. Knows no sound and no file format.

The still is `astronaut` from scikit-image's wheel (NASA, public domain). Her photographed smile is cut
along the inner lips into layers: upper face, lower face, and between them the photograph's own teeth
over a drawn cavity and tongue. Smooth displacement fields close and open the lips, lower the jaw,
round or spread the corners and shut the lids, so the maker knows the mouth opening exactly. The head
sways on its own, the camera moves over the whole.

Lengths are pixels of the 512 x 512 still unless a name says otherwise; the *plate* is the still enlarged
`PLATE` times. Displacement is forward (where a point goes); pictures are fetched through its inverse,
found by fixed-point iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing.errors import InputError
from dubbing.face import EYE_OUTER, INNER_LIPS, LOWER_LIDS, OVAL, UPPER_LIDS
from dubbing.mesh import MeshTracker
from dubbing.smoothstep import smoothstep

__all__ = ["MAX_OPENING", "Camera", "Pose", "Portrait", "fetch", "photograph", "portrait", "talking_face"]

PLATE = 3
MAX_OPENING = 0.26  # inter-ocular distances; beyond it the neck would fold
_PROBES = (13, 82, 312)  # upper inner-lip points where `dubbing.face.mouth_measures` reads the opening


@dataclass(frozen=True)
class Pose:
    """The face at one instant.

    opening: gap of the inner lips as `dubbing.face.mouth_measures` reads it, inter-ocular distances,
    0 to MAX_OPENING; spread: mouth corners, -1 rounded to 1 wide; lids: 0 open to 1 shut; yaw_deg and
    roll_deg: small head turns (within 4); dx_px, dy_px: head shift in pixels of the still.
    """

    opening: float = 0.0
    spread: float = 0.0
    lids: float = 0.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0
    dx_px: float = 0.0
    dy_px: float = 0.0


@dataclass(frozen=True)
class Camera:
    """What the picture frames: centre (x_px, y_px) and width_px in pixels of the photograph, roll, mirroring."""

    x_px: float
    y_px: float
    width_px: float
    roll_deg: float = 0.0
    mirror: bool = False

    def coordinates(self, width: int, height: int, step: int = 1) -> np.ndarray:
        """Photograph coordinates under every `step`-th output pixel: float32 (ceil(H/step), ceil(W/step), 2)."""
        scale = self.width_px / width
        columns = (np.arange(-(-width // step)) + 0.5) * step - width / 2
        rows = (np.arange(-(-height // step)) + 0.5) * step - height / 2
        x, y = np.meshgrid(-columns if self.mirror else columns, rows)
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        grid = np.stack([self.x_px + scale * (c * x - s * y), self.y_px + scale * (s * x + c * y)], -1)
        return (grid - 0.5).astype(np.float32)


def photograph(name: str) -> np.ndarray:
    """A picture inside scikit-image's wheel, BGR uint8 (H, W, 3). Raises InputError when it is not there."""
    try:
        import skimage
    except ImportError as e:
        raise InputError("The demo needs scikit-image's photographs: pip install 'dubbing[demo]'.") from e
    path = Path(skimage.__file__).parent / "data" / name
    if not path.exists():
        raise InputError(f"The installed scikit-image has no {name}: reinstall it with pip install 'dubbing[demo]'.")
    from PIL import Image  # cv2 would complain on stderr about the file's colour profile

    with Image.open(path) as picture:
        return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])


@lru_cache(maxsize=1)
def portrait() -> Portrait:
    """The astronaut, measured once a process (about 2 s)."""
    still = photograph("astronaut.png")
    return Portrait(still, _mesh(still))


def talking_face(
    opening_N: Sequence[float] | np.ndarray, size: tuple[int, int] = (320, 320), **pose: float
) -> Iterator[np.ndarray]:
    """A talking face of known opening, for tests: one BGR uint8 (H, W, 3) frame for each value.

    opening_N: as `Pose.opening`; size: (width, height) in pixels; pose: other fields of `Pose`, held.
    The camera stands still and there is no grain, so equal openings give equal frames.
    """
    face = portrait()
    camera = Camera(226, 125, 210 * max(1.0, size[0] / size[1]))
    for opening in opening_N:
        yield face.frame(replace(Pose(**pose), opening=float(opening)), camera, *size)


def _mesh(still: np.ndarray) -> np.ndarray:
    """MediaPipe mesh of the still's head, float64 (478, 3) in its pixels."""
    x, y, size, zoom = 96, 0, 260, 3
    head = cv2.resize(still[y : y + size, x : x + size], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    tracker = MeshTracker()
    try:
        mesh = tracker.find(head)
    finally:
        tracker.close()
    if mesh is None:
        raise InputError("MediaPipe finds no face in the demo's photograph: install mediapipe 0.10.21.")
    return mesh.astype(np.float64) / zoom + (x - 0.5, y - 0.5, 0)


def _curve(mesh: np.ndarray, ids: Sequence[int], x: np.ndarray) -> np.ndarray:
    """y of a contour through mesh points, as a smooth function of x; held beyond its ends."""
    from scipy.interpolate import PchipInterpolator

    points = mesh[list(ids), :2]
    points = points[np.argsort(points[:, 0])]
    line = PchipInterpolator(points[:, 0], points[:, 1])
    return line(np.clip(x, points[0, 0], points[-1, 0]))


def _cut(
    mesh: np.ndarray, upper: Sequence[int], lower: Sequence[int], x: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the lips are cut: y of the upper and lower inner edge, a little inside the lips' colour."""
    taper = np.clip(1 - t**2, 0, 1) ** 0.5
    return _curve(mesh, upper, x) - 0.6 * taper, _curve(mesh, lower, x) + 0.8 * taper


def fetch(picture: np.ndarray, q_HW2: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """The picture at points q, its border repeated."""
    no_second_map: Any = None
    return cv2.remap(picture, q_HW2, no_second_map, how, borderMode=cv2.BORDER_REPLICATE)


def _inverse(field_HWC: np.ndarray, grid: np.ndarray, per_px: float, rounds: int = 4) -> np.ndarray:
    """Where each point of a region came from, in the region's own samples: q with q + field(q) = p."""
    q = grid
    for _ in range(rounds):
        q = grid - per_px * fetch(field_HWC, q)
    return q


def _over(top_HWC: np.ndarray, bottom_HWC: np.ndarray, cover_HW: np.ndarray) -> np.ndarray:
    """One picture over another where cover is 1."""
    return cv2.blendLinear(np.ascontiguousarray(top_HWC), np.ascontiguousarray(bottom_HWC), cover_HW, 1 - cover_HW)


class Portrait:
    """A still with everything that can be precomputed for animating it.

    still: BGR uint8 (512, 512, 3); mesh: (478, 3) in its pixels. `frame` draws one output frame and
    writes into an inner plate, so one Portrait serves one thread.
    """

    _GRID = 2  # displacement samples per pixel of the still

    def __init__(self, still: np.ndarray, mesh: np.ndarray) -> None:
        self.mesh = mesh
        self.eye_distance_px = float(np.linalg.norm(mesh[EYE_OUTER[1], :2] - mesh[EYE_OUTER[0], :2]))
        big = cv2.resize(still, None, fx=PLATE, fy=PLATE, interpolation=cv2.INTER_LANCZOS4)
        soft = cv2.GaussianBlur(big, (0, 0), 2.4)
        self._plate = cv2.addWeighted(big, 1.4, soft, -0.4, 0)  # the enlargement is soft; edges get some bite back
        self._clean = self._plate.copy()
        self._prepare_mouth()
        self._prepare_lids()
        self._prepare_head(still.shape[:2])

    # --- mouth -------------------------------------------------------------------------------------

    def _prepare_mouth(self) -> None:
        mesh = self.mesh
        left, right = mesh[78, :2], mesh[308, :2]
        centre_x, half = (left[0] + right[0]) / 2, (right[0] - left[0]) / 2
        chin_y = mesh[152, 1]
        x0, y0 = int(centre_x - 58), int(mesh[2, 1] - 12)
        x1, y1 = int(centre_x + 58), int(chin_y + 30)
        self._mouth_box = (x0, y0, x1 - x0, y1 - y0)
        grid, x, y = self._region(self._mouth_box, self._GRID)
        self._mouth_grid = grid
        upper, lower = INNER_LIPS[:11], (INNER_LIPS[0], *INNER_LIPS[:10:-1], INNER_LIPS[10])
        t = (x - centre_x) / half
        u, low = _cut(mesh, upper, lower, x, t)
        gap = np.maximum(low - u, 0) * (np.abs(t) < 1)
        lens = np.clip(1 - t**2, 0, 1) ** 0.8
        probe = (mesh[list(_PROBES), 0] - centre_x) / half
        self._lens_at_probes = float(np.mean((1 - probe**2) ** 0.8))

        # Above: dies at the nose. Below: the lip's own shape at the lip, the jaw's from there to the neck.
        nose_y = mesh[2, 1]
        above = smoothstep((y - nose_y + 1) / (u - nose_y - 1))
        lip = 1 - smoothstep((y - low - 2) / 15)
        bell = np.exp(-((t / 1.75) ** 2)) * smoothstep((y - low) / 16 + 0.1 * (np.abs(t) < 1))
        jaw = 0.72 * bell * (1 - smoothstep((y - chin_y + 4) / 28))
        jaw_side = 1 - smoothstep((np.abs(x - centre_x) - 38) / 18)
        zero = np.zeros_like(x)

        def field(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
            return np.stack([dx, dy], -1).astype(np.float32)

        middle = float(gap.max())
        self._up_lens, self._up_gap = field(zero, lens * above), field(zero, gap * above)
        self._low_lens = field(zero, (lens * lip + jaw * (1 - lip)) * jaw_side)
        self._low_gap = field(zero, (gap * lip + middle * jaw * (1 - lip)) * jaw_side)
        side = t * np.exp(-((np.clip(np.abs(t) - 1, 0, None) / 0.55) ** 2)) * np.exp(-(((y - (u + low) / 2) / 17) ** 2))
        self._spread = field(3.4 * side, -1.1 * np.abs(side) ** 2)

        # Layers at plate resolution.
        _, px, py = self._region(self._mouth_box, PLATE)
        pu, pl = _cut(mesh, upper, lower, px, (px - centre_x) / half)
        inside = (np.abs(px - centre_x) < half).astype(np.float32)
        self._above_u = (py - pu).astype(np.float32)  # positive under the upper lip's edge
        self._below_l = (pl - py).astype(np.float32)  # positive over the lower lip's edge
        crop = self._crop(self._mouth_box, self._clean)
        hole = (((self._above_u > -0.2) & (self._below_l > -0.2)) * inside * 255).astype(np.uint8)
        lips = cv2.inpaint(crop, hole, 4, cv2.INPAINT_TELEA)
        mask_up = 1 - smoothstep(self._above_u / 0.9 + 0.5)
        mask_low = np.maximum(1 - smoothstep(self._below_l / 0.9 + 0.5), 1 - inside)
        self._lips, self._cover_up, self._cover_low = lips, mask_up.astype(np.float32), mask_low.astype(np.float32)
        rows = np.flatnonzero(hole.any(1))
        columns = np.flatnonzero(hole.any(0))
        self._inner = (
            slice(rows[0] - 4 * PLATE, rows[-1] + 14 * PLATE),
            slice(columns[0] - 6 * PLATE, columns[-1] + 6 * PLATE),
        )
        self._make_teeth(crop, inside)
        self._drawn_mouth = (-1.0, 0.0)

    def _make_teeth(self, crop: np.ndarray, inside: np.ndarray) -> None:
        """The photographed upper teeth with their own alpha, and more tooth above, behind the upper lip."""
        h, w = inside.shape
        depth = np.maximum(self._above_u, 2.2)  # rows hidden by the lip repeat the first visible one
        rows, columns = np.mgrid[0:h, 0:w].astype(np.float32)
        rows += (depth - self._above_u) * PLATE
        teeth = cv2.remap(crop, columns, rows, cv2.INTER_LINEAR)
        closed = cv2.morphologyEx(teeth, cv2.MORPH_CLOSE, np.ones((1, 4 * PLATE + 1), np.uint8))
        closed = cv2.GaussianBlur(closed, (0, 0), 1.5)
        root = 1 - smoothstep((self._above_u - 1.8) / 2.4)[..., None]  # near the gum the gaps between teeth close
        teeth = (teeth + (closed.astype(np.float32) * 0.93 - teeth) * root * 0.9).astype(np.uint8)
        light = cv2.GaussianBlur(cv2.cvtColor(teeth, cv2.COLOR_BGR2GRAY), (0, 0), 1.0).astype(np.float32)
        pink = teeth[..., 2].astype(np.float32) - teeth[..., 1]
        alpha = (
            smoothstep((light - 80) / 60) * (1 - smoothstep((pink - 34) / 26)) * smoothstep((self._below_l - 0.7) / 0.9)
        )
        self._teeth = teeth[self._inner].astype(np.float32)
        self._teeth_alpha = (alpha * inside)[self._inner].astype(np.float32)

    def _draw_mouth(self, opening: float, spread: float) -> None:
        if (opening, spread) == self._drawn_mouth:
            return
        self._drawn_mouth = (opening, spread)
        top = opening * self.eye_distance_px / self._lens_at_probes
        share = 0.36 - 0.26 * opening / MAX_OPENING  # how much of the change the upper lip takes
        sideways = (spread - 0.45) * self._spread
        up = _inverse(share * (self._up_gap - top * self._up_lens) + sideways, self._mouth_grid, self._GRID)
        low = _inverse((1 - share) * (top * self._low_lens - self._low_gap) + sideways, self._mouth_grid, self._GRID)
        x, y, w, h = (PLATE * v for v in self._mouth_box)
        up, low = ((cv2.resize(q, (w, h)) + 0.5) * (PLATE / self._GRID) - 0.5 for q in (up, low))

        upper, lower = fetch(self._lips, up, cv2.INTER_CUBIC), fetch(self._lips, low, cv2.INTER_CUBIC)
        cover_up = fetch(self._cover_up, up, cv2.INTER_LINEAR)
        part = self._inner
        above = fetch(self._above_u, up[part], cv2.INTER_LINEAR)
        below = fetch(self._below_l, low[part], cv2.INTER_LINEAR)
        cover_low = fetch(self._cover_low, low[part], cv2.INTER_LINEAR)
        lower[part] = _over(lower[part], self._inside(above, below), cover_low)
        self._plate[y : y + h, x : x + w] = _over(upper, lower, cover_up)

    def _inside(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Dark mouth, a tongue near the lower lip, the upper teeth; above, below: depth behind each lip."""
        gap = np.maximum(above + below, 0.1)
        tongue = 0.8 * (1 - smoothstep(below / (0.62 * gap + 0.5))) * smoothstep((gap - 4) / 6)
        dark, flesh = np.array([22, 18, 38], np.float32), np.array([78, 74, 148], np.float32)
        inside = dark + (flesh - dark) * tongue[..., None]
        shadow = np.array([0.40, 0.42, 0.50], np.float32)  # the upper lip's, on the teeth
        teeth = self._teeth * (shadow + (1 - shadow) * smoothstep((above + 0.5) / 5)[..., None])
        alpha = self._teeth_alpha * smoothstep((gap - 0.6) / 2)
        return (inside + (teeth - inside) * alpha[..., None]).astype(np.uint8)

    # --- lids --------------------------------------------------------------------------------------

    def _prepare_lids(self) -> None:
        self._lids = []
        self._drawn_lids = 0.0
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
            points = self.mesh[list(upper + lower), :2]
            x0, y0 = np.floor(points.min(0)).astype(int) - (4, 18)
            x1, y1 = np.ceil(points.max(0)).astype(int) + (4, 5)
            box = (int(x0), int(y0), int(x1 - x0), int(y1 - y0))
            grid, x, y = self._region(box, PLATE)
            u, low = _curve(self.mesh, upper, x), _curve(self.mesh, lower, x)
            drop = np.maximum(low - u - 0.3, 0) * np.clip((y - u + 15) / 15, 0, 1) ** 1.4
            field = np.stack([np.zeros_like(x), drop], -1).astype(np.float32)
            mask = 1 - smoothstep((y - u - 0.3) / 0.9)
            self._lids.append((box, grid, field, self._crop(box, self._clean), mask.astype(np.float32)))

    def _draw_lids(self, shut: float) -> None:
        if shut == self._drawn_lids:
            return
        self._drawn_lids = shut
        for box, grid, field, eye, cover in self._lids:
            x, y, w, h = (PLATE * v for v in box)
            q = _inverse(shut * field, grid, PLATE)
            lid = fetch(eye, q, cv2.INTER_CUBIC)
            cover_lid = fetch(cover, q)
            self._plate[y : y + h, x : x + w] = _over(lid, eye, cover_lid)

    # --- head and camera ---------------------------------------------------------------------------

    def _prepare_head(self, shape: tuple[int, ...]) -> None:
        """Weight of the head in each pixel (1 inside, fading over the backdrop) and its depth bump."""
        oval = self.mesh[list(OVAL), :2]
        centre = oval.mean(0)
        hull = centre + (oval - centre) * (1.25, 1.12) + (2, -8)
        inside = cv2.fillPoly(np.zeros(shape, np.uint8), [np.round(hull).astype(np.int32)], (255,))
        away = cv2.distanceTransform(255 - inside, cv2.DIST_L2, 5)
        y = np.arange(shape[0], dtype=np.float32)[:, None]
        neck = 1 - smoothstep((y - self.mesh[152, 1] + 6) / 34)
        self._head = (1 - smoothstep(away / 46)).astype(np.float32) * neck.astype(np.float32)
        depth = np.zeros(shape, np.float32)
        weight = np.zeros(shape, np.float32)
        z = self.mesh[:, 2].max() - self.mesh[:, 2]
        for (px, py), pz in zip(np.round(self.mesh[:, :2]).astype(int), z, strict=True):
            depth[py, px] += pz
            weight[py, px] += 1
        depth = cv2.GaussianBlur(depth, (0, 0), 7) / (cv2.GaussianBlur(weight, (0, 0), 7) + 2e-4)
        self._depth = cv2.GaussianBlur(depth, (0, 0), 4) * self._head
        self._pivot = np.array([self.mesh[152, 0], self.mesh[152, 1] + 20], np.float32)

    def _head_shift(self, p: np.ndarray, pose: Pose) -> np.ndarray:
        """Displacement of the head at points p, float32 (..., 2)."""
        weight = fetch(self._head, p)
        depth = fetch(self._depth, p)
        roll = np.radians(pose.roll_deg)
        arm = p - self._pivot
        dx = (-roll * arm[..., 1] + pose.dx_px) * weight + np.sin(np.radians(pose.yaw_deg)) * depth
        dy = (roll * arm[..., 0] + pose.dy_px) * weight
        return np.stack([dx, dy], -1).astype(np.float32)

    def frame(self, pose: Pose, camera: Camera, width: int, height: int) -> np.ndarray:
        """One frame as the camera sees it: BGR uint8 (height, width, 3)."""
        self._draw_mouth(float(np.clip(pose.opening, 0, MAX_OPENING)), float(np.clip(pose.spread, -1, 1)))
        self._draw_lids(float(np.clip(pose.lids, 0, 1)))
        step = 4
        p = camera.coordinates(width + 2 * step, height + 2 * step, step)
        q = p - self._head_shift(p, pose)
        q = p - self._head_shift(q, pose)
        full = cv2.resize(q, (p.shape[1] * step, p.shape[0] * step), interpolation=cv2.INTER_LINEAR)
        full = full[step : step + height, step : step + width]
        return fetch(self._plate, (full + 0.5) * PLATE - 0.5)

    def eye_distance_in(self, camera: Camera, width: int) -> float:
        """Inter-ocular distance in output pixels."""
        return self.eye_distance_px * width / camera.width_px

    # --- regions -----------------------------------------------------------------------------------

    @staticmethod
    def _region(box: tuple[int, int, int, int], per_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sample grid (H, W, 2) of a box, in its own samples, and the still's x and y of each sample."""
        x0, y0, w, h = box
        rows, columns = np.mgrid[0 : h * per_px, 0 : w * per_px].astype(np.float32)
        x, y = (columns + 0.5) / per_px + x0 - 0.5, (rows + 0.5) / per_px + y0 - 0.5
        return np.stack([columns, rows], -1), x.astype(np.float64), y.astype(np.float64)

    @staticmethod
    def _crop(box: tuple[int, int, int, int], plate: np.ndarray) -> np.ndarray:
        x, y, w, h = (PLATE * v for v in box)
        return plate[y : y + h, x : x + w].copy()
