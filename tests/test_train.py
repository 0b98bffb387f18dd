"""`dub train`: the order of samples, items, losses, the loop, its result, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Dub
from lessons import Line, data_folder

from dubbing import models
from dubbing.dataset.shards import Dataset
from dubbing.errors import DubError, InputError, ModelError
from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.generators.wav2lip import SptWav2Lip as SptGenerator
from dubbing.generators.wav2lip import Wav2Lip as Generator
from dubbing.networks import mel
from dubbing.networks.wav2lip import PUBLISHED, Wav2LipNet, plan_for, plan_of
from dubbing.networks.wav2lip_quality import QualityDiscriminator
from dubbing.train import losses, recipes, windows
from dubbing.train.checkpoints import BEST, FILE
from dubbing.train.logs import read_losses
from dubbing.train.loop import CARD, Plan, Progress, train
from dubbing.train.recipe import Recipe
from dubbing.train.sampler import item_rng, order, steps_of, strided
from dubbing.train.state import State

TINY = {"batch": 4, "size": 12, "width": 0.05, "sync_weight": 0, "held_out_steps": 4, "picture_steps": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lessons") / "data")


@pytest.fixture(autouse=True, scope="module")
def alone() -> Iterator[None]:
    """On one thread: tests run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "line", ("lessons", "Line"))


