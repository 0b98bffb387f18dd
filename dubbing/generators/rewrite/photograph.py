"""A photograph that speaks: its mouth, lids, brows and head, rendered in one pass for each frame.

In the photograph's own place, which is the same in every frame: first the mouth is bent and its inside drawn, then
lids come down; then one smooth map moves the head with its hair, its neck and all that was drawn, and raises the
brows. What is static (the mesh, the lent mouth, the map's geometry) is worked out once. Without a performance only
the mouth changes, and only where the dub speaks. Knows no files but the film, which shows the photograph, and the
actor's model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from dubbing import media
from dubbing.face import LOWER_FACE, apply_pose, canonical, mouth_measures
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.interior import SHOWN, Inside, shut, tones
from dubbing.generators.rewrite.render import Box, Face, crop_boxes, render
from dubbing.generators.rewrite.shape import PARTED, parted, spread
from dubbing.performance.acts import Acts, acts_of
from dubbing.performance.blinks import Eyes
from dubbing.performance.head import Head

__all__ = ["Photograph", "WantedMouth", "frame_times", "mesh_of"]

_LOOKS = 64  # frames of the track whose meshes are averaged: the picture is the same in all
_SEEN = 0.01  # of a blink, from which on a lid is drawn
_LIDS = (33, 133, 159, 145, 52, 105, 362, 263, 386, 374, 282, 334)


class Photograph:
    """A photographed face that speaks one dub. Raises what `media.read` raises.

    delay_s, opening, ramp_frames: see `RewriteSettings`.
    """

    def __init__(self, work: RenderRequest, delay_s: float, opening: float, ramp_frames: int) -> None:
        track, acts = work.track, work.acts
        self._work, self._start = work, track.start_frame
        mesh_P3, times_s = mesh_of(work), frame_times(work)
        (mouth,) = crop_boxes(mesh_P3[None, :, :2], work.picture_wh)
        (picture,) = media.read(work.source, work.timeline, self._start, self._start + 1, threads=1)
        self._head: Head | None = None
        self._acts = Acts.none(len(times_s))
        self._region = mouth
        if acts is not None:
            if acts.moves:
                self._head = Head(mesh_P3, work.picture_wh, (mouth.x, mouth.y, mouth.width, mouth.height), acts.others)
                self._region = Box(*self._head.region)
            else:
                self._region = _around(mouth, mesh_P3[list(_LIDS), :2], work.picture_wh)
            ranges = [
                (max(a, self._start) - self._start, min(b, track.end_frame) - self._start) for a, b in acts.ranges
            ]
            digest = hashlib.sha256(picture.bgr().tobytes() + np.ascontiguousarray(work.wave, "<f4").tobytes()).digest()
            self._acts = acts_of(work.wave, work.speech_N, times_s, ranges, int.from_bytes(digest[:6], "big"),
                                 moves=acts.moves, blinking=acts.blinks)  # fmt: skip
        b = self._region
        still = picture.kept_bgr((b.x, b.y, b.width, b.height))
        if work.overlays is not None:  # letters would move with the skin beneath them
            still = work.overlays.cleaned(self._start, b.x, b.y, still)
        self._still = np.ascontiguousarray(still)
        self._eyes = Eyes(self._still, mesh_P3[:, :2] - (b.x, b.y)) if acts is not None and acts.blinks else None
        self._wanted = WantedMouth(work, mesh_P3, delay_s, opening, ramp_frames)
        crop = self._part(self._still, mouth)
        self._mouth = _Mouth(self._wanted, mesh_P3[:, :2], mouth, crop, work.draft)

    def rendered(self) -> Iterator[Rendered]:
        """Patches of every frame that is asked for, in order, all of one size."""
        wanted_N = (self._wanted.fade_N > 0) | self._acts.acts_N
        for n in np.flatnonzero(wanted_N).tolist():
            if self._work.wants(self._start + n):
                yield self._frame(n)

    def _frame(self, n: int) -> Rendered:
        region = self._region
        picture = self._still
        matte = np.zeros(picture.shape[:2], np.uint8)
        speaks = bool(self._wanted.fade_N[n] > 0)
        opening = float("nan")
        if speaks:
            picture = picture.copy()
            bgr, mouth, opening = self._mouth.frame(n)
            self._part(matte, self._mouth.box)[:] = mouth
            under, share = self._part(picture, self._mouth.box), mouth.astype(np.float32) / 255
            under[:] = cv2.blendLinear(np.ascontiguousarray(under), bgr, 1 - share, share)
        if self._eyes is not None and self._acts.shut_N[n] > _SEEN:
            picture = picture.copy() if picture is self._still else picture
            self._eyes.close(picture, float(self._acts.shut_N[n]))
            for x, y, w, h in self._eyes.boxes:
                lid = np.any(picture[y : y + h, x : x + w] != self._still[y : y + h, x : x + w], axis=-1)
                part = matte[y : y + h, x : x + w]
                np.maximum(part, 255 * lid.astype(np.uint8), out=part)
        if self._head is not None:
            moved = self._head.matte_HW
            if self._acts.acts_N[n]:
                picture = self._head.moved(picture, self._acts.pose_N6[n], float(self._acts.brows_N[n]))
                matte = np.maximum(moved, matte)
        picture = cv2.bitwise_and(picture, picture, mask=cv2.compare(matte, 0, cv2.CMP_GT))
        patch = media.patch_of(self._start + n, region.x, region.y, picture, matte)
        return Rendered(patch, opening, mouth=speaks)

    def _part(self, region_HW: np.ndarray, box: Box) -> np.ndarray:
        """The view of a box of the picture in an array of the region."""
        x, y = box.x - self._region.x, box.y - self._region.y
        return region_HW[y : y + box.height, x : x + box.width]


class WantedMouth:
    """The mouth that a photographed face should have in every frame, without a picture of it.

    mesh_P3: as `mesh_of` finds it; delay_s, opening, ramp_frames: see `RewriteSettings`. fade_N: how much of each frame's
    mouth is new; own: how far the photograph's own stands open, inter-ocular distances; seam_P2: (478, 2) its mesh
    with closed lips.
    """

    def __init__(
        self, work: RenderRequest, mesh_P3: np.ndarray, delay_s: float, opening: float, ramp_frames: int
    ) -> None:
        self.fade_N = work.fade(ramp_frames)
        full_NP3, self._pose = canonical(mesh_P3[None])
        self._full_P3 = full_NP3[0]
        self._actor = voice.load(work.actor) if work.actor else voice.default_actor(full_NP3)
        space, rest, lower = self._actor.space, self._actor.rest, list(LOWER_FACE)
        have_K = space.encode(full_NP3, rest)[0]
        self._left_L3 = self._full_P3[lower] - space.decode(have_K[None], rest)[0]
        times_s = frame_times(work)
        want_NK = voice.predict(self._actor, work.wave, times_s - delay_s, work.speech_N, phones=work.phones)
        want_NK[:, 0] *= opening
        self._want_NK = have_K + (want_NK - have_K) * self.fade_N[:, None]
        self._spread_PL = spread(self._full_P3)
        closed = full_NP3.copy()
        closed[:, lower] = rest
        self.seam_P2 = apply_pose(closed, *self._pose)[0, :, :2]
        self.own = float(mouth_measures(full_NP3)["opening"][0])

    def shape(self, n: int) -> tuple[np.ndarray, float]:
        """Where the mesh should be in the n-th frame, (478, 2) pixels, and how far the mouth stands open then."""
        want_1K = self._want_NK[n : n + 1]
        lower = self._actor.space.decode(want_1K, self._actor.rest) + self._left_L3
        lower = parted(lower, want_1K[:, 0])[0]  # lips that are apart in the photograph close all the same
        goal = self._full_P3 + np.einsum("pl,lc->pc", self._spread_PL, lower - self._full_P3[list(LOWER_FACE)])
        goal[list(LOWER_FACE)] = lower
        return apply_pose(goal[None], *self._pose)[0, :, :2], float(mouth_measures(goal[None])["opening"][0])


class _Mouth:
    """How a wanted mouth looks. box: where it lies in the picture; crop_HWC: the picture there."""

    def __init__(self, wanted: WantedMouth, mesh_P2: np.ndarray, box: Box, crop_HWC: np.ndarray, draft: bool) -> None:
        self.wanted, self.box, self._draft = wanted, box, draft
        self._target = Face(np.ascontiguousarray(crop_HWC), box, mesh_P2)
        lent = self._target
        if wanted.own > PARTED:
            lent = replace(lent, bgr_HWC=shut(lent.bgr_HWC, lent.local_P2))
        self._lent = [(lent, 1.0)]
        colours = tones(self._target.bgr_HWC, self._target.local_P2)
        self._inside = Inside(colours, wanted.seam_P2, wanted.own >= SHOWN, 1.0)

    def frame(self, n: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The box's picture uint8, its matte uint8, and the opening that was wanted."""
        goal_P2, opening = self.wanted.shape(n)
        bgr, matte = render(self._target, goal_P2, self._lent, self._inside, grid=8 if self._draft else 16)
        return bgr, np.rint(matte * self.wanted.fade_N[n]).astype(np.uint8), opening


