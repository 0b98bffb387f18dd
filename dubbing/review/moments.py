"""The moment of a shot that a person should look at first: stills of source and take, and a short loop of both.

A take's worst moment is where, of its worst face, the opening of the mouth is furthest from what was wanted. Pictures
are for looking, as bytes of JPEG and animated WebP; knows no page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.artifacts.takes import seen_file
from dubbing.artifacts.tracks import load_tracks
from dubbing.clock import Timeline
from dubbing.face import LIPS
from dubbing.records import Patch, Track
from dubbing.review.library import Shown
from dubbing.review.sides import rendered_frames
from dubbing.review.takes import Take

__all__ = ["LOOP_S", "Moment", "around", "moment"]

LOOP_S = Fraction(1)
_WHOLE_PX = 560  # width of a still of the whole picture
_MOUTH_PX = 280  # side of a mouth
_GAP_PX = 6
_AROUND = 2.4  # side of the mouth's region, in widths of the lips
_SMOOTH_FRAMES = 9
_JPEG, _WEBP = 88, 78  # quality


@dataclass(frozen=True)
class Moment:
    """frame: of the title; whole, mouth: JPEG of (source, take) at that frame, the take's None where there is none,
    mouth empty without a face; loop: animated WebP of LOOP_S around it, source beside take at the film's speed, None
    without a take; size: (width, height) of a whole still; loop_size: of the loop."""

    frame: int
    whole: tuple[bytes, bytes | None]
    mouth: tuple[bytes, bytes] | None
    loop: bytes | None
    size: tuple[int, int]
    loop_size: tuple[int, int] = (2 * _MOUTH_PX + _GAP_PX, _MOUTH_PX)


def moment(shown: Shown, take: Take | None) -> Moment:
    """The worst moment of a shot's take; the middle of the shot where it has none.

    Raises MediaError where the film or the take's patch cannot be read.
    """
    shot, source = shown.step.shot, shown.step.film
    folders = [take.folder / face.folder for face in take.faces] if take else []
    track = _track(shown, take) if take and folders else None
    if take is None or track is None:
        at = (shot.start_frame + shot.end_frame) // 2
        still = _small(next(media.read(source, shown.line, at, at + 1, threads=1)).bgr())
        return Moment(at, (_jpeg(still), None), None, None, (still.shape[1], still.shape[0]))
    at = _worst(take, track)
    first, last = around(at, shown.line, track)
    boxes = _boxes(track, first, last)
    patches = _Patches(folders, first, last)
    whole: tuple[np.ndarray, np.ndarray] | None = None
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for picture in media.read(source, shown.line, first, last, threads=1):
        here = patches.of(picture.frame)
        box = _within(boxes[picture.frame - first], picture.size)
        before = picture.bgr(box=box)
        pairs.append((_fit(before), _fit(_pasted(before, here, box[:2]))))
        if picture.frame == at:
            full = picture.bgr()
            whole = (_small(full), _small(_pasted(full, here, (0, 0))))
    assert whole is not None  # `at` lies within [first, last)
    mouths = pairs[at - first]
    height, width = whole[0].shape[:2]
    return Moment(
        at, (_jpeg(whole[0]), _jpeg(whole[1])), (_jpeg(mouths[0]), _jpeg(mouths[1])),
        _loop(pairs, shown.line, first), (width, height),
    )  # fmt: skip


def _track(shown: Shown, take: Take) -> Track | None:
    wanted = take.scored[0]["track"] if take.scored else take.faces[0].track
    return next((t for t in load_tracks(shown.step.faces.folder) if t.id == wanted), None)


def _worst(take: Take, track: Track) -> int:
    """The frame where the opening seen is furthest from the one wanted, over a few frames; else the middle of those
    that are rendered."""
    rendered = rendered_frames(take.folder / track.id.rsplit("/", 1)[-1])
    middle = int(rendered[len(rendered) // 2])
    if take.seen is None or not (file := seen_file(take.seen, track.id)).exists():
        return middle
    with np.load(file) as data:
        off = np.abs(data["seen"] - data["wanted"])
        frames = data["frames"]
    known = np.isfinite(off)
    if not known.any():
        return middle
    kernel = np.ones(_SMOOTH_FRAMES)
    weight = np.maximum(np.convolve(known, kernel, "same"), 1)
    mean = np.convolve(np.where(known, off, 0), kernel, "same") / weight
    return int(frames[int(np.argmax(np.where(known, mean, -1)))])


def around(at: int, line: Timeline, track: Track) -> tuple[int, int]:
    """[first, last): LOOP_S around a frame, moved into the track."""
    half = LOOP_S / 2
    first = max(track.start_frame, line.frame_at(line.time(at) - half))
    last = min(track.end_frame, line.frame_at(line.time(first) + LOOP_S))
    first = max(track.start_frame, min(first, line.frame_at(line.time(last) - LOOP_S)))
    return first, max(last, at + 1)


def _boxes(track: Track, first: int, last: int) -> np.ndarray:
    """int (N, 4): x, y, w, h of the mouth's region, of one size, following the lips smoothly."""
    part = slice(first - track.start_frame, last - track.start_frame)
    lips = track.mesh_NP3[part][:, list(LIPS), :2]
    centre = lips.mean(1)
    kernel = np.ones(_SMOOTH_FRAMES)
    weight = np.convolve(np.ones(len(centre)), kernel, "same")
    centre = np.stack([np.convolve(centre[:, n], kernel, "same") / weight for n in (0, 1)], 1)
    side = max(16, round(_AROUND * float(np.ptp(lips[:, :, 0], axis=1).max())))
    corner = np.rint(centre - side / 2).astype(int)
    return np.concatenate([corner, np.full((len(corner), 2), side)], 1)


