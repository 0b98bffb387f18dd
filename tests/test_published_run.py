"""`dub run` with published networks: another generator, another sync expert, a detector of active speakers.

Weights are made (seeded noise under the published keys), so the pictures are nonsense; where they lie, when they
come, what stays untouched, and what is recorded must be right all the same.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
import yaml
from films import Finished

from dubbing import config, experts, manifest, media, models, preflight
from dubbing.artifacts.active import load_active
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import load_tracks
from dubbing.engine import run_job
from dubbing.errors import ManifestError, ModelError
from dubbing.experts.light_asd import LightASDNet
from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.face import OUTER_LIPS
from dubbing.job import Job
from dubbing.models import entries
from dubbing.networks.lipgan import LipGANNet
from dubbing.networks.wav2lip import PUBLISHED, Wav2LipNet
from dubbing.shot_table import read_rows

pytestmark = pytest.mark.long
EYES = (33, 263)


def made(path: Path, net: torch.nn.Module) -> Path:
    torch.manual_seed(7)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.1 + (0.9 if tensor.ndim == 1 else -0.05))
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def copied(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short film in a folder that takes other manifests too."""
    return shutil.copytree(film.parent, tmp_path_factory.mktemp("published film") / "copy") / film.name


@pytest.fixture(scope="module")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made files for two models, and entries that know their hashes."""
    folder = tmp_path_factory.mktemp("models")
    made(folder / "lipsync_expert.pth", Wav2LipColorNet())
    made(folder / "light_asd_ava.model", LightASDNet())
    made(folder / "my wav2lip.pth", Wav2LipNet(PUBLISHED))
    made(folder / "my lipgan.pth", LipGANNet("basic"))
    return folder


@pytest.fixture(scope="module")
def out(finished: Finished, copied: Path, model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process, with everything published at once, on what a run without it has analysed."""
    where = tmp_path_factory.mktemp("published") / "out"
    shutil.copytree(finished.out / "film" / "analysis", where / "film" / "analysis")
    wav2lip = {"name": "wav2lip", "model": str(model_store / "my wav2lip.pth")}
    dub_with(wav2lip, copied, model_store, where, config.Sync(expert="wav2lip_color"))
    return where


def dub_with(
    generator: dict[str, Any], copied: Path, model_store: Path, where: Path, sync: config.Sync | None = None
) -> None:
    """The film's first dub. sync: how it is scored; by the expert that is everyone's, if nothing else is said."""
    text = yaml.safe_load(copied.read_text()) | {"generator": generator}
    text["titles"][0]["dubs"] = text["titles"][0]["dubs"][:1]
    other = copied.with_name("published.yaml")
    other.write_text(yaml.safe_dump(text))
    settings = config.Config(sync=sync or config.Sync(), models=config.Models(folder=str(model_store)))
    with pytest.MonkeyPatch.context() as patch:
        known = [with_hash(m, model_store) for m in entries.MODELS]
        patch.setattr(models.store, "MODELS", tuple(known))
        patch.delenv(models.store.ENVIRONMENT, raising=False)
        job = Job(manifest.load(other), where, settings)
        preflight.look(job.manifest, settings, where).raise_first()
        report = run_job(job, "local", lambda event: None)
        assert report.exit_code in (0, 3), report


