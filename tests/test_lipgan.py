"""LipGAN: the published numbers, the published file, the sound it hears, and the generator."""

import json
import sys

import numpy as np
import pytest
import torch

from dubbing import models
from dubbing.errors import ModelError
from dubbing.networks.lipgan import KINDS, DiscriminatorNet, LipGAN, LipGANNet, contrastive, kind_of

h5py = pytest.importorskip("h5py", reason="the extra `lipgan` brings it")
NETWORKS = {"basic": lambda: LipGANNet("basic"), "residual": lambda: LipGANNet("residual"),
            "discriminator": DiscriminatorNet}  # fmt: skip


@pytest.fixture(scope="module")
def nets(formula):
    return {name: formula.fill(make()) for name, make in NETWORKS.items()}


def given(golden, *names):
    reference = golden("lipgan")
    return [torch.from_numpy(reference[name]) for name in names]


# -- the published numbers -------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(shared, name):
    published = json.loads((shared / "golden" / f"lipgan_{name}.keys.json").read_text())
    state = NETWORKS[name]().state_dict()
    own = {k: list(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert own == dict(published)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_is_the_published_one(golden, nets, kind):
    mfcc, face, out = given(golden, "mfcc", "face", f"out_{kind}")
    with torch.inference_mode():
        assert (nets[kind](mfcc, face) - out).abs().max() < 1e-3
    assert (LipGAN(nets[kind])(mfcc, face) - out).abs().max() < 1e-3
    assert kind_of(nets[kind].state_dict()) == kind


def test_the_discriminator_is_the_published_one(golden, nets):
    mfcc, face, distance = given(golden, "mfcc", "face", "distance")
    with torch.inference_mode():
        assert (nets["discriminator"](mfcc, face[:, :3]) - distance).abs().max() < 1e-3


def test_results_depend_on_no_neighbour_and_no_thread(golden, nets):
    mfcc, face = (t.repeat(3, 1, 1, 1) for t in given(golden, "mfcc", "face"))
    quick = LipGAN(nets["basic"])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        apart = torch.cat([quick(mfcc[:1], face[:1]), quick(mfcc[1:], face[1:])])
        torch.set_num_threads(2)
        together = quick(mfcc, face)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(apart, together, rtol=0, atol=0)
    assert quick(mfcc[:0], face[:0]).shape == (0, 3, 96, 96)


def test_half_precision_runs_the_same_layers(golden, nets):
    """What a GPU does in float16, here in bfloat16."""
    mfcc, face = given(golden, "mfcc", "face")
    exact, coarse = LipGAN(nets["basic"])(mfcc, face), LipGAN(nets["basic"], dtype=torch.bfloat16)(mfcc, face)
    assert coarse.dtype == torch.float32 and 0 < (exact - coarse).abs().max() < 0.03


def test_the_contrastive_loss_draws_pairs_together_and_pushes_fakes_to_one():
    distance = torch.tensor([[0.5], [0.25], [1.5]])
    real, fake = torch.zeros(3, 1), torch.ones(3, 1)
    assert contrastive(distance, real).item() == pytest.approx((0.25 + 0.0625 + 2.25) / 3)
    assert contrastive(distance, fake).item() == pytest.approx((0.25 + 0.5625 + 0) / 3)


def test_every_layer_learns():
    """Both networks in training, as the published recipe joins them: no parameter is left without a slope."""
    torch.manual_seed(1)
    net, judge = LipGANNet("basic"), DiscriminatorNet()
    mfcc, face = torch.randn(2, 1, 12, 35), torch.rand(2, 6, 96, 96)
    made = net(mfcc, face)
    loss = (made - face[:, :3]).abs().mean() + 0.01 * contrastive(judge(mfcc, made), torch.zeros(2, 1))
    loss.backward()
    for key, parameter in [*net.named_parameters(), *judge.named_parameters()]:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
    still = torch.zeros(1, 3, 96, 96, requires_grad=True)  # a picture without any contrast
    judge(mfcc[:1], still).sum().backward()
    assert torch.isfinite(still.grad).all()


# -- the published file ----------------------------------------------------------------------

KERAS = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta"), "running_mean": "moving_mean",
         "running_var": "moving_variance"}  # fmt: skip


def keras_file(path, state, first=1, whole=False):
    """A state as Keras 2 writes it: layers counted from `first`, kernels (h, w, in, out), names as its own."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = '{"class_name": "Lambda", "config": "open(1)"}'
            file.create_group("optimizer_weights").create_dataset("Adam/iterations:0", data=np.int64(3))
        root.create_group("input_face")
        for key, value in state.items():
            layer, _, what = key.rpartition(".")
            if what == "num_batches_tracked":
                continue
            kind, _, number = layer.rpartition("_") if layer[-1].isdigit() and layer[-2:] != "2d" else (layer, "", "0")
            name = f"{kind}_{int(number) + first}"
            leaf = KERAS[what][0 if "conv" in kind else 1] if what in ("weight", "bias") else KERAS[what]
            array = value.numpy()
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
            root.require_group(name).create_dataset(f"{name}/{leaf}:0", data=array)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_file_becomes_the_published_network(golden, nets, kind, tmp_path):
    mfcc, face, out = given(golden, "mfcc", "face", f"out_{kind}")
    path = keras_file(tmp_path / "gen.h5", nets[kind].state_dict(), whole=kind == "basic")
    state = models.load_state(path)
    assert kind_of(state) == kind and "conv2d_1.weight" in state and "conv2d.weight" not in state
    net = models.fit_layers(LipGANNet(kind), state, "lipgan").eval()
    with torch.inference_mode():
        assert (net(mfcc, face) - out).abs().max() < 1e-3


def test_a_kernel_is_turned_as_each_convolution_needs(tmp_path):
    """By the definition of both, not by the code that wrote the file: one number at a known place."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for layer, shape, at in (
            ("conv2d_1", (3, 5, 2, 4), (0, 1, 1, 3)),  # height, width, in, out
            ("conv2d_transpose_1", (3, 5, 4, 2), (0, 1, 3, 1)),  # height, width, out, in
            ("dense_1", (6, 7), (1, 2)),
        ):
            kernel = np.zeros(shape, ">f4")
            kernel[at] = 8
            file.create_dataset(f"{layer}/{layer}_1/kernel:0", data=kernel)  # old Keras may count a scope once more
    state = models.load_state(tmp_path / "x.h5")
    assert state["conv2d_1.weight"].shape == (4, 2, 3, 5) and state["conv2d_1.weight"][3, 1, 0, 1] == 8
    grown = state["conv2d_transpose_1.weight"]
    assert grown.shape == (2, 4, 3, 5) and grown[1, 3, 0, 1] == 8
    assert state["dense_1.weight"].shape == (7, 6) and state["dense_1.weight"][2, 1] == 8


