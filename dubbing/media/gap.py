"""How far two pictures are apart outside of mattes: squared differences, of all samples and of the worst block.

Samples are compared as they are coded (Y, U, V), so that no conversion hides or adds a difference; where the master has
another format than the source, the source's are converted to it first. What a matte covers is left out, and of the
chroma whatever block it touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dubbing.errors import MediaError
from dubbing.media.colour import layout_of, planes_of, turn_back
from dubbing.media.convert import Conversion
from dubbing.media.paste import own_pixels
from dubbing.media.read import Picture, coded_box
from dubbing.records import Patch

__all__ = ["Gap", "decibels", "gap"]

_BLOCK_DB, _CHROMA_DB = 6.0, 10.0  # by how much less a block of luma, and of chroma, may have
_EQUAL_DB = 99.0
_CONTRAST = 2000.0  # variance of 8-bit samples from which on a block's differences count less: letters, drawn boxes
_BLOCK = 16


@dataclass(frozen=True)
class Gap:
    """How far two pictures are apart. error: sum of squared differences; samples: how many; luma, chroma: the
    greatest mean squared difference of a block, 0 where no block can be beyond its limit. Where the first picture's
    block has a variance over that of hard edges, its difference is divided by as much: encoders leave more error
    there, and it shows less (activity masking, as in Watson 1993)."""

    error: float
    samples: int
    luma: float = 0.0
    chroma: float = 0.0

    @property
    def mean(self) -> float:
        return self.error / self.samples if self.samples else 0.0

    @property
    def db(self) -> float:
        return decibels(self.mean)

    def fits(self, least_db: float) -> bool:
        """Whether neither the whole nor a block is under its limit."""
        blocks = decibels(self.luma) >= least_db - _BLOCK_DB and decibels(self.chroma) >= least_db - _CHROMA_DB
        return self.db >= least_db and blocks


def gap(a: Picture, b: Picture, patches: Sequence[Patch], least_db: float) -> Gap:
    """How far two frames are apart outside the mattes of `patches`; its blocks where one could be beyond its limit.
    Raises MediaError where their sizes differ."""
    one, two = a.av_frame, b.av_frame
    if (one.width, one.height) != (two.width, two.height):
        raise MediaError(
            f"A picture of {two.width}x{two.height} cannot be compared with one of {one.width}x{one.height}."
        )
    kind = next((f.format.name for f in (two, one) if layout_of(f.format.name)), "yuv444p")
    layout = layout_of(kind)
    assert layout is not None
    if not all(layout_of(f.format.name) == layout or _alike(f.format.name, kind) for f in (one, two)):
        matrix = (one if layout.rgb else two).colorspace
        one, two = (
            Conversion.plain(kind, matrix, p.colour.full, b.colour.full, one.height).of(p.av_frame) for p in (a, b)
        )
    unit = 255 / ((1 << layout.depth) - 1)  # everything is measured in steps of 8 bits
    covered = _covered(a, patches, layout.sub) if patches else None
    apart, samples = [cv2.absdiff(x, y) for x, y in zip(planes_of(one), planes_of(two), strict=True)], 0
    for index, far in enumerate(apart):
        samples += far.size
        if covered is not None and index < 3:
            samples -= _taken_out(far, *covered, layout.sub if index else (0, 0))
    errors = [float(cv2.norm(far, cv2.NORM_L2SQR)) * unit**2 for far in apart]
    found = Gap(sum(errors), samples)
    most = [(float(cv2.norm(far, cv2.NORM_INF)) * unit) ** 2 for far in apart]
    if Gap(found.error, samples, most[0], max(most[1:], default=0.0)).fits(least_db):
        return found  # no block can be worse than its worst sample
    worst = [
        _worst_block(
            far, own, unit, layout.sub if index in (1, 2) else (0, 0), least_db - (_CHROMA_DB if index else _BLOCK_DB)
        )
        for index, (far, own) in enumerate(zip(apart, planes_of(one), strict=True))
    ]
    return replace(found, luma=worst[0], chroma=max(worst[1:], default=0.0))


def _taken_out(far: np.ndarray, x: int, y: int, mask: np.ndarray, sub: tuple[int, int]) -> int:
    """Make a plane's differences 0 where a mask at (x, y) covers any pixel of a sample. Returns how many these are."""
    across, down = sub
    if across:
        mask = mask[:, ::2] | mask[:, 1::2]
    if down:
        mask = mask[::2] | mask[1::2]
    part = far[y >> down : (y >> down) + mask.shape[0], x >> across : (x >> across) + mask.shape[1]]
    mask = mask[: part.shape[0], : part.shape[1]]
    part *= (1 - mask).astype(far.dtype)
    return int(cv2.countNonZero(mask))


