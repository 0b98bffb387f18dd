"""The speech-driven GAN's networks: shapes, what each part is heard through, streaming, losses. Made data only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dubbing import models
from dubbing.errors import ModelError
from dubbing.networks.speech_gan import inputs, judges, losses
from dubbing.networks.speech_gan.nets import (
    PLAN,
    AudioEncoder,
    Decoder,
    IdentityEncoder,
    NetworkShape,
    NoiseGenerator,
    SpeechGANNet,
    plan_of,
)  # fmt: skip
from dubbing.networks.speech_gan.run import SpeechGAN

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.long]

SMALL = NetworkShape(width=8, audio=16)
SKIPS = [(8, 64, 48), (16, 32, 24), (32, 16, 12), (64, 8, 6)]


def made(kind, *args, seed=1):
    torch.manual_seed(seed)
    net = kind(*args)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    return net


def sounds(ticks, seed=2):
    """Something that rises and falls, with a lead of half a second."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(np.abs(np.sin(np.arange(ticks + 13) * 0.7)), inputs.TICK)[: 8000 + ticks * inputs.TICK]
    return (rng.normal(0, 0.1, len(loud)) * loud).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    """Untrained, but its batch norms know what goes through it: a signal in is a signal out."""
    net = made(SpeechGANNet, SMALL)
    with torch.no_grad():
        net(*given(8))
    return net.eval()


def given(ticks, batch=1):
    mfcc = inputs.windows(sounds(ticks), 8000, ticks)
    noise = inputs.noise(np.random.default_rng(3), ticks)
    still = np.random.default_rng(4).random((3, *inputs.PICTURE_HW), np.float32)
    return [torch.from_numpy(np.stack([x] * batch)) for x in (still, mfcc, noise)]


# -- what they are given ---------------------------------------------------------------------


def test_a_tick_hears_the_columns_around_its_middle():
    wave = np.zeros(40 * inputs.TICK, np.float32)
    wave[20 * inputs.TICK + 320] = 0.5  # a click in the middle of tick 20
    found = inputs.windows(wave, 0, 40)
    assert found.shape == (40, 1, 13, 20) and found.dtype == np.float32
    heard = np.argwhere((found != found[0, 0, :, :1]).any((1, 2)))
    ticks = heard[:, 0]
    assert set(ticks) == {18, 19, 20, 21, 22}
    columns = heard[ticks == 20, 1]
    assert abs(columns.mean() - 9.5) <= 0.5  # the middle of 20 columns
    assert np.abs(found).max() <= 4


def test_any_stretch_of_a_sound_is_heard_as_in_the_whole():
    wave = sounds(30)
    whole = inputs.windows(wave, 8000, 30)
    for first, count in ((0, 4), (7, 11), (29, 1)):
        begins = 8000 + first * inputs.TICK
        part = inputs.windows(wave[begins - 1441 : begins + count * inputs.TICK + 1500], 1441, count)
        np.testing.assert_allclose(part, whole[first : first + count], atol=1e-5)
    assert (inputs.windows(np.zeros(0, np.float32), 0, 3)[:, :, 0] == -4).all()


def test_noise_is_normal_with_the_published_deviation_and_comes_in_parts():
    drawn = inputs.noise(np.random.default_rng(1), 40_000)
    assert drawn.shape == (40_000, 10)
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 0.77) < 0.01
    kurtosis = ((drawn / drawn.std()) ** 4).mean()
    assert abs(kurtosis - 3) < 0.1
    rng = np.random.default_rng(1)
    parts = np.concatenate([inputs.noise(rng, n) for n in (1, 7, 100)])
    np.testing.assert_array_equal(parts, drawn[:108])


def test_moments_lie_between_the_middles_of_ticks():
    at, part = inputs.between(np.array([0.0, 0.02, 0.06, 0.07, 1.02, 2.0]))
    assert at.tolist() == [0, 0, 1, 1, 25, 49]
    np.testing.assert_allclose(part, [0, 0, 0, 0.25, 0, 0.5], atol=1e-9)


