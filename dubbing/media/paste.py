"""Patches into decoded frames: the film as it is before the one and only encode.

A pixel whose matte is 0 keeps its three samples bit for bit; elsewhere the patch is blended in the
stream's own YUV. It knows neither encoders nor containers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError, several
from dubbing.media.colour import Colour, Layout, beside_samples, layout_of, planes_of, turn_back, turn_upright
from dubbing.media.film import Film
from dubbing.media.patches import mixed, patch_frames, read_patches
from dubbing.media.planes import LAYOUT, Planes
from dubbing.media.read import Picture, coded_box, read
from dubbing.media.square import Grid
from dubbing.records import Patch

Keep = Callable[[Picture, Picture, Sequence[Patch]], None]
"""What keeps each frame of a film as it is before it gets patches, which are last: as a picture of its samples, which
nothing is pasted into, and one of what else lies in it, which may be the same."""

__all__ = [
    "Keep",
    "PatchQueue",
    "covered",
    "laid_over",
    "own_pixels",
    "paste",
    "pasted",
    "pasted_frames",
    "pasted_part",
    "with_patches",
]


class _Shown(Protocol):
    """How a picture is shown: of an open film, or of one picture of it."""

    @property
    def rotation_deg(self) -> int: ...

    @property
    def aspect(self) -> Fraction: ...

    @property
    def colour(self) -> Colour: ...


class PatchQueue:
    """The patches of many folders, frame by frame; a folder is open only while its frames pass.

    first, last: only those of frames [first, last) of the film; mattes, own: as of `read_patches`.
    Where two folders touch one frame, they are pasted in the order of their first frames, then of `folders`. Raises
    MediaError when a folder holds no patches.
    """

    def __init__(
        self, folders: Iterable[str | Path], first: int | None = None, last: int | None = None, *, mattes: bool = False,
        own: bool = False,
    ) -> None:  # fmt: skip
        self._first, self._last, self._how = first, last, {"mattes": mattes, "own": own}
        waiting = []
        for order, folder in enumerate(folders):
            frames = patch_frames(folder)["frame"].to_numpy()
            if np.any((frames >= (first or 0)) & (frames < (math.inf if last is None else last))):
                waiting.append((int(frames[0]), order, Path(folder)))
        self._waiting = sorted(waiting, reverse=True)
        self._open: list[tuple[Iterator[Patch], Patch]] = []

    def at(self, frame: int) -> list[Patch]:
        """The patches of `frame`. Frames must be asked for in order, none left out."""
        while self._waiting and self._waiting[-1][0] <= frame:
            source = read_patches(self._waiting.pop()[2], self._first, self._last, **self._how)
            self._open.append((source, next(source)))
        found = []
        still = []
        for source, patch in self._open:
            if patch.frame == frame:
                found.append(patch)
                following = next(source, None)
                if following is not None:
                    still.append((source, following))
            else:
                still.append((source, patch))
        self._open = still
        return found

    @property
    def left(self) -> int:
        """How many folders still hold patches that `at` has not returned."""
        return len(self._waiting) + len(self._open)


def paste(frame: Any, patch: Patch, film: _Shown) -> None:
    """Blend one patch into a decoded frame of `film`, in place and in its own code values; it must be writable.

    Chroma is blended by the mean matte of its block, and kept where any pixel of the block has matte 0.
    What lies outside the frame is left out.
    """
    layout = layout_of(frame.format.name)
    assert layout is not None
    sub, turn = layout.sub, film.rotation_deg
    coded = (frame.width, frame.height)
    if isinstance(patch.pixels, Planes) and (sub, layout.depth) == (LAYOUT.sub, LAYOUT.depth):
        rows, columns = patch.matte_HW.shape
        x, y, _, _ = coded_box((patch.x, patch.y, columns, rows), turn, coded)
        over = [*patch.pixels.three, patch.matte_HW]
        *over, matte = [turn_back(plane, turn) for plane in over] if turn else over
        _lay(planes_of(frame), over, matte, (x, y))
        return
    patch = own_pixels(patch, Grid.of(*coded, film.aspect), turn)
    height, width = patch.matte_HW.shape
    corner = coded_box((patch.x, patch.y, width, height), turn, coded)[:2]
    new_HWC = patch.bgr_HWC if patch.deep_HWC is None else patch.deep_HWC
    bgr, matte, (left, top) = _on_grid(turn_back(new_HWC, turn), turn_back(patch.matte_HW, turn), corner, coded, sub)
    if matte.size == 0:
        return
    _put(planes_of(frame), film.colour.samples(bgr, layout), matte, (left, top), layout)


def laid_over(below: Planes, patch: Patch, x: int, y: int) -> Planes:
    """A crop of the upright picture at (x, y), both even, with a patch of samples over it, as `paste` lays it."""
    made = Planes(below.both.copy(), below.colour)
    assert isinstance(patch.pixels, Planes)
    _lay(made.three, patch.pixels.three, patch.matte_HW, (patch.x - x, patch.y - y))
    return made


def _lay(below: Sequence[np.ndarray], new: Sequence[np.ndarray], matte: np.ndarray, corner: tuple[int, int]) -> None:
    """Blend planes of 4:2:0 of 8 bits into others, in place. corner: where the new ones lie in them, even numbers."""
    (x, y), (height, width) = corner, below[0].shape
    first, above, w, h = cv2.boundingRect(matte)
    left, right = max(0, (x + first) // 2 * 2), min(width, (x + first + w + 1) // 2 * 2)
    top, bottom = max(0, (y + above) // 2 * 2), min(height, (y + above + h + 1) // 2 * 2)
    if w == 0 or left >= right or top >= bottom:
        return
    luma = slice(top - y, bottom - y), slice(left - x, right - x)
    chroma = slice((top - y) // 2, (bottom - y) // 2), slice((left - x) // 2, (right - x) // 2)
    samples = [plane[chroma if n else luma] for n, plane in enumerate(new)]
    _put(below, samples, np.ascontiguousarray(matte[luma]), (left, top), LAYOUT)


def _put(
    below: Sequence[np.ndarray], new: Sequence[np.ndarray], matte: np.ndarray, corner: tuple[int, int], layout: Layout
) -> None:
    """Blend planes into those of a picture, in place, from a corner on that lies between blocks of chroma. new: as of
    `Colour.samples`; what of them lies beyond the picture is left out; matte: uint8, of whole blocks."""
    chroma_weight = matte if layout.sub == (0, 0) else _chroma_weight(matte, layout.sub)
    for index, (plane, samples) in enumerate(zip(below, new, strict=False)):
        (across, down), weight = (layout.sub, chroma_weight) if index else ((0, 0), matte)
        left, top = corner[0] >> across, corner[1] >> down
        at = (slice(top, top + weight.shape[0]), slice(left, left + weight.shape[1]))
        old = np.ascontiguousarray(plane[at])
        inside = (slice(old.shape[0]), slice(old.shape[1]))  # a picture may end within a block
        plane[at] = _blended(old, np.ascontiguousarray(samples[inside]), weight[inside], layout.depth)


def _blended(old: np.ndarray, new: np.ndarray, weight: np.ndarray, depth: int) -> np.ndarray:
    """Samples of so many bits under others, rounded once. new: as of `Colour.samples`; weight: a matte, uint8, or
    float32 0..1."""
    if weight.dtype == np.uint8 and new.dtype == np.uint8:
        return mixed(old, new, weight)
    if weight.dtype == np.uint8:
        weight = cv2.multiply(weight, 1 / 255, dtype=cv2.CV_32F)
    if new.dtype == np.uint8:
        step = cv2.multiply(cv2.subtract(new, old, dtype=cv2.CV_16S), weight, dtype=cv2.CV_16S)
        return cv2.add(old, step, dtype=cv2.CV_8U)
    apart = cv2.addWeighted(new, 1 / (1 << (16 - depth)), old, -1, 0, dtype=cv2.CV_32F)
    made = cv2.add(old, cv2.multiply(apart, weight, dst=apart), dtype=cv2.CV_8U if depth == 8 else cv2.CV_16U)
    return made if depth in (8, 16) else np.minimum(made, (1 << depth) - 1, out=made)


def own_pixels(patch: Patch, grid: Grid, rotation_deg: int) -> Patch:
    """A patch, which is in square pixels, in those of a film that is shown by that turn: upright too, and itself where
    they are square. Its matte is 0 wherever it was 0 all around."""
    if grid.same:
        return patch
    height, width = patch.matte_HW.shape
    corner = coded_box((patch.x, patch.y, width, height), rotation_deg, grid.square)[:2]
    made = []
    for kept in (patch.bgr_HWC, patch.deep_HWC):
        if kept is not None:
            both = turn_back(kept, rotation_deg), turn_back(patch.matte_HW, rotation_deg)
            bgr, matte, at = grid.coded_part(*both, corner)
            made.append(turn_upright(bgr, rotation_deg))
    upright = grid.coded[::-1] if rotation_deg in (90, 270) else grid.coded
    x, y, _, _ = coded_box((*at, matte.shape[1], matte.shape[0]), -rotation_deg % 360, upright)
    return Patch(patch.frame, x, y, made[0], turn_upright(matte, rotation_deg), made[1] if made[1:] else None)


def covered(patch: Patch, film: _Shown, coded: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The rectangle (x, y, width, height) of the coded picture (width, height) that `paste` may change; None: none."""
    patch = own_pixels(patch, Grid.of(*coded, film.aspect), film.rotation_deg)
    x, y, w, h = cv2.boundingRect(patch.matte_HW)
    return coded_box((patch.x + x, patch.y + y, w, h), film.rotation_deg, coded) if w else None


