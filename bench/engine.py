"""What Ray costs: the same job in one process, on Ray with one worker, and on Ray with one worker a core.

    python -m bench.engine FILM --dub fr=FR.flac

Each runs in a process of its own into an empty folder. Start-up (until the first task starts) and work (until the
last one ends) are told apart, in wall time and in processor time of all processes of the run, Ray's own among them.
Overhead is what Ray's work takes with one worker over the one process's: by processor time, which other work on the
machine hardly changes, and by wall time. A worker loads the libraries of the stages once, as the one process does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from dubbing import config, manifest
from dubbing.engine import Event, run_job
from dubbing.job import Job

RUNS = {"one process": ("local", None), "Ray, 1 worker": ("ray", 1), "Ray": ("ray", None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--dub", required=True, metavar="LANGUAGE=SOUND")
    parser.add_argument("--one", choices=RUNS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        language, sound = args.dub.split("=", 1)
        print(json.dumps(once(args.film, language, sound, *RUNS[args.one])))
        return
    times = {}
    for name in RUNS:
        command = [sys.executable, "-m", "bench.engine", str(args.film), "--dub", args.dub, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times[name] = json.loads(done.stdout.splitlines()[-1])
        print("{0}: start-up {startup_s:.1f} s (processor {startup_cpu_s:.1f}), work {work_s:.1f} s (processor "
              "{work_cpu_s:.1f}), tasks {task_s:.1f} s in all".format(name, **times[name]), flush=True)  # fmt: skip
    ray, alone = times["Ray, 1 worker"], times["one process"]
    more = {what: ray[f"work_{what}"] / alone[f"work_{what}"] - 1 for what in ("cpu_s", "s")}
    print(f"overhead of Ray with one worker: {more['cpu_s']:+.1%} of processor time, {more['s']:+.1%} of wall time")


def once(film: Path, language: str, sound: str, engine: str, workers: int | None) -> dict[str, float]:
    """One run into an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="dub-engine-"))
    title = {"id": "film", "video": str(film.resolve()),
             "dubs": [{"language": language, "audio": str(Path(sound).resolve())}]}  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump({"version": 1, "titles": [title]}))
    begun_s, begun_cpu_s = time.monotonic(), spent()
    started_s, ended_s, task_s = 0.0, 0.0, 0.0
    started_cpu_s, ended_cpu_s = 0.0, 0.0

    def on_event(event: Event) -> None:
        nonlocal started_s, ended_s, task_s, started_cpu_s, ended_cpu_s
        if event.kind == "started" and not started_s:
            started_s, started_cpu_s = time.monotonic(), spent()
        if event.kind == "finished":
            ended_s, ended_cpu_s = time.monotonic(), spent()
            task_s += event.seconds

    settings = config.Config(engine=config.Engine(workers=workers))
    run_job(Job(manifest.load(folder / "job.yaml"), folder / "out", settings), engine, on_event)
    return {"startup_s": started_s - begun_s, "work_s": ended_s - started_s, "task_s": task_s,
            "startup_cpu_s": started_cpu_s - begun_cpu_s, "work_cpu_s": ended_cpu_s - started_cpu_s}  # fmt: skip


def spent() -> float:
    """Processor seconds of this process and all that it has started and that still run."""
    total = time.process_time()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


if __name__ == "__main__":
    main()
