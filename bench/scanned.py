"""Cuts, mixes and times of films in windows against one pass over each, and the processor time of both.

    python -m bench.scanned FILM ... [--window 10] [--join] [--size 640 360] [--rate 24] [--key 48]

--window: seconds of a window; --join: encode all films after one another into one film first, with that size, rate and
distance of key frames, and compare that. Prints, of each film, frames, cuts, mixes and windows, whether all of it is
the same, why one pass had to do where it had, and seconds of the pass, of all windows together, of the longest and of
the join.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis import windows
from dubbing.analysis.scanned import Unjoined, joined, load_window, save_window, scan_window
from dubbing.artifact import File
from dubbing.stages.shots import Shots, ShotsInputs

THRESHOLD, LEAST = 3.0, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--window", type=float, default=10.0)
    parser.add_argument("--join", action="store_true")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 360))
    parser.add_argument("--rate", type=Fraction, default=Fraction(24))
    parser.add_argument("--key", type=int, default=48)
    args = parser.parse_args()
    windows.SCAN_FROM_S, windows.SCAN_S = 0.0, args.window
    with tempfile.TemporaryDirectory(prefix="dub-scanned-") as name:
        folder = Path(name)
        films = args.films
        if args.join:
            films = [one_film(args.films, folder / "film.mp4", tuple(args.size), args.rate, args.key)]
        for film in films:
            compare(film, folder)


def one_film(films: list[Path], target: Path, size: tuple[int, int], rate: Fraction, key: int) -> Path:
    """All pictures of some films after one another."""
    with media.ClipWriter(target, *size, rate, options={"g": str(key)}) as made:
        for film in films:
            for _, bgr_HWC in media.scan(film):
                made.frame(cv2.resize(bgr_HWC, size, interpolation=cv2.INTER_AREA))
    return target


def compare(film: Path, folder: Path) -> None:
    """One film in both ways."""
    one, part = folder / "one", folder / "part"
    one.mkdir(exist_ok=True)
    part.mkdir(exist_ok=True)
    began = time.process_time()
    whole = Shots().process(ShotsInputs(File(film, ""), None, THRESHOLD, LEAST), one, lambda n: None)
    pass_s = time.process_time() - began
    line = media.load_timeline(one)
    keys, spent = media.key_frames(film), []
    spans = windows.scan_windows(keys, whole.frames, line.rate)
    said = f"{film.name}: {whole.frames} frames, {len(whole.cuts) - 1} cuts, {len(whole.mixes)} mixes, "
    if not spans:
        print(f"{said}{len(keys)} key frames: no windows")
        return
    found = []
    for span in spans:
        began = time.process_time()
        save_window(part, scan_window(film, span, THRESHOLD, lambda n: None))
        found.append(load_window(part))
        spent.append(time.process_time() - began)
    began = time.process_time()
    try:
        own, cuts, mixes = joined(found, LEAST)
    except Unjoined as e:
        print(f"{said}{len(spans)} windows: one pass, because {e}")
        return
    join_s = time.process_time() - began
    same = (
        np.array_equal(own.pts, line.pts) and (own.end_pts, own.time_base, own.rate, own.start_tc)
        == (line.end_pts, line.time_base, line.rate, line.start_tc),
        cuts == [a for a, _ in whole.cuts[1:]], mixes == [*whole.mixes],
    )  # fmt: skip
    late = [w.handover + 1 - w.first_frame - len(w.pts) for w in found[:-1]]
    print(
        f"{said}{len(spans)} windows: times, cuts, mixes the same: {same}; into step {late} frames late; "
        f"{pass_s:.1f} s in one pass, {sum(spent):.1f} s in windows (longest {max(spent):.1f}), join {join_s:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
