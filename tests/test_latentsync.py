"""The generator `latentsync` and the expert `stable_syncnet`: chunks, times, what goes back, what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import tiny
import torch

from dubbing import generators, models
from dubbing.clock import Timeline
from dubbing.errors import ManifestError, ModelError, PluginError
from dubbing.experts import crop, feed, lse
from dubbing.experts.stable_syncnet import StableSyncNetExpert
from dubbing.face import OUTER_LIPS
from dubbing.generators import needs
from dubbing.generators.latentsync.chunks import chunks
from dubbing.generators.latentsync.generator import memory_bytes
from dubbing.generators.latentsync.plan import FacePlan
from dubbing.networks.latentsync import mask
from dubbing.networks.latentsync.run import LatentSync
from dubbing.records import Line
from dubbing.testing import material

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES, SIDE = 40, 64


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("diffusers", reason="the extra `latentsync` brings it")
    torch.manual_seed(5)
    return tiny.latentsync_files(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return material.request(tmp_path_factory.mktemp("film"), FRAMES)


class Heard:
    """Instead of what is heard of a sound: the first row of each window."""

    def windows(self, rows_N):
        return np.asarray(rows_N)


class Drawer:
    """Instead of the networks: draws all of the hole in one grey, another for each chunk; or, `same`, what it sees."""

    def __init__(self, same=False):
        self.same, self.asked, self.heard = same, [], []

    def hear(self, wave):
        return Heard()

    def __call__(self, faces, audio, noise, *, steps, guidance):
        self.asked.append((len(faces), steps, guidance))
        self.heard.append(audio)
        made = faces.astype(np.float32)
        if not self.same:
            made[:, mask.kept(faces.shape[1]) < 0.5] = 40 + 100 * (len(self.asked) % 2)
        return made


def rendered(files, work, drawer, **settings):
    generator = generators.create("latentsync", {**files, **settings}, device="cpu")
    generator.net = drawer
    return [one.patch for one in generator.render(work)]


# -- chunks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length, overlap", [(16, 4), (16, 8), (8, 1), (24, 5)])
def test_chunks_cover_every_frame_and_go_over_into_each_other(length, overlap):
    for count in range(1, 120):
        found = chunks(count, length, overlap)
        whole = np.zeros(count)
        for one in found:
            assert one.stop - one.start == min(length, count), "no chunk is shorter than the network knows"
            whole[one.start : one.stop] += one.weight_F
            a, b = one.shown
            assert one.start <= a < b <= one.stop
            inner = one.weight_F[a - one.start : b - one.start]
            if count > 2 * length:
                assert np.abs(np.diff(inner)).max() <= 2 / (overlap + 2) + 1e-6
        np.testing.assert_allclose(whole, 1, atol=1e-6)
        assert found[0].start == 0 and found[-1].stop == count
    assert not chunks(0, length, overlap)


def test_no_seam_shows_where_chunks_meet(files, work):
    """Two chunks that draw greys 100 apart: from one frame to the next the mouth changes by a fifth of that."""
    line = Line(work.track.id, work.track.start_frame, work.track.end_frame)
    work = replace(work, lines=(line,))
    drawer = Drawer()
    patches = rendered(files, work, drawer, overlap=4)
    assert [p.frame for p in patches] == list(range(line.start_frame, line.end_frame))
    assert [count for count, _, _ in drawer.asked] == [16, 16, 16]
    grey = np.array([p.bgr_HWC[p.matte_HW > 200].mean() for p in patches[4:-4]])
    assert np.ptp(grey) > 40 and np.abs(np.diff(grey)).max() < 30
    short = rendered(files, replace(work, lines=(replace(line, end_frame=line.start_frame + 5),)), Drawer())
    assert len(short) == 5, "a line shorter than a chunk"


# -- times -----------------------------------------------------------------------------------


def line_of(rate, count):
    """Frames at a rate; None: at no steady one."""
    if rate is None:
        at = np.cumsum(np.random.default_rng(1).integers(20, 60, count + 1))
        return Timeline(at[:-1] - at[0], Fraction(1, 1000), int(at[-1] - at[0]), Fraction(25))
    return Timeline(np.arange(count, dtype=np.int64), 1 / rate, count, rate)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), None])
def test_every_frame_hears_the_sound_about_its_own_time(files, work, rate, monkeypatch):
    """Every one of the film's frames is drawn, and hears from 80 ms before it begins, to the row."""
    timeline = line_of(rate, FRAMES + material.LEAD)
    pictures = list(read(work))
    monkeypatch.setattr("dubbing.media.read", lambda source, line, a, b, threads: iter(pictures[a:b]))
    drawer = Drawer()
    patches = rendered(files, replace(work, timeline=timeline), drawer)
    assert [p.frame for p in patches] == [f for one in work.lines for f in range(one.start_frame, one.end_frame)]
    begins = [timeline.time(n) - timeline.time(material.LEAD) for n in range(material.LEAD, len(timeline))]
    rows = [int(50 * t) - 4 for t in begins]
    heard = [int(row) for row in drawer.heard[0]]
    assert heard == rows[: len(heard)] and len(heard) == 14, "the line's 8 frames, 2 before and 4 behind it"


