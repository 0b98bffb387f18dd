"""Every face of one shot, followed from picture to picture.

Faces are searched for a few times a second; between searches each known face's mesh is fitted in a
square that moves only when it must. Every face has a mesh tracker of its own, which starts without memory,
so a shot's result does not depend on what the worker saw before. The networks know heads that stand upright: those
that lie or hang are shown to them turned by a quarter or a half, and searched for so where no face is followed.
Pictures come one at a time and only the last few are kept. Nothing here is smoothed; it knows no file and no film time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from dubbing.analysis.identity import PORTRAIT_PX, Chips, chip, portrait
from dubbing.analysis.occluders import unwrapped
from dubbing.face import OUTER_LIPS, roll_deg, yaw_deg
from dubbing.media import Picture
from dubbing.mesh import (
    MESH_PX,
    Box,
    Detector,
    Hands,
    Meshes,
    at_mesh_px,
    blank,
    box_back,
    centre,
    inside,
    overlap,
    points_back,
    points_turned,
    turn_of,
    turned,
)  # fmt: skip

__all__ = ["LEAST_CHIP_PX", "Follower", "Found", "box_of"]

SEARCH_PX = 640  # long side of the picture that is searched for faces
_CROP = 2.1  # side of the square that a mesh is fitted in, in face heights
_MIN_SEEN_FRAMES = 6
_MIN_AGREEMENT = 0.3  # part of the searches that must have found a face where the mesh says it is
_MIN_HAND_PX = 64.0  # a smaller face is not dubbed, so hands before it do not matter
_PORTRAIT_EVERY = 4
LEAST_CHIP_PX = 30.0  # of a face's height; of smaller ones no descriptor was measured
_FRONTAL_DEG = 30.0
_TURNED_SCORE = 0.7  # of a face that is found in a turned picture alone


_Seen = tuple[float, Box, int]  # score 0..1, box in the picture, the turn in which it was found


def box_of(mesh_P3: np.ndarray) -> Box:
    """The mesh's bounding box."""
    low, high = mesh_P3[:, :2].min(0), mesh_P3[:, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


@dataclass(eq=False)
class Found:
    """One face of a shot.

    meshes: (478, 3) float32 pixels, by the number of each frame it was seen in; searches, agreed: how
    often the picture was searched while it was followed, and how often a face was found there;
    cover: part of the mouth behind a hand, 0..1, by frame, where that was looked at; skins: the lower face of each
    frame, see `occluders.unwrapped`; portrait_HWC:
    sum of `portraits` aligned pictures, chips: single ones (see `identity`).
    """

    meshes: dict[int, np.ndarray] = field(default_factory=dict)
    searches: int = 0
    agreed: int = 0
    cover: dict[int, float] = field(default_factory=dict)
    skins: dict[int, np.ndarray] = field(default_factory=dict)
    chips: Chips = field(default_factory=Chips)
    portrait_HWC: np.ndarray = field(default_factory=lambda: np.zeros((PORTRAIT_PX, PORTRAIT_PX, 3)))
    portraits: int = 0

    def lasts(self, searches: int) -> bool:
        """Whether it was in sight long enough, and confirmed by enough searches, to be a face.

        searches: how often the whole shot was searched.
        """
        sure = self.agreed >= min(2, searches) and self.agreed >= _MIN_AGREEMENT * self.searches
        return sure and len(self.meshes) >= _MIN_SEEN_FRAMES


@dataclass(eq=False)
class _Face:
    """A face being followed: the square it is looked for in, and what the mesh tracker last saw."""

    found: Found
    model: Any
    box: Box
    turn: int = 0  # quarter turns to the left after which it stands upright
    square: tuple[int, int, int] = (0, 0, 0)
    cut: tuple[int, int, int, int] = (0, 0, 1, 0)  # the square that the last small picture shows, and its turn
    rgb_HWC: np.ndarray = field(default_factory=lambda: np.zeros((MESH_PX, MESH_PX, 3), np.uint8))
    fresh: bool = True  # the square has just moved: what the model remembers lies elsewhere in it
    lost: int = 0  # frames since it was seen
    confirmed: bool = True  # by the last search
    sure: int = -1  # the last frame in which a search confirmed it
    hand_near: bool = False


class Follower:
    """Follows every face through the pictures of one shot, given in order.

    size: (width, height) of the picture; every: frames between two searches for new faces;
    patience: frames that a face may be out of sight before its tracker is given back. A face that
    comes back near its old place continues its old track. shown: called with every picture, in order, and the first
    frame and the mesh of each face that is followed in it, or its last one, when no search looks back at it any more.
    """

    def __init__(
        self, detector: Detector, meshes: Meshes, hands: Hands, size: tuple[int, int], every: int, patience: int,
        shown: Callable[[Picture, list[tuple[int, np.ndarray]]], None] | None = None,
    ) -> None:  # fmt: skip
        self._detector, self._meshes, self._hands = detector, meshes, hands
        self._size, self._every, self._patience, self._shown = size, every, patience, shown
        self._awake: list[_Face] = []
        self._asleep: list[_Face] = []
        self._recent: deque[Picture] = deque(maxlen=max(1, every - 1))
        self._count = 0

    def step(self, picture: Picture) -> None:
        """Follow every face into the next frame."""
        for face in self._awake:
            self._follow(face, picture)
        if self._count % self._every == 0:
            self._search(picture, tiles=self._count % (3 * self._every) == 0)
        self._part(picture.frame)
        if self._count % self._every == 0:
            self._look_for_hands(picture.frame, whole_round=self._count % (2 * self._every) == 0)
        if len(self._recent) == self._recent.maxlen:
            self._show(self._recent[0])
        self._recent.append(picture)
        self._count += 1

    @property
    def known(self) -> list[Found]:
        """Every face met so far, confirmed or not. What is known of the last frames can still change (see `step`)."""
        return [f.found for f in [*self._asleep, *self._awake]]

    def finish(self) -> list[Found]:
        """The faces that were in sight long enough to be kept, once all frames were given."""
        for picture in self._recent:
            self._show(picture)
        for face in self._awake:
            self._meshes.give_back(face.model)
        found = self.known
        self._awake, self._asleep = [], []
        self._recent.clear()
        searches = -(-self._count // self._every)
        return [f for f in found if f.lasts(searches)]

    def _show(self, picture: Picture) -> None:
        if self._shown is None:
            return
        faces = []
        for face in [*self._asleep, *self._awake]:
            meshes = face.found.meshes
            mesh = meshes.get(picture.frame)
            if mesh is None and meshes and face in self._awake:
                mesh = meshes[max(meshes)]  # out of sight for a while
            if mesh is not None:
                faces.append((min(meshes), mesh))
        self._shown(picture, faces)

    # -- one face ----------------------------------------------------------------------------

    def _follow(self, face: _Face, picture: Picture) -> bool:
        """Look for one face where it was. Returns whether it is there."""
        mesh = self._fit(face, picture)
        if mesh is None:
            face.lost += 1
            return False
        if len(face.found.meshes) % _PORTRAIT_EVERY == 0:
            self._portray(face, mesh)
        if face.found.chips.due and np.ptp(mesh[:, 1]) >= LEAST_CHIP_PX:
            one = chip(cv2.cvtColor(face.rgb_HWC, cv2.COLOR_RGB2BGR), self._in_cut(face, mesh))
            face.found.chips.add(picture.frame, float(yaw_deg(mesh[None])[0]), one)
        face.found.meshes[picture.frame] = mesh
        face.found.skins[picture.frame] = unwrapped(face.rgb_HWC, self._in_cut(face, mesh))
        face.box, face.lost = box_of(mesh), 0
        x, y, side = face.square
        size = max(face.box[2:])
        off = np.abs(centre(face.box) - (x + side / 2, y + side / 2)).max()
        turn = turn_of(float(roll_deg(mesh[None])[0]), face.turn)
        if turn != face.turn:
            self._restart(face, face.box, turn)
        elif off > 0.13 * side or not 0.8 < size * _CROP / side < 1.25:
            self._aim(face)
        return True

    def _aim(self, face: _Face, grow: float = 1.0) -> None:
        """Put the square around the face's box."""
        side = max(32, int(max(face.box[2:]) * _CROP * grow) // 2 * 2)
        x, y = centre(face.box) - side / 2
        face.square, face.fresh = (int(x) // 2 * 2, int(y) // 2 * 2, side), True

    def _fit(self, face: _Face, picture: Picture) -> np.ndarray | None:
        rgb = face.rgb_HWC = turned(cv2.cvtColor(self._cut(picture, face.square), cv2.COLOR_BGR2RGB), face.turn)
        face.cut = (*face.square, face.turn)
        points = self._meshes.fit(face.model, rgb)
        if points is not None and face.fresh and face.found.meshes:
            points = self._meshes.fit(face.model, rgb)  # now with its memory in the right place
        if points is None:
            return None
        face.fresh = False
        x, y, side = face.square
        mesh = points_back(points * np.float32(side), (side, side), face.turn)
        mesh[:, :2] += np.array([x, y], np.float32)
        return mesh if self._plausible(box_of(mesh), face) else None

    def _in_cut(self, face: _Face, mesh: np.ndarray) -> np.ndarray:
        """Mesh points (478, 2) in pixels of the face's last small picture, in which it stands upright."""
        x, y, side, turn = face.cut
        return points_turned(mesh[:, :2] - (x, y), (side, side), turn) * (MESH_PX / side)

    def _portray(self, face: _Face, mesh: np.ndarray) -> None:
        if abs(float(yaw_deg(mesh[None])[0])) < _FRONTAL_DEG:
            face.found.portrait_HWC += portrait(face.rgb_HWC, self._in_cut(face, mesh))[..., ::-1]
            face.found.portraits += 1

    def _look_for_hands(self, frame: int, whole_round: bool) -> None:
        """Look for hands at every second search, and at every one while a hand is near the mouth."""
        for face in self._awake:
            mesh = face.found.meshes.get(frame)
            if mesh is None or face.box[3] < _MIN_HAND_PX or not (whole_round or face.hand_near):
                continue
            cover = self._hands.cover(face.rgb_HWC, self._in_cut(face, mesh)[list(OUTER_LIPS)])
            face.found.cover[frame], face.hand_near = cover, cover > 0.0

    def _plausible(self, box: Box, face: _Face) -> bool:
        """Whether a mesh is where the face can be: near its last place, of about its last size."""
        size, last = max(box[2:]), max(face.box[2:])
        slack = 1.0 + 0.1 * min(face.lost, 5)
        near = np.abs(centre(box) - centre(face.box)).max() < 0.5 * slack * last
        same = 1 / (1.6 * slack) < size / last < 1.6 * slack
        width, height = self._size
        inside = -0.2 * size < box[0] and box[0] + box[2] < width + 0.2 * size
        inside = inside and -0.2 * size < box[1] and box[1] + box[3] < height + 0.2 * size
        return bool(near and same and inside and 0.35 < box[2] / box[3] < 1.6)

    def _cut(self, picture: Picture, square: tuple[int, int, int]) -> np.ndarray:
        """The square of the picture, MESH_PX wide; outside the picture its edge is repeated."""
        x, y, side = square
        width, height = self._size
        if x >= 0 and y >= 0 and x + side <= width and y + side <= height and side >= MESH_PX:
            return picture.bgr(box=(x, y, side, side), width=MESH_PX)
        left, top = min(max(x, 0), width - 2), min(max(y, 0), height - 2)
        right, bottom = max(min(x + side, width), left + 2), max(min(y + side, height), top + 2)
        above, below = max(0, top - y), max(0, y + side - bottom)
        before, behind = max(0, left - x), max(0, x + side - right)
        wide, high = right - left, bottom - top
        if side >= 2 * MESH_PX and wide % 2 == high % 2 == 0:  # `at_mesh_px` would halve it: fewer pixels to convert
            part = picture.bgr(box=(left, top, wide, high), width=wide // 2)
            above, below, before, behind = above // 2, below // 2, before // 2, behind // 2
        else:
            part = picture.bgr(box=(left, top, wide, high))
        if above or below or before or behind:
            part = cv2.copyMakeBorder(part, above, below, before, behind, cv2.BORDER_REPLICATE)
        return at_mesh_px(part)

    # -- all faces ---------------------------------------------------------------------------

    def _search(self, picture: Picture, tiles: bool) -> None:
        """Search the whole picture: confirm followed faces, take lost ones up again, start new ones."""
        width, height = self._size
        scale = max(1.0, max(width, height) / SEARCH_PX)
        small = picture.bgr(width=round(width / scale))
        scale = width / small.shape[1]
        turns = sorted({0, *(face.turn for face in self._awake)})
        boxes = [one for turn in turns for one in self._seen(small, turn, scale, tiles and turn == 0)]
        if tiles and not boxes and not self._awake:
            beside = [one for turn in (1, 2, 3) for one in self._seen(small, turn, scale, tiles=False)]
            boxes = [one for one in beside if one[0] >= _TURNED_SCORE]
        boxes = _apart(boxes)
        for face in self._awake:
            mine = next((one for one in boxes if _same_face(one[1], face.box)), None)
            face.confirmed = mine is not None
            if mine is not None:
                boxes.remove(mine)
                if face.lost:
                    self._restart(face, *mine[1:])
                    self._follow(face, picture)
            if not face.lost:
                face.found.searches += 1
                face.found.agreed += face.confirmed
                face.sure = picture.frame if face.confirmed else face.sure
        for _, box, turn in boxes:
            face = self._strayed(box) or self._wake(box) or self._new(box)
            self._restart(face, box, turn)
            if not self._follow(face, picture):
                self._aim(face, grow=0.75)
                self._follow(face, picture)
            face.found.searches += 1
            face.found.agreed += 1
            face.confirmed, face.sure = True, picture.frame
            if not face.lost:
                self._look_back(face)

    def _seen(self, small: np.ndarray, turn: int, scale: float, tiles: bool) -> list[_Seen]:
        """The faces in a picture turned by so many quarters, their boxes in pixels of the film's own."""
        size = (small.shape[1], small.shape[0])
        found = self._detector.find(turned(small, turn), tiles)
        boxes = [(score, box_back(box, size, turn)) for score, box in found]
        return [(score, (x * scale, y * scale, w * scale, h * scale), turn) for score, (x, y, w, h) in boxes]

    def _new(self, box: Box) -> _Face:
        face = _Face(Found(), self._meshes.lend(), box)
        self._awake.append(face)
        return face

    def _strayed(self, box: Box) -> _Face | None:
        """The face whose mesh has slid off to something beside this box, if one has.

        Two faces are never that near, and the mesh has no face under it now: what it said since the
        last time it was confirmed is dropped.
        """
        size = max(box[2:])
        for face in self._awake:
            if not face.confirmed and float(np.linalg.norm(centre(face.box) - centre(box))) < 0.9 * size:
                for frame in [f for f in face.found.meshes if f > face.sure]:
                    del face.found.meshes[frame]
                return face
        return None

    def _restart(self, face: _Face, box: Box, turn: int) -> None:
        blank(face.model)
        face.box, face.turn = box, turn
        self._aim(face)

    def _wake(self, box: Box) -> _Face | None:
        """The lost face whose place and size fit a box best, if any does."""
        size = max(box[2:])
        fits = []
        for face in self._asleep:
            apart = float(np.linalg.norm(centre(face.box) - centre(box))) / size
            if apart < 1.0 and 0.6 < max(face.box[2:]) / size < 1.9:
                fits.append((apart, face))
        if not fits:
            return None
        face = min(fits, key=lambda pair: pair[0])[1]
        self._asleep.remove(face)
        face.model = self._meshes.lend()
        self._awake.append(face)
        return face

    def _look_back(self, face: _Face) -> None:
        """Follow a face that has just been found backwards, to where it appeared."""
        back = _Face(face.found, self._meshes.lend(), face.box, face.turn)
        self._aim(back)
        for picture in reversed(self._recent):
            if picture.frame in face.found.meshes or not self._follow(back, picture):
                break
        self._meshes.give_back(back.model)

    def _part(self, frame: int) -> None:
        """Where two trackers follow one face, the older keeps it. Faces lost for too long give their trackers back."""
        for n, face in enumerate(list(self._awake)):
            rivals = [f for f in self._awake[:n] if f.lost == 0 and _same_face(f.box, face.box)]
            if face.lost == 0 and rivals:
                face.found.meshes.pop(frame, None)
                face.lost = self._patience + 1
            if face.lost > self._patience:
                self._awake.remove(face)
                self._meshes.give_back(face.model)
                face.model = None
                if face.found.meshes:
                    self._asleep.append(face)


def _apart(seen: list[_Seen]) -> list[_Seen]:
    """One of each face: of one that is seen in several turns, the best; where one turn alone was searched, all."""
    if len({turn for *_, turn in seen}) < 2:
        return seen
    kept: list[_Seen] = []
    for one in sorted(seen, key=lambda s: -s[0]):
        if not any(_same_face(one[1], other[1]) for other in kept):
            kept.append(one)
    return kept


def _same_face(a: Box, b: Box) -> bool:
    return overlap(a, b) > 0.4 or inside(a, b)
