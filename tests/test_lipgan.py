"""LipGAN: the published numbers, the published file, the sound it hears, and the generator."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.fft import dct

from dubbing import generators, models
from dubbing.errors import ModelError
from dubbing.generators.wav2lip import Wav2Lip
from dubbing.networks import lipgan_mfcc
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
def test_keys_and_shapes_are_the_published_ones(published_keys, name):
    state = NETWORKS[name]().state_dict()
    own = {k: list(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert own == published_keys(f"lipgan_{name}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
@pytest.mark.long
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


@pytest.mark.long
def test_the_published_file_is_added_and_used_by_name(nets, tmp_path, monkeypatch, dub):
    monkeypatch.setenv("DUB_MODELS", str(tmp_path / "models"))
    with pytest.raises(
        ModelError, match=r"'lipgan' is not on this machine.*get lipgan\.h5 .*dub models add lipgan FILE"
    ):
        generators.create("lipgan", {})
    file = keras_file(tmp_path / "any name.h5", nets["basic"].state_dict())
    code, _, said = dub("models", "add", "lipgan", file)
    assert code == 2 and "non-commercial research" in said
    code, told, said = dub("models", "add", "lipgan", file, "--accept-licence")
    assert code == 0 and "its hash is recorded" in told
    generator = generators.create("lipgan", {})
    generator.check()
    kept = nets["basic"].state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in generator.loaded().state_dict().items() if "batches" not in k)
    (tmp_path / "models" / "lipgan.h5").unlink()
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    code, _, said = dub("models", "add", "lipgan", tmp_path / "other.pth")
    assert code == 2 and "another architecture: it lacks 'conv2d'" in said, said
    with pytest.raises(ModelError, match="'lipgan' is not on this machine"):  # nothing was taken
        generators.create("lipgan", {}).check()


def test_boxes_are_those_the_checkpoint_was_trained_on(nets, tmp_path):
    mesh = np.random.default_rng(3).uniform((100, 50, 0), (180, 160, 1), (4, 478, 3))
    mesh[:, 0], mesh[:, 1] = (100, 50, 0), (180, 160, 1)
    published = keras_file(tmp_path / "x.h5", {"conv2d.weight": torch.zeros(1, 1, 3, 3)})
    ours = tmp_path / "x.pth"
    torch.save(nets["basic"].state_dict(), ours)

    def box(file, **settings):
        return generators.create("lipgan", {"model": str(file), **settings}).boxes(mesh, 1)[0]

    np.testing.assert_allclose(box(published), (85, 50, 195, 160))
    np.testing.assert_allclose(box(ours, box="dlib"), (85, 50, 195, 160))
    np.testing.assert_allclose(box(ours), Wav2Lip.boxes(None, mesh, 1)[0])
    np.testing.assert_allclose(box(published, box="s3fd"), box(ours))


# -- the sound -------------------------------------------------------------------------------


def by_definition(wave):
    """One column: `wave` holds its 400 samples and the one before them. Wojcicki's recipe, a sum at a time."""
    pcm = wave.astype(float) * 32768
    samples = (pcm[1:] - 0.97 * pcm[:-1]) * (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399))
    magnitude = np.abs(np.fft.fft(samples, 512))[:257]
    mels = np.linspace(1127 * np.log(1 + 300 / 700), 1127 * np.log(1 + 3700 / 700), 42)
    edges = 700 * np.exp(mels / 1127) - 700
    energies = []
    for m in range(40):
        total = 0.0
        for k in range(257):
            hz = k * 31.25
            if edges[m] <= hz <= edges[m + 1]:
                total += magnitude[k] * (hz - edges[m]) / (edges[m + 1] - edges[m])
            elif edges[m + 1] < hz <= edges[m + 2]:
                total += magnitude[k] * (edges[m + 2] - hz) / (edges[m + 2] - edges[m + 1])
        energies.append(np.log(total))
    n = np.arange(1, 13)
    return dct(energies, norm="ortho")[1:13] * (1 + 11 * np.sin(np.pi * n / 22))


def test_cepstra_are_as_defined(monkeypatch):
    wave = np.random.default_rng(0).normal(0, 0.1, 400 + 160 * 30 + 159).astype(np.float32)
    found = lipgan_mfcc.mfcc(wave)
    assert found.shape == (12, 31) and found.dtype == np.float32
    for column in (1, 7, 30):
        np.testing.assert_allclose(found[:, column], by_definition(wave[160 * column - 1 :][:401]), atol=1e-4)
    np.testing.assert_allclose(found[:, 0], by_definition(np.concatenate([[0], wave[:400]])), atol=1e-4)
    monkeypatch.setattr(lipgan_mfcc, "BLOCK", 7)
    np.testing.assert_array_equal(lipgan_mfcc.mfcc(wave), found)
    assert lipgan_mfcc.mfcc(wave[:399]).shape == (12, 0)
    assert np.abs(lipgan_mfcc.mfcc(np.zeros(4000, np.float32))).max() < 1e-6  # silence has a value


def test_a_frame_lies_in_the_middle_of_its_sound_or_at_its_start():
    times = [Fraction(n, 25) for n in range(10)]
    np.testing.assert_array_equal(lipgan_mfcc.starts(times), [4 * (n - 4) for n in range(10)])
    np.testing.assert_array_equal(lipgan_mfcc.starts(times, "inference"), [4 * n for n in range(10)])
    ntsc = [Fraction(n * 1001, 24000) for n in range(48)]
    np.testing.assert_array_equal(
        lipgan_mfcc.starts(ntsc, "inference"), [int(n * 1001 / 24000 * 1000 // 10) for n in range(48)]
    )
    sound = np.arange(12 * 60, dtype=np.float32).reshape(12, 60) + 1
    found = lipgan_mfcc.windows(sound, np.array([-16, 3, 40]))
    assert found.shape == (3, 1, 12, 35)
    assert (found[0, ..., :16] == 0).all()
    np.testing.assert_array_equal(found[0, 0, :, 16:], sound[:, :19])
    np.testing.assert_array_equal(found[1, 0], sound[:, 3:38])
    np.testing.assert_array_equal(found[2, 0, :, :20], sound[:, 40:])
    assert (found[2, ..., 20:] == 0).all()
