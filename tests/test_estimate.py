"""Estimates: what is measured, how it is kept, how a job is priced and scheduled, and what `dub plan` says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from command import Dub, code_of
from films import plain_job

from dubbing import config, estimate, manifest
from dubbing.artifact import Artifact, Ref
from dubbing.engine.pool import Turn
from dubbing.engine.schedule import Schedule
from dubbing.estimate import history
from dubbing.estimate.costs import Cost, Measured, Rate, Rates, Work, fingerprint
from dubbing.estimate.schedule import Piece, in_parts, longest_chain, makespan
from dubbing.job import Job
from dubbing.pipeline import PIPELINE
from dubbing.stage import Resources, Stage
from dubbing.task import Inputs, Outcome, Task

FRAMES = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two plain shots of 50 frames, and two dubs."""
    return plain_job(tmp_path_factory.mktemp("plan"), {"fr": "fr.flac", "de": "de.flac"}, FRAMES).parent


def job_in(folder: Path, out: Path) -> Job:
    return Job(manifest.load(folder / "job.yaml"), out, config.load())


def rates(**more: object) -> Rates:
    """A machine that is as fast as the one of LOG.md at every stage."""
    stages = {s.name: Rate(1.0, 1.0, 1000.0) for s in PIPELINE}
    return replace(Rates(stages, dubbed_share=0.5, faces=1.0, face_share=0.2, shot_frames=50.0), **more)  # type: ignore[arg-type]


# -- the schedule ----------------------------------------------------------------------------


def test_work_is_shared_out_and_waits_for_what_it_needs() -> None:
    pieces = [Piece(str(n), 1.0) for n in range(8)] + [Piece("end", 3.0, tuple(str(n) for n in range(8)))]
    assert makespan(pieces, 1, 0) == 11
    assert makespan(pieces, 4, 0) == 5
    assert makespan(pieces, 100, 0) == 4 == longest_chain(pieces)


def test_the_first_dub_goes_first_and_in_it_what_most_waits_for() -> None:
    ends = makespan([Piece("z", 4.0, weight=4.0), *(Piece(str(n), 1.0, weight=1.0) for n in range(4))], 2, 0)
    assert ends == 4, "a long one that starts last would end at 6"
    # both cores free at 0: `b` is short but heavy, so its follower starts at once beside `a`
    pieces = [Piece("a", 5.0), Piece("a2", 5.0), Piece("b", 1.0, weight=10.0), Piece("c", 9.0, ("b",), weight=9.0)]
    assert makespan(pieces, 2, 0) == 10
    assert makespan([replace(p, rank=p.weight > 0) for p in pieces], 2, 0) == 15, "those of the next dub wait"


def test_what_is_done_in_parts_is_shared_out() -> None:
    one = Piece("shot", 9.0, ("faces",))
    assert in_parts(one, 0) == [one]
    pieces = [Piece("faces", 1.0), *in_parts(one, 3), Piece("master", 1.0, ("shot",))]
    assert makespan(pieces, 1, 0) == 11 and makespan(pieces, 3, 0) == 5 == longest_chain(pieces)


@dataclass(frozen=True)
class Nothing(Artifact):
    schema: ClassVar[str] = "test.nothing.1"


@dataclass(frozen=True)
class Waits(Inputs):
    """How long it takes, and what it waits for."""

    seconds: float
    before: tuple[Ref[Nothing], ...]


class OnPaper(Stage[Waits, Nothing]):
    """Never done in earnest."""

    def process(self, inputs: Waits, out: Path, progress: Callable[[int], None]) -> Nothing:
        raise AssertionError(inputs)


class A(OnPaper):
    name = "a"


class B(OnPaper):
    name = "b"


def seconds(task: Task) -> float:
    assert isinstance(task.inputs, Waits)
    return task.inputs.seconds