# -- the order ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch", "workers"), [(8, 4, 1), (17, 4, 2), (5, 16, 2), (9, 2, 4), (3, 1, 3)])
def test_an_epoch_holds_every_sample_once_over_all_workers(count: int, batch: int, workers: int) -> None:
    steps = steps_of(order(count, 7, 3), batch, workers)
    taken = [[strided(step, rank, workers) for step in steps] for rank in range(workers)]
    assert sorted(n for own in taken for step in own for n in step) == list(range(count))
    assert all(own[k] for own in taken for k in range(len(steps)))  # nobody waits for one who has nothing to do
    sizes = [len(step) for step in steps]
    assert max(sizes) - min(sizes) <= 1 and (max(sizes) <= batch or len(steps) == count // workers)


def test_the_order_is_of_seed_and_epoch_alone() -> None:
    assert (order(50, 1, 2) == order(50, 1, 2)).all()
    assert (order(50, 1, 2) != order(50, 1, 3)).any() and (order(50, 1, 2) != order(50, 2, 2)).any()
    assert item_rng(1, 2, "a").random() == item_rng(1, 2, "a").random() != item_rng(1, 3, "a").random()


def test_too_few_samples_for_the_processes_is_said() -> None:
    with pytest.raises(InputError, match="has 3 usable clips, and 2 processes with at least 2 each.*need 4"):
        steps_of(np.arange(3), 8, 2, least=2)


# -- items and losses --------------------------------------------------------------------------


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


# -- the loop ----------------------------------------------------------------------------------


def test_a_run_leaves_checkpoint_curves_sheet_card_and_result(data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    result = train(Plan("line", data, tmp_path, {"held_out_steps": 3, "picture_steps": 2}, steps=7), told.append)
    assert (result.step, result.epoch, result.why) == (7, 1, "7 steps")
    lines = read_losses(tmp_path)
    assert [line["step"] for line in lines if "held_out" not in line] == list(range(1, 8))
    assert [line["step"] for line in lines if "held_out" in line] == [3, 6, 7]
    assert all(line["grad_norm/line"] > 0 for line in lines if "held_out" not in line)
    assert [p.step for p in told if p.losses] == list(range(1, 8)) and told[0].note.startswith("line: 8 clips")
    card = json.loads((tmp_path / CARD).read_text())
    assert card["data"] == Dataset(data).hash and card["best_step"] == result.best_step in (3, 6, 7)
    best = torch.load(tmp_path / BEST, weights_only=True)["networks"]["line"]
    published = models.load_state(tmp_path / "line.pth")
    assert all((best[k] == published[k]).all() for k in best)
    assert curves(tmp_path) == {"train/apart": 7, "train/grad_norm/line": 7, "held_out/apart": 3, "samples": 3}


def curves(out: Path) -> dict[str, int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    scalars = {tag: len(events.Scalars(tag)) for tag in events.Tags()["scalars"]}
    return scalars | {tag: len(events.Images(tag)) for tag in events.Tags()["images"]}


def test_epochs_and_minutes_end_a_run_too(data: Path, tmp_path: Path) -> None:
    result = train(Plan("line", data, tmp_path / "a", {"result": "last"}, epochs=2, boards=False))
    assert (result.step, result.epoch, result.best_step) == (8, 2, 8)
    result = train(Plan("line", data, tmp_path / "b", minutes=0.02, boards=False))
    assert result.why == "0.02 minutes" and result.step > 1


def test_patience_ends_a_run_and_the_best_model_is_kept(data: Path, tmp_path: Path) -> None:
    settings = {"held_out_steps": 2, "patience": 3, "worse": True}
    result = train(Plan("line", data, tmp_path, settings, steps=100, boards=False))
    assert (result.step, result.best_step, result.held_out) == (8, 2, {"apart": 0.0})
    assert result.why == "no better held-out number in 3 looks"
    assert train(Plan("line", data, tmp_path, settings, steps=100, boards=False)).step == 8  # run again: it is over


def test_a_loss_that_is_not_finite_ends_the_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "step", lambda self, batch, state: {"apart": float("nan")})
    with pytest.raises(DubError, match="loss apart is not finite at step 1.*smaller learning rate"):
        train(Plan("line", data, tmp_path, steps=3, boards=False))


def test_without_held_out_speakers_the_last_model_is_published(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data", 4, 0)
    result = train(Plan("line", data, tmp_path / "out", steps=3, boards=False))
    assert (result.best_step, result.held_out) == (3, {}) and Path(result.file).is_file()


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
    result = train(Plan("wav2lip", data, tmp_path, settings, steps=24))
    l1 = [line["l1"] for line in read_losses(tmp_path) if "l1" in line]
    assert np.mean(l1[-8:]) < 0.85 * np.mean(l1[:8])
    content = torch.load(result.file, weights_only=True)["state_dict"]
    assert all(key.startswith("module.") for key in content)
    assert plan_of(models.load_state(result.file)) == plan_for(12, 0.05)
    Generator({"model": result.file, "alignment": "training"}).check()
    assert result.use == f"generator: {{name: wav2lip, model: {result.file}, alignment: training}}"


def test_the_expert_is_switched_on_by_the_held_out_sync_loss(data: Path, tmp_path: Path, expert: Path) -> None:
    settings = TINY | {"batch": 2, "size": 24, "expert": str(expert), "sync_weight": 0.03, "held_out_steps": 2}
    settings |= {"sync_below": 99.0, "quality_weight": 0.07}
    train(Plan("wav2lip", data, tmp_path, settings, steps=3, boards=False))
    steps = [line for line in read_losses(tmp_path) if "held_out" not in line]
    assert ["sync" in line for line in steps] == [False, False, True]
    assert all({"l1", "perceptual", "real", "made", "grad_norm/quality"} <= set(line) for line in steps)
    memory = torch.load(tmp_path / FILE, weights_only=True)["memory"]
    assert memory == {"sync_weight": 0.03}


def test_a_generator_step_leaves_discriminator_and_expert_as_they_are(data: Path, expert: Path) -> None:
    recipe = recipes.find("wav2lip")
    settings = recipes.settings_of(recipe, TINY | {"quality_weight": 0.07, "sync_weight": 0.03, "expert": str(expert)})
    state = State.of(recipe, settings)
    state.memory["sync_weight"] = 0.03
    before = {k: v.clone() for k, v in state.frozen["expert"].state_dict().items()}
    held = Dataset(data)
    items = [recipe.item(held, s, np.random.default_rng(1), settings) for s in held.of("train")[:2]]
    from dubbing.train.recipe import as_batch

    state.mode(training=True)
    found = recipe.step(as_batch(items, state.device), state)
    assert {"l1", "sync", "perceptual"} <= set(found)
    assert all((v == before[k]).all() for k, v in state.frozen["expert"].state_dict().items())
    assert all(p.grad is None for net in state.networks.values() for p in net.parameters())


def test_spt_wav2lip_starts_from_wav2lip_and_is_a_generator(data: Path, tmp_path: Path) -> None:
    first = train(Plan("wav2lip", data, tmp_path / "a", TINY | {"size": 48}, steps=1, boards=False)).file
    settings = TINY | {"size": 48, "learning_rate": 1e-3}
    plan = Plan("spt_wav2lip", data, tmp_path / "b", settings, steps=2, start=Path(first), boards=False)
    file = train(plan).file
    moved = models.load_state(file)["transformer.theta.bias"] - torch.tensor([1.0, 0, 0, 0, 1, 0])
    assert 0 < float(moved.abs().max()) < 5e-4  # a tenth of the rate, two steps
    SptGenerator({"model": file}).check()


def test_the_experts_result_is_an_expert(data: Path, tmp_path: Path) -> None:
    result = train(Plan("wav2lip_expert", data, tmp_path, {"batch": 4}, steps=2, boards=False))
    models.fit(Wav2LipColorNet(), models.load_state(result.file), "mine")
    assert set(result.held_out) == {"loss", "accuracy", "ranked"}


# -- what is refused ---------------------------------------------------------------------------


def refused(plan: Plan, why: str, kind: type[Exception] = InputError) -> None:
    with pytest.raises(kind, match=why):
        train(replace(plan, boards=False))


def test_wrong_plans_are_one_sentence_each(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(Plan("wavlip", data, out), "no model 'wavlip' to train; did you mean 'wav2lip'")
    refused(Plan("wav2lip", data, out, {"colour": 1}), "train wav2lip: colour: extra inputs.*it knows batch, seed")
    refused(Plan("wav2lip", data, out, {}), "learns from a sync expert: --set expert=FILE")
    refused(Plan("wav2lip", data, out, {"expert": "/nowhere.pth"}), "no expert '/nowhere.pth'")
    refused(Plan("line", tmp_path, out), "is no data folder: .*dub dataset prepare")
    refused(Plan("line", data, out, start=tmp_path / "x.pth"), "no checkpoint '.*x.pth' to start from", ModelError)
    short = data_folder(tmp_path / "short", 2, 0, frames=9)
    refused(Plan("wav2lip", short, out, TINY), "no clip in the split `train`.*that wav2lip can use")
    assert not out.exists()


def test_a_checkpoint_of_another_run_is_refused_with_the_next_step(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(Plan("line", data, out, steps=2, boards=False))
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    refused(Plan("wav2lip", data, out, TINY), "training of 'line', not of 'wav2lip'; choose another --out", ModelError)
    refused(Plan("line", data, out, {"seed": 4}), r"other settings \(seed=0 there and seed=4 here\)", ModelError)
    other = data_folder(tmp_path / "other", 6, 1)
    refused(Plan("line", other, out), "on other data .*give the --data it was begun with", ModelError)
    (out / FILE).write_bytes((out / FILE).read_bytes()[:999])
    refused(Plan("line", data, out), "is damaged or no checkpoint.*remove it", ModelError)
    assert all((out / name).read_bytes() == was for name, was in before.items() if name != FILE)


def test_a_checkpoint_of_another_architecture_is_no_start(data: Path, tmp_path: Path, expert: Path) -> None:
    refused(Plan("wav2lip", data, tmp_path / "out", TINY, start=expert), "another architecture", ModelError)


def test_to_start_from_a_published_checkpoint_is_to_have_its_weights(data: Path, tmp_path: Path) -> None:
    first = train(Plan("wav2lip", data, tmp_path / "a", TINY, steps=1, boards=False)).file
    plan = Plan(
        "wav2lip", data, tmp_path / "b", TINY | {"learning_rate": 1e-12}, steps=1, start=Path(first), boards=False
    )
    second = models.load_state(train(plan).file)
    wanted = models.load_state(first)
    assert all(torch.allclose(second[k], wanted[k]) for k in wanted if "running" not in k and "num_" not in k)


# -- the command -------------------------------------------------------------------------------


def test_the_command_trains_and_says_what_came_of_it(data: Path, tmp_path: Path, dub: Dub) -> None:
    options = ("--data", data, "--out", tmp_path, "--steps", 3, "--set", "learning_rate=1e-2")
    code, out, err = dub("train", "line", *options)
    assert code == 0 and "ended after 3 steps" in out and "line.pth: the model of step 3" in out, err
    assert "held-out speakers: apart" in err and "\x1b" not in err
    code, out, _ = dub("train", "line", *options, "--json")
    told = json.loads(out)
    assert (code, told["schema"], told["step"]) == (0, "dub.train.1", 3)
    assert json.loads((tmp_path / CARD).read_text())["settings"]["learning_rate"] == 0.01


def test_the_command_asks_for_what_is_missing(data: Path, tmp_path: Path, dub: Dub) -> None:
    def said(*args: object) -> str:
        code, out, err = dub("train", *args)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    assert "Missing --data DIR" in said("line", "--out", tmp_path)
    assert "Say when to end" in said("line", "--out", tmp_path, "--data", data)
    assert "--set is KEY=VALUE" in said("line", "--set", "seed")
    assert "it knows batch" in said("line", "--set", "sead=1")
    assert "is no data folder" in said("line", "--data", tmp_path, "--out", tmp_path, "--steps", 1)
    code, out, _ = dub("train", "wav2lip", "--settings")
    assert code == 0 and "sync_weight" in out


def test_a_titles_model_stays_in_its_folder(data: Path, tmp_path: Path, dub: Dub) -> None:
    start = tmp_path / "start.pth"
    torch.save({"state_dict": Line().networks(Line.Settings())["line"].state_dict()}, start)
    title = tmp_path / "out" / "reel"
    assert "is no finished title" in dub("train", "line", "--title", title, "--from", start, "--steps", 1)[2]
    (title / "analysis").mkdir(parents=True)
    assert "say which with --from" in dub("train", "line", "--title", title, "--steps", 1)[2]
    assert "dub dataset prepare" in dub("train", "line", "--title", title, "--from", start, "--steps", 1)[2]
    options: tuple[Any, ...] = ("--data", data, "--from", start, "--steps", 2)
    assert "leave --out away" in dub("train", "line", "--title", title, "--out", tmp_path / "x", *options)[2]
    own: tuple[Any, ...] = ("train", "line", "--title", "reel", "--out", tmp_path / "out")
    assert "hold no clip of the title 'reel'; they are of train_0, train_1" in dub(*own, *options)[2]
    options = ("--from", start, "--steps", 2)
    data_folder(title / "models" / "data", 9, 3, title="reel/")
    before = {p for p in tmp_path.rglob("*") if title not in p.parents}
    code, out, err = dub(*own, *options)
    assert code == 0 and str(title / "models" / "line" / "line.pth") in out, err
    assert {p for p in tmp_path.rglob("*") if title not in p.parents} == before
    card = json.loads((title / "models" / "line" / CARD).read_text())
    assert (card["title"], card["clips"], card["held_out_clips"]) == ("reel", 11, 1)


def test_every_recipe_keeps_to_the_protocol() -> None:
    for name in recipes.RECIPES:
        recipe = recipes.find(name)
        assert isinstance(recipe, Recipe) and recipe.name == name and recipe.summary and recipe.judged
        assert all(f.description for f in recipe.Settings.model_fields.values()) or name == "line"


def test_dub_models_add_takes_what_was_trained(data: Path, tmp_path: Path, dub: Dub, monkeypatch: Any) -> None:
    monkeypatch.setenv("DUB_MODELS", str(tmp_path / "shelf"))
    file = Path(train(Plan("wav2lip", data, tmp_path / "out", TINY | {"size": 48}, steps=1, boards=False)).file)
    code, out, err = dub("models", "add", "ours", file)
    assert code == 0 and "own-ours.pth (its hash is right)" in out, err
    assert models.digest("ours") == json.loads((tmp_path / "out" / CARD).read_text())["sha256"]
    Generator({"model": "ours", "alignment": "training"}).check()
    assert "wav2lip, trained here: 1 steps" in dub("models", "list")[1]
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
