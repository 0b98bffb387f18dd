"""Text, logos and timecode that were burned into the picture over a face, found by standing still.

What is burned in keeps its place in the picture to the pixel while a face moves beneath it. So each pixel's gradient is
followed through a stretch of film twice: at its place in the picture, and at its place on the face (the pictures moved
so that the face stands still). Of what is drawn on the picture the first stays the same and the second does not; of a
face it is the other way round. (That a watermark's gradients stay where everything else changes: Dekel and others
2017, "On the effectiveness of visible watermarks".) Where a face hardly moves both stay the same, and nothing is
claimed: nostrils, glasses, beards and collars stand as still as letters then.

Running digits change in place: they are kept with the plate, or with the row of letters, that they belong to. It knows
no film and no shot: it is given small grey pictures, and says where something lies before the face, and when. A hand or
a microphone that does not move at all is found too; letters beside the face, on neck or chest, only where they join
letters on the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from dubbing.records import Track

__all__ = ["SAMPLES_HZ", "THIN", "Cover", "Search", "around"]

SAMPLES_HZ = 10
"""Pictures a second that are looked at."""
_HOP_S, _HOPS = 0.5, 16  # of a group of pictures, and how many a group has
_SPANS = (2, 4, 16)  # hops that are judged together
_OVERLAP = 4  # hops that neighbouring groups share
_LEAST_SAMPLES, _ENOUGH_SAMPLES = 8, 25
_FACE_PX = 300.0  # height that a larger face is made smaller to
_STILL = 0.88  # of a gradient's energy: what is drawn
_MOVES = 0.6  # of its energy on the face: what is lost at least, and six times what is lost in the picture
_TIMES = 6.0
_STRONG = 4.0  # grey levels a pixel
_FACE_BETTER = 1.25  # by how much more of the face's edges must stay on the face than in the picture
_HERE = 0.25  # of the pictures in which a place must lie in the face
_LEAST = 0.012  # square eye distances of edges; of clips without letters see LOG
_OPAQUE = 12.0  # grey levels a pixel of edges that nothing shines through
_LEAST_EYE_PX = 12.0
_MOST_PX = 1_000_000  # of a picture that is looked at
THIN = 0.03
"""`Cover.edges` below which the evidence is thin."""
_MUCH = 0.05  # of so many edges that it need not be more
_ALIKE = 0.55  # correlation with the edges found, of a picture that has them
# from ear to ear through the chin; then back under the eyes, or under the nose
_JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
_OUTLINE, _LOWER = (*_JAW, 347, 6, 118), (*_JAW, 425, 2, 205)
_EYES = (33, 263)


@dataclass(frozen=True, eq=False)
class Cover:
    """Something before a face that is no part of the scene.

    start, end: frames [start, end) of the title; x, y: top left in the upright picture; mask_HW: bool, what it covers,
    spaces inside letters included; edges: area of its edges on the face, in square eye distances; given: whether a
    person said it, else it was found.
    """

    start: int
    end: int
    x: int
    y: int
    mask_HW: np.ndarray
    edges: float
    given: bool = False


class Search:
    """Looks at one face through a shot. Memory does not grow with its length.

    track: the face; picture_wh: the upright picture's size; rate_hz: nominal frames a second. Of every picture of
    `frames` give it, in order, the `parts` that it asks for, in grey; then `finish`.
    """

    def __init__(self, track: Track, picture_wh: tuple[int, int], rate_hz: float) -> None:
        count = len(track.frames_N)
        step = max(1, min(round(rate_hz / SAMPLES_HZ), count // _LEAST_SAMPLES))
        self._track, self._step = track, step
        self._hop = max(1, round(_HOP_S * rate_hz / step))
        mesh_NP2 = track.mesh_NP3[..., :2]
        self._eye = float(np.median(np.linalg.norm(mesh_NP2[:, _EYES[0]] - mesh_NP2[:, _EYES[1]], axis=-1)))
        self._scale = min(1.0, _FACE_PX / max(track.height_px, 1.0))
        fine = self._eye * self._scale >= _LEAST_EYE_PX
        samples = np.arange(0, count, step) if fine and count >= _LEAST_SAMPLES else np.zeros(0, int)
        self._groups = [_Group(self._look(samples[a:b], picture_wh)) for a, b in self._parts(len(samples))]
        self.frames = frozenset((samples + track.start_frame).tolist())
        self._found: list[Cover] = []

    def _parts(self, samples: int) -> list[tuple[int, int]]:
        """Groups of samples [a, b), which overlap."""
        size, ahead = self._hop * _HOPS, self._hop * (_HOPS - _OVERLAP)
        starts = range(0, max(1, samples - self._hop * _OVERLAP), ahead)
        return [(a, min(a + size, samples)) for a in starts if samples]

    def _look(self, at_K: np.ndarray, picture_wh: tuple[int, int]) -> _Look:
        """What is looked at in the pictures of a group."""
        mesh_KP2 = self._track.mesh_NP3[at_K][..., :2]
        low, high = around(mesh_KP2, eye_px=self._eye)
        limit = np.array(picture_wh) // 2 * 2
        low = np.clip(low, 0, limit - 2).astype(int)
        wide = np.maximum(np.minimum(high, limit).astype(int) - low, 2)
        scale = min(self._scale, float(np.sqrt(_MOST_PX / (wide[0] * wide[1]))))
        small = np.maximum(np.rint(wide * scale), 2).astype(int)
        local_KP2 = (mesh_KP2 + 0.5 - low) * (small / wide) - 0.5
        box = (int(low[0]), int(low[1]), int(wide[0]), int(wide[1]))
        return _Look(at_K, box, (int(small[0]), int(small[1])), local_KP2.astype(np.float32), self._eye * scale)

    def boxes(self, frame: int) -> list[tuple[int, int, int, int]]:
        """The parts (x, y, width, height) of a picture that are looked at: even numbers, inside the picture."""
        return [g.look.box for g in self._of(frame)]

    def add(self, frame: int, parts: Sequence[np.ndarray]) -> None:
        """Take the `boxes` of a picture, grey, uint8 (H, W)."""
        for group, part_HW in zip(self._of(frame), parts, strict=True):
            group.pictures.append(cv2.resize(part_HW, group.look.size_wh, interpolation=cv2.INTER_AREA))
            if len(group.pictures) == len(group.look.at_K):
                self._found += self._judged(group)
                group.pictures.clear()

    def finish(self) -> list[Cover]:
        """What was found, in the order of its frames."""
        return sorted(self._found, key=lambda c: (c.start, c.end))

    def _of(self, frame: int) -> list[_Group]:
        n = frame - self._track.start_frame
        return [g for g in self._groups if g.look.at_K[0] <= n <= g.look.at_K[-1]]

    def _judged(self, group: _Group) -> list[Cover]:
        """What lies before the face in the pictures of a group."""
        look = group.look
        count = len(look.at_K)
        reference_P2 = look.mesh_KP2.mean(0)
        edges = [*range(0, count - self._hop + 1, self._hop), count]
        if len(edges) < 2:
            edges = [0, count]
        parts = [_followed(group, reference_P2, a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        sizes = sorted({min(size, len(parts)) for size in _SPANS})
        spans = [(n, n + size) for size in sizes for n in range(len(parts) - size + 1)]
        covers: list[Cover] = []
        for a, b in spans:
            sums = _Sums.of(parts[a:b])
            if sums.count < _LEAST_SAMPLES:
                continue
            found = _drawn(sums, look.eye_px)
            if found is None:
                continue
            drawn_HW, mask_HW, area = found
            joined = _closed(
                mask_HW, 0.5 * look.eye_px, 0.25 * look.eye_px
            )  # each line of text comes and goes by itself
            count, labels = cv2.connectedComponents(joined.astype(np.uint8))
            for n in range(1, count):
                own = drawn_HW & (labels == n)
                if own.any():
                    first, last = self._present(group, sums, own, edges[a], edges[b])
                    covers.append(self._cover(look, mask_HW & (labels == n), first, last, area))
        return covers

    def _present(self, group: _Group, sums: _Sums, drawn_HW: np.ndarray, a: int, b: int) -> tuple[int, int]:
        """The samples [a, b) of a group that have these edges, and their neighbours that have them too."""
        there = sums.still_2HW[:, drawn_HW].ravel()
        size = float(np.linalg.norm(there))

        def has(k: int) -> bool:
            here = np.concatenate([one_HW[drawn_HW] for one_HW in _gradient(group.pictures[k])])
            return float(here @ there) > _ALIKE * size * max(float(np.linalg.norm(here)), 1e-6)

        while a > 0 and has(a - 1):
            a -= 1
        while b < len(group.pictures) and has(b):
            b += 1
        return a, b

    def _cover(self, look: _Look, mask_HW: np.ndarray, a: int, b: int, area: float) -> Cover:
        """In frames and pixels of the film. Between two samples the nearer one counts for neither: both do."""
        first, last = int(look.at_K[a]), int(look.at_K[b - 1])
        count = len(self._track.frames_N)
        first = max(0, first - self._step + 1) if first else 0
        last = min(count, last + self._step)
        x, y, width, height = look.box
        large = cv2.resize(mask_HW.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR) > 60
        rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
        part = large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        start = self._track.start_frame
        return Cover(start + first, start + last, x + int(columns[0]), y + int(rows[0]), part, round(area, 4))


def around(mesh_KP2: np.ndarray, room: float = 0.0, eye_px: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The corners, even, of what is looked at of a face in some pictures: its outline below the eyes and what is beside
    it. mesh_KP2: (K, 478, 2) pixels; room: more beside it, in distances of its eyes; eye_px: that distance, where it is
    another than in these."""
    points = mesh_KP2[:, list(_OUTLINE + _EYES)].reshape(-1, 2)
    if eye_px is None:
        eye_px = float(np.linalg.norm(mesh_KP2[:, _EYES[0]] - mesh_KP2[:, _EYES[1]], axis=-1).max())
    low = np.floor((points.min(0) - (0.4 + room) * eye_px) / 2) * 2
    high = np.ceil((points.max(0) + (np.array([0.4, 0.7]) + room) * eye_px) / 2) * 2
    return low, high


