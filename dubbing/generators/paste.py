"""Put a small square that a network drew back on a face: the lower half only, at native resolution.

For generators that see a face as a square of a hundred or so pixels. The square's pixels are enlarged; its
colour is fitted to the source on the matte's border ring; what the enlargement cannot show, pores and
stubble, comes from the source itself, wherever the network left the skin as it was; elsewhere the grain that the
skin around has is put on it. Knows no network, no sound and no time.

Boxes are float (left, top, right, bottom) in pixels of the picture; pixel centres lie at halves.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from dubbing.face import OUTER_LIPS
from dubbing.generators import grain
from dubbing.smoothstep import smoothstep

__all__ = [
    "Place", "colour_shift", "cut", "cut_square", "edges", "enlarged", "lay", "matte", "places", "raised", "smooth",
]  # fmt: skip

# The face's edge from the left ear through the chin to the right one, and both temples.
_EDGE = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
_CHIN = {149: 0.25, 176: 0.6, 148: 0.9, 152: 1.0, 377: 0.9, 400: 0.6, 378: 0.25}
_INSET, _BELOW = 0.05, 0.04  # of the box's height: cheeks inwards, the chin outwards (it may open further)
_TOP = 0.12  # of the box's height: how deep under its middle the matte is whole
_RAISE = 0.3  # of the box's height
_SOFT = 0.03  # of the box's height
_RING = (0.02, 0.6)  # the matte's values where colours are compared
_RING_PIXELS = 3000  # of these, about, that are compared
_MOST_SHIFT = 40.0  # grey levels that a colour may be moved by
_ALIKE = 10.0  # grey levels within which skin counts as left alone


class Place(NamedTuple):
    """A patch's place in the picture: even top left and even size, in pixels."""

    x: int
    y: int
    width: int
    height: int


def smooth(track_NK: np.ndarray, reach: int) -> np.ndarray:
    """A track without its noise: a raised cosine over `reach` frames to each side, float64, same length.

    Near the ends only what there is counts, so nothing is dropped and nothing from beyond leaks in.
    """
    track = np.asarray(track_NK, np.float64)
    weights = np.hanning(2 * reach + 3)[1:-1]
    total = np.convolve(np.ones(len(track)), weights)[reach : reach + len(track)]
    flat = track.reshape(len(track), -1)
    out = np.stack([np.convolve(column, weights)[reach : reach + len(track)] / total for column in flat.T], 1)
    return out.reshape(track.shape)


