"""The generator `sadtalker`: its files, what a head does, where patches lie, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import tiny
import torch
from people import meshes_of

from dubbing import generators, media, models
from dubbing.errors import ManifestError, MediaError, ModelError
from dubbing.face import yaw_deg
from dubbing.generators import RenderRequest
from dubbing.generators.paste import Place
from dubbing.generators.sadtalker import look
from dubbing.generators.sadtalker.head import lay_moved, side_matte
from dubbing.generators.sadtalker.performance import Performance, References
from dubbing.generators.sadtalker.settings import SadTalkerSettings
from dubbing.networks.sadtalker.pose import PoseVAE
from dubbing.networks.sadtalker.run import SadTalker
from dubbing.records import Line, Track

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES, SIZE = 34, (320, 300)
RATE = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save({"state_dict": tiny.sadtalker().state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def net(checkpoint):
    return generators.create("sadtalker", {"model": str(checkpoint)}, device="cpu").net


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A portrait (public domain, NASA) that stands still at 24000/1001 frames a second, and says two lines."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[: SIZE[1], 70 : 70 + SIZE[0], ::-1])
    mesh = np.repeat(meshes_of([picture] * 3)[-1:], FRAMES, 0).astype(np.float32)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with media.ClipWriter(path, *SIZE, RATE, crf=8) as clip:
        for _ in range(FRAMES):
            clip.frame(picture)
    track = Track(
        "shot_0001/face_1", np.arange(FRAMES, dtype=np.int32), mesh, np.ones(FRAMES, bool), yaw_deg(mesh), 200
    )
    samples = int(FRAMES / RATE * 16_000)
    wave = np.random.default_rng(1).normal(0, 0.1, samples) * (np.sin(np.arange(samples) / 900) > 0)
    lines = (Line(track.id, 0, 24), Line(track.id, 28, FRAMES))
    return RenderRequest(
        path, media.timeline(path), SIZE, track, lines, wave.astype(np.float32), np.ones(FRAMES, bool), None,
        still=True, acts=("motion", "blinks"),
    )  # fmt: skip


def made(checkpoint, **settings):
    return generators.create("sadtalker", {"model": str(checkpoint), **settings}, device="cpu")


class Watched:
    """The networks, with what they were asked to draw kept, and the picture as it was given back."""

    def __init__(self, net):
        self._net, self.asked = net, []

    def __getattr__(self, name):
        return getattr(self._net, name)

    def draw(self, work):
        self.asked += [(old, new) for _, old, new in work]
        return [np.full((256, 256, 3), 128, np.float32) for _ in work]


def watched(net, checkpoint, work, **settings):
    """The patches of `work`, and how far each frame's keypoints were moved."""
    generator = made(checkpoint, **settings)
    generator.net = network = Watched(net)
    patches = [one.patch for one in generator.render(work)]
    return patches, np.array([new - old for old, new in network.asked])


# -- a photograph ----------------------------------------------------------------------------


def test_the_head_leaves_its_place_and_comes_back(net, checkpoint, work):
    patches, moves = watched(net, checkpoint, work)
    far = np.abs(moves).max((1, 2))
    assert [p.frame for p in patches] == [*range(24), *range(28, FRAMES)]
    assert far[23] < 0.1 * far[12] and far[24] < 0.1 * far[-1], "and is back where frames are left alone"
    assert min(far[0], far[-1]) > 0.3 * far[12], "but not at the film's own ends"
    picture = patches[12]
    assert (picture.matte_HW == 255).mean() > 0.6 and picture.matte_HW.shape[0] > 0.6 * SIZE[1]
    assert patches[23].matte_HW.max() < 60 < 250 < patches[0].matte_HW.max()
    beside = replace(work, window=(12, 13), others=((150.0, 0.0, 60.0, 60.0),))
    ((patch,), _) = watched(net, checkpoint, beside)
    assert patch.matte_HW[: max(0, 50 - patch.y), 160 - patch.x : 200 - patch.x].max() < 30, "another face stays"


def test_sound_seed_style_and_scale_decide_what_it_does(net, checkpoint, work):
    work = replace(work, window=(2, 14))
    _, moves = watched(net, checkpoint, work)
    for change in ({"seed": 4}, {"style": 7}, {"expression_scale": 2.0}, {"yaw": 20}, {"preprocess": "extfull"}):
        _, other = watched(net, checkpoint, work, **change)
        assert np.abs(other - moves).max() > 1e-5, change  # little, without training
    _, again = watched(net, checkpoint, work)
    np.testing.assert_array_equal(again, moves)
    (_, standing) = watched(net, checkpoint, replace(work, acts=("blinks",)))
    assert np.abs(standing - moves).max() > 1e-3 * np.abs(moves).max(), "`still: {motion: none}` keeps the head"
    _, deaf = watched(net, checkpoint, replace(work, wave=0 * work.wave))
    assert np.abs(deaf - moves).max() > 1e-3 * np.abs(moves).max()


