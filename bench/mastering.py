"""What copying pictures that did not change is worth: ProRes 422 HQ at 1920x1080, a third of its frames patched.

    python -m bench.mastering --frames 120

One film, one run: mastered with copying, then with every frame decoded and encoded again, the least of `--times` each.
Prints seconds, their ratio, how many packets are the source's own bytes, PSNR outside the mattes, and the greatest
memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from bench.formats import payloads
from dubbing import media
from dubbing.media.master import write_masters

W, H = 1920, 1080
SIDE = 360


def film(path: Path, frames: int) -> Path:
    """Edges, grain and slow movement: what a camera's picture costs an encoder."""
    random = np.random.default_rng(5)
    grain = [random.normal(0, 900, (H + 64, W + 64, 3)).astype(np.float32) for _ in range(2)]
    y, x = np.mgrid[:H, :W].astype(np.float32)
    still = np.stack([30_000 + 12_000 * np.sin(x / 90), 30_000 + 12_000 * np.cos(y / 70 + x / 300), 20_000 + 8 * x], -1)
    for _ in range(400):
        a, b = random.integers(0, W), random.integers(0, H)
        colour = tuple(float(v) for v in random.integers(8_000, 55_000, 3))
        cv2.rectangle(still, (a, b), (a + 60, b + 40), colour, -1)
    with media.ClipWriter(
        path, W, H, Fraction(25), "prores_ks", crf=None, pix_fmt="yuv422p10le",
        options={"profile": "hq", "vendor": "apl0"}, timecode="01:00:00:00",
    ) as clip:  # fmt: skip
        for n in range(frames):
            top, left = random.integers(0, 64, 2)
            noisy = np.roll(still, 2 * n, axis=1) + grain[n % 2][top : top + H, left : left + W]
            clip.frame(noisy.clip(0, 65535).astype(np.uint16))
    return path


def patches(source: Path, folder: Path, first: int, last: int) -> Path:
    """A blurred mouth's worth of the film in frames [first, last)."""
    folder.mkdir()
    matte = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(matte, (SIDE // 2, SIDE // 2), SIDE // 2 - 20, 255, -1)
    matte = cv2.GaussianBlur(matte, (21, 21), 0)
    line = media.timeline(source)
    with media.PatchWriter(folder, SIDE, SIDE, transfer=0) as writer:
        for picture in media.read(source, line, first, last):
            own = picture.own_bgr((800, 400, SIDE, SIDE))
            writer.write(media.patch_of(picture.frame, 800, 400, cv2.GaussianBlur(own, (0, 0), 3), matte, 0))
    return folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--times", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = film(folder / "film.mov", args.frames)
        part = args.frames // 3
        drawn = patches(source, folder / "p", part, 2 * part)
        dub = folder / "dub.wav"
        with media.ClipWriter(dub, sample_rate_hz=48_000, channels=2) as clip:
            clip.sound(np.zeros((args.frames * 1920, 2), np.float32))
        line = media.timeline(source)
        plan = media.delivery(media.probe(source), media.probe(dub))
        ways = {"copied": plan, "encoded": replace(plan, picture=replace(plan.picture, notice="all of it is encoded"))}
        least: dict[str, float] = {}
        for _ in range(args.times):
            for way, how in ways.items():
                before = time.perf_counter()
                write_masters(source, line, [drawn], dub, {folder / f"{way}.mov": how}, language="fr")
                least[way] = min(least.get(way, 1e9), time.perf_counter() - before)
        own = payloads(source)
        print(f"{args.frames} frames of {W}x{H}, {part} patched; {source.stat().st_size / 1e6:.0f} MB")
        for way, seconds in least.items():
            same = sum(a == b for a, b in zip(own, payloads(folder / f"{way}.mov"), strict=True))
            db = media.compare_pictures(source, folder / f"{way}.mov", [drawn]).psnr_db
            print(f"{way}: {seconds:.2f} s, {same} packets are the source's own, {db:.1f} dB outside the mattes")
        print(f"{least['encoded'] / least['copied']:.2f} times as fast with copying")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