def places(boxes_N4: np.ndarray, picture_wh: tuple[int, int]) -> list[Place]:
    """Where the patch of each frame lies: all of one size, the largest lower half, inside the picture."""
    boxes = np.asarray(boxes_N4)
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    need = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - middle], 1).max(0)
    width, height = (
        max(2, int(min(np.ceil((n + 2) / 2) * 2, limit // 2 * 2))) for n, limit in zip(need, picture_wh, strict=True)
    )
    x = np.clip((boxes[:, 0] + boxes[:, 2] - width) / 2, 0, picture_wh[0] // 2 * 2 - width)
    y = np.clip(middle - 1, 0, picture_wh[1] // 2 * 2 - height)
    return [Place(int(a) // 2 * 2, int(b) // 2 * 2, width, height) for a, b in zip(x, y, strict=True)]


def raised(boxes_N4: np.ndarray, mesh_NP2: np.ndarray) -> np.ndarray:
    """Boxes with their top moved up where a head leans back, so that all of the lips lie where the matte is whole.

    Otherwise the upper lip of such a face meets the box's middle and is half drawn, half the source's. Raised by
    at most _RAISE of the box's height: beyond that the network sees a face it does not know.
    """
    boxes = np.array(boxes_N4, np.float64)
    top, bottom = boxes[:, 1], boxes[:, 3]
    lip = np.asarray(mesh_NP2)[:, list(OUTER_LIPS), 1].min(1)
    needed = (lip - (0.5 + _TOP) * bottom) / (0.5 - _TOP)
    boxes[:, 1] = np.clip(needed, top - _RAISE * (bottom - top), top)
    return boxes


def cut_square(part_HWC: np.ndarray, origin_xy: tuple[int, int], box_4: np.ndarray, side: int) -> np.ndarray:
    """The box as a square, uint8 (side, side, 3); see `cut`."""
    return cut(part_HWC, origin_xy, box_4, (side, side))


def cut(part_HWC: np.ndarray, origin_xy: tuple[int, int], box_4: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The box as a picture, uint8 (h, w, 3); part_HWC lies at `origin_xy`; beyond it its edge is repeated."""
    left, top, right, bottom = (float(v) for v in box_4)
    step = np.array([right - left, bottom - top]) / size_wh
    whole = np.maximum(step.astype(int), 1)
    height, width = part_HWC.shape[0] // whole[1], part_HWC.shape[1] // whole[0]
    if (whole > 1).any() and height and width:
        held = part_HWC[: height * whole[1], : width * whole[0]]
        part_HWC = cv2.resize(held, (width, height), interpolation=cv2.INTER_AREA)
    else:
        whole = np.ones(2, int)
    scale, start = step / whole, (np.array([left, top]) - origin_xy) / whole
    move = np.array([[scale[0], 0, start[0] + scale[0] / 2 - 0.5], [0, scale[1], start[1] + scale[1] / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part_HWC, move, size_wh, flags=how, borderMode=cv2.BORDER_REPLICATE)


def enlarged(square_HWC: np.ndarray, where: np.ndarray, place: Place) -> np.ndarray:
    """A square as it lies in a patch, float32 (H, W, 3) or (H, W).

    where: the box that it shows, or the matrix (2, 3) that takes the picture's pixels to the square's, both counted
    from 0 at the first one's centre.
    """
    if where.ndim == 2:
        move = np.column_stack([where[:, :2], where @ (place.x, place.y, 1)])
    else:
        left, top, right, bottom = (float(v) for v in where)
        across, down = square_HWC.shape[1] / (right - left), square_HWC.shape[0] / (bottom - top)
        at = (place.x + 0.5 - left) * across - 0.5, (place.y + 0.5 - top) * down - 0.5
        move = np.array([[across, 0, at[0]], [0, down, at[1]]])
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (place.width, place.height)
    return cv2.warpAffine(square_HWC.astype(np.float32), move, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def matte(mesh_P2: np.ndarray, box_4: np.ndarray, place: Place) -> np.ndarray:
    """Where a patch may differ from the source, float32 (H, W) 0..1: the lower face, softly, and nothing
    outside the box's lower half.

    mesh_P2: (478, 2) pixels of the picture.
    """
    left, top, right, bottom = (float(v) for v in box_4)
    height = bottom - top
    edge = np.asarray(mesh_P2, np.float64)[list(_EDGE)]
    inwards = np.sign((left + right) / 2 - edge[:, 0]) * _INSET * height
    chin = np.array([_CHIN.get(n, 0.0) for n in _EDGE])
    edge = edge + np.stack([(1 - chin) * inwards, chin * _BELOW * height], 1)
    mask = np.zeros((place.height, place.width), np.float32)
    # OpenCV draws with pixel centres on whole numbers.
    at = np.rint((edge - (place.x, place.y) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [at], 1.0, lineType=cv2.LINE_AA, shift=4)
    sigma = max(1.0, _SOFT * height)
    mask = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return mask * edges(box_4, place)


def edges(box_4: np.ndarray, place: Place) -> np.ndarray:
    """What every matte is multiplied by, float32 (H, W) 0..1: one within the box's lower half, softly nothing at its
    edges and its middle."""
    left, top, right, bottom = (float(v) for v in box_4)
    height, middle = bottom - top, (top + bottom) / 2
    sigma = max(1.0, _SOFT * height)
    rows = place.y + 0.5 + np.arange(place.height)
    columns = place.x + 0.5 + np.arange(place.width)
    down = np.minimum(smoothstep((rows - middle) / (_TOP * height)), smoothstep((bottom - rows) / (2 * sigma)))
    across = smoothstep(np.minimum(columns - left, right - columns) / (2 * sigma))
    return np.asarray(down[:, None].astype(np.float32) * across[None].astype(np.float32))


def lay(
    source_HWC: np.ndarray,
    seen_square: np.ndarray,
    made_square: np.ndarray,
    where: np.ndarray,
    place: Place,
    matte_HW: np.ndarray,
    mesh_P2: np.ndarray,
    number: int,
) -> np.ndarray:
    """The patch's pixels, uint8 (H, W, 3), or float32 0..255 where the source is.

    source_HWC: the source under the patch; seen_square, made_square: the face as the network saw it and as it
    drew it, 0..255, both of one size, which need not be square; where: see `enlarged`; number: draws the grain, the
    same the same.
    """
    seen, made = (enlarged(square, where, place) for square in (seen_square, made_square))
    made += colour_shift(seen - made, matte_HW)
    if where.ndim == 2:
        pixel = 1 / float(np.hypot(*where[1, :2]))
    else:
        pixel = (float(where[3]) - float(where[1])) / len(seen_square)
    apart = cv2.GaussianBlur(np.abs(made - seen).mean(2), (0, 0), max(0.5, pixel))
    lips = np.zeros(matte_HW.shape, np.float32)
    outline = np.asarray(mesh_P2, np.float64)[list(OUTER_LIPS)] - (place.x, place.y) - 0.5
    cv2.fillPoly(lips, [np.rint(outline * 16).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=4)
    lips = cv2.GaussianBlur(lips, (0, 0), max(0.5, pixel))
    kept = np.exp(-((apart / _ALIKE) ** 2)) * (1 - lips)
    wanted_B = grain.levels(source_HWC, (matte_HW > 0.5) & (lips < 0.5))
    made = grain.regrained(made, (matte_HW > 0.5) & (kept < 0.5), wanted_B, number, (1 - kept).astype(np.float32))
    laid = made + (source_HWC - seen) * kept[..., None]
    return np.clip(laid if source_HWC.dtype == np.float32 else np.rint(laid), 0, 255).astype(source_HWC.dtype)


def colour_shift(difference_HWC: np.ndarray, matte_HW: np.ndarray) -> np.ndarray:
    """What to add so that a patch meets its surroundings: a plane per channel, float32 (H, W, 3).

    difference_HWC: source less patch. Fitted on the ring where the matte comes and goes, twice: the second
    time without the third that fits worst (a hand, a collar).
    """
    height, width = matte_HW.shape
    rows, columns = np.nonzero((matte_HW > _RING[0]) & (matte_HW < _RING[1]))
    if len(rows) < 50:
        return np.zeros_like(difference_HWC)
    some = slice(None, None, max(1, len(rows) // _RING_PIXELS))
    rows, columns = rows[some], columns[some]
    basis = np.stack([np.ones(len(rows)), columns / width - 0.5, rows / height - 0.5], 1)
    wanted = difference_HWC[rows, columns].astype(np.float64)
    keep = np.ones(len(rows), bool)
    for _ in range(2):
        held = basis[keep]
        gram = held.T @ held + np.diag([1e-3, 0.02, 0.02]) * keep.sum()
        plane = np.linalg.solve(gram, held.T @ wanted[keep])
        off = np.abs(wanted - basis @ plane).max(1)
        keep = off <= np.quantile(off, 2 / 3)
    plane = plane.astype(np.float32)
    x, y = (np.arange(n, dtype=np.float32)[:, None] / n - 0.5 for n in (width, height))
    field = (plane[0] + x * plane[1]) + (y * plane[2])[:, None]
    return np.clip(field, -_MOST_SHIFT, _MOST_SHIFT, out=field)
