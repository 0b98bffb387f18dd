"""LatentSync's networks, its alignment, mask and schedule, and StableSyncNet: the published numbers."""

import zlib

import numpy as np
import pytest
import torch

from dubbing import models
from dubbing.errors import ModelError
from dubbing.networks.diffusion import autoencoder
from dubbing.networks.latentsync import alignment, mask, run, schedule, syncnet, unet

TINY = unet.UNetShape((32, 64, 64, 64))
SMALL = ((32, 32, 64, 64, 64, 64, 64), (32, 32, 64, 64, 64, 64, 64, 64))
NETWORKS = {
    "unet3d_full": unet.UNet3D, "unet3d_tiny": lambda: unet.UNet3D(TINY),
    "stable_syncnet_full": syncnet.StableSyncNet, "stable_syncnet_small": lambda: syncnet.StableSyncNet(SMALL),
}  # fmt: skip


@pytest.fixture(scope="module")
def gold(golden):
    return golden("latentsync")


@pytest.fixture(scope="module")
def net(formula, one_thread):
    made = unet.UNet3D(TINY)
    tables = {k: v.clone() for k, v in made.state_dict().items() if k.endswith(".pe")}  # no formula's
    formula.fill(made).load_state_dict(tables, strict=False)
    return made


def near(found, wanted, tolerance=1e-4):
    """Relative to the largest absolute value, as the reference's own spread is."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def off(found, wanted):
    """Grey levels between two pictures at most."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return int(np.abs(found.astype(int) - wanted).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(keys, name):
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    assert {k: list(v.shape) for k, v in state.items()} == keys("latentsync", name)
    if "unet" in name:
        assert unet.shape_of(state, name) == (TINY if "tiny" in name else unet.PUBLISHED)
    else:
        assert syncnet.widths_of(state, name) == (SMALL if "small" in name else syncnet.PUBLISHED)


def test_other_checkpoints_are_refused():
    with torch.device("meta"):
        state = dict(unet.UNet3D(TINY).state_dict())
    with pytest.raises(ModelError, match="eight.pt takes 8 channels and LatentSync 1.5 and 1.6 take 13"):
        unet.shape_of({**state, "conv_in.weight": torch.empty(32, 8, 3, 3, device="meta")}, "eight.pt")
    with pytest.raises(ModelError, match="no motion modules"):
        unet.shape_of({k: v for k, v in state.items() if "motion" not in k}, "flat.pt")
    for read in (unet.shape_of, syncnet.widths_of):
        with pytest.raises(ModelError, match=r"other\.pt is"):
            read({"a": torch.zeros(1)}, "other.pt")


# -- the network -----------------------------------------------------------------------------


@torch.inference_mode()
def test_noise_is_foretold_as_published(gold, net):
    near(net.down_blocks[0].motion_modules[0].temporal_transformer.transformer_blocks[0].attention_blocks[1].pos_encoder
         .pe[0], gold["motion_pe_32"])  # fmt: skip
    near(net.time_embedding(unet.time_embedding(torch.tensor([951]), 32))[0], gold["unet_temb_951"])
    x, audio = (torch.from_numpy(gold[f"unet_{name}"]) for name in ("x", "audio"))
    stages, first = {}, net.down_blocks[0]
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: stages.update({name: out}))
        for name, module in {
            "conv_in": net.conv_in, "d0_resnet0": first.resnets[0], "d0_attention0": first.attentions[0],
            "d0_motion0": first.motion_modules[0],
        }.items()
    ]  # fmt: skip
    near(net(x, 951, audio), gold["unet_out_t951"])
    for hook in hooks:
        hook.remove()
    for name, found in stages.items():
        near(found.unflatten(0, (2, 3)).transpose(1, 2)[:, ::4, :, ::4, ::4], gold[f"unet_{name}"])
    near(net(x, torch.tensor([1, 1]), audio), gold["unet_out_t1"])


