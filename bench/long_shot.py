"""How much memory a generator takes over a shot, by its length.

    python -m bench.long_shot "{name: musetalk, model: /w/model.pth, ...}" [--seconds 10 60 300]

The shot is the drawn face of the contracts (320x320, 25 frames a second), which speaks all the time: one line over all
of it. Every length is rendered in a process of its own, which sees its own greatest resident memory (Linux). Printed
are that and what the process held before the first patch, with track, sound and networks; patches are thrown
away as they come.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import yaml

from dubbing import generators
from dubbing.records import Line
from dubbing.testing import material


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", help="as in a manifest")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60, 300])
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(rendered(yaml.safe_load(args.generator), args.seconds[0]))
        return
    print("| shot, s | patches | MB before the first | MB at most | s |\n|---|---|---|---|---|")
    for seconds in args.seconds:
        command = [sys.executable, "-m", "bench.long_shot", args.generator, "--alone", "--seconds", str(seconds)]
        print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)


def rendered(choice: dict, seconds: int) -> str:
    """A row of the table."""
    name = choice.pop("name")
    with tempfile.TemporaryDirectory() as folder:
        work = material.request(Path(folder), seconds * int(material.RATE))
        track = work.track
        work = replace(work, lines=(Line(track.id, track.start_frame, track.end_frame),))
        generator = generators.create(name, choice, None, device="cpu")
        patches = generator.render(work)
        next(patches)
        before, started = psutil.Process().memory_info().rss / 2**20, time.monotonic()
        count = 1 + sum(1 for _ in patches)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return f"| {seconds} | {count} | {before:.0f} | {most:.0f} | {time.monotonic() - started:.1f} |"


if __name__ == "__main__":
    main()
