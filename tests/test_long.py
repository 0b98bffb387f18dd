"""Long films and long shots, planned but not made: the deadlines of their tasks, and what an estimate says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dubbing import config, manifest, media
from dubbing.engine.ray import RayPool, _Hand
from dubbing.media import ClipWriter
from dubbing.pipeline import Job
from dubbing.stage import Resources, Task

pytestmark = pytest.mark.xdist_group("estimate")
HZ = 16_000
LONG = 172_800  # frames: two hours
CUTS = [[0, 100], [100, LONG]]  # one short shot, and one that is cut into windows
Promised = Callable[[int], Job]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with a dub of 4 s, whose header a test makes say other things."""
    folder = tmp_path_factory.mktemp("long")
    tone = np.full((4 * HZ, 1), 0.1, np.float32)
    with ClipWriter(folder / "film.mp4", 64, 64, Fraction(24), sample_rate_hz=HZ, channels=1) as clip:
        for _ in range(96):
            clip.frame(np.zeros((64, 64, 3), np.uint8))
        clip.sound(tone)
    with ClipWriter(folder / "fr.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(tone)
    dubs = [{"language": "fr", "audio": "fr.flac"}]
    (folder / "job.yaml").write_text(
        json.dumps({"version": 1, "titles": [{"id": "film", "video": "film.mp4", "dubs": dubs}]})
    )
    return folder


@pytest.fixture
def promised(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promised:
    """A job whose film promises so many frames."""
    probe = media.probe

    def job(frames: int) -> Job:
        def said(path: Path) -> media.MediaInfo:
            info = probe(path)
            return replace(info, video=replace(info.video, frames_hint=frames)) if info.video else info

        monkeypatch.setattr(media, "probe", said)
        return Job(manifest.load(folder / "job.yaml"), tmp_path / "out", config.load())

    return job


def finish(job: Job, task_id: str, result: dict[str, Any]) -> None:
    """Say that a task has been done, without doing it."""
    (task,) = [t for t in job.tasks() if t.id == task_id]
    with job.store.commit(task.folder) as part:
        job.store.write_json(part / "result.json", result)
    job.forget(task)


def cut(job: Job) -> None:
    finish(job, "shots film", {"shots": CUTS})


def decide(job: Job) -> None:
    """The analysis is over: the first shot is left alone."""
    left = {"tracks": [], "reason": "no_face", "face_px": None}
    heard = {"tracks": ["shot_0002/face_1"], "reason": None, "face_px": 20.0}
    finish(job, "actors film", {"shots": {"shot_0001": left, "shot_0002": heard}})
    finish(job, "audio film/fr", {"shot_keys": {"shot_0001": "a", "shot_0002": "b"}})


# -- deadlines -------------------------------------------------------------------------------


def limit_s(task: Task) -> float:
    """After how long a worker with that task would be stopped."""
    kind = Resources()
    pool = object.__new__(RayPool)  # without a Ray
    pool._config, pool._busy = config.Engine(), {}
    pool._idle = [_Hand(SimpleNamespace(run=SimpleNamespace(remote=lambda task: "ref")), kind)]
    assert pool._begin(task, kind)
    return pool._busy["ref"].late_s - time.monotonic()


def limits_s(job: Job) -> dict[str, float]:
    return {t.id: limit_s(t) for t in job.tasks()}


def test_what_works_through_a_whole_film_has_time_in_proportion(promised: Promised) -> None:
    whole_s = config.Engine().deadline_s + config.Engine().deadline_frame_s * LONG
    job = promised(LONG)
    for task_id in ("shots film", "audio film/source", "audio film/fr"):
        assert limits_s(job)[task_id] == pytest.approx(whole_s, abs=5)
    cut(job)
    decide(job)
    found = limits_s(job)
    for task_id in ("speakers film", "actors film", "master film/fr"):
        assert found[task_id] == pytest.approx(whole_s, abs=5)
    short_s = found["faces film/shot_0001"]
    for stage in ("faces film", "lipsync film/fr", "sync film/fr"):
        joined = found[f"{stage}/shot_0002"]
        assert whole_s - 300 < joined < whole_s, "it joins what many windows have made"
        assert short_s < found[f"{stage}/shot_0002/window_1"] < joined / 10


def test_a_film_that_does_not_say_how_long_it_is_has_time_by_its_dub(promised: Promised) -> None:
    found = limits_s(promised(0))
    assert set(found) == {"shots film", "audio film/source", "audio film/fr"}
    more_s = config.Engine().deadline_frame_s * 96
    assert list(found.values()) == pytest.approx([config.Engine().deadline_s + more_s] * 3, abs=5)