def test_the_schedule_is_the_published_one(gold):
    near(schedule.alphas()[gold["alphas_cumprod_index"]], gold["alphas_cumprod"], 1e-6)
    for count in (3, 20, 25, 50):
        assert [one.at for one in schedule.steps(count)] == gold[f"timesteps_{count}"].tolist()
    by_time = {one.at: one for one in schedule.steps(20)}
    assert by_time[1].before == pytest.approx(float(gold["final_alpha_cumprod"]), rel=1e-6)
    for at in (951, 51, 1):
        near(schedule.stepped(by_time[at], gold["ddim_x"], gold["ddim_eps"]), gold[f"ddim_step20_t{at}"])
    assert len(schedule.steps(1000)) == 1000
    with pytest.raises(ValueError, match="1 to 1000"):
        schedule.steps(0)


@torch.inference_mode()
def test_faces_are_drawn_as_published(gold, formula, keys, net):
    pytest.importorskip("diffusers", reason="the extra `latentsync` brings it")
    state = {
        k: torch.from_numpy(np.asarray(formula.tensor(k, tuple(s)))) for k, s in keys("latentsync", "vae_tiny").items()
    }
    from whisper.model import AudioEncoder

    vae = models.fit(autoencoder.network_of(state), state, "vae")
    drawer = run.LatentSync(run.LatentSyncNet(net, vae, AudioEncoder(80, 1500, 384, 6, 1)))
    rows = np.clip(2 * np.arange(6)[:, None] - 4 + np.arange(10), 0, 7)
    audio = gold["loop_feature"][rows].reshape(6, 50, 384)
    faces = gold["loop_faces_uint8"][[0, 1, 2, 3, 3, 2]]
    wanted = after_steps(gold)
    made, plain = [], []
    for n, (a, b) in enumerate(((0, 4), (4, 6))):
        drawn = [torch.from_numpy(gold[f"loop_noise_vae_{2 * n + k}"]) for k in (0, 1)]
        chunk = drawer.chunk(faces[a:b], drawn)
        if n == 0:
            noise = torch.from_numpy(gold["loop_noise_latent"]).expand(-1, -1, 4, -1, -1)
            near(torch.cat([noise, chunk.told], 1)[0], gold["loop_unet_input_chunk0_step0"], 1e-3)
        for latents in drawer.steps(chunk, audio[a:b], gold["loop_noise_latent"], 3, 1.5):
            near(latents, wanted.pop(0), 1e-3)
        made.append(drawer.pictures(chunk, latents))
        *_, latents = drawer.steps(chunk, audio[a:b], gold["loop_noise_latent"], 3, 1.0)
        plain.append(drawer.pictures(chunk, latents))
    assert not wanted
    near(torch.cat(made)[:, :, ::4, ::4], gold["loop_guided_frames"], 1e-3)
    near(torch.cat(plain)[:, :, ::8, ::8], gold["loop_unguided_frames"], 1e-3)
    shown = (np.clip(made[0][0].numpy() / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    assert off(shown[::8, ::8], gold["loop_uint8_from_frames"]) <= 1


def after_steps(gold):
    """The published latents after each step, in order."""
    flat, found = gold["loop_guided_latents_after_each_step"], []
    for name, shape in zip(gold["loop_guided_latents_steps"], gold["loop_guided_latent_shapes"], strict=True):
        if name.startswith("t"):
            count = int(np.prod(shape))
            found.append(flat[:count].reshape(shape))
            flat = flat[count:]
    return found


# -- faces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", (256, 512))
def test_faces_are_aligned_as_published(gold, side):
    near(alignment.template(side), gold[f"align{side}_template"], 1e-12)
    assert alignment.canvas_wh(side) == tuple(gold[f"align{side}_face_size_wh"])
    points = gold["align_landmarks3_left_right_nose"]
    near(alignment.similarity(points[0], side)[0], gold[f"align{side}_matrix_no_bias_frame0"], 1e-6)
    follow = alignment.Matrices(side)
    for n, one in enumerate(points):
        near(follow.of(one), gold[f"align{side}_matrices_with_running_bias"][n], 1e-6)
        near(follow.bias, gold[f"align{side}_bias"][n], 1e-5)


def test_a_face_goes_to_the_template_and_back_as_published(gold):
    picture = gold["image_256_rgb"]
    matrix = alignment.Matrices(256).of(gold["align_image_landmarks3"])
    near(matrix, gold["align_image_matrix"], 1e-6)
    canvas = alignment.aligned(picture, matrix, 256)
    assert off(canvas[::2, ::2], gold["align_face_uint8_every2"]) <= 1
    face = alignment.squeezed(canvas, 256)
    assert off(face[::4, ::4], gold["align_face_256_uint8_every4"]) <= 1
    back = alignment.restored(picture, 1 - face.astype(np.float32) / 127.5, matrix)
    assert off(back[::2, ::2], gold["restore_uint8_every2"]) <= 2
    white = alignment.restored(np.zeros_like(picture), np.ones((256, 256, 3), np.float32), matrix)
    assert off(white[::2, ::2, 0], gold["restore_mask_every2"]) <= 2


def test_the_square_lies_where_the_canvas_does(gold):
    """What takes the picture to the square at once goes the way of warp and squeeze."""
    matrix = alignment.Matrices(256).of(gold["align_image_landmarks3"])
    width, height = alignment.canvas_wh(256)
    at = np.array([120.0, 130.0, 1.0])
    there = (matrix @ at + 0.5) * (256 / width, 256 / height) - 0.5
    np.testing.assert_allclose(alignment.to_square(matrix, 256) @ at, there)


def test_the_points_of_a_detector(gold):
    points = np.zeros((106, 2))
    points[[43, 48, 49, 51, 50]] = [(1, 1), (2, 1), (3, 1), (4, 1), (2, 1)]
    points[101:106], points[[74, 77, 83, 86]] = (9, 2), (5, 5.5)
    np.testing.assert_array_equal(alignment.centres(points), [(2, 1), (9, 2), (5, 6)])


def test_the_mask_is_the_published_one(gold):
    packed = np.packbits(mask.kept(256) > 0.5)
    np.testing.assert_array_equal(packed, gold["mask_256_packed_keep_is_1"])
    near(mask.kept(128), gold["mask_128"])
    near(mask.kept(512)[::8, ::8], gold["mask_512_every8"])
    for side in (128, 256, 512):
        kept = mask.kept(side)
        near(np.array([kept.mean(dtype=np.float64), kept.std(dtype=np.float64)]), gold[f"mask_{side}_stats"][:2], 1e-6)
        near(mask.kept_latents(side), gold[f"mask_{side}_latent"])


# -- the sync expert's network ---------------------------------------------------------------


def given(name, shape, scale):
    chance = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    return torch.from_numpy(chance.standard_normal(shape).astype(np.float32) * np.float32(scale))


@torch.inference_mode()
def test_lips_and_sound_are_embedded_as_published(gold, formula, one_thread):
    expert = formula.fill(syncnet.StableSyncNet(SMALL))
    face = given("latentsync.syncnet.visual", (1, 48, 128, 256), 0.5)
    sound = given("latentsync.syncnet.audio", (1, 1, 80, 52), 1.5)
    near(face[0, ::12, ::32, ::64], gold["syncnet_visual_in_sample"])
    for part, encoder, x in (("visual", expert.visual_encoder, face), ("audio", expert.audio_encoder, sound)):
        shapes = [list((x := encoder.conv_in(x)).shape)]
        shapes += [list((x := block(x)).shape) for block in encoder.down_blocks]
        assert shapes == gold[f"syncnet_{part}_shapes"].tolist()
    for found, part in zip(expert(face, sound), ("visual", "audio"), strict=True):
        near(found, gold[f"syncnet_{part}"], 5e-4)