def pasted(
    film: Film, timeline: Timeline, folders: Iterable[str | Path], first: int | None = None, keep: Keep | None = None
) -> Iterator[Any]:
    """The film's decoded frames with all patches in them, and with the timeline's pts. first: only so many.

    Raises MediaError when the film is not the timeline's, or a patch lies beyond its end."""
    queue = PatchQueue(folders, own=True)
    count, whole = 0, len(timeline) if first is None else min(first, len(timeline))

    def given() -> Iterator[tuple[int, Any, _Shown]]:
        nonlocal count
        for frame in film.whole():
            if count == whole < len(timeline):
                break
            count += 1
            if count > whole:
                break
            yield count - 1, frame, film

    yield from _finished(given(), queue, timeline, keep)
    if count != whole:
        raise MediaError(
            f"{film.path} has changed: its timeline has {several(len(timeline), 'frame')}, the file does not."
        )
    if queue.left:
        raise MediaError(f"{queue.left} patch folders reach beyond the last frame of {film.path}.")


def pasted_part(
    path: str | Path, timeline: Timeline, folders: Iterable[str | Path], first: int, last: int, threads: int = 0,
    keep: Keep | None = None,
) -> Iterator[Any]:  # fmt: skip
    """Frames [first, last) of a film, as `pasted` gives them. Raises as `read.read` and `pasted`."""
    shown = ((p.frame, p.av_frame, p) for p in read(path, timeline, first, last, threads=threads))
    yield from _finished(shown, PatchQueue(folders, first, last, own=True), timeline, keep)


