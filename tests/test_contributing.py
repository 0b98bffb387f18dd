"""CONTRIBUTING.md: its examples run as they stand, and what it names is there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from films import Finished

from dubbing import config, manifest
from dubbing.engine import Report, run_job
from dubbing.pipeline import PIPELINE, Job
from dubbing.task import Task

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading, up to the next of its level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"CONTRIBUTING.md has no heading {title!r}"
    return found[1]


def block(title: str, kind: str = "python") -> str:
    """The one fenced block of a kind under a heading."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a block as a module of its own and imports it, as a reader would who copies it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def write(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        names.append(name)
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


# -- a stage ---------------------------------------------------------------------------------


@pytest.mark.xdist_group("film")
def test_a_stage_is_one_file_and_one_line(finished: Finished, tmp_path: Path, written: Any) -> None:
    made = written("loudness", block("A stage"))
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)

    class Longer(Job):
        pipeline = (*PIPELINE, made.MeasureLoudness)

    def run() -> tuple[Report, Longer, list[str]]:
        started: list[str] = []
        job = Longer(manifest.load(finished.film), out, config.Config())
        report = run_job(job, "local", lambda e: started.append(e.task_id or "") if e.kind == "started" else None)
        return report, job, started

    report, job, started = run()
    assert report.exit_code in (0, 3)
    shots = [f"film/{language}/shot_{n:04d}" for language in ("hi", "ta") for n in (1, 2)]
    assert sorted(started) == [f"loudness {where}" for where in shots], "all else was done, and stays"
    tasks: dict[str, Task] = {t.id: t for t in job.tasks()}
    found = {where: job.result(tasks[f"loudness {where}"]) for where in shots}
    assert all(isinstance(one, made.Loudness) for one in found.values())
    assert all(-60 < found[f"film/{language}/shot_0002"].rms_db < 0 for language in ("hi", "ta")), "somebody speaks"
    assert run()[2] == [], "a second run finds it done"
    made.MeasureLoudness.version += 1
    assert len(run()[2]) == len(shots), "a raised version does it anew"
