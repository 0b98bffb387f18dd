"""What Ray costs: the same job in one process, on Ray with one worker, and on Ray with one worker a core.

    python -m bench.engine FILM --dub fr=FR.flac

Each runs in a process of its own into an empty folder. Start-up (until the first task starts) and work (until the
last one ends) are told apart; overhead is Ray's work time with one worker over the one process's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
        print(f"{name}: start-up {times[name]['startup_s']:.1f} s, work {times[name]['work_s']:.1f} s, "
              f"tasks {times[name]['task_s']:.1f} s in all")  # fmt: skip
    print(
        f"overhead of Ray with one worker: {times['Ray, 1 worker']['work_s'] / times['one process']['work_s'] - 1:+.1%}"
    )


def once(film: Path, language: str, sound: str, engine: str, workers: int | None) -> dict[str, float]:
    """One run into an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="dub-engine-"))
    title = {"id": "film", "video": str(film.resolve()),
             "dubs": [{"language": language, "audio": str(Path(sound).resolve())}]}  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump({"version": 1, "titles": [title]}))
    begun_s = time.monotonic()
    started_s, ended_s, task_s = 0.0, 0.0, 0.0

    def on_event(event: Event) -> None:
        nonlocal started_s, ended_s, task_s
        if event.kind == "started" and not started_s:
            started_s = time.monotonic()
        if event.kind == "finished":
            ended_s = time.monotonic()
            task_s += event.seconds

    settings = config.Config(engine=config.Engine(workers=workers))
    run_job(Job(manifest.load(folder / "job.yaml"), folder / "out", settings), engine, on_event)
    return {"startup_s": started_s - begun_s, "work_s": ended_s - started_s, "task_s": task_s}


if __name__ == "__main__":
    main()
