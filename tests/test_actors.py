"""Actors are fitted on all that they say in a title, and where it is asked for on what they say in other runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Dub
from films import plain_job

from dubbing import config, lending, manifest, media
from dubbing.analysis.casting import Looks, same_people
from dubbing.api import jobs
from dubbing.artifact import Artifact
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.people import Cast, People, Person
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, new_wave
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.tracks import FaceTracks, TrackSummary, clear_frames, save_tracks
from dubbing.clock import Timeline
from dubbing.errors import InputError
from dubbing.face import INNER_LIPS, JAW, OUTER_LIPS
from dubbing.generators.rewrite import voice
from dubbing.job import Job
from dubbing.records import Track
from dubbing.stages import actors
from dubbing.stages.actors import Actors
from dubbing.task import Task

RATE, HZ = Fraction(25), 16_000


def face(opening_N: np.ndarray, px: float) -> np.ndarray:
    """Meshes of a head that stands still and opens its mouth, (N, 478, 3) in pixels; px: between its eyes."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-0.4, 0.4, (478, 3)) * (1, 1, 0.3)
    points[[33, 263, 10, 152]] = (-0.5, 0, 0), (0.5, 0, 0), (0, -0.8, 0), (0, 1.2, 0)
    angle = np.linspace(np.pi, 0, 11)
    line = np.stack([0.28 * np.cos(angle), np.full(11, 0.75), -0.1 - 0.05 * np.sin(angle)], 1)
    for lips, bulge in ((OUTER_LIPS, 0.08), (INNER_LIPS, 0.0)):
        arch = np.stack([np.zeros(11), bulge * np.sin(angle), np.zeros(11)], 1)
        points[list(lips[:11])] = line - arch
        points[list(lips[:10:-1])] = (line + arch)[1:-1]
    jaw = [p for p in JAW if p != 152]
    around = np.linspace(0, np.pi, len(jaw))
    points[jaw] = np.stack([-0.7 * np.cos(around), 0.5 + 0.65 * np.sin(around), 0 * around], 1)
    meshes = np.repeat(points[None], len(opening_N), 0)
    meshes[:, [*OUTER_LIPS[11:], *INNER_LIPS[11:]], 1] += opening_N[:, None]
    meshes += 1e-4 * rng.normal(size=meshes.shape)
    return (meshes * px + 300).astype(np.float32)


