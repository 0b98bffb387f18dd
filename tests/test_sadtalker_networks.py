"""SadTalker's networks and what they get: the published numbers."""

import json
import random

import numpy as np
import pytest
import torch

from dubbing.networks.sadtalker import alignment, coefficients, crop, windows
from dubbing.networks.sadtalker.coefficients import FaceCoefficients
from dubbing.networks.sadtalker.expression import ExpNet
from dubbing.networks.sadtalker.generator import GeneratorShape, SpadeBlock, SpadeGenerator
from dubbing.networks.sadtalker.keypoints import DetectorShape, KeypointDetector
from dubbing.networks.sadtalker.mapping import Head, MappingNet, degrees, moved, rotation
from dubbing.networks.sadtalker.motion import MotionShape
from dubbing.networks.sadtalker.pose import PoseVAE
from dubbing.networks.sadtalker.quick import QuickGenerator, enlarged_kernels, over_enlarged

SMALL_DETECTOR = DetectorShape(first=8, most=64, blocks=3, depth=8)
SMALL = GeneratorShape(most=128, volume=16, depth=8, residuals=2, motion=MotionShape(8, 64, 3, 4, 8))
NETWORKS = {
    "audio2exp": ExpNet, "audio2pose": PoseVAE, "mapping_00229": MappingNet,
    "mapping_00109": lambda: MappingNet(73), "kp_extractor": KeypointDetector, "generator": SpadeGenerator,
    "kp_extractor_small": lambda: KeypointDetector(SMALL_DETECTOR),
    "generator_small": lambda: SpadeGenerator(SMALL), "face_3drecon": FaceCoefficients,
}  # fmt: skip


@pytest.fixture(scope="module")
def gold(golden):
    return golden("sadtalker")


def filled(formula, net):
    kept = {k: v.clone() for k, v in net.state_dict().items() if k == "down.weight"}  # it is no formula's
    formula.fill(net).load_state_dict(kept, strict=False)
    return net


