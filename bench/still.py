"""How fast a photograph performs: frames a second of rendering and of writing patches, beside decoding and encoding.

    python -m bench.still PHOTOGRAPH SOUND [--height 720] [--frames 200] [--workers 2] [--motion none]

The photograph is scaled to the height; its film, its mesh and its acts are made as a run makes them. Each worker has
frames of its own and one thread. The ratio is to decoding film and patches and encoding the result, in the same run, by
as many workers: on a machine that others use, both are slow together. Knows nothing of the pipeline.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dubbing import media
from dubbing.generators import RenderRequest, create
from dubbing.mesh import Detector, Meshes
from dubbing.performance.performed import Performance, Performed
from dubbing.records import Line, Track
from dubbing.sound import RATE_HZ
from dubbing.stages.still import find_faces

__all__ = ["main"]

RATE = Fraction(25)


class Times(NamedTuple):
    """Of one worker, in seconds: on the clock, and of its processor for the work and for writing patches."""

    wall: float
    used: float
    writing: float


def work_of(film: Path, mesh_P3: np.ndarray, wave: np.ndarray, frames: int) -> RenderRequest:
    """The whole film, spoken from end to end."""
    line = media.timeline(film)
    track = Track("shot_0001/face_1", np.arange(frames, dtype=np.int32),
                  np.repeat(mesh_P3[None].astype(np.float32), frames, 0), np.ones(frames, bool),
                  np.zeros(frames, np.float32), float(np.ptp(mesh_P3[:, 1])))  # fmt: skip
    size = media.probe(film).upright_size
    return RenderRequest(film, line, size, track, (Line(track.id, 0, frames),), wave, np.ones(frames, bool), None,
                         still=True)  # fmt: skip


def render(work: RenderRequest, folder: Path, moves: bool) -> Times:
    """What rendering the patches of `work.window` takes, and writing them."""
    cv2.setNumThreads(1)
    folder.mkdir()
    rendered = create("rewrite", {}).render(work)
    if moves:
        rendered = Performed(work, Performance(True, True, ((0, len(work.track.frames_N)),))).over(rendered)
    first = next(rendered)  # and all that is worked out once, which is not counted
    height, width = first.patch.matte_HW.shape
    wall, used, writing = time.perf_counter(), time.process_time(), 0.0
    with media.PatchWriter(folder, width, height) as writer:
        for one in rendered:
            since = time.process_time()
            writer.write(one.patch)
            writing += time.process_time() - since
    used = time.process_time() - used
    return Times(time.perf_counter() - wall, used - writing, writing)


def master(work: RenderRequest, folder: Path, moves: bool) -> Times:  # noqa: ARG001
    """What decoding `work.window` of the film and of the patches and encoding the result takes."""
    cv2.setNumThreads(1)
    wall, used = time.perf_counter(), time.process_time()
    with media.ClipWriter(folder / "master.mp4", *work.picture_wh, RATE, crf=16.0, matrix=media.BT709) as out:
        assert work.window is not None
        patches = media.read_patches(folder)
        for picture, patch in zip(
            media.read(work.source, work.timeline, *work.window, threads=1), patches, strict=False
        ):
            out.frame(media.composite(picture.bgr(), patch, 0, 0))
    return Times(time.perf_counter() - wall, time.process_time() - used, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--motion", choices=("natural", "none"), default="natural")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    picture = media.read_photograph(args.photograph).bgr_HWC
    width, height = (round(n * args.height / picture.shape[0] / 2) * 2 for n in picture.shape[1::-1])
    size = (width, height)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    detector, meshes = Detector(), Meshes()
    mesh = find_faces(picture, detector, meshes)[0]
    wave = np.asarray(media.read_sound(args.sound, rate_hz=RATE_HZ, mono=True), np.float32).reshape(-1)
    wave = np.resize(wave, int(args.frames * RATE_HZ / RATE))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with media.ClipWriter(folder / "film.mp4", width, height, RATE, crf=0.0, matrix=media.BT709) as film:
            for _ in range(args.frames):
                film.frame(picture)
        work = work_of(folder / "film.mp4", mesh, wave, args.frames)
        edges = np.linspace(0, args.frames, args.workers + 1).astype(int).tolist()
        print(f"{size[0]}x{size[1]}, eyes {np.linalg.norm(mesh[33] - mesh[263]):.0f} px apart, {args.workers} workers")
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            for round_ in range(args.rounds):
                found = {}
                for kind, do in (("rendered", render), ("mastered", master)):
                    parts = [
                        pool.submit(
                            do, replace(work, window=(a, b)), folder / f"{round_}_{n}", args.motion == "natural"
                        )
                        for n, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True))
                    ]
                    found[kind] = [part.result() for part in parts]
                    wall = args.frames / max(t.wall for t in found[kind])
                    used, writing = (1000 * sum(t[k] for t in found[kind]) / args.frames for k in (1, 2))
                    rate = 1000 * args.workers / (used + writing)
                    more = f" and {writing:.1f} to write its patch" if writing else ""
                    print(f"{kind}: {wall:.1f} frames/s on the clock, {rate:.1f} by processor time:", end=" ")
                    print(f"{used:.1f} ms a frame{more}")
                times = [sum(t.used + t.writing for t in found[k]) for k in ("rendered", "mastered")]
                print(f"rendering and writing take {times[0] / times[1]:.1f} times what decoding and encoding take")


if __name__ == "__main__":
    main()
