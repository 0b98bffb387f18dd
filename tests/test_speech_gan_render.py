"""The generator `speech_gan`: where its face lies, what it hears, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from films import run
from people import meshes_of

from dubbing import config, generators, manifest, media, preflight
from dubbing.errors import ManifestError, ModelError
from dubbing.face import LIPS, yaw_deg
from dubbing.generators import RenderRequest
from dubbing.models import ModelStore
from dubbing.models.store import ENVIRONMENT
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.speech_gan import inputs
from dubbing.networks.speech_gan.judges import FrameJudge
from dubbing.networks.speech_gan.nets import NetworkShape, SpeechGANNet
from dubbing.networks.wav2lip import Wav2LipNet
from dubbing.records import Line, Track
from dubbing.shot_table import read_rows

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = 90  # three groups of ticks
SIZE = (300, 270)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network without training, in our own layout; its batch norms know what goes through it."""
    torch.manual_seed(1)
    net = SpeechGANNet(NetworkShape(width=8, audio=16))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net(torch.rand(1, 3, 128, 96), torch.randn(1, 8, 1, 13, 20), torch.randn(1, 8, 10))
    path = tmp_path_factory.mktemp("weights") / "my speech_gan.pth"
    torch.save({"state_dict": net.state_dict(), "model": "speech_gan", "settings": {"width": 8, "audio": 16}}, path)
    return path


def film_of(folder, rate, moves):
    """A portrait (public domain, NASA), standing, or drifting by a quarter of a pixel a frame; and its track."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[..., ::-1])[: SIZE[1], 80 : 80 + SIZE[0]]
    mesh = meshes_of([picture] * 3)[-1]
    shifts = [n // 4 if moves else 0 for n in range(FRAMES)]
    with media.ClipWriter(folder / "film.mp4", *SIZE, rate, crf=8) as clip:
        for shift in shifts:
            clip.frame(np.roll(picture, shift, axis=1))
    meshes = np.stack([mesh + (s, 0, 0) for s in shifts]).astype(np.float32)
    seen = np.ones(FRAMES, bool)
    track = Track("shot_0001/face_1", np.arange(FRAMES, dtype=np.int32), meshes, seen, yaw_deg(meshes), 200.0)
    samples = int(FRAMES / rate * 16_000)
    wave = np.random.default_rng(1).normal(0, 0.1, samples) * (np.sin(np.arange(samples) / 900) > 0)
    lines = (Line(track.id, 2, 10), Line(track.id, 14, FRAMES))
    line = media.timeline(folder / "film.mp4")
    return RenderRequest(
        folder / "film.mp4", line, SIZE, track, lines, wave.astype(np.float32), np.ones(FRAMES, bool), None,
        still=not moves,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["a photograph", "a moving picture at 24000/1001"])
def work(request, tmp_path_factory):
    moves = request.param != "a photograph"
    return film_of(tmp_path_factory.mktemp("film"), Fraction(24000, 1001) if moves else Fraction(25), moves)


@pytest.fixture(scope="module")
def generator(checkpoint):
    return generators.create("speech_gan", {"model": str(checkpoint)}, device="cpu")


@pytest.fixture(scope="module")
def whole(generator, work):
    return [one.patch for one in generator.render(work)]


class StandIn:
    """A network whose drawing is known: the still, changed by `change`. Keeps what it was given."""

    def __init__(self, change=lambda face: face):
        self.change, self.heard, self.seen = change, [], []

    def see(self, still):
        self.seen.append(still)
        return still

    def hear(self, mfcc, noise, state=None):
        begins = 0 if state is None else state
        self.heard.append(mfcc)
        return np.arange(begins, begins + len(mfcc), dtype=np.float32)[:, None], begins + len(mfcc)

    def draw(self, seen, codes):
        return np.stack([self.change(seen.astype(np.float32)) for _ in codes])


def rendered(generator, work, network):
    kept = generator.net
    generator.net = network
    try:
        return [one.patch for one in generator.render(work)]
    finally:
        generator.net = kept


# -- what changes ----------------------------------------------------------------------------


def test_only_the_lower_half_of_the_face_may_change_and_there_it_does(whole, work):
    boxes = detector_boxes(work.track.mesh_NP3)
    for patch in whole[:: FRAMES // 6]:
        box = boxes[patch.frame]
        rows, columns = np.nonzero(patch.matte_HW)
        assert patch.y + rows.min() >= (box[1] + box[3]) / 2 - 0.05 * (box[3] - box[1])
        assert patch.x + columns.min() > box[0] - 1 and patch.x + columns.max() < box[2] + 1
        assert patch.matte_HW[[0, -1]].max() == patch.matte_HW[:, [0, -1]].max() == 0
        assert ((patch.matte_HW > 0) & (patch.matte_HW < 255)).sum() > 0.1 * (patch.matte_HW > 0).sum()
    last = whole[-1]
    lips = np.rint(work.track.mesh_NP3[last.frame, list(LIPS), :2] - (last.x, last.y)).astype(int)
    assert last.matte_HW[lips[:, 1], lips[:, 0]].min() > 200
    (source,) = media.read(work.source, work.timeline, last.frame, last.frame + 1)
    before = source.bgr(box=(last.x, last.y, *last.matte_HW.shape[::-1])).astype(int)
    assert np.abs(last.bgr_HWC - before)[last.matte_HW > 200].mean() > 5, "nonsense, without training, but there"


def test_the_sound_decides_what_is_drawn(generator, work, whole):
    other = [one.patch for one in generator.render(replace(work, wave=work.wave[::-1].copy()))]
    apart = [np.abs(a.bgr_HWC.astype(int) - b.bgr_HWC).max() for a, b in zip(whole, other, strict=True)]
    assert max(apart) > 0
    assert all((a.matte_HW == b.matte_HW).all() for a, b in zip(whole, other, strict=True))


def test_memory_does_not_grow_with_the_line(generator, work):
    voices = []
    network = StandIn()
    network.see = lambda still: voices.append(1) or still
    rendered(generator, work, network)
    assert len(voices) == len(work.lines), "one still a line is all that is held"
    assert max(len(mfcc) for mfcc in network.heard) == 32


# -- where and when --------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["a photograph"], indirect=True)
def test_a_network_that_draws_the_still_leaves_a_photographs_skin_as_it_was(generator, work):
    for patch in rendered(generator, work, StandIn())[::20]:
        (source,) = media.read(work.source, work.timeline, patch.frame, patch.frame + 1)
        before = source.bgr(box=(patch.x, patch.y, *patch.matte_HW.shape[::-1])).astype(int)
        lips = work.track.mesh_NP3[patch.frame, list(LIPS), :2] - (patch.x, patch.y)
        skin = patch.matte_HW > 0.4 * patch.matte_HW.max()
        low, high = np.floor(lips.min(0) - 5).astype(int), np.ceil(lips.max(0) + 6).astype(int)
        skin[low[1] : high[1], low[0] : high[0]] = False
        assert np.abs(patch.bgr_HWC - before)[skin].mean() < 0.6


def test_what_the_network_draws_is_where_it_drew_it(generator, work):
    """A white bar in the network's picture ends up at the same place of every box, wherever the face has moved."""

    def bar(face):
        face[90:96, 30:66] = 255
        return face

    boxes = detector_boxes(work.track.mesh_NP3)
    for patch in rendered(generator, work, StandIn(bar))[::10]:
        box = boxes[patch.frame]
        rows, columns = np.nonzero(patch.bgr_HWC.min(2) > 235)
        x, y = (columns.mean() + 0.5 + patch.x - box[0]) / (box[2] - box[0]), rows.mean() + 0.5 + patch.y - box[1]
        assert x == pytest.approx(0.5, abs=0.03)
        assert y / (box[3] - box[1]) == pytest.approx(93 / 128 * 1.06, abs=0.03)


