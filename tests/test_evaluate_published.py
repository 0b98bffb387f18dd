"""Numbers that papers name: Inception's layout, Frechet's distance by other formulas, libvmaf's program, cosines."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
from torch.nn import functional

from dubbing import config, models
from dubbing.errors import ModelError, StageError
from dubbing.evaluate import pictures, published, vmaf
from dubbing.evaluate.frechet import Inception, Pooled, frechet_distance, pooled_distance
from dubbing.models import entries
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.networks.inception import FEATURES, SIDE_PX, InceptionNet

VMAF = pytest.mark.skipif(
    importlib.util.find_spec("imageio_ffmpeg") is None, reason="the extra `eval` brings an FFmpeg with libvmaf"
)
# A program that answers as FFmpeg does; every frame gets 80, and as many frames as `FRAMES` says.
PROGRAM = """#!{python}
import json, pathlib, sys
words = sys.argv[1:]
if "-version" in words:
    print("ffmpeg version 9.9-made Copyright")
elif "-filters" in words:
    print(" .. {filter} VV->V Calculate")
else:
    assert words[words.index("-i") - 1] == "file" and words.count("-protocol_whitelist") == 2
    read = pathlib.Path("result.y4m").read_bytes()
    assert read.startswith(b"YUV4MPEG2 W64 H96 ") and read.count(b"FRAME\\n") == 3
    frames = [{{"metrics": {{"vmaf": 80.0}}}}] * {frames}
    pathlib.Path("vmaf.json").write_text(json.dumps({{"version": "7", "frames": frames}}))
"""


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(6)
    return cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 1.5)


def net() -> InceptionNet:
    torch.manual_seed(5)
    return InceptionNet().eval()


# -- FID --------------------------------------------------------------------------------------


def test_the_network_is_the_published_one_by_its_keys_and_numbers():
    made = net()
    state = made.state_dict()
    assert len(state) == 566  # as in the published file
    assert sum(p.numel() for name, p in made.named_parameters() if not name.startswith("fc.")) == 21_785_568
    assert state["Mixed_6c.branch7x7dbl_2.conv.weight"].shape == (160, 160, 7, 1)
    assert state["Mixed_7c.branch3x3_2a.conv.weight"].shape == (384, 384, 1, 3)
    assert state["fc.weight"].shape == (1008, FEATURES) and made.Conv2d_1a_3x3.bn.eps == 0.001
    with torch.inference_mode():
        assert made(torch.zeros(1, 3, SIDE_PX, SIDE_PX)).shape == (1, FEATURES)


def test_its_blocks_pool_as_those_of_2015():
    made = net()
    with torch.inference_mode():
        flat = torch.ones(1, 192, 9, 9)
        pooled = made.Mixed_5b(flat)[:, -32:]
        assert torch.allclose(pooled, pooled[..., 4:5, 4:5].expand_as(pooled), atol=1e-6)  # padding is left out
        hole = torch.ones(1, 2048, 8, 8)
        hole[..., 4, 4] = 0
        most = made.Mixed_7c(hole)[:, -192:]
        assert torch.allclose(most, most[..., :1, :1].expand_as(most), atol=1e-6)  # a maximum does not see it
        means = made.Mixed_7b(hole[:, :1280])[:, -192:]
        assert not torch.allclose(means, means[..., :1, :1].expand_as(means), atol=1e-6)


def test_features_are_those_of_the_checked_file(picture, tmp_path, monkeypatch):
    monkeypatch.delenv(models.store.ENVIRONMENT, raising=False)
    made, entry = net(), models.find("inception_fid")
    assert Inception.identity(tmp_path) is None
    with pytest.raises(ModelError, match="dub models pull inception_fid"):
        Inception(tmp_path)
    torch.save(made.state_dict(), tmp_path / entry.file)
    data = (tmp_path / entry.file).read_bytes()
    with pytest.raises(ModelError, match="is not the published"):
        Inception(tmp_path)
    sha256 = hashlib.sha256(data).hexdigest()
    known = tuple(replace(m, size=len(data), sha256=sha256) if m.name == entry.name else m for m in entries.MODELS)
    monkeypatch.setattr(models.store, "MODELS", known)
    assert Inception.identity(tmp_path) == f"inception_fid@{sha256[:12]}"
    found = Inception(tmp_path).features([picture])
    rgb = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    wanted = functional.interpolate(rgb, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False) * 2 - 1
    with torch.inference_mode():
        assert np.allclose(found, made(wanted).numpy(), atol=1e-5)


def normal(spread_D: np.ndarray, mean_D: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows whose mean and covariance are exactly these, in one basis."""
    dims = len(spread_D)
    rows = np.random.default_rng(seed).normal(size=(count, dims))
    basis = np.linalg.qr(rows - rows.mean(0))[0] * np.sqrt(count - 1)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(dims, dims)))[0]
    return basis * spread_D @ turn + mean_D


