"""`dub train`: the order of samples, the loop, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
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
from dubbing.train import recipes
from dubbing.train.checkpoints import BEST, FILE
from dubbing.train.feed import Draw, Feed
from dubbing.train.logs import read_losses
from dubbing.train.loop import CARD, Progress, TrainingPlan, spread, train
from dubbing.train.recipe import Recipe
from dubbing.train.sampler import item_rng, order, steps_of, strided

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

TINY = {"batch": 4, "size": 12, "width": 0.05, "sync_weight": 0, "held_out_steps": 4, "picture_steps": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lessons") / "data")


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


# -- the loop ----------------------------------------------------------------------------------


def test_a_run_leaves_checkpoint_curves_sheet_card_and_result(data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    result = train(
        TrainingPlan("line", data, tmp_path, {"held_out_steps": 3, "picture_steps": 2}, steps=7), told.append
    )
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
    result = train(TrainingPlan("line", data, tmp_path / "a", {"result": "last"}, epochs=2, boards=False))
    assert (result.step, result.epoch, result.best_step) == (8, 2, 8)
    result = train(TrainingPlan("line", data, tmp_path / "b", minutes=0.02, boards=False))
    assert result.why == "0.02 minutes" and result.step > 1


def test_patience_ends_a_run_and_the_best_model_is_kept(data: Path, tmp_path: Path) -> None:
    settings = {"held_out_steps": 2, "patience": 3, "worse": True}
    result = train(TrainingPlan("line", data, tmp_path, settings, steps=100, boards=False))
    assert (result.step, result.best_step, result.held_out) == (8, 2, {"apart": 0.0})
    assert result.why == "no better held-out number in 3 looks"
    assert (
        train(TrainingPlan("line", data, tmp_path, settings, steps=100, boards=False)).step == 8
    )  # run again: it is over


def test_a_loss_that_is_not_finite_ends_the_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "step", lambda self, batch, state: {"apart": float("nan")})
    with pytest.raises(DubError, match="loss apart is not finite at step 1.*smaller learning rate"):
        train(TrainingPlan("line", data, tmp_path, steps=3, boards=False))


def test_without_held_out_speakers_the_last_model_is_published(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data", 4, 0)
    result = train(TrainingPlan("line", data, tmp_path / "out", steps=3, boards=False))
    assert (result.best_step, result.held_out) == (3, {}) and Path(result.file).is_file()


def test_processes_draw_what_threads_draw(data: Path) -> None:
    held, recipe = Dataset(data), recipes.find("wav2lip")
    settings = recipes.settings_of(recipe, TINY)
    draw = Draw(recipe, settings, held, {"train": held.of("train")})
    found = []
    for processes in (0, 2):
        feed = Feed(draw, threads=2, processes=processes)
        found.append([item for items in feed.ahead("train", 3, [[0, 5], [2], [7, 1]]) for item in items])
        feed.close()
    assert len(found[0]) == len(found[1]) == 5
    for a, b in zip(*found, strict=True):
        assert (a["real"] == b["real"]).all() and (a["reference"] == b["reference"]).all()
        assert np.allclose(a["mels"], b["mels"], atol=1e-4)  # sums on other numbers of threads


def test_held_out_clips_are_of_many_speakers(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data", 2, 7)
    train(TrainingPlan("line", data, tmp_path / "out", {"held_out_clips": 3}, steps=1, boards=False))
    assert json.loads((tmp_path / "out" / CARD).read_text())["held_out_clips"] == 3
    assert [s.id for s in spread(list(Dataset(data).of("val")), 3)] == ["val_0", "val_2", "val_4"]


def test_without_tensorboard_the_extra_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"TensorBoard, which is not installed: pip install 'dubbing\[train\]'"):
        train(TrainingPlan("line", data, tmp_path, steps=1))


def test_a_broken_clip_ends_the_run_with_its_name(data: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "data")
    shard = broken / "shards" / "train.parquet"
    content = bytearray(shard.read_bytes())
    content[4 : len(content) // 2 : 97] = bytes(len(range(4, len(content) // 2, 97)))
    shard.write_bytes(bytes(content))
    refused(TrainingPlan("line", broken, tmp_path / "out", epochs=1), r"Shard train of .* is broken at clip train_\d")


# -- what is refused ---------------------------------------------------------------------------


def refused(plan: TrainingPlan, why: str, kind: type[Exception] = InputError) -> None:
    with pytest.raises(kind, match=why):
        train(replace(plan, boards=False))


def test_wrong_plans_are_one_sentence_each(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(TrainingPlan("wavlip", data, out), "no model 'wavlip' to train; did you mean 'wav2lip'")
    refused(
        TrainingPlan("wav2lip", data, out, {"colour": 1}), "train wav2lip: colour: extra inputs.*it knows batch, seed"
    )
    refused(TrainingPlan("wav2lip", data, out, {}), "learns from a sync expert: --set expert=FILE")
    refused(TrainingPlan("wav2lip", data, out, {"expert": "/nowhere.pth"}), "no expert '/nowhere.pth'")
    refused(TrainingPlan("line", tmp_path, out), "is no data folder: .*dub dataset prepare")
    refused(
        TrainingPlan("line", data, out, start=tmp_path / "x.pth"), "no checkpoint '.*x.pth' to start from", ModelError
    )
    short = data_folder(tmp_path / "short", 2, 0, frames=9)
    refused(TrainingPlan("wav2lip", short, out, TINY), "no clip in the split `train`.*that wav2lip can use")
    assert not out.exists()


def test_a_checkpoint_of_another_run_is_refused_with_the_next_step(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(TrainingPlan("line", data, out, steps=2, boards=False))
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    refused(
        TrainingPlan("wav2lip", data, out, TINY),
        "training of 'line', not of 'wav2lip'; choose another --out",
        ModelError,
    )
    refused(
        TrainingPlan("line", data, out, {"seed": 4}), r"other settings \(seed=0 there and seed=4 here\)", ModelError
    )
    other = data_folder(tmp_path / "other", 6, 1)
    refused(TrainingPlan("line", other, out), "on other data .*give the --data it was begun with", ModelError)
    (out / FILE).write_bytes((out / FILE).read_bytes()[:999])
    refused(TrainingPlan("line", data, out), "is damaged or no checkpoint.*remove it", ModelError)
    assert all((out / name).read_bytes() == was for name, was in before.items() if name != FILE)


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
        assert isinstance(recipe, Recipe) and recipe.name == name and recipe.summary and recipe.monitor
        assert all(f.description for f in recipe.Settings.model_fields.values()) or name == "line"