def talk(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A voice, float32 at 16 kHz, and how far its mouth opens in each frame."""
    rng = np.random.default_rng(seed)
    knots = np.arange(0, frames + 4, 4)
    steps = np.interp(np.arange(frames), knots, rng.uniform(0, 1, len(knots)))
    t = np.arange(frames * HZ // 25) / HZ
    loud = np.interp(t * 25, np.arange(frames), steps)
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    return (0.1 * buzz * loud).astype(np.float32), 0.15 * steps


def commit(job: Job, task: Task, result: Artifact, files: Any = lambda folder: None) -> None:
    with job.store.commit(task.folder) as part:
        files(part)
        job.store.write_json(part / "result.json", {**result.to_dict(), "key": task.key})
    job.forget(task)


def analysed(
    job: Job, sizes_px: list[float], seed: int, character: str | None = None, count: int = 1
) -> FittedActors:  # fmt: skip
    """Put the analysis of a title in place, of so many people who speak in its shots of 3 s in turn, and fit them."""
    frames = 75 * len(sizes_px)
    cuts = tuple((n * 75, n * 75 + 75) for n in range(len(sizes_px)))
    wave, opening = talk(frames, seed)

    def find(stage: str) -> list[Task]:
        return [t for t in job.tasks() if t.stage == stage]

    line = Timeline(np.arange(frames, dtype=np.int64), 1 / RATE, frames, RATE)
    (shots,) = find("shots")
    commit(job, shots, ShotList(frames, cuts), lambda folder: media.save_timeline(folder, line))
    ids = [f"shot_{n:04d}/face_1" for n in range(1, len(sizes_px) + 1)]
    for task, name, (a, b), px in zip(find("faces"), ids, cuts, sizes_px, strict=True):
        track = Track(
            name, np.arange(a, b, dtype=np.int32), face(opening[a:b], px), np.ones(b - a, bool),
            np.zeros(b - a, np.float32), 2 * px,
        )  # fmt: skip
        summary = TrackSummary(name, a, b, b - a, 0, 2 * px, 0.0)
        commit(job, task, FaceTracks((summary,)), lambda folder, track=track: save_tracks(folder, [track]))
    (sound,) = find("source_audio")

    def heard(folder: Path) -> None:
        new_wave(folder, len(wave))[:] = np.round(wave * 32767)

    commit(job, sound, SourceSound(0, 0.0, len(wave), {name[:9]: "a" for name in ids}), heard)
    (people,) = find("people")
    commit(job, people, People(tuple(Person(n, tuple(ids[n::count]), frames) for n in range(count))))
    for cast in find("cast"):
        commit(job, cast, Cast(dict.fromkeys(ids, character or "")))
    decisions = [
        Decision(name[:9], name, None, 2 * px, 0.0, n % count, (Speaking(name, n % count, (cut,)),))
        for n, (name, cut, px) in enumerate(zip(ids, cuts, sizes_px, strict=True))
    ]
    (speakers,) = find("speakers")
    commit(job, speakers, SpeakerList(tuple(decisions), count))
    return fit(job)


def fit(job: Job) -> FittedActors:
    made: list[FittedActors] = []
    for task in sorted((t for t in job.tasks() if t.stage == "actors"), key=lambda t: t.window is None):
        with job.store.commit(task.folder) as part:
            made.append(Actors().process(task.inputs, part, lambda n: None))  # type: ignore[arg-type]
            job.store.write_json(part / "result.json", {**made[-1].to_dict(), "key": task.key})
        job.forget(task)
    return made[-1]


def written(folder: Path, name: str, frames: int, character: str | None = None, **title: Any) -> Path:
    """A manifest of a plain film; character: who is in its cast, with a picture."""
    path = plain_job(folder, {"fr": f"{name}.wav"}, frames, video=f"{name}.mp4", job=f"{name}.yaml")
    job = json.loads(path.read_text(encoding="utf-8"))
    if character:
        (folder / "face.png").write_bytes(b"a picture that nobody looks at")
        job["titles"][0]["cast"] = {character: {"face": "face.png"}}
    job["titles"][0] |= title
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def job_of(path: Path, out: Path) -> Job:
    return Job(manifest.load(path), out, config.load())


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The output folder of another run: an episode in which ANNA speaks for twelve seconds."""
    path = written(tmp_path, "pilot", 60, "ANNA")
    job = job_of(path, tmp_path / "out2")
    analysed(job, [160.0] * 4, seed=5, character="ANNA")
    plain = {"manifest": job.manifest.model_dump(mode="json"), "config": job.config.model_dump(mode="json")}
    job.store.write_json(tmp_path / "out2" / "run.json", {**plain, "state": "finished"})
    return tmp_path / "out2"


def test_every_shot_of_a_title_is_used_and_of_too_many_the_clearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [40.0, 160.0] * 4
    found = analysed(job_of(written(tmp_path, "film", 40), tmp_path / "out"), sizes, seed=1)
    assert found.dialogue_s == found.used_s == {0: 24.0} and not found.lent_s
    monkeypatch.setattr(voice, "MOST_S", 12.0)
    less = analysed(job_of(tmp_path / "film.yaml", tmp_path / "less"), sizes, seed=1)
    assert less.dialogue_s == {0: 24.0} and less.used_s == {0: 12.0}
    assert less.model_files != found.model_files
    large = analysed(job_of(tmp_path / "film.yaml", tmp_path / "large"), [160.0] * 8, seed=1)
    assert large.model_files != found.model_files, "how clearly a mouth is seen changes nothing"


def test_people_who_say_much_are_fitted_by_tasks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "film", 45)

    def fitted(out: str) -> tuple[FittedActors, list[Any], dict[str, bytes]]:
        job = job_of(path, tmp_path / out)
        found = analysed(job, [160.0, 80.0, 160.0] * 3, seed=1, count=3)
        task = job.analysis(job.manifest.titles[0]).get(FittedActors)
        assert task is not None
        return found, [one.inputs for one in task.windows], {f.name: f.read_bytes() for f in task.folder.glob("*.npz")}

    whole, alone, files = fitted("out")
    monkeypatch.setattr(actors, "PART_S", 6.0)
    joined, parts, same = fitted("parts")
    assert not alone and [one.only for one in parts] == [(0,), (1,), (2,)]
    assert joined == whole and same == files and len(files) == 6


def test_small_and_turned_faces_count_less() -> None:
    seen, yaw = np.array([1, 1, 1, 0], bool), np.array([0, 30, 70, 0], np.float32)
    near = Track("a", np.arange(4), face(np.zeros(4), 160.0), seen, yaw, 320.0)
    straight, turned, away, hidden = clear_frames(near)
    assert straight == 1 and 0.4 < turned < 0.8 and 0 < away < 0.2 and hidden == 0
    far = replace(near, mesh_NP3=face(np.zeros(4), 20.0))
    assert clear_frames(far)[0] < 0.4