def mesh_of(work: RenderRequest) -> np.ndarray:
    """The mesh of a photographed face, float64 (478, 3) pixels: the median of what was found in its frames."""
    looks = np.unique(np.linspace(0, len(work.track.frames_N) - 1, _LOOKS).round().astype(int))
    return np.asarray(np.median(work.track.mesh_NP3[looks].astype(np.float64), axis=0))


def frame_times(work: RenderRequest) -> np.ndarray:
    """The middles of a track's frames, seconds from the first sample of its sound, float64 (N,)."""
    first = work.track.start_frame
    times_s = work.timeline.times_s(first, work.track.end_frame, centre=True)
    return np.asarray(times_s - float(work.timeline.time(first)))


def _around(box: Box, points_P2: np.ndarray, picture_wh: tuple[int, int]) -> Box:
    """The smallest even box around a box and points with a fifth of room."""
    room = 0.2 * float(np.ptp(points_P2[:, 0]))
    low = np.minimum(points_P2.min(0) - room, (box.x, box.y))
    high = np.maximum(points_P2.max(0) + room, (box.x + box.width, box.y + box.height))
    left, top = (np.maximum(low, 0) // 2 * 2).astype(int).tolist()
    right, below = (np.minimum(np.ceil(high / 2) * 2, np.array(picture_wh) // 2 * 2)).astype(int).tolist()
    return Box(left, top, right - left, below - top)