def read(work):
    from dubbing import media

    return media.read(work.source, work.timeline, 0, len(work.timeline))


# -- what goes back --------------------------------------------------------------------------


def test_only_the_lower_face_within_the_hole_goes_back(files, work):
    patches = rendered(files, work, Drawer(), size=256)
    plan = FacePlan(work, 4, 256)
    first = work.track.start_frame
    for patch in patches[14:20]:
        n = patch.frame - first
        mesh = plan.mesh_NP2[n]
        lips = np.rint(mesh[list(OUTER_LIPS)] - (patch.x, patch.y)).astype(int)
        assert (patch.matte_HW[lips[:, 1], lips[:, 0]] > 230).all()
        rows, columns = np.nonzero(patch.matte_HW)
        at = plan.moves_N23[n] @ np.stack([columns + patch.x, rows + patch.y, np.ones(len(rows))])
        x, y = np.clip(np.rint(at).astype(int), 0, 255)
        assert (mask.kept(256)[y, x] < 0.5).mean() > 0.999, "nothing outside the network's hole"
        assert rows.min() + patch.y > mesh[[33, 263], 1].max(), "and nothing of the eyes"


def test_what_is_drawn_as_it_was_stays_the_source_s_own(files, work):
    pictures = [picture.bgr() for picture in read(work)]
    for patch in rendered(files, work, Drawer(same=True), size=256)[12:18]:
        height, width = patch.matte_HW.shape
        source = pictures[patch.frame][patch.y : patch.y + height, patch.x : patch.x + width]
        off = np.abs(patch.bgr_HWC.astype(int) - source).max(2)
        assert np.median(off) == 0 and np.quantile(off, 0.9) <= 1, "but for lips, which are always the network's"


def test_a_face_that_leaves_the_picture_is_drawn_too(files, work):
    track = replace(work.track, mesh_NP3=work.track.mesh_NP3 + np.array([150, 120, 0], np.float32))
    patches = rendered(files, replace(work, track=track), Drawer())
    width, height = work.picture_wh
    assert patches and all(p.x + p.matte_HW.shape[1] <= width and p.y + p.matte_HW.shape[0] <= height for p in patches)


def test_a_photograph_and_a_draft(files, work):
    drawer = Drawer()
    still = replace(work, still=True, draft=True)
    assert len(rendered(files, still, drawer, steps=30, draft_steps=3)) == sum(
        one.end_frame - one.start_frame for one in work.lines
    )
    assert {steps for _, steps, _ in drawer.asked} == {3}
    assert not generators.create("latentsync", files, device="cpu").__class__.__dict__.get("performs")


def test_threads_change_nothing(files):
    torch.manual_seed(2)
    generator = generators.create("latentsync", files, device="cpu")
    faces = np.random.default_rng(3).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    audio = np.random.default_rng(4).normal(size=(3, 20, 64)).astype(np.float32)
    noise = np.random.default_rng(5).normal(size=(1, 4, 1, 8, 8)).astype(np.float32)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(LatentSync(generator.loaded())(faces, audio, noise, steps=2, guidance=1.5))
    torch.set_num_threads(1)
    np.testing.assert_array_equal(*found)
    keep = mask.kept(SIDE) == 1
    np.testing.assert_allclose(found[0][:, keep], faces[:, keep], atol=1e-3)


# -- files -----------------------------------------------------------------------------------


def test_the_size_is_the_checkpoint_s(files, tmp_path, monkeypatch):
    """Of a published file by its hash, whatever it is called; of another the manifest says it."""
    own = {k: v for k, v in files.items() if k != "size"}
    with pytest.raises(ManifestError, match="does not say for which size it was trained; say `size: 256`.*1.5.*512"):
        generators.create("latentsync", own)
    with open(files["model"], "rb") as f:
        held = hashlib.sha256(f.read()).hexdigest()
    kind = generators.find("latentsync")
    known = tuple(replace(m, sha256=held) if m.name == "latentsync_15_unet" else m for m in kind.published)
    monkeypatch.setattr(kind, "published", known)
    made = generators.create("latentsync", own)
    assert made.side == 256 and made.hash == generators.create("latentsync", {**own, "size": 256}).hash
    with pytest.raises(ManifestError, match="was trained at 256 pixels, not 512.* or name latentsync_16_unet by"):
        generators.create("latentsync", {**own, "size": 512})