@dataclass(frozen=True, eq=False)
class _Look:
    """What is looked at in some pictures of one face: numbers in the track, the part of the picture, the size that it
    is brought to, the meshes in pixels of that, and the distance of the eyes there."""

    at_K: np.ndarray
    box: tuple[int, int, int, int]
    size_wh: tuple[int, int]
    mesh_KP2: np.ndarray
    eye_px: float


@dataclass(frozen=True, eq=False)
class _Group:
    """Pictures that are judged together."""

    look: _Look
    pictures: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over pictures. still: gradients at their place in the picture, and their squares; moved: the same at their
    place on the face; face, lower: in how many pictures a place lies in the face, and in what a take may change."""

    count: int
    still_2HW: np.ndarray
    still_HW: np.ndarray
    moved_2HW: np.ndarray
    moved_HW: np.ndarray
    face_HW: np.ndarray
    lower_HW: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[_Sums]) -> _Sums:
        """Those of several stretches together."""
        first, *rest = parts
        whole = [one.copy() for one in first.planes]
        for part in rest:
            for one, more in zip(whole, part.planes, strict=True):
                one += more
        return cls(sum(part.count for part in parts), *whole)

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        """All but the count."""
        return self.still_2HW, self.still_HW, self.moved_2HW, self.moved_HW, self.face_HW, self.lower_HW


def _gradient(picture_HW: np.ndarray) -> list[np.ndarray]:
    """Across and down, grey levels a pixel, float32 (H, W) each."""
    soft = cv2.GaussianBlur(picture_HW, (0, 0), 0.8)
    return [cv2.Sobel(soft, cv2.CV_32F, *d, ksize=3, scale=1 / 8) for d in ((1, 0), (0, 1))]


def _followed(group: _Group, reference_P2: np.ndarray, a: int, b: int) -> _Sums:
    """The sums of pictures [a, b) of a group."""
    look = group.look
    width, height = look.size_wh
    still_2HW, moved_2HW = np.zeros((2, 2, height, width), np.float32)
    still_HW, moved_HW, face_HW, lower_HW = np.zeros((4, height, width), np.float32)
    fixed = list(_OUTLINE + _EYES)
    for k in range(a, b):
        picture, mesh_P2 = group.pictures[k], look.mesh_KP2[k]
        move = _affine(reference_P2[fixed], mesh_P2[fixed])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        on_face = cv2.warpAffine(picture, move, look.size_wh, flags=how, borderMode=cv2.BORDER_REPLICATE)
        for shown, sum_2HW, sum_HW in ((picture, still_2HW, still_HW), (on_face, moved_2HW, moved_HW)):
            for gradient_HW, one_HW in zip(_gradient(shown), sum_2HW, strict=True):
                cv2.accumulate(gradient_HW, one_HW)
                cv2.accumulateSquare(gradient_HW, sum_HW)
        for outline, sum_HW in ((_OUTLINE, face_HW), (_LOWER, lower_HW)):
            face = np.zeros((height, width), np.uint8)
            cv2.fillPoly(face, [np.rint(mesh_P2[list(outline)]).astype(np.int32)], (1,))
            sum_HW += cv2.erode(face, np.ones((5, 5), np.uint8))
    return _Sums(b - a, still_2HW, still_HW, moved_2HW, moved_HW, face_HW, lower_HW)


def _squares(sum_2HW: np.ndarray) -> np.ndarray:
    """The squared length of what points across and down, (H, W)."""
    return np.asarray(sum_2HW[0] ** 2 + sum_2HW[1] ** 2)


def _affine(from_P2: np.ndarray, to_P2: np.ndarray) -> np.ndarray:
    """The affine map of least squares, float64 (2, 3)."""
    points = np.concatenate([from_P2, np.ones((len(from_P2), 1))], 1)
    return np.ascontiguousarray(np.linalg.lstsq(points, to_P2.astype(np.float64), rcond=None)[0].T)


def _drawn(sums: _Sums, eye: float) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Edges that were drawn on the picture over the face, all that belongs to them, both bool (H, W), and the area of
    those on the face in square eye distances; None where there are none.

    eye: distance of the eyes in pixels.
    """
    power = np.maximum(sums.still_HW / sums.count, 1e-6)
    still = _squares(sums.still_2HW) / sums.count**2 / power
    on_face = _squares(sums.moved_2HW) / sums.count**2 / np.maximum(sums.moved_HW / sums.count, 1e-6)
    strong = np.sqrt(power)
    lost = 1 - on_face
    drawn = (still > _STILL) & (strong > _STRONG) & (lost > _MOVES) & (lost > _TIMES * (1 - still))
    inside = sums.lower_HW >= _HERE * sums.count
    seeds = drawn & inside
    area = float(seeds.sum()) / eye**2
    least = _LEAST * max(1.0, _ENOUGH_SAMPLES / sums.count)  # a face, too, may stand for a second
    if area < least or _followed_face(sums, drawn) < (_FACE_BETTER if area < _MUCH else 1.0):
        return None
    faint, opaque = (drawn & (strong >= low) & (strong < high) for low, high in ((_STRONG, _OPAQUE), (_OPAQUE, 1e9)))
    letters, mask = np.zeros((2, *drawn.shape), bool)
    for edges, solid in ((faint, False), (opaque, True)):
        joined = _closed(edges, 0.12 * eye, 0.06 * eye)
        count, labels = cv2.connectedComponents(joined.astype(np.uint8))
        in_each = np.bincount(labels[seeds & edges], minlength=count)
        in_each[0] = 0
        if in_each.max() < 0.2 * least * eye**2:
            continue
        kept = edges & np.isin(labels, np.flatnonzero(in_each >= 0.05 * least * eye**2))
        letters |= kept
        mask |= _row(kept, strong, eye) if solid else _closed(kept, 0.1 * eye, 0.1 * eye)
    if (letters & seeds).sum() < least * eye**2:
        return None
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return letters, mask, float((letters & seeds).sum()) / eye**2