def _finished(
    frames: Iterable[tuple[int, Any, _Shown]], queue: PatchQueue, timeline: Timeline, keep: Keep | None
) -> Iterator[Any]:
    """Frames with their patches and times. frames: number, decoded frame, how it is shown."""
    for number, frame, shown in frames:
        frame.pts, frame.time_base = int(timeline.pts[number]), timeline.time_base
        picture = Picture(number, frame.pts, shown.rotation_deg, shown.colour, frame, shown.aspect)
        yield with_patches(picture, queue.at(number), keep)


def with_patches(picture: Picture, patches: Sequence[Patch], keep: Keep | None = None) -> Any:
    """The frame of a picture with patches in it, which is its own frame where nothing keeps that."""
    frame = own = picture.av_frame
    if keep is not None and patches:
        other = _copy(frame)
        if frame.interlaced_frame or len(beside_samples(frame)):  # only the frame itself can tell these to an encoder
            own = other
        else:
            frame = other
    if keep is not None:
        keep(replace(picture, av_frame=own), picture, patches)
    if patches:
        frame.make_writable()
        for patch in patches:
            paste(frame, patch, picture)
    return frame


def _copy(frame: Any) -> Any:
    """A planar frame with samples of its own and the same times and colour."""
    made = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for there, here in zip(planes_of(made), planes_of(frame), strict=True):
        np.copyto(there, here)
    made.pts = frame.pts
    if frame.time_base is not None:  # the last frames of a decoder that is emptied have none
        made.time_base = frame.time_base
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
    return made


