"""Films that several tests share, whole runs of them, and what of a run must be the same the next time.

The short demo film and a finished run of it are fixtures (`film`, `finished`). Knows no single test.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dubbing import config, manifest
from dubbing.engine import Event, Report, run_job
from dubbing.job import Job
from dubbing.media import ClipWriter
from dubbing.shot_table import read_rows

HZ = 16_000  # sound of the plain film


@dataclass(frozen=True)
class Finished:
    """An undisturbed run in one process. film: its manifest; out: its output folder. Copy it, never write into it."""

    film: Path
    out: Path


def run(
    film: Path | str,
    out: Path | str,
    engine: str = "local",
    settings: config.Config | None = None,
    show: Callable[[Event], None] = lambda event: None,
) -> Report:
    """Runs a manifest as `dub run` does, without a word."""
    return run_job(Job(manifest.load(film), out, settings or config.load()), engine, show)


def started_by(film: Path, out: Path) -> set[str]:
    """Runs a manifest in this process: the ids of the tasks that it started."""
    started: set[str] = set()
    run(film, out, show=lambda e: started.add(e.task_id) if e.kind == "started" else None)
    return started


def of_hindi(film: Path, folder: Path, **more: Any) -> Path:
    """A smaller manifest, of the Hindi dub alone: half of the short film's work. more: what it says besides."""
    job = yaml.safe_load(film.read_text("utf-8"))
    job["titles"][0]["video"] = str(film.parent / job["titles"][0]["video"])
    job["titles"][0]["dubs"] = [d for d in job["titles"][0]["dubs"] if d["language"] == "hi"]
    for dub in job["titles"][0]["dubs"]:
        dub |= {k: str(film.parent / dub[k]) for k in ("audio", "dialogue") if k in dub}
    made = folder / "hindi.yaml"
    made.write_text(yaml.safe_dump({**job, **more}), "utf-8")
    return made


def facts(files: Mapping[str, bytes], languages: Collection[str] = ("hi", "ta")) -> dict[str, Any]:
    """Masters, patches and tables of the short film's two dubs, without the time they took. files: path in the output
    folder -> content; languages: of the dubs that are looked at."""
    found: dict[str, Any] = {}
    for name, data in files.items():
        if name.split("/")[1:2] not in [[language] for language in languages]:
            continue
        if name.endswith(("/shots.parquet", "/faces.parquet")):
            found[name] = [{k: v for k, v in r.items() if k != "seconds"} for r in read_rows(data)]
        elif name.endswith("/patch.nut") or name.split("/")[-1].startswith("film.") and name.count("/") == 2:
            found[name] = hashlib.sha256(data).hexdigest()
    assert len(found) == 4 * len(languages), sorted(found)  # of each: two tables, a patch and a master
    return found


def facts_on_disk(out: Path, languages: Collection[str] = ("hi", "ta")) -> dict[str, Any]:
    """`facts` of an output folder on this machine."""
    return facts({p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}, languages)


def shared_by_processes(base: Path, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once a session, by whichever process of pytest-xdist comes first; the others wait for it.

    base: this process's own folder of the session; make: fills the folder.
    """
    home = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = home / name, home / f"{name}.made"
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fails if a file below it comes, goes or is written meanwhile: what tests share must stay as it is."""

    def stamps() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()}

    before = stamps()
    yield
    changed = sorted(str(p.relative_to(folder)) for p, _ in before.items() ^ stamps().items())
    assert not changed, f"a test wrote where others read (let it copy the folder first): {changed}"


def plain_job(
    folder: Path, dubs: Mapping[str, str], frames: int, video: str = "film.mp4", job: str = "job.yaml"
) -> Path:
    """Writes a film of two plain shots of equal length and its dubs: the manifest.

    dubs: language -> name of its sound. 128x96 px, 25 frames a second, a key frame at least every second; all sound
    is one tone.
    """
    tone = (0.2 * np.sin(2 * np.pi * 200 * np.arange(frames * HZ // 25) / HZ)).astype(np.float32)[:, None]
    rng = np.random.default_rng(1)
    options = {"g": "25", "keyint_min": "25"}
    with ClipWriter(folder / video, 128, 96, Fraction(25), sample_rate_hz=HZ, channels=1, options=options) as clip:
        for n in range(frames):
            shade = (60, 90, 120) if n < frames // 2 else (180, 40, 200)
            clip.frame((np.full((96, 128, 3), shade) + rng.integers(0, 8, (96, 128, 1))).astype(np.uint8))
        clip.sound(tone)
    for name in dubs.values():
        with ClipWriter(folder / name, sample_rate_hz=HZ, channels=1) as clip:
            clip.sound(tone)
    title = {"id": "reel", "video": video, "dubs": [{"language": k, "audio": v} for k, v in dubs.items()]}
    text = json.dumps({"version": 1, "titles": [title]}, ensure_ascii=False)
    (folder / job).write_text(text, encoding="utf-8")
    return folder / job
