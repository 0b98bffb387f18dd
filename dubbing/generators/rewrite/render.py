"""Put a wanted mouth into a frame, out of the actor's own pixels.

Two layers at native resolution:
  the frame itself, its jaw and chin bent to the wanted shape, so beard, light and background stay;
  over it the lips and what is between them, from a frame of the same actor that has such a mouth,
  bent onto this head, its colour fitted on the border ring, under a soft matte;
  where no frame's mouth is open so far, what is between the lips is drawn (`interior`).
Knows nothing of sound or time: one frame in, one patch out, on the processor; `batches` does the same on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from dubbing.generators import grain
from dubbing.generators.rewrite.geometry import Face, Plan, Wanted, outline, planned
from dubbing.generators.rewrite.interior import draw
from dubbing.generators.rewrite.warp import warp_around, warp_layers
from dubbing.media import Planes

__all__ = ["RING", "STILL_PX", "blackened", "finished", "render", "ring_step"]

STILL_PX = 0.04
"""What moves less is left as it is."""
RING = (0.02, 0.75)
"""Values of a matte between which it comes and goes."""
_RING_PIXELS = 4000  # of a mouth's matte, from which its colour is told


def render(wanted: Wanted, grid: int = 48) -> tuple[np.ndarray | Planes, np.ndarray]:
    """The target's crop with the wanted mouth: (its pixels, as the target's are kept, black where the matte is zero;
    matte_HW uint8). grid: nodes of a bend between the eyes' outer corners, the coarser the quicker.

    Layers are BGR alone, or luma and chroma, each by itself: colour is told and matched in each, grain in luma."""
    plan = planned(wanted, grid)
    part, matte = plan.part, None if plan.part is None else _soften(plan)
    face, changed = _bend_jaw(wanted.target, plan, matte)
    if part is not None and matte is not None:
        window = (slice(part.y, part.y + part.height), slice(part.x, part.x + part.width))
        _put_mouth(wanted, plan, [face.layers[0][window], *(one[_half(window)] for one in face.layers[1:])], matte)
        cv2.max(changed[window], np.minimum(matte * 6, 1), dst=changed[window])
    _end(changed, plan.eye)
    shown = cv2.convertScaleAbs(changed, alpha=255)
    if isinstance(face.pixels, Planes):
        return blackened(face.pixels, shown), shown
    return finished(face.pixels, shown, wanted, plan)


def _put_mouth(wanted: Wanted, plan: Plan, below: Sequence[np.ndarray], matte: np.ndarray) -> None:
    """Lay the donors' mouths over a face whose jaw is bent, in place. below: its layers in the mouth's part of a crop;
    matte: of the mouth, float32 (h, w) 0..1."""
    ring, wanted_B, skin = _ring(matte), None, None
    if wanted.grain_of is not None:
        skin, part = plan.skin(wanted.target.local_P2), plan.part
        assert part is not None
        own = wanted.target.layers[0][part.y : part.y + part.height, part.x : part.x + part.width]
        wanted_B = grain.levels(own, skin)
    mouths = [np.zeros(under.shape, np.float32) for under in below]
    planes = [np.zeros((3, *under.shape[2:]), np.float32) for under in below]
    bends = _bend_mouths([donor for donor, _ in wanted.donors], plan, matte)
    for (donor, weight), bent in zip(wanted.donors, bends, strict=True):
        sigma = 0.0
        if donor.lent and wanted_B is not None and skin is not None:
            sigma = grain.blur_px(bent[0], skin, wanted_B)
        for n, layer in enumerate(bent):
            planes[n] += np.float32(weight) * _colour_plane(layer, below[n], ring, n)
            layer = grain.blurred(layer, sigma / (n + 1)) if sigma else layer
            mouths[n] = cv2.addWeighted(mouths[n], 1.0, layer, weight, 0.0, dtype=cv2.CV_32F)
    for mouth, plane in zip(mouths, planes, strict=True):
        _add_plane(mouth, plane)
    if wanted_B is not None and skin is not None and wanted.grain_of is not None:
        mouths[0] = grain.regrained(mouths[0], skin, wanted_B, wanted.grain_of)
    for n, (mouth, under) in enumerate(zip(mouths, below, strict=True)):
        much = _shrunk(matte) if n else matte
        mixed = cv2.blendLinear(mouth, under.astype(np.float32), much, 1 - much)
        under[:] = mixed if under.dtype == np.float32 else cv2.convertScaleAbs(cv2.max(mixed, 0))


def _half(window: tuple[slice, slice]) -> tuple[slice, slice]:
    """A window of even numbers in a layer of half the size."""
    rows, cols = (slice(s.start // 2, s.stop // 2) for s in window)
    return rows, cols


def _shrunk(plane_HW: np.ndarray) -> np.ndarray:
    """The means of blocks of four."""
    return cv2.resize(plane_HW, (plane_HW.shape[1] // 2, plane_HW.shape[0] // 2), interpolation=cv2.INTER_AREA)


def blackened(face: Planes, matte_HW: np.ndarray) -> Planes:
    """The samples of a face, black where its matte, uint8, is zero, and chroma where it is in a whole block."""
    made = Planes(np.empty_like(face.both), face.colour)
    made.luma[:], made.chroma[:] = 0 if face.colour.full else 16, 128
    blocks = cv2.dilate(matte_HW, np.ones((2, 2), np.uint8), anchor=(0, 0))[::2, ::2]
    cv2.copyTo(face.chroma, np.ascontiguousarray(blocks), made.chroma)
    cv2.copyTo(face.luma, matte_HW, made.luma)
    return made


def finished(face_HWC: np.ndarray, matte_HW: np.ndarray, wanted: Wanted, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """A face of the target's type with what is drawn between its lips, black where its matte, uint8, is zero."""
    if wanted.inside is not None and plan.part is not None:
        box = wanted.target.box
        draw(face_HWC, wanted.target.bgr_HWC, wanted.target.local_P2, plan.goal_P2, wanted.inside, (box.x, box.y))
    if face_HWC.dtype == np.float32:
        np.clip(face_HWC, 0, 255, out=face_HWC)  # a cubic bend swings over at edges; of 8 bits OpenCV does this
    return cv2.copyTo(face_HWC, matte_HW), matte_HW


