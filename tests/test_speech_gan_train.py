"""`speech_gan` learns: items of clips, a run over eight of them, its result in the layout that `dub run` takes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lessons import data_folder

from dubbing import models
from dubbing.dataset.shards import Dataset
from dubbing.generators import create
from dubbing.networks.speech_gan import inputs
from dubbing.networks.speech_gan.nets import NetworkShape, SpeechGANNet, plan_of
from dubbing.train import recipes
from dubbing.train.loop import TrainingPlan as Run
from dubbing.train.loop import train
from dubbing.train.recipe import as_batch, to_floats

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

SMALL = {"batch": 2, "ticks": 6, "width": 8, "audio": 16, "looked_at": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"), size=64)


@pytest.fixture(scope="module")
def recipe():
    return recipes.find("speech_gan")


@pytest.fixture(scope="module")
def settings(recipe):
    return recipes.settings_of(recipe, SMALL)


def items_of(recipe, settings, folder, count=2):
    data = Dataset(folder)
    return [recipe.item(data, s, np.random.default_rng(n), settings) for n, s in enumerate(data.of("train")[:count])]


def test_an_item_is_a_stretch_with_what_each_frame_hears_of_the_whole_clip(recipe, settings, folder):
    data = Dataset(folder)
    sample = data.of("train")[0]
    item = recipe.item(data, sample, np.random.default_rng(3), settings)
    assert {k: (v.shape, v.dtype.name) for k, v in item.items()} == {
        "real": ((6, 128, 96, 3), "uint8"), "still": ((128, 96, 3), "uint8"), "mfcc": ((6, 1, 13, 20), "float32"),
        "noise": ((6, 10), "float32"), "lips": ((6, 4), "float32"), "looked_at": ((3,), "int64"),
    }  # fmt: skip
    whole = data.load(sample)
    first = int(np.random.default_rng(3).integers(sample.frames - 6 + 1))
    assert first > 0
    faces = [cv2.resize(f, (96, 128), interpolation=cv2.INTER_CUBIC) for f in whole.faces_NHWC[first : first + 6]]
    np.testing.assert_array_equal(item["real"], np.stack(faces))
    heard = inputs.windows(whole.wave, whole.lead, sample.frames)[first : first + 6]
    np.testing.assert_allclose(item["mfcc"], heard, atol=1e-3)
    assert len(set(item["looked_at"].tolist())) == 3
    again = recipe.item(data, sample, np.random.default_rng(3), settings)
    assert all((again[k] == item[k]).all() for k in item)
    assert not recipe.usable(sample, recipes.settings_of(recipe, {"ticks": sample.frames + 1}))


def test_a_step_moves_each_network_at_its_own_rate(recipe, settings, folder):
    state = recipe.initial_state(settings)
    rates = {name: o.param_groups[0]["lr"] for name, o in state.optimisers.items()}
    assert rates == {"generator": 2e-3, "frames": 2e-5, "sequences": 2e-5}
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in state.networks.items()}
    told = recipe.step(as_batch(items_of(recipe, settings, folder), state.device), state)
    assert set(told) == {"l1", "fooled_frames", "fooled_sequences", "frames", "sequences"}
    for name, net in state.networks.items():
        moved = [float((a - b.detach()).abs().max()) for a, b in zip(before[name], net.parameters(), strict=True)]
        assert all(0 < m <= 1.1 * rates[name] for m in moved), name
        assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_the_judges_loss_teaches_the_generator_too(recipe, folder):
    """Without L1 the generator still moves, and what is said to be fooled grows less."""
    settings = recipes.settings_of(recipe, {**SMALL, "l1_weight": 0, "judges_rate": 1e-9, "learning_rate": 1e-3})
    state = recipe.initial_state(settings)
    batch = as_batch(items_of(recipe, settings, folder), state.device)
    told = [to_floats(recipe.step(batch, state)) for _ in range(12)]
    falls = {k: told[0][k] - told[-1][k] for k in ("fooled_frames", "fooled_sequences")}
    assert falls["fooled_frames"] > 1e-3 and falls["fooled_sequences"] > 1e-5, falls


def test_it_learns_and_what_it_leaves_is_used(tmp_path):
    folder = data_folder(tmp_path / "data", train=2, val=1, frames=8, size=64)
    seen: list[float] = []
    plan = Run(
        "speech_gan", folder, tmp_path / "out", {**SMALL, "ticks": 4, "held_out_steps": 30, "picture_steps": 25},
        steps=30, device="cpu", boards=False,
    )  # fmt: skip
    done = train(plan, lambda p: seen.append(p.losses["l1"]) if p.losses else None)
    assert done.step == 30 and min(seen[-5:]) < 0.6 * seen[0], seen[::5]
    assert set(done.held_out) == {"l1", "lips", "still"} and all(np.isfinite(v) for v in done.held_out.values())
    file = Path(done.file)
    content = torch.load(file, weights_only=True)
    assert content["model"] == "speech_gan" and content["settings"] == {"width": 8, "audio": 16}
    state = models.load_state(file)
    assert plan_of(state) == NetworkShape(8, 16)
    models.fit(SpeechGANNet(plan_of(state)), state, "it")
    generator = create("speech_gan", {"model": str(file)})
    generator.check()
    assert "name: speech_gan" in done.use and str(file) in done.use
    assert json.loads((tmp_path / "out" / "model.json").read_text())["recipe"] == "speech_gan"


def test_half_precision_is_near_the_whole(recipe, settings, folder):
    """As on a GPU: the networks in bfloat16, the losses in float32."""
    batch = as_batch(items_of(recipe, settings, folder), torch.device("cpu"))
    told = []
    for half in (None, torch.bfloat16):
        state = recipe.initial_state(settings)
        state.half = half
        told.append([to_floats(recipe.step(batch, state)) for _ in range(3)][-1])
    for name, whole in told[0].items():
        assert told[1][name] == pytest.approx(whole, rel=0.1), name


def test_pictures_show_the_still_what_is_drawn_and_the_truth(recipe, settings, folder):
    state = recipe.initial_state(settings)
    state.mode(False)
    batch = as_batch(items_of(recipe, settings, folder), state.device)
    with torch.inference_mode():
        shown = recipe.pictures(batch, state)
    assert shown.shape == (2 * 128, 9 * 96, 3) and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[:128, :96], batch["still"][0].numpy())
    np.testing.assert_array_equal(shown[128:, -96:], batch["real"][1, -1].numpy())
