"""One picture that holds both sides of a comparison: whole and at the mouth, and what differs.

A proxy shows it frame by frame, so that two sides can never drift apart; a page draws its panes. Panes, where there are
(x, y, w, h of the packed picture): full_a, full_b: the whole picture of either side, shown upright with square pixels;
mouth_a, mouth_b: what lies around the mouth that is re-rendered at the frame, following it, at native resolution where
it fits (of the largest face; a smaller one is enlarged to the same pane); diff, diff_mouth: the
difference of the same two, |a - b| times DIFF_GAIN in each colour, taken before encoding: black where nothing is
changed. No two panes touch.

Knows pictures and patches; no files, no takes, no page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from dubbing.face import LIPS
from dubbing.generators.paste import smooth
from dubbing.media import Picture
from dubbing.records import Patch, Track

__all__ = ["DIFF_GAIN", "VERSION", "Box", "Layout", "Painter", "followed", "layout_of",
           "mouth_path", "mouth_size"]  # fmt: skip

VERSION = 1
"""Of the packed picture: raised when it changes, so that old proxies are not shown as new ones."""
DIFF_GAIN = 4
FULL_PX = 960  # the longest side of a whole picture
MOUTH_WH = (480, 360)
_CELL = 16
_MOUTH_OF_FACE = (0.96, 0.72)  # width and height of what is shown around the mouth, of the face's height
_LOW = 0.06  # of the face's height: how far below the lips' middle that region's middle lies
_SMOOTH_S = Fraction(1, 4)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layout:
    """width, height: of the packed picture, even; panes: name to (x, y, w, h) in it; mouth_scale: pane pixels for one
    of the source's in mouth panes of the largest face, 1 = native, None where the shot has no face."""

    width: int
    height: int
    panes: Mapping[str, Box]
    mouth_scale: float | None


def layout_of(size: tuple[int, int], mouth_wh: tuple[int, int] | None) -> Layout:
    """Where panes lie. size: upright square pixels of the film; mouth_wh: those around the largest mouth, None where
    there is no face."""
    wide, high = size
    scale = min(1.0, FULL_PX / max(wide, high))
    full = (_even(wide * scale), _even(high * scale))
    wanted = {"full_a": full, "full_b": full, "diff": full}
    mouth_scale = None
    if mouth_wh is not None:
        mouth_scale = min(1.0, MOUTH_WH[0] / mouth_wh[0], MOUTH_WH[1] / mouth_wh[1])
        mouth = (_even(mouth_wh[0] * mouth_scale), _even(mouth_wh[1] * mouth_scale))
        mouth_scale = mouth[0] / mouth_wh[0]
        wanted |= {"mouth_a": mouth, "mouth_b": mouth, "diff_mouth": mouth}
    room = max(2 * full[0], 2 * FULL_PX) + 2 * _CELL
    panes: dict[str, Box] = {}
    x = y = model_store = 0
    for name, (w, h) in wanted.items():
        if x + w > room:
            x, y, model_store = 0, y + model_store, 0
        panes[name] = (x, y, w, h)
        x, model_store = _apart(x + w), max(model_store, _apart(h))
    width = max(b[0] + b[2] for b in panes.values())
    height = max(b[1] + b[3] for b in panes.values())
    return Layout(width, height, panes, mouth_scale)


