"""What each system of the literature sees of a portrait, and what of it is put back: docs/literature.jpg.

    python -m bench.literature [--out docs/literature.jpg]

Above: the demo's portrait, with the box that the system looks at, and in orange what a patch of it may change. Below:
the box as its network gets it, at the network's size. No weights are needed, and nothing is drawn by a network. The
built-in generator has what it makes of the portrait before it speaks instead: neutral, and happy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dubbing.demo.portrait import photograph, portrait
from dubbing.expression import Look, create
from dubbing.generators.latentsync.plan import hole
from dubbing.generators.lipgan import square_boxes
from dubbing.generators.musetalk import mesh_matte
from dubbing.generators.paste import Place, cut, enlarged, matte, places, raised
from dubbing.generators.sadtalker.head import side_matte
from dubbing.generators.sadtalker.look import region
from dubbing.generators.square import steady_boxes
from dubbing.networks.latentsync import alignment, mask
from dubbing.networks.musetalk.box import boxes_of_mesh

__all__ = ["main", "panels"]

HEIGHT = 300  # px of a panel
_CROP = 300  # px of the portrait that are shown
_ORANGE = np.array([40.0, 140.0, 255.0])


def panels() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Each system's name, the portrait with its box and patch, and what its network sees; uint8 BGR."""
    face = portrait()
    still, mesh_P3 = photograph("astronaut.png"), face.mesh
    height, width = still.shape[:2]
    mesh_N3 = mesh_P3[None]
    mesh_P2 = mesh_P3[:, :2]
    found = []
    s3fd = raised(steady_boxes(mesh_N3, 1), mesh_P2[None])
    dlib = raised(square_boxes(mesh_N3), mesh_P2[None])
    for name, boxes, size, black in (
        ("wav2lip, spt_wav2lip 96x96", s3fd, (96, 96), True),
        ("lipgan 96x96", dlib, (96, 96), True),
        ("speech_gan 96x128", s3fd, (96, 128), False),
    ):
        (place,) = places(boxes, (width, height))
        seen = cut(still, (0, 0), boxes[0], size)
        if black:
            seen[size[1] // 2 :] = 0
        found.append((name, _shown(still, boxes[0], place, matte(mesh_P2, boxes[0], place)), seen))
    box = boxes_of_mesh(mesh_N3, 0.0, 10.0)[0]
    (place,) = places(box[None], (width, height))
    seen = cut(still, (0, 0), box, (256, 256))
    seen[128:] = 0
    found.append(("musetalk 256x256", _shown(still, box, place, mesh_matte(mesh_P2, box, place, "jaw")), seen))
    matrix = alignment.Matrices(256).of(alignment.mesh_points(mesh_P2))
    move = alignment.to_square(matrix, 256)
    (place,) = places(s3fd, (width, height))
    alpha = matte(mesh_P2, s3fd[0], place) * np.clip(enlarged(hole(256), move, place), 0, 1)
    corners = np.array([[0, 0, 1], [255, 255, 1]]) @ cv2.invertAffineTransform(move).T
    seen = alignment.square_of(still, matrix, 256)
    seen[mask.kept(256) < 0.5] = 127
    found.append(("latentsync 512x512", _shown(still, corners.ravel(), place, alpha), seen))
    box = region(mesh_P2, (width, height), inner=True)
    x, y = (int(v) // 2 * 2 for v in box[:2])
    place = Place(x, y, *(int(v) // 2 * 2 for v in np.minimum(box[2:] + 1, (width, height)) - (x, y)))
    seen = cut(still, (0, 0), box, (256, 256))
    found.append(("sadtalker 256x256", _shown(still, box, place, side_matte(box, place, (width, height))), seen))
    for name in ("neutral", "happy"):
        edited = create(Look(True, name, 1.0, "mesh")).edit(still, mesh_P3)
        low, high = mesh_P2.min(0) - 20, mesh_P2.max(0) + 20
        seen = cut(edited.bgr_HWC, (0, 0), np.concatenate([low, high]), (256, 300))
        found.append((f"rewrite, {name}", edited.bgr_HWC, seen))
    return found


def _shown(still: np.ndarray, box_4: np.ndarray, place: Place, alpha_HW: np.ndarray) -> np.ndarray:
    out = still.astype(np.float64)
    part = out[place.y : place.y + place.height, place.x : place.x + place.width]
    part += (_ORANGE - part) * (0.45 * alpha_HW[..., None])
    picture = np.rint(out).astype(np.uint8)
    left, top, right, bottom = (round(float(v)) for v in box_4)
    cv2.rectangle(picture, (left, top), (right, bottom), (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _scaled(picture: np.ndarray, size_wh: tuple[int, int], how: int) -> np.ndarray:
    """A picture inside a size, in the middle of grey."""
    height, width = picture.shape[:2]
    times = min(size_wh[0] / width, size_wh[1] / height)
    small = cv2.resize(picture, (round(width * times), round(height * times)), interpolation=how)
    out = np.full((size_wh[1], size_wh[0], 3), 235, np.uint8)
    y, x = (size_wh[1] - small.shape[0]) // 2, (size_wh[0] - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/literature.jpg"))
    args = parser.parse_args()
    columns = []
    for name, above, below in panels():
        label = np.full((26, HEIGHT, 3), 255, np.uint8)
        cv2.putText(label, name, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
        head = above[:_CROP, _CROP // 4 : _CROP // 4 + _CROP]
        columns.append(np.vstack([label, _scaled(head, (HEIGHT, HEIGHT), cv2.INTER_AREA),
                                  _scaled(below, (HEIGHT, HEIGHT), cv2.INTER_NEAREST)]))  # fmt: skip
    cv2.imwrite(str(args.out), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(args.out)


if __name__ == "__main__":
    main()
