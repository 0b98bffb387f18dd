"""Generators that draw a face as a square: what they hear, and what comes back to the picture."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from people import meshes_of

from dubbing import generators, media
from dubbing.errors import ManifestError, ModelError
from dubbing.face import LIPS, OUTER_LIPS, yaw_deg
from dubbing.generators import RenderRequest, grain
from dubbing.generators.paste import Place, lay, matte, places, raised, smooth
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.lipgan import LipGANNet
from dubbing.networks.spt import SptWav2LipNet
from dubbing.networks.wav2lip import Wav2LipNet, plan_for
from dubbing.records import Line, Track

FRAMES, RATE = 24, Fraction(25)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A portrait (public domain, NASA) that drifts by a third of a pixel a frame, and its track."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[..., ::-1])[:400, 60:460]
    mesh = meshes_of([picture])[0]
    path = tmp_path_factory.mktemp("film") / "drift.mp4"
    meshes = []
    with media.ClipWriter(path, 400, 400, RATE, crf=8) as clip:
        for n in range(FRAMES):
            clip.frame(np.roll(picture, n // 3, axis=1))
            meshes.append(mesh + (n // 3, 0, 0))
    meshes = np.stack(meshes).astype(np.float32)
    seen = np.ones(FRAMES, bool)
    return path, Track("shot_0001/face_1", np.arange(FRAMES, dtype=np.int32), meshes, seen, yaw_deg(meshes), 200.0)


@pytest.fixture(scope="module")
def work(film):
    path, track = film
    wave = np.random.default_rng(1).normal(0, 0.1, FRAMES * 640).astype(np.float32)
    lines = (Line(track.id, 2, 10), Line(track.id, 14, FRAMES))
    return RenderRequest(path, media.timeline(path), (400, 400), track, lines, wave, np.ones(FRAMES, bool), None)


FEW = plan_for(96, 0.1)
NETWORKS = {
    "wav2lip": lambda: Wav2LipNet(FEW), "spt_wav2lip": lambda: SptWav2LipNet(FEW), "lipgan": lambda: LipGANNet("basic"),
}  # fmt: skip
QUIET = {"wav2lip": -4.0, "spt_wav2lip": -4.0, "lipgan": 0.0}  # how silence reads in each one's sound
SHAPES = {"wav2lip": (1, 80, 16), "spt_wav2lip": (1, 80, 16), "lipgan": (1, 12, 35)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Fresh networks' checkpoints by generator."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    for name, make in NETWORKS.items():
        state = {f"module.{k}": v for k, v in make().state_dict().items()}
        torch.save({"state_dict": state, "global_step": 1}, folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module", params=NETWORKS)
def generator(request, weights):
    return generators.create(request.param, {"model": str(weights / f"{request.param}.pth")}, device="cpu")


class StandIn:
    """A network whose drawing is known: what it saw, changed by `change`. Keeps the sound, the masked and the whole."""

    size_px = 96

    def __init__(self, change=lambda face: face):
        self.change, self.given = change, []

    def __call__(self, sound, face, from_row=0):
        first, second = face[:, :3], face[:, 3:]
        masked, whole = (first, second) if (first[:, :, 48:] == 0).all() else (second, first)
        self.given.append((sound, masked, whole))
        return self.change(whole.clone())


def rendered(generator, work, network=None):
    kept = generator.net
    generator.net = network or kept
    try:
        return list(generator.render(work))
    finally:
        generator.net = kept


def test_only_the_lower_half_of_the_face_may_change(generator, work):
    boxes = detector_boxes(work.track.mesh_NP3)
    for one in rendered(generator, work, StandIn()):
        patch, box = one.patch, boxes[one.patch.frame]
        rows, columns = np.nonzero(patch.matte_HW)
        assert patch.y + rows.min() >= (box[1] + box[3]) / 2
        assert patch.x + columns.min() > box[0] and patch.x + columns.max() < box[2]
        assert patch.matte_HW[[0, -1]].max() == patch.matte_HW[:, [0, -1]].max() == 0
        edges = (patch.matte_HW > 0) & (patch.matte_HW < 255)
        assert edges.sum() > 0.1 * (patch.matte_HW > 0).sum()
        lips = np.rint(work.track.mesh_NP3[patch.frame, list(LIPS), :2] - (patch.x, patch.y)).astype(int)
        if 6 <= patch.frame < 7 or patch.frame > 18:
            assert patch.matte_HW[lips[:, 1], lips[:, 0]].min() > 200


def difference(work, one, where):
    """Mean and largest difference from the source where the matte and `where` say, in grey levels."""
    patch = one.patch
    height, width = patch.matte_HW.shape
    source = next(iter(media.read(work.source, work.timeline, patch.frame, patch.frame + 1)))
    before = source.bgr(box=(patch.x, patch.y, width, height)).astype(int)
    apart = np.abs(patch.bgr_HWC - before)[(patch.matte_HW > 0.4 * patch.matte_HW.max()) & where(patch)]
    return float(apart.mean()), float(np.percentile(apart, 99))


def skin(work):
    def where(patch):
        lips = work.track.mesh_NP3[patch.frame, list(LIPS), :2] - (patch.x, patch.y)
        mask = np.ones(patch.matte_HW.shape, bool)
        low, high = np.floor(lips.min(0) - 5).astype(int), np.ceil(lips.max(0) + 6).astype(int)
        mask[low[1] : high[1], low[0] : high[0]] = False
        return mask

    return where


def test_a_network_that_changes_nothing_leaves_the_skin_as_it_was(generator, work):
    for one in rendered(generator, work, StandIn())[::5]:
        mean, most = difference(work, one, skin(work))
        assert mean < 0.6 and most <= 3


def test_a_tint_is_taken_out_at_the_border(generator, work):
    tinted = StandIn(lambda face: face + torch.tensor([0.04, -0.03, 0.06])[:, None, None])
    for one in rendered(generator, work, tinted)[::5]:
        mean, most = difference(work, one, skin(work))
        assert mean < 1.2 and most <= 5


def test_what_the_network_draws_is_where_it_drew_it(generator, work):
    """A white bar in the network's square ends up over the mouth, at the same place of every box."""

    def bar(face):
        face[:, :, 70:74, 30:66] = 1
        return face

    boxes = detector_boxes(work.track.mesh_NP3)
    for one in rendered(generator, work, StandIn(bar)):
        patch, box = one.patch, boxes[one.patch.frame]
        rows, columns = np.nonzero(patch.bgr_HWC.min(2) > 235)
        x, y = (columns.mean() + 0.5 + patch.x - box[0]) / (box[2] - box[0]), rows.mean() + 0.5 + patch.y - box[1]
        assert x == pytest.approx(0.5, abs=0.02)
        assert y / (box[3] - box[1]) == pytest.approx(72 / 96 * 1.06, abs=0.02)