def test_what_cannot_be_used_is_said_in_a_sentence(files, tmp_path, monkeypatch):
    monkeypatch.setenv("DUB_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="latentsync_16_unet.pt.*run `dub models pull latentsync`"):
        generators.create("latentsync", {})
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pt")
    for setting in ("model", "vae", "hearing"):
        with pytest.raises(ModelError, match="another architecture"):
            generators.create("latentsync", {**files, setting: str(tmp_path / "other.pt")}).check()
    for settings, said in (
        ({"size": 300}, "multiple of 64"), ({"overlap": 5, "batch": 8}, "at most half of batch, 4, not 5"),
        ({"steps": 0}, "greater than or equal to 1"), ({"model": "own.pt/"}, "relative path"),
    ):  # fmt: skip
        with pytest.raises(ManifestError, match=said):
            generators.create("latentsync", {**files, **settings})
    monkeypatch.setattr(generators.find("latentsync"), "modules", {"no_such_module": "diffusers"})
    with pytest.raises(PluginError, match=r"needs diffusers, which is not installed: pip install 'dubbing\[latentsync"):
        generators.create("latentsync", files).check()


def test_too_little_memory_of_a_gpu_is_said_with_what_fits():
    def need(batch, size):
        return memory_bytes(5_500_000_000, batch, size)

    assert needs.shortage("latentsync", need, 24 * 10**9, 16, 512) is None
    assert needs.shortage("latentsync", need, 6 * 10**9, 16, 512).endswith("`batch: 10` fits.")
    assert "not even one frame" in needs.shortage("latentsync", need, 4 * 10**9, 16, 512)


# -- the expert ------------------------------------------------------------------------------


def test_the_expert_sees_the_aligned_face_and_the_sound_under_it(tmp_path, work):
    torch.manual_seed(6)
    path = tmp_path / "expert.pt"
    torch.save({"state_dict": tiny.stable_syncnet().state_dict()}, path)
    expert = StableSyncNetExpert(path)
    assert models.find("stable_syncnet") in expert.published
    times = np.arange(8) / 25
    places = expert.crops(work.track.mesh_NP3, times)
    pictures = list(read(work))[material.LEAD :][:8]
    cut = np.stack([expert.cut(crop.published_bgr(p), at) for p, at in zip(pictures, places, strict=False)])
    plan = FacePlan(work, 4, 256)
    whole = plan.seen(plan.part(pictures[0]))
    assert np.abs(cut[0].astype(int) - whole).mean() < 6, "but for the track's smoothing and the colours"
    seen = expert.embed_video(cut, times)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    other = cut.copy()
    other[:, :128] = 0
    np.testing.assert_array_equal(expert.embed_video(other, times), seen)
    late = expert.embed_sound(work.wave, 0.04, 24)
    np.testing.assert_allclose(late[15], expert.embed_sound(work.wave, 0.24, 18)[10], atol=2e-2)


class Around:
    """An expert that takes means of what it sees in a window, and of 5 frames before and 6 behind."""

    crop_px, around = 8, (5, 6)

    def crops(self, mesh_NP3, times_s_N):
        return [crop.Crop(n, 0, n + 8, 8) for n in range(len(mesh_NP3))]

    def cut(self, whole_HWC, place):
        return np.full((8, 8, 3), whole_HWC[0, place.left, 0])

    def embed_video(self, frames_N, times_s_N):
        at = np.arange(lse.windows_in(times_s_N))[:, None] + np.arange(-5, 11)
        return frames_N[np.clip(at, 0, len(frames_N) - 1)].mean((2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("left_out", [(), (0, 3), (5, 9), (10, 40)])
def test_pictures_that_come_block_by_block_are_embedded_as_all_at_once(work, monkeypatch, left_out):
    monkeypatch.setattr(feed, "BLOCK", 7)
    times = np.arange(FRAMES) / 25
    pictures = np.random.default_rng(1).integers(0, 255, (FRAMES, 1, FRAMES, 1), np.uint8)
    wanted = np.ones(lse.windows_in(times), bool)
    wanted[slice(*left_out) if left_out else slice(0)] = False
    held = feed.Feed(Around(), work.track, times, wanted)
    for n, picture in enumerate(pictures):
        if held.wants(material.LEAD + n):
            held.give(picture)
    one = Around()
    whole = np.stack([one.cut(p, at) for p, at in zip(pictures, one.crops(pictures, times), strict=True)])
    np.testing.assert_array_equal(held.finish()[wanted], one.embed_video(whole, times)[wanted])
