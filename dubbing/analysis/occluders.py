"""Whether something lies before a mouth: a microphone, a hand, a cup, hair, a mesh that slid off its face.

The lower face of every frame is unwrapped: sampled at the same places of the mesh, so that lips, beard, chin and cheeks
stay where they are while the head turns and the mouth moves. What is then unlike the face's own usual look there, in
one large piece, is not the face. The usual look is that of the frames in which a place looks most like the skin beside
the nose, and then of all frames without such a piece: a beard looks the same in all, what is held before the face for
most of a shot does not. Light is no sign: each frame is brought to the usual brightness and tone, and a shadow keeps
the hue. What is between the lips is left out. What has no other colour than skin is not seen (hands: `mesh.Hands`),
nor what is there, unmoved, from a track's first frame to its last.

It knows no film and no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dubbing.clock import runs
from dubbing.face import INNER_LIPS, OUTER_LIPS

__all__ = ["ROWS", "COLS", "covered_frames", "lips_outside", "unlike", "unwrapped"]

ROWS, COLS = 36, 44
_STEP = 0.03  # inter-ocular distances from sample to sample
_LEFT, _TOP = -0.66, 0.32  # of the corner, from between the eyes: from below the eyes to the chin
_TONE_ROWS = 12  # rows beside the nose, which are seldom covered
_VISIBLE = 0.15  # of the usual area: triangles that are seen more from the side show what is behind the face
_SKIN_PART = 0.2  # of a track's frames, those in which a place looks most like skin
_HUE = 15.0  # in Lab's a and b: how far two pieces of one face lie apart at most
_DARK, _BRIGHT, _RANGE = 0.55, 0.45, 0.35  # logarithms of the lightness: within the first two it is shadow or shine
_GAIN, _SHIFT = 2.5, 20.0  # most that a frame's lightness and tone are corrected by
_LOOKED_AT = 240  # frames of a track, for the usual look
_ENOUGH = 0.2  # of the frames must be clear for the usual look to be taken from them
# Measured on 34 clips of talking people: beards, glasses, teeth, turned heads stay below 0.045.
_COVERED = 0.05  # part of what is seen of the lower face
_BEGINS = 0.025  # of that part, beside frames in which it is covered
_BESIDE_FRAMES = 2  # before and after: what comes and goes is blurred, or at the edge of the face
_CLOSED_FRAMES = 6  # a face that is free for so short between two is not rendered there

_JAW = (288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58)

# Where the points of the mesh lie on a face that looks straight ahead with its mouth closed, in hundredths of
# inter-ocular distances from between the outer corners of the eyes: right and down. Means over 20 people.
_PLACES = """
0:-1,71 1:1,43 2:0,52 4:1,35 5:0,25 13:-1,79 14:-1,80 17:-1,92 18:0,100 36:-34,39
37:-9,69 39:-17,72 40:-22,75 43:-31,87 50:-54,39 57:-37,80 58:-68,83 61:-27,80 78:-25,80 80:-18,79
81:-13,78 82:-7,79 83:-9,100 84:-9,91 87:-7,80 88:-18,80 91:-22,85 92:-29,66 93:-77,45 95:-21,80
98:-19,50 100:-27,24 101:-38,30 106:-26,92 118:-51,23 119:-37,21 120:-28,18 123:-70,38 126:-19,27 129:-23,42
132:-74,64 135:-54,98 136:-53,108 138:-62,88 140:-26,121 142:-26,33 146:-25,83 147:-68,54 148:-14,131 149:-34,123
150:-43,117 152:0,132 164:0,58 165:-22,61 167:-9,58 171:-14,125 172:-61,97 175:0,126 176:-25,128 177:-73,59
178:-13,80 181:-16,89 182:-18,96 185:-25,77 186:-34,72 187:-60,57 191:-21,79 192:-60,76 194:-22,105 195:1,17
199:0,118 200:0,109 201:-11,108 202:-37,91 203:-29,49 204:-30,99 205:-45,48 207:-51,61 208:-14,118 212:-43,81
213:-66,67 214:-51,84 215:-69,75 216:-41,67 234:-78,28 266:34,39 267:7,69 269:15,72 270:21,75 273:31,86
280:54,39 287:36,79 288:69,82 291:27,80 308:25,80 310:17,79 311:12,79 312:6,79 313:9,100 314:8,92
317:6,80 318:17,80 321:21,86 322:29,66 323:76,45 324:20,80 327:20,50 329:28,24 330:39,29 335:25,91
347:51,22 348:38,21 349:28,18 352:70,38 355:20,27 358:24,42 361:74,63 364:54,97 365:53,107 367:62,88
369:26,120 371:26,33 375:25,83 376:69,53 377:14,131 378:34,122 379:43,116 391:22,61 393:10,58 396:14,125
397:61,97 400:25,127 401:73,59 402:12,80 405:15,89 406:18,96 409:25,78 410:34,72 411:60,56 415:21,79
416:60,75 418:22,104 421:11,108 422:37,90 423:29,49 424:30,98 425:45,48 427:51,61 428:13,117 432:43,81
433:66,67 434:51,83 435:70,74 436:41,67 454:77,27
"""


@dataclass(frozen=True, eq=False)
class _Samples:
    """Where samples are taken: of which points each is which part, and what lies where."""

    points: tuple[int, ...]
    """Points of the mesh, K."""
    triangles_T3: np.ndarray
    """Places in `points`."""
    area_T: np.ndarray
    """Signed, in square inter-ocular distances."""
    triangle_HW: np.ndarray
    """Which triangle a sample lies in; 0 outside of all."""
    weight_SK: np.ndarray
    """float32; a sample is this mean of the points."""
    face_HW: np.ndarray
    """bool: samples of the face."""
    counts_HW: np.ndarray
    """bool: those of them that a patch may touch, and not of what is between the lips."""
    lips_HW: np.ndarray
    """bool: the lips and what is between them."""


@lru_cache(maxsize=1)
def _samples() -> _Samples:
    from scipy.spatial import Delaunay  # slow to load, and every command loads this module

    entries = [entry.split(":") for entry in _PLACES.split()]
    points = tuple(int(point) for point, _ in entries)
    places = np.array([[int(v) for v in place.split(",")] for _, place in entries]) / 100.0
    mesh = Delaunay(places)
    x, y = (start + _STEP * (np.arange(count) + 0.5) for start, count in ((_LEFT, COLS), (_TOP, ROWS)))
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    inside = mesh.find_simplex(grid)
    weight = np.zeros((len(grid), len(points)), np.float32)
    for n in np.flatnonzero(inside >= 0):
        to = mesh.transform[inside[n]]
        first = to[:2] @ (grid[n] - to[2])
        weight[n, mesh.simplices[inside[n]]] = (*first, 1 - first.sum())

    def outline(ring: tuple[int, ...]) -> np.ndarray:
        corners = (places[[points.index(p) for p in ring]] - (_LEFT, _TOP)) / _STEP - 0.5
        mask = np.zeros((ROWS, COLS), np.uint8)
        cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], (1,), shift=4)
        return (mask > 0) & (inside >= 0).reshape(ROWS, COLS)

    def wider(ring: tuple[int, ...]) -> np.ndarray:
        return np.asarray(cv2.dilate(outline(ring).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)

    touched = outline((205, 2, 425, *_JAW))
    area = _areas(places[None], mesh.simplices)[0]
    of = np.maximum(inside, 0).reshape(ROWS, COLS)
    face = (inside >= 0).reshape(ROWS, COLS)
    return _Samples(points, mesh.simplices, area, of, weight, face, touched & ~wider(INNER_LIPS), wider(OUTER_LIPS))


def _areas(points_NK2: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    """Twice the signed area of each triangle in each frame, (N, T)."""
    a, b, c = (points_NK2[:, triangles_T3[:, k]] for k in range(3))
    first, second = b - a, c - a
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def unwrapped(rgb_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """The lower face of one small picture (`mesh.MESH_PX` wide), sampled at the same places of the mesh always: uint8
    (ROWS, COLS, 3), RGB. points_P2: (478, 2) the mesh, pixels of the picture."""
    s = _samples()
    at = s.weight_SK @ points_P2[list(s.points)].astype(np.float32)
    x, y = (np.ascontiguousarray(at[:, k].reshape(ROWS, COLS)) for k in (0, 1))
    return cv2.remap(cv2.blur(rgb_HWC, (3, 3)), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def unlike(skin_NHWC: np.ndarray, mesh_NP3: np.ndarray, picture_wh: tuple[int, int]) -> np.ndarray:
    """How much of the lower face is not the face in each frame of one track: the largest piece, as a part of what can
    be seen, float (N,), 0..1.

    skin_NHWC: as of `unwrapped`; mesh_NP3: (N, 478, 3) pixels of the picture.
    """
    seen_NHW = _visible(mesh_NP3, picture_wh)
    lab_NHWC, skin_C = _evened(np.stack([_lab(skin) for skin in skin_NHWC]), seen_NHW)
    seen_NHW &= _samples().counts_HW
    some = np.linspace(0, len(lab_NHWC) - 1, min(len(lab_NHWC), _LOOKED_AT)).round().astype(int)
    usual_HWC = _usual(lab_NHWC[some], seen_NHW[some], skin_C)
    size_N = np.maximum(seen_NHW.sum((1, 2)), ROWS * COLS / 10)
    for again in (True, False):
        away_NHW = np.where(seen_NHW, _apart(lab_NHWC, usual_HWC), 0.0)
        part_N = np.array([_largest(away_HW > 1.0) for away_HW in away_NHW]) / size_N
        clear_N = part_N < _COVERED
        if not again or clear_N.mean() < _ENOUGH:
            break
        some = some[clear_N[some]]
        of_clear = _median(lab_NHWC[some], seen_NHW[some] & (away_NHW[some] < 1.0))
        usual_HWC = np.where(np.isnan(of_clear), usual_HWC, of_clear)
    return part_N


def _visible(mesh_NP3: np.ndarray, picture_wh: tuple[int, int]) -> np.ndarray:
    """Which samples show the face: turned to the camera, and in the picture, bool (N, H, W)."""
    s = _samples()
    points = mesh_NP3[:, list(s.points), :2]
    open_NT = _areas(points, s.triangles_T3) / s.area_T
    usual_N1 = np.quantile(open_NT, 0.9, axis=1)[:, None]
    facing = (open_NT > _VISIBLE * usual_N1)[:, s.triangle_HW]
    at = (s.weight_SK @ points).reshape(len(points), ROWS, COLS, 2)
    return np.asarray(facing & s.face_HW & (at >= 0).all(-1) & (at <= np.array(picture_wh) - 1).all(-1))


def _lab(rgb_HWC: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(rgb_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return cv2.GaussianBlur(lab, (0, 0), 0.8)


def _evened(lab_NHWC: np.ndarray, seen_NHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every frame with the track's usual lightness and tone of the skin beside the nose; and these, (3,)."""
    beside = seen_NHW & ~_samples().lips_HW
    beside[:, _TONE_ROWS:] = False
    tone = np.stack([np.median(lab[at], 0) if at.sum() >= 20 else np.full(3, np.nan)
                     for lab, at in zip(lab_NHWC, beside, strict=True)])  # fmt: skip
    known = ~np.isnan(tone[:, 0])
    usual = np.median(tone[known] if known.any() else lab_NHWC.reshape(len(tone), -1, 3).mean(1), 0)
    tone = np.where(np.isnan(tone), usual, tone)
    gain = np.clip(usual[0] / np.maximum(tone[:, 0], 1.0), 1 / _GAIN, _GAIN)
    shift = np.clip(usual[1:] - tone[:, 1:], -_SHIFT, _SHIFT)
    out = lab_NHWC.copy()
    out[..., 0] *= gain[:, None, None]
    out[..., 1:] += shift[:, None, None]
    return out, usual