def test_a_patch_comes_and_goes_inside_the_track_and_not_at_its_end(generator, work):
    strength = {one.patch.frame: int(one.patch.matte_HW.max()) for one in rendered(generator, work, StandIn())}
    assert strength[2] < strength[3] < strength[4] < 255 and strength[9] < strength[8] < 255
    assert strength[14] < 255 and strength[FRAMES - 1] == strength[FRAMES - 2] == 255


def test_the_network_sees_its_own_frame_and_only_speech(generator, work):
    network, quiet = StandIn(), np.ones(FRAMES, bool)
    quiet[:13] = False
    list(rendered(generator, replace(work, speech_N=quiet), network))
    sound, masked, whole = (torch.cat(parts) for parts in zip(*network.given, strict=True))
    assert whole.shape == masked.shape == (18, 3, 96, 96) and sound.shape == (18, *SHAPES[generator.name])
    assert (masked[:, :, 48:] == 0).all() and (whole[:, :, 48:] > 0).any()
    assert (masked[:, :, :48] == whole[:, :, :48]).all()
    silence = QUIET[generator.name]
    assert (sound[:2] - silence).abs().max() < 1e-5 and (sound[-6:] - silence).abs().max() > 1
    loud = StandIn()
    list(rendered(generator, work, loud))
    assert (loud.given[0][0][:2] - silence).abs().max() > 1


def test_with_its_own_layers_the_mouth_changes(generator, work):
    (one,) = rendered(generator, replace(work, lines=(Line(work.track.id, 4, 10),), window=(7, 8)))
    assert one.patch.matte_HW.max() > 0
    mean, _ = difference(work, one, lambda patch: np.ones(patch.matte_HW.shape, bool))
    assert mean > 10  # the weights are made: nonsense, but there