def test_the_still_is_the_photograph_or_each_lines_first_frame(generator, work):
    network = StandIn()
    rendered(generator, work, network)
    assert len(network.seen) == 2 and network.seen[0].shape == (128, 96, 3)
    same = bool((network.seen[0] == network.seen[1]).all())
    assert same == work.still
    part = StandIn()
    rendered(generator, replace(work, window=(50, 52)), part)
    assert len(part.seen) == 1 and (part.seen[0] == network.seen[1]).all()


def test_each_frame_is_drawn_of_what_is_heard_at_its_middle(generator, work):
    codes = []
    network = StandIn()
    network.draw = lambda seen, code: codes.append(float(code[0, 0])) or seen[None].astype(np.float32)
    rendered(generator, work, network)
    begins = work.timeline.time(14)
    middle_s = [float((work.timeline.time(n) + work.timeline.time(n + 1)) / 2 - begins) for n in range(14, FRAMES)]
    wanted = np.maximum(np.array(middle_s) * 25 - 0.5, 0)
    np.testing.assert_allclose(codes[8:], wanted, atol=0.01)


def test_only_speech_is_heard_and_what_precedes_the_line_too(generator, work):
    silent = StandIn()
    quiet = np.ones(FRAMES, bool)
    quiet[:40] = False
    rendered(generator, replace(work, speech_N=quiet), silent)
    first, second = silent.heard[0], np.concatenate(silent.heard[1:])
    assert (first[:8, 0, 0] == -4).all() and (second[:15, 0, 0] == -4).all() and (second[40:, 0, 0] > -4).any()
    loud = StandIn()
    rendered(generator, work, loud)
    begins = int((work.timeline.time(14) - work.timeline.time(0)) * 16_000)
    wanted = inputs.windows(work.wave, begins, 1)
    assert np.abs(np.concatenate(loud.heard[1:])[0] - wanted[0]).max() < 1e-5


