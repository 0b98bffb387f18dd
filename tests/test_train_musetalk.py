"""`dub train musetalk`: what is learnt beside the UNet, from what, and that a title's takes alone use it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from command import Dub
from films import Finished
from lessons import data_folder

from dubbing import config, generators, manifest, models, preflight
from dubbing.artifacts.takes import Take
from dubbing.dataset.shards import Dataset
from dubbing.engine.worker import Worker
from dubbing.errors import InputError, ManifestError, ModelError
from dubbing.generators import adapters
from dubbing.job import Job
from dubbing.manifest import GeneratorChoice
from dubbing.networks import whisper_mel, whisper_states
from dubbing.networks.diffusion import lora
from dubbing.task import Task
from dubbing.train import recipes
from dubbing.train.logs import read_losses
from dubbing.train.recipe import as_batch, to_floats

pytest.importorskip("diffusers", reason="the extra `musetalk` brings it")
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

STEPS = 10


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.manual_seed(1)
    return tiny.musetalk_files(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def title(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished title as far as training asks, with data of its own faces."""
    folder = tmp_path_factory.mktemp("out") / "reel"
    (folder / "analysis").mkdir(parents=True)
    data_folder(folder / "models" / "data_musetalk", train=2, val=1, frames=20, size=64, title="reel/", crop="musetalk")
    return folder


def settings(files: dict[str, str], **more: Any) -> dict[str, Any]:
    return {**files, "size": 64, "batch": 2, "rank": 4, "learning_rate": 0.02, "picture_steps": 99, **more}


@pytest.fixture(scope="module")
def learnt(files: dict[str, str], title: Path) -> Path:
    """The adapter of a short training, by the command."""
    from click.testing import CliRunner

    from dubbing.cli.app import dub

    given = [f"{k}={v}" for k, v in settings(files).items()]
    args = ["train", "musetalk", "--title", str(title), "--steps", str(STEPS), "--device", "cpu", "--json"]
    done = CliRunner().invoke(dub, [*args, *(word for one in given for word in ("--set", one))])
    assert done.exit_code == 0, done.output
    return title / "models" / "musetalk" / adapters.file_of("musetalk")


# -- what is learnt ----------------------------------------------------------------------------


def test_pairs_stand_beside_attention_alone_and_begin_as_nothing(files: dict[str, str]) -> None:
    recipe = recipes.find("musetalk")
    state = recipe.initial_state(recipes.settings_of(recipe, settings(files)))
    pairs, base = state.networks["pairs"], state.frozen["base"]
    assert pairs.names and all(".attn" in name and ".to_" in name for name in pairs.names)
    assert {name.rsplit(".to_", 1)[1] for name in pairs.names} == {"q", "k", "v", "out.0"}
    assert not any(p.requires_grad for p in base.parameters()) and all(p.requires_grad for p in pairs.parameters())
    bare = generators.create("musetalk", {**files, "size": 64}, device="cpu").loaded()
    given, told = torch.randn(1, 8, 8, 8), torch.randn(1, 20, 64)
    with torch.no_grad():
        same = [net.unet(given, 0, encoder_hidden_states=told).sample for net in (base, bare)]
        assert torch.equal(*same)
        for up in pairs.up:
            up.normal_(std=0.1)
        moved = base.unet(given, 0, encoder_hidden_states=told).sample
        added = lora.added(bare.unet.state_dict(), pairs.named())
        bare.unet.load_state_dict(added)
        whole = bare.unet(given, 0, encoder_hidden_states=told).sample
    assert (moved - same[0]).abs().max() > 1e-3 and torch.allclose(whole, moved, atol=1e-4)


def test_an_item_is_a_frame_another_one_and_what_the_frame_hears(files: dict[str, str], title: Path) -> None:
    recipe, data = recipes.find("musetalk"), Dataset(title / "models" / "data_musetalk")
    said = recipes.settings_of(recipe, settings(files))
    sample = data.of("train")[0]
    whole = data.load(sample)
    for seed in range(4):
        item = recipe.item(data, sample, np.random.default_rng(seed), said)
        at, other = (
            int(np.abs(whole.faces_NHWC.astype(int) - item[name]).sum((1, 2, 3)).argmin())
            for name in ("real", "reference")
        )
        assert abs(at - other) >= 6 and item["lips"].shape == (1, 4)
        first = 2 * at - whisper_states.BEFORE
        assert [r for r in item["rows"] if r >= 0] == [r for r in range(first, first + 10) if 0 <= r < 40]
        np.testing.assert_allclose(item["mel"], whisper_mel.of_piece(whole.wave), atol=1e-5)


def test_a_title_is_learnt_and_the_result_lies_in_its_folder(files: dict[str, str], title: Path, learnt: Path) -> None:
    lines = [line for line in read_losses(learnt.parent) if "objective" in line]
    losses = [line["objective"] for line in lines]
    assert len(losses) == STEPS and np.mean(losses[-4:]) < 0.96 * np.mean(losses[:2])
    card = json.loads((learnt.parent / "model.json").read_text())
    assert card["title"] == "reel" and "adapter: off" in card["use"]
    assert learnt.stat().st_size < 0.2 * Path(files["model"]).stat().st_size


# -- whose takes use it ------------------------------------------------------------------------


