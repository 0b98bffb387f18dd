"""The published sync experts: their own numbers, their crops, and our quick way of running them."""

import cv2
import numpy as np
import pytest
import torch

from dubbing import experts, media
from dubbing.errors import ModelError
from dubbing.experts import crop, lse
from dubbing.experts import syncnet as syncnet_module
from dubbing.experts.syncnet import SyncNet, SyncNetNet
from dubbing.experts.wav2lip_color import Wav2LipColor, Wav2LipColorNet
from dubbing.networks import mfcc
from dubbing.networks.boxes import detector_boxes


@pytest.fixture(scope="module")
def net(formula):
    return formula.fill(SyncNetNet())


@pytest.fixture(scope="module")
def file(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def expert(file):
    return SyncNet(file)


def apart(found, wanted):
    """The largest difference, relative to the largest value."""
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def lips_of(expert, crops):
    """Embeddings of crops that come 25 a second."""
    return np.concatenate(list(expert.embed_lips(crops)))


# -- the published numbers -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["syncnet_mfcc_made", "syncnet_mfcc"], ids=["a made sound", "speech"])
def test_mfcc_is_the_published_one(golden, name):
    reference = golden(name)
    found = mfcc.mfcc(reference["pcm"])
    assert found.shape == reference["mfcc"].shape
    np.testing.assert_allclose(found, reference["mfcc"], rtol=1e-6)


@pytest.mark.parametrize(("name", "make"), [("syncnet_v2", SyncNetNet), ("wav2lip_syncnet_color", Wav2LipColorNet)])
def test_keys_and_shapes_are_the_published_ones(published_keys, name, make):
    assert {k: list(v.shape) for k, v in make().state_dict().items()} == published_keys(name)


def test_network_is_the_published_one(golden, net):
    reference = golden("syncnet_v2")
    with torch.inference_mode():
        sound = net.sound(torch.from_numpy(reference["mfcc"]))
        lips = net.lips(torch.from_numpy(reference["lip"]).float())
    assert apart(sound, reference["audio_embedding"]) < 1e-4
    assert apart(lips, reference["lip_embedding"]) < 1e-4


def test_the_quick_towers_give_the_published_numbers(golden, expert):
    reference = golden("syncnet_v2")
    assert apart(expert.ear(torch.from_numpy(reference["mfcc"])), reference["audio_embedding"]) < 1e-4
    assert apart(lips_of(expert, reference["lip"][0].transpose(1, 2, 3, 0)), reference["lip_embedding"]) < 1e-4


@pytest.mark.long
def test_from_a_clip_to_the_three_numbers(golden, expert, shared):
    reference = golden("lse")
    clip = shared / "media" / str(reference["clip"])
    y0, y1, x0, x1 = (int(v) for v in reference["crop_y0y1x0x1"])
    frames = media.read(clip, media.timeline(clip), 0, int(reference["n_frames"]))
    place = crop.Crop(x0, y0, x1, y1)
    crops = np.stack([crop.cut(crop.published_bgr(picture), place) for picture in frames])
    times_s = np.arange(len(crops)) / lse.FPS
    wave = reference["pcm"].astype(np.float32) / 32768
    lips = expert.embed_video(crops, times_s)
    sound = expert.embed_sound(wave, 0.0, len(lips))
    assert apart(lips, reference["lip_embeddings"]) < 1e-3
    assert apart(sound, reference["audio_embeddings"]) < 1e-3
    found = lse.lse(lips, sound, int(reference["vshift"]))
    assert apart(found.distance_SV, reference["dists"]) < 1e-3
    assert found.offset == int(reference["offset"])
    assert found.d == pytest.approx(float(reference["lse_d"]), rel=1e-3)
    assert found.c == pytest.approx(float(reference["lse_c"]), rel=1e-3)


def test_the_colour_expert_is_the_published_one(golden, formula, tmp_path):
    reference = golden("wav2lip_syncnet_color")
    net = formula.fill(Wav2LipColorNet())
    mel, face = (torch.from_numpy(reference[name]) for name in ("mel", "face"))
    with torch.inference_mode():
        sound, lips = net(mel, face)
    assert np.abs(sound.numpy() - reference["audio_embedding"]).max() < 1e-4
    assert np.abs(lips.numpy() - reference["face_embedding"]).max() < 1e-4
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}, "optimizer": {}}, tmp_path / "e")
    quick = Wav2LipColor(tmp_path / "e")
    assert np.abs(quick.embed(quick.sound_tower, mel) - reference["audio_embedding"]).max() < 1e-4
    assert np.abs(quick.embed(quick.face_tower, face) - reference["face_embedding"]).max() < 1e-4


# -- the experts -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stretch():
    rng = np.random.default_rng(4)
    small = rng.integers(0, 256, (36, 7, 7, 3), np.uint8)
    crops = np.stack([cv2.resize(one, (224, 224), interpolation=cv2.INTER_CUBIC) for one in small])
    return crops, rng.normal(0, 0.1, 32_000).astype(np.float32)


def test_an_expert_keeps_the_contract(expert, stretch):
    crops, wave = stretch
    assert isinstance(expert, experts.Expert) and expert.wants == "crop"
    score = experts.score(expert, crops[:12], np.arange(12) / 25, wave)
    assert score.windows == 7 and score.model == f"syncnet_v2@{expert.hash12}"


