"""A data folder: what is written comes back, a stretch is a part of the whole, and what is broken is named."""

import pickle
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dubbing import media
from dubbing.clock import Timeline
from dubbing.dataset import shards
from dubbing.dataset.faces import CROPS, face_boxes
from dubbing.dataset.reading import Sound, even
from dubbing.dataset.segment import REACH
from dubbing.dataset.shards import Clip, Dataset, Sample, pack, unpack, write_index, write_shard
from dubbing.errors import InputError
from dubbing.face import OUTER_LIPS
from dubbing.generators import square
from dubbing.generators.musetalk import MuseTalk
from dubbing.media import ClipWriter
from dubbing.records import Track

SIZE = 32


def made(seed: int, frames: int, lead: int = 3000, tail: int = 2000) -> Clip:
    """A clip of smooth pictures and noise."""
    rng = np.random.default_rng(seed)
    faces = [cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (SIZE, SIZE)) for _ in range(frames)]
    wave = rng.uniform(-1, 1, lead + frames * 640 + tail).astype(np.float32)
    shapes = rng.normal(0, 1, (frames, 40, 2)).astype(np.float32)
    lips = rng.uniform(0, 1, (frames, 4)).astype(np.float32)
    return Clip(np.stack(faces), wave, lead, shapes, lips, tail)


def folder_of(folder: Path, clips: dict[str, Clip], seed: str = "") -> Path:
    """A data folder of these clips, two to a shard; the clips' first letters are their speakers."""
    samples: list[Sample] = []
    names = list(clips)
    for n in range(0, len(names), 2):
        chosen = [
            (Sample(i, i[0], "val" if i[0] == "v" else "train", 0, f"{i}.mp4"), clips[i]) for i in names[n : n + 2]
        ]
        samples += write_shard(folder, f"all-{n // 2:04d}", chosen)
    write_index(folder, samples, note=seed)
    return folder


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "data", {"a1": made(1, 9), "v1": made(2, 40), "b1": made(3, 7, lead=0, tail=0)})


def test_what_is_written_comes_back(three: Path) -> None:
    data = Dataset(three)
    assert [(s.id, s.speaker, s.split, s.frames, s.shard, s.row) for s in data.samples] == [
        ("a1", "a", "train", 9, "all-0000", 0), ("v1", "v", "val", 40, "all-0000", 1),
        ("b1", "b", "train", 7, "all-0001", 0),
    ]  # fmt: skip
    assert [s.id for s in data.of("train")] == ["a1", "b1"] and not data.of("test")
    given, got = made(1, 9), data.load(data.samples[0], tail=10**6)
    assert (got.lead, got.tail) == (3000, 2000) and got.faces_NHWC.shape == (9, SIZE, SIZE, 3)
    assert np.abs(got.faces_NHWC.astype(int) - given.faces_NHWC).mean() < 2
    np.testing.assert_allclose(got.wave, given.wave, atol=1 / 32767)
    np.testing.assert_array_equal(got.shapes_NP2, given.shapes_NP2)
    np.testing.assert_array_equal(got.lips_N4, given.lips_N4)
    assert (got.faces_NHWC.dtype, got.wave.dtype) == (np.uint8, np.float32)
    again = pack(got)
    np.testing.assert_array_equal(again.wave, pack(given).wave)


def test_a_stretch_is_the_same_part_of_the_whole(three: Path) -> None:
    data = pickle.loads(pickle.dumps(Dataset(three)))
    sample = data.of("val")[0]
    whole = data.load(sample)
    assert len(whole.wave) == whole.lead + 40 * 640 and whole.tail == 0
    for first, count, lead in ((0, 5, 3000), (2, 5, 3000 + 2 * 640), (20, 20, 8000), (39, None, 8000)):
        part = data.load(sample, first, count)
        held = 40 - first if count is None else count
        assert (len(part.faces_NHWC), part.lead, part.tail) == (held, lead, 0)
        for name in ("faces_NHWC", "shapes_NP2", "lips_N4"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[first : first + held])
        begins = whole.lead + first * 640
        np.testing.assert_array_equal(part.wave, whole.wave[begins - lead : begins + held * 640])
    with_more = data.load(sample, 2, 5, tail=640)
    np.testing.assert_array_equal(with_more.wave, whole.wave[: 3000 + 8 * 640])
    for first, count in ((-1, 2), (40, 1), (38, 3), (3, 0)):
        with pytest.raises(ValueError, match="which has 40"):
            data.load(sample, first, count)


