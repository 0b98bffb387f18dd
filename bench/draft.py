"""What a draft saves: the same job at full quality, as a draft, and as a draft without scores.

    python -m bench.draft MANIFEST --out FOLDER [--engine local]

Each goes into a folder of its own and begins with nothing. Processor seconds are of all processes, which a busy machine
stretches less than the wall's; the stages' are the results' own (`cpu_s`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

WAYS = {"full": [], "draft": ["--draft"], "draft, not scored": ["--draft", "--no-score"]}
STAGES = ("lipsync", "sync", "master")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", default="local")
    args = parser.parse_args()
    print("run                  wall s   core s   of full  " + "  ".join(f"{s:>8s}" for s in STAGES) + "  masters MB")
    whole = None
    for name, options in WAYS.items():
        out = args.out / name.replace(", ", "-").replace(" ", "-")
        command = [sys.executable, "-m", "dubbing", "run", args.manifest, "--out", str(out), "--engine", args.engine]
        before, began = used(), time.monotonic()
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        wall_s, core_s = time.monotonic() - began, used() - before
        if done.returncode not in (0, 3):
            sys.exit(done.stderr)
        whole = whole or core_s
        stages = by_stage(out)
        masters = [m["master"] for m in json.loads((out / "run.json").read_text())["dubs"]]
        size = sum(Path(m).stat().st_size for m in masters) / 1e6
        costs = "  ".join(f"{stages[s]:8.1f}" for s in STAGES)
        print(f"{name:19s} {wall_s:7.1f}  {core_s:7.1f}  {core_s / whole:8.2f}  {costs}  {size:10.1f}")


def used() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def by_stage(out: Path) -> Counter[str]:
    """Processor seconds of every result, by stage."""
    found: Counter[str] = Counter()
    kinds = {"dub.take.1": "lipsync", "dub.scores.1": "sync", "dub.master.1": "master"}
    for file in out.rglob("result.json"):
        result = json.loads(file.read_text())
        found[kinds.get(result["schema"], "analysis")] += result["cpu_s"]
    return found


if __name__ == "__main__":
    main()