def test_a_head_that_stays_changes_its_face_alone(net, checkpoint, work):
    patches, moves = watched(net, checkpoint, work, pose="source")
    mesh = work.track.mesh_NP3[0, :, :2]
    height = np.ptp(mesh[:, 1])
    for patch in patches[5:7]:
        rows, columns = np.nonzero(patch.matte_HW)
        assert patch.y + rows.min() > mesh[:, 1].min() - 0.2 * height
        assert patch.x + columns.max() < mesh[:, 0].max() + 0.2 * height
        assert patch.matte_HW[[0, -1]].max() == patch.matte_HW[:, [0, -1]].max() == 0
        inside = np.rint(mesh[[1, 13, 33, 263]] - (patch.x, patch.y)).astype(int)
        assert patch.matte_HW[inside[:, 1], inside[:, 0]].min() > 250
    assert np.abs(moves).max() > 0
    assert made(checkpoint).performs and not made(checkpoint, pose="source").performs, "who moves the head"


def test_between_two_25ths_a_frame_gets_what_lies_between(net, work):
    face = net.see([np.zeros((256, 256, 3), np.uint8)])[0]
    still = np.linspace(-0.2, 0.2, 73).astype(np.float32)
    settings, seconds = SadTalkerSettings(), Fraction(1, 25)
    span = Fraction(1, 10), Fraction(1, 10) + 20 * seconds
    told = Performance(net, settings, work.wave, span, still, ("face", 3), True, True, References())
    assert told.count == 21
    at = [told.new(face, span[0] + n * seconds / 4, still, keep=True) for n in (40, 41, 44)]
    np.testing.assert_allclose(at[1], at[0] + (at[2] - at[0]) / 4, atol=1e-6)
    assert np.abs(at[2] - at[0]).max() > 0
    again = Performance(net, settings, work.wave, span, still, ("face", 3), True, True, References())
    np.testing.assert_array_equal(again.new(face, span[0] + 10 * seconds, still, keep=True), at[0])