def test_only_the_frames_that_are_asked_for_are_decoded(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = cv2.imdecode
    monkeypatch.setattr(shards.cv2, "imdecode", lambda *a: decoded.append(1) or real(*a))
    data = Dataset(three)
    data.load(data.samples[1], 30, 5)
    assert len(decoded) == 5


def test_the_hash_is_of_the_content(three: Path, tmp_path: Path) -> None:
    clips = {"a1": made(1, 9), "v1": made(2, 40), "b1": made(3, 7, lead=0, tail=0)}
    first = Dataset(three).hash
    again = folder_of(tmp_path / "again", clips, seed="other words")
    assert len(first) == 12 and Dataset(again).hash == first
    for name in ("all-0000", "all-0001"):
        assert shards_bytes(again, name) == shards_bytes(three, name)
    louder = replace(clips["b1"], wave=clips["b1"].wave * np.float32(0.5))
    assert Dataset(folder_of(tmp_path / "other", {**clips, "b1": louder})).hash != first


def shards_bytes(folder: Path, name: str) -> bytes:
    return (folder / "shards" / f"{name}.parquet").read_bytes()


def test_a_folder_that_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "spk").mkdir()
    (tmp_path / "spk/clip.mp4").touch()
    with pytest.raises(InputError, match=r"is no data folder: it holds clip.mp4, and no index.parquet; `dub dataset"):
        Dataset(tmp_path / "spk")
    with pytest.raises(InputError, match=r"There is no folder"):
        Dataset(tmp_path / "absent")
    pq.write_table(pa.table({"shot": ["a"]}, metadata={"schema": "dub.shot.1"}), tmp_path / "spk/index.parquet")
    with pytest.raises(InputError, match=r"of schema dub.shot.1, this version reads dub.dataset.1"):
        Dataset(tmp_path / "spk")
    pq.write_table(
        pa.table({"id": ["a"], "x": [1]}, metadata={"schema": "dub.dataset.1"}), tmp_path / "spk/index.parquet"
    )
    with pytest.raises(InputError, match=r"its columns are id, x"):
        Dataset(tmp_path / "spk")
    (tmp_path / "spk/index.parquet").write_bytes(b"PAR1 and more")
    with pytest.raises(InputError, match=r"index.parquet cannot be read"):
        Dataset(tmp_path / "spk")


