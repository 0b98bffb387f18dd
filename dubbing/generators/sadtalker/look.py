"""What SadTalker's networks see of a picture: the crop about a head, and its coefficients in a 3D face model.

The published code finds 68 points; here they come from the mesh: the same corners of the eyes and of the mouth, the tip
of the nose. A crop is made smaller by areas where it is much larger than the network's picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dubbing import media, mesh
from dubbing.errors import MediaError
from dubbing.generators.paste import cut
from dubbing.networks.sadtalker import alignment, crop
from dubbing.networks.sadtalker.windows import FPS

if TYPE_CHECKING:
    from dubbing.networks.sadtalker.run import SadTalker

__all__ = ["Looked", "film", "look", "region"]

_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))  # left and right in the picture
_CORNERS = ((33, 133), (362, 263))
_NOSE, _MOUTH = 1, (61, 291)
_LEAST = 16.0  # px of a crop
_MINUTE = 60 * FPS  # of a reference film
_ROOM = 0.4  # of a face, around it, where it is looked for in the next picture


@dataclass(frozen=True, eq=False)
class Looked:
    """A head as the networks see it. rgb_HWC: uint8 (S, S, 3); coefficients: float32 (73,): expression 64, pose 6,
    scale and place of the face 3."""

    rgb_HWC: np.ndarray
    coefficients: np.ndarray


def region(mesh_P2: np.ndarray, picture_wh: tuple[int, int], inner: bool) -> np.ndarray:
    """The rectangle about a head that is drawn, float64 (4,): left, top, right, bottom in pixels of the picture.

    mesh_P2: (478, 2) pixels; inner: the smaller of both that the published code knows.
    """
    points = np.asarray(mesh_P2, np.float64)
    left, right = (points[list(eye)].mean(0) for eye in _EYES)
    found = crop.crop_of(left, right, points[list(_MOUTH)].mean(0), picture_wh)
    back = np.array(picture_wh) / found.shrunk
    box = np.array(found.region(inner), np.float64).reshape(2, 2) * back
    low, high = np.clip(box[0], 0, None), np.minimum(box[1], picture_wh)
    if (high - low).min() < _LEAST:  # a mesh that is no face, or at the very edge
        centre = np.clip(points.mean(0), _LEAST / 2, np.array(picture_wh) - _LEAST / 2)
        low, high = centre - _LEAST / 2, centre + _LEAST / 2
    return np.concatenate([low, high])


def look(
    net: SadTalker, heads: Sequence[tuple[np.ndarray, tuple[int, int], np.ndarray, np.ndarray]], side: int
) -> list[Looked]:
    """Heads as the networks see them.

    heads: for each, a part of a picture as BGR uint8, its corner in the picture, the region about the head, and the
    mesh (478, 2) in pixels of the picture; side: of the network's picture.
    """
    pictures, faces, places = [], [], []
    for part_HWC, corner, box_4, mesh_P2 in heads:
        rgb = np.ascontiguousarray(cut(part_HWC, corner, box_4, (side, side))[..., ::-1])
        points = np.asarray(mesh_P2, np.float64)
        five = np.stack([*(points[list(eye)].mean(0) for eye in _CORNERS), points[_NOSE], *points[list(_MOUTH)]])
        five = (five - box_4[:2]) * side / (box_4[2:] - box_4[:2]) - 0.5  # of pixels, whose middles are whole here
        five[:, 1] = side - 1 - five[:, 1]
        at = alignment.place_of(five, net.mean_face)
        at = at._replace(scale=float(np.clip(at.scale, 0.1, 10)))
        pictures.append(rgb)
        faces.append(alignment.aligned(rgb, at)[0])
        places.append(at)
    found = net.coefficients_of(faces)
    return [
        Looked(rgb, np.concatenate([own, np.array(at, np.float32)]))
        for rgb, own, at in zip(pictures, found, places, strict=True)
    ]


def film(net: SadTalker, path: Path, inner: bool, side: int) -> np.ndarray:
    """Coefficients of the largest face of a film 25 times a second, float32 (T, 73), of its first minute.

    Where the face is lost the last ones hold. Raises MediaError: no film, or no face in it.
    """
    timeline = media.timeline(path)
    begins, ends = timeline.time(0), timeline.time(len(timeline))
    wanted = [begins + n * (ends - begins) / max(1, round((ends - begins) * FPS)) for n in range(_MINUTE)]
    detector, meshes = mesh.Detector(), mesh.Meshes()
    tracker: mesh.MeshTracker | None = None
    found: list[np.ndarray] = []
    seen: np.ndarray | None = None
    try:
        for picture in media.read(path, timeline, threads=1):
            shown_until = timeline.time(picture.frame + 1)
            count = 0
            while len(found) + count < _MINUTE and wanted[len(found) + count] < min(shown_until, ends):
                count += 1
            if len(found) >= _MINUTE:
                break
            if not count:
                continue
            bgr = picture.bgr()
            if seen is None:
                if tracker is not None:
                    tracker.close()
                tracker = mesh.MeshTracker(meshes)
            assert tracker is not None
            seen = _found(bgr, seen, detector, tracker)
            if seen is not None:
                box = region(seen, picture.size, inner)
                (one,) = look(net, [(bgr, (0, 0), box, seen)], side)
                found += [one.coefficients] * count
            elif found:
                found += [found[-1]] * count
    finally:
        if tracker is not None:
            tracker.close()
        meshes.close()
        detector.close()
    if not found:
        raise MediaError(f"{str(path)!r} shows no face in its first minute: name a film of one face for a reference.")
    return np.stack(found)


def _found(
    bgr_HWC: np.ndarray, before: np.ndarray | None, detector: mesh.Detector, tracker: mesh.MeshTracker
) -> np.ndarray | None:
    """The mesh (478, 2) of the largest face, looked for where it was, or anew."""
    height, width = bgr_HWC.shape[:2]
    if before is None:
        boxes = [box for _, box in detector.find(bgr_HWC, tiles=True)]
        if not boxes:
            return None
        x, y, w, h = max(boxes, key=lambda box: box[2] * box[3])
    else:
        x, y = before.min(0)
        w, h = np.ptp(before, axis=0)
    left, top = max(0, int(x - _ROOM * w)), max(0, int(y - _ROOM * h))
    part = bgr_HWC[top : min(height, int(y + h + _ROOM * h)), left : min(width, int(x + w + _ROOM * w))]
    points = tracker.find(np.ascontiguousarray(part)) if part.size else None
    return None if points is None else points[:, :2].astype(np.float64) + (left, top)
