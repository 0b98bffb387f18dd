"""The stores of mouths among a job's tasks: who waits for them, who does not, and what becomes of takes without."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import config, manifest, media
from dubbing.artifact import Artifact
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import OverlayList
from dubbing.artifacts.people import People, Person
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.decisions import Decision as Named
from dubbing.job import Job
from dubbing.stages.donors import DonorsInputs
from dubbing.stages.lipsync import LipsyncInputs
from dubbing.task import Outcome, Task

FRAMES = 300
CUTS = ((0, 100), (100, 200), (200, FRAMES))


def planned(job: Job, *failed: str) -> dict[str, Task]:
    return {t.id: t for t in job.tasks({name: Outcome(name, 1.0, "it broke", "StageError") for name in failed})}


def job_of(folder: Path, out: Path, *languages: str, generator: str = "rewrite") -> Job:
    """A job of a film that promises three shots."""
    film, sound = folder / "film.mp4", folder / "dub.flac"
    if not film.exists():
        with media.ClipWriter(film, 64, 64, Fraction(25), sample_rate_hz=16_000, channels=1) as clip:
            for _ in range(FRAMES):
                clip.frame(np.zeros((64, 64, 3), np.uint8))
            clip.sound(np.zeros((FRAMES * 640, 1), np.float32))
        with media.ClipWriter(sound, sample_rate_hz=16_000, channels=1) as clip:
            clip.sound(np.zeros((FRAMES * 640, 1), np.float32))
    dubs = [{"language": language, "audio": "dub.flac"} for language in languages]
    said = {"version": 1, "titles": [{"id": "film", "video": "film.mp4", "dubs": dubs}], "generator": generator}
    (folder / "job.yaml").write_text(json.dumps(said))
    return Job(manifest.load(folder / "job.yaml"), out, config.load())


def finish(job: Job, task_id: str, result: Artifact) -> None:
    """Say that a task has been done, without doing it."""
    task = planned(job)[task_id]
    with job.store.commit(task.folder) as part:
        job.store.write_json(part / "result.json", {**result.to_dict(), "seconds": 1.0, "cpu_s": 1.0})
    job.forget(task)


def analysed(job: Job, people: tuple[tuple[str, ...], ...]) -> None:
    """The analysis is over: these tracks show one person each, and each of them speaks."""
    keys = {f"shot_{n:04d}": str(n) for n in (1, 2, 3)}
    finish(job, "shots film", ShotList(FRAMES, CUTS))
    finish(job, "overlay_list film", OverlayList(dict.fromkeys(keys, "")))
    finish(job, "source_audio film", SourceSound(0, 0.0, 0, keys))
    finish(job, "people film", People(tuple(Person(n, tracks, 100) for n, tracks in enumerate(people))))
    whose = {track: n for n, tracks in enumerate(people) for track in tracks}
    rows, turns = [], []
    for shot, frames in zip(keys, CUTS, strict=True):
        speaks = [Speaking(t, n, (frames,)) for t, n in whose.items() if t.startswith(shot)]
        rows.append(Decision(shot, speaks[0].track, None, 200.0, 0.0, speaks[0].actor, tuple(speaks)))
        turns.append(
            ShotTurns(shot, (frames,), tuple(FaceTurns(s.track, s.actor, (frames,), (frames,)) for s in speaks))
        )
    finish(job, "speakers film", SpeakerList(tuple(rows), len(people)))
    finish(job, "actors film", FittedActors({}, {}))
    for dub in job.manifest.titles[0].dubs:
        finish(job, f"audio film/{dub.language}", DubSound(0, 0.0, 0, keys))
        finish(job, f"turns film/{dub.language}", TurnList(tuple(turns)))


A = ("shot_0001/face_1", "shot_0002/face_1")
B = ("shot_0003/face_1",)
TAKES = [f"lipsync film/fr/shot_{n:04d}" for n in (1, 2, 3)]


def test_takes_wait_for_the_stores_and_only_those_of_who_lends_depend_on_them(tmp_path: Path) -> None:
    job = job_of(tmp_path, tmp_path / "out", "fr")
    analysed(job, (A, B))
    before = planned(job)
    asked = before["donors film"].inputs
    assert isinstance(asked, DonorsInputs) and asked.people == ((0, A),), "one shot has nothing to lend"
    assert [f.task for f in asked.faces] == ["faces film/shot_0001", "faces film/shot_0002"]
    assert not any(t.startswith("lipsync") for t in before)
    finish(job, "donors film", DonorStores({0: "mouths_abc.npz"}, {0: 40}))
    tasks = planned(job)
    files = [tasks[name].inputs.donor_files for name in TAKES]
    assert files == [("mouths_abc.npz",), ("mouths_abc.npz",), None]
    assert ["donors film" in tasks[name].needs for name in TAKES] == [True, True, False]


def test_another_language_finds_the_stores_made(tmp_path: Path) -> None:
    job = job_of(tmp_path, tmp_path / "out", "fr")
    analysed(job, (A, B))
    finish(job, "donors film", DonorStores({0: "mouths_abc.npz"}, {0: 40}))
    first = planned(job)
    second = job_of(tmp_path, tmp_path / "out", "fr", "de")
    tasks = planned(second)
    assert second.done(tasks["donors film"])
    assert [tasks[name].key for name in TAKES] == [first[name].key for name in TAKES]


def test_where_the_stores_cannot_be_made_takes_are_and_say_so(tmp_path: Path) -> None:
    job = job_of(tmp_path, tmp_path / "out", "fr")
    analysed(job, (A, B))
    tasks = planned(job, "donors film")
    inputs = [tasks[name].inputs for name in TAKES]
    assert all(isinstance(one, LipsyncInputs) and one.donors is None and one.unlent for one in inputs)
    assert not any("donors film" in (*tasks[name].needs, *tasks[name].after) for name in TAKES)
    finish(job, "donors film", DonorStores({0: "mouths_abc.npz"}, {0: 40}))
    again = planned(job)
    assert all(again[name].key != tasks[name].key for name in TAKES), "with the stores they are made anew"


def test_names_are_nothing_to_the_stores(tmp_path: Path) -> None:
    job = job_of(tmp_path, tmp_path / "out", "fr")
    analysed(job, (A, B))
    finish(job, "donors film", DonorStores({0: "mouths_abc.npz"}, {0: 40}))
    before = planned(job)
    job.named["film"] = [Named(1, "", "eva", "film", "", "", "name", text="ANNA", tracks=A, spans=CUTS[:2])]
    tasks = planned(job)
    assert "cast film" in tasks and tasks["donors film"].key == before["donors film"].key


def test_other_generators_and_films_of_one_shot_have_no_stores(tmp_path: Path) -> None:
    job = job_of(tmp_path, tmp_path / "out", "fr")
    analysed(job, ((A[0],), (A[1],), B))
    tasks = planned(job)
    assert "donors film" not in tasks and {*TAKES} <= {*tasks}
    draft = Job(job.manifest, job.store, job.config.model_copy(update={"quality": "draft"}))
    assert "donors film" not in planned(draft)