def _row(letters_HW: np.ndarray, strong_HW: np.ndarray, eye: float) -> np.ndarray:
    """Solid letters or a plate with all between its edges, and what runs beside it: digits change in place, so their
    edges do not stand, but are as strong, in the same rows. bool (H, W)."""
    whole = np.zeros_like(letters_HW)
    rows_H = letters_HW.any(1)
    typical = float(np.median(strong_HW[letters_HW]))
    count, bands = cv2.connectedComponents(np.repeat(rows_H[:, None], 2, 1).astype(np.uint8))
    for n in range(1, count):
        rows = np.flatnonzero(bands[:, 0] == n)
        row = np.zeros_like(letters_HW)
        row[rows[0] : rows[-1] + 1] = True
        mine = letters_HW & row
        if len(rows) > 1.2 * eye:  # no row of letters
            whole |= _closed(mine, 0.1 * eye, 0.1 * eye)
            continue
        beside = _closed(mine | ((strong_HW > max(_OPAQUE, 0.4 * typical)) & row), 0.3 * eye, 0.3 * eye) & row
        _, parts = cv2.connectedComponents(beside.astype(np.uint8))
        whole |= _filled(np.isin(parts, np.unique(parts[mine])) & beside)
    return whole


def _followed_face(sums: _Sums, drawn_HW: np.ndarray) -> float:
    """By how much more of the face's own edges, those of `drawn` and their neighbours left out, stay on the face than
    in the picture. About 1 where it hardly moves: nothing can be told then from what stands still."""
    others = (sums.face_HW > 0.6 * sums.count) & ~(cv2.dilate(drawn_HW.astype(np.uint8), np.ones((7, 7))) > 0)
    on_face, still = (float(_squares(both)[others].sum()) for both in (sums.moved_2HW, sums.still_2HW))
    return on_face / max(still, 1e-9)


def _closed(mask_HW: np.ndarray, width: float, height: float) -> np.ndarray:
    """With gaps up to that size filled."""
    size = (max(1, round(width)), max(1, round(height)))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, size)
    room = max(size)
    wide = cv2.copyMakeBorder(mask_HW.astype(np.uint8), room, room, room, room, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed[room:-room, room:-room] > 0)


def _filled(mask_HW: np.ndarray) -> np.ndarray:
    """With holes filled."""
    outlines, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(mask_HW.astype(np.uint8), outlines, -1, (1,), cv2.FILLED) > 0)
