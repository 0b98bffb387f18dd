"""Memory of `dub score` on a clip, and on the same clip looped: it must not grow with the length.

    python -m bench.score CLIP [--times 10 30] [--model NAME]

Prints seconds and the peak of the process's proportional set size for each. A clip that ends unlike it began has
a cut at each seam; one that does not becomes a single long shot, measured in parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.watch import watch
from dubbing import media


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[10])
    parser.add_argument("--model", default="lips")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dub-score-bench-") as name:
        for times in (1, *args.times):
            path = looped(args.clip, times, Path(name) / f"{times}.mkv")
            cost = watch([sys.executable, "-m", "dubbing", "score", str(path), "--model", args.model, "--json"])
            tracks = json.loads(cost.stdout)["videos"][0]["tracks"]
            longest = max((t["end_frame"] - t["start_frame"] for t in tracks), default=0)
            print(
                f"{times} x: {len(media.timeline(path))} frames, {len(tracks)} tracks, the longest {longest} frames; "
                f"{cost.seconds:.1f} s, peak {cost.peak_mb:.0f} MB"
            )


def looped(clip: Path, times: int, path: Path) -> Path:
    """The clip's pictures and sound `times` times over, 25 pictures a second or as many as it has."""
    line, wave = media.timeline(clip), media.read_sound(clip)
    wave = wave[: line.sample(len(line), 16_000)]
    width, height = media.probe(clip).upright_size
    with media.ClipWriter(path, width // 2 * 2, height // 2 * 2, line.rate, sample_rate_hz=16_000, channels=1) as film:
        for _ in range(times):
            for picture in media.read(clip, line):
                film.frame(picture.bgr(box=(0, 0, width // 2 * 2, height // 2 * 2)))
            film.sound(wave)
    return path


if __name__ == "__main__":
    main()
