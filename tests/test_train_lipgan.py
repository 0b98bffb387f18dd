"""`dub train lipgan` and `dub train spt_wav2lip`: their items, what learns from what, and that results are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lessons import data_folder

from dubbing import generators, models
from dubbing.dataset.shards import Dataset
from dubbing.errors import ModelError
from dubbing.networks import lipgan_mfcc
from dubbing.networks.lipgan import LipGANNet
from dubbing.networks.spt import SptWav2LipNet
from dubbing.networks.wav2lip import Wav2LipNet, plan_for
from dubbing.train import recipes
from dubbing.train.logs import read_losses
from dubbing.train.loop import TrainingPlan, train
from dubbing.train.recipe import as_batch
from dubbing.train.state import State

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

BASIC = {"kind": "basic", "batch": 4, "held_out_steps": 99, "picture_steps": 99}
TINY = {"batch": 2, "size": 12, "width": 0.05, "sync_weight": 0, "held_out_steps": 99, "picture_steps": 99}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lessons") / "data", train=4, val=2, size=48)


def begun(data: Path, **more: Any) -> tuple[Any, State, dict[str, torch.Tensor]]:
    """The recipe, a state in training, and a batch."""
    recipe = recipes.find("lipgan")
    settings = recipes.settings_of(recipe, BASIC | more)
    state = recipe.initial_state(settings)
    state.mode(training=True)
    held = Dataset(data)
    items = [recipe.item(held, s, np.random.default_rng(1), settings) for s in held.of("train")]
    return recipe, state, as_batch(items, state.device)


# -- LipGAN ------------------------------------------------------------------------------------


def test_an_item_is_a_frame_in_the_middle_of_its_sound_and_another_moment(data: Path) -> None:
    held, recipe = Dataset(data), recipes.find("lipgan")
    settings, sample = recipes.settings_of(recipe, BASIC), Dataset(data).of("train")[0]
    whole = held.load(sample)
    pictures = [recipe.item(held, sample, np.random.default_rng(s), settings) for s in range(8)]
    faces = [np.asarray(p["real"], int) for p in pictures]
    heard = lipgan_mfcc.mfcc(whole.wave)
    found = set()
    for item, face in zip(pictures, faces, strict=True):
        assert face.shape == item["reference"].shape == (96, 96, 3) and item["mfcc"].shape == (1, 12, 35)
        windows = lipgan_mfcc.windows(heard, np.array([4 * (n - 4) for n in range(24)]))
        (frame,) = np.flatnonzero(np.abs(windows - item["mfcc"]).max((1, 2, 3)) < 1e-3)
        shown = recipe.item(held, sample, _Fixed(frame), settings)["real"]
        assert (shown == item["real"]).all() and 4 <= frame <= 18
        found.add(int(frame))
    assert len(found) > 3


class _Fixed(np.random.Generator):
    """Draws one number first, then 0."""

    def __init__(self, first: int) -> None:
        super().__init__(np.random.PCG64(0))
        self._next = [int(first)]

    def integers(self, *args: Any, **more: Any) -> Any:
        return self._next.pop() if self._next else 0


def test_the_other_picture_is_six_frames_away(data: Path) -> None:
    held, recipe = Dataset(data), recipes.find("lipgan")
    sample = held.of("train")[0]
    settings = recipes.settings_of(recipe, BASIC)
    faces = np.stack([held.load(sample, n, 1).faces_NHWC[0] for n in range(24)]).astype(int)
    from dubbing.train.windows import sized

    for frame in (4, 10, 18):
        item = recipe.item(held, sample, _Fixed(frame), settings)
        apart = np.abs(sized(faces.astype(np.uint8), 96).astype(int) - item["reference"]).max((1, 2, 3))
        assert abs(int(apart.argmin()) - frame) >= 6


def test_each_network_learns_its_own_lesson_alone(data: Path) -> None:
    recipe, state, batch = begun(data)
    batch = {k: v[:2] for k, v in batch.items()}
    first = {n: {k: v.clone() for k, v in net.state_dict().items()} for n, net in state.networks.items()}
    calls: list[tuple[str, ...]] = []
    update = state.update

    def counted(*names: str) -> None:
        calls.append(names)
        update(*names)

    state.update = counted  # type: ignore[method-assign]
    found = recipe.step(batch, state)
    assert calls == [("discriminator",), ("discriminator",), ("generator",)]
    assert {"l1", "contrastive", "synced"} < set(found) and len(found) == 4
    assert all(p.grad is None for net in state.networks.values() for p in net.parameters())
    for name, net in state.networks.items():
        assert any((v != first[name][k]).any() for k, v in net.state_dict().items()), name
    with torch.no_grad():
        told = recipe.held_out(batch, state)
    assert set(told) == {"l1", "lips", "distance", "true_distance", "objective"}
    assert float(told["objective"]) > float(told["l1"]) > 0


def test_fakes_and_sounds_of_others_take_turns_as_seed_and_step_say(data: Path) -> None:
    recipe, state, batch = begun(data)
    batch = {k: v[:2] for k, v in batch.items()}
    state.update = lambda *names: None  # type: ignore[method-assign]
    lessons = set[str]()
    for step in (0, 4):  # those in which seed 0 draws the one and the other: a step of the whole network takes a second
        state.step = step
        lessons |= set(recipe.step(batch, state)) - {"l1", "contrastive", "synced"}
    assert lessons == {"made", "unsynced"}


def test_without_the_discriminator_it_is_l1_alone_and_lips_may_weigh_more(data: Path) -> None:
    recipe, state, batch = begun(data, contrastive_weight=0)
    assert set(state.networks) == {"generator"}
    weighed, other, _ = begun(data, contrastive_weight=0, lip_weight=30)
    with torch.no_grad():
        plain = float(recipe.held_out(batch, state)["l1"])
        found = weighed.held_out(batch, other)
    assert float(found["l1"]) != pytest.approx(plain, rel=1e-3)
    assert abs(float(found["l1"]) - float(found["lips"])) < abs(plain - float(found["lips"]))
    assert set(recipe.step(batch, state)) == {"l1"}


def test_it_learns_and_dub_run_takes_its_result(data: Path, tmp_path: Path) -> None:
    settings = BASIC | {"learning_rate": 1e-3, "result": "last", "contrastive_weight": 0, "batch": 2}
    result = train(TrainingPlan("lipgan", data, tmp_path / "out", settings, steps=6, boards=False))
    l1 = [line["l1"] for line in read_losses(tmp_path / "out") if "l1" in line]
    assert np.mean(l1[-2:]) < 0.8 * np.mean(l1[:2])
    assert {"l1", "lips", "objective"} == set(result.held_out)
    assert result.use == f"generator: {{name: lipgan, model: {result.file}}}"
    generators.create("lipgan", {"model": str(result.file)}).check()
    recipe, state, before = recipes.find("lipgan"), LipGANNet("basic"), models.load_state(result.file)
    recipe.begin({"generator": state}, before, "mine")
    assert all((v == before[k]).all() for k, v in state.state_dict().items())
    with pytest.raises(ModelError, match="mine is a checkpoint of another architecture: it lacks 'conv2d_8'"):
        recipe.begin({"generator": LipGANNet("residual")}, before, "mine")


def test_a_sheet_shows_six_rows_of_four(data: Path) -> None:
    recipe, state, batch = begun(data, contrastive_weight=0)
    sheet = recipe.pictures(batch, state)
    assert sheet is not None and sheet.shape == (4 * 96, 4 * 96, 3)
    assert (sheet[48:96, :96] == 0).all()
    assert (sheet[:96, 3 * 96 :] == batch["real"][0].numpy()).all()
    assert isinstance(state.networks["generator"], LipGANNet)


# -- SPT-Wav2Lip -------------------------------------------------------------------------------


def test_spt_begins_with_wav2lip_and_dub_run_takes_its_result(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = Wav2LipNet(plan_for(12, 0.05))
    torch.save({"state_dict": plain.state_dict()}, tmp_path / "wav2lip.pth")
    settings = TINY | {"learning_rate": 1e-3, "result": "last"}
    plan = TrainingPlan(
        "spt_wav2lip", data, tmp_path / "out", settings, steps=3, start=tmp_path / "wav2lip.pth", boards=False
    )
    result = train(plan)
    state = models.load_state(result.file)
    assert Path(result.file).name == "spt_wav2lip.pth" and "name: spt_wav2lip" in result.use
    fresh, key = SptWav2LipNet(plan_for(12, 0.05)).state_dict(), "transformer.theta.weight"
    assert (state[key] != fresh[key]).any()  # it has learnt along
    near = "face_encoder_blocks.0.0.conv_block.0.weight"
    assert 0 < (state[near] - plain.state_dict()[near]).abs().max() < 0.05
    generators.create("spt_wav2lip", {"model": str(result.file)}).check()
