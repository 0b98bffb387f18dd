"""MuseTalk: the published numbers of boxes, masks and pictures, and the generator."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import tiny
import torch
from people import meshes_of
from PIL import Image

from dubbing import generators, media, models
from dubbing.errors import ManifestError, ModelError, PluginError
from dubbing.face import LIPS, yaw_deg
from dubbing.generators import RenderRequest, needs
from dubbing.networks.musetalk import box, masks, run
from dubbing.records import Line, Track

pytest.importorskip("diffusers", reason="the extra `musetalk` brings it")
pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES, SIZE = 30, 320


@pytest.fixture(scope="module")
def gold(golden):
    return golden("musetalk")


# -- the published numbers -------------------------------------------------------------------


def test_the_box_is_the_published_one(gold):
    for points, (shift, *rest) in zip(gold["bbox_landmarks68"], gold["bbox_shift_detector_result"], strict=True):
        assert box.published_box(points, int(shift), tuple(rest[:4])) == tuple(rest[4:])
    points = gold["bbox_landmarks68"][0]
    assert box.published_box(points, margin=10) == (165, 144, 347, 364)
    assert box.published_box(points, margin=10, height=360) == (165, 144, 347, 360)
    for given, (*square, half) in zip(gold["crop_box_in"], gold["crop_box_out"], strict=True):
        assert masks.square_about(tuple(map(int, given))) == (tuple(square), half)


@pytest.mark.parametrize("mode", ("jaw", "neck", "raw"))
def test_the_mask_of_a_parted_face_is_the_published_one(gold, mode):
    found = masks.mask_of(gold["parse_labels_512"], mode)
    np.testing.assert_array_equal(np.packbits(found == 255), gold[f"parse_mask_{mode}_packed"])


@pytest.mark.parametrize(("version", "mode"), (("v15", "jaw"), ("v1", "raw")))
def test_a_face_is_laid_as_published(gold, version, mode):
    """Pillow's own pasting, under the soft mask."""
    at, body = tuple(map(int, gold["blend_box"])), gold["blend_body_bgr"]
    square, _ = masks.square_about(at)
    mask = masks.mask_of(gold["parse_labels_512"], mode)
    soft = masks.soft(mask, at, square)
    np.testing.assert_array_equal(masks.soft(mask, at, square, 0.1)[::4, ::4], gold[f"realtime_{version}_mask"])
    face = Image.fromarray(255 - body[at[1] : at[3], at[0] : at[2]])
    whole = Image.fromarray(body)
    inner = whole.crop(square)
    inner.paste(face, (at[0] - square[0], at[1] - square[1]))
    whole.paste(inner, square[:2], Image.fromarray(soft))
    apart = np.asarray(whole).astype(int)[180:300:6, 60:330:3] - gold[f"blend_{version}_rows"]
    assert np.abs(apart).max() <= 1


@torch.inference_mode()
def test_a_picture_is_drawn_as_published(gold, formula, keys):
    """All of it, from a crop and what it hears to the drawn face."""
    made = {}
    for name in ("unet", "vae"):
        state = {k: formula.tensor(k, tuple(s)) for k, s in keys("musetalk", f"{name}_tiny").items()}
        made[name] = {k: torch.from_numpy(np.asarray(v)) for k, v in state.items()}
    from whisper.model import AudioEncoder

    from dubbing.networks.diffusion import autoencoder, unet

    net = run.MuseTalkNet(
        models.fit(unet.network_of(made["unet"]), made["unet"], "unet"),
        models.fit(autoencoder.network_of(made["vae"]), made["vae"], "vae"), AudioEncoder(80, 1500, 384, 6, 1),
    )  # fmt: skip
    quick = run.MuseTalk(net, size=128)
    np.testing.assert_allclose(run.positions(50, 384), gold["pe_first_50"], atol=1e-5)
    given, told, out = (torch.from_numpy(gold[f"unet_{name}"]) for name in ("latents", "audio", "out"))
    assert (quick.inpainted(given, told) - out).abs().max() <= 1e-4 * out.abs().max()
    for latents, wanted, every in (
        (gold["decode_in"], "decode_uint8_bgr", 2),
        (gold["unet_out"], "chain_uint8_bgr", 2),
    ):
        pictures = quick.drawn(torch.from_numpy(latents)).permute(0, 2, 3, 1).numpy() * 255
        apart = np.rint(pictures)[:, ::every, ::every].astype(int) - gold[wanted]
        assert np.abs(apart).max() <= 1
    crop = torch.from_numpy(gold["crop_bgr_uint8"]).permute(2, 0, 1)[None].float() / 255
    seen = quick.seen(crop)[0, :4] / autoencoder.SCALE
    assert np.abs(seen.numpy() - gold["vae_masked_mean"]).max() <= 1e-4 * np.abs(gold["vae_masked_mean"]).max()