def with_hash(model: models.Model, folder: Path) -> models.Model:
    from dataclasses import replace

    file = folder / model.file
    if not file.exists():
        return model
    return replace(model, size=file.stat().st_size, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def dubbed(out: Path) -> list[dict[str, Any]]:
    return [r for t in sorted(out.glob("film/*/shots.parquet")) for r in read_rows(t) if r["status"] == "dubbed"]


def test_every_line_is_rendered_to_its_last_frame(out: Path) -> None:
    rows = dubbed(out)
    assert rows
    for row in rows:
        assert row["generator"] == "wav2lip" and len(row["generator_hash"]) == 12
        take = out / "film" / row["language"] / "takes" / row["shot"] / row["take"] / "patch"
        face = Take.read(take).faces[0]
        frames = [p.frame for p in media.read_patches(take / face.folder)]
        assert frames == [f for a, b in face.lines for f in range(a, b)]


def test_the_lower_half_is_drawn_and_nothing_above_the_eyes(out: Path) -> None:
    for row in dubbed(out):
        take = out / "film" / row["language"] / "takes" / row["shot"] / row["take"] / "patch"
        face = Take.read(take).faces[0]
        (faces,) = out.glob(f"film/analysis/faces/{row['shot']}-*")
        track = next(t for t in load_tracks(faces) if t.id == face.track)
        whole = 0
        for patch in media.read_patches(take / face.folder):
            mesh = track.mesh_NP3[patch.frame - track.start_frame, :, :2]
            rows_yx = np.argwhere(patch.matte_HW > 0) + (patch.y, patch.x)
            assert rows_yx[:, 0].min() > mesh[list(EYES), 1].max()
            lips = np.rint(mesh[list(OUTER_LIPS)] - (patch.x, patch.y)).astype(int)
            whole += bool((patch.matte_HW[lips[:, 1], lips[:, 0]] > 200).all())
        assert whole > 0.6 * face.frames  # the others fade in and out


def test_frames_times_and_sound_are_the_sources(copied: Path, out: Path) -> None:
    source = next(copied.parent.glob("film.m*"))
    for row in dubbed(out):
        (master,) = (out / "film" / row["language"]).glob("film.*.m*")
        was, now = media.timeline(source), media.timeline(master)
        assert [was.time(i) for i in range(len(was))] == [now.time(i) for i in range(len(now))]


@pytest.mark.parametrize("name", ["lipgan", "latentsync"])
def test_another_generator_renders_the_same_lines(
    name: str, copied: Path, out: Path, model_store: Path, tmp_path: Path
) -> None:
    """On the analysis of the run with `wav2lip`: only what follows from the generator is done again, and scored by
    another expert."""
    where = tmp_path / "out"
    shutil.copytree(out, where)
    settings: dict[str, Any] = {"model": str(model_store / "my lipgan.pth")}
    if name == "latentsync":
        pytest.importorskip("diffusers", reason="the extra `latentsync` brings it")
        settings = {**tiny.latentsync_files(tmp_path), "steps": 1, "guidance": 1.0}
    dub_with({"name": name, **settings}, copied, model_store, where)
    before, now = ({r["shot"]: r for r in dubbed(folder)} for folder in (out, where))
    assert now and set(now) == set(before)
    for row in now.values():
        assert row["generator"] == name and row["lse_d"] > 0 and row["lse_model"].startswith("lips@")
        take = where / "film" / "hi" / "takes" / row["shot"] / row["take"] / "patch"
        face = Take.read(take).faces[0]
        frames = [p.frame for p in media.read_patches(take / face.folder)]
        assert frames == [f for a, b in face.lines for f in range(a, b)]


def test_scores_are_of_the_expert_that_was_asked_for(out: Path, model_store: Path) -> None:
    for row in dubbed(out):
        assert row["lse_model"].startswith("wav2lip_color@")
        assert row["lse_d"] != row["source_lse_d"] and row["lse_windows"] > 30
        assert row["following"] is None  # it has no wanted opening to follow


def test_the_detectors_evidence_is_weighed_and_named(out: Path) -> None:
    for table in out.glob("film/*/shots.parquet"):
        assert pq.read_schema(table).metadata[b"active_speaker"].startswith(b"light_asd_ava@")
    judged = [load_active(folder) for folder in out.glob("film/analysis/active/*")]
    assert any(np.isfinite(v).all() and len(v) == 72 for shot in judged for v in shot.values())


def test_a_model_that_is_absent_or_another_is_said_before_any_work(
    copied: Path, tmp_path: Path, model_store: Path
) -> None:
    settings = config.Config(models=config.Models(folder=str(tmp_path)))

    def look(generator: dict[str, Any], settings: config.Config = settings) -> None:
        text = yaml.safe_load(copied.read_text()) | {"generator": generator}
        file = copied.with_name("absent.yaml")
        file.write_text(yaml.safe_dump(text))
        preflight.look(manifest.load(file), settings, tmp_path / "out").raise_first()

    with pytest.raises(ModelError, match="'wav2lip' is not on this machine.*dub models pull wav2lip"):
        look({"name": "wav2lip"})
    with pytest.raises(ModelError, match="no checkpoint '/nowhere/x.pth'"):
        look({"name": "wav2lip", "model": "/nowhere/x.pth"})
    with pytest.raises(ManifestError, match="relative path"):
        look({"name": "wav2lip", "model": "./x.pth"})
    with pytest.raises(ModelError, match="another architecture"):
        look({"name": "wav2lip", "model": str(model_store / "light_asd_ava.model")})
    with pytest.raises(ModelError, match="'syncnet_v2' is not on this machine"):
        look({"name": "rewrite"}, config.Config(sync=config.Sync(expert="syncnet_v2"), models=settings.models))
    assert not (tmp_path / "out").exists()


def test_the_configuration_names_every_expert_there_is() -> None:
    allowed = config.Sync.model_json_schema()["properties"]["expert"]["enum"]
    assert sorted(allowed) == sorted(experts.names())
