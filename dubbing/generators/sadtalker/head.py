"""Where SadTalker's patches lie, what of them counts, and how they are laid over the picture at its own resolution.

A head that moves takes the whole crop with it: its patch is the crop, its matte fades at the crop's sides. A head that
stays needs its face alone: of a photograph the whole face (it blinks), of a film the lower half, as other generators
have it. What the network's few pixels cannot show, pores and hair, is the source's own: moved to where the network has
put it, by the flow between what it saw and what it drew, wherever both still look alike there.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dubbing import media
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.paste import Place, colour_shift, enlarged, lay, matte, places, raised, smooth
from dubbing.generators.sadtalker.look import region
from dubbing.generators.square import Part, part_of, steady_boxes

__all__ = ["HeadPlan", "lay_moved", "side_matte"]

_SMOOTH_S = 0.1  # to each side
_EASE_S = 0.4  # in which a head that moves leaves the photograph's place and comes back to it
_SIDES = 0.08  # of the crop, where its matte fades
_AROUND, _SOFT = 0.04, 0.03  # of the face's height: how far the matte of a face that stays reaches, and how softly
_OTHERS = 0.2  # of another face's width: how far around it a matte keeps away
_COARSE = 1.5  # pixels of the network: what is finer is the source's own
_ALIKE = 10.0  # grey levels within which what was drawn is what was seen


class HeadPlan:
    """Everything about a track that needs no network. inner: see `region`; moves: whether the head does."""

    def __init__(self, work: RenderRequest, ramp_frames: int, inner: bool, moves: bool) -> None:
        track, timeline = work.track, work.timeline
        self._first, count = track.start_frame, len(track.frames_N)
        self._still = work.still
        reach = max(1, round(float(timeline.rate) * _SMOOTH_S))
        self.mesh_NP2 = smooth(track.mesh_NP3[..., :2], reach)
        self._picture_wh, self._overlays = work.picture_wh, work.overlays
        if work.still:  # the photograph stays: all is as in its first frame
            self.mesh_NP2[:] = track.mesh_NP3[0, :, :2]
            self.regions_N4 = np.tile(region(self.mesh_NP2[0], work.picture_wh, inner), (count, 1))
            box = self.regions_N4[0] if moves else _face_box(self.mesh_NP2[0])
            self._place = _around(box, work.picture_wh)
            if moves:
                self._matte = side_matte(box, self._place, work.picture_wh)
            else:
                self._matte = _face_matte(self.mesh_NP2[0], self._place)
            self._matte = _without(self._matte, self._place, work.others)
        else:
            self.regions_N4 = smooth(np.stack([region(one, work.picture_wh, inner) for one in self.mesh_NP2]), reach)
            self._boxes_N4 = raised(steady_boxes(track.mesh_NP3, reach), self.mesh_NP2)
            self._places = places(self._boxes_N4, work.picture_wh)
        begins = timeline.time(self._first)
        self.times = [timeline.time(self._first + n) - begins for n in range(count)]
        self.fade_N = work.fade(ramp_frames)
        eased = work.fade(max(ramp_frames, round(float(timeline.rate) * _EASE_S))) if moves else self.fade_N
        self.ease_N = eased * eased * (3 - 2 * eased)
        """How far a frame's keypoints go from the picture's own to the new ones, 0..1."""

    def place(self, n: int) -> Place:
        """Where the patch of a frame of the track lies."""
        return self._place if self._still else self._places[n]

    def part(self, picture: media.Picture) -> Part:
        """What rendering needs of a picture."""
        n = picture.frame - self._first
        return part_of(picture, n, self.place(n), self.regions_N4[n], self._picture_wh, self._overlays)

    def laid(self, part: Part, seen: np.ndarray, drawn: np.ndarray) -> Rendered:
        """The patch of a frame. seen, drawn: its region as it is and as it was drawn, BGR 0..255."""
        n, transfer = part.number, part.transfer
        place, box, mesh_P2 = self.place(n), self.regions_N4[n], self.mesh_NP2[n]
        alpha = self._matte if self._still else matte(mesh_P2, self._boxes_N4[n], place)
        source = media.fractions(part.kept_HWC)
        shown = seen, drawn
        if source.dtype == np.float32:
            seen, drawn = media.undisplayed(seen, transfer), media.undisplayed(drawn, transfer)
        if self._still:
            bgr = lay_moved(source, seen, drawn, box, place, alpha, shown)
        else:
            bgr = lay(source, seen, drawn, box, place, alpha, mesh_P2, self._first + n)
        alpha = np.rint(alpha * (255 * self.fade_N[n])).astype(np.uint8)
        return Rendered(media.patch_of(self._first + n, place.x, place.y, bgr, alpha, transfer), float("nan"))


def lay_moved(
    source_HWC: np.ndarray,
    seen_square: np.ndarray,
    made_square: np.ndarray,
    box_4: np.ndarray,
    place: Place,
    matte_HW: np.ndarray,
    shown: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The patch's pixels of a head that moved, uint8 (H, W, 3), or float32 0..255 where the source is.

    Unlike in `paste.lay` the source's detail goes with what it belongs to, and stands in for the network's own.
    shown: both squares as they look, 0..255.
    """
    seen, made = (enlarged(square, box_4, place) for square in (seen_square, made_square))
    made += colour_shift(seen - made, matte_HW)
    grey = [cv2.cvtColor(np.clip(np.rint(one), 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY) for one in shown]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[1], grey[0], None)
    pixels = ((box_4[2:] - box_4[:2]) / seen_square.shape[1::-1]).astype(np.float32)
    flow = enlarged(np.dstack([flow * pixels, flow[..., :1]]), box_4, place)[..., :2]
    height, width = matte_HW.shape
    at_x = np.arange(width, dtype=np.float32) + flow[..., 0]
    at_y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]

    def carried(picture: np.ndarray) -> np.ndarray:
        return cv2.remap(picture.astype(np.float32), at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def coarse(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (0, 0), max(1.0, _COARSE * float(pixels.mean())))

    brought = carried(source_HWC)
    low, own_low = coarse(made), coarse(brought)
    kept = np.exp(-((coarse(np.abs(low - own_low).mean(2)) / _ALIKE) ** 2))[..., None]
    laid = low + (brought - own_low) * kept + (made - low) * (1 - kept)
    return np.clip(laid if source_HWC.dtype == np.float32 else np.rint(laid), 0, 255).astype(source_HWC.dtype)


def side_matte(box_4: np.ndarray, place: Place, picture_wh: tuple[int, int]) -> np.ndarray:
    """The matte of a whole crop, float32 (H, W) 0..1: it fades at those sides that are not the picture's own."""
    out = np.ones((place.height, place.width), np.float32)
    for axis, (start, size) in enumerate(((place.x, place.width), (place.y, place.height))):
        low, high = float(box_4[axis]), float(box_4[axis + 2])
        at, wide = start + 0.5 + np.arange(size), _SIDES * (high - low)
        ramp = np.ones(size)
        if low > 1:
            ramp = np.minimum(ramp, (at - low) / wide)
        if high < picture_wh[axis] - 2:
            ramp = np.minimum(ramp, (high - at) / wide)
        ramp = np.clip(ramp, 0, 1)
        ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        out *= ramp[None] if axis == 0 else ramp[:, None]
    return out


def _without(matte_HW: np.ndarray, place: Place, others: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    """A matte that keeps out of other faces, softly. others: (x, y, width, height) in pixels of the picture."""
    for x, y, width, height in others:
        room = _OTHERS * width
        there = np.zeros_like(matte_HW)
        low = np.maximum(np.array([x - room - place.x, y - room - place.y]), 0).astype(int)
        high = np.array([x + width + room - place.x, y + height + room - place.y]).astype(int)
        there[low[1] : max(0, high[1]), low[0] : max(0, high[0])] = 1
        there = cv2.GaussianBlur(there, (0, 0), max(1.0, _OTHERS / 2 * width), borderType=cv2.BORDER_REPLICATE)
        matte_HW = np.minimum(matte_HW, np.clip(1 - 2 * there, 0, 1))
    return matte_HW


def _face_box(mesh_P2: np.ndarray) -> np.ndarray:
    low, high = mesh_P2.min(0), mesh_P2.max(0)
    room = (_AROUND + 4 * _SOFT) * (high[1] - low[1])
    return np.concatenate([low - room, high + room])


def _face_matte(mesh_P2: np.ndarray, place: Place) -> np.ndarray:
    """The matte of a whole face that stays, float32 (H, W) 0..1, a little beyond its outline."""
    height = float(np.ptp(mesh_P2[:, 1]))
    outline = cv2.convexHull(np.rint((mesh_P2 - (place.x, place.y) - 0.5) * 16).astype(np.int32))
    mask = np.zeros((place.height, place.width), np.float32)
    cv2.fillConvexPoly(mask, outline, 1.0, lineType=cv2.LINE_AA, shift=4)
    grow = 2 * max(1, round(_AROUND * height)) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow, grow)))
    return cv2.GaussianBlur(mask, (0, 0), max(1.0, _SOFT * height), borderType=cv2.BORDER_REPLICATE)


def _around(box_4: np.ndarray, picture_wh: tuple[int, int]) -> Place:
    """The place that covers a box, even, inside the picture."""
    limit = np.array(picture_wh) // 2 * 2
    low = np.clip(np.floor(box_4[:2]).astype(int) // 2 * 2, 0, limit - 2)
    high = np.clip((np.ceil(box_4[2:]).astype(int) + 1) // 2 * 2, low + 2, limit)
    return Place(int(low[0]), int(low[1]), *(int(v) for v in high - low))