@pytest.mark.parametrize("counts", [(40, 60), (13, 200)])
def test_frechets_distance_has_its_closed_form_where_covariances_share_their_axes(counts):
    a_D, b_D = np.linspace(0.5, 3, 12), np.linspace(2, 0.1, 12)
    shift = np.arange(12) / 4
    a, b = normal(a_D, np.zeros(12), counts[0], 2), normal(b_D, shift, counts[1], 3)
    assert frechet_distance(a, b) == pytest.approx((shift**2).sum() + ((a_D - b_D) ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize(("count", "other", "dims"), [(50, 70, 9), (8, 70, 9), (6, 7, 12)])
def test_frechets_distance_is_that_of_a_matrix_root(count, other, dims):
    rng = np.random.default_rng(count)
    a = rng.normal(size=(count, dims)) @ rng.normal(size=(dims, dims))
    b = rng.normal(size=(other, dims)) @ rng.normal(size=(dims, dims)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(cov_a) @ cov_b @ scipy.linalg.sqrtm(cov_a)
    theirs = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b)
    theirs -= 2 * np.sqrt(np.maximum(np.linalg.eigvals(root).real, 0)).sum()
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * np.trace(cov_a))
    pools = Pooled(), Pooled()
    for pool, rows in zip(pools, (a, b), strict=True):
        for n in range(0, len(rows), 3):
            pool.add(rows[n : n + 3])
    assert pooled_distance(*pools) == pytest.approx(theirs, rel=1e-4), "films that come one after another"


# -- VMAF -------------------------------------------------------------------------------------


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, frames: int = 3, filter: str = "libvmaf") -> None:
    """A made package with a made program in place of imageio-ffmpeg's."""
    binaries = tmp_path / "site" / "imageio_ffmpeg" / "binaries"
    binaries.mkdir(parents=True)
    (binaries.parent / "__init__.py").write_text("raise SystemExit('this package is not to be imported')\n")
    file = binaries / "ffmpeg-made"
    file.write_text(PROGRAM.format(python=sys.executable, frames=frames, filter=filter))
    file.chmod(0o755)
    monkeypatch.delitem(sys.modules, "imageio_ffmpeg", raising=False)  # a real one that others have loaded
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def measured(folder: Path, picture: np.ndarray, other: np.ndarray, count: int = 3) -> vmaf.Vmaf:
    folder.mkdir()
    with vmaf.Films(folder, (picture.shape[1], picture.shape[0])) as films:
        for _ in range(count):
            films.add(picture, other)
        return films.measure()


def test_the_program_is_given_two_films_and_says_what_it_is(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch)
    grey = np.full((97, 65, 3), 90, np.uint8)  # odd sides: the last row and column stay out
    found = measured(tmp_path / "a; touch b", grey, grey)
    assert (found.mean, found.least, found.frames) == (80, 80, 3)
    assert found.by == "libvmaf 7, vmaf_v0.6.1, FFmpeg 9.9-made, 8-bit 4:2:0, pixels unscaled"
    assert vmaf.identity() == "vmaf_v0.6.1 FFmpeg 9.9-made" and vmaf.missing() is None


def test_a_program_without_the_filter_or_that_loses_frames_is_said(tmp_path, monkeypatch):
    grey = np.full((96, 64, 3), 90, np.uint8)
    installed(tmp_path / "1", monkeypatch, frames=2)
    with pytest.raises(StageError, match="ffmpeg-made could not measure it .it compared 2 of 3 frames"):
        measured(tmp_path / "films", grey, grey)
    installed(tmp_path / "2", monkeypatch, filter="nothing")
    assert vmaf.missing() == (
        "VMAF: absent: ffmpeg-made of imageio-ffmpeg has no filter libvmaf; install another dubbing[eval]."
    )
    assert vmaf.identity() is None
    with pytest.raises(StageError, match="it needs 64 pixels a side"):
        vmaf.Films(tmp_path, (62, 200))