def test_one_pass_over_a_stretch_equals_copied_windows(expert, net, stretch):
    crops, _ = stretch
    found = np.concatenate(list(expert.embed_lips(iter(crops))))
    assert found.shape == (len(crops) - 4, 1024)
    copied = np.stack([crops[n : n + 5] for n in (0, 13, 31)])
    with torch.inference_mode():
        wanted = net.lips(torch.from_numpy(copied).permute(0, 4, 1, 2, 3).float()).numpy()
    assert apart(found[[0, 13, 31]], wanted) < 1e-4


def test_results_do_not_depend_on_threads(expert, stretch):
    crops, before = stretch[0][:12], torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(np.concatenate(list(expert.embed_lips(iter(crops)))))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_pictures_are_taken_25_times_a_second_by_time(expert, fps):
    """Each picture's level says when it is shown; the windows must see the same ones at every rate."""
    times_s = 7.0 + np.arange(fps // 2) / fps
    at = crop.shown(times_s)
    np.testing.assert_allclose(times_s[at] - 7.0, np.arange(len(at)) / 25, atol=1 / fps)
    assert len(at) == 12
    crops = np.zeros((len(times_s), 224, 224, 3), np.uint8)
    assert expert.embed_video(crops, times_s).shape == (lse.windows_in(times_s), 1024) == (7, 1024)
    assert expert.embed_video(crops[:5], times_s[:5]).shape == (0, 1024)


def test_sound_is_taken_from_under_the_stretch_only(expert, stretch):
    _, wave = stretch
    inside = expert.embed_sound(wave[16_000:24_000], 0.0, 7)
    np.testing.assert_allclose(expert.embed_sound(wave[:24_000], 1.0, 7), inside, rtol=1e-5)
    loud = wave.copy()
    loud[:16_000] = 1
    loud[16_000 + 12 * 640 :] = 1
    np.testing.assert_allclose(expert.embed_sound(loud, 1.0, 7), expert.embed_sound(wave, 1.0, 7), rtol=1e-5)


def test_a_long_sound_is_heard_in_parts_as_in_one(expert, stretch, monkeypatch):
    whole = expert.embed_sound(stretch[1], 0.0, 40)
    monkeypatch.setattr(syncnet_module, "SOUNDS", 11)
    assert apart(expert.embed_sound(stretch[1], 0.0, 40), whole) < 1e-5
    assert expert.embed_sound(stretch[1], 0.0, 1).shape == (1, 1024)


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_both_ways_of_wrapping_load(net, expert, stretch, tmp_path, wrap):
    torch.save(wrap(net.state_dict()), tmp_path / "w")
    crops = stretch[0][:5]
    np.testing.assert_array_equal(lips_of(SyncNet(tmp_path / "w"), crops), lips_of(expert, crops))


def test_another_architecture_is_named_by_its_first_key(net, tmp_path):
    state = dict(net.state_dict())
    state["netcnnlip.0.weight"] = torch.zeros(96, 3, 5, 5, 5)
    torch.save(state, tmp_path / "w")
    with pytest.raises(ModelError, match=r"netcnnlip\.0\.weight.*\(96, 3, 5, 5, 5\).*\(96, 3, 5, 7, 7\)"):
        SyncNet(tmp_path / "w")


# -- the crops -------------------------------------------------------------------------------


def test_the_crop_is_0_4_wider_and_mostly_below():
    boxes = np.tile([[100.0, 80.0, 180.0, 180.0]], (40, 1))  # half the longer side: 50, around (140, 130)
    crops = crop.syncnet_crops(boxes, np.arange(40) / 25)
    assert crops[20] == crop.Crop(left=70, top=80, right=210, bottom=220)


def test_one_jumping_box_moves_no_crop():
    boxes = np.tile([[100.0, 80.0, 180.0, 180.0]], (40, 1))
    boxes[20] += 30
    crops = crop.syncnet_crops(boxes, np.arange(40) / 25)
    assert len(set(crops)) == 1


def test_the_filter_counts_frames_at_25_whatever_the_rate():
    """A step of the box appears in the crop where the step is, at 60 frames a second as at 25."""
    for fps in (25, 60):
        count = 2 * fps
        boxes = np.tile([[100.0, 80.0, 180.0, 180.0]], (count, 1))
        boxes[fps:] += 40
        crops = crop.syncnet_crops(boxes, np.arange(count) / fps)
        lefts = np.array([c.left for c in crops])
        assert len(lefts) == count
        assert abs(int(np.argmax(lefts[: count * 3 // 4] > 90)) - fps) <= 3


def test_short_stretches_and_pictures_that_end_have_crops():
    boxes = np.tile([[-20.0, -10.0, 40.0, 50.0]], (6, 1))
    crops = crop.syncnet_crops(boxes, np.arange(6) / 30)
    assert len(crops) == 6
    picture = np.full((100, 100, 3), 200, np.uint8)
    cut = crop.cut(picture, crops[0])
    assert cut.shape == (224, 224, 3)
    assert (cut[0] == 110).all() and (cut[-1, -1] == 200).all()
    assert (crop.cut(picture, crop.Crop(300, 300, 340, 340)) == 110).all()


def test_the_detectors_box_begins_above_the_mesh():
    mesh = np.zeros((2, 478, 3))
    mesh[:, :, :2] = np.random.default_rng(0).uniform((100, 200), (200, 350), (2, 478, 2))
    left, top, right, bottom = detector_boxes(mesh)[0]
    low, high = mesh[0, :, :2].min(0), mesh[0, :, :2].max(0)
    assert low[0] < left < low[0] + 6 and high[0] - 6 < right < high[0]
    assert low[1] - 25 < top < low[1] - 10 and bottom == high[1]