# -- shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, SMALL], ids=["published", "small"])
def test_every_stage_has_the_shape_it_is_said_to_have(plan):
    still, mfcc, noise = given(3, batch=2)
    w = plan.width
    with torch.inference_mode():
        heard, state = AudioEncoder(plan)(mfcc)
        assert heard.shape == (2, 3, plan.audio) and state.shape == (2, 2, plan.audio)
        chance, state = NoiseGenerator()(noise)
        assert chance.shape == (2, 3, 10) and state.shape == (2, 2, 10)
        who, skips = IdentityEncoder(plan)(still)
        assert who.shape == (2, 50)
        assert [tuple(s.shape[1:]) for s in skips] == [(c * w // 8, h, v) for c, h, v in SKIPS]
        assert Decoder(plan)(torch.zeros(2, plan.audio + 60), skips).shape == (2, 3, 128, 96)
        out = SpeechGANNet(plan)(still, mfcc, noise)
        assert out.shape == (2, 3, 3, 128, 96) and 0 <= out.min() and out.max() <= 1
        assert judges.FrameJudge(plan)(still, out[:, 0]).shape == (2,)
        assert judges.SequenceJudge(plan)(out, mfcc).shape == (2,)


def test_layers_are_as_many_as_the_paper_has():
    def count(module, kind):
        return sum(type(m) is kind for m in module.modules())

    conv, up, full = torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear
    whole = SpeechGANNet()
    assert (count(whole.audio, conv), count(whole.audio, full), whole.audio.gru.num_layers) == (5, 2, 2)
    assert count(whole.identity, conv) == 6 and whole.noise.gru.num_layers == 2
    assert (count(whole.decoder, up), count(whole.decoder, conv)) == (6, 4)
    frame = judges.FrameJudge()
    assert (count(frame, conv), count(frame, torch.nn.MaxPool2d), count(frame, full)) == (4, 4, 2)
    assert count(judges.SequenceJudge().full, full) == 2


@pytest.mark.parametrize("ticks", [1, 2, 3, 4, 5, 17, 75])
def test_a_sequence_of_any_length_becomes_a_fixed_one(ticks):
    features = torch.randn(2, 5, ticks)
    pooled = judges.pyramid(features)
    assert pooled.shape == (2, 5 * (1 + 2 + 4))
    torch.testing.assert_close(pooled[:, :5], features.amax(2))
    if ticks % 4 == 0:
        torch.testing.assert_close(pooled[:, 15:].unflatten(1, (5, 4)), features.unflatten(2, (4, -1)).amax(3))


# -- what a picture hangs on -----------------------------------------------------------------


def test_every_skip_the_sound_and_chance_reach_the_picture(net):
    still, mfcc, noise = given(4)
    with torch.inference_mode():
        heard, chance = net.audio(mfcc)[0], net.noise(noise)[0]
        who, skips = net.identity(still)
        code = torch.cat((heard[:, 3], who, chance[:, 3]), 1)
        whole = net.decoder(code, skips)
        torch.testing.assert_close(whole, net(still, mfcc, noise)[:, 3])
        for n in range(4):
            without = [torch.zeros_like(s) if k == n else s for k, s in enumerate(skips)]
            assert (net.decoder(code, without) - whole).abs().max() > 1e-4, f"skip {n}"
        for part in (slice(0, 16), slice(16, 66), slice(66, 76)):
            other = code.clone()
            other[:, part] += 1
            assert (net.decoder(other, skips) - whole).abs().max() > 1e-6, part
    later = mfcc.clone()
    later[:, 2] += 1
    with torch.inference_mode():
        before, after = net(still, mfcc, noise)[0], net(still, later, noise)[0]
    changed = (before - after).abs().amax((1, 2, 3))
    assert (changed[:2] == 0).all() and (changed[2:] > 0).all(), "it hears the past and not the future"


def test_in_parts_the_bytes_are_those_of_the_whole(net):
    ticks = 70
    mfcc, noise = inputs.windows(sounds(ticks), 8000, ticks), inputs.noise(np.random.default_rng(3), ticks)
    still = np.random.default_rng(5).integers(0, 256, (*inputs.PICTURE_HW, 3), np.uint8)
    gan = SpeechGAN(net)
    seen = gan.see(still)
    codes, _ = gan.hear(mfcc, noise)
    whole = gan.draw(seen, codes[::5])
    state, parts, first = None, [], 0
    for count in (1, 16, 0, 33, 20):
        part, state = gan.hear(mfcc[first : first + count], noise[first : first + count], state)
        parts.append(part)
        first += count
    parts = np.concatenate(parts)
    assert parts.tobytes() == codes.tobytes()
    drawn = np.concatenate([gan.draw(seen, parts[::5][a:b]) for a, b in ((0, 1), (1, 9), (9, 14))])
    assert drawn.tobytes() == whole.tobytes()
    with torch.inference_mode():
        plain = net(*(torch.from_numpy(x)[None] for x in (inputs.picture(still[None])[0], mfcc, noise)))
    np.testing.assert_allclose(whole, plain[0, ::5].permute(0, 2, 3, 1) * 255, atol=0.01)
    fresh, _ = gan.hear(mfcc[40:], noise[40:])
    assert np.abs(fresh[0] - codes[40]).max() > 1e-4, "the state carries something"


# -- training --------------------------------------------------------------------------------


def test_losses_are_the_papers():
    assert (losses.GENERATOR_LR, losses.JUDGE_LR, losses.L1_WEIGHT) == (2e-3, 2e-5, 400)
    real = torch.rand(2, 3, 3, 128, 96)
    other = real.clone()
    other[..., :64, :] = 0
    assert losses.lower_l1(other, real) == 0
    other[..., 64:, :] = real[..., 64:, :] - 0.25
    torch.testing.assert_close(losses.lower_l1(other, real), torch.tensor(0.25))
    unsure = torch.zeros(4)
    two = 2 * torch.tensor(2.0).log()
    torch.testing.assert_close(losses.judging(unsure, unsure), two)
    assert losses.judging(unsure + 5, unsure - 5) < 0.05 < losses.judging(unsure - 5, unsure + 5)
    assert losses.fooling(unsure + 5) < 0.05 < losses.fooling(unsure - 5)
    torch.testing.assert_close(losses.generator_loss(torch.tensor(0.1), unsure, unsure), two + 40)


def mouth(ticks):
    """A drawn face that opens its mouth as its sound is loud: (T, 3, 128, 96), 0..1, and the sound."""
    wave = sounds(ticks)
    loud = np.abs(wave[8000:]).reshape(ticks, -1).mean(1)
    frames = np.full((ticks, 3, 128, 96), 0.7, np.float32)
    frames[:, :, 30:40, [25, 26, 27, 68, 69, 70]] = 0.1
    for frame, open_px in zip(frames, np.rint(loud / loud.max() * 20).astype(int), strict=True):
        frame[:, 90 - open_px // 2 : 92 + open_px // 2, 34:62] = np.array([0.2, 0.2, 0.5])[:, None, None]
    return frames, wave


def test_it_learns_one_sequence_by_heart_and_the_judges_learn_to_tell():
    ticks = 5
    frames, wave = mouth(ticks)
    real = torch.from_numpy(frames)[None]
    still = real[:, 0]
    mfcc = torch.from_numpy(inputs.windows(wave, 8000, ticks))[None]
    rng = np.random.default_rng(1)
    net, frame_judge, sequence_judge = (
        made(kind, SMALL).train() for kind in (SpeechGANNet, judges.FrameJudge, judges.SequenceJudge)
    )
    both = [*frame_judge.parameters(), *sequence_judge.parameters()]
    making = torch.optim.Adam(net.parameters(), losses.GENERATOR_LR, betas=(0.5, 0.999))
    telling = torch.optim.Adam(both, losses.JUDGE_LR, betas=(0.5, 0.999))
    stills = still.repeat_interleave(ticks, 0)
    l1s, told = [], []
    for _ in range(50):
        drawn = net(still, mfcc, torch.from_numpy(inputs.noise(rng, ticks))[None])
        telling.zero_grad()
        judged = losses.judging(frame_judge(stills, real[0]), frame_judge(stills, drawn[0].detach())) + losses.judging(
            sequence_judge(real, mfcc), sequence_judge(drawn.detach(), mfcc)
        )
        judged.backward()
        telling.step()
        making.zero_grad()
        l1 = losses.lower_l1(drawn, real)
        losses.generator_loss(l1, frame_judge(stills, drawn[0]), sequence_judge(drawn, mfcc)).backward()
        making.step()
        l1s.append(l1.item())
        told.append(judged.item())
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
    assert min(l1s[-5:]) < 0.1 * l1s[0], l1s[::10]
    assert min(told) < told[0]


# -- checkpoints -----------------------------------------------------------------------------


def test_sizes_are_read_off_a_checkpoint_and_another_is_named(net, tmp_path):
    torch.save({"state_dict": net.state_dict(), "model": "speech_gan", "settings": {"width": 8}}, tmp_path / "w.pth")
    state = models.load_state(tmp_path / "w.pth")
    assert plan_of(state) == SMALL
    again = models.fit(SpeechGANNet(plan_of(state)), state, "w.pth").eval()
    args = given(2)
    torch.testing.assert_close(again(*args), net(*args), rtol=0, atol=0)
    judge = judges.FrameJudge(SMALL).state_dict()
    with pytest.raises(ModelError, match="another architecture"):
        models.fit(SpeechGANNet(plan_of(judge)), judge, "w.pth")
