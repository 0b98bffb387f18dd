"""Face crops as the published pipelines cut them, from our own tracks.

Boxes come from our own mesh (`networks.boxes`), not from S3FD; everything after that matches the published
code to the pixel. It knows no network and no sound.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from dubbing.experts.lse import instants

__all__ = ["CROP_PX", "Crop", "cut", "published_bgr", "shown", "syncnet_crops"]

CROP_PX = 224
_MEDIAN = 13  # frames at 25 fps
_WIDER = 0.40
_GREY = 110  # beyond the picture


class Picture(Protocol):
    """One decoded frame, as `media.read` yields it. av_frame: the decoder's; rotation_deg: clockwise, to show it; size:
    upright (width, height) in square pixels."""

    @property
    def av_frame(self) -> Any: ...

    @property
    def rotation_deg(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]: ...


class Crop(NamedTuple):
    """A square part of a picture, in whole pixels; may reach beyond the picture. matrix: the six numbers of one (2, 3)
    that an expert who cuts for itself takes the picture's pixels by; none where the part is cut as it is."""

    left: int
    top: int
    right: int
    bottom: int
    matrix: tuple[float, ...] = ()


def shown(times_s: np.ndarray) -> np.ndarray:
    """Which frame stands for each `lse.instants` of a stretch: the one that begins nearest to it, int64 (K,).

    Nearest, not last: a picture taken late or early by half a frame on average would move the offset.
    """
    times = np.asarray(times_s, np.float64)
    return np.searchsorted((times[1:] + times[:-1]) / 2, instants(times), side="left")


def syncnet_crops(boxes_N4: np.ndarray, times_s_N: np.ndarray) -> list[Crop]:
    """SyncNet's crop of every frame of one face in one shot.

    Half size (of the longer side) and centre are median-filtered over 13 frames at 25 a second, with zeros
    beyond the ends, as published (a stretch under 13 frames: its own median); the crop reaches 1.4 half
    sizes to each side, 1 up and 1.8 down.
    """
    from scipy.signal import medfilt  # slow to load, and every command loads this module

    boxes = np.asarray(boxes_N4, np.float64)
    at = shown(times_s_N)
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
    tracks = [size, (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2]
    if len(at) >= _MEDIAN:
        smooth = [medfilt(track[at], _MEDIAN) for track in tracks]
    else:
        smooth = [np.full(len(at), np.median(track[at])) for track in tracks]
    # Back from instants to frames; a frame that is never shown takes its neighbour's.
    nearest = np.minimum(np.searchsorted(at, np.arange(len(boxes))), len(at) - 1)
    return [_around(s, x, y) for s, x, y in zip(*(values[nearest] for values in smooth), strict=True)]


def _around(half: float, x: float, y: float) -> Crop:
    """The published arithmetic: whole pixels are cut off in a picture padded on every side."""
    pad = int(half * (1 + 2 * _WIDER))
    x, y = x + pad, y + pad
    left, right = int(x - half * (1 + _WIDER)), int(x + half * (1 + _WIDER))
    top, bottom = int(y - half), int(y + half * (1 + 2 * _WIDER))
    return Crop(left - pad, top - pad, max(right, left + 1) - pad, max(bottom, top + 1) - pad)


def published_bgr(picture: Picture) -> np.ndarray:
    """The whole upright picture, uint8 (H, W, 3), in the colours that the published pipelines see.

    They read files through OpenCV, that is libswscale's quick conversion: BT.601 where nothing is tagged,
    and about one grey level darker than exact arithmetic. Scores on made weights move by 0.5 % with that.
    """
    own = picture.av_frame.to_ndarray(format="bgr24")
    upright = np.ascontiguousarray(np.rot90(own, -(picture.rotation_deg // 90)))
    square = upright.shape[1::-1] == picture.size
    return upright if square else cv2.resize(upright, picture.size, interpolation=cv2.INTER_CUBIC)


def cut(bgr_HWC: np.ndarray, crop: Crop, side_px: int = CROP_PX) -> np.ndarray:
    """The crop of a whole picture, uint8 (side, side, 3), bilinear as published; grey where there is no picture."""
    height, width = bgr_HWC.shape[:2]
    inside = bgr_HWC[max(0, crop.top) : max(0, crop.bottom), max(0, crop.left) : max(0, crop.right)]
    if not inside.size:
        return np.full((side_px, side_px, 3), _GREY, np.uint8)
    up, down = max(0, -crop.top), max(0, crop.bottom - height)
    left, right = max(0, -crop.left), max(0, crop.right - width)
    if up or down or left or right:
        inside = cv2.copyMakeBorder(inside, up, down, left, right, cv2.BORDER_CONSTANT, value=(_GREY,) * 3)
    return cv2.resize(inside, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
