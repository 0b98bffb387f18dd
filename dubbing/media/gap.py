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
    planes = list(zip(planes_of(one), planes_of(two), strict=True))
    covered = _covered(a, patches, layout.sub) if patches else None
    holes = [
        None if covered is None or index > 2 else _hole(*covered, layout.sub if index else (0, 0), own.shape)
        for index, (own, _) in enumerate(planes)
    ]
    squares, most, samples = zip(*map(_apart, planes, holes), strict=True)
    found = Gap(sum(square * unit**2 for square in squares), sum(samples))
    worst = [(one * unit) ** 2 for one in most]
    if Gap(found.error, found.samples, worst[0], max(worst[1:], default=0.0)).fits(least_db):
        return found  # no block can be worse than its worst sample
    worst = [
        _worst_block(
            pair, hole, unit, layout.sub if n in (1, 2) else (0, 0), least_db - (_CHROMA_DB if n else _BLOCK_DB)
        )
        for n, (pair, hole) in enumerate(zip(planes, holes, strict=True))
    ]
    return replace(found, luma=worst[0], chroma=max(worst[1:], default=0.0))


_Planes = tuple[np.ndarray, np.ndarray]
_Hole = tuple[slice, slice, np.ndarray]


def _hole(x: int, y: int, seen: np.ndarray, sub: tuple[int, int], shape: tuple[int, ...]) -> _Hole:
    """Where mattes lie in a plane of that shape: rows, columns, and there uint8 0 where any pixel of a sample is under
    one, else 255. x, y, seen: as `_covered` gives them."""
    if sub != (0, 0):
        size = (seen.shape[1] >> sub[0], seen.shape[0] >> sub[1])
        _, seen = cv2.threshold(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), 254, 255, cv2.THRESH_BINARY)
    left, top = x >> sub[0], y >> sub[1]
    seen = np.ascontiguousarray(seen[: shape[0] - top, : shape[1] - left])
    return slice(top, top + seen.shape[0]), slice(left, left + seen.shape[1]), seen


def _apart(planes: _Planes, hole: _Hole | None) -> tuple[float, float, int]:
    """The sum of squared differences outside a hole, the greatest difference, and how many samples these are."""
    a, b = planes
    if hole is None:
        return cv2.norm(a, b, cv2.NORM_L2SQR), cv2.norm(a, b, cv2.NORM_INF), a.size
    rows, columns, seen = hole
    around = [
        (slice(0, rows.start), slice(None)), (slice(rows.stop, None), slice(None)),
        (rows, slice(0, columns.start)), (rows, slice(columns.stop, None)),
    ]  # fmt: skip
    parts = [(a[part], b[part]) for part in around if a[part].size]
    squares = [cv2.norm(*part, cv2.NORM_L2SQR) for part in parts]
    most = [cv2.norm(*part, cv2.NORM_INF) for part in parts]
    if seen.size:
        inside = a[rows, columns], b[rows, columns]
        squares.append(cv2.norm(*inside, cv2.NORM_L2SQR, seen))
        most.append(cv2.norm(*inside, cv2.NORM_INF, seen))
    return sum(squares), max(most, default=0.0), a.size - seen.size + cv2.countNonZero(seen)


def _worst_block(planes: _Planes, hole: _Hole | None, unit: float, sub: tuple[int, int], least_db: float) -> float:
    """The greatest mean square of a block of 16x16 pixels of the picture, by its contrast in the first plane, 0 where
    none is under the limit; blocks at the right and below are filled by what is reflected."""
    own, far = planes[0], cv2.absdiff(*planes)
    if hole is not None:
        rows, places, seen = hole
        far[rows, places] = cv2.copyTo(np.ascontiguousarray(far[rows, places]), seen)
    height, width = far.shape
    sides = _BLOCK >> sub[0], _BLOCK >> sub[1]
    columns, rows = -(-width // sides[0]), -(-height // sides[1])
    beyond = rows * sides[1] - height, columns * sides[0] - width

    if not any(beyond) and far.dtype == np.uint8:
        # no mean square is over that of the mean, a whole number within 1, times the greatest
        mean = float(cv2.resize(far, (columns, rows), interpolation=cv2.INTER_AREA).max()) + 1
        if decibels(mean * float(cv2.norm(far, cv2.NORM_INF))) >= least_db:
            return 0.0

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
    """Where mattes lie in the frame as it is coded: left and top of whole blocks of chroma, and uint8, 0 under them and
    255 elsewhere."""
    coded = picture.coded.size if picture.rotation_deg in (0, 180) else picture.coded.size[::-1]
    parts = []
    for patch in patches:
        patch = own_pixels(patch, picture.grid, picture.rotation_deg)
        height, width = patch.matte_HW.shape
        x, y, _, _ = coded_box((patch.x, patch.y, width, height), picture.rotation_deg, coded)
        parts.append((x, y, turn_back(patch.matte_HW, picture.rotation_deg)))
    across, down = 1 << sub[0], 1 << sub[1]
    left = max(0, min(x for x, _, _ in parts)) // across * across
    top = max(0, min(y for _, y, _ in parts)) // down * down
    right = max(left, min(coded[0], max(x + matte.shape[1] for x, _, matte in parts)))
    bottom = max(top, min(coded[1], max(y + matte.shape[0] for _, y, matte in parts)))
    seen = np.full((-(-(bottom - top) // down) * down, -(-(right - left) // across) * across), 255, np.uint8)
    for x, y, matte in parts:
        a, b = max(top, y), max(left, x)
        part = seen[a - top : bottom - top, b - left : right - left]
        piece = np.ascontiguousarray(matte[a - y : a - y + part.shape[0], b - x : b - x + part.shape[1]])
        _, free = cv2.threshold(piece, 0, 255, cv2.THRESH_BINARY_INV)
        part[: piece.shape[0], : piece.shape[1]] &= free
    return left, top, seen


def decibels(mean_square: float) -> float:
    """PSNR of 8-bit samples."""
    return min(_EQUAL_DB, 10 * float(np.log10(255**2 / max(mean_square, 1e-9))))
