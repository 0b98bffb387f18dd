"""Long films and long shots, planned but not made: the deadlines of their tasks, and what an estimate says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dubbing import config, estimate, manifest, media
from dubbing.analysis.windows import windows
from dubbing.artifact import Artifact
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import OverlayList
from dubbing.artifacts.people import People, Person
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import FaceTracks, TrackSummary
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.engine.ray import deadline_s
from dubbing.estimate import Estimate, Made, Rates, StageEstimate, measure, remember
from dubbing.estimate.costs import Rate
from dubbing.job import Job
from dubbing.media import ClipWriter
from dubbing.pipeline import PIPELINE
from dubbing.stage import Stage, execute
from dubbing.stages.faces import FacesInputs

HZ = 16_000
LONG = 172_800  # frames: two hours
CUTS = ((0, 100), (100, LONG))  # one short shot, and one that is cut into windows
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


def finish(job: Job, task_id: str, result: Artifact, seconds: float = 1.0) -> None:
    """Say that a task has been done, without doing it. seconds: that it took, on one core."""
    (task,) = [t for t in job.tasks() if t.id == task_id]
    with job.store.commit(task.folder) as part:
        job.store.write_json(part / "result.json", {**result.to_dict(), "seconds": seconds, "cpu_s": seconds})
    job.forget(task)


def cut(job: Job) -> None:
    finish(job, "shots film", ShotList(LONG, CUTS))


def decide(job: Job, sound: bool = True) -> None:
    """The analysis is over: the first shot is left alone. sound: the dub has been heard too."""
    left = Decision("shot_0001", None, "no_face", None, None, None)
    speaks = Speaking("shot_0002/face_1", 0, ((100, LONG),))
    heard = Decision("shot_0002", speaks.track, None, 20.0, 0.0, 0, (speaks,))
    finish(job, "source_audio film", SourceSound(0, 0.0, 0, {"shot_0001": "a", "shot_0002": "b"}))
    finish(job, "overlay_list film", OverlayList({"shot_0001": "", "shot_0002": ""}))
    finish(job, "people film", People((Person(0, (speaks.track,), LONG - 100),)))
    finish(job, "speakers film", SpeakerList((left, heard), 1))
    finish(job, "actors film", FittedActors({}, {}))
    finish(job, "donors film", DonorStores({}, {}))
    if sound:
        finish(job, "audio film/fr", DubSound(0, 0.0, 0, {"shot_0001": "a", "shot_0002": "b"}))
        says = FaceTurns(speaks.track, 0, speaks.stretches, speaks.stretches)
        turns = ShotTurns("shot_0001", ()), ShotTurns("shot_0002", speaks.stretches, (says,))
        finish(job, "turns film/fr", TurnList(turns))


# -- deadlines -------------------------------------------------------------------------------


def limits_s(job: Job) -> dict[str, float]:
    return {t.id: deadline_s(t, config.Engine()) for t in job.tasks()}


def test_what_works_through_a_whole_film_has_time_in_proportion(promised: Promised) -> None:
    whole_s = config.Engine().deadline_s + config.Engine().deadline_frame_s * LONG
    job = promised(LONG)
    for task_id in ("shots film", "source_audio film", "audio film/fr"):
        assert limits_s(job)[task_id] == pytest.approx(whole_s, abs=5)
    cut(job)
    decide(job)
    found = limits_s(job)
    for task_id in ("speakers film", "actors film", "master film/fr"):
        assert found[task_id] == pytest.approx(whole_s, abs=5)
    short_s = found["faces film/shot_0001"]
    assert whole_s - 300 < found["sync film/fr/shot_0002"] < whole_s
    for stage in ("faces film", "lipsync film/fr"):
        joined = found[f"{stage}/shot_0002"]
        assert whole_s - 300 < joined < whole_s, "it joins what many windows have made"
        assert short_s < found[f"{stage}/shot_0002/window_1"] < joined / 10


def test_a_film_that_does_not_say_how_long_it_is_has_time_by_its_dub(promised: Promised) -> None:
    found = limits_s(promised(0))
    assert set(found) == {"shots film", "source_audio film", "audio film/fr"}
    more_s = config.Engine().deadline_frame_s * 96
    assert list(found.values()) == pytest.approx([config.Engine().deadline_s + more_s] * 3, abs=5)


# -- estimates -------------------------------------------------------------------------------

SPENT_S = 1200.0
DUBBED = Take("dubbed", None, "shot_0002/face_1", 20.0, 0.0)


def planned(job: Job, workers: int = 8, **more: Any) -> tuple[Estimate, dict[str, StageEstimate]]:
    rates = Rates(
        {s.name: Rate(1.0, 1.0, 1000.0) for s in PIPELINE}, dubbed_share=0.5, faces=1.0, face_share=0.2, **more
    )
    found = estimate.estimate(job, rates, workers)
    return found, {s.stage: s for s in found.stages}


def faces_of(frames: tuple[int, int]) -> FaceTracks:
    start, end = frames
    return FaceTracks((TrackSummary("shot_0002/face_1", start, end, end - start, 0, 20.0, 0.0),))


def test_shots_that_are_expected_to_be_long_are_expected_in_windows(promised: Promised) -> None:
    job = promised(LONG)
    long, stages = planned(job, 1000, shot_frames=LONG / 10)
    short, _ = planned(job, 1000, shot_frames=1000)
    assert [stages[s].tasks for s in ("faces", "lipsync", "sync", "master")] == [10, 10, 10, 1]
    assert long.core_hours == pytest.approx(short.core_hours)
    assert long.longest_s and short.longest_s
    assert short.longest_s < long.longest_s < 1.2 * short.longest_s, (
        "letters over its faces and what these look like are one task of a shot; undivided it would be 1.8 times"
    )


def test_a_long_shot_is_one_task_and_counts_whole_at_every_step(promised: Promised) -> None:
    job = promised(LONG)
    before, was = planned(job)
    assert before.core_hours
    cut(job)
    found, stages = planned(job)
    assert (stages["faces"].tasks, stages["faces"].done, stages["faces"].frames) == (2, 0, LONG)
    assert (stages["lipsync"].tasks, stages["lipsync"].frames, stages["master"].tasks) == (2, LONG / 2, 1)
    assert found.core_hours == pytest.approx(before.core_hours - (was["shots"].core_hours or 0))

    first, *_ = windows(*CUTS[1])
    finish(job, "faces film/shot_0002/window_1", faces_of(first), SPENT_S)
    _, stages = planned(job)
    assert (stages["faces"].done, stages["faces"].frames) == (0, LONG - (first[1] - first[0]))
    finish(job, "faces film/shot_0002", faces_of((100, LONG)), SPENT_S)
    _, stages = planned(job)
    assert (stages["faces"].tasks, stages["faces"].done, stages["faces"].frames) == (2, 1, 100)
    assert (stages["lipsync"].tasks, stages["lipsync"].frames) == (2, LONG / 2), (
        "what was followed is as long as before"
    )

    decide(job, sound=False)
    _, guessed = planned(job)
    decide(job, sound=True)
    _, stages = planned(job)
    for stage in ("lipsync", "sync", "master"):
        assert stages[stage].tasks == guessed[stage].tasks
        assert stages[stage].core_hours == pytest.approx(guessed[stage].core_hours)
    assert stages["lipsync"].frames == LONG - 100
    finish(job, "lipsync film/fr/shot_0002/window_1", DUBBED, SPENT_S)
    _, stages = planned(job)
    assert (stages["lipsync"].done, stages["lipsync"].frames) == (0, LONG - first[1])
    finish(job, "lipsync film/fr/shot_0002", DUBBED, SPENT_S)
    _, stages = planned(job)
    assert (stages["lipsync"].done, stages["lipsync"].frames) == (1, 0)
    assert stages["master"].core_hours == pytest.approx(guessed["master"].core_hours)


def test_what_a_long_shot_cost_is_measured_whole(promised: Promised) -> None:
    job = promised(LONG)
    cut(job)
    finish(job, "faces film/shot_0001", FaceTracks(()), 0.1)
    finish(job, "faces film/shot_0002", faces_of((100, LONG)), SPENT_S)
    (costs,) = measure(job, "ray").titles
    assert (costs["faces"].tasks, costs["faces"].frames, costs["faces"].work.frames) == (2, LONG, LONG)
    decide(job)
    finish(job, "lipsync film/fr/shot_0002", DUBBED, SPENT_S)
    (costs,) = measure(job, "ray").titles
    assert costs["lipsync"].work.frames == costs["lipsync"].frames == LONG - 100
    assert Rates.pooled([measure(job, "ray")], "rewrite", "lips").dubbed_share == 1

    made = Made()
    made.ids = {"faces film/shot_0002"}
    job.config = job.config.model_copy(update={"engine": config.Engine(workers=len(windows(*CUTS[1])))})
    line = remember(job, {"seconds": 15.0, "engine": "ray"}, made)
    assert line and line.startup_s == pytest.approx(15 - 1200 / line.workers, abs=0.02), "windows are worked on at once"


class Joins(Stage[FacesInputs, FaceTracks]):
    name = "faces"

    def process(self, inputs: FacesInputs, out: Path, progress: Callable[[int], None]) -> FaceTracks:
        return FaceTracks(())


def test_a_shot_that_was_joined_took_as_long_as_its_windows(promised: Promised) -> None:
    job = promised(LONG)
    cut(job)
    tasks = job.tasks()
    made = [t for t in tasks if t.window is not None and t.stage == "faces"]
    for task in made:
        with job.store.commit(task.folder) as part:
            job.store.write_json(part / "result.json", {"seconds": 10.0, "cpu_s": 8.0})
    (whole,) = [t for t in tasks if t.id == "faces film/shot_0002"]
    assert execute(Joins(), whole, job.store, lambda n: None).error is None
    spent = job.spent(whole)
    assert spent and spent.seconds == pytest.approx(10 * len(made), abs=2)
    assert spent.cpu_s == pytest.approx(8 * len(made), abs=2)
