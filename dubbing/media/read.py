"""Pictures of a file, one after another or exactly by number, streaming; and its timeline.

Frame n is the n-th frame that the decoder shows of the first real picture stream, in `scan`, in
`timeline` and in `read` alike. It knows containers only as far as seeking in them can be trusted.
Nothing here holds more than the decoder's own few frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError
from dubbing.media.colour import Colour, Layout, fractions, layout_of, planes_of, scaled, turn_upright
from dubbing.media.film import Film
from dubbing.media.numbered import CONTAINER
from dubbing.media.planes import Planes, planar
from dubbing.media.probe import first_video, open_media
from dubbing.media.square import Grid
from dubbing.media.times import shown_pts

__all__ = [
    "Picture", "Scan", "changes", "chosen", "coded_box", "read", "scan", "timeline", "uneven", "variable_rate",
]  # fmt: skip

_SMALL_PX = 256
_STEPS_BACK = (0, 17, 300)
"""How many frames before the wanted one to seek to, one try after another."""

_READ_ON = 125  # frames to the next wanted one that cost no more than to seek: half the usual way between key frames

_LOOKED_AT, _REORDERED = 1000, 32  # packets that say whether a rate is variable; the last ones are not all there


@dataclass(frozen=True, eq=False)
class Picture:
    """One decoded frame, shown in square pixels. frame: its number; pts: in the stream's time base; rotation_deg: the
    clockwise turn that shows it upright; size: upright (width, height); aspect: width over height of a pixel of
    av_frame, as it is shown."""

    frame: int
    pts: int
    rotation_deg: int
    colour: Colour
    av_frame: Any
    aspect: Fraction = Fraction(1)
    _held: list[tuple[tuple[int, int, int, int], np.ndarray]] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def of(cls, film: Film, frame: int, pts: int, av_frame: Any) -> Picture:
        """A frame that a film has decoded."""
        return cls(frame, pts, film.rotation_deg, film.colour, av_frame, film.aspect)

    @cached_property
    def grid(self) -> Grid:
        """Its own pixels and square ones."""
        return Grid.of(self.av_frame.width, self.av_frame.height, self.aspect)

    @property
    def size(self) -> tuple[int, int]:
        w, h = self.grid.square
        return (h, w) if self.rotation_deg in (90, 270) else (w, h)

    @property
    def coded(self) -> Picture:
        """The same with its own pixels taken as square ones: what is in the file."""
        return replace(self, aspect=Fraction(1))

    def bgr(self, box: tuple[int, int, int, int] | None = None, width: int | None = None) -> np.ndarray:
        """uint8 (H, W, 3) upright BGR, display-referred. box: (x, y, w, h) in upright square pixels, inside the
        picture; only it is converted. width: scale to that many columns, height in proportion (at least 1)."""
        x, y, w, h = self._inside(box)
        size = (width, max(1, round(h * width / w))) if width and width != w else None
        if size is None:
            for (left, top, across, down), held in self._held:
                if left <= x and top <= y and x + w <= left + across and y + h <= top + down:
                    return held[y - top : y - top + h, x - left : x - left + w].copy()
        turned = self.rotation_deg in (90, 270)
        if not self.grid.same:
            if size is None or (w, h) != self.size:
                part = self._squared((x, y, w, h), deep=False)
                return part if size is None else scaled(part, size)
            w, h = self.av_frame.width, self.av_frame.height
            planes, layout, _ = self._planes((0, 0, w, h), whole_blocks=False)
            return turn_upright(self.colour.bgr(planes, layout, size[::-1] if turned else size), self.rotation_deg)
        planes, layout, cut = self._planes(self.coded_box((x, y, w, h)), whole_blocks=size is None)
        picture = self.colour.bgr(planes, layout, size[::-1] if size and turned else size)
        return turn_upright(picture[cut] if size is None else picture, self.rotation_deg)

    def hold(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """`bgr` of a box, not to be changed: what `bgr` is asked for inside it from now on is cut out of it."""
        made = np.ascontiguousarray(self.bgr(box=box))
        if self.grid.same:  # else each box is interpolated by itself
            self._held.append((box, made))
        return made

    @property
    def deep(self) -> bool:
        """Whether `bgr` loses what `own_bgr` keeps: it has more than 8 bits, or a high dynamic range."""
        return bool((layout_of(self.av_frame.format.name) or Layout((0, 0), 8)).deep or self.colour.transfer)

    @property
    def size_bytes(self) -> int:
        """The memory that the decoded frame takes."""
        return sum(plane.buffer_size for plane in self.av_frame.planes)

    def own_bgr(self, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Upright BGR that loses nothing: uint8 as `bgr`; where the picture is `deep` float32 (H, W, 3), 0..255 with
        fractions, in the film's own transfer."""
        return fractions(self.kept_bgr(box))

    def kept_bgr(self, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """The same as it is best kept: uint8, or uint16 0..65535, of which `fractions` makes what is computed with."""
        if not self.deep:
            return self.bgr(box)
        if not self.grid.same:
            return self._squared(self._inside(box), deep=True)
        planes, layout, cut = self._planes(self.coded_box(self._inside(box)), whole_blocks=True)
        return turn_upright(self.colour.deep(planes, layout)[cut], self.rotation_deg)

    @property
    def planar(self) -> bool:
        """Whether `planes` are all of it."""
        return planar(self.av_frame.format.name, self.grid, self.colour)

    def planes(self, box: tuple[int, int, int, int]) -> Planes:
        """The upright samples of a `planar` picture in a box (x, y, w, h) of even numbers. Raises ValueError where one
        is odd."""
        if any(n % 2 for n in box):
            raise ValueError(f"box {box} cuts blocks of chroma: its numbers must be even")
        x, y, w, h = self.coded_box(self._inside(box))
        luma, *chroma = planes_of(self.av_frame)
        parts = [luma[y : y + h, x : x + w], *(p[y // 2 : (y + h) // 2, x // 2 : (x + w) // 2] for p in chroma)]
        return Planes.of([turn_upright(part, self.rotation_deg) for part in parts], self.colour)

    def _squared(self, box: tuple[int, int, int, int], deep: bool) -> np.ndarray:
        """An upright box of a picture whose own pixels are not square, uint8 or, where `deep`, uint16 (H, W, 3)."""
        wanted = coded_box(box, self.rotation_deg, self.grid.square)
        own = self.grid.around(wanted)
        planes, layout, cut = self._planes(own, whole_blocks=True)
        part = (self.colour.deep if deep else self.colour.bgr)(planes, layout)[cut]
        return turn_upright(self.grid.squared(part, own[:2], wanted), self.rotation_deg)

    def _inside(self, box: tuple[int, int, int, int] | None) -> tuple[int, int, int, int]:
        full_w, full_h = self.size
        x, y, w, h = box or (0, 0, full_w, full_h)
        if x < 0 or y < 0 or w < 1 or h < 1 or x + w > full_w or y + h > full_h:
            raise ValueError(f"box {(x, y, w, h)} is not inside a picture of {full_w}x{full_h}")
        return x, y, w, h

    def coded_box(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """An upright box (x, y, w, h) in the coordinates of the frame as it is coded, where its pixels are square."""
        return coded_box(box, self.rotation_deg, (self.av_frame.width, self.av_frame.height))

    def _planes(
        self, box: tuple[int, int, int, int], whole_blocks: bool
    ) -> tuple[list[np.ndarray], Layout, tuple[slice, slice]]:
        """The samples of a coded box, how they lie, and where the box is in them. whole_blocks: the luma too begins
        where its chroma does."""
        x, y, w, h = box
        frame = self.av_frame
        layout = layout_of(frame.format.name)
        if layout is None:
            frame, layout = frame.reformat(format="yuv444p"), Layout((0, 0), 8)
        across, down = 1 << layout.sub[0], 1 << layout.sub[1]
        left, top = x - x % across, y - y % down
        luma, u, v = planes_of(frame)[:3]
        luma = luma[top : y + h, left : x + w] if whole_blocks else luma[y : y + h, x : x + w]
        chroma = (
            slice(top >> layout.sub[1], -(-(y + h) // down)),
            slice(left >> layout.sub[0], -(-(x + w) // across)),
        )
        return [luma, u[chroma], v[chroma]], layout, (slice(y - top, None), slice(x - left, None))


def coded_box(box: tuple[int, int, int, int], degrees: int, coded: tuple[int, int]) -> tuple[int, int, int, int]:
    """An upright box (x, y, w, h) in a frame of `coded` (width, height) shown by a clockwise turn."""
    x, y, w, h = box
    if degrees == 90:
        return (y, coded[1] - x - w, h, w)
    if degrees == 180:
        return (coded[0] - x - w, coded[1] - y - h, w, h)
    if degrees == 270:
        return (coded[0] - y - h, x, h, w)
    return box


class Scan:
    """One pass over all frames. Iterating yields (pts, picture); afterwards `timeline` is the whole film's.

    frames_hint: frames that the header promises (0: it does not say), for progress; time_base: seconds of a pts. The
    pts yielded are the file's own (None where it has none); `timeline` holds them in order (see `times`).
    """

    def __init__(self, path: str | Path, width_px: int | None = None, threads: int = 0) -> None:
        self._path, self._width, self._threads = Path(path), width_px, threads
        self._timeline: Timeline | None = None
        with Film(path, 1) as film:
            self.rate, self.frames_hint = film.rate, film.promised
            self.time_base: Fraction = film.stream.time_base

    @property
    def timeline(self) -> Timeline:
        """The film's Timeline, once the pass is over."""
        if self._timeline is None:
            raise RuntimeError("the timeline is known when the scan is over")
        return self._timeline

    def __iter__(self) -> Iterator[tuple[int | None, np.ndarray]]:
        """(pts, uint8 (H, W, 3) upright BGR), frame by frame."""
        for film, number, frame in self._pass():
            picture = Picture.of(film, number, frame.pts or 0, frame)
            yield frame.pts, picture.bgr(width=self._width)

    def pictures(self) -> Iterator[Picture]:
        """The same pass as `Picture`s, for whoever looks at parts of them. Their pts increase: a label that is absent,
        or not after the one before, is counted on from that one."""
        last: int | None = None
        for film, number, frame in self._pass():
            if last is None:
                last = frame.pts or 0
            else:
                last = frame.pts if frame.pts is not None and frame.pts > last else last + film.step
            yield Picture.of(film, number, last, frame)

    def run(self) -> Timeline:
        """The same pass without making pictures."""
        for _ in self._pass():
            pass
        return self.timeline

    def _pass(self) -> Iterator[tuple[Film, int, Any]]:
        raw: list[int | None] = []
        last_duration = 0
        with Film(self._path, self._threads) as film:
            for frame in film.whole():
                raw.append(frame.pts)
                last_duration = frame.duration
                yield film, len(raw) - 1, frame
            pts = shown_pts(raw, film.step)
            end = int(pts[-1]) + (last_duration or film.step)
            self._timeline = Timeline(pts, film.stream.time_base, end, film.rate, film.start_tc)


def scan(path: str | Path, width_px: int | None = None, *, threads: int = 0) -> Scan:
    """A pass over all frames as small upright BGR pictures `width_px` wide (None: full size).

    Raises, while it runs, DamagedMedia naming the timecode of the first bad frame."""
    return Scan(path, width_px, threads)


def variable_rate(path: str | Path) -> bool:
    """Whether a film's pictures come at uneven times, by what its first thousand packets say. Decodes nothing."""
    with open_media(path) as container:
        stream = first_video(container)
        if stream is None or container.format.name == CONTAINER:
            return False
        times: list[int] = []
        for packet in container.demux(stream):
            if packet.pts is not None:
                times.append(packet.pts)
            if len(times) == _LOOKED_AT:
                times = sorted(times)[:-_REORDERED]  # pictures shown between the last may be coded after them
                break
    return uneven(np.array(sorted(times)))


def uneven(pts_N: np.ndarray) -> bool:
    """Whether increasing times (N,) are further from evenly spaced than a clock's rounding: by two fifths of a step."""
    if len(pts_N) < 3:
        return False
    step = (pts_N[-1] - pts_N[0]) / (len(pts_N) - 1)
    return bool(np.abs(pts_N - pts_N[0] - step * np.arange(len(pts_N))).max() > 0.4 * step)


def timeline(path: str | Path, *, threads: int = 0) -> Timeline:
    """The film's Timeline, by decoding all of it once without making pictures. Raises as `scan`."""
    return Scan(path, None, threads).run()


def changes(path: str | Path, timeline: Timeline) -> Callable[[Sequence[int]], list[float]]:
    """A function of frame numbers: by how many code values, in the mean, each frame differs from the one before it.
    Raises as `read`."""

    def at(frames: Sequence[int]) -> list[float]:
        found = []
        for frame in frames:
            small = [p.bgr(width=_SMALL_PX).astype(np.float32) for p in read(path, timeline, frame - 1, frame + 1)]
            found.append(float(np.abs(small[-1] - small[0]).mean()))
        return found

    return at


def read(
    path: str | Path, timeline: Timeline, start: int = 0, end: int | None = None, *, threads: int = 0
) -> Iterator[Picture]:
    """Frames [start, end) exactly, in order. `end` None: to the last.

    Seeks to the key frame at or before `start` where the container's labels can be trusted, checks
    every frame's pts against the timeline, and counts from the first frame where they disagree (AVI
    and MPEG program streams always: their cost grows with `start`). Raises DamagedMedia, or
    MediaError when the file no longer has these frames.
    """
    end = len(timeline) if end is None else min(end, len(timeline))
    wanted = max(0, start)
    if 0 < wanted < end:
        for picture in _sought(path, timeline, wanted, end, threads):
            yield picture
            wanted = picture.frame + 1
    if wanted < end:
        yield from _counted(path, timeline, wanted, end, threads)


def chosen(path: str | Path, timeline: Timeline, frames: Sequence[int], *, threads: int = 0) -> Iterator[Picture]:
    """Single frames, whose numbers rise, exactly: decoded on from one to the next where that is near, else sought.
    Raises as `read`."""
    if not frames:
        return
    with Film(path, 1) as film:
        most = _READ_ON if film.seekable else len(timeline)
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame - spans[-1][-1] <= most:
            spans[-1].append(frame)
        else:
            spans.append([frame])
    for wanted in spans:
        kept = set(wanted)
        for picture in read(path, timeline, wanted[0], wanted[-1] + 1, threads=threads):
            if picture.frame in kept:
                yield picture


def _sought(path: str | Path, timeline: Timeline, start: int, end: int, threads: int) -> Iterator[Picture]:
    """Frames [start, end) found by seeking; stops early, without a wrong frame, where labels disagree.

    Containers seek by decoding time: the first try can land on a key frame shown after `start`."""
    with Film(path, threads) as film:
        if not film.seekable:
            return
        for back in _STEPS_BACK:
            try:
                film.container.seek(int(timeline.pts[max(0, start - back)]), stream=film.stream)
            except av.error.FFmpegError:
                return
            number = -1
            for frame in film.onward(timeline.pts):
                if frame.pts is None:
                    return
                if number < 0:
                    number = int(np.searchsorted(timeline.pts, frame.pts))
                    if number > start:
                        break
                if number >= len(timeline) or frame.pts != int(timeline.pts[number]):
                    return
                if number >= start:
                    yield Picture.of(film, number, frame.pts, frame)
                number += 1
                if number >= end:
                    return
            else:
                if number > start:
                    return  # the file ends here: another try would show the same frames again


def _counted(path: str | Path, timeline: Timeline, start: int, end: int, threads: int) -> Iterator[Picture]:
    """Frames [start, end) by counting from the first."""
    with Film(path, threads) as film:
        for number, frame in enumerate(film.whole()):
            if number >= start:
                yield Picture.of(film, number, int(timeline.pts[number]), frame)
            if number + 1 == end:
                return
        raise MediaError(f"{path} has changed: it ends before frame {end} of its timeline.")