def _usual(lab_NHWC: np.ndarray, seen_NHW: np.ndarray, skin_C: np.ndarray) -> np.ndarray:
    """What each place looks like where it looks most like skin, (H, W, 3); NaN where it never shows."""
    away = np.where(seen_NHW, _apart(lab_NHWC, np.broadcast_to(skin_C, lab_NHWC.shape[1:])), np.inf)
    count = np.maximum(1, np.ceil(_SKIN_PART * seen_NHW.sum(0))).astype(int)
    limit = np.take_along_axis(np.sort(away, 0), count[None] - 1, 0)
    return _median(lab_NHWC, seen_NHW & (away <= limit))


def _median(lab_NHWC: np.ndarray, counts_NHW: np.ndarray) -> np.ndarray:
    """The median over the frames that count at each place, (H, W, 3), NaN where none does."""
    values = np.where(counts_NHW[..., None], lab_NHWC, np.inf)
    values.sort(axis=0)
    count = counts_NHW.sum(0)
    middle = (np.maximum(count, 1) - 1) // 2
    found = np.take_along_axis(values, middle[None, :, :, None], 0)[0]
    return np.where(count[..., None] > 0, found, np.nan)


def _apart(lab_NHWC: np.ndarray, usual_HWC: np.ndarray) -> np.ndarray:
    """How far each sample is from the usual look: above 1 it is something else; 0 where nothing is known."""
    light = np.maximum(lab_NHWC[..., 0], 3.0)
    usual = np.maximum(usual_HWC[..., 0], 3.0)
    ratio = light / usual
    hue = np.linalg.norm(lab_NHWC[..., 1:] - usual_HWC[..., 1:] * np.clip(ratio, 0.3, 1.5)[..., None], axis=-1)
    step = np.log(ratio)
    dark, bright = np.maximum(0, -step - _DARK), np.maximum(0, step - _BRIGHT)
    return np.nan_to_num(np.sqrt((hue / _HUE) ** 2 + (dark / _RANGE) ** 2 + (bright / _RANGE) ** 2))


