"""Quick ways: drafts, runs without scores, settings by DUB_CONFIG; and the log that every run leaves."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from command import Dub, code_of
from events import of
from films import Finished, plain_job

from dubbing import media
from dubbing.api import log as run_log
from dubbing.api.log import LOG, RunLog
from dubbing.api.results import open_results
from dubbing.engine import Event
from dubbing.generators import create
from dubbing.records import Patch
from dubbing.store import Store
from dubbing.testing import material

FRAMES = 60


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain film with a comment among its tags, and a dub of it."""
    return plain_job(tmp_path_factory.mktemp("plain"), {"fr": "fr.flac"}, FRAMES)


def test_a_draft_says_so_in_its_name_and_tags_and_is_half_the_size(dub: Dub, job: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert code_of("run", job, "--out", out, "--engine", "local") == 0
    code, told, err = dub("run", job, "--out", out, "--engine", "local", "--draft")
    assert code == 0 and "reel.fr.draft.mp4" in told and "A draft: masters have half" in err
    draft, full = (out / "reel" / "fr" / name for name in ("reel.fr.draft.mp4", "reel.fr.mp4"))
    small, whole = media.probe(draft), media.probe(full)
    assert small.video and whole.video
    assert (small.video.width, small.video.height) == (64, 48) and (whole.video.width, whole.video.height) == (128, 96)
    assert small.metadata["comment"].startswith("draft, not for delivery") and "comment" not in whole.metadata
    assert small.video.rate == whole.video.rate and media.audio_length(draft) == media.audio_length(full)
    lines = media.timeline(draft), media.timeline(full)
    assert np.array_equal(lines[0].pts, lines[1].pts)
    for one, two in zip(media.read(draft, lines[0], 20, 40), media.read(full, lines[1], 20, 40), strict=True):
        shades = (p.bgr().reshape(-1, 3).mean(0) for p in (one, two))
        assert np.abs(np.subtract(*shades)).max() < 4, "the same pictures, smaller"
    assert str(open_results(out).dubs[0].master) == str(draft), "the results are those of the last run"
    run = json.loads((out / "run.json").read_text())
    assert run["config"]["quality"] == "draft" and set(run["frames_by_stage"]) <= {"lipsync", "sync", "master", "proof"}


def test_a_draft_teaches_no_plan_what_a_run_costs(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUB_HISTORY", str(tmp_path / "history"))
    for option in ("--draft", "--no-score"):
        assert code_of("run", job, "--out", tmp_path / option, "--engine", "local", option) == 0
    assert not (tmp_path / "history").exists()
    assert code_of("run", job, "--out", tmp_path / "full", "--engine", "local") == 0
    assert (tmp_path / "history").exists()


def test_the_source_s_own_comment_stays_beside_the_drafts(job: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with media.ClipWriter(film, 64, 64, metadata={"COMMENT": "reel 3", "title": "One"}) as clip:
        for n in range(30):
            clip.frame(np.full((64, 64, 3), 4 * n, np.uint8))
    target = tmp_path / "m.mkv"
    media.encode_master(film, media.timeline(film), [], job.parent / "fr.flac", target, draft=True)
    with av.open(str(target)) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    assert tags["comment"].startswith("draft, not for delivery") and tags["comment"].endswith("; reel 3")
    assert tags["title"] == "One"


def test_draft_mouths_lie_where_the_full_ones_do_and_look_alike(tmp_path: Path) -> None:
    work = material.request(tmp_path, 40)
    full = list(create("rewrite", {}).render(work))
    coarse = list(create("rewrite", {}).render(replace(work, draft=True)))
    assert len(full) == len(coarse) == sum(b - a for _, a, b in work.spans)
    source = media.read(work.source, work.timeline, full[0].patch.frame, full[-1].patch.frame + 1)
    pictures = {p.frame: p.bgr() for p in source}
    for one, two in zip(full, coarse, strict=True):
        a, b = one.patch, two.patch
        assert (a.frame, a.x, a.y, a.bgr_HWC.shape, a.matte_HW.shape) == (
            b.frame, b.x, b.y, b.bgr_HWC.shape, b.matte_HW.shape,
        )  # fmt: skip
        assert one.wanted_opening == two.wanted_opening
        below = pictures[a.frame]
        pasted = [media.composite(below.copy(), p, 0, 0).astype(np.int16) for p in (a, b)]
        there = a.matte_HW > 128
        if there.any():
            box = (slice(a.y, a.y + a.matte_HW.shape[0]), slice(a.x, a.x + a.matte_HW.shape[1]))
            difference = np.abs(pasted[0] - pasted[1])[box][there]
            assert difference.mean() < 12 and difference.any(), "alike, and not the same work"


def test_patches_kept_at_half_the_size_come_back_in_their_own(tmp_path: Path) -> None:
    """A soft disc of one colour on black: no pixel where there was none, no dark ring, the same colour and place."""
    y, x = np.mgrid[:60, :80]
    matte = np.clip(300 - 12 * np.hypot(x - 41, y - 29), 0, 255).astype(np.uint8)
    bgr = np.where(matte[..., None] > 0, np.array([200, 150, 100], np.uint8), 0).astype(np.uint8)
    for name in ("a", "b", "both"):
        (tmp_path / name).mkdir()
    for name, frames in (("a", (3, 4)), ("b", (5,))):
        with media.PatchWriter(tmp_path / name, 80, 60, draft=True) as writer:
            for frame in frames:
                writer.write(Patch(frame, 10, 20, bgr, matte))
    media.join_patches([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    found = list(media.read_patches(tmp_path / "both"))
    assert [(p.frame, p.x, p.y, p.matte_HW.shape) for p in found] == [(n, 10, 20, (60, 80)) for n in (3, 4, 5)]
    for patch in found:
        assert np.abs(patch.matte_HW.astype(int) - matte).max() < 20
        assert not patch.matte_HW[cv2.dilate(matte, np.ones((5, 5))) == 0].any()
        same = np.full((60, 80, 3), (200, 150, 100), np.uint8)
        assert np.abs(media.composite(same, replace(patch, x=0, y=0), 0, 0).astype(int) - same).max() <= 6, (
            "no dark ring"
        )
        assert np.abs(patch.bgr_HWC[matte > 100].astype(int) - (200, 150, 100)).max() <= 1


def test_a_draft_of_a_speaking_film_asks_for_no_review_for_its_lost_detail(
    dub: Dub, finished: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    code, told, err = dub("run", finished.film, "--out", out, "--engine", "local", "--draft", "--json")
    assert code in (0, 3), err
    run = json.loads(told)
    assert {"faces", "shots"}.isdisjoint(run["frames_by_stage"]), "the analysis is the full run's"
    whole = {(d.title, d.language): d for d in open_results(finished.out).dubs}
    for dub_of in open_results(out).dubs:
        for draft, full in zip(
            dub_of.shots.to_pylist(), whole[dub_of.title, dub_of.language].shots.to_pylist(), strict=True
        ):
            assert (draft["shot"], draft["status"]) == (full["shot"], full["status"])
            if draft["status"] == "dubbed":
                assert draft["sharpness"] < full["sharpness"] and "sharpness" not in (draft["review_reason"] or "")
                assert abs(draft["lse_d"] - full["lse_d"]) < 0.5 and draft["following"] > 0.8


def test_a_run_without_scores_measures_nothing_and_asks_for_no_review(
    dub: Dub, finished: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    code, told, err = dub("run", finished.film, "--out", out, "--engine", "local", "--no-score", "--json")
    run = json.loads(told)
    assert code == 0 and "not measured" in err
    assert run["needs_review"] == 0 and run["counts"]["dubbed"] and not any(d["sheets"] for d in run["dubs"])
    assert "lipsync" not in run["frames_by_stage"], "takes stay as they are"
    rows = [r for d in open_results(out).dubs for r in d.shots.to_pylist() if r["status"] == "dubbed"]
    assert rows and all(r["lse_d"] is None and r["sharpness"] is None and r["lse_model"] is None for r in rows)
    assert dub("status", out)[0] == 0
    code, told, _ = dub("run", finished.film, "--out", out, "--engine", "local", "--json")
    assert json.loads(told)["done_now"] == 0, "what was measured before counts again"
    rows = [r for d in open_results(out).dubs for r in d.shots.to_pylist() if r["status"] == "dubbed"]
    assert all(r["lse_d"] is not None for r in rows)


def test_dub_config_is_the_config_file_where_none_is_given(
    dub: Dub, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.yaml").write_text("quality: draft\n")
    (tmp_path / "two.yaml").write_text("{}\n")
    monkeypatch.setenv("DUB_CONFIG", str(tmp_path / "one.yaml"))

    def masters(*more: object) -> str:
        out = dub("check", job, "--out", tmp_path / "out", *more, "--json")[1]
        return str(json.loads(out)["titles"][0]["dubs"][0]["master"])

    assert masters() == "reel.fr.draft.mp4"
    assert masters("--config", tmp_path / "two.yaml") == "reel.fr.mp4"
    monkeypatch.setenv("DUB_CONFIG", str(tmp_path / "absent.yaml"))
    code, _, err = dub("run", job, "--out", tmp_path / "out")
    assert code == 2 and "absent.yaml" in err and not (tmp_path / "out").exists()
    assert "DUB_CONFIG" in dub("run", "--help")[1]


@pytest.mark.parametrize(("words", "told"), [("dub ru", "run"), ("dub run --dra", "--draft"), ("dub run fil", "fil")])
def test_the_shell_completes(words: str, told: str) -> None:
    env = os.environ | {"_DUB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-m", "dubbing"], capture_output=True, text=True, env=env)
    kind = "file" if told == "fil" else "plain"  # the shell itself looks for files
    assert f"{kind},{told}" in done.stdout.splitlines(), done.stdout + done.stderr


# -- the log ---------------------------------------------------------------------------------


def test_a_run_leaves_a_log_of_times_tasks_and_its_end(dub: Dub, job: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert code_of("run", job, "--out", out, "--engine", "local") == 0
    lines = (out / LOG).read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \S", line) for line in lines)
    said = [line.split(" ", 1)[1] for line in lines]
    assert re.fullmatch(r"dub \S+, run with local", said[0])
    assert "started master reel/fr" in said
    assert any(re.fullmatch(r"finished lipsync reel/fr/shot_0002 after \d+\.\d s", s) for s in said)
    assert said[-1] == "ended with exit code 0: 2 untouched"
    with Store(out).lock():
        dub("run", job, "--out", out, "--engine", "local")
    assert (out / LOG).read_text().splitlines() == lines, "who is refused writes nothing"


def test_the_log_names_errors_and_cannot_speak_to_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunLog(Store(tmp_path), "run with ray") as log:
        log(Event("planned"))
        log(of("failed", "lipsync reel/fr/shot_0002", text="boom \x1b[31m\nsecond line"))
        log(Event("message", text="a worker was lost"))
        raise RuntimeError("the disk is full")
    text = (tmp_path / LOG).read_text()
    assert "failed lipsync reel/fr/shot_0002 after" in text and "boom \\u001b[31m second line" in text
    assert "a worker was lost" in text and text.splitlines()[-1].endswith("stopped: the disk is full")
    assert "\x1b" not in text


def test_the_log_is_limited_and_never_costs_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "MOST_BYTES", 2000)
    for n in range(3):
        with RunLog(Store(tmp_path), f"run {n}") as log:
            for shot in range(60):
                log(of("started", f"lipsync reel/fr/shot_{shot:04d}"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOG, f"{LOG}.1"]
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 4000
    assert (tmp_path / LOG).read_text().splitlines()[-1].endswith("ended")
    (folder := tmp_path / "other").mkdir()
    (folder / LOG).mkdir()
    with RunLog(Store(folder), "run") as log:
        log(Event("planned"))
    assert (folder / LOG).is_dir()
