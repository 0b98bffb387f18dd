"""A master in parts: what a window and the join of all windows take in time and memory, for films of two lengths.

    python -m bench.parts [--minutes 1 4] [--size 1280 720] [--codec libx264]

The film is ten seconds of moving edges and grain, over and over, its packets copied. Every step is a process of its
own; prints its greatest memory, and seconds of the windows together, of the join, and of the same master by one task.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.formats import patches
from dubbing import media
from dubbing.analysis.windows import film_windows
from dubbing.master_choice import MasterChoice

RATE, SECONDS = Fraction(24), 10
PLAIN = MasterChoice()


def clip(path: Path, size: tuple[int, int], codec: str) -> Path:
    """Ten seconds, with a key frame each second and none that others cross."""
    width, height = size
    random = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    still = np.stack([120 + 80 * np.sin(x / 30), 120 + 80 * np.cos(y / 25 + x / 90), 60 + x / 20], -1)
    grain = random.normal(0, 6, (height, width, 3)).astype(np.float32)
    options = {} if codec == "prores_ks" else {"g": "24", "flags": "+cgop+bitexact"}
    more: dict[str, Any] = {"crf": None, "pix_fmt": "yuv422p10le"} if codec == "prores_ks" else {}
    with media.ClipWriter(path, width, height, RATE, codec, options=options, **more) as made:
        for n in range(round(SECONDS * RATE)):
            noisy = np.roll(still, 3 * n, axis=1) + np.roll(grain, 7 * n, axis=0)
            made.frame(noisy.clip(0, 255).astype(np.uint8))
    return path


def again(source: Path, target: Path, times: int) -> Path:
    """The same packets, one round after another."""
    with av.open(str(target), "w") as made:
        stream: Any = None
        for turn in range(times):
            with av.open(str(source)) as film:
                own = film.streams.video[0]
                stream = stream or made.add_stream_from_template(own)
                for packet in film.demux(own):
                    if packet.size and packet.pts is not None and packet.dts is not None:
                        later = round(turn * SECONDS / Fraction(own.time_base or 1))
                        packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
                        made.mux(packet)
    return target


def _step(work: Callable[..., Any], args: Sequence[Any], out: Any) -> None:
    before = time.perf_counter()
    work(*args)
    status = Path("/proc/self/status").read_text().split()  # not getrusage, which counts what the parent held too
    out.put((time.perf_counter() - before, int(status[status.index("VmHWM:") + 1]) / 1024))


def measured(work: Callable[..., Any], *args: Any) -> tuple[float, float]:
    """Seconds, and MB at most, of a process of its own."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_step, args=(work, args, out))
    process.start()
    found: tuple[float, float] = out.get()
    process.join()
    return found


def window(source: Path, drawn: Sequence[Path], folder: Path, first: int, last: int) -> None:
    """One window."""
    folder.mkdir()
    media.make_part(source, media.load_timeline(source.parent), drawn, [PLAIN], folder, first, last)


def master(source: Path, drawn: Sequence[Path], sound: Path, target: Path, parts: Sequence[Path]) -> None:
    """The master, of parts or by one task."""
    line = media.load_timeline(source.parent)
    media.encode_masters(source, line, drawn, sound, {target: PLAIN}, language="fr", parts=parts)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, nargs=2, default=(1, 4))
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--codec", default="libx264")
    args = parser.parse_args()
    suffix = ".mov" if args.codec == "prores_ks" else ".mp4"
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            short = clip(folder / f"clip{suffix}", tuple(args.size), args.codec)
            source = again(short, folder / f"film{suffix}", 6 * minutes)
            line = media.timeline(source)
            media.save_timeline(folder, line)
            width, height = args.size
            box, third = (width // 4, height // 4, width // 4, height // 3), len(line) // 3
            drawn = [patches(source, folder / "p", box, range(third, 2 * third), 4)]
            sound = folder / "dub.wav"
            with media.ClipWriter(sound, sample_rate_hz=48_000, channels=2) as made:
                made.sound(np.zeros((48_000 * 60 * minutes, 2), np.float32))
            edges = film_windows(range(0, len(line), 96), 10**9, RATE)
            edges = [(a, min(b, len(line))) for a, b in edges if a < len(line)]
            parts = [folder / f"part_{n}" for n in range(len(edges))]
            each = [measured(window, source, drawn, p, a, b) for p, (a, b) in zip(parts, edges, strict=True)]
            join_s, join_mb = measured(master, source, [], sound, folder / f"joined{suffix}", parts)
            one_s, one_mb = measured(master, source, drawn, sound, folder / f"one{suffix}", [])
            size = sum(f.stat().st_size for p in parts for f in p.iterdir()) / 1e6
            print(f"{args.codec} {args.size[0]}x{args.size[1]}, {len(line)} frames, a third of them patched")
            print(f"  {len(parts)} windows: {sum(s for s, _ in each):.1f} s together, {max(m for _, m in each):.0f} MB "
                  f"at most, {size:.0f} MB left")  # fmt: skip
            print(f"  join: {join_s:.1f} s, {1000 * join_s / len(line):.2f} ms a frame, {join_mb:.0f} MB at most; "
                  f"{(folder / f'joined{suffix}').stat().st_size / 1e6:.0f} MB written")  # fmt: skip
            print(f"  one task: {one_s:.1f} s, {one_mb:.0f} MB at most")


if __name__ == "__main__":
    main()
