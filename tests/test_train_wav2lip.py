"""Wav2Lip, its expert and SPT-Wav2Lip as `dub train` teaches them: items, losses, results that `dub run` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Dub
from lessons import data_folder

from dubbing import models
from dubbing.dataset.shards import Dataset
from dubbing.errors import ModelError
from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.generators import create
from dubbing.networks import mel
from dubbing.networks.wav2lip import PUBLISHED, Wav2LipNet, plan_for, plan_of
from dubbing.networks.wav2lip_quality import QualityDiscriminator
from dubbing.train import losses, recipes, windows
from dubbing.train.checkpoints import FILE
from dubbing.train.logs import read_losses
from dubbing.train.loop import CARD, TrainingPlan, train
from dubbing.train.recipe import as_batch, to_floats

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

TINY = {"batch": 4, "size": 12, "width": 0.05, "sync_weight": 0, "held_out_steps": 4, "picture_steps": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lessons") / "data")


@pytest.fixture(autouse=True)
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "line", ("lessons", "Line"))


# -- items and losses --------------------------------------------------------------------------


def test_a_leaned_face_takes_its_lips_box_along() -> None:
    face = np.zeros((1, 64, 64, 3), np.uint8)
    face[0, 44:52, 24:40] = 255  # the lips: below the middle
    box = np.array([[24 / 64, 44 / 64, 40 / 64, 52 / 64]], np.float32)
    turned, moved = windows.leaned(face, box, 90)
    assert moved == pytest.approx(np.array([[44, 24, 52, 40]]) / 64, abs=0.02)  # counter-clockwise: to the right
    inside = turned[0, 26:38, 46:50]
    assert inside.min() > 200 and turned.sum() == pytest.approx(face.sum(), rel=0.05)
    assert windows.leaned(face, box, 0)[0] is face


@pytest.mark.parametrize("first", [0, 1, 7, 13])
def test_mel_windows_of_a_stretch_are_those_of_the_whole_clip(tmp_path: Path, first: int) -> None:
    held = Dataset(data_folder(tmp_path, 1, 0, frames=40))
    (sample,) = held.samples
    whole = held.load(sample)
    columns = mel.mel(whole.wave)
    frames = [n for n in range(first - 1, first + windows.WINDOW) if n >= 0]
    wanted = mel.windows(columns, np.array([int(80 * n / 25) for n in frames]))[:, 0]
    stretch = held.load(sample, first, windows.WINDOW, tail=3 * 640 + windows.TAIL)
    assert np.abs(windows.mel_windows(stretch, first, frames) - wanted).max() < 1e-3


def test_items_of_wav2lip_are_five_frames_their_sound_and_another_moment(data: Path) -> None:
    held, recipe = Dataset(data), recipes.find("wav2lip")
    settings = recipes.settings_of(recipe, TINY | {"size": 32})
    sample = held.of("train")[0]
    item = recipe.item(held, sample, np.random.default_rng(0), settings)
    again = recipe.item(held, sample, np.random.default_rng(0), settings)
    assert {k: (v.shape, v.dtype.name) for k, v in item.items()} == {
        "real": ((5, 32, 32, 3), "uint8"), "reference": ((5, 32, 32, 3), "uint8"), "lips": ((5, 4), "float32"),
        "mels": ((5, 80, 16), "float32"), "mel": ((1, 80, 16), "float32"),
    }  # fmt: skip
    assert all((item[k] == again[k]).all() for k in item)
    faces = held.load(sample).faces_NHWC
    (first,) = [n for n in range(20) if (faces[n : n + 5] == item["real"]).all()]
    (other,) = [n for n in range(20) if (faces[n : n + 5] == item["reference"]).all()]
    assert first >= 1 and other != first
    columns = mel.mel(held.load(sample).wave)
    own = mel.windows(columns, np.array([int(3.2 * (first + 2 - 1))]))[0]  # of its third frame: a frame early
    assert np.abs(item["mels"][2] - own[0]).max() < 1e-3
    assert np.abs(item["mel"][0] - mel.windows(columns, np.array([int(3.2 * first)]))[0, 0]).max() < 1e-3


def test_items_of_the_expert_are_in_sync_or_shifted(data: Path) -> None:
    held, recipe = Dataset(data), recipes.find("wav2lip_expert")
    settings, sample = recipes.settings_of(recipe, {}), held.of("train")[0]
    faces = windows.sized(held.load(sample).faces_NHWC, 96)[:, 48:]
    columns = mel.mel(held.load(sample).wave)
    labels = []
    for seed in range(12):
        item = recipe.item(held, sample, np.random.default_rng(seed), settings)
        (seen,) = [n for n in range(20) if (faces[n : n + 5] == item["face"]).all()]
        apart = np.abs(mel.windows(columns, np.array([int(3.2 * seen)]))[0] - item["mel"]).max()
        assert (apart < 1e-3) == bool(item["same"])
        labels.append(float(item["same"]))
    assert 2 < sum(labels) < 10


def test_lip_weighted_l1_counts_the_lips_so_many_times() -> None:
    made, real = torch.zeros(1, 3, 10, 10), torch.zeros(1, 3, 10, 10)
    real[:, :, 6:8, 4:6] = 1  # 4 of 100 pixels, all of them lips
    lips = torch.tensor([[0.4, 0.6, 0.6, 0.8]])
    assert float(losses.l1(made, real, lips, 1.0)) == pytest.approx(0.04)
    assert float(losses.l1(made, real, lips, 25.0)) == pytest.approx(100 / 196)
    assert losses.lips_mask(lips, 10, 10).sum() == 4


def test_plans_to_train_anew_are_the_published_ones_and_larger() -> None:
    assert plan_for(96) == PUBLISHED and plan_of(Wav2LipNet(plan_for(192, 0.05)).state_dict()) == plan_for(192, 0.05)
    for size in (96, 160, 192):
        net = Wav2LipNet(plan_for(size, 0.02)).eval()
        assert net(torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, size, size)).shape == (2, 3, size, size)
        assert QualityDiscriminator(size, 0.05)(torch.zeros(2, 3, size, size)).shape == (2, 1)
    with pytest.raises(ModelError, match="No plan takes pictures of 128 pixels.*65 to 96, 129 to 192"):
        plan_for(128)


# -- Wav2Lip -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published expert that knows nothing."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("expert") / "lipsync_expert.pth"
    torch.save({"state_dict": Wav2LipColorNet().state_dict()}, path)
    return path


def test_wav2lip_learns_and_dub_run_takes_its_result(data: Path, tmp_path: Path) -> None:
    settings = TINY | {"batch": 2, "learning_rate": 3e-3, "held_out_steps": 99}
    result = train(TrainingPlan("wav2lip", data, tmp_path, settings, steps=24))
    l1 = [line["l1"] for line in read_losses(tmp_path) if "l1" in line]
    assert np.mean(l1[-8:]) < 0.85 * np.mean(l1[:8])
    content = torch.load(result.file, weights_only=True)["state_dict"]
    assert all(key.startswith("module.") for key in content)
    assert plan_of(models.load_state(result.file)) == plan_for(12, 0.05)
    create("wav2lip", {"model": result.file, "alignment": "training"}).check()
    assert result.use == f"generator: {{name: wav2lip, model: {result.file}, alignment: training}}"


def test_the_expert_is_switched_on_by_the_held_out_sync_loss(data: Path, tmp_path: Path, expert: Path) -> None:
    settings = TINY | {"batch": 2, "size": 24, "expert": str(expert), "sync_weight": 0.03, "held_out_steps": 2}
    settings |= {"sync_below": 99.0, "quality_weight": 0.07, "held_out_items": 4}
    train(TrainingPlan("wav2lip", data, tmp_path, settings, steps=3, boards=False))
    steps = [line for line in read_losses(tmp_path) if "held_out" not in line]
    assert ["sync" in line for line in steps] == [False, False, True]
    assert all({"l1", "perceptual", "real", "made", "grad_norm/quality"} <= set(line) for line in steps)
    memory = torch.load(tmp_path / FILE, weights_only=True)["memory"]
    assert memory == {"sync_weight": 0.03}


def test_a_generator_step_leaves_discriminator_and_expert_as_they_are(data: Path, expert: Path) -> None:
    recipe = recipes.find("wav2lip")
    settings = recipes.settings_of(recipe, TINY | {"quality_weight": 0.07, "sync_weight": 0.03, "expert": str(expert)})
    state = recipe.initial_state(settings)
    state.memory["sync_weight"] = 0.03
    before = {k: v.clone() for k, v in state.frozen["expert"].state_dict().items()}
    held = Dataset(data)
    items = [recipe.item(held, s, np.random.default_rng(1), settings) for s in held.of("train")[:2]]
    state.mode(training=True)
    found = recipe.step(as_batch(items, state.device), state)
    assert {"l1", "sync", "perceptual"} <= set(found)
    assert all((v == before[k]).all() for k, v in state.frozen["expert"].state_dict().items())
    assert all(p.grad is None for net in state.networks.values() for p in net.parameters())


def test_spt_wav2lip_starts_from_wav2lip_and_is_a_generator(data: Path, tmp_path: Path) -> None:
    first = train(TrainingPlan("wav2lip", data, tmp_path / "a", TINY | {"size": 48}, steps=1, boards=False)).file
    settings = TINY | {"size": 48, "learning_rate": 1e-3}
    plan = TrainingPlan("spt_wav2lip", data, tmp_path / "b", settings, steps=2, start=Path(first), boards=False)
    file = train(plan).file
    moved = models.load_state(file)["transformer.theta.bias"] - torch.tensor([1.0, 0, 0, 0, 1, 0])
    assert 0 < float(moved.abs().max()) < 5e-4  # a tenth of the rate, two steps
    create("spt_wav2lip", {"model": file}).check()


def test_the_experts_result_is_an_expert(data: Path, tmp_path: Path) -> None:
    result = train(TrainingPlan("wav2lip_expert", data, tmp_path, {"batch": 4}, steps=2, boards=False))
    models.fit(Wav2LipColorNet(), models.load_state(result.file), "mine")
    assert set(result.held_out) == {"loss", "accuracy", "ranked"}


def test_dub_models_add_takes_what_was_trained(data: Path, tmp_path: Path, dub: Dub, monkeypatch: Any) -> None:
    monkeypatch.setenv("DUB_MODELS", str(tmp_path / "model_store"))
    file = Path(train(TrainingPlan("wav2lip", data, tmp_path / "out", TINY | {"size": 48}, steps=1, boards=False)).file)
    code, out, err = dub("models", "add", "ours", file)
    assert code == 0 and "own-ours.pth (its tensors fit wav2lip, its hash is right)" in out, err
    assert models.digest("ours") == json.loads((tmp_path / "out" / CARD).read_text())["sha256"]
    create("wav2lip", {"model": "ours", "alignment": "training"}).check()
    assert "wav2lip, trained here: 1 step" in dub("models", "list")[1]
    assert dub("models", "verify", "ours")[0] == 0
    assert "no name for a model" in dub("models", "add", "My Own", file)[2]
    assert "is not the published wav2lip.pth" in dub("models", "add", "wav2lip", file, "--accept-licence")[2]
    (stray := tmp_path / "wav2lip.pth").write_bytes(file.read_bytes())
    assert "with the model.json beside it that `dub train` writes" in dub("models", "add", "theirs", stray)[2]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "is not the published" in dub("models", "add", "changed", file)[2]
    card = tmp_path / "out" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"title": "reel"}))
    assert "fine-tuned on the title 'reel' and stays in its folder" in dub("models", "add", "secret", file)[2]


def test_a_checkpoint_of_another_architecture_is_no_start(data: Path, tmp_path: Path, expert: Path) -> None:
    with pytest.raises(ModelError, match="another architecture"):
        train(TrainingPlan("wav2lip", data, tmp_path / "out", TINY, start=expert, boards=False))


def test_to_start_from_a_published_checkpoint_is_to_have_its_weights(data: Path, tmp_path: Path) -> None:
    first = train(TrainingPlan("wav2lip", data, tmp_path / "a", TINY, steps=1, boards=False)).file
    plan = TrainingPlan(
        "wav2lip", data, tmp_path / "b", TINY | {"learning_rate": 1e-12}, steps=1, start=Path(first), boards=False
    )
    second = models.load_state(train(plan).file)
    wanted = models.load_state(first)
    assert all(torch.allclose(second[k], wanted[k]) for k in wanted if "running" not in k and "num_" not in k)


@pytest.mark.parametrize("name", ["wav2lip_expert", "wav2lip", "spt_wav2lip"])
def test_a_step_and_a_look_in_half_precision(name: str, data: Path, expert: Path) -> None:
    recipe = recipes.find(name)
    own = {"size": 24, "width": 0.05, "quality_weight": 0.07, "expert": str(expert)}
    settings = recipes.settings_of(recipe, {"batch": 2} | ({} if name == "wav2lip_expert" else own))
    state = recipe.initial_state(settings)
    state.half = torch.bfloat16  # as on a GPU; a processor's autocast stands in for its
    state.memory["sync_weight"] = 0.03
    held = Dataset(data)
    batch = as_batch(
        [recipe.item(held, s, np.random.default_rng(1), settings) for s in held.of("train")[:2]], state.device
    )
    found = to_floats(recipe.step(batch, state))
    state.mode(training=False)
    with torch.no_grad():
        found |= to_floats(recipe.held_out(batch, state))
        recipe.pictures(batch, state)
    assert np.isfinite(list(found.values())).all() and all(n > 0 for n in state.norms.values())
    assert all(p.dtype == torch.float32 for net in state.networks.values() for p in net.parameters())


def test_an_expert_learns_eight_windows_by_heart(data: Path) -> None:
    recipe, settings = recipes.find("wav2lip_expert"), {"apart_frames": 6}
    settings = recipes.settings_of(recipe, settings)
    held = Dataset(data)
    samples = [s for s in held.of("train") if recipe.usable(s, settings)]
    items = [recipe.item(held, samples[k % len(samples)], np.random.default_rng(k), settings) for k in range(8)]
    state = recipe.initial_state(settings)
    state.mode(training=True)
    batch = as_batch(items, state.device)
    assert 0 < batch["same"].sum() < 8
    losses_N = [float(to_floats(recipe.step(batch, state))["loss"]) for _ in range(8)]
    assert losses_N[-1] < losses_N[0] / 4