@VMAF
def test_vmaf_falls_with_blur(picture, tmp_path):
    values = [measured(tmp_path / str(s), cv2.GaussianBlur(picture, (0, 0), s) if s else picture, picture).mean
              for s in (0, 0.7, 1.5, 3)]  # fmt: skip
    assert values[0] > 95 and values == sorted(values, reverse=True) and values[-1] < 40


# -- CSIM, CPBD, rows -------------------------------------------------------------------------


def test_csim_is_the_cosine():
    a, b = np.array([3.0, 4.0, 0.0]), np.array([4.0, 3.0, 0.0])
    assert published.csim(a, b) == pytest.approx(24 / 25) == published.csim(2 * a, b)
    assert published.csim(a, a) == pytest.approx(1) and published.csim(a, -a) == pytest.approx(-1)


def test_the_published_cpbd_knows_rows_only():
    stripes = np.repeat(np.where(np.arange(128) // 16 % 2, 220, 30).astype(np.uint8)[None], 128, 0)
    upright = np.repeat(stripes[..., None], 3, 2)
    level = np.ascontiguousarray(upright.transpose(1, 0, 2))
    assert pictures.cpbd(upright, rows_only=True) == pictures.cpbd(upright) == pictures.cpbd(level) == 1
    assert pictures.cpbd(level, rows_only=True) is None


def test_what_is_not_here_is_a_row_with_its_reason(picture, tmp_path, monkeypatch):
    monkeypatch.delenv(models.store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(FaceDescriptor, "identity", classmethod(lambda cls: None))
    installed(tmp_path, monkeypatch, filter="nothing")
    settings = config.Config(models=config.Models(folder=str(tmp_path / "none")))
    with published.Models(settings).beside() as beside:
        beside.add(picture, picture, np.zeros((478, 2)))
        rows = beside.rows("rendering", track="track_1")
    assert [r["name"] for r in rows] == ["vmaf", "fid", "csim"] and all(r["track"] == "track_1" for r in rows)
    said = " ".join(r["reason"] for r in rows)
    assert "no filter libvmaf" in said and "dub models pull inception_fid" in said and "dubbing[identity]" in said
    assert not any(r.get("value") for r in rows) and published.identities(settings) == ["published 1"]


class MadeInception:
    """In place of the network: three numbers of a picture."""

    name = "inception_fid"

    def __init__(self, folder: object = None) -> None:
        """Nothing to load."""

    @classmethod
    def identity(cls, folder: object = None) -> str:
        return "inception_fid@made"

    def features(self, pictures: list[np.ndarray]) -> np.ndarray:
        return np.array([[p.mean(), p.std(), p[0].mean()] for p in pictures], np.float32)


def test_result_and_source_are_compared_frame_by_frame_and_rows_say_by_what(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "Inception", MadeInception)
    monkeypatch.setattr(FaceDescriptor, "identity", classmethod(lambda cls: None))
    monkeypatch.setattr(vmaf, "missing", lambda: "VMAF: absent")
    rng = np.random.default_rng(8)
    frames = [rng.integers(0, 256, (96, 64, 3), np.uint8) for _ in range(40)]

    def fid(shift: int, count: int) -> dict:
        with published.Models(config.Config()).beside() as beside:
            for frame in frames[:count]:
                beside.add(frame, np.clip(frame.astype(int) + shift, 0, 255).astype(np.uint8), np.zeros((478, 2)))
            return next(r for r in beside.rows("resynthesis") if r["name"] == "fid")

    assert fid(0, 40)["value"] == pytest.approx(0, abs=1e-6) and fid(3, 40)["value"] > 5
    assert fid(0, 40)["by"] == "inception_fid@made, every 4th frame, 10 pictures"
    assert fid(0, 20).get("value") is None and "has 5 pictures, and 8 are needed" in fid(0, 20)["reason"]
