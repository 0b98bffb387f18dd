"""Kill runs at random moments and compare what they end with to an undisturbed run.

    python -m bench.resume MANIFEST [--kills 10] [--engine ray|local] [--seed 1]

A run is started, killed with SIGKILL (the driver only) after a random time, started again, and so on;
after the last kill it runs to its end. Then every master, patch and table must equal the undisturbed
run's (but for the column `seconds`). Exit code 1 when one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dubbing.shot_table import read_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="dub-resume-"))
    started = time.monotonic()
    code = subprocess.run(command(args, work / "whole"), capture_output=True, check=False).returncode
    whole_s = time.monotonic() - started
    print(f"undisturbed: {whole_s:.1f} s, exit {code}")
    chance = random.Random(args.seed)
    for n in range(args.kills):
        with subprocess.Popen(command(args, work / "killed"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:  # fmt: skip
            wait_s = chance.uniform(0.3, whole_s / 2)
            try:
                process.wait(wait_s)
                print(f"   run {n + 1} ended by itself before {wait_s:.1f} s, exit {process.returncode}")
                shutil.rmtree(work / "killed")  # so that the next kill falls on work
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                left = len(list((work / "killed").rglob(".part-*"))) if (work / "killed").exists() else 0
                print(f"   killed after {wait_s:.1f} s, {left} things half-written")
    started = time.monotonic()
    last = subprocess.run(command(args, work / "killed"), capture_output=True, check=False).returncode
    print(f"finished after {args.kills} kills: {time.monotonic() - started:.1f} s, exit {last}")
    same = compare(work / "whole", work / "killed")
    print("equal to the undisturbed run" if same and last == code else "NOT equal to the undisturbed run")
    shutil.rmtree(work)
    sys.exit(0 if same and last == code else 1)


def command(args: argparse.Namespace, out: Path) -> list[str]:
    return [sys.executable, "-m", "dubbing", "run", str(args.manifest), "--out", str(out), "--engine", args.engine]


def compare(whole: Path, other: Path) -> bool:
    """Whether two output folders hold the same masters, patches and tables; says where they differ."""
    a, b = facts(whole), facts(other)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            print(f"   differs: {name}")
    return bool(a) and a == b


def facts(out: Path) -> dict[str, object]:
    """What a run left that must not depend on how it got there."""
    found: dict[str, object] = {}
    for table in out.glob("*/*/shots.parquet"):
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(table)]
        found[str(table.relative_to(out))] = rows
        for master in table.parent.glob(f"{table.parent.parent.name}.{table.parent.name}.*"):
            found[str(master.relative_to(out))] = hashlib.sha256(master.read_bytes()).hexdigest()
        for patch in table.parent.glob("takes/**/patch.nut"):
            found[str(patch.relative_to(out))] = hashlib.sha256(patch.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    main()