def test_what_another_run_lends_is_kept_and_used_when_that_is_gone(tmp_path: Path, other: Path) -> None:
    path = written(tmp_path, "film", 40, "ANNA", actors={"also": ["out2"]})
    alone = analysed(job_of(written(tmp_path, "alone", 40, "ANNA"), tmp_path / "alone"), [160.0] * 2, 1, "ANNA")
    job = job_of(path, tmp_path / "out")
    (note,) = lending.foreseen(job, job.manifest.titles[0])
    assert "12 s of 1 person" in note
    lending.take(job)
    more = analysed(job, [160.0] * 2, 1, "ANNA")
    assert more.lent_s == {0: 12.0} and more.used_s == alone.used_s and not more.doubts
    assert more.model_files != alone.model_files
    kept = [p for p in (tmp_path / "out/reel/analysis/lent").rglob("*") if p.is_file()]
    assert {p.suffix for p in kept} == {".npz", ".json"}, "numbers only"

    other.rename(tmp_path / "away")
    later = job_of(path, tmp_path / "out")
    (note,) = lending.foreseen(later, later.manifest.titles[0])
    assert "not there any more" in note
    lending.take(later)
    (task,) = [t for t in later.tasks() if t.stage == "actors"]
    assert later.done(task), "the same inputs have another key"
    (seen,) = [t for t in job_of(path, tmp_path / "out").tasks() if t.stage == "actors"]
    assert seen.key == task.key, "whoever only looks at the run finds another"
    with pytest.raises(InputError, match="no run.json"):
        lending.take(job_of(path, tmp_path / "new"))


def test_somebody_with_another_name_lends_nothing(tmp_path: Path, other: Path) -> None:
    job = job_of(written(tmp_path, "film", 40, "BEN", actors={"also": ["out2"]}), tmp_path / "out")
    lending.take(job)
    found = analysed(job, [160.0] * 2, 1, "BEN")
    assert not found.lent_s and "nobody in it is known to be anybody here" in found.doubts[0]


def test_what_cannot_lend_is_refused(tmp_path: Path, other: Path, dub: Dub) -> None:
    path = written(tmp_path, "film", 40)

    def refused(out: Path, where: str = "out", of: Path = path) -> str:
        found = jobs.check(manifest.load(of).learning([out]), tmp_path / where, listen=False)
        (problem,) = [str(p) for p in found.problems if str(p).startswith("--from: ")]
        return problem

    (tmp_path / "empty").mkdir()
    assert "no run.json" in refused(tmp_path / "empty")
    assert "this very run" in refused(other, "out2")
    assert "the same film" in refused(other, of=tmp_path / "pilot.yaml")
    (actors,) = other.glob("reel/analysis/actors-*")
    (actors / "result.json").write_text('{"schema": "dub.actors.1"}', encoding="utf-8")
    assert "another version" in refused(other) or "run the job again" in refused(other)
    code, _, told = dub("run", path, "--from", tmp_path / "empty", "--out", tmp_path / "out")
    assert code == 2 and "--from: " in told and "no run.json" in told


def looks(names: tuple[str, ...] = (), at: float | None = None) -> Looks:
    described = np.zeros((0, 128), np.float32) if at is None else np.full((2, 128), at / np.sqrt(128), np.float32)
    return Looks(names, described)


@pytest.mark.parametrize(
    ("here", "there", "same", "said"),
    [
        ({0: looks(("ANNA",)), 1: looks(("BEN",))}, {7: looks(("BEN",))}, {7: 1}, ""),
        ({0: looks(("ANNA",), 0.0)}, {0: looks(("ANNA",), 0.9)}, {}, "another face"),
        ({0: looks(("ANNA",)), 1: looks(("ANNA",))}, {0: looks(("ANNA",))}, {}, "several people"),
        ({0: looks(at=0.0), 1: looks(at=0.8)}, {0: looks(at=0.3)}, {0: 0}, ""),
        ({0: looks(at=0.0), 1: looks(at=0.33)}, {0: looks(at=0.3)}, {0: 1}, ""),
        ({0: looks(at=0.0), 1: looks(at=0.3)}, {0: looks(at=0.16)}, {}, "not sure enough"),
        ({0: looks(at=0.0)}, {0: looks(at=0.44)}, {}, "not sure enough"),
        ({0: looks(at=0.0)}, {0: looks(at=0.9), 1: looks()}, {}, ""),
        ({0: looks(("ANNA",), 0.0)}, {0: looks(("BEN",), 0.1)}, {}, ""),
    ],
)
def test_who_is_who_in_another_title(
    here: Mapping[int, Looks], there: Mapping[int, Looks], same: Mapping[int, int], said: str
) -> None:
    found, unsure = same_people(here, there)
    assert found == same and (said in unsure[0] if said else not unsure)
