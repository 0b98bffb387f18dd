"""The order of work of whole features, by the project's own job and loop: results are made up, and so is the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.simulated import Costs, Feature, Run, made_job, simulate, used, write_film

COSTS = Costs(
    {"shots": 0.006, "faces": 0.019, "source_audio": 0.001, "overlays": 0.007, "people": 0.0002, "speakers": 0.0005,
     "actors": 0.002, "audio": 0.001, "turns": 0.0003, "lipsync": 0.036, "sync": 0.02, "master": 0.025,
     "proof": 0.012},
    0.016, 0.75,
)  # fmt: skip
FILM = Feature.drawn(frames=3600, shots=30, share=0.75)  # long enough for masters in windows
SLOTS = 6


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Two titles in two languages: the folder of the manifest, with what was done in `out`."""
    folder = tmp_path_factory.mktemp("two titles")
    return folder, simulate(made_job(write_film(folder, 2, 2), folder / "out"), FILM, COSTS, SLOTS)


def ends(run: Run, stage: str, title: str) -> list[float]:
    """When the tasks of a stage end, in order."""
    return [s.end for s in run.spans if (s.task.stage, s.task.title) == (stage, title)]


def starts(run: Run, stage: str, title: str) -> list[float]:
    """When they begin, in order."""
    return sorted(s.start for s in run.spans if (s.task.stage, s.task.title) == (stage, title))


def test_all_is_done_once_and_the_analysis_is_shared(two: tuple[Path, Run]) -> None:
    _, run = two
    assert not run.failed and len(run.done) == len(set(run.done))
    assert [len(ends(run, stage, "film0")) for stage in ("shots", "faces", "actors", "lipsync", "sync")] == [
        1, 30, 1, 60, 60
    ]  # fmt: skip


def test_a_shot_is_scored_and_the_next_language_rendered_while_others_are_not_ready(two: tuple[Path, Run]) -> None:
    """Nothing waits for a whole language: only the people, speakers and actors of a title are found as a whole."""
    _, run = two
    assert starts(run, "sync", "film0")[0] < starts(run, "lipsync", "film0")[-1]
    second = [s.start for s in run.spans if s.task.id.startswith("lipsync film0/de/")]
    first = [s.end for s in run.spans if s.task.language == "fr" and s.task.title == "film0"]
    assert min(second) < max(first)
    assert starts(run, "lipsync", "film0")[0] >= ends(run, "speakers", "film0")[0] > max(ends(run, "faces", "film0"))


def test_two_titles_overlap_and_the_first_is_not_held_up(two: tuple[Path, Run]) -> None:
    _, run = two
    assert starts(run, "faces", "film1")[0] < ends(run, "lipsync", "film0")[-1]
    assert max(ends(run, "speakers", "film1")) < max(ends(run, "proof", "film0"))
    assert max(ends(run, "proof", "film0")) < max(ends(run, "proof", "film1")) * 0.7
    french = [s.end for s in run.spans if s.task.id == "proof film0/fr"]
    whole = [s.end for s in run.spans if s.task.stage == "proof" and s.task.window is None]
    assert french[0] == min(whole), "the first dub is ready first"
    assert used(run.spans, SLOTS, starts(run, "faces", "film0")[0], ends(run, "lipsync", "film1")[-1]) > 0.9


def test_a_long_title_waits_for_no_single_task(tmp_path: Path) -> None:
    film = Feature.drawn(frames=40_000, shots=16, share=0.75)
    job = made_job(write_film(tmp_path, 1, 1), tmp_path / "out", film=film)
    run = simulate(job, film, COSTS, SLOTS)
    assert not run.failed
    for stage in ("source_audio", "audio"):  # one hears it while cuts are found, one knows the shots
        heard, known = sorted((s for s in run.spans if s.task.stage == stage), key=lambda s: s.start)
        assert heard.start < 1 < ends(run, "shots", "film0")[0] <= known.start
        assert known.end - known.start < 0.1 * (heard.end - heard.start)
    for stage in ("actors", "donors"):
        *parts, joined = (s for s in run.spans if s.task.stage == stage)
        assert len(parts) > 2 and joined.end - joined.start < 1
        assert joined.start < starts(run, "lipsync", "film0")[0]


def test_another_master_makes_masters_and_proofs_only(two: tuple[Path, Run]) -> None:
    folder = two[0]
    again = simulate(made_job(folder / "job.yaml", folder / "out", crf=30), FILM, COSTS, SLOTS)
    assert {s.task.stage for s in again.spans} == {"master", "proof"}
    assert len(again.spans) == sum(s.task.stage in ("master", "proof") for s in two[1].spans)


def test_another_expert_scores_again_and_nothing_else(two: tuple[Path, Run]) -> None:
    """The takes stay, so that the masters stay."""
    folder, _ = two
    job = made_job(folder / "job.yaml", folder / "out")
    job.expert = "another@0123456789ab"
    again = simulate(job, FILM, COSTS, SLOTS)
    assert {s.task.stage for s in again.spans} == {"sync"} and len(again.spans) == 120
    assert simulate(job, FILM, COSTS, SLOTS).spans == []


def test_what_fails_costs_its_shot_and_the_masters_are_made(tmp_path: Path) -> None:
    fails = {"faces film0/shot_0003", "lipsync film0/fr/shot_0007", "sync film0/fr/shot_0009"}
    run = simulate(made_job(write_film(tmp_path, 1, 1), tmp_path / "out"), FILM, COSTS, SLOTS, fails)
    lost = {"lipsync film0/fr/shot_0003", "sync film0/fr/shot_0003", "sync film0/fr/shot_0007",
            "overlays film0/shot_0003"}  # fmt: skip
    assert run.failed == fails | lost
    assert "proof film0/fr" in run.done and len(ends(run, "sync", "film0")) == 28
