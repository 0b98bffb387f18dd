"""wav2lip: the published numbers, the quick way to them, and what comes back to the picture."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from people import meshes_of
from torch.nn import functional as F

from dubbing import media
from dubbing.errors import ManifestError, ModelError
from dubbing.face import LIPS, OUTER_LIPS, yaw_deg
from dubbing.generators import Work
from dubbing.generators.paste import Place, matte, places, raised, smooth
from dubbing.generators.wav2lip import Wav2Lip as Generator
from dubbing.networks import convs, mel
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.wav2lip import PUBLISHED, Plan, Wav2Lip, Wav2LipNet, plan_of
from dubbing.records import Line, Track


@pytest.fixture(scope="module")
def net(formula):
    return formula.fill(Wav2LipNet())


@pytest.fixture(scope="module")
def quick(net):
    return Wav2Lip(net)


def tame(net):
    """Small seeded weights, so that outputs hang on no rounding."""
    source = torch.Generator().manual_seed(3)
    state = {}
    for key, value in net.state_dict().items():
        noise = torch.randn(value.shape, generator=source) if value.is_floating_point() else torch.zeros(())
        fan = max(1, value[0].numel()) if value.ndim > 1 else 1
        state[key] = (noise / fan**0.5 if value.ndim > 1 else value + 0.05 * noise.abs()).to(value.dtype)
    net.load_state_dict(state)
    return net.eval()


# -- the published numbers -------------------------------------------------------------------


def test_network_is_the_published_one(golden, net):
    reference = golden("wav2lip")
    with torch.inference_mode():
        out = net(torch.from_numpy(reference["mel"]), torch.from_numpy(reference["face"]))
    assert np.abs(out.numpy() - reference["out"]).max() < 1e-4


def test_the_quick_way_is_within_half_a_grey_level(golden, quick):
    reference = golden("wav2lip")
    inputs = [torch.from_numpy(reference[name]).repeat(3, 1, 1, 1)[:5] for name in ("mel", "face")]
    out = quick(*inputs).numpy()
    assert np.abs(out - np.tile(reference["out"], (3, 1, 1, 1))[:5]).max() < 0.5 / 255
    lower = quick(*inputs, from_row=44).numpy()
    assert np.abs(lower[:, :, 44:] - out[:, :, 44:]).max() < 0.5 / 255
    assert (lower[:, :, :44] == 0).all()


def test_results_depend_on_no_neighbour_and_no_thread(golden, quick):
    reference = golden("wav2lip")
    sound, face = (torch.from_numpy(reference[name]).repeat(3, 1, 1, 1) for name in ("mel", "face"))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = quick(sound, face)
        torch.set_num_threads(2)
        both = quick(sound, face)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(alone, both, rtol=0, atol=0)


def test_mel_is_the_published_one(golden, monkeypatch):
    reference = golden("wav2lip_mel")
    found = mel.mel(reference["wav"])
    assert found.shape == (80, 321)
    assert np.abs(found - reference["mel"]).max() < 1e-3
    monkeypatch.setattr(mel, "_BLOCK", 100)
    np.testing.assert_allclose(mel.mel(reference["wav"]), found, atol=1e-5)


RATES = {"23.976": Fraction(24000, 1001), "24": Fraction(24), "25": Fraction(25), "29.97": Fraction(30000, 1001),
         "30": Fraction(30)}  # fmt: skip


@pytest.mark.parametrize("name", RATES)
def test_windows_begin_where_the_published_ones_do_and_no_frame_is_without(golden, name):
    reference = golden("wav2lip_mel")[f"starts_{name}"]
    frames = int(4 * RATES[name])
    found = mel.starts([n / RATES[name] for n in range(frames)], 321)
    np.testing.assert_array_equal(found[: len(reference)], reference)
    assert len(found) == frames > len(reference)
    assert (found[len(reference) :] == 305).all()


def test_the_other_alignments_begin_earlier_and_hear_silence_before_the_sound():
    times = [Fraction(n, 25) for n in range(10)]
    published, trained, early = (mel.starts(times, 100, a) for a in mel.ALIGNMENTS)
    np.testing.assert_array_equal(trained[1:], published[:-1])
    np.testing.assert_array_equal(early[2:], published[:-2])
    assert trained[0] < 0
    found = mel.windows(np.ones((80, 20), np.float32), np.array([-4, 0, 10]))
    assert found.shape == (3, 1, 80, 16)
    assert (found[0, ..., :4] == -4).all() and (found[0, ..., 4:] == 1).all()
    assert (found[1] == 1).all() and (found[2, ..., 10:] == -4).all()
    assert mel.starts(times, 5).max() == 0  # a sound shorter than a window


# -- convolutions ----------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "channels"), [((6, 6), 256), ((13, 13), 192), ((24, 20), 200), ((48, 41), 64)])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_every_way_of_a_convolution_gives_the_same(side, channels, residual, slope, monkeypatch):
    source = torch.Generator().manual_seed(5)
    x = torch.randn(3, channels, *side, generator=source)
    weight = torch.randn(channels, channels, 3, 3, generator=source) * (1 / (9 * channels)) ** 0.5
    bias = torch.randn(channels, generator=source)
    layer = convs.Folded(weight, bias, (1, 1), (1, 1), residual=residual, slope=slope)
    wanted = F.leaky_relu(F.conv2d(x, weight, bias, padding=1) + (x if residual else 0), slope)
    laid = x.contiguous(memory_format=torch.channels_last)
    ways = [convs.Direct(layer, torch.device("cpu"), torch.float32), convs.Winograd(layer)]
    with torch.inference_mode():
        found = [way(laid) for way in ways]
        monkeypatch.setattr(convs, "_fuses", lambda: False)
        found.append(convs.Direct(layer, torch.device("cpu"), torch.float32)(laid))
        if convs.has_nnpack():
            found.append(torch.cat([convs.Tiled(layer)(x[n : n + 1]) for n in range(3)]))
    for one in found:
        assert (one - wanted).abs().max() < 5e-4
    chosen = type(convs.best(layer, *side, torch.device("cpu"), torch.float32))
    assert chosen is (convs.Winograd if channels > 160 else convs.Tiled if convs.has_nnpack() else convs.Direct)


def test_half_precision_runs_the_same_layers():
    """What a GPU does in float16, here in bfloat16; the numbers are coarse, the picture is the same."""
    net = tame(Wav2LipNet(PUBLISHED))
    source = torch.Generator().manual_seed(1)
    sound, face = torch.rand(2, 1, 80, 16, generator=source), torch.rand(2, 6, 96, 96, generator=source)
    exact, coarse = Wav2Lip(net)(sound, face), Wav2Lip(net, dtype=torch.bfloat16)(sound, face)
    assert coarse.dtype == torch.float32
    assert (exact - coarse).abs().max() < 0.1 * (exact.max() - exact.min()) + 0.02


# -- other sizes -----------------------------------------------------------------------------

LARGER = Plan(192, (PUBLISHED.encoder[0], ((16, 24, 3), (24, 24, 3)), ((24, 32, 3),), *PUBLISHED.encoder[2:]),
              (*PUBLISHED.decoder[:-1], ((160, 64, 3),), ((64 + 24, 40, 3), (40, 40, 3))))  # fmt: skip
TWICE_CUT = Plan(
    72,
    (((6, 8, 7),), ((8, 16, 5), (16, 16, 3)), ((16, 32, 3),), ((32, 64, 3),), ((64, 512, 3),),
     ((512, 512, 3), (512, 512, 1)), ((512, 512, 3), (512, 512, 1))),
    (((512, 512, 1),), ((1024, 512, 3),), ((1024, 256, 3),), ((768, 64, 3),), ((128, 32, 3),), ((64, 16, 3),),
     ((32, 16, 3), (16, 16, 3))), bent=True,
)  # fmt: skip


@pytest.mark.parametrize("plan", [LARGER, TWICE_CUT], ids=["192", "72, PReLU, border cut twice"])
def test_other_sizes_are_read_off_the_checkpoint(plan):
    net = tame(Wav2LipNet(plan))
    assert plan_of(net.state_dict(), plan.size_px) == plan
    side = plan.size_px
    source = torch.Generator().manual_seed(1)
    sound, face = torch.rand(3, 1, 80, 16, generator=source), torch.rand(3, 6, side, side, generator=source)
    with torch.inference_mode():
        wanted = net(sound, face)
    assert wanted.shape == (3, 3, side, side)
    assert (Wav2Lip(net)(sound, face) - wanted).abs().max() < 1e-3
    assert ((Wav2Lip(net)(sound, face, side // 2) - wanted).abs()[:, :, side // 2 :]).max() < 1e-3


def test_a_size_is_taken_only_where_the_checkpoint_takes_it(net):
    state = net.state_dict()
    assert plan_of(state) == PUBLISHED
    with pytest.raises(ModelError, match="65 to 96 pixels, not 288"):
        plan_of(state, 288)
    with pytest.raises(ModelError, match="65 to 80 pixels; say which"):
        plan_of(Wav2LipNet(TWICE_CUT).state_dict())


def test_another_architecture_is_named_by_its_first_key(net, tmp_path):
    state = dict(net.state_dict())
    state["face_encoder_blocks.1.0.conv_block.0.weight"] = torch.zeros(48, 16, 3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"face_encoder_blocks\.1\.0\.conv_block\.0\.weight.*\(48, 16.*\(32, 16"):
        Generator({"model": str(tmp_path / "w.pth")}).check()


# -- the generator ---------------------------------------------------------------------------

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
    return Work(path, media.timeline(path), (400, 400), track, lines, wave, np.ones(FRAMES, bool), None)


@pytest.fixture(scope="module")
def generator(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "wav2lip.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}, "global_step": 1}, path)
    return Generator({"model": str(path)}, device="cpu")


class StandIn:
    """A network whose drawing is known: what it saw, changed by `change`. Keeps what it was given."""

    size_px = 96

    def __init__(self, change=lambda face: face):
        self.change, self.given = change, []

    def __call__(self, sound, face, from_row=0):
        self.given.append((sound, face))
        return self.change(face[:, 3:].clone())


def rendered(generator, work, network=None):
    kept = generator._net
    generator._net = network or kept
    try:
        return list(generator.render(work))
    finally:
        generator._net = kept


def test_every_frame_of_the_lines_once_and_all_of_one_size(generator, work):
    patches = [one.patch for one in rendered(generator, work, StandIn())]
    assert [p.frame for p in patches] == [*range(2, 10), *range(14, FRAMES)]
    assert len({p.bgr_HWC.shape for p in patches}) == 1
    for p in patches:
        height, width = p.matte_HW.shape
        assert p.x % 2 == p.y % 2 == height % 2 == width % 2 == 0
        assert p.bgr_HWC.dtype == p.matte_HW.dtype == np.uint8
        assert p.x >= 0 and p.y >= 0 and p.x + width <= 400 and p.y + height <= 400


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
    network = StandIn()
    quiet = np.ones(FRAMES, bool)
    quiet[:13] = False
    list(rendered(generator, replace(work, speech_N=quiet), network))
    sound = torch.cat([s for s, _ in network.given])
    face = torch.cat([f for _, f in network.given])
    assert face.shape == (18, 6, 96, 96) and sound.shape == (18, 1, 80, 16)
    assert (face[:, :3, 48:] == 0).all()
    assert (face[:, :3, :48] == face[:, 3:, :48]).all()
    assert (sound[:4] == -4).all() and (sound[-6:, ..., :8] > -4).any()
    loud = StandIn()
    list(rendered(generator, work, loud))
    assert (torch.cat([s for s, _ in loud.given])[:4] > -4).any()


def test_with_the_published_layers_the_mouth_changes_and_nothing_else(generator, work):
    one = rendered(generator, replace(work, lines=(Line(work.track.id, 6, 8),)))[0]
    assert one.patch.matte_HW.max() > 0
    mean, _ = difference(work, one, lambda patch: np.ones(patch.matte_HW.shape, bool))
    assert mean > 20  # the weights are made: nonsense, but there


def test_settings_are_checked_and_name_the_result(generator, net, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(net.state_dict(), path)
    other = Generator({"alignment": "training", "model": str(path)}, device="cpu")
    assert len(generator.hash) == 12 and other.hash != generator.hash
    with pytest.raises(ManifestError, match="sise"):
        Generator({"sise": 96, "model": str(path)})
    with pytest.raises(ManifestError, match="alignment"):
        Generator({"alignment": "late", "model": str(path)})
    with pytest.raises(ModelError, match="not 288"):
        Generator({"size": 288, "model": str(path)}).check()


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