class Slots:
    """A pool of so many workers, on paper: the clock goes on to the next end of a task."""

    def __init__(self, slots: int) -> None:
        self.slots, self.now_s = slots, 0.0
        self._busy: list[tuple[float, str]] = []

    def take(self, ready: Sequence[Task]) -> list[Task]:
        taken = list(ready[: self.slots - len(self._busy)])
        self._busy += [(self.now_s + seconds(t), t.id) for t in taken]
        return taken

    def wait(self) -> Turn:
        self.now_s, name = min(self._busy)
        self._busy.remove((self.now_s, name))
        return Turn([Outcome(name, 0.0)])

    def see(self, event: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_the_engine_goes_in_the_same_order(slots: int, tmp_path: Path) -> None:
    """Its own schedule with a pool on paper ends when the estimate says."""
    rng = np.random.default_rng(slots)
    tasks: list[Task] = []
    for n in range(120):
        before = tuple(tasks[m].ref for m in rng.integers(0, n, 2)) if n > 10 else ()
        inputs = Waits(float(rng.uniform(0.5, 20)), before)
        tasks.append(Task((A, B)[n % 2], str(n), tmp_path / str(n), inputs, f"t{n}",
                          rank=int(rng.integers(0, 3)), weight=float(rng.integers(0, 50))))  # fmt: skip
    ended: set[str] = set()
    work: Any = SimpleNamespace(stages=[A, B], tasks=lambda failed: tasks, done=lambda task: task.id in ended,
                                forget=lambda task: ended.add(task.id), result=lambda task: None)  # fmt: skip
    pool = Slots(slots)
    Schedule(work, lambda event: None).drain(lambda: pool)
    pieces = [Piece(t.id, seconds(t), t.needs, rank=t.rank, weight=t.weight) for t in tasks]
    assert makespan(pieces, slots, 0) == pytest.approx(pool.now_s)


def test_gpus_are_counted_apart_from_cores() -> None:
    pieces = [Piece(f"g{n}", 2.0, cpus=1.0, gpus=0.5) for n in range(4)]
    assert makespan(pieces, 8, 1) == 4
    assert makespan([*pieces, Piece("c", 4.0)], 3, 1) == 4, "a core stage never waits behind a GPU one"
    assert makespan([Piece("x", 1.0, gpus=2.0)], 1, 1) == 1, "more than there is: all there is"


def test_a_circle_is_an_error_and_an_unknown_id_is_not() -> None:
    with pytest.raises(ValueError, match="circle"):
        makespan([Piece("x", 1.0, ("y",)), Piece("y", 1.0, ("x",))], 1, 0)
    assert makespan([Piece("x", 1.0, ("elsewhere",))], 1, 0) == 1


# -- what was measured -----------------------------------------------------------------------


def line(**more: object) -> Measured:
    lips = Cost(10, 1000, Work(500, 500, 500, 100), seconds=30.0, cpu_s=20.0)
    title = {"lipsync": lips, "faces": Cost(10, 1000, Work(1000, 1000, 900), 14.0, 14.0)}
    return replace(Measured((title,), "rewrite", "lips", "ray", 2, machine=fingerprint(), startup_s=7.0), **more)  # type: ignore[arg-type]


def test_a_line_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.jsonl"
    history.keep(line(at="1"), path)
    with path.open("a") as f:
        f.write('{"schema": "dub.cost.99"}\nhalf a li\n[]\n')
    history.keep(line(at="2"), path)
    assert estimate.recall(path) == [line(at="2"), line(at="1")]
    assert estimate.recall(tmp_path / "absent") == []


def test_the_history_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LINES", 3)
    for n in range(20):
        history.keep(line(at=str(n)), tmp_path / "h")
    kept = estimate.recall(tmp_path / "h")
    assert len(kept) <= 6 and kept[0].at == "19"


def test_rates_are_times_the_reference_and_shares_are_means_over_titles() -> None:
    found = Rates.pooled([line()], "rewrite", "lips")
    lips = Work(500, 500, 500, 100)
    assert found.of("lipsync", lips) == pytest.approx((20.0, 20.0)), "processor time, and no longer than it"
    assert found.of("lipsync", lips * 2) == pytest.approx((40.0, 40.0))
    assert found.of("master", lips) is None
    assert (found.dubbed_share, found.faces, found.shot_frames) == (0.5, 0.9, 100)
    assert found.face_share == pytest.approx(0.2) and found.startup_s == {"ray": 7.0}
    whole = {"lipsync": Cost(1, 9000, Work(9000, 9000, 9000, 900), 1.0, 1.0)}
    assert Rates.pooled([line(), line(titles=(whole,))], "rewrite", "lips").dubbed_share == 0.75


def test_only_what_is_alike_is_pooled() -> None:
    assert "lipsync" not in Rates.pooled([line()], "wav2lip", "lips").stages
    far = line(machine="another", titles=({"faces": Cost(1, 10, Work(10), 99.0, 99.0)},))
    assert Rates.pooled([far, line()], "rewrite", "lips") == Rates.pooled([line()], "rewrite", "lips")
    assert not Rates.pooled([far], "rewrite", "lips").here
    local = line(engine="local", startup_s=1.0)
    assert Rates.pooled([local, line()], "rewrite", "lips", "ray").runs == 1
    assert Rates.pooled([local], "rewrite", "lips", "ray").runs == 1, "another engine's is better than nothing"


def test_generators_beside_the_main_one_are_pooled_by_their_names() -> None:
    two = line(titles=({**line().titles[0], "lipsync wav2lip": Cost(1, 100, Work(100, 100, 100, 9), 5.0, 5.0)},))
    found = Rates.pooled([two, line(generator="wav2lip")], "rewrite", "lips", others=["wav2lip"])
    assert {s for s in found.stages if "lipsync" in s} == {"lipsync", "lipsync wav2lip"}
    assert found.stages["lipsync wav2lip"].frames == 600
    assert Rates.pooled([two], "rewrite", "lips").stages == Rates.pooled([line()], "rewrite", "lips").stages


def test_new_measurements_put_old_ones_aside() -> None:
    new = line(titles=({"faces": Cost(1, 30_000, Work(30_000), 1.0, 1.0)},))
    old = line(titles=({"faces": Cost(1, 30_000, Work(30_000), 500.0, 500.0)},))
    assert Rates.pooled([new, old], "rewrite", "lips").stages == Rates.pooled([new], "rewrite", "lips").stages


def test_a_network_costs_by_the_frame() -> None:
    assert Work(10, 10, 10, 1).reference_s("lipsync", "wav2lip") == Work(10, 10, 10, 9).reference_s(
        "lipsync", "wav2lip"
    )
    assert Work(10, 10, 10, 1).reference_s("lipsync") < Work(10, 10, 10, 9).reference_s("lipsync")


# -- a job -----------------------------------------------------------------------------------


def test_analysis_is_counted_once_and_stages_per_language(folder: Path, tmp_path: Path) -> None:
    found = estimate.estimate(job_in(folder, tmp_path / "out"), rates(), 2)
    stages = {s.stage: s for s in found.stages}
    assert {n: s.tasks for n, s in stages.items()} == {
        "shots": 1, "faces": 2, "source_audio": 1, "audio": 2, "people": 1, "speakers": 1, "actors": 1, "donors": 1,
        "turns": 2, "lipsync": 4, "sync": 4,
        "overlays": 2, "overlay_list": 1,
        "master": 2, "proof": 2,
    }  # fmt: skip
    assert stages["faces"].frames == FRAMES and stages["lipsync"].frames == FRAMES, "half of the frames, two languages"
    assert stages["shots"].known and not stages["faces"].known
    mix = Work(FRAMES, FRAMES * 128 * 96 / 1e6).reference_s("shots")
    assert stages["shots"].core_hours == pytest.approx(mix / 3600)
    assert found.core_hours == pytest.approx(sum(s.core_hours or 0 for s in found.stages))
    assert any("not known before the analysis" in note and "50%" in note for note in found.notes)


def test_more_workers_never_beat_the_longest_chain(folder: Path, tmp_path: Path) -> None:
    job = job_in(folder, tmp_path / "out")
    one, many = (estimate.estimate(job, rates(startup_s={"ray": 3.0}), n) for n in (1, 1000))
    assert one.core_hours == many.core_hours and one.wall_s and many.wall_s and many.longest_s
    assert one.wall_s == pytest.approx(3.0 + (one.core_hours or 0) * 3600)
    assert many.wall_s == pytest.approx(many.longest_s) and many.wall_s < one.wall_s


def test_gpu_hours_where_a_stage_asks_for_one(folder: Path, tmp_path: Path) -> None:
    job = job_in(folder, tmp_path / "out")
    asks = {s.name: Resources(gpus=0.25 if s.name == "lipsync" else 0.0) for s in job.stages}
    found = estimate.estimate(job, rates(), 8, asks=asks)
    lips = next(s for s in found.stages if s.stage == "lipsync")
    assert lips.core_hours and found.gpu_hours == lips.gpu_hours == pytest.approx(lips.core_hours / 4)
    assert found.gpus == 1 and estimate.estimate(job, rates(), 8).gpus == 0


def test_each_of_several_generators_is_priced(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def network(name: str, *args: object, **kwargs: object) -> SimpleNamespace:
        return SimpleNamespace(hash="0" * 12, wants=frozenset(), profits_from_gpu=name == "wav2lip", gpu_share=0.5)

    monkeypatch.setattr("dubbing.generators.create", network)
    plain = json.loads((folder / "job.yaml").read_text())
    speeds = rates().stages | {"lipsync wav2lip": Rate(2.0, 2.0, 1000.0)}

    def planned(generator: object, **more: object) -> tuple[dict[str, estimate.GeneratorEstimate], estimate.Estimate]:
        path = folder / "several.yaml"
        path.write_text(json.dumps(plain | {"generator": generator}))
        job = Job(manifest.load(path), tmp_path / "out", config.load())
        found = estimate.estimate(job, rates(stages=speeds, **more), 2, gpus=1)
        return {one.generator: one for one in found.generators}, found

    both, found = planned({"name": "best_of", "of": ["rewrite", "wav2lip"]})
    assert both["rewrite"].frames == both["wav2lip"].frames == FRAMES, "half of the frames, two languages"
    lips = next(s for s in found.stages if s.stage == "lipsync")
    assert lips.frames == 2 * FRAMES and lips.core_hours == pytest.approx(
        sum(g.core_hours or 0 for g in found.generators)
    )
    assert found.gpu_hours == both["wav2lip"].gpu_hours == pytest.approx((both["wav2lip"].core_hours or 0) / 2)
    assert next(s for s in found.stages if s.stage == "select").tasks == 2 and not both["rewrite"].gpu_hours
    parts, _ = planned([{"name": "wav2lip", "when": {"frames": ["0-50"]}}, "rewrite"])
    assert (parts["wav2lip"].frames, parts["rewrite"].frames) == (FRAMES / 2, FRAMES / 2)
    sizes = [{"name": "wav2lip", "when": {"face_px": ">400"}}, "rewrite"]
    dear, told = planned(sizes)
    assert dear["rewrite"].frames == 0 and any("the one that costs most" in note for note in told.notes)
    shared, told = planned(sizes, shares={"wav2lip": 0.25, "rewrite": 0.75})
    assert (shared["wav2lip"].frames, shared["rewrite"].frames) == (FRAMES / 4, FRAMES * 3 / 4)
    assert not any("the one that costs most" in note for note in told.notes)


def test_what_was_never_measured_is_not_made_up(folder: Path, tmp_path: Path) -> None:
    found = estimate.estimate(job_in(folder, tmp_path / "out"), Rates.pooled([line()], "rewrite", "lips"), 2)
    assert found.core_hours is None and found.wall_s is None
    assert next(s for s in found.stages if s.stage == "faces").core_hours is not None
    assert any("Never measured" in n and "master" in n and "lipsync" not in n.split(";")[0] for n in found.notes)


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[Path, list[Measured]]:
    """A finished run of one language, and what the history has of it."""
    job = json.loads((folder / "job.yaml").read_text())
    job["titles"][0]["dubs"].pop()
    (folder / "one.yaml").write_text(json.dumps(job))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUB_HISTORY", str(folder / "history.jsonl"))
        for _ in range(2):  # the second finds everything done, and leaves no line
            assert code_of("run", folder / "one.yaml", "--out", folder / "out", "--engine", "local") == 0
        return folder / "out", estimate.recall()


@pytest.mark.long
def test_a_finished_run_is_remembered_once(ran: tuple[Path, list[Measured]]) -> None:
    (found,) = ran[1]
    (title,) = found.titles
    assert title["shots"].frames == title["faces"].frames == title["lipsync"].frames == FRAMES
    assert title["lipsync"].work.frames == 0 and title["faces"].work.faces == 0, "nobody is in the picture"
    assert title["audio"].tasks == title["source_audio"].tasks == 1 and 0 < title["master"].cpu_s < 60
    assert found.machine == fingerprint() and found.engine == "local" and found.workers == 1
    assert found.startup_s is not None and 0 <= found.startup_s < found.run_s
    assert "film" not in json.dumps(found.to_dict()), "no name of a file or title"


@pytest.mark.long
def test_done_tasks_cost_nothing_and_the_analysis_is_believed(
    ran: tuple[Path, list[Measured]], folder: Path, tmp_path: Path
) -> None:
    found = estimate.estimate(job_in(folder, ran[0]), rates(), 2)
    assert not any("not known before" in note for note in found.notes)
    stages = {s.stage: s for s in found.stages}
    assert stages["lipsync"].tasks == 4 and stages["lipsync"].known
    assert stages["shots"].core_hours == stages["faces"].core_hours == 0
    assert stages["lipsync"].frames == 0, "no face was found, whatever share other films have"
    assert (stages["master"].tasks, stages["master"].done, stages["master"].frames) == (2, 1, FRAMES)
    whole = estimate.estimate(Job(manifest.load(folder / "one.yaml"), ran[0], config.load()), rates(), 2)
    assert whole.core_hours == 0 and whole.wall_s == 0 and whole.notes == ()


@pytest.mark.long
def test_plan_says_hours(
    ran: tuple[Path, list[Measured]], folder: Path, dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUB_HISTORY", str(tmp_path / "h"))
    assert "--trial measures" in dub("plan", folder / "job.yaml", "--out", tmp_path / "out")[1]
    history.keep(replace(ran[1][0], titles=({**ran[1][0].titles[0], **line().titles[0],
                                              "sync": Cost(1, 10, Work(10, 1, 10, 1), 1.0, 1.0)},)))  # fmt: skip
    code, out, _ = dub("plan", folder / "job.yaml", "--out", tmp_path / "out", "--workers", 3)
    assert (
        code == 0
        and "of one core are left" in out
        and "rendering mouths" in out
        and "with 3 at once" in out
        and "~2" in out
    )
    assert "Never measured" not in out
    told = json.loads(dub("plan", folder / "job.yaml", "--out", tmp_path / "out", "--json")[1])
    assert told["estimate"]["core_hours"] > 0 and told["estimate"]["wall_s"] > told["estimate"]["startup_s"]


def test_a_small_stage_that_was_never_measured_is_guessed(folder: Path, tmp_path: Path) -> None:
    job = job_in(folder, tmp_path / "out")
    all_known = estimate.estimate(job, rates(), 2)
    without = {s: r for s, r in rates().stages.items() if s not in ("audio", "actors")}
    found = estimate.estimate(job, replace(rates(), stages=without), 2)
    assert found.core_hours == pytest.approx(all_known.core_hours) and found.wall_s and all_known.wall_s
    assert any("guessed from the rest: audio, actors" in note for note in found.notes)
    without = {s: r for s, r in rates().stages.items() if s != "master"}
    found = estimate.estimate(job, replace(rates(), stages=without), 2)
    assert found.core_hours is None and any("Never measured with these settings: master" in n for n in found.notes)