@pytest.mark.parametrize("name", NETWORKS)
def test_settings_are_checked_and_name_the_result(name, weights, tmp_path):
    model = str(weights / f"{name}.pth")
    plain, other = (generators.create(name, {"model": model, **more}) for more in ({}, {"ramp_frames": 2}))
    assert plain.name == name and len(plain.hash) == 12 and other.hash != plain.hash
    plain.check()
    with pytest.raises(ManifestError, match=f"generator {name}: sise: .*it knows model, "):
        generators.create(name, {"model": model, "sise": 96})
    with pytest.raises(ManifestError, match=f"generator {name}: alignment"):
        generators.create(name, {"model": model, "alignment": "late"})
    with pytest.raises(ManifestError, match=f"generator {name}: model: .*relative path"):
        generators.create(name, {"model": "./x.pth"})
    with pytest.raises(ModelError, match=f"generator {name}: there is no checkpoint"):
        generators.create(name, {"model": str(tmp_path / "x.pth")})
    wrong = next(str(weights / f"{other}.pth") for other in NETWORKS if other[-4:] != name[-4:])
    with pytest.raises(ModelError, match="another architecture"):
        generators.create(name, {"model": wrong}).check()
    told = generators.settings(name)
    assert {"model", "alignment", "ramp_frames"} <= set(told) and all(s["description"] for s in told.values())


# -- pasting ---------------------------------------------------------------------------------


def test_smoothing_neither_shortens_nor_shifts_nor_rounds():
    line = np.linspace(10.2, 12.9, 30)[:, None] * [1.0, 2.0]
    found = smooth(line, 3)
    assert found.shape == line.shape
    np.testing.assert_allclose(found[3:-3], line[3:-3], atol=1e-9)
    noisy = line + np.random.default_rng(0).normal(0, 1, line.shape)
    assert np.diff(smooth(noisy, 3), axis=0).std() < 0.5 * np.diff(noisy, axis=0).std()
    np.testing.assert_allclose(smooth(np.full((2, 1), 5.5), 3), 5.5)


def test_patches_stay_inside_odd_and_small_pictures():
    boxes = np.array([[-30.0, 10.0, 60.0, 120.0], [-28.5, 11.0, 61.0, 121.0]])
    for place in places(boxes, (75, 99)):
        assert place.x >= 0 and place.y >= 0 and place.x + place.width <= 74 and place.y + place.height <= 98


def test_the_lips_of_a_face_that_leans_back_are_wholly_inside_the_matte(film):
    mesh = film[1].mesh_NP3[:1, :, :2].copy()
    box = detector_boxes(film[1].mesh_NP3[:1])
    lips = mesh[0, list(OUTER_LIPS)]
    mesh[0, list(OUTER_LIPS), 1] += box[0, [1, 3]].mean() + 2 - lips[:, 1].min()  # the upper lip at the box's middle

    def least(box_4):
        (place,) = places(box_4[None], (400, 400))
        points = np.rint(mesh[0, list(OUTER_LIPS)] - (place.x, place.y)).astype(int)
        return matte(mesh[0], box_4, place)[points[:, 1], points[:, 0]].min()

    assert least(box[0]) < 0.3 and least(raised(box, mesh)[0]) > 0.8
    low = mesh + (0, 30)
    np.testing.assert_array_equal(raised(box, low), box)  # lips that are deep enough change nothing


def test_a_matte_outside_its_patch_is_nothing(film):
    mesh = film[1].mesh_NP3[0, :, :2]
    assert matte(mesh, detector_boxes(mesh[None])[0], Place(0, 0, 20, 20)).max() == 0


def test_what_is_new_has_the_grain_of_the_skin_around():
    rng, place, box = np.random.default_rng(3), Place(0, 0, 200, 100), np.array([0.0, -100.0, 200.0, 100.0])
    source = np.clip(120 + rng.normal(0, 3, (100, 200, 1)), 0, 255).repeat(3, 2).astype(np.uint8)
    seen = np.full((96, 96, 3), 120.0)
    made = seen.copy()
    made[60:90, 24:72] = 170  # a mouth that is nowhere like the skin, without any grain
    alpha = np.zeros((100, 200), np.float32)
    alpha[5:95, 5:195] = 1
    mesh = np.tile([100.0, 50.0], (478, 1))
    laid = [lay(source, seen, made, box, place, alpha, mesh, number) for number in (7, 7, 8)]
    new = np.zeros(alpha.shape, bool)
    new[35:80, 60:140] = True
    wanted, found = grain.levels(source, ~new), grain.levels(laid[0], new)
    np.testing.assert_allclose(found, wanted, rtol=0.25)
    assert (laid[0] == laid[1]).all() and (laid[0] != laid[2]).any(), "one frame's grain is another's"
    assert (laid[0][:15] == source[:15]).all(), "what the network left alone keeps its own"
