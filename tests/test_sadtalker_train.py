"""`sadtalker_exp` and `sadtalker_pose` learn: coefficients of a data folder, items, runs, results as published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lessons import data_folder
from torch import nn

from dubbing import models
from dubbing.dataset import coefficients, meshes
from dubbing.dataset.face_network import FaceNetwork
from dubbing.dataset.linear_face import COUNT, SURFACE, Followed, LinearFace, Principal
from dubbing.dataset.lip_teacher import LipTeacher
from dubbing.dataset.meshes import Faces, faces_of
from dubbing.dataset.shards import Dataset
from dubbing.errors import InputError, ModelError
from dubbing.face import LOWER_FACE
from dubbing.generators.sadtalker import weights
from dubbing.networks.sadtalker.expression import ExpNet
from dubbing.networks.sadtalker.pose import PoseVAE
from dubbing.networks.wav2lip import Wav2LipNet, plan_for
from dubbing.train import recipes
from dubbing.train.logs import read_losses
from dubbing.train.loop import TrainingPlan, train
from dubbing.train.recipe import as_batch, to_floats

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.training]

FRAMES = 36
FEW = {"batch": 2, "learning_rate": 1e-3, "held_out_clips": 2, "held_out_items": 2}
BRIDGE, BASE = 197, 2  # of the nose
UPPER = [n for n in range(SURFACE) if n not in {*LOWER_FACE, BASE}]


def a_face() -> np.ndarray:
    """Points of no particular face, (468, 3), but that its lower half lies below its nose, and the rest above."""
    rng = np.random.default_rng(7)
    points = rng.uniform(-1, 1, (SURFACE, 3))
    points[:, 1] = rng.uniform(-1, 0, SURFACE)
    points[list(LOWER_FACE), 1] += 1.4
    points[[BRIDGE, BASE], 1] = 0, 0.3
    return points


class DrawnFaces:
    """Finds in the drawn faces of `lessons` a mesh whose lower face is as far open as their mouth, and whose brow goes
    up and down by itself."""

    calls = 0

    def __call__(self, faces_NHWC: np.ndarray) -> Faces | None:
        DrawnFaces.calls += 1
        opened = (faces_NHWC[:, :, :, 1] < 60).mean((1, 2))
        ways = np.random.default_rng(8).normal(size=(2, SURFACE, 3))
        ways[0, UPPER], ways[1, [*LOWER_FACE, BASE]], ways[:, :, 1] = 0, 0, 0
        brow = np.sin(np.arange(len(opened)))
        shapes = a_face() + np.tensordot(np.stack([8 * opened, 0.1 * brow], 1), ways, 1)
        poses = 0.1 * np.sin(np.arange(len(opened))[:, None] * np.linspace(0.1, 0.6, 6))
        five = np.tile(np.float32([[8, 10], [24, 10], [16, 17], [10, 24], [22, 23]]), (len(opened), 1, 1))
        return Faces(shapes.astype(np.float32), poses.astype(np.float32), five)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"), train=3, val=2, frames=FRAMES)


@pytest.fixture(scope="module")
def made(folder) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meshes, "Finder", DrawnFaces)
        return coefficients.make(folder)


def settings_of(name: str, made: Path, **more):
    recipe = recipes.find(name)
    return recipe, recipes.settings_of(recipe, {"coefficients": str(made), "batch": 2, **more})


# -- faces that follow numbers -----------------------------------------------------------------


def test_principal_coefficients_bring_shapes_back_whoever_it_is(made):
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(3, SURFACE, 3)) * np.array([3, 2, 1])[:, None, None]
    gathered = Principal()
    clips = [
        a_face() + rng.normal(size=(SURFACE, 3)) + np.tensordot(rng.normal(size=(40, 3)), ways, 1) for _ in range(4)
    ]
    for clip in clips:
        gathered.add(clip)
    face = gathered.face()
    numbers = face.coefficients(clips[0])
    assert numbers.shape == (40, COUNT) and not numbers[:, 3:].any()
    assert 0.5 < numbers[:, 0].std() < 2
    back = face.shapes(numbers) - face.shapes(numbers).mean(0)
    np.testing.assert_allclose(back, clips[0] - clips[0].mean(0), atol=1e-3)


def test_a_face_follows_the_numbers_of_another_model():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(COUNT, SURFACE, 3))
    gathered = Followed()
    for _ in range(3):
        numbers = rng.normal(size=(200, COUNT))
        gathered.add(a_face() + np.tensordot(numbers, basis, 1), numbers)
    face = gathered.face()
    np.testing.assert_allclose(face.basis_KP3, basis, atol=0.05)
    np.testing.assert_allclose(face.mean_P3, a_face(), atol=0.05)


def test_lips_alone_are_what_the_lower_face_does(made):
    """The brow of the drawn faces moves as well; what is taken over of it is next to nothing."""
    held = coefficients.opened(made)
    row = held.of(next(iter(Dataset(made.parents[1]).of("train"))).digest)
    apart = row.values_N70[:, :COUNT] - row.values_N70[0, :COUNT]
    whole, lips = (np.tensordot(a, held.face.basis_KP3, 1) for a in (apart, apart @ held.lower))
    lower = list(LOWER_FACE)
    assert np.abs(whole[:, UPPER]).max() > 0.1 and np.abs(whole[:, lower]).max() > 0.1
    assert np.abs((lips - whole)[:, lower]).max() < 0.02 and np.abs(lips[:, UPPER]).max() < 0.02


def test_a_turned_head_has_the_angles_it_was_turned_by():
    """Pitch, yaw and roll of a mesh, in radians, and where it lies in its picture."""
    base = np.random.default_rng(1).uniform(-1, 1, (478, 3))
    base[[33, 263, 10, 152]] = (-0.5, 0, 0), (0.5, 0, 0), (0, -1, 0), (0, 1, 0)
    cos, sin = np.cos(0.3), np.sin(0.3)
    turns = {0: [[1, 0, 0], [0, cos, -sin], [0, sin, cos]], 1: [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]],
             2: [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]}  # fmt: skip
    for n, turn in turns.items():
        turned = base @ np.float64(turn).T
        straight, leaning = faces_of(50 * np.stack([base, turned]) + [128, 96, 0], 256).poses_N6
        np.testing.assert_allclose(straight, [0, 0, 0, 0, 96 / 256 - 0.5, 50 / 256], atol=1e-5)
        np.testing.assert_allclose(leaning[:3], 0.3 * (np.arange(3) == n), atol=1e-5)


# -- coefficients of a data folder -------------------------------------------------------------


def test_coefficients_are_made_once_and_say_what_they_are(folder, made, monkeypatch):
    assert made == folder / "coefficients" / "mesh"
    held = coefficients.opened(made)
    assert held.kind == "mesh" and not held.taught and held.card["clips"] == 5
    styles = [held.style(s.digest) for s in Dataset(folder).samples]
    assert styles == [0, 1, 2, 0, 0]
    row = held.of(Dataset(folder).samples[1].digest)
    assert row.values_N70.shape == (FRAMES, 70) and row.rest_P3.shape == (SURFACE, 3) and row.taught_N64 is None
    before = DrawnFaces.calls
    monkeypatch.setattr(meshes, "Finder", DrawnFaces)
    assert coefficients.make(folder) == made and DrawnFaces.calls == before


def test_a_network_and_a_teacher_leave_out_what_they_cannot_see(folder, made, monkeypatch, tmp_path):
    """A clip in whose drawn pictures there is no face has nothing to learn from."""

    class Sees:
        name, digest = "sadtalker", "11"

        def __call__(self, faces_NHWC, five_N52):
            mean = faces_NHWC.mean((1, 2)) / 255
            return np.tile(mean, (1, 24))[:, :70].astype(np.float32)

    class Teaches:
        digest = "22"

        def __call__(self, clip):
            return np.full((len(clip.faces_NHWC), 8, 8, 3), len(np.unique(clip.wave[:50])) % 250, np.uint8)

    class Once(DrawnFaces):
        drawn = 0

        def __call__(self, faces_NHWC):
            Once.drawn += 1
            return None if Once.drawn == 2 else super().__call__(faces_NHWC)

    monkeypatch.setattr(coefficients, "Finder", Once)
    out = coefficients.make(folder, network=Sees(), teacher=Teaches())
    held = coefficients.opened(out)
    assert out.name == "sadtalker-taught" and held.kind == "sadtalker" and held.taught
    assert held.card["clips"] == 4 and held.card["left_out"] == 1
    there = [s for s in Dataset(folder).samples if held.has(s.digest)]
    assert held.of(there[0].digest).taught_N64.shape == (FRAMES, COUNT)
    recipe, settings = settings_of("sadtalker_exp", out, frames=3)
    assert sum(recipe.usable(s, settings) for s in Dataset(folder).samples) == 4
    item = recipe.item(Dataset(folder), there[0], np.random.default_rng(1), settings)
    np.testing.assert_array_equal(item["still"], held.of(there[0].digest).values_N70[0, :COUNT])
    assert "sadtalker, exp_model: " in recipe.use(Path("/m/exp.pth"), settings)
    content, name = recipe.export(settings, recipe.networks(settings))
    torch.save(content, tmp_path / name)
    models.fit(ExpNet(), weights.state_of(tmp_path / name, "audio2exp", name), name)  # as `generator: sadtalker` does
    assert "face" not in content


def test_the_network_of_the_face_model_sees_an_aligned_face():
    class Mean(nn.Module):
        def forward(self, faces):
            assert faces.shape[1:] == (3, 224, 224) and 0 <= float(faces.min()) and float(faces.max()) <= 1
            return faces.mean((2, 3)).repeat(1, 86)[:, :257]

    standard = np.float64([[-0.3, 0.3, 0.1], [0.3, 0.3, 0.1], [0, 0, 0.5], [-0.2, -0.35, 0.2], [0.2, -0.35, 0.2]])
    network = FaceNetwork(Mean(), "0", standard)
    face = np.zeros((2, 64, 64, 3), np.uint8)
    face[1, :, :, 2] = 200  # red, which comes first for the network
    five = np.tile(np.float32([[20, 24], [44, 24], [32, 36], [24, 46], [40, 46]]), (2, 1, 1))
    seen = network(face, five)
    assert seen.shape == (2, 70) and not seen[0].any() and seen[1].max() > 0.75
    assert np.flatnonzero(seen[1]).tolist() == [
        n for n, at in enumerate([*range(80, 144), *range(224, 227), *range(254, 257)]) if at % 3 == 0
    ]  # noqa: E501


def test_a_network_that_is_not_there_is_named_and_so_is_a_file_of_something_else(dub, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DUB_MODELS", str(tmp_path))
    code, _, err = dub("dataset", "coefficients", folder, "--network", "sadtalker_3dmm")
    assert code == 2 and "sadtalker_3dmm" in err and "dub models pull sadtalker_3dmm" in err
    file = tmp_path / "face.pth"
    torch.save({"mean_face": torch.ones(5, 3), "mapping.x": torch.zeros(1)}, file)
    code, _, err = dub("dataset", "coefficients", folder, "--network", file, "--mean-face", file)
    assert code == 2 and "holds no face_3drecon" in err and "Traceback" not in err


def test_a_teacher_draws_the_first_frame_for_every_sound(tmp_path, folder):
    torch.manual_seed(0)
    file = tmp_path / "tiny.pth"
    net = Wav2LipNet(plan_for(24, 0.125))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(3)  # so that a pixel depends on what is heard
    torch.save({"state_dict": net.state_dict()}, file)
    data = Dataset(folder)
    clip = data.load(data.samples[0], 0, 12)
    drawn = LipTeacher(str(file))(clip)
    assert drawn.shape == (12, 24, 24, 3) and drawn.dtype == np.uint8
    assert (drawn[0] != drawn[5]).any()


# -- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sadtalker_exp", "sadtalker_pose"])
def test_without_coefficients_it_says_how_to_make_them(name, folder, tmp_path):
    for given in ({}, {"coefficients": str(tmp_path)}):
        with pytest.raises(InputError, match=r"dub dataset coefficients DATA|There are no coefficients in"):
            train(TrainingPlan(name, folder, tmp_path / "out", given, steps=1, device="cpu", boards=False))


def test_an_expression_is_learnt_from_its_sound_and_a_broken_off_run_goes_on(folder, made, tmp_path):
    recipe, settings = settings_of("sadtalker_exp", made, frames=3)
    sample = Dataset(folder).of("train")[0]
    item = recipe.item(Dataset(folder), sample, np.random.default_rng(3), settings)
    shapes = {key: value.shape for key, value in item.items()}
    assert shapes == {"mels": (3, 80, 16), "still": (64,), "wanted": (3, 64), "ratio": (3, 1), "rest": (87, 3)}
    given = {"coefficients": str(made), **FEW, "frames": 3, "checkpoint_steps": 1}
    whole = train(TrainingPlan("sadtalker_exp", folder, tmp_path / "a", given, steps=3, device="cpu", boards=False))
    for steps in (1, 3):
        train(TrainingPlan("sadtalker_exp", folder, tmp_path / "b", given, steps=steps, device="cpu", boards=False))
    told = [[line for line in read_losses(tmp_path / where) if "points" in line] for where in "ab"]
    assert told[0] == told[1] and len(told[0]) == 3
    assert set(whole.held_out) == {"distilled", "points", "eyes", "lips", "still"}
    state = models.load_state(Path(whole.file))
    assert all(key.startswith("mesh_audio2exp.") for key in state)  # which SadTalker's renderer must not take
    with pytest.raises(ModelError, match="another architecture"):
        models.fit(ExpNet(), weights.state_of(Path(whole.file), "audio2exp", "it"), "it")
    assert "does not understand" in whole.use
    content = torch.load(whole.file, weights_only=True)
    assert content["coefficients"] == "mesh" and content["face"]["basis"].shape == (64, SURFACE, 3)
    card = json.loads((tmp_path / "a" / "model.json").read_text())
    assert any("lip-reading loss" in note for note in card["notes"])
    recipe.begin({"generator": ExpNet()}, state, "it")


def test_what_is_looked_at_again_and_again_is_learnt_with_its_blink(folder, made):
    recipe, settings = settings_of("sadtalker_exp", made, frames=2, learning_rate=1e-3)
    state = recipe.initial_state(settings)
    data = Dataset(folder)
    items = [recipe.item(data, s, np.random.default_rng(n), settings) for n, s in enumerate(data.of("train")[:2])]
    for item in items:
        item["ratio"][:] = 0.5
    batch = as_batch(items, state.device)
    told = [to_floats(recipe.step(batch, state)) for _ in range(10)]
    assert all(told[-1][name] < 0.8 * told[0][name] for name in ("distilled", "points", "eyes")), (told[0], told[-1])
    state.mode(False)
    with torch.no_grad():
        assert recipe.pictures(batch, state).shape == (2 * 192, 3 * 192, 3)


def test_a_heads_motion_is_learnt_by_all_three_losses(folder, made, tmp_path):
    recipe, settings = settings_of("sadtalker_pose", made)
    sample = Dataset(folder).of("train")[1]
    item = recipe.item(Dataset(folder), sample, np.random.default_rng(3), settings)
    shapes = {key: value.shape for key, value in item.items()}
    assert shapes == {"mels": (32, 80, 16), "reference": (6,), "motion": (32, 6), "spread": (6,), "style": ()}
    assert int(item["style"]) == 1
    given = {"coefficients": str(made), **FEW}
    done = train(TrainingPlan("sadtalker_pose", folder, tmp_path, given, steps=2, device="cpu", boards=False))
    told = [line for line in read_losses(tmp_path) if "error" in line]
    assert set(told[0]) >= {"error", "divergence", "fooled", "judged"} and told[0]["error"] < 20
    assert all(np.isfinite(value) for line in told for value in line.values())
    assert set(done.held_out) == {"error", "divergence", "still", "moved"}
    state = models.load_state(Path(done.file))
    models.fit(PoseVAE(), {key.removeprefix("mesh_audio2pose."): value for key, value in state.items()}, "it")
    fresh = recipe.networks(settings)
    recipe.begin(fresh, state, "it")
    again = recipe.export(settings, fresh)[0]["state_dict"]
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_wav2lips_encoder_of_sound_is_taken_over_and_stays(folder, made, tmp_path):
    torch.manual_seed(1)
    file = tmp_path / "wav2lip.pth"
    net = Wav2LipNet()
    torch.save({"state_dict": net.state_dict()}, file)
    recipe, settings = settings_of("sadtalker_pose", made, audio=str(file), judge_weight=0)
    state = recipe.initial_state(settings)
    data = Dataset(folder)
    batch = as_batch(
        [recipe.item(data, s, np.random.default_rng(0), settings) for s in data.of("train")[:2]], state.device
    )
    recipe.step(batch, state)
    own = state.networks["generator"].audio_encoder.audio_encoder.state_dict()
    for key, value in net.audio_encoder.state_dict().items():
        torch.testing.assert_close(own[key], value, rtol=0, atol=0)
    assert not any("encoder of sound learns" in note for note in recipe.notes(settings))


def test_a_damaged_face_is_said(made, tmp_path):
    (tmp_path / "face.npz").write_bytes((made / "face.npz").read_bytes()[:300])
    with pytest.raises(InputError, match="damaged"):
        LinearFace.load(tmp_path / "face.npz")