# -- the generator ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    torch.manual_seed(1)
    return tiny.musetalk_files(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def generator(files):
    return made(files)


def made(files, **settings):
    return generators.create("musetalk", {**files, "size": 64, **settings}, device="cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A portrait (public domain, NASA) at 24000/1001 frames a second, which drifts, and two lines of it."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[:SIZE, 70 : 70 + SIZE, ::-1])
    mesh = meshes_of([picture] * 3)[-1]
    meshes = np.stack([mesh + (n // 3, 0, 0) for n in range(FRAMES)]).astype(np.float32)
    path, rate = tmp_path_factory.mktemp("film") / "film.mp4", Fraction(24000, 1001)
    with media.ClipWriter(path, SIZE, SIZE, rate, crf=8) as clip:
        for n in range(FRAMES):
            clip.frame(np.roll(picture, n // 3, axis=1))
    numbers = np.arange(FRAMES, dtype=np.int32)
    track = Track("shot_0001/face_1", numbers, meshes, np.ones(FRAMES, bool), yaw_deg(meshes), 200)
    wave = np.random.default_rng(1).normal(0, 0.1, int(FRAMES / rate * 16_000)).astype(np.float32)
    lines = (Line(track.id, 0, 14), Line(track.id, 20, FRAMES))
    speech = np.ones(FRAMES, bool)
    return RenderRequest(path, media.timeline(path), (SIZE, SIZE), track, lines, wave, speech, None)


def test_every_frame_of_every_line_is_patched_and_windows_change_nothing(generator, work):
    whole = [one.patch for one in generator.render(work)]
    assert [p.frame for p in whole] == [*range(14), *range(20, FRAMES)]
    assert len({p.matte_HW.shape for p in whole}) == 1
    for a, b in ((5, 14), (20, 23)):
        for patch in (one.patch for one in generator.render(replace(work, window=(a, b)))):
            same = next(p for p in whole if p.frame == patch.frame)
            np.testing.assert_array_equal(patch.bgr_HWC, same.bgr_HWC)
            np.testing.assert_array_equal(patch.matte_HW, same.matte_HW)
    (still,) = generator.render(replace(work, window=(3, 4), still=True))
    np.testing.assert_array_equal(still.patch.bgr_HWC, whole[3].bgr_HWC)


def test_the_lips_are_drawn_anew_and_what_lies_above_stays(generator, work):
    shown = next(iter(media.read(work.source, work.timeline, 10, 11))).bgr()
    (one,) = generator.render(replace(work, window=(10, 11)))
    patch, mesh = one.patch, work.track.mesh_NP3[10, :, :2]
    lips = np.rint(mesh[list(LIPS)] - (patch.x, patch.y)).astype(int)
    assert patch.matte_HW[lips[:, 1], lips[:, 0]].min() > 200
    rows, columns = np.nonzero(patch.matte_HW)
    assert patch.y + rows.min() >= mesh[5, 1] - 2 and patch.x + columns.min() > mesh[:, 0].min()
    tip = np.rint(mesh[1] - (patch.x, patch.y)).astype(int)
    assert patch.matte_HW[tip[1], tip[0]] < 60, "`jaw` leaves the nose out"
    before = shown[patch.y :, patch.x :][: patch.matte_HW.shape[0], : patch.matte_HW.shape[1]]
    assert np.abs(patch.bgr_HWC.astype(int) - before)[lips[:, 1], lips[:, 0]].mean() > 1


def test_sound_decides_what_is_drawn_and_speech_of_others_nothing(generator, work):
    work = replace(work, window=(10, 11))
    (one,) = generator.render(work)
    (deaf,) = generator.render(replace(work, wave=0 * work.wave))
    (others,) = generator.render(replace(work, speech_N=np.zeros(FRAMES, bool)))
    assert np.abs(one.patch.bgr_HWC.astype(int) - deaf.patch.bgr_HWC).max() > 0
    np.testing.assert_array_equal(others.patch.bgr_HWC, deaf.patch.bgr_HWC)


class Deaf:
    """Stands in for the networks: gives faces back, and keeps the first row that each frame hears."""

    size_px = 128

    def __init__(self, change=lambda faces: faces):
        self.rows, self.change = [], change

    def hear(self, wave):
        return self

    def windows(self, first_rows_N):
        return np.asarray(first_rows_N, np.float32)

    def __call__(self, sound, faces):
        self.rows += sound.tolist()
        return self.change(faces)


@pytest.mark.parametrize("rate", (Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), None))
def test_every_picture_of_any_rate_hears_its_own_time(files, work, rate, tmp_path):
    """None: a variable rate."""
    steps = [40, 33, 50, 17, 100, 33, 34, 33, 40, 40] if rate is None else [1] * 10
    base = Fraction(1, 1000) if rate is None else 1 / rate
    pts = np.concatenate([[0], np.cumsum(steps)])
    path = tmp_path / "film.mp4"
    with media.ClipWriter(path, 160, 160, rate or Fraction(25), crf=8, time_base=base) as clip:
        for n in range(10):
            clip.frame(np.full((160, 160, 3), 90, np.uint8), int(pts[n]))
    mesh = work.track.mesh_NP3[:10] * 0.5
    track = Track("shot_0001/face_1", np.arange(10, dtype=np.int32), mesh, np.ones(10, bool), work.track.yaw_N[:10], 90)
    line, heard = Line(track.id, 0, 10), np.ones(10, bool)
    generator = made(files)
    generator.net = Deaf()
    asked = RenderRequest(path, media.timeline(path), (160, 160), track, (line,), work.wave, heard, None)
    assert [one.patch.frame for one in generator.render(asked)] == list(range(10))
    assert generator.net.rows == [50 * int(pts[n]) * base // 1 - 4 for n in range(10)]


@pytest.mark.parametrize("version", ("1.5", "1.0"))
def test_a_tint_is_taken_out_and_skin_that_is_drawn_alike_is_the_film_s(files, work, version):
    generator = made(files, version=version)
    generator.net = Deaf(lambda faces: faces + torch.tensor([0.04, -0.03, 0.06])[:, None, None])
    (one,) = generator.render(replace(work, window=(10, 11)))
    patch, mesh = one.patch, work.track.mesh_NP3[10, :, :2]
    shown = next(iter(media.read(work.source, work.timeline, 10, 11))).bgr()
    height, width = patch.matte_HW.shape
    before = shown[patch.y : patch.y + height, patch.x : patch.x + width].astype(int)
    lips = mesh[list(LIPS)] - (patch.x, patch.y)
    (left, top), (right, bottom) = np.floor(lips.min(0) - 5).astype(int), np.ceil(lips.max(0) + 6).astype(int)
    skin = patch.matte_HW > 100
    skin[top:bottom, left:right] = False
    apart = np.abs(patch.bgr_HWC - before)[skin]
    assert skin.sum() > 1000 and apart.mean() < 1.5 and np.percentile(apart, 99) <= 6


def test_what_the_versions_change(files, work):
    mesh = work.track.mesh_NP3
    newer, older = made(files), made(files, version=1.0)
    one, other = newer.boxes(mesh, 2)[4], older.boxes(mesh, 2)[4]
    pixel = (other[3] - other[1]) / 256
    np.testing.assert_allclose(one - other, (0, 0, 0, 10 * pixel), atol=1e-9)
    np.testing.assert_allclose(other[3], mesh[4, box.LANDMARKS, 1].max(), atol=0.5)
    shifted = made(files, version="1.0", shift=5).boxes(mesh, 2)[4]
    np.testing.assert_allclose((shifted - other)[[1, 3]], (10 * pixel, 0), atol=1e-9)
    assert len({g.hash for g in (newer, older, made(files, mask="raw"), made(files, size=128))}) == 4
    assert made(files, version="1.5").hash == newer.hash


def test_what_is_refused(files, monkeypatch, tmp_path):
    with pytest.raises(ManifestError, match="shift: MuseTalk 1.5 was trained without it"):
        made(files, shift=3)
    with pytest.raises(ManifestError, match="generator musetalk: size: "):
        made(files, size=100)
    with pytest.raises(ManifestError, match="generator musetalk: vae: 'x/y' is a relative path"):
        made({**files, "vae": "x/y"})
    with pytest.raises(ModelError, match="musetalk_v15_unet.pth, .*run `dub models pull musetalk`"):
        generators.create("musetalk", {})
    swapped = made({**files, "model": files["vae"]})
    with pytest.raises(ModelError, match="vae.pth is a checkpoint of another architecture: it holds no UNet"):
        swapped.check()
    from whisper.model import AudioEncoder

    torch.save(AudioEncoder(80, 1500, 128, 2, 1).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match="do not belong together: the UNet listens to 64 numbers, and the hearing"):
        made({**files, "hearing": str(tmp_path / "other.pth")}).check()
    monkeypatch.setattr(needs, "free_bytes", lambda device: 1_100_000_000)
    with pytest.raises(ModelError, match="for 64 frames of 256 pixels at once, and 1.1 GB are free: `batch: 1` fits"):
        made(files, size=256, batch=64).check()
    monkeypatch.setitem(generators.find("musetalk").modules, "no_such_package", "no-such-package")
    with pytest.raises(PluginError, match=r"pip install 'dubbing\[musetalk\]'"):
        made(files).check()


def test_a_known_file_says_its_version(files, monkeypatch):
    kind = generators.find("musetalk")
    content = made(files).contents["model"]
    known = tuple(replace(m, sha256=content) if m.name == "musetalk_v10_unet" else m for m in kind.published)
    monkeypatch.setattr(kind, "published", known)
    assert made(files).release == "1.0"
    with pytest.raises(ManifestError, match="model.pth is MuseTalk 1.0, and version 1.5 was asked for"):
        made(files, version="1.5")
