"""`dub eval` on the project's own short film: extremes whose numbers are known, refusals, resuming, the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from films import Finished
from waiting import until

from dubbing import config, media
from dubbing.errors import ManifestError, MediaError
from dubbing.evaluate import MEASURES, Evaluation, Options, find_clips, measures_named, page, read_table, write_table
from dubbing.evaluate.clips import QUIET_S, RATE_HZ, Clip, Voice, fitted_sound, rolled, voice_for
from dubbing.evaluate.goals import goals
from dubbing.evaluate.measurements import absent, by_clip, row, summary
from dubbing.evaluate.rendering import render_truth
from dubbing.evaluate.seen import TRAINED_ON, was_seen
from dubbing.evaluate.session import EvaluatedFilm, Session
from dubbing.evaluate.takes import finished, following, look_at, recovery
from dubbing.face import canonical, mouth_measures
from dubbing.generators import Rendered, RenderRequest
from dubbing.mesh import Meshes, face_boxes
from dubbing.records import Patch
from dubbing.store import Store

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def clip(film: Path) -> Path:
    """A 3.5 s film: 12 frames without a face, then 72 of a speaking one; its dubs lie beside it."""
    return film.parent / "film.mp4"


@pytest.fixture(scope="module")
def out(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output folder, in which the film is analysed as a run has done it."""
    folder = tmp_path_factory.mktemp("eval")
    shutil.copytree(finished.out / "film" / "analysis", folder / "film" / "analysis")
    return folder