def near(found, wanted, tolerance=1e-4):
    """Relative to the largest absolute value, as the reference's own spread is."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def tensor(array):
    return torch.from_numpy(np.asarray(array, np.float32))


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(shared, name):
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    published = json.loads((shared / "golden" / "sadtalker.keys.json").read_text())[name]["keys"]
    assert {k: list(v.shape) for k, v in state.items()} == published


# -- sound and coefficients ------------------------------------------------------------------


def test_the_sound_of_a_frame(gold):
    wave = gold["wav_int16"].astype(np.float32) / 32768
    kept, count = gold["audio_length_frames"]
    assert windows.frames_of(len(wave)) == count and count * windows.PER_FRAME == kept
    mel = windows.spectrogram(wave)
    assert np.abs(mel.T - gold["mel"]).max() < 1e-3
    np.testing.assert_array_equal(windows.starts(3000), gold["mel_starts_25fps"])
    at = windows.starts(int(count))[gold["mel_windows_frames"]]
    found = windows.mel_windows(gold["mel"].T, at)
    np.testing.assert_array_equal(found[:, 0], gold["mel_windows"])


@pytest.mark.parametrize("seed", (0, 7))
def test_blinks_are_the_published_draw(gold, seed):
    chance = random.Random(seed)  # the published numbers were drawn one after another
    for count in (20, 22, 51, 300):
        np.testing.assert_allclose(windows.blinks(count, chance), gold[f"blink_seed{seed}_{count}"])
    assert not windows.blinks(21, chance).any() and len(windows.blinks(0, chance)) == 0


def test_the_pose_is_smoothed_and_assembled(gold):
    for count in (51, 33, 20, 8):
        near(windows.smooth(gold[f"pose_T{count}"]), gold[f"pose_T{count}_smooth"])
    assert windows.smooth(gold["pose_T8"][:4]) is not None
    still = gold["first_coeff"][0]
    found = windows.assembled(gold["exp_pred"], gold["pose_T51_smooth"], still)
    near(found, gold["coeffs"])
    near(windows.renderer_window(found, gold["target_semantics_frames"]), gold["target_semantics_70"])
    source = windows.renderer_window(still[None, :70], [0])[0]
    near(source, gold["source_semantics_70"])
    held = windows.assembled(gold["exp_pred"], gold["pose_T51_smooth"], still, full=True, still=True)
    near(windows.renderer_window(held, [25])[0], gold["target_semantics_73_still_frame25"])


def test_angles_go_from_one_to_the_next_at_one_speed(gold):
    for name, asked in (("example", [-20, 30, 10]), ("single", [15])):
        wanted = gold[f"yaw_list_{name}"].reshape(-1)[:51]
        np.testing.assert_allclose(windows.angles(asked, 51), wanted, atol=1e-4)
    assert (windows.angles([5, 5], 4) == 5).all() and windows.angles([0, 9], 1).tolist() == [0]


# -- networks --------------------------------------------------------------------------------


def heard(gold, count):
    return tensor(windows.mel_windows(gold["mel"].T, windows.starts(count)))


@torch.inference_mode()
def test_expressions_are_the_published_ones(gold, formula):
    net = formula.fill(ExpNet())
    still = tensor(gold["first_coeff"][:, :64]).expand(51, -1)
    near(net(heard(gold, 51), still, tensor(gold["blink_used"])[:, None]), gold["exp_pred"])


@torch.inference_mode()
def test_poses_are_the_published_ones(gold, formula):
    net = formula.fill(PoseVAE(whole=False))
    windows_T = heard(gold, 51)
    embedding = net.audio_encoder(windows_T[1:33])
    near(embedding, gold["pose_audio_embedding"])
    reference = tensor(gold["first_coeff"][0, 64:70])
    motion = net.netG.decoder(embedding[None], reference[None], torch.tensor([0]), tensor(gold["pose_T51_z"][:1]))
    near(motion[0], gold["pose_decoder_motion"], 5e-4)
    for count in (51, 33, 20, 8):
        chance = tensor(gold[f"pose_T{count}_z"])
        assert net.blocks(count) == len(chance)
        found = net(windows_T[:count], reference, int(gold[f"pose_T{count}_class"]), chance)
        near(found, gold[f"pose_T{count}"], 5e-4)
    assert net.blocks(1) == 0
    assert torch.equal(net(windows_T[:1], reference, 0, torch.zeros(0, 64)), reference[None])


def test_what_only_training_needs_of_the_pose_runs():
    net = PoseVAE().eval()
    motion, heard_N = torch.randn(2, 32, 6), torch.randn(2, 32, 512)
    with torch.inference_mode():
        mean, spread = net.netG.encoder(motion, heard_N, torch.randn(2, 6), torch.tensor([0, 45]))
        assert mean.shape == spread.shape == (2, 64) and net.netD_motion(motion).shape == (2, 8)


def head(gold, name, pick=slice(None)):
    return Head(*(tensor(gold[f"{name}_{part}"][pick]) for part in ("yaw", "pitch", "roll", "t", "exp")))


@torch.inference_mode()
def test_coefficients_become_the_published_heads_and_keypoints(gold, formula):
    for name, net, given in (
        ("map70", MappingNet(), gold["target_semantics_70"][:2]),
        ("head_source", MappingNet(), gold["source_semantics_70"][None]),
        ("map73", MappingNet(73), gold["target_semantics_73_still_frame25"][None]),
    ):
        for part, found in vars(formula.fill(net)(tensor(given))).items():
            near(found, gold[f"{name}_{part}"])
    for part in ("yaw", "pitch", "roll"):
        near(degrees(tensor(gold[f"map70_{part}"])), gold[f"map70_{part}_degree"])
    near(rotation(*tensor(gold["rot_angles_yaw_pitch_roll"]).T), gold["rot_matrix"])
    canonical = tensor(gold["kp_canonical"])
    near(moved(canonical, head(gold, "head_source")), gold["kp_source"])
    driving = head(gold, "map70", slice(1, 2))
    near(moved(canonical, driving), gold["kp_driving"])
    near(moved(canonical, driving, yaw=torch.tensor([15.0])), gold["kp_driving_yaw15"])


def picture(gold):
    return tensor(gold["image_256_uint8_rgb"]).permute(2, 0, 1)[None] / 255


@torch.inference_mode()
def test_keypoints_are_the_published_ones(gold, formula):
    net = filled(formula, KeypointDetector(SMALL_DETECTOR))
    near(net(picture(gold)), gold["kp_small_canonical"], 1e-3)
    near(net.down.weight[0, 0], gold["kp_down_kernel"])
    near(net.down(picture(gold))[0, :, :4], gold["kp_down_out_rows0to3"])


@pytest.mark.long
@torch.inference_mode()
def test_keypoints_of_full_size_are_the_published_ones(gold, formula):
    net = filled(formula, KeypointDetector())
    volume = net.volume(picture(gold))
    near(volume[0, ::8, ::5, ::16, ::16], gold["kp_feature_sample"], 1e-3)
    near(net(picture(gold)), gold["kp_canonical"], 1e-3)


def check_generator(gold, net, picture, prefix, small):
    source, driving = tensor(gold["gen_kp_source"]), tensor(gold["gen_kp_driving"])
    blocks = [m for m in net.modules() if isinstance(m, SpadeBlock)]
    sigmas = [c.sigma for b in blocks for c in (b.conv_0, b.conv_1, *([b.conv_s] if b.adapts else []))]
    near(torch.stack(sigmas), gold[f"{prefix}sigma"], 1e-3)
    volume = net.volume(picture)
    near(volume[0, ::8, ::5, ::8, ::8], gold[f"{prefix}feature3d_sample"], 1e-3)
    motion = net.dense_motion_network(volume, source, driving)
    near(motion.deformation[0, ::5, ::4, ::4], gold[f"{prefix}deformation_sample"], 1e-3)
    near(motion.mask[0, :, ::5, ::8, ::8], gold[f"{prefix}mask_sample"], 1e-3)
    near(motion.occlusion[0, 0] if small else motion.occlusion[0, 0, ::2, ::2], gold[f"{prefix}occlusion"], 1e-3)
    for name, found in net.decoder.stages(net.features(volume, motion)).items():
        if name == "logits":
            near(found[0] if small else found[0, :, ::4, ::4], gold[f"{prefix}logits"], 1e-3)
            every = 4 if small else 16
            near(torch.sigmoid(found)[0, :, ::every, ::every], gold[f"{prefix}prediction"], 1e-3)
            continue
        step, wanted = found.shape[2] // 8, gold.get(f"{prefix}decoder_{name}_sample")
        if wanted is not None:
            near(found[0, ::16, ::step, ::step], wanted, 1e-3)


@pytest.fixture(scope="module")
def small(formula):
    return formula.fill(SpadeGenerator(SMALL))


@torch.inference_mode()
def test_the_renderer_is_the_published_one(gold, small):
    check_generator(gold, small, tensor(gold["image_64"]), "gen_small_", True)


@pytest.mark.long
@torch.inference_mode()
def test_the_renderer_of_full_size_is_the_published_one(gold, formula):
    net = formula.fill(SpadeGenerator())
    check_generator(gold, net, picture(gold), "gen_", False)


@pytest.mark.long
@torch.inference_mode()
def test_coefficients_of_a_face_are_the_published_ones(gold, formula):
    net = formula.fill(FaceCoefficients())
    face = tensor(gold["recon_input_uint8"]).permute(2, 0, 1)[None] / 255
    near(net.backbone(face).flatten(1), gold["recon_pooled"])
    found = net(face)
    near(found, gold["recon_257"])
    near(coefficients.kept(found)[0, :64], gold["recon_257"][0, 80:144], 1e-3)


# -- pictures --------------------------------------------------------------------------------


def test_the_face_is_aligned_as_published(gold):
    points = gold["align_landmarks68_yDown"].copy()
    height, width = gold["image_256_uint8_rgb"].shape[:2]
    points[:, 1] = height - 1 - points[:, 1]
    five = alignment.five_of_68(points)
    np.testing.assert_allclose(five, gold["align_5p_yUp"])
    x, y, size = alignment.fitted(five, gold["lm3d_std"])
    np.testing.assert_allclose([x, y, size], gold["align_POS_t_s"], rtol=1e-6)
    at = alignment.place_of(five, gold["lm3d_std"])
    np.testing.assert_allclose([width, height, *at], gold["align_trans_params"], rtol=1e-6)
    face, _ = alignment.aligned(gold["image_256_uint8_rgb"], at)
    assert np.abs(face[::2, ::2].astype(int) - gold["align_image_224_uint8"]).max() <= 1
    with pytest.raises(ValueError, match="on a line"):
        alignment.fitted(np.zeros((5, 2)), np.zeros((5, 3)))


@pytest.mark.parametrize("name", ("mid", "edge", "big"))
def test_the_crop_is_the_published_one(gold, name):
    found = crop.crop_of_68(gold[f"crop_{name}_landmarks"], tuple(int(v) for v in gold[f"crop_{name}_size_WH"]))
    np.testing.assert_array_equal(found.shrunk, gold[f"crop_{name}_rsize"])
    np.testing.assert_array_equal(found.box, gold[f"crop_{name}_crop"])
    np.testing.assert_allclose(found.inner, gold[f"crop_{name}_quad"], rtol=1e-6)


# -- prepared for inference ------------------------------------------------------------------


@pytest.mark.parametrize("times", (2, 4))
def test_a_convolution_of_enlarged_features_needs_no_enlarging(times):
    torch.manual_seed(3)
    conv, x = torch.nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 6, 4)
    with torch.inference_mode():
        wanted = conv(torch.nn.functional.interpolate(x, scale_factor=times))
        found = over_enlarged(x, enlarged_kernels(conv.weight, times), conv.bias, times)
    torch.testing.assert_close(found, wanted)


@torch.inference_mode()
def test_the_quick_renderer_is_the_published_one(gold, small):
    quick = QuickGenerator(small)
    source, driving = tensor(gold["gen_kp_source"]), tensor(gold["gen_kp_driving"])
    made = quick.draw(quick.see(tensor(gold["image_64"])), source, driving)
    wanted, logits = gold["gen_small_prediction"], gold["gen_small_logits"]
    near(made[0, :, ::4, ::4], wanted, 1e-3)
    inside = np.abs(logits) < 8  # where the sigmoid still tells one from another
    near(torch.logit(made[0])[torch.from_numpy(inside)] / 8, logits[inside] / 8, 3e-3)