def _worst_block(far: np.ndarray, own: np.ndarray, unit: float, sub: tuple[int, int], least_db: float) -> float:
    """The greatest mean square of a block of 16x16 pixels of the picture, by its contrast in `own`, 0 where none is
    under the limit; blocks at the right and below are filled by what is reflected."""
    height, width = far.shape
    sides = _BLOCK >> sub[0], _BLOCK >> sub[1]
    columns, rows = -(-width // sides[0]), -(-height // sides[1])
    beyond = rows * sides[1] - height, columns * sides[0] - width

    def means(plane: np.ndarray, other: np.ndarray, scale: float) -> np.ndarray:
        product = cv2.multiply(plane, other, scale=scale, dtype=cv2.CV_32F)
        if any(beyond):
            product = cv2.copyMakeBorder(product, 0, beyond[0], 0, beyond[1], cv2.BORDER_REFLECT)
        return cv2.resize(product, (columns, rows), interpolation=cv2.INTER_AREA)

    error = means(far, far, unit**2)
    if decibels(float(error.max())) >= least_db:
        return 0.0  # however much contrast there is
    variance = means(own, own, unit**2) - means(own, np.ones_like(own), unit) ** 2
    return float((error / np.maximum(variance / _CONTRAST, 1)).max())


def _alike(one: str, two: str) -> bool:
    """Whether two formats differ in nothing but their range's mark (yuv420p, yuvj420p)."""
    return one.replace("yuvj", "yuv") == two.replace("yuvj", "yuv")


def _covered(picture: Picture, patches: Sequence[Patch], sub: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """Where mattes cover the frame as it is coded: left and top of whole blocks of chroma, and uint8, 1 under them."""
    coded = picture.coded.size if picture.rotation_deg in (0, 180) else picture.coded.size[::-1]
    parts = []
    for patch in patches:
        patch = own_pixels(patch, picture.grid, picture.rotation_deg)
        height, width = patch.matte_HW.shape
        x, y, _, _ = coded_box((patch.x, patch.y, width, height), picture.rotation_deg, coded)
        parts.append((x, y, (turn_back(patch.matte_HW, picture.rotation_deg) > 0).astype(np.uint8)))
    across, down = 1 << sub[0], 1 << sub[1]
    left = max(0, min(x for x, _, _ in parts)) // across * across
    top = max(0, min(y for _, y, _ in parts)) // down * down
    right = max(left, min(coded[0], max(x + matte.shape[1] for x, _, matte in parts)))
    bottom = max(top, min(coded[1], max(y + matte.shape[0] for _, y, matte in parts)))
    mask = np.zeros((-(-(bottom - top) // down) * down, -(-(right - left) // across) * across), np.uint8)
    for x, y, matte in parts:
        a, b = max(top, y), max(left, x)
        part = mask[a - top : bottom - top, b - left : right - left]
        piece = matte[a - y : a - y + part.shape[0], b - x : b - x + part.shape[1]]
        part[: piece.shape[0], : piece.shape[1]] |= piece
    return left, top, mask


def decibels(mean_square: float) -> float:
    """PSNR of 8-bit samples."""
    return min(_EQUAL_DB, 10 * float(np.log10(255**2 / max(mean_square, 1e-9))))