def _within(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box moved, and where need be cut, into a picture of `size` (width, height)."""
    w, h = min(int(box[2]), size[0]), min(int(box[3]), size[1])
    return min(max(int(box[0]), 0), size[0] - w), min(max(int(box[1]), 0), size[1] - h), w, h


class _Patches:
    """The patches of several faces, frame by frame."""

    def __init__(self, folders: list[Path], first: int, last: int) -> None:
        self._sources: list[Iterator[Patch]] = [media.read_patches(f, first, last) for f in folders]
        self._next = [next(s, None) for s in self._sources]

    def of(self, frame: int) -> list[Patch]:
        """Those of a frame; frames must be asked for in order."""
        found = []
        for n, source in enumerate(self._sources):
            patch = self._next[n]
            while patch is not None and patch.frame < frame:
                patch = next(source, None)
            if patch is not None and patch.frame == frame:
                found.append(patch)
            self._next[n] = patch
        return found


def _pasted(picture: np.ndarray, patches: list[Patch], corner: tuple[int, ...]) -> np.ndarray:
    for patch in patches:
        if _meet(patch, corner, picture.shape):
            picture = media.composite(picture, patch, corner[0], corner[1])
    return picture


def _meet(patch: Patch, corner: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    height, width = patch.matte_HW.shape
    left, top = patch.x - corner[0], patch.y - corner[1]
    return left < shape[1] and top < shape[0] and left + width > 0 and top + height > 0


def _small(picture: np.ndarray) -> np.ndarray:
    width = min(_WHOLE_PX, picture.shape[1])
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _fit(crop: np.ndarray) -> np.ndarray:
    """A square of _MOUTH_PX: the whole crop, on black where it is not square."""
    height, width = crop.shape[:2]
    scale = _MOUTH_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    part = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    made = np.zeros((_MOUTH_PX, _MOUTH_PX, 3), np.uint8)
    top, left = (_MOUTH_PX - size[1]) // 2, (_MOUTH_PX - size[0]) // 2
    made[top : top + size[1], left : left + size[0]] = part
    return made


def _jpeg(picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    if not done:
        raise OSError("a still could not be encoded as JPEG")
    return data.tobytes()


def _loop(pairs: list[tuple[np.ndarray, np.ndarray]], line: Timeline, first: int) -> bytes | None:
    """Source beside take, at the film's own frame times (in whole milliseconds, without drift)."""
    from PIL import Image

    gap = np.full((_MOUTH_PX, _GAP_PX, 3), 128, np.uint8)
    pictures = [Image.fromarray(np.concatenate([a, gap, b], 1)[:, :, ::-1]) for a, b in pairs]
    if len(pictures) < 2:
        return None
    ends_ms = [round(1000 * (line.time(first + n) - line.time(first))) for n in range(len(pairs) + 1)]
    buffer = BytesIO()
    pictures[0].save(buffer, "WEBP", save_all=True, append_images=pictures[1:], loop=0, quality=_WEBP, method=2,
                     duration=[b - a for a, b in zip(ends_ms, ends_ms[1:], strict=False)])  # fmt: skip
    return buffer.getvalue()