def pasted_frames(
    source: str | Path, timeline: Timeline, folders: Iterable[str | Path], *, threads: int = 0
) -> Iterator[list[np.ndarray]]:
    """The planes that the encoder gets: for every frame [Y, U, V], uint8 or uint16 (H, W), as coded (not turned)."""
    with Film(source, threads) as film:
        for frame in pasted(film, timeline, folders):
            yield [plane.copy() for plane in planes_of(frame)]


def _chroma_weight(matte: np.ndarray, sub: tuple[int, int]) -> np.ndarray:
    """How much of a patch is seen, float32 0..1, in each sample of chroma: the mean of its block, 0 where any pixel of
    the block has matte 0. matte: uint8 (H, W), whole blocks."""
    size = (matte.shape[1] >> sub[0], matte.shape[0] >> sub[1])
    mean = cv2.resize(cv2.multiply(matte, 1 / 255, dtype=cv2.CV_32F), size, interpolation=cv2.INTER_AREA)
    _, there = cv2.threshold(matte, 0, 255, cv2.THRESH_BINARY)
    _, whole = cv2.threshold(cv2.resize(there, size, interpolation=cv2.INTER_AREA), 254, 1, cv2.THRESH_BINARY)
    return cv2.multiply(mean, whole, dtype=cv2.CV_32F)


def _on_grid(
    bgr: np.ndarray, matte: np.ndarray, corner: tuple[int, int], coded: tuple[int, int], sub: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The part of a patch that shows and lies inside the frame, in whole chroma blocks, and its corner; where the patch
    or the frame ends within a block, that is filled up with matte 0. Empty where nothing shows."""
    (x, y), (height, width) = corner, matte.shape
    first, above, w, h = cv2.boundingRect(matte)
    left, top = max(0, x + first), max(0, y + above)
    right, bottom = min(coded[0], x + first + w), min(coded[1], y + above + h)
    if w == 0 or left >= right or top >= bottom:
        return bgr[:0, :0], matte[:0, :0], (0, 0)
    across, down = 1 << sub[0], 1 << sub[1]
    grown = (left - left % across, right + -right % across), (top - top % down, bottom + -bottom % down)
    left, right = max(grown[0][0], x), min(grown[0][1], coded[0], x + width)
    top, bottom = max(grown[1][0], y), min(grown[1][1], coded[1], y + height)
    bgr, matte = (p[top - y : bottom - y, left - x : right - x] for p in (bgr, matte))
    pads = ((top - grown[1][0], grown[1][1] - bottom), (left - grown[0][0], grown[0][1] - right))
    if any(sum(p) for p in pads):
        bgr = np.pad(bgr, (*pads, (0, 0)), mode="edge")
        matte = np.pad(matte, pads)
    return bgr, matte, (grown[0][0], grown[1][0])