def test_a_generator_takes_it_beside_its_own_checkpoint_alone(
    files: dict[str, str], title: Path, learnt: Path, tmp_path: Path
) -> None:
    def made(**more: str) -> Any:
        return generators.create("musetalk", {**files, "size": 64, **more}, device="cpu")

    plain, off, with_it = made(), made(adapter="off"), made(adapter=str(learnt))
    assert plain.hash == off.hash != with_it.hash
    a, b = (one.loaded().unet.state_dict() for one in (plain, with_it))
    changed = {key for key in a if not torch.equal(a[key], b[key])}
    assert changed == {f"{name}.weight" for name in lora.attention({k: tuple(v.shape) for k, v in a.items()})}
    other = models.load_state(files["model"])
    other["conv_in.bias"] += 1
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="was learnt on another checkpoint"):
        made(adapter=str(learnt), model=str(tmp_path / "other.pth")).check()
    with pytest.raises(ModelError, match="is no adapter"):
        made(adapter=files["vae"]).check()
    with pytest.raises(ModelError, match="dub train musetalk --title"):
        made(adapter=str(tmp_path / "absent.pth"))
    with pytest.raises(ManifestError, match="auto, off"):
        made(adapter="mine.pth")


def test_it_goes_on_and_begins_from_an_earlier_one(files: dict[str, str], title: Path, learnt: Path) -> None:
    recipe = recipes.find("musetalk")
    said = recipes.settings_of(recipe, settings(files))
    data = Dataset(title / "models" / "data_musetalk")
    batch = as_batch(
        [recipe.item(data, s, np.random.default_rng(3), said) for s in data.of("train")], torch.device("cpu")
    )
    found = []
    for begin in (False, True):
        state = recipe.initial_state(said)
        if begin:
            recipe.begin(state.networks, models.load_state(learnt), "mine")
        state.mode(training=False)
        with torch.no_grad():
            found.append(to_floats(recipe.held_out(batch, state)))
    assert found[1]["objective"] < found[0]["objective"]
    other = recipes.settings_of(recipe, settings(files, rank=2))
    with pytest.raises(ModelError, match="no adapter of this UNet and rank"):
        recipe.begin(recipe.initial_state(other).networks, models.load_state(learnt), "mine")


def test_what_is_refused(dub: Dub, files: dict[str, str], title: Path, tmp_path: Path) -> None:
    code, _, err = dub("train", "musetalk", "--data", tmp_path, "--out", tmp_path / "o", "--steps", 1)
    assert code == 2 and "say --title OUT/TITLE" in err and err.count("\n") == 1
    bare = tmp_path / "out" / "film"
    (bare / "analysis").mkdir(parents=True)
    code, _, err = dub("train", "musetalk", "--title", bare, "--steps", 1)
    assert code == 2 and "--crop musetalk --size 256" in err and err.count("\n") == 1
    plain = data_folder(tmp_path / "plain", train=1, val=0, frames=20, title="reel/")
    recipe = recipes.find("musetalk")
    with pytest.raises(InputError, match="--crop musetalk"):
        recipe.look_at(Dataset(plain), recipes.settings_of(recipe, settings(files)))


@pytest.mark.long
def test_a_title_s_takes_use_its_own_and_are_made_anew(
    finished: Finished, files: dict[str, str], learnt: Path, tmp_path: Path
) -> None:
    """With it in the title's folder, without it again, beside `adapter: off`, and in another title's folder."""
    out = shutil.copytree(finished.out, tmp_path / "out")
    plan = manifest.load(finished.film)
    home = out / plan.titles[0].id

    def takes(**more: str) -> list[Task]:
        choice = GeneratorChoice(name="musetalk", **files, size=64, **more)
        job = Job(plan.model_copy(update={"generator": choice}), out, config.load())
        return [t for t in job.tasks({}) if t.kind.Result is Take]

    without, off = takes(), takes(adapter="off")
    own = adapters.of_title(home, "musetalk")
    own.parent.mkdir(parents=True)
    shutil.copy(learnt, own)
    with_it = takes()
    other = tmp_path / "other.pth"
    torch.save({k: v + 1 for k, v in torch.load(files["model"]).items()}, other)
    for model, said in ((files["model"], 0), (str(other), 1)):
        choice = GeneratorChoice(name="musetalk", **{**files, "model": model}, size=64)
        found = preflight.look(plan.model_copy(update={"generator": choice}), config.load(), out).problems
        assert sum("was learnt on another checkpoint" in str(problem) for problem in found) == said
    assert without and len(with_it) == len(without)
    assert not {t.key for t in with_it} & {t.key for t in without}
    assert [t.key for t in takes(adapter="off")] == [t.key for t in off]
    content = hashlib.sha256(learnt.read_bytes()).hexdigest()
    assert [dict(t.inputs.learnt)["musetalk"].content for t in with_it] == [content] * len(with_it)
    task = next(t for t in with_it if t.inputs.turns.faces)
    generator = generators.create("musetalk", {**files, "size": 64, "adapter": str(own)}, device="cpu")
    worker = Worker(Job(plan, out, config.load()).store)
    outcome = worker.run(task, lambda n: None)
    worker.close()
    assert outcome.error is None, outcome.error
    assert Take.read(task.folder).generator_hash == generator.hash
    own.unlink()
    assert [t.key for t in takes()] == [t.key for t in without]
    other = adapters.of_title(out / "other", "musetalk")
    other.parent.mkdir(parents=True)
    shutil.copy(learnt, other)
    assert [t.key for t in takes()] == [t.key for t in without]
