"""LipGAN: the published numbers, the published file, the sound it hears, and the generator."""

import json

import pytest
import torch

from dubbing.networks.lipgan import KINDS, DiscriminatorNet, LipGAN, LipGANNet, contrastive, kind_of

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
