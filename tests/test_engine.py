"""A whole run on the project's own short film: both engines, resume, failure, and what a viewer gets."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from films import Finished, facts_on_disk, of_hindi, run, started_by
from waiting import NET_S

from dubbing import config, manifest, media, pipeline
from dubbing.artifacts.takes import Take
from dubbing.engine import Report
from dubbing.errors import OutputError
from dubbing.job import Job
from dubbing.master_choice import MasterChoice
from dubbing.media.colour import planes_of
from dubbing.shot_table import REASONS, read_rows
from dubbing.stages.lipsync import Lipsync, LipsyncInputs
from dubbing.store import PART, RESULT

CONTRACT = """title language shot start_frame end_frame start_tc end_tc status reason face face_px yaw_deg generator
    generator_hash take lse_d lse_c lse_offset_frames source_lse_d source_lse_c source_lse_offset_frames lse_model
    lse_windows sharpness silence_motion needs_review review_reason seconds error""".split()


def analysed(finished: Finished, out: Path) -> Path:
    """An output folder in which only the analysis is done."""
    shutil.copytree(finished.out / "film" / "analysis", out / "film" / "analysis")
    return out


def run_with(lipsync: type[Lipsync], film: Path, out: Path) -> tuple[Report, dict[str, Any]]:
    """A run with a stage of this file in place of lipsync: its report, and the row of the speaking shot in Hindi."""
    with pytest.MonkeyPatch.context() as patch:
        stages = tuple(lipsync if stage is Lipsync else stage for stage in pipeline.PIPELINE)
        patch.setattr(Job, "pipeline", stages)
        report = run(film, out)
    assert len(media.timeline(out / "film" / "hi" / "film.hi.mp4")) == 84
    return report, read_rows(out / "film" / "hi" / "shots.parquet")[1]


def test_every_shot_has_a_row_and_every_frame_comes_back(finished: Finished) -> None:
    source = media.timeline(finished.film.parent / "film.mp4")
    for language in ("hi", "ta"):
        rows = read_rows(finished.out / "film" / language / "shots.parquet")
        assert [(r["start_frame"], r["end_frame"]) for r in rows] == [(0, 12), (12, 84)]
        assert rows[0]["status"] == "untouched" and rows[0]["reason"] in REASONS
        assert rows[1]["status"] == "dubbed" and rows[1]["reason"] is None
        assert rows[1]["lse_d"] is not None and rows[1]["source_lse_d"] is not None
        assert rows[1]["lse_windows"] > 50 and "@" in rows[1]["lse_model"]
        assert rows[1]["following"] > 0.8
        master = media.timeline(finished.out / "film" / language / f"film.{language}.mp4")
        assert len(master) == len(source)
        assert all(master.time(n) == source.time(n) for n in range(len(source)))


def test_the_dub_is_delivered_sample_for_sample(finished: Finished) -> None:
    given = media.read_sound(finished.film.parent / "film.hi.flac", rate_hz=48000, mono=False)
    heard = media.read_sound(finished.out / "film" / "hi" / "film.hi.mp4", rate_hz=48000, mono=False)
    assert heard.shape == given.shape and (heard == given).all()


def test_nothing_changes_outside_the_mattes(finished: Finished) -> None:
    """Before the encode: not one code value, in any plane."""
    job = Job(manifest.load(finished.film), finished.out, config.load())
    title = job.manifest.titles[0]
    step = job.dub(title, title.dubs[0], {}).steps[1]
    folder = step.take.folder / "face_1"
    patches = {p.frame: p for p in media.read_patches(folder)}
    assert len(patches) > 30
    source, line = finished.film.parent / "film.mp4", job.timeline(title)
    originals = media.read(source, line)
    for picture, planes in zip(originals, media.pasted_frames(source, line, [folder]), strict=True):
        patch = patches.get(picture.frame)
        was = planes_of(picture.av_frame)
        for plane, (before, after) in enumerate(zip(was, planes, strict=True)):
            same = before == after
            if patch is None:
                assert same.all()
                continue
            part = 1 if plane == 0 else 2
            height, width = patch.matte_HW.shape
            touched = np.zeros(before.shape, bool)
            matte = patch.matte_HW.reshape(height // part, part, width // part, part).max((1, 3))
            top, left = patch.y // part, patch.x // part
            touched[top : top + height // part, left : left + width // part] = matte > 0
            assert same[~touched].all()


def test_a_contact_sheet_lies_beside_the_take(finished: Finished) -> None:
    for language in ("hi", "ta"):
        assert len(list((finished.out / "film" / language / "takes" / "shot_0002").glob("*/patch/sheet.jpg"))) == 1


def test_the_table_is_the_contract(finished: Finished) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(finished.out / "film" / "hi" / "shots.parquet")
    assert table.schema.metadata[b"schema"] == b"dub.shot.1"
    assert table.schema.names[:29] == CONTRACT


def test_a_finished_run_redoes_nothing(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "dubbing.engine.ray", None)  # nothing to do: Ray is not even looked for
    assert run(finished.film, out, engine="ray").run_json["done_now"] == 0
    assert facts_on_disk(out) == facts_on_disk(finished.out)


def test_a_changed_setting_redoes_only_what_it_touches(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    changed = config.Config(master=[MasterChoice(crf=30)])
    made = run(finished.film, out, settings=changed).run_json
    assert made["done_now"] == 4 and set(made["seconds_by_stage"]) == {"master", "proof"}


def test_a_master_that_is_made_again_is_proven_again(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    (lost,) = (out / "film" / "ta").glob("master-*")
    shutil.rmtree(lost)
    assert started_by(finished.film, out) == {"master film/ta", "proof film/ta"}
    assert started_by(finished.film, out) == set()


def test_a_changed_dub_redoes_only_its_own_shots(finished: Finished, tmp_path: Path) -> None:
    """Quieter Hindi: its sound, its speaking shot and its master; nothing of Tamil or of the analysis."""
    folder = tmp_path / "film"
    shutil.copytree(finished.film.parent, folder)
    wave = media.read_sound(folder / "film.hi.flac", rate_hz=48000, mono=False)
    with media.ClipWriter(folder / "film.hi.flac", sample_rate_hz=48000, channels=2) as writer:
        writer.sound(wave * 0.5)
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    started = started_by(folder / finished.film.name, out)
    assert {"audio film/hi", "lipsync film/hi/shot_0002", "master film/hi"} <= started
    assert not any("/ta" in task or "faces" in task or "source" in task for task in started)


class Broken(Lipsync):
    """Fails on the second shot."""

    def process(self, inputs: LipsyncInputs, out: Path, progress: Callable[[int], None]) -> Take:
        if inputs.number == 2:
            raise RuntimeError("a made-up fault")
        return super().process(inputs, out, progress)


class NeverReady(Lipsync):
    def setup(self) -> None:
        raise RuntimeError("a made-up fault")


def test_a_stage_that_cannot_be_set_up_fails_its_shots_and_delivers_the_rest(
    finished: Finished, tmp_path: Path
) -> None:
    report, row = run_with(NeverReady, finished.film, analysed(finished, tmp_path / "out"))
    assert report.exit_code == 1 and report.counts == {"failed": 4}
    assert "could not be set up" in row["error"] and "a made-up fault" in row["error"]


def test_a_shot_that_fails_never_kills_the_film(finished: Finished, tmp_path: Path) -> None:
    out, film = analysed(finished, tmp_path / "out"), of_hindi(finished.film, tmp_path)
    report, row = run_with(Broken, film, out)
    assert report.exit_code == 1 and report.counts["failed"] == 1
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError") and "a made-up fault" in row["error"]
    # and the same command, once the fault is gone, finishes the job
    assert run(film, out).exit_code in (0, 3)
    assert facts_on_disk(out, ["hi"]) == facts_on_disk(finished.out, ["hi"])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": "dub.actors.1"}', b'{"schema": "dub.actors.9"}'])
def test_a_damaged_result_of_the_analysis_is_made_anew_once(finished: Finished, tmp_path: Path, damage: bytes) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    (result,) = out.glob("film/analysis/actors-*/result.json")
    result.write_bytes(damage)
    job = Job(manifest.load(finished.film), out, config.load())
    with pytest.raises(OutputError, match="run the job again"):
        job.tasks()
    started: list[str] = []
    run(finished.film, out, show=lambda e: started.append(e.task_id) if e.kind == "started" else None)
    assert started == ["actors film"]
    started.clear()
    run(finished.film, out, show=lambda e: started.append(e.task_id) if e.kind == "started" else None)
    assert not started


def test_two_runs_at_once_into_one_folder(film: Path, tmp_path: Path) -> None:
    job = Job(manifest.load(film), tmp_path / "out", config.load())
    with job.store.lock(), pytest.raises(OutputError, match="Another run"):
        run(film, tmp_path / "out")


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, film = analysed(finished, tmp_path / "out"), of_hindi(finished.film, tmp_path)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media.PatchWriter, "__init__", full)
    with pytest.raises(OutputError, match="full"):
        run(film, out)
    monkeypatch.undo()
    assert not list(out.rglob(".part-*"))
    run(film, out)
    assert facts_on_disk(out, ["hi"]) == facts_on_disk(finished.out, ["hi"])


def committed(out: Path) -> dict[Path, tuple[tuple[int, int], ...]]:
    """Every folder that a task has committed, with inode and time of each of its files: the same only if untouched."""
    found = {}
    for result in out.rglob(RESULT):
        folder = result.parent
        if not any(part.startswith(PART) for part in folder.relative_to(out).parts):
            stamps = sorted((p.name, p.stat()) for p in folder.iterdir() if p.is_file())
            found[folder.relative_to(out)] = tuple((s.st_ino, s.st_mtime_ns) for _, s in stamps)
    return found


def killed_after(command: list[str], tasks: int) -> tuple[set[str], set[str]]:
    """Start a run, kill it with SIGKILL while the task after `tasks` finished ones is at work: (started, finished)."""
    started: set[str] = set()
    finished: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "started":
                started.add(said["task"])
            elif said.get("event") == "finished":
                finished.add(said["task"])
            if len(finished) >= tasks and started - finished:
                break
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed: " + "".join(told)
    # Ray's own agents outlive its node; what might still commit a result must have ended before anybody looks
    agents = [h for h in helpers if h.is_running() and h.name().endswith("Agent")]
    _, alive = psutil.wait_procs([h for h in helpers if h not in agents], timeout=NET_S)
    assert not alive, alive
    for agent in agents:
        with contextlib.suppress(psutil.NoSuchProcess):
            agent.kill()
    return started, finished


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_killed_runs_lose_nothing_that_was_committed(finished: Finished, tmp_path: Path, engine: str) -> None:
    """SIGKILL in and after the analysis, on Ray, which starts slowly, once: exactly what was committed is found again;
    the rest is as if undisturbed."""
    out, film = tmp_path / "out", of_hindi(finished.film, tmp_path)
    command = [sys.executable, "-m", "dubbing", "run", str(film), "--out", str(out), "--engine", engine,
               "--log-format", "json"]  # fmt: skip
    both = committed(finished.out)
    assert len(both) == json.loads((finished.out / "run.json").read_text())["done_now"]
    every = {place: files for place, files in both.items() if place.parts[1] != "ta"}
    part = len(every) // 4
    chance = random.Random(engine)
    done: set[str] = set()
    kept = committed(out)
    moments = [chance.randint(1, part), chance.randint(3 * part, len(every) - 2)]  # the analysis is three fifths
    for moment in moments if engine == "local" else chance.sample(moments, 1):
        started, made = killed_after(command, moment - len(kept))
        assert not started & done, "a task whose folder was committed ran again"
        assert kept.items() <= committed(out).items(), "a committed folder was touched"
        done |= made
        before, kept = kept, committed(out)
        assert len(kept) >= len(before) + len(made)  # the newest may have been committed and not yet been told
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode in (0, 3), last.stderr
    events = [json.loads(line) for line in last.stderr.splitlines() if line.startswith("{")]
    started = {e["task"] for e in events if e["event"] == "started"}
    report = json.loads((out / "run.json").read_text())
    assert kept and report["found_done"] == len(kept)
    assert report["done_now"] == len(started) == len(every) - len(kept) > 0
    assert not started & done
    assert kept.items() <= committed(out).items() and committed(out).keys() == every.keys()
    assert facts_on_disk(out, ["hi"]) == facts_on_disk(finished.out, ["hi"])
    assert not list(out.rglob(f"{PART}*"))
