"""What MuseTalk and LatentSync share: whisper's states, the autoencoder, the UNet; against the published numbers."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from dubbing import models
from dubbing.networks import whisper_mel
from dubbing.networks import whisper_states as states
from dubbing.networks.diffusion import autoencoder, unet

NOT_FORMULA = "positional_embedding"


def near(found, wanted, tolerance=1e-4):
    """Relative to the largest absolute value, as the reference's own spread is."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.fixture(scope="module")
def gold(golden):
    return golden("musetalk")


@pytest.fixture(scope="module")
def gold_openai(golden):
    return golden("latentsync")


@pytest.fixture(scope="module")
def heard(formula, keys, gold, one_thread):
    """The sound, heard by the weights under Hugging Face's names."""
    given = {f"model.encoder.{k}": tensor for k, tensor in filled(formula, keys("musetalk", "whisper_tiny_encoder"))}
    state = states.encoder_state({**given, "model.decoder.layers.0.fc1.bias": torch.zeros(1)})
    net = models.fit(states.encoder_of(state), state, "tiny")
    wave = gold["wav_int16"].astype(np.float32) / 32768
    return states.Hearing(states.EncoderStates(net, last_norm=True), wave, floor="piece", outside="zeros")


def filled(formula, shapes):
    return [(k, torch.from_numpy(np.asarray(formula.tensor(k, tuple(s))))) for k, s in shapes.items()]


def published_rows(count, fps):
    """The rows of the published code, -1 outside."""
    fps = int(fps)
    mu, total = 50 / fps, int(count / 16000 * 50)
    frames = int(count / 16000 * fps)
    rows = np.array([int(i * mu) - 2 * int(np.ceil(mu)) + np.arange(10) for i in range(frames)])
    return np.where((rows < 0) | (rows >= total), -1, rows)


def test_the_log_mel_of_a_piece(gold, gold_openai):
    wave = gold["wav_int16"].astype(np.float32) / 32768
    found = whisper_mel.of_piece(wave).T
    assert np.abs(found[:, :240] - gold["logmel_first_240"]).max() < 1e-4
    assert np.abs(found[:, -1] - gold["logmel_last_column"]).max() < 1e-4
    whole = whisper_mel.Whole(gold_openai["wav_int16"].astype(np.float32) / 32768)
    assert whole.columns == gold_openai["logmel"].shape[1]
    found = whole.piece(0).T
    assert np.abs(found[:, : whole.columns] - gold_openai["logmel"]).max() < 1e-4
    assert not found[:, whole.columns :].any() and not whole.piece(1).any()
    assert whisper_mel.Whole(np.zeros(0, np.float32)).columns == 0


def test_the_rows_of_a_frame(gold):
    """At 25 frames a second they are the published ones; at other rates a frame hears what lies around its time."""
    for fps in ("25", "23.976", "24", "29.97", "30", "48"):
        np.testing.assert_array_equal(published_rows(12 * 16000, float(fps)), gold[f"rows_{fps}"])
    rows = states.first_rows([Fraction(i, 25) for i in range(300)])[:, None] + np.arange(10)
    np.testing.assert_array_equal(np.where((rows < 0) | (rows >= 600), -1, rows), gold["rows_25"])
    for rate in (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)):
        first = states.first_rows([Fraction(i) / rate for i in range(2000)])
        assert (first + 4 == [int(50 * i / rate) for i in range(2000)]).all()


def test_what_is_heard_in_the_published_windows(gold, heard):
    piece = heard.states(whisper_mel.of_piece(gold["wav_int16"].astype(np.float32) / 32768))
    near(piece[gold["hidden_rows"]], gold["hidden"])
    assert not heard.at(np.array([[-1, heard.rows]])).any()
    for fps in ("25", "23.976"):
        rows = published_rows(33850, float(fps))[gold[f"prompts_{fps}_frames"]]
        near(heard.at(rows)[:, :, ::8], gold[f"prompts_{fps}"])