def test_other_films_lend_their_pose_and_their_eyes(net, work, checkpoint, monkeypatch, tmp_path):
    found = look.film(net, work.source, True, 256)
    assert found.shape == (round(FRAMES / RATE * 25), 73) and np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() < 0.05 * np.abs(found).max(), "it stands still"
    blank = tmp_path / "blank.mp4"
    with media.ClipWriter(blank, 64, 64, Fraction(25), crf=20) as clip:
        clip.frame(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(MediaError, match="shows no face in its first minute"):
        look.film(net, blank, True, 256)
    moving = found[:3].copy()
    moving[1, 64:70] += 0.5
    moving[:, :64] += np.arange(3)[:, None]
    monkeypatch.setattr(look, "film", lambda *of: moving)
    work = replace(work, window=(8, 12))
    _, moves = watched(net, checkpoint, work)
    for setting in ("reference_pose", "reference_eyes"):
        _, other = watched(net, checkpoint, work, **{setting: str(work.source)})
        assert np.abs(other - moves).max() > 1e-3 * np.abs(moves).max(), setting
        assert made(checkpoint, **{setting: str(work.source)}).hash != made(checkpoint).hash


# -- laying back -----------------------------------------------------------------------------


def test_detail_goes_with_what_it_belongs_to():
    """A head that the network has moved by 3 of its pixels, 6 of the picture's."""
    rng = np.random.default_rng(4)
    coarse = cv2.resize(rng.uniform(60, 190, (20, 20, 3)).astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
    fine = rng.normal(0, 12, (256, 256, 1)).astype(np.float32)
    source = np.clip(coarse + fine, 0, 255).astype(np.uint8)
    seen = cv2.resize(source, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
    drawn = np.roll(cv2.GaussianBlur(seen, (0, 0), 1.0), 3, axis=1)
    box, place = np.array([0.0, 0, 256, 256]), Place(0, 0, 256, 256)
    laid = lay_moved(source, seen, drawn, box, place, np.ones((256, 256), np.float32), (seen, drawn))
    wanted = np.roll(source, 6, axis=1).astype(np.float32)

    def detail(picture):
        picture = picture.astype(np.float32).mean(2)
        return (picture - cv2.GaussianBlur(picture, (0, 0), 3))[40:-40, 40:-40].ravel()

    there = np.corrcoef(detail(laid), detail(wanted))[0, 1]
    stayed = np.corrcoef(detail(laid), detail(source))[0, 1]
    assert there > 0.9 and stayed < 0.3, (there, stayed)


def test_a_crop_fades_but_at_the_picture_s_own_edge():
    found = side_matte(np.array([0.0, 40, 200, 160]), Place(0, 40, 200, 120), (300, 300))
    assert found[60, 0] == 1 and found[0].max() < 0.02 > found[:, -1].max() and found[60, 100] == 1


# -- a film ----------------------------------------------------------------------------------


def test_a_film_keeps_its_heads(net, checkpoint, work):
    film = replace(work, still=False, acts=())
    for setting in ({"pose": "speech"}, {"yaw": [10, -10]}):
        with pytest.raises(ManifestError, match=r"moves a whole head.*it is for photographs"):
            next(made(checkpoint, **setting).render(film))
    patches, moves = watched(net, checkpoint, replace(film, window=(4, 10)))
    mesh = work.track.mesh_NP3[0, :, 1]
    assert len(patches) == 6 and np.abs(moves).max() > 0
    assert min(p.y + np.nonzero(p.matte_HW)[0].min() for p in patches) > mesh.min() + 0.4 * np.ptp(mesh)


# -- files -----------------------------------------------------------------------------------


def safetensors(path, state):
    """By the format: the length of a JSON header, the header, the bytes."""
    head, data, at = {}, [], 0
    for key, value in state.items():
        raw = value.numpy().tobytes()
        kind = "I64" if value.dtype == torch.int64 else "F32"
        head[key] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return str(path)


def part(net, name):
    return net.get_submodule(name).state_dict()


def test_the_published_files_become_one_network(tmp_path):
    from scipy.io import savemat

    torch.manual_seed(2)
    own, whole = tiny.sadtalker(), PoseVAE()
    whole.load_state_dict(own.audio2pose.state_dict(), strict=False)
    names = ("kp_extractor", "generator", "audio2exp", "face_3drecon")
    flat = {f"{name}.{key}": value for name in names for key, value in part(own, name).items()}
    flat |= {f"audio2pose.{key}": value for key, value in whole.state_dict().items()}
    points = np.random.default_rng(5).normal(size=(68, 3))
    savemat(tmp_path / "mean.mat", {"lm": points})
    torch.save(
        {"mapping": part(own, "mapping"), "epoch": 3, "optimizer": {"step": torch.zeros(1)}}, tmp_path / "map.pth"
    )
    given = {"model": safetensors(tmp_path / "all.safetensors", flat), "mapping": str(tmp_path / "map.pth")}
    with pytest.raises(ModelError, match="holds no mean_face of five points: name the file that does by `mean_face`"):
        generators.create("sadtalker", given).check()
    given["mean_face"] = str(tmp_path / "mean.mat")
    newer = generators.create("sadtalker", given)
    torch.save({"generator": part(own, "generator"), "kp_detector": part(own, "kp_extractor"), "he_estimator": {}},
               tmp_path / "facevid2vid.pth.tar")  # fmt: skip
    torch.save({"model": part(own, "audio2exp")}, tmp_path / "exp.pth")
    torch.save({"model": whole.state_dict()}, tmp_path / "pose.pth")
    torch.save({"net_recon": part(own, "face_3drecon")}, tmp_path / "epoch_20.pth")
    files = {
        "model": "facevid2vid.pth.tar",
        "exp_model": "exp.pth",
        "pose_model": "pose.pth",
        "face_model": "epoch_20.pth",
    }
    older = generators.create("sadtalker", {**given, **{k: str(tmp_path / f) for k, f in files.items()}})
    for generator in (newer, older):
        generator.check()
        loaded = generator.loaded()
        for name in (*names, "audio2pose", "mapping"):
            kept = part(own, name)
            assert all(torch.equal(value, kept[key]) for key, value in part(loaded, name).items()), name
        np.testing.assert_allclose(loaded.mean_face[2], points[30], rtol=1e-6)
    assert newer.hash != older.hash and newer.size_bytes > 0
    with pytest.raises(ModelError, match=r"mapping of 73 coefficients.*`crop` and `extcrop` 70"):
        generators.create("sadtalker", {**given, "preprocess": "crop"}).check()


def test_what_is_missing_is_said_with_the_next_step(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("DUB_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="'sadtalker_256' is not on this machine.*run `dub models pull sadtalker_256`"):
        generators.create("sadtalker", {})
    with pytest.raises(ModelError, match="'sadtalker_exp' is not on this machine"):
        made("sadtalker_renderer", model=str(checkpoint), exp_model="sadtalker_exp")
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="another architecture"):
        made(tmp_path / "other.pth").check()
    for settings, said in (
        ({"pose": "source", "yaw": 10}, "yaw moves a head that `pose: source` keeps"),
        ({"pitch": [0, 100]}, "angles are -90 to 90 degrees"), ({"style": 46}, "less than 46"),
        ({"reference_eyes": "film.mp4"}, "is a relative path"), ({"reference_pose": "/absent.mp4"}, "there is no film"),
        ({"size": 300}, "256 or 512"),
    ):  # fmt: skip
        with pytest.raises(ManifestError, match=said):
            made(checkpoint, **settings)
    assert {m.name for m in generators.find("sadtalker").published} <= {m.name for m in models.MODELS}


def test_threads_and_neighbours_change_nothing(net):
    rng = np.random.default_rng(6)
    pictures = list(rng.integers(0, 256, (3, 256, 256, 3), np.uint8))
    points = rng.uniform(-0.6, 0.6, (15, 3)).astype(np.float32)
    work = [(face, points, points + np.float32(0.05)) for face in net.see(pictures)]
    apart = [net.draw([one])[0] for one in work]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = net.draw(work)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(net, SadTalker) and np.abs(apart[0] - apart[1]).max() > 0
