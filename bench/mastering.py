"""What copying pictures that did not change is worth, where a third of a film's frames is patched: of ProRes 422 HQ at
1920x1080 that is made, or of a film that is there.

    python -m bench.mastering --frames 120
    python -m bench.mastering --film reel.mp4 --stretches 4

One film, one run: mastered with copying, then with every frame decoded and encoded again, the least of `--times` each.
Prints seconds, their ratio, how many packets are the source's own bytes, PSNR outside the mattes, and the greatest
memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from bench.formats import payloads
from dubbing import media
from dubbing.clock import Timeline
from dubbing.master_choice import MasterChoice
from dubbing.media.master import write_masters

W, H = 1920, 1080


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


def patches(source: Path, line: Timeline, folder: Path, first: int, last: int) -> Path:
    """A blurred mouth's worth of the film in frames [first, last)."""
    folder.mkdir()
    width, height = next(media.read(source, line)).size
    side = height // 6 * 2
    x, y = (width - side) // 4 * 2, (height - side) // 4 * 2
    matte = np.zeros((side, side), np.uint8)
    cv2.circle(matte, (side // 2, side // 2), side // 2 - side // 18, 255, -1)
    matte = cv2.GaussianBlur(matte, (21, 21), 0)
    deep = next(media.read(source, line)).deep
    with media.PatchWriter(folder, side, side, transfer=0 if deep else None) as writer:
        for picture in media.read(source, line, first, last):
            own = picture.own_bgr((x, y, side, side))
            writer.write(media.patch_of(picture.frame, x, y, cv2.GaussianBlur(own, (0, 0), 3), matte, 0))
    return folder


def key_frames(path: Path) -> str:
    """How many there are, and the longest way from one to the next."""
    with av.open(str(path)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    at = [*np.flatnonzero(keys).tolist(), len(keys)]
    return f"{sum(keys)}, at most {max(np.diff(at).tolist())} pictures from one to the next"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--film", type=Path, help="one that is there; without it ProRes is made")
    parser.add_argument("--frames", type=int, default=120, help="of the film that is made")
    parser.add_argument("--stretches", type=int, default=1, help="in how many pieces the third that is patched lies")
    parser.add_argument("--times", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = args.film or film(folder / "film.mov", args.frames)
        line = media.timeline(source)
        whole = len(line) // args.stretches
        part = whole // 3
        places = [range(n * whole + part, n * whole + 2 * part) for n in range(args.stretches)]
        drawn = [patches(source, line, folder / f"p{one.start}", one.start, one.stop) for one in places]
        dub = folder / "dub.flac"
        with media.ClipWriter(dub, sample_rate_hz=48_000, channels=2) as clip:
            clip.sound(np.zeros((line.sample(len(line), 48_000), 2), np.float32))
        about = media.probe(source), media.probe(dub)
        choices = {"copied": MasterChoice(untouched="copy"), "encoded": MasterChoice(untouched="encode")}
        ways = {way: media.delivery(*about, None, choice) for way, choice in choices.items()}
        least: dict[str, float] = {}
        for _ in range(args.times):
            for way, how in ways.items():
                before = time.perf_counter()
                target = folder / f"{way}{how.extension}"
                write_masters(source, line, drawn, dub, {target: how}, language="fr")
                least[way] = min(least.get(way, 1e9), time.perf_counter() - before)
        own = payloads(source)
        patched, size = len(places) * part, source.stat().st_size / 1e6
        width, height = next(media.read(source, line)).size
        print(f"{len(line)} frames of {width}x{height}, {patched} patched in {args.stretches} stretches; {size:.0f} MB")
        print(f"key frames: {key_frames(source)}")
        for way, seconds in least.items():
            target = folder / f"{way}{ways[way].extension}"
            same = sum(a == b for a, b in zip(own, payloads(target), strict=True))
            db = media.compare_pictures(source, target, drawn).psnr_db
            print(f"{way}: {seconds:.2f} s, {same} packets are the source's own, {db:.1f} dB outside the mattes")
        print(f"{least['encoded'] / least['copied']:.2f} times as fast with copying")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
