"""Memory of `dub score` on a clip and on the same clip looped: it must not grow. And: how far face boxes move LSE.

    python -m bench.score CLIP [--times 10 30] [--model NAME]
    python -m bench.score CLIP --boxes --model syncnet_v2 [--weights FILE]

Prints seconds and the process's peak resident set for each length. A clip that ends unlike it began has a cut at
each seam; one that does not becomes a single long shot, measured in parts of 750 frames. --boxes: LSE of the
largest face with boxes as they are, 5 % larger and smaller, and shifted by 5 %; --weights: FILE.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np

from dubbing import media, models
from dubbing.experts import Expert
from dubbing.experts.crop import Crop, syncnet_crops
from dubbing.experts.syncnet import SyncNet
from dubbing.networks.boxes import detector_boxes
from dubbing.scoring import Scorer

_BOXES = {
    "as they are": (1.0, 0.0, 0.0),
    "5 % larger": (1.05, 0.0, 0.0),
    "5 % smaller": (0.95, 0.0, 0.0),
    "5 % to the right": (1.0, 0.05, 0.0),
    "5 % to the left": (1.0, -0.05, 0.0),
    "5 % down": (1.0, 0.0, 0.05),
    "5 % up": (1.0, 0.0, -0.05),
}


class _Moved(SyncNet):
    """SyncNet that sees boxes scaled about their middle and shifted by parts of their longer side."""

    box = (1.0, 0.0, 0.0)

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[Crop]:
        boxes = detector_boxes(mesh_NP3)
        scale, right, down = self.box
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        middle = boxes[:, :2] + half + 2 * half.max(1, keepdims=True) * (right, down)
        return syncnet_crops(np.concatenate([middle - half * scale, middle + half * scale], 1), times_s_N)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[10])
    parser.add_argument("--model", default="lips")
    parser.add_argument("--boxes", action="store_true")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    if args.boxes:
        compare_boxes(args.clip, args.weights or models.path(args.model))
    else:
        compare_lengths(args.clip, [1, *args.times], args.model)


def compare_lengths(clip: Path, lengths: list[int], model: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dub-score-bench-") as name:
        for times in lengths:
            path = looped(clip, times, Path(name) / f"{times}.mkv")
            started, peak_kb = time.monotonic(), 0
            command = [sys.executable, "-m", "dubbing", "score", str(path), "--model", model, "--json"]
            with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as process:
                while process.poll() is None:
                    peak_kb = max(peak_kb, peak_of(process.pid))
                    time.sleep(0.05)
                out.seek(0)
                tracks = json.load(out)["videos"][0]["tracks"]
            longest = max((t["end_frame"] - t["start_frame"] for t in tracks), default=0)
            print(
                f"{times} x: {len(media.timeline(path))} frames, {len(tracks)} tracks, the longest {longest} frames; "
                f"{time.monotonic() - started:.1f} s, peak {peak_kb / 1024:.0f} MB",
                flush=True,
            )


def peak_of(pid: int) -> int:
    """Peak resident set of a process so far, kB (Linux); 0 once it has ended. Not what it inherited at its fork."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0


def compare_boxes(clip: Path, weights: Path) -> None:
    expert = _Moved(weights)
    first: tuple[float, float] | None = None
    for name, box in _BOXES.items():
        expert.box = box
        with Scorer(cast(Expert, expert)) as scorer:
            one = scorer.score(clip).tracks[0]
        if one.d is None or one.c is None:
            raise SystemExit(f"{clip}: {one.reason}")
        d, c = first = first or (one.d, one.c)
        print(
            f"{name}: LSE-D {one.d:.3f} ({100 * (one.d / d - 1):+.2f} %), LSE-C {one.c:.3f} "
            f"({100 * (one.c / c - 1):+.1f} %), offset {one.offset_frames:+.0f}, {one.windows} windows",
            flush=True,
        )


def looped(clip: Path, times: int, path: Path) -> Path:
    """The clip's pictures and sound `times` times over, 25 pictures a second or as many as it has."""
    line, wave = media.timeline(clip), media.read_sound(clip)
    wave = wave[: line.sample(len(line), 16_000)]
    width, height = (v // 2 * 2 for v in media.probe(clip).upright_size)
    with media.ClipWriter(path, width, height, line.rate, sample_rate_hz=16_000, channels=1) as film:
        for _ in range(times):
            for picture in media.read(clip, line):
                film.frame(picture.bgr(box=(0, 0, width, height)))
            film.sound(wave)
    return path


if __name__ == "__main__":
    main()