def test_a_shard_that_is_absent_or_broken_is_named_with_its_clip(three: Path) -> None:
    data = Dataset(three)
    path = three / "shards/all-0000.parquet"
    whole = path.read_bytes()
    picture = whole.index(b"\xff\xd8\xff")  # one bit of the first JPEG
    turned = whole[: picture + 200] + bytes([whole[picture + 200] ^ 4]) + whole[picture + 201 :]
    for broken in (whole[: len(whole) // 2], b"", turned):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"Shard all-0000 of .* is broken at clip a1 \(.*\); delete") as caught:
            Dataset(three).load(data.samples[0])
        assert "\n" not in str(caught.value)
    assert Dataset(three).load(data.samples[2]).shapes_NP2.shape == (7, 40, 2), "the others are read"
    path.write_bytes((three / "shards/all-0001.parquet").read_bytes())
    with pytest.raises(InputError, match=r"broken at clip a1 \(it holds b1 there"):
        Dataset(three).load(data.samples[0])
    path.unlink()
    with pytest.raises(InputError, match=r"lacks 1 of its shards \(all-0000\)"):
        Dataset(three)


def test_a_picture_that_is_no_picture_is_named() -> None:
    packed = pack(made(1, 3))
    with pytest.raises(ValueError, match="the picture of frame 1 cannot be decoded"):
        unpack(replace(packed, faces=(packed.faces[0], b"no jpeg", packed.faces[2])))


def test_what_does_not_fit_together_is_not_written(tmp_path: Path) -> None:
    clip, sample = made(1, 5), Sample("a", "anna", "train", 0, "a.mp4")
    for wrong in (replace(clip, wave=clip.wave[1:]), replace(clip, lips_N4=clip.lips_N4[1:]), replace(clip, lead=-1)):
        with pytest.raises(ValueError):
            write_shard(tmp_path, "one", [(sample, wrong)])
        assert not list((tmp_path / "shards").iterdir()), "nothing half-written stays"
    with pytest.raises(ValueError, match="anna stands in val and in train"):
        write_index(tmp_path, [sample, replace(sample, id="b", split="val")])
    with pytest.raises(ValueError, match="same id"):
        write_index(tmp_path, [sample, sample])


@pytest.mark.parametrize("crop", CROPS)
def test_a_face_is_boxed_as_generators_box_it(crop: str) -> None:
    """What is trained on and what is rendered are looked at in one way."""
    rng = np.random.default_rng(1)
    mesh = (
        rng.uniform(100, 200, (1, 478, 3)).repeat(30, 0) + rng.normal(0, 2, (30, 1, 3)) + rng.normal(0, 1, (30, 478, 3))
    )
    mesh[:, list(OUTER_LIPS), 1] = 128  # high enough to be raised for
    line = Timeline(np.arange(30), Fraction(1, 25), 30, Fraction(25))
    track = Track("shot_0001/face_1", np.arange(30, dtype=np.int32), mesh.astype(np.float32), np.ones(30, bool),
                  np.zeros(30, np.float32), 100.0)  # fmt: skip
    work = SimpleNamespace(track=track, timeline=line, picture_wh=(400, 300), wave=np.zeros(16_000 * 2, np.float32),
                           speech_N=np.ones(30, bool), still=False, fade=lambda frames: np.ones(30),
                           overlays=None)  # fmt: skip
    drawn = SimpleNamespace(settings=SimpleNamespace(margin=None, shift=0.0), release="1.5")
    boxes_of = square.steady_boxes if crop == CROPS[0] else partial(MuseTalk.boxes, drawn)
    plan = square.CropPlan(work, 4, boxes_of)  # type: ignore[arg-type]
    np.testing.assert_allclose(face_boxes(track.mesh_NP3, REACH, crop), plan.boxes_N4, atol=1e-3)
    # a frame alone with what is smoothed over it: as it passes by, not yet knowing the rest
    part = face_boxes(track.mesh_NP3[10 - REACH : 11 + REACH], REACH, crop)[REACH]
    np.testing.assert_allclose(part, plan.boxes_N4[10], atol=1e-3)


@pytest.mark.parametrize(("rate", "shown"), [(25, [0, 1, 2, 3, 4, 5]), (50, [0, 2, 4, 6, 8, 10]),
                                             (30, [0, 1, 2, 4, 5, 6])])  # fmt: skip
def test_pictures_at_25_a_second(tmp_path: Path, rate: int, shown: list[int]) -> None:
    """At each instant the picture that begins nearest; as many as the film lasts."""
    with ClipWriter(tmp_path / "film.mp4", 64, 48, Fraction(rate), crf=0) as clip:
        for n in range(2 * rate):
            clip.frame(np.full((48, 64, 3), 20 + 18 * min(n, 12), np.uint8))
    pictures = list(even(media.scan(tmp_path / "film.mp4")))
    assert [p.frame for p in pictures] == list(range(50))
    assert [round((float(p.bgr().mean()) - 20) / 18) for p in pictures[:6]] == shown


def test_of_a_long_sound_only_what_was_not_forgotten_is_held(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "film.wav", sample_rate_hz=16_000, channels=1) as clip:
        for _ in range(60):
            clip.sound(np.full((16_000, 1), 0.1, np.float32))
    sound = Sound(tmp_path / "film.wav")
    tracemalloc.start()
    for first in range(0, 60 * 16_000, 8_000):
        assert sound.between(first, first + 8_000).min() > 0.09
        sound.forget(first + 8_000)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 10 * 16_000 * 4, "a few seconds of a minute"


def test_sound_beside_the_pictures(tmp_path: Path) -> None:
    """Any stretch of it, and silence outside."""
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 5 * 16_000).astype(np.float32)
    with ClipWriter(tmp_path / "film.wav", sample_rate_hz=16_000, channels=1) as clip:
        clip.sound(wave[:, None])
    sound = Sound(tmp_path / "film.wav")
    np.testing.assert_allclose(sound.between(100, 20_000), wave[100:20_000], atol=1e-4)
    sound.forget(30_000)
    assert (sound.reaches(70_000), sound.reaches(90_000)) == (70_000, 80_000)
    np.testing.assert_allclose(sound.between(79_000, 81_000), np.pad(wave[79_000:], (0, 1000)), atol=1e-4)