@pytest.fixture(scope="module")
def faceless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of noise with a tone."""
    path = tmp_path_factory.mktemp("no face") / "noise.mp4"
    rng = np.random.default_rng(0)
    with media.ClipWriter(path, 96, 64, sample_rate_hz=48000, channels=2) as writer:
        for _ in range(30):
            writer.frame(rng.integers(0, 256, (64, 96, 3), np.uint8))
        tone = 0.2 * np.sin(np.arange(57600) / 48000 * 2 * np.pi * 300)
        writer.sound(np.stack([tone, tone], 1).astype(np.float32))
    return path


class Echo:
    """A generator that gives back the source: perfect by construction."""

    name, hash, size_bytes = "echo", "0" * 12, 0

    def check(self) -> None:
        """Nothing to check."""

    def render_apart(self, work: RenderRequest, gap_s: float, *, shapes: bool) -> Iterator[Rendered]:
        return self.render(work)

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        boxes = face_boxes(work.track.mesh_NP3, work.picture_wh)
        opening = mouth_measures(canonical(work.track.mesh_NP3)[0])["opening"]
        for line in work.lines:
            a, b = work.window or (line.start_frame, line.end_frame)
            for picture in media.read(work.source, work.timeline, max(a, line.start_frame), min(b, line.end_frame)):
                n = picture.frame - work.track.start_frame
                x, y, w, h = boxes[n]
                matte = np.zeros((h, w), np.uint8)
                matte[h // 4 : -h // 4, w // 4 : -w // 4] = 255
                yield Rendered(Patch(picture.frame, x, y, picture.planes(boxes[n]), matte), float(opening[n]))


@pytest.fixture(scope="module")
def analysed(clip: Path, out: Path) -> Iterator[tuple[Session, EvaluatedFilm]]:
    with Session(Store(out), config.load(), {"name": "rewrite"}, lambda name: None) as session:
        yield session, session.analysed(Clip("film", clip))


def test_a_generator_that_gives_back_the_source_gets_perfect_numbers(analysed, tmp_path):
    session, found = analysed
    speaker = found.speakers()[0]
    meshes = Meshes()
    try:
        echo = render_truth(found, speaker, Echo(), tmp_path, meshes)
        real = render_truth(found, speaker, session.create_generator(), tmp_path, meshes)
    finally:
        meshes.close()
    assert echo["psnr_db"] == 100 and echo["ssim"] == pytest.approx(1) and echo["sharpness"] == pytest.approx(1)
    assert echo["m_lmd"] == 0 and echo["f_lmd"] == 0 and echo["steadiness"] == pytest.approx(1)
    assert echo["opening_corr"] == pytest.approx(1) and echo["random_opening_corr"] < 0.7
    assert echo["mean_psnr_db"] < 60 and echo["random_psnr_db"] < 60
    assert (tmp_path / "sheet.jpg").stat().st_size > 10_000
    # the real one lies between: better than a frame by lot, worse than the truth
    assert real["random_psnr_db"] < real["psnr_db"] < 100
    assert 0 < real["m_lmd"] < real["random_m_lmd"]
    assert real["render_ms_per_frame"] > 0 and real["frames"] == len(speaker.track.frames_N)


def test_no_mouth_is_borrowed_from_near_by(analysed):
    from dubbing.generators.rewrite.generator import Apart, RewriteSettings, ShotPlan

    session, found = analysed
    speaker = found.speakers()[0]
    size = media.probe(found.video).upright_size
    common: dict[str, Any] = {
        "source": found.video, "timeline": found.line, "picture_wh": size, "track": speaker.track, "lines": (),
        "wave": speaker.wave, "speech_N": speaker.speaks_N, "actor": speaker.actor,
    }  # fmt: skip
    count = len(speaker.track.frames_N)
    frames = np.arange(count)
    near = ShotPlan(RenderRequest(**common), RewriteSettings(), Apart(0.0, shapes=True)).lent(0, count).path_T
    far = ShotPlan(RenderRequest(**common), RewriteSettings(), Apart(0.5, shapes=True)).lent(0, count).path_T
    assert (near == frames).mean() > 0.9  # the true shape is found in the frame itself
    assert np.abs(speaker.times_s[far] - speaker.times_s).min() >= 0.5


def test_takes_that_are_the_source_are_steady_and_without_seam(analysed, clip, monkeypatch):
    session, found = analysed
    monkeypatch.setattr("dubbing.stages.lipsync.create", lambda *args, **kwargs: Echo())
    sound = session.sound_for(found, Voice("x-echo", clip.parent / "film.hi.flac"))
    made = session.dubbed(found, {"x-echo": sound})
    takes, reasons = finished(made, "x-echo")
    assert len(takes) == 1 and len(reasons) == 1  # the shot without a face is none
    meshes = Meshes()
    try:
        steady, seams = look_at(made, takes[0], meshes)
    finally:
        meshes.close()
    assert steady["lips"] == pytest.approx(1) and steady["pixels"] == pytest.approx(1, abs=1e-3)
    assert seams["edge"] == pytest.approx(1) and seams["ring"] == pytest.approx(1)
    followed = following(takes[0])
    assert followed["opening_corr"] > 0.95 and followed["opening_gain"] == pytest.approx(1, abs=0.15)


def test_recovery_is_the_way_from_foreign_to_own():
    assert recovery(7.0, 10.0, 5.0) == pytest.approx(0.6)
    assert recovery(10.0, 10.0, 5.0) == 0 and recovery(5.0, 10.0, 5.0) == 1
    assert recovery(7.0, 10.0, 9.8) is None and recovery(None, 10.0, 5.0) is None


def test_a_clip_without_a_face_is_a_row_and_stops_nothing(clip, faceless, out):
    said: list[str] = []
    evaluation = Evaluation(out, Options(only=("hearing",)), config.load(), said.append)
    rows = evaluation.run([Clip("noise", faceless), Clip("film", clip)])
    refused = [r for r in rows if r["clip"] == "noise"]
    assert [r["measure"] for r in refused] == ["hearing"] and "nobody is seen to speak (no_face)" in refused[0][
        "reason"
    ]
    assert any(r["clip"] == "film" and r["name"] == "fitted_opening_corr" for r in rows if r.get("name"))
    assert sum("noise.mp4" in text for text in said) == 1
    assert absent(rows) == [f"noise: hearing: {refused[0]['reason']}"]


def test_a_killed_evaluation_goes_on(finished, tmp_path):
    """On what a run has analysed."""
    clip, out = finished.film.parent / "film.mp4", tmp_path / "killed"
    analysis = shutil.copytree(finished.out / "film" / "analysis", out / "film" / "analysis")
    analysed = len(list(analysis.rglob("result.json")))
    command = [sys.executable, "-m", "dubbing", "eval", str(clip), "--only", "1,2", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until(lambda: list(out.glob("film/eval/hearing-*/result.json")), process.poll)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    until(lambda: not Store(out).held())  # what it had just begun to start holds the lock for a moment longer
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("result.json")}
    assert len(kept) > analysed and not list(out.glob("eval.parquet"))
    rows = Evaluation(out, Options(only=("hearing", "rendering")), config.load()).run([Clip("film", clip)])
    assert {r["measure"] for r in rows} == {"hearing", "rendering"}
    assert {r["name"] for r in rows if r.get("reason")} <= {"vmaf", "fid", "csim"}  # what is not installed here
    assert {p: p.stat().st_mtime_ns for p in kept} == kept  # nothing was done twice
    assert not list(out.rglob(".part-*"))


def test_the_command_writes_a_table_and_a_page(clip, out, dub):
    code, told, err = dub("eval", clip, "--out", out, "--dub-sound", clip.parent / "film.hi.flac", "--json")
    assert code == 0, err
    value = json.loads(told)
    rows = read_table(out / "eval.parquet")
    assert value["schema"] == "dub.eval.1" and len(value["rows"]) == len(rows)
    assert {r["measure"] for r in rows} == set(MEASURES)
    assert {(r["language"], r["input"]) for r in rows if r["measure"] == "languages"} == {
        ("hi", "moving"),
        ("hi", "still"),
    }
    names = {(r["measure"], r["name"]): r["value"] for r in rows if r["input"] == "moving"}
    assert names["following", "opening_corr"] > 0.8 and 0.5 < names["steadiness", "lips"] < 2
    assert 0.7 < names["seam", "edge"] < 1.3 and abs(names["sync", "offset_frames"]) <= 2
    assert all(r["reason"] for r in rows if r["measure"] == "published")  # no model of others is here
    html = (out / "eval.html").read_text()
    assert (
        html.count("data:image/jpeg;base64,") >= 4
        and "most often look wrong" in html
        and html.count("data:image/png;base64,") >= 3
    )
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", html)


def test_of_a_photograph_the_dub_is_measured_and_what_has_no_truth_says_so(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("dubbing.evaluate.session.PHOTOGRAPH_S", 2.0)
    photo = tmp_path / "photo.png"
    picture = next(iter(media.read(clip, media.timeline(clip), 40, 41))).bgr()
    photo.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    only = ("hearing", "following", "steadiness", "seam", "sync", "languages", "identity")
    voices = (Voice("hi", clip.parent / "film.hi.flac"),)
    rows = Evaluation(tmp_path / "out", Options(only=only, voices=voices), config.load()).run([Clip("photo", photo)])
    numbers = {(r["measure"], r["name"]): r["value"] for r in rows if r.get("value") is not None}
    spoken = {name for measure, name in numbers if measure == "languages"}
    assert {"lse_d", "opening_corr", "sharpness", "lip_leak"} <= spoken
    assert {("following", "opening_corr"), ("steadiness", "lips_result"), ("steadiness", "sharpness"),
            ("seam", "edge"), ("sync", "lse_d")} <= numbers.keys()  # fmt: skip
    assert {(r["input"], r["language"]) for r in rows if r.get("value") is not None} == {("still", "hi")}
    assert numbers["languages", "opening_corr"] > 0.7 and numbers["languages", "lip_leak"] < 0.6
    assert numbers["seam", "edge"] < 1.2
    why = {(r["measure"], r["name"]): r["reason"] for r in rows if r.get("reason")}
    assert "shows nobody speak" in why["hearing", "all"] and "stands still" in why["steadiness", "lips"]
    assert "no sound of its own" in why["sync", "recovery"]
    assert ("identity", "csim") in why or numbers["identity", "csim"] > 0.9
    assert all(goal.value is None for goal in goals(rows))
    alone = Evaluation(tmp_path / "out", Options(only=("languages",)), config.load()).run([Clip("photo", photo)])
    assert [r.get("value") for r in alone] == [None] and "give --dub-sound FILE" in alone[0]["reason"]


def test_goals_take_the_right_clips():
    def clip(name: str, fitted: float, prior: float, lag_s: float, seen: bool) -> list[dict[str, Any]]:
        numbers = {"fitted_opening_corr": fitted, "prior_whole_opening_corr": prior, "prior_best_lag_s": lag_s}
        return [row("hearing", k, v, clip=name, seen=seen) for k, v in numbers.items()]

    rows = [*clip("a", 0.9, 0.9, 0.0, True), *clip("b", 0.7, 0.5, 0.04, False), *clip("late", 0.1, 0.2, 0.12, False)]
    rows += clip("c", 0.9, 0.3, -0.06, False)
    rows += [row("sync", "recovery", v, clip="a", input="moving") for v in (0.8, 1.0, 0.9)]
    rows.append({"measure": "sync", "name": "recovery", "clip": "a", "reason": "own and foreign are alike"})
    rows.append({"measure": "seam", "clip": "b", "reason": "no shot was dubbed"})
    found = {g.what: g for g in goals(rows)}
    assert found["fitted, opening correlation"].value == pytest.approx(0.8) and found["fitted, opening correlation"].met
    prior = found["prior alone, opening correlation"]
    assert prior.value == pytest.approx(0.3) and not prior.met and prior.over == "3 speakers that it never saw"
    assert found["recovery ratio"].value == pytest.approx(0.9) and found["seam"].met is None
    assert by_clip(rows, "sync", "recovery") == {"a": 0.9}
    assert {"measure": "sync", "name": "recovery", "input": "moving", "value": 0.9, "clips": 1} in summary(rows)


def test_a_table_comes_back_as_it_was(tmp_path):
    rows = [
        row("seam", "edge", 1.25, clip="a", track="shot_0001/face_1"),
        {"clip": "b", "measure": "seam", "reason": "no"},
    ]
    rows.append(row("seam", "edge", float("nan"), clip="c"))
    write_table(Store(tmp_path), tmp_path / "eval.parquet", rows)
    back = read_table(tmp_path / "eval.parquet")
    assert [(r["clip"], r["value"], r["reason"]) for r in back] == [
        ("a", 1.25, None),
        ("b", None, "no"),
        ("c", None, None),
    ]
    assert "&ndash;" in page(back, tmp_path) or "1.25" in page(back, tmp_path)


def test_a_dub_sound_is_as_long_as_its_clip():
    wave = np.arange(1, 1001, dtype=np.float32)
    made = fitted_sound(wave, 5 * RATE_HZ, int(QUIET_S * RATE_HZ))
    quiet = int(QUIET_S * RATE_HZ)
    assert len(made) == 5 * RATE_HZ and not made[:quiet].any() and not made[-quiet:].any()
    assert (made[quiet : quiet + 1000] == wave).all()
    near = fitted_sound(np.ones(RATE_HZ - 10, np.float32), RATE_HZ, quiet)  # one that fits keeps its place
    assert len(near) == RATE_HZ and near[:-10].all()
    assert (rolled(np.arange(6)) == [3, 4, 5, 0, 1, 2]).all()


def test_a_clip_is_dubbed_with_the_next_one_that_has_sound(clip, faceless, tmp_path):
    mute, broken = tmp_path / "mute.mp4", tmp_path / "broken.mp4"
    with media.ClipWriter(mute, 64, 48) as writer:
        writer.frame(np.zeros((48, 64, 3), np.uint8))
    broken.write_bytes(b"no film")
    clips = [Clip("film", clip), Clip("mute", mute), Clip("broken", broken), Clip("noise", faceless)]
    assert [voice_for(clips, n).path for n in range(4)] == [faceless, faceless, faceless, clip]
    assert voice_for(clips[:3], 0).path == clip  # its own, which is then rolled


def test_a_defect_on_one_clip_does_not_cost_the_others(clip, out, monkeypatch):
    def breaks(*args: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("dubbing.evaluate.rendering.render_truth", breaks)
    said: list[str] = []
    options = Options(only=("hearing", "rendering"))
    settings = config.load()
    monkeypatch.setattr("dubbing.evaluate.evaluation.VERSION", 0)  # nothing that is there already
    rows = Evaluation(out, options, settings, said.append).run([Clip("film", clip)])
    broken = [r for r in rows if r["measure"] == "rendering"]
    assert [r["reason"] for r in broken] == ["film.mp4: ZeroDivisionError: a defect"] and broken[0]["reason"] in said
    assert any(r.get("value") is not None for r in rows if r["measure"] == "hearing")


def test_measures_and_clips_by_name(tmp_path, faceless):
    assert measures_named(None) == MEASURES
    assert measures_named("9, Hearing,2") == ("hearing", "rendering", "languages")
    with pytest.raises(ManifestError, match="no measure 'lips'.*1 hearing"):
        measures_named("lips")
    with pytest.raises(MediaError, match="no film in"):
        find_clips([tmp_path])
    (tmp_path / "a").mkdir()
    for name in ("Two Men.mp4", "a/Two Men.mp4"):
        (tmp_path / name).write_bytes(faceless.read_bytes())
    ids = [c.id for c in find_clips([tmp_path, tmp_path / "Two Men.mp4"])]
    assert len(set(ids)) == 2 and all(i.startswith("two-men-") for i in ids)


def test_the_clips_that_weights_were_trained_on_are_known():
    from shipped_weights.clips import DATA, TRAIN

    assert list(TRAINED_ON) == [source.name for source in (*TRAIN, *DATA)]
    assert was_seen(next(iter(TRAINED_ON.values())) + "0" * 48) and not was_seen("f" * 64)


def test_a_generator_of_sound_alone_says_so(analysed, tmp_path):
    from dubbing.errors import StageError
    from dubbing.generators.wav2lip import Wav2Lip

    _, found = analysed
    speaker = found.speakers()[0]
    bare = Wav2Lip.__new__(Wav2Lip)
    meshes = Meshes()
    try:
        with pytest.raises(StageError, match="driven by sound only"):
            render_truth(found, speaker, bare, tmp_path, meshes)
    finally:
        meshes.close()


def test_the_published_expert_is_asked_where_its_weights_are(clip, out, tmp_path, monkeypatch):
    """Weights are made (seeded noise under the published keys): the numbers are nonsense, whose they are is not."""
    import hashlib
    from dataclasses import replace

    import torch

    from dubbing import models
    from dubbing.experts.syncnet import SyncNetNet
    from dubbing.models import entries

    net, model_store = SyncNetNet(), tmp_path / "model_store"
    model_store.mkdir()
    torch.manual_seed(7)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.1 + (0.9 if tensor.ndim == 1 else -0.05))
    torch.save(net.state_dict(), model_store / "syncnet_v2.model")
    data = (model_store / "syncnet_v2.model").read_bytes()
    known = tuple(
        replace(m, size=len(data), sha256=hashlib.sha256(data).hexdigest()) if m.name == "syncnet_v2" else m
        for m in entries.MODELS
    )
    monkeypatch.setattr(models.store, "MODELS", known)
    monkeypatch.delenv(models.store.ENVIRONMENT, raising=False)
    settings = config.Config(models=config.Models(folder=str(model_store)))
    options = Options(only=("published",), voices=(Voice("hi", clip.parent / "film.hi.flac"),))
    rows = Evaluation(out, options, settings).run([Clip("film", clip)])
    numbers = {r["name"]: r for r in rows if r.get("value") is not None}
    assert {"lse_d", "lse_c", "offset_frames", "source_lse_d", "foreign_at_zero"} <= numbers.keys()
    assert all(r["lse_model"].startswith("syncnet_v2@") for r in numbers.values())
    assert not [r for r in rows if r.get("reason")]