def _apart(edge: int) -> int:
    """Where the next pane may begin: no block of the encoder, and no colour of a pixel pair, holds parts of two."""
    return (edge + 1) // _CELL * _CELL + _CELL


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def mouth_size(tracks: Sequence[Track], size: tuple[int, int]) -> tuple[int, int]:
    """How much is shown around the largest of these mouths, (width, height), upright pixels inside the picture."""
    largest = max(track.height_px for track in tracks)
    w, h = (min(_even(largest * part), side // 2 * 2) for part, side in zip(_MOUTH_OF_FACE, size, strict=True))
    return w, h


def followed(rendered: Sequence[np.ndarray], first: int, last: int) -> np.ndarray:
    """Whose mouth is looked at in each of the frames [first, last): the place in `rendered` of the face that is
    rendered then, the first of several, else of the one that is rendered nearest in time; int (n,).

    rendered: of each face the frames with a patch, increasing, at least one.
    """
    frames = np.arange(first, last)
    far = []
    for own in rendered:
        after = np.searchsorted(own, frames)
        beside = own[np.clip([after - 1, after], 0, len(own) - 1)]
        far.append(np.abs(beside - frames).min(0))
    return np.asarray(np.argmin(far, axis=0))


def mouth_path(
    track: Track, first: int, last: int, size: tuple[int, int], rate: Fraction, wh: tuple[int, int]
) -> list[Box]:
    """What is shown around a mouth in frames [first, last): boxes of one size, upright pixels inside the picture.

    The lips' middle without the mesh's noise; before and after the track it stays where it was. wh: their size.
    """
    middle_N2 = track.mesh_NP3[:, list(LIPS), :2].mean(1) + (0, _LOW * track.height_px)
    middle_N2 = smooth(middle_N2, max(1, round(rate * _SMOOTH_S)))
    w, h = wh
    at = np.clip(np.arange(first, last) - track.start_frame, 0, len(middle_N2) - 1)
    corner = np.rint(middle_N2[at] - (w / 2, h / 2))
    corner = np.clip(corner, 0, (size[0] - w, size[1] - h)).astype(int)
    return [(int(x), int(y), w, h) for x, y in corner]


class Painter:
    """Draws packed pictures of one layout, all into one array."""

    def __init__(self, layout: Layout, size: tuple[int, int]) -> None:
        self.layout = layout
        self._canvas = np.zeros((layout.height, layout.width, 3), np.uint8)
        full = layout.panes["full_a"]
        self._full = (full[2], full[3])
        self._block = tuple(a // math.gcd(a, b) for a, b in zip(size, self._full, strict=True))

    def draw(self, picture: Picture, a: Sequence[Patch], b: Sequence[Patch], mouth: Box | None) -> np.ndarray:
        """The packed picture of one frame, uint8 (H, W, 3) BGR, good until the next call. a, b: patches of either side,
        the same objects where they show the same; mouth: the box of the mouth panes."""
        before = picture.bgr()
        side_a = laid(before, a)
        same = [id(p) for p in a] == [id(p) for p in b]
        side_b = side_a if same else laid(before, b)
        full_a, full_b, diff = (self._pane(n) for n in ("full_a", "full_b", "diff"))
        _scaled(side_a, full_a)
        full_b[:] = full_a
        diff[:] = 0
        if not same:
            x0, y0, x1, y1 = self._touched([*a, *b], side_b.shape)
            source = side_b[y0:y1, x0:x1]
            (bw, bh), (fw, fh) = self._block, self._full
            kx, ky = fw * bw // side_b.shape[1], fh * bh // side_b.shape[0]  # pane pixels of a block
            at = (slice(y0 // bh * ky, y1 // bh * ky), slice(x0 // bw * kx, x1 // bw * kx))
            _scaled(source, full_b[at])
            diff[at] = _difference(full_a[at], full_b[at])
        if mouth is not None:
            x, y, w, h = mouth
            mouth_a, mouth_b, diff = (self._pane(n) for n in ("mouth_a", "mouth_b", "diff_mouth"))
            _scaled(side_a[y : y + h, x : x + w], mouth_a)
            if same:
                mouth_b[:] = mouth_a
                diff[:] = 0
            else:
                _scaled(side_b[y : y + h, x : x + w], mouth_b)
                diff[:] = _difference(mouth_a, mouth_b)
        return self._canvas

    def _pane(self, name: str) -> np.ndarray:
        x, y, w, h = self.layout.panes[name]
        return self._canvas[y : y + h, x : x + w]

    def _touched(self, patches: Sequence[Patch], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """What patches may change, widened to whole blocks, each of which is scaled by itself: (x0, y0, x1, y1)."""
        boxes = [(p.x, p.y, p.x + p.matte_HW.shape[1], p.y + p.matte_HW.shape[0]) for p in patches]
        (bw, bh), margin = self._block, 4  # an interpolation looks a little further than its own pixel
        x0 = max(0, min(b[0] for b in boxes) - margin) // bw * bw
        y0 = max(0, min(b[1] for b in boxes) - margin) // bh * bh
        x1 = min(shape[1], -(-(max(b[2] for b in boxes) + margin) // bw) * bw)
        y1 = min(shape[0], -(-(max(b[3] for b in boxes) + margin) // bh) * bh)
        return x0, y0, x1, y1


def laid(picture_HWC: np.ndarray, patches: Sequence[Patch]) -> np.ndarray:
    """A whole upright picture with patches over it, in their order; the picture itself where there are none."""
    if not patches:
        return picture_HWC
    out = picture_HWC.copy()
    for patch in patches:
        height, width = patch.matte_HW.shape
        rows = slice(max(patch.y, 0), min(patch.y + height, len(out)))
        cols = slice(max(patch.x, 0), min(patch.x + width, out.shape[1]))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        inner = (
            slice(rows.start - patch.y, rows.stop - patch.y),
            slice(cols.start - patch.x, cols.stop - patch.x),
        )
        alpha = patch.matte_HW[inner].astype(np.float32) / 255
        out[rows, cols] = cv2.blendLinear(
            np.ascontiguousarray(out[rows, cols]), np.ascontiguousarray(patch.bgr_HWC[inner]), 1 - alpha, alpha
        )
    return out


def _scaled(picture_HWC: np.ndarray, pane_HWC: np.ndarray) -> None:
    """Fill a pane with a picture: its pixels as they are where it fits."""
    height, width = pane_HWC.shape[:2]
    if picture_HWC.shape == pane_HWC.shape:
        pane_HWC[:] = picture_HWC
        return
    shrinks = picture_HWC.shape[1] >= 2 * width
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pane_HWC[:] = cv2.resize(picture_HWC, (width, height), interpolation=way)


def _difference(a_HWC: np.ndarray, b_HWC: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(cv2.absdiff(a_HWC, b_HWC), alpha=DIFF_GAIN)