def _largest(mask_HW: np.ndarray) -> int:
    """The size of the largest piece that is more than a line."""
    solid = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    _, _, about, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    return int(about[1:, cv2.CC_STAT_AREA].max(initial=0))


def covered_frames(part_N: np.ndarray, frames_N: np.ndarray) -> np.ndarray:
    """Frames from the first to the last in which the mouth counts as covered, bool.

    part_N: as of `unlike`; frames_N: the increasing numbers of its frames. Two of three frames running must say so; a
    gap in which the face was not seen is covered where the frames beside it are.
    """
    count = int(frames_N[-1] - frames_N[0]) + 1
    here = frames_N - frames_N[0]
    middle = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(part_N, 1, "edge"), 3), axis=1)
    perhaps = np.ones(count, bool)
    perhaps[here] = middle > _BEGINS
    sure = np.zeros(count, bool)
    sure[here] = middle > _COVERED
    covered = np.zeros(count, bool)
    for a, b in runs(perhaps):
        if sure[a:b].any():
            covered[max(0, a - _BESIDE_FRAMES) : b + _BESIDE_FRAMES] = True
    for a, b in runs(~covered):
        if 0 < a and b < count and b - a <= _CLOSED_FRAMES:
            covered[a:b] = True
    return covered


def lips_outside(mesh_NP3: np.ndarray, picture_wh: tuple[int, int]) -> np.ndarray:
    """Frames in which a part of the lips lies beyond the picture's edge, bool (N,)."""
    lips = mesh_NP3[:, list(OUTER_LIPS), :2]
    return np.asarray(((lips < 0) | (lips > np.array(picture_wh))).any((1, 2)))