def test_layers_that_do_not_fit_are_named_in_one_sentence(tmp_path):
    state = dict(LipGANNet("basic").state_dict())
    for key in [k for k in state if k.startswith("conv2d_19.")]:
        del state[key]
    state["dense.weight"] = torch.zeros(3, 4)
    state["conv2d_3.weight"] = torch.zeros(256, 128, 5, 5)
    state["batch_normalization_2.weight"] = torch.zeros(7)
    path = keras_file(tmp_path / "x.h5", state, first=12)
    with pytest.raises(ModelError) as refused:
        models.fit_layers(LipGANNet("basic"), models.load_state(path), "my lipgan")
    assert str(refused.value) == (
        "my lipgan is a checkpoint of another architecture: it lacks 'conv2d_19'; it has 'dense_12', which the network "
        "has not; its 'batch_normalization_2.weight' is (7,) where (128,) belongs (also wrong: 'conv2d_3')."
    )
    with pytest.raises(ModelError, match=r"it lacks 'conv2d_8', .* and \d+ more; .* \(32, 6, 11, 11\) where"):
        models.fit_layers(LipGANNet("residual"), LipGANNet("basic").state_dict(), "x")


def test_what_a_keras_file_may_not_hold(tmp_path):
    def refused(fill, said):
        path = tmp_path / f"{said[:9]}.h5"
        with h5py.File(path, "w") as file:
            fill(file)
        with pytest.raises(ModelError, match=said):
            models.load_state(path)

    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(64))
    refused(lambda f: f.create_dataset("a/kernel:0", (16,), "f4", external=[(str(secret), 0, 64)]), "in another file")
    refused(lambda f: f.__setitem__("a", h5py.ExternalLink(str(secret), "/")), "link to elsewhere")
    refused(lambda f: f.__setitem__("a", h5py.SoftLink("/b")), "link to elsewhere")
    refused(lambda f: f.create_dataset("a/kernel:0", data=np.zeros(10**6), compression="gzip"), "compressed")
    refused(lambda f: f.create_dataset("a/kernel:0", (10**12,), "f4"), "larger than the file")
    refused(lambda f: f.create_dataset("a/kernel:0", data="text"), "holds no numbers")
    refused(lambda f: f.create_group("a").__setitem__("a", f["a"]), "more than layers")  # a group within itself
    refused(lambda f: f.create_group("a"), "no weights")
    whole = keras_file(tmp_path / "whole.h5", {"conv2d.weight": torch.zeros(64, 64, 3, 3)})
    for part in (0.02, 0.5, 0.99):
        (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
        with pytest.raises(ModelError, match="cut short or damaged"):
            models.load_state(tmp_path / "cut.h5")


def test_without_h5py_the_next_step_is_said(tmp_path, monkeypatch):
    path = keras_file(tmp_path / "x.h5", {"conv2d.weight": torch.zeros(1, 1, 3, 3)})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelError, match=r"needs h5py: install `dubbing\[lipgan\]`"):
        models.load_state(path)