def _bend_jaw(target: Face, plan: Plan, matte: np.ndarray | None) -> tuple[Face, np.ndarray]:
    """The target's own pixels with jaw and chin where they are wanted, and where they differ, float32 (H, W) 0..1.

    matte: of the mouth that will lie over it; where that is whole, nothing is bent.
    """
    own, size = target.pixels, (target.box.width, target.box.height)
    face = replace(target, pixels=Planes(own.both.copy(), own.colour) if isinstance(own, Planes) else own.copy())
    if plan.jaw is None or plan.weight_RC is None:
        return face, np.zeros((size[1], size[0]), np.float32)
    nodes, weight = plan.jaw.nodes, plan.weight_RC
    move = plan.jaw.at_nodes() * weight
    where = (np.abs(move) > STILL_PX).any(0).astype(np.uint8)
    around = np.ones((3, 3), np.uint8)
    changed = nodes.enlarged(np.minimum(weight * 5, cv2.dilate(where, around)))
    if plan.part is not None and matte is not None:
        part = plan.part
        whole = np.zeros((size[1], size[0]), np.uint8)
        whole[part.y : part.y + part.height, part.x : part.x + part.width] = matte >= 1
        where &= cv2.dilate(1 - nodes.picked(whole), around)
    warp_around(target.layers, nodes.reading(move), where > 0, nodes, face.layers)
    return face, changed


