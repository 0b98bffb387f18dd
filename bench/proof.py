"""What proving a master costs, over making it: the same film in the same run, in wall and in processor seconds.

    python -m bench.proof reel.mp4 --frames 600          # a third of the frames patched
    python -m bench.proof --prores 120                   # ProRes 422 HQ at 1920x1080, made here

Prints milliseconds a frame, wall and processor, of mastering, of the same with a look at each picture as it is made, of
the proof after that look, of the comparison of the whole file (`dub verify`), and of decoding and encoding every frame,
the least of `--times` each, and their parts of the last.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.formats import patches
from bench.mastering import film as prores
from dubbing import media
from dubbing.master_choice import MasterChoice
from dubbing.media.master import write_masters

SIDE = 256


def shorter(source: Path, target: Path, frames: int) -> Path:
    """The first frames of a film, encoded as a master would be."""
    line = media.timeline(source)
    info = media.probe(source).video
    assert info is not None
    with media.ClipWriter(target, info.width, info.height, Fraction(line.rate), options={"crf": "16"}) as clip:
        for picture in media.read(source, line, 0, frames):
            clip.frame(picture.bgr())
    return target


def least(times: int, work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds, the least of several."""
    found = []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(w for w, _ in found), min(c for _, c in found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", nargs="?", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--prores", type=int, default=0, metavar="FRAMES")
    parser.add_argument("--times", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = args.prores or args.frames
        if args.prores:
            source = prores(folder / "film.mov", count)
        else:
            source = shorter(args.film, folder / "film.mp4", count)
        width, height = media.probe(source).upright_size
        box = (width // 2 - SIDE // 2, height // 2 - SIDE // 2, SIDE, SIDE)
        drawn = [patches(source, folder / "p", box, range(count // 3, 2 * count // 3))]
        line = media.timeline(source)
        sound = folder / "dub.wav" if args.prores else folder / "dub.flac"
        with media.ClipWriter(sound, sample_rate_hz=48_000, channels=2) as clip:
            clip.sound(np.zeros((round(count / line.rate * 48_000), 2), np.float32))
        target = folder / f"m{source.suffix}"
        plan = media.delivery(media.probe(source), media.probe(sound))
        whole = replace(plan, picture=replace(plan.picture, notice="all of it is encoded"))
        asked, seen = {target: MasterChoice()}, {}

        def master(look: bool) -> None:
            for made in media.encode_masters(source, line, drawn, sound, asked, language="fr", look=look):
                seen[made.path] = made.looked

        def prove(looked: bool) -> None:
            known = {path: runs for path, runs in seen.items() if looked and runs is not None}
            media.prove(
                source, asked, sound, patch_folders=drawn, language="fr", timeline=line, threads=4, looked=known
            )

        ways: dict[str, Callable[[], object]] = {
            "mastering": lambda: master(False),
            "mastering, looked at": lambda: master(True),
            "proof after that": lambda: prove(True),
            "the whole compared": lambda: prove(False),
            "decoding and encoding": lambda: write_masters(
                source, line, drawn, sound, {folder / f"whole{source.suffix}": whole}, language="fr"
            ),
        }
        spent = {what: least(args.times, work) for what, work in ways.items()}
        print(f"{count} frames, a third with a patch of {SIDE} pixels; milliseconds a frame, wall and processor")
        for what, seconds in spent.items():
            print(f"{what}: " + " ".join(f"{1000 * s / count:.2f}" for s in seconds))
        for what, seconds in spent.items():
            parts = [a / b for a, b in zip(seconds, spent["decoding and encoding"], strict=True)]
            print(f"{what}, over decoding and encoding: " + " ".join(f"{part:.2f}" for part in parts))


if __name__ == "__main__":
    main()