# -- settings and checkpoints ----------------------------------------------------------------


def test_settings_are_checked_and_name_the_result(generator, checkpoint, work, whole):
    other = generators.create("speech_gan", {"model": str(checkpoint), "seed": 1}, device="cpu")
    assert len(generator.hash) == 12 and other.hash != generator.hash
    drawn = [one.patch for one in other.render(replace(work, window=(20, 40)))]
    assert any((a.bgr_HWC != b.bgr_HWC).any() for a, b in zip(drawn, whole[14:], strict=False))
    with pytest.raises(ManifestError, match="generator speech_gan: sead.*it knows model, ramp_frames, seed"):
        generators.create("speech_gan", {"sead": 1, "model": str(checkpoint)})
    with pytest.raises(ManifestError, match="generator speech_gan.*relative path"):
        generators.create("speech_gan", {"model": "./w.pth"})
    assert set(generators.settings("speech_gan")) == {"model", "seed", "ramp_frames"}
    made = generators.create("speech_gan", {"model": str(checkpoint)})
    made.check()
    assert (made.name, made.hash) == ("speech_gan", generator.hash)


def test_a_checkpoint_of_another_model_is_one_sentence(tmp_path):
    for n, net in enumerate((FrameJudge(NetworkShape(8, 16)), Wav2LipNet())):
        path = tmp_path / f"{n}.pth"
        torch.save({"state_dict": net.state_dict()}, path)
        with pytest.raises(ModelError, match="checkpoint of another architecture: the file has no") as caught:
            generators.create("speech_gan", {"model": str(path)}).check()
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="generator speech_gan: there is no checkpoint '/nowhere/x.pth'"):
        generators.create("speech_gan", {"model": "/nowhere/x.pth"})


def test_a_trained_one_is_added_by_name_and_used(checkpoint, tmp_path, generator, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(
        ModelError,
        match="'speech_gan' is not on this machine.*`dub train speech_gan` makes.*dub models add speech_gan FILE",
    ):
        generators.create("speech_gan", {}, str(tmp_path))
    ModelStore(tmp_path).add("speech_gan", checkpoint)
    own = generators.create("speech_gan", {}, str(tmp_path), device="cpu")
    own.check()
    assert own.hash == generator.hash


# -- a whole run -----------------------------------------------------------------------------


@pytest.mark.long
def test_a_photograph_is_run_and_a_foreign_checkpoint_stops_it_before_any_work(checkpoint, tmp_path, demo_extra):
    from dubbing.demo.portrait import photograph
    from dubbing.demo.voice import Utterance, say

    picture = np.ascontiguousarray(photograph("astronaut.png")[:276, 80:380])
    cv2.imwrite(str(tmp_path / "portrait.png"), picture)
    voice = say([Utterance("Open the map.", "en-us", 1.2)])[0].samples
    with media.ClipWriter(tmp_path / "fr.flac", sample_rate_hz=48_000, channels=1) as clip:
        clip.sound(np.pad(voice, (9_600, 4_800)).astype(np.float32)[:, None])
    job = {
        "version": 1, "generator": {"name": "speech_gan", "model": str(checkpoint)},
        "titles": [{"id": "still", "video": "portrait.png", "still": {"motion": "none", "blinks": False},
                    "dubs": [{"language": "fr", "audio": "fr.flac"}]}],
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    assert run(tmp_path / "job.yaml", tmp_path / "out").exit_code in (0, 3)
    (row,) = read_rows(tmp_path / "out" / "still" / "fr" / "shots.parquet")
    assert (row["status"], row["generator"]) == ("dubbed", "speech_gan") and len(row["generator_hash"]) == 12
    master = tmp_path / "out" / "still" / "fr" / "still.fr.mp4"
    shown = [p.bgr().astype(np.float32) for p in media.read(master, media.timeline(master))]
    changed = np.max([np.abs(cv2.blur(p - picture, (9, 9))).max(2) for p in shown], 0)  # the encoder's grain is finer
    rows, columns = np.nonzero(changed > 8)
    face = meshes_of([picture] * 3)[-1]
    assert len(rows) > 1000 and rows.min() > face[[33, 263], 1].max(), "below the eyes"
    assert columns.min() > face[:, 0].min() and columns.max() < face[:, 0].max()
    torch.save(FrameJudge(NetworkShape(8, 16)).state_dict(), tmp_path / "other.pth")
    job["generator"]["model"] = str(tmp_path / "other.pth")
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    with pytest.raises(ModelError, match="checkpoint of another architecture"):
        preflight.look(manifest.load(tmp_path / "job.yaml"), config.load(), tmp_path / "none").raise_first()
    assert not (tmp_path / "none").exists()
