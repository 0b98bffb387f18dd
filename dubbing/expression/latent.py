"""The editor `latent`: a face becomes styles of a StyleGAN (W+), is moved along the direction of an emotion, and drawn.

The face is cut out upright as the networks were trained (by eyes and mouth, Karras et al. 2019), encoded, and drawn
twice: as it is, and moved. What differs between the two drawings is added to the photograph under a soft matte of the
face, so that its own pixels, its grain and its background stay. To neutralise, what of every emotion's direction is in
the face beyond the mean face is taken out (Shen et al., "InterFaceGAN", 2020: directions as hyperplanes' normals).
Directions are those of a file: tensors named by emotion, of one style or of one for each layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dubbing import models
from dubbing.errors import ModelError
from dubbing.expression import Edited, Look
from dubbing.expression.units import EMOTIONS
from dubbing.face import OVAL
from dubbing.mesh import MeshTracker, face_boxes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ByLatent", "cut_face"]

_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
_MOUTH = (61, 291)
_SOFT = 0.06  # of the face's height, over which its matte fades
_LOOKS = 4  # the mesh settles when it is fitted this often in one picture


def cut_face(mesh_P3: np.ndarray, side: int) -> np.ndarray:
    """The turn, scale and shift, float64 (2, 3), that take a picture to the square of that side, in pixels, in which
    the networks know faces."""
    eyes = [mesh_P3[list(one), :2].mean(0) for one in _EYES]
    middle, mouth = (eyes[0] + eyes[1]) / 2, mesh_P3[list(_MOUTH), :2].mean(0)
    across, down = eyes[1] - eyes[0], mouth - middle
    x = across + np.array([down[1], -down[0]])
    x *= max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down))) / max(float(np.hypot(*x)), 1e-6)
    y = np.array([-x[1], x[0]])
    centre = middle + 0.1 * down
    to = np.array([[0, 0], [side, 0], [0, side]], np.float32) - 0.5
    found: np.ndarray = cv2.getAffineTransform(
        np.array([centre - x - y, centre + x - y, centre - x + y], np.float32), to
    )
    return found


class ByLatent:
    """See `dubbing.expression.Editor`. Raises ModelError: a file that is absent or of another architecture, or has no
    direction for the emotion."""

    def __init__(self, look: Look, model: Path, directions: Path) -> None:
        import torch

        from dubbing.networks.stylegan import InStyle, plan_of

        state = models.load_state(model, beside=("latent_avg",))
        state = {k: v for k, v in state.items() if not k.startswith("decoder.style.")}
        self.plan = plan_of(state, model.name)
        self._net = models.fit(InStyle(self.plan), state, model.name).eval()
        found = models.load_state(directions)
        known = [name for name in found if name in EMOTIONS and name != "neutral"]
        if look.emotion not in (None, "neutral", *known):
            raise ModelError(
                f"{directions.name} has no direction for {look.emotion!r}; it has: {', '.join(known) or 'none'}."
            )
        self._along = {}
        for name in known:
            along = found[name].to(torch.float32)
            if along.shape not in ((self.plan.width,), (1, self.plan.width), (self.plan.styles, self.plan.width)):
                raise ModelError(
                    f"{directions.name}: {name!r} is {tuple(along.shape)}, but a direction of {model.name} is "
                    f"({self.plan.width},) or ({self.plan.styles}, {self.plan.width})."
                )
            self._along[name] = along.expand(self.plan.styles, -1)
        self._look = look

    def edit(self, bgr_HWC: np.ndarray, mesh_P3: np.ndarray) -> Edited:
        import torch

        size = (bgr_HWC.shape[1], bgr_HWC.shape[0])
        seen = _sampled(bgr_HWC, cut_face(mesh_P3, self.plan.seen_px), self.plan.seen_px)
        with torch.inference_mode():
            face = torch.from_numpy(np.ascontiguousarray(seen[..., ::-1].transpose(2, 0, 1), np.float32))
            styles = self._net.styles(face[None] / 127.5 - 1)
            pair = self._net.draw(torch.cat([styles, self._moved(styles)])).clamp(-1, 1)
        gain = (pair[1] - pair[0]).permute(1, 2, 0).numpy()[..., ::-1] * 127.5
        back = cut_face(mesh_P3, self.plan.drawn_px)
        there = cv2.warpAffine(
            np.ascontiguousarray(gain), back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        mixed = bgr_HWC + there * _matte(mesh_P3, size)[..., None]
        out = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        return Edited(out, _mesh(out, mesh_P3))

    def _moved(self, styles: Tensor) -> Tensor:
        wanted = styles.clone()
        if self._look.neutralise:
            for along in self._along.values():
                much = ((wanted - self._net.latent_avg) * along).sum() / (along**2).sum().clamp(min=1e-12)
                wanted = wanted - much.clamp(min=0) * along
        if self._look.emotion in self._along:
            wanted = wanted + self._look.strength * self._along[str(self._look.emotion)]
        return wanted


def _sampled(bgr_HWC: np.ndarray, to: np.ndarray, side: int) -> np.ndarray:
    """The square of a picture, uint8 (side, side, 3), shrunk by areas first where it is much larger."""
    scale = float(np.hypot(to[0, 0], to[1, 0]))
    if scale < 0.5:
        height, width = (max(1, round(n * 2 * scale)) for n in bgr_HWC.shape[:2])
        by = np.array([width / bgr_HWC.shape[1], height / bgr_HWC.shape[0]])
        bgr_HWC = cv2.resize(bgr_HWC, (width, height), interpolation=cv2.INTER_AREA)
        to = np.column_stack([to[:, :2] / by, to[:, 2] + to[:, :2] @ (0.5 / by - 0.5)])
    return cv2.warpAffine(bgr_HWC, to, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _matte(mesh_P3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the face is, float32 (H, W), 0..1, fading inside its outline."""
    outline = mesh_P3[list(OVAL), :2]
    soft = max(1.0, _SOFT * float(np.ptp(outline[:, 1])))
    mask = np.zeros((size[1], size[0]), np.float32)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 1.0, shift=4)
    faded = cv2.GaussianBlur(mask, (0, 0), soft, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.clip(2 * faded - 1, 0, 1))


def _mesh(bgr_HWC: np.ndarray, before_P3: np.ndarray) -> np.ndarray:
    """The mesh of the edited face, found anew; the one before, where none is found."""
    ((x, y, width, height),) = face_boxes(before_P3[None], (bgr_HWC.shape[1], bgr_HWC.shape[0]))
    tracker = MeshTracker()
    try:
        part = np.ascontiguousarray(bgr_HWC[y : y + height, x : x + width])
        found = [tracker.find(part) for _ in range(_LOOKS)][-1]
    finally:
        tracker.close()
    return np.array(before_P3, np.float64) if found is None else found.astype(np.float64) + (x, y, 0)
