"""A photograph's performance over the mouths that a generator rendered: head, brows and lids, in one pass a frame.

Whatever renders mouths does so in the photograph's own place, which is the same in every frame. Here each is laid into
the photograph, lids come down over the eyes, and then one smooth map moves the head with its hair, its neck and all
that was drawn, and raises the brows. So nothing is ever rendered onto a head that moves. A window of the shot changes
nothing, and nothing grows with its length but a few numbers a frame. Knows no generator and no stage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.asked import Ranges, within
from dubbing.face import still_mesh
from dubbing.generators import Rendered, RenderRequest
from dubbing.manifest import Still
from dubbing.performance.acts import acts_of
from dubbing.performance.blinks import Eyes
from dubbing.performance.head import Head, Part
from dubbing.performance.motion import motion_hash
from dubbing.records import Patch, Track

__all__ = ["Performance", "Performed", "asked_of"]

VERSION = 3  # raise it when the same photograph and sound perform otherwise
_SEEN = 0.01  # of a blink, from which on a lid is drawn
_ROOM = 0.5  # eye distances around the face, which patches of mouths reach into


def asked_of(said: Still) -> tuple[str, ...] | None:
    """What a manifest asks to move beside a photograph's mouth, `motion` and `blinks`, and a hash of how that is done;
    None for nothing."""
    wanted = tuple(name for name, on in (("motion", said.motion != "none"), ("blinks", said.blinks)) if on)
    return (*wanted, f"{VERSION}-{motion_hash()[:12]}") if wanted else None


@dataclass(frozen=True)
class Performance:
    """What of a photographed face moves beside its mouth.

    moves: head and brows; blinks: lids; ranges: frames [a, b) of the title in which they may; others: (x, y, width,
    height) in pixels of the other faces in the picture, which must not move with it.
    """

    moves: bool
    blinks: bool
    ranges: tuple[tuple[int, int], ...]
    others: tuple[tuple[float, float, float, float], ...] = ()

    @staticmethod
    def of(
        acts: Sequence[str] | None, track: Track, tracks: Iterable[Track], asked: Ranges | None
    ) -> Performance | None:
        """Of a track. acts: as `asked_of`; tracks: of all faces in the picture; asked: frames that may be re-rendered,
        None for all."""
        if acts is None:
            return None
        start, end = track.start_frame, track.end_frame
        meshes = [other.mesh_NP3[0, :, :2] for other in tracks if other.id != track.id]
        corners = [(*mesh.min(0).tolist(), *np.ptp(mesh, axis=0).tolist()) for mesh in meshes]
        ranges = ((start, end),) if asked is None else within(asked, start, end)
        return Performance("motion" in acts, "blinks" in acts, ranges, tuple(corners))


class Performed:
    """One photographed face in one dub. Raises what `media.read` raises.

    work: what its mouth is rendered from, lines within the performance's ranges.
    """

    def __init__(self, work: RenderRequest, acts: Performance) -> None:
        self._work, self._first = work, work.track.start_frame
        (picture,) = media.read(work.source, work.timeline, self._first, self._first + 1, threads=1)
        mesh_P3 = still_mesh(work.track.mesh_NP3)
        self._region = _face_box(mesh_P3, work.picture_wh)
        self._head: Head | None = None
        if acts.moves:
            self._head = Head(mesh_P3, work.picture_wh, self._region, acts.others)
            self._region = self._head.region
        x, y, width, height = self._region
        still = picture.kept_bgr((x, y, width, height))
        if work.overlays is not None:  # letters would move with the skin beneath them
            still = work.overlays.cleaned(self._first, x, y, still)
        self._still = np.ascontiguousarray(still)
        self._eyes = Eyes(self._still, mesh_P3[:, :2] - (x, y)) if acts.blinks else None
        digest = hashlib.sha256(picture.bgr().tobytes() + np.ascontiguousarray(work.wave, "<f4").tobytes()).digest()
        ranges = [(a - self._first, b - self._first) for a, b in within(acts.ranges, self._first, work.track.end_frame)]
        self.acts = acts_of(
            work.wave, work.speech_N, work.times_s, ranges, int.from_bytes(digest[:6], "big"),
            moves=acts.moves, blinking=acts.blinks,
        )  # fmt: skip

    def over(self, mouths: Iterator[Rendered]) -> Iterator[Rendered]:
        """Patches of every frame in which anything moves, in order, all of one size. mouths: of the generator."""
        one = next(mouths, None)
        acts_N = self.acts.acts_N if self._head is not None else self.acts.shut_N > _SEEN
        for n in range(len(acts_N)):
            frame = self._first + n
            if not self._work.wants(frame):
                continue
            mouth = one if one is not None and one.patch.frame == frame else None
            if mouth is not None or acts_N[n]:
                yield self._frame(n, mouth)
            if mouth is not None:
                one = next(mouths, None)

    def _frame(self, n: int, mouth: Rendered | None) -> Rendered:
        picture, shut = self._still, float(self.acts.shut_N[n])
        matte = np.zeros(picture.shape[:2], np.uint8)
        if mouth is not None:
            picture = picture.copy()
            _lay(picture, matte, mouth.patch, self._region)
        if self._eyes is not None and shut > _SEEN:
            before = picture
            picture = picture.copy()
            self._eyes.close(picture, shut)
            for x, y, w, h in self._eyes.boxes:
                here = (slice(y, y + h), slice(x, x + w))
                np.maximum(matte[here], 255 * np.any(picture[here] != before[here], axis=-1), out=matte[here],
                           casting="unsafe")  # fmt: skip
        if self._head is not None and self.acts.acts_N[n]:
            picture = self._head.moved(picture, self.acts.pose_N6[n], float(self.acts.brows_N[n]))
            matte = np.maximum(self._head.matte_HW, matte)
        picture = cv2.bitwise_and(picture, picture, mask=cv2.compare(matte, 0, cv2.CMP_GT))
        patch = Patch(self._first + n, self._region.x, self._region.y, picture, matte)
        return Rendered(patch, float("nan") if mouth is None else mouth.wanted_opening, mouth=mouth is not None)


def _lay(picture_HWC: np.ndarray, matte_HW: np.ndarray, patch: Patch, region: Part) -> None:
    """Lay a patch of the picture into its region, in place."""
    height, width = patch.matte_HW.shape
    left, top = max(patch.x, region.x), max(patch.y, region.y)
    right, below = min(patch.x + width, region.x + region.width), min(patch.y + height, region.y + region.height)
    if right <= left or below <= top:
        return
    there = (slice(top - region.y, below - region.y), slice(left - region.x, right - region.x))
    own = (slice(top - patch.y, below - patch.y), slice(left - patch.x, right - patch.x))
    alpha = np.ascontiguousarray(patch.matte_HW[own])
    share = alpha.astype(np.float32) / 255
    picture_HWC[there] = cv2.blendLinear(
        np.ascontiguousarray(picture_HWC[there]), np.ascontiguousarray(patch.bgr_HWC[own]), 1 - share, share
    )
    matte_HW[there] = alpha


def _face_box(mesh_P3: np.ndarray, picture_wh: tuple[int, int]) -> Part:
    """The smallest even box of the picture around a face with room for patches of its mouth."""
    room = _ROOM * float(np.linalg.norm(mesh_P3[33, :2] - mesh_P3[263, :2]))
    low, high = mesh_P3[:, :2].min(0) - room, mesh_P3[:, :2].max(0) + room
    left, top = (np.maximum(low, 0) // 2 * 2).astype(int).tolist()
    right, below = (np.minimum(np.ceil(high / 2) * 2, np.array(picture_wh) // 2 * 2)).astype(int).tolist()
    return Part(left, top, right - left, below - top)