def test_openai_s_own_file_and_windows(formula, keys, gold_openai, one_thread):
    shapes = keys("latentsync", "whisper_tiny_encoder_openai_names")
    given = {f"encoder.{k}": tensor for k, tensor in filled(formula, shapes)}
    state = states.encoder_state(given)
    net = states.encoder_of(state)
    state[NOT_FORMULA] = net.state_dict()[NOT_FORMULA]
    encoder = states.EncoderStates(models.fit(net, state, "tiny"), last_norm=False)
    wave = gold_openai["wav_int16"].astype(np.float32) / 32768
    heard = states.Hearing(encoder, wave, floor="whole", outside="edge")
    rows = gold_openai["whisper_feature_rows"]
    near(heard.at(rows[:, None]).reshape(-1, 5, 384), gold_openai["whisper_feature"])
    with pytest.raises(ValueError, match="whisper"):
        states.encoder_of(states.encoder_state({"conv1.weight": torch.zeros(8, 3, 3)}))


class Counted:
    """Stands in for an encoder: every row says how loud its piece is; the pieces that were heard are counted."""

    depth, width, heard = 1, 1, 0

    def __call__(self, mel_NM):
        self.heard += 1
        return np.full((1500, 1, 1), mel_NM[:100].mean(), np.float32)


def test_a_long_sound_is_heard_in_pieces_of_which_few_are_held():
    wave = np.random.default_rng(1).normal(0, 0.1, 16000 * 301).astype(np.float32)
    wave *= np.repeat(np.linspace(0.1, 1, 301), 16000).astype(np.float32)
    encoder = Counted()
    long = states.Hearing(encoder, wave, floor="piece", outside="zeros")
    once = [long.windows(np.arange(n, n + 50)) for n in range(0, long.rows, 50)]
    assert long.rows == 15050 and encoder.heard == 11, "each piece once, from the first frame to the last"
    rows = np.array([1497, 2997, 15045])  # windows over two pieces, and beyond the end
    found = long.windows(rows)
    np.testing.assert_array_equal(found, [once[r // 50][r % 50] for r in rows])
    assert found[0, 2] < found[0, 3] and found[2, 4] > 0 == found[2, 5]
    assert encoder.heard > 14, "not all are held"


@torch.inference_mode()
def test_latents_are_the_published_ones(gold, formula, keys, one_thread):
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    given = {}
    for key, value in filled(formula, keys("musetalk", "vae_tiny")):
        for new, old in older.items():
            key = key.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        given[key] = value
    state = autoencoder.renamed(given)
    net = models.fit(autoencoder.network_of(state), state, "vae").eval()
    rgb = torch.from_numpy(gold["crop_bgr_uint8"][..., ::-1].copy()).permute(2, 0, 1).float() / 255
    masked = rgb.clone()
    masked[:, 64:] = 0
    pair = torch.stack([masked, rgb]) * 2 - 1
    near(pair[1, :, ::4, ::4], gold["pre_full_every4"])
    near(pair[0, :, ::4, ::4], gold["pre_masked_every4"])
    near(autoencoder.encode(net, pair[:1])[0] / autoencoder.SCALE, gold["vae_masked_mean"])
    noise = torch.from_numpy(gold["latents_noise_masked_then_full"])
    near(autoencoder.encode(net, pair, noise).reshape(8, 16, 16), gold["latents_for_unet"])
    made = autoencoder.decode(net, torch.from_numpy(gold["decode_in"]))
    near(made[:, :, ::4, ::4], gold["decode_raw"])
    with pytest.raises(ValueError, match="autoencoder"):
        autoencoder.network_of({})


@torch.inference_mode()
def test_the_unet_is_the_published_one(gold, formula, keys, one_thread):
    state = dict(filled(formula, keys("musetalk", "unet_tiny")))
    net = models.fit(unet.network_of(state), state, "unet").eval()
    given, told = (torch.from_numpy(gold[f"unet_{name}"]) for name in ("latents", "audio"))
    near(net.time_embedding(net.time_proj(torch.zeros(1)))[0], gold["unet_temb"])
    near(net(given, 0, encoder_hidden_states=told).sample, gold["unet_out"])
    with pytest.raises(ValueError, match="UNet"):
        unet.network_of({})


@pytest.mark.parametrize("name, build", [("unet_full", unet), ("vae_full", autoencoder)])
def test_full_size_is_read_off_the_tensors(keys, name, build):
    shapes = keys("musetalk", name)
    state = {k: torch.empty(s, device="meta") for k, s in shapes.items()}
    assert {k: list(v.shape) for k, v in build.network_of(state).state_dict().items()} == shapes
