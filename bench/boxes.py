"""How much SyncNet's scores move with the face box: ours, and ours made larger, smaller and shifted.

    python -m bench.boxes VIDEO ... [--syncnet FILE] [--frames 100]

Each video must show one face, large enough to be found in the whole picture. Prints LSE-D, LSE-C and the
offset per box, and how far they lie from those of our own box. Without a checkpoint the weights are made:
the script then shows that it runs, and how far crops differ, but nothing about the published expert.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from bench.networks import make
from dubbing import media
from dubbing.experts import crop, lse
from dubbing.experts.syncnet import SyncNet, SyncNetNet
from dubbing.mesh import MeshTracker
from dubbing.networks.boxes import detector_boxes

PART = 0.05
VARIANTS = {
    "ours": (0.0, 0.0, 0.0), "larger": (PART, 0.0, 0.0), "smaller": (-PART, 0.0, 0.0),
    "right": (0.0, PART, 0.0), "left": (0.0, -PART, 0.0), "down": (0.0, 0.0, PART), "up": (0.0, 0.0, -PART),
}  # fmt: skip
"""Name: (growth, shift right, shift down) in parts of the box's size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="+")
    parser.add_argument("--syncnet", type=Path, help="a checkpoint; made weights without one")
    parser.add_argument("--frames", type=int, default=100)
    args = parser.parse_args()
    if args.syncnet is None:
        net = SyncNetNet()
        make(net)
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.save(net.state_dict(), file.name)
            expert = SyncNet(Path(file.name))
    else:
        expert = SyncNet(args.syncnet)
    for video in args.video:
        measure(video, args.frames, expert)


def measure(video: Path, frames: int, expert: SyncNet) -> None:
    """Prints one line a box."""
    line = media.timeline(video)
    count = min(frames, len(line))
    boxes = found_boxes(video, count)
    times_s = line.times_s(0, count)
    wave = media.read_sound(video)
    sound = expert.embed_sound(wave, 0.0, lse.windows_in(times_s))
    size = boxes[:, 2:] - boxes[:, :2]
    own: lse.Lse | None = None
    for name, (grow, right, down) in VARIANTS.items():
        shift = size * (right, down)
        moved = boxes + np.concatenate([shift - size * grow / 2, shift + size * grow / 2], 1)
        places = crop.syncnet_crops(moved, times_s)
        pictures = media.read(video, line, 0, count)
        crops = np.stack([crop.cut(crop.published_bgr(p), at) for p, at in zip(pictures, places, strict=True)])
        found = lse.lse(expert.embed_video(crops, times_s), sound)
        own = own or found
        print(
            f"{video.name}, {name:8s} LSE-D {found.d:9.3f} ({found.d / own.d - 1:+.1%}), "
            f"LSE-C {found.c:7.3f} ({found.c / own.c - 1:+.1%}), offset {found.offset:+d}"
        )


def found_boxes(video: Path, count: int) -> np.ndarray:
    """The face's box in each of the first frames, (count, 4); where it is not found, the last one."""
    tracker = MeshTracker()
    boxes: list[np.ndarray] = []
    try:
        for picture in media.read(video, media.timeline(video), 0, count):
            mesh = tracker.find(picture.bgr())
            if mesh is not None:
                boxes.append(detector_boxes(mesh[None])[0])
            elif boxes:
                boxes.append(boxes[-1])
    finally:
        tracker.close()
    if not boxes:
        raise SystemExit(f"{video}: no face was found in the first {count} frames")
    return np.stack([boxes[0]] * (count - len(boxes)) + boxes)


if __name__ == "__main__":
    main()