def _bend_mouths(donors: list[Face], plan: Plan, matte: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The layers of the donors' mouths bent onto the wanted one, each of its type, in a part of the target's crop; of a
    frame of the same shot only around where its matte shows it, elsewhere zero."""
    assert plan.part is not None and plan.mouths is not None
    part, nodes = plan.part, plan.mouths.nodes
    found = plan.mouths.at_nodes()
    where = cv2.dilate((nodes.picked(matte) > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    for donor, move in zip(donors, found.reshape(-1, 2, *nodes.shape), strict=True):
        places, layers = nodes.reading(move, (part.x, part.y)), donor.layers
        if donor.lent:
            yield warp_layers(layers, places)
            continue
        sizes = [(part.height >> n, part.width >> n) for n in range(len(layers))]
        out = [np.zeros((*size, *layer.shape[2:]), layer.dtype) for size, layer in zip(sizes, layers, strict=True)]
        warp_around(layers, places, where, nodes, out)
        yield out


def _soften(plan: Plan) -> np.ndarray:
    """Soft matte of the mouth in its part of the crop, float32 (h, w) 0..1."""
    assert plan.part is not None
    part = plan.part
    mask, sigma, less = outline(plan.hull_M2, part, plan.eye)
    soft = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    if less > 1:
        size = (mask.shape[1] * less, mask.shape[0] * less)
        soft = cv2.resize(soft, size)[: part.height, : part.width]
    return np.clip((soft - 0.08) / 0.84, 0, 1)


def ring_step(height: int, width: int) -> int:
    """Every how many pixels of a matte's rows and columns its ring is looked at."""
    return max(1, int(np.sqrt(height * width / _RING_PIXELS)))


def _ring(matte: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a matte, (h, w), comes and goes: rows and columns of some of its pixels, and float32 (n, 3): 1, and how far
    each lies across and down, -0.5..0.5; none where these are too few to tell a colour from."""
    height, width = matte.shape
    less = ring_step(height, width)
    rows, cols = np.nonzero(cv2.inRange(np.ascontiguousarray(matte[::less, ::less]), *RING))
    if len(rows) * less**2 < 50:
        rows, cols = rows[:0], cols[:0]
    rows, cols = rows * less, cols * less
    return rows, cols, np.stack([np.ones(len(rows)), cols / width - 0.5, rows / height - 0.5], 1).astype(np.float32)


def _colour_plane(
    mouth: np.ndarray, face: np.ndarray, ring: tuple[np.ndarray, np.ndarray, np.ndarray], less: int = 0
) -> np.ndarray:
    """What to add so that the mouth's skin equals the face's on the matte's `_ring`, float32 (3, C), or (3,) of (H, W):
    in the middle, and more from edge to edge across and down. less: how often their sides were halved."""
    rows, cols, basis = ring
    if not len(rows):
        return np.zeros((3, *mouth.shape[2:]), np.float32)
    rows, cols, basis = rows[:: 1 + less] >> less, cols[:: 1 + less] >> less, basis[:: 1 + less]
    difference = (face[rows, cols].astype(np.float32) - mouth[rows, cols]).reshape(len(rows), -1)
    apart = np.abs(difference)
    last = int(0.9 * (apart.size - 1))
    keep = (apart <= max(float(np.partition(apart, last, axis=None)[last]), 4.0)).all(1)
    gram = basis[keep].T @ basis[keep] + np.diag([1e-3, 1.0, 1.0]) * keep.sum() * 0.02
    found = np.linalg.solve(gram, basis[keep].T @ difference[keep])
    return np.asarray(found, np.float32).reshape(3, *mouth.shape[2:])


def _add_plane(picture: np.ndarray, plane: np.ndarray) -> None:
    """Add a `_colour_plane` to a picture, float32 (h, w) or (h, w, C), in place."""
    height, width = picture.shape[:2]
    middle, right, below = plane.reshape(3, -1)
    across = middle + (np.arange(width, dtype=np.float32) / width - 0.5)[:, None] * right
    down = np.arange(height, dtype=np.float32) / height - 0.5
    field = np.stack([np.ones_like(down), down], 1) @ np.stack([across.ravel(), np.tile(below, width)])
    picture += field.reshape(picture.shape)


def _end(matte: np.ndarray, eye: float) -> None:
    """Let a matte, float32 (H, W) 0..1, fall to 0 over its last pixels, in place."""
    soft = max(2.0, 0.08 * eye)
    ramp = (np.arange(int(np.ceil(soft))) / soft).astype(np.float32)
    for side in (matte, matte.T):
        ramp = ramp[: len(side)]
        for end in (side[: len(ramp)], side[::-1][: len(ramp)]):
            np.minimum(end, ramp[:, None], out=end)
