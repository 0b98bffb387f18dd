"""Dissolves and fades: found in pictures whose mixes are known, and nowhere else; no face is followed into one."""

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import put

from dubbing import media
from dubbing.analysis.mixes import MixFinder, mixed_in
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import load_tracks
from dubbing.dataset.segment import Segment
from dubbing.mesh import Detector, Meshes
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.stages.shots import Shots, ShotsInputs

CASES = Path(__file__).parents[2] / "shared" / "cases"
BEFORE = 25  # frames before a mix, and after it
Picture = np.ndarray


def scene(seed: int) -> Picture:
    """A random picture of soft and sharp shapes, larger than what is shown of it, float32 (240, 420, 3)."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.uniform(20, 235, (6, 10, 3)).astype(np.float32), (420, 240), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y, wide, high = rng.integers((0, 0, 20, 20), (400, 220, 90, 90)).tolist()
        cv2.rectangle(picture, (x, y), (x + wide, y + high), rng.uniform(10, 245, 3).tolist(), -1)
    return picture.clip(0, 255)


def shot(seed: int, frames: int, speed: float = 0.3) -> list[Picture]:
    """A camera that drifts over one scene, in which something small moves."""
    out = []
    for n in range(frames):
        move = np.array([[1, 0, -20 - n * speed], [0, 1, -30]], np.float32)
        picture = cv2.warpAffine(scene(seed), move, (256, 144))
        cv2.circle(picture, (40 + 2 * n, 90), 14, (30, 60, 200), -1)
        out.append(picture)
    return out


def dissolve(one: list[Picture], other: list[Picture], length: int) -> list[Picture]:
    """`BEFORE` frames of one, then `length` in which it becomes the other, then `BEFORE` of that."""
    parts = np.clip((np.arange(BEFORE * 2 + length) - BEFORE + 1) / (length + 1), 0, 1)
    shown = [min(n, len(one) - 1) for n in range(len(parts))]
    later = [min(max(0, n - BEFORE), len(other) - 1) for n in range(len(parts))]
    return [(1 - a) * one[i] + a * other[j] for a, i, j in zip(parts, shown, later, strict=True)]


def found(pictures: Sequence[Picture], rate: int = 25, noise: float = 3.0) -> list[tuple[int, int]]:
    finder, rng = MixFinder(Fraction(rate)), np.random.default_rng(5)
    for picture in pictures:
        finder.feed((picture + rng.normal(0, noise, picture.shape)).round().clip(0, 255).astype(np.uint8))
    return finder.finish()


def near(ranges: list[tuple[int, int]], length: int, slack: int = 2) -> bool:
    """Whether one mix of `length` frames was found where `dissolve` has it."""
    if len(ranges) != 1:
        return False
    ((start, end),) = ranges
    return abs(start - BEFORE) <= slack and abs(end - BEFORE - length) <= slack


class TestFound:
    @pytest.mark.parametrize("length", [8, 12, 24])
    @pytest.mark.parametrize("rate", [24, 25, 30])
    def test_a_dissolve_between_two_moving_pictures(self, length: int, rate: int) -> None:
        film = dissolve(shot(1, BEFORE + length), shot(2, BEFORE + length), length)
        assert near(found(film, rate), length)

    @pytest.mark.parametrize("plain", [0.0, 16.0, 250.0])
    def test_fades(self, plain: float) -> None:
        flat = [np.full((144, 256, 3), plain, np.float32)]
        assert near(found(dissolve(shot(3, BEFORE + 20), flat, 20)), 20)
        assert near(found(dissolve(flat, shot(3, BEFORE + 20), 20)), 20)

    def test_at_sixty_frames_a_second(self) -> None:
        assert near(found(dissolve(shot(1, 64, 0.1), shot(2, 64, 0.1), 39), 60), 39, slack=4)

    def test_two_in_a_row_stay_two(self) -> None:
        one = dissolve(shot(1, 40), shot(2, 60), 12)
        film = one[:-BEFORE] + dissolve(shot(2, 60)[12:], shot(4, 40), 12)
        ranges = found(film)
        assert len(ranges) == 2
        assert abs(ranges[1][0] - 2 * BEFORE - 12) <= 2

    def test_what_it_holds_does_not_grow(self) -> None:
        finder, film = MixFinder(Fraction(25)), [p.astype(np.uint8) for p in shot(1, 40)]
        for _ in range(10):
            for picture in film:
                finder.feed(picture)
        assert finder.finish() == []


class TestNotFound:
    def test_a_camera_that_moves(self) -> None:
        for speed in (0.5, 2.0, 5.0):
            assert found(shot(1, 60, speed)) == []

    def test_a_zoom(self) -> None:
        wide = scene(6)
        film = []
        for n in range(60):
            high, across = int(120 - n * 0.9), int(210 - n * 1.6)
            part = wide[120 - high : 120 + high, 210 - across : 210 + across]
            film.append(cv2.resize(part, (256, 144), interpolation=cv2.INTER_AREA))
        assert found(film) == []

    def test_a_flash_and_a_cut(self) -> None:
        film = shot(1, 50)
        film[20:23] = [film[20] * 0.5 + 120, np.full((144, 256, 3), 250, np.float32), film[22] * 0.7 + 70]
        assert found(film + shot(2, 40)) == []

    def test_a_lamp_that_is_turned_down(self) -> None:
        side = np.linspace(0.1, 0.5, 256, dtype=np.float32)[None, :, None]
        light = [1 - min(max(n - 20, 0) / 15, 1) * side for n in range(60)]
        assert found([p * k for p, k in zip(shot(1, 60), light, strict=True)]) == []

    def test_something_large_that_crosses(self) -> None:
        film = shot(1, 60)
        for n, picture in enumerate(film):
            picture[:, max(0, n * 8 - 240) : max(0, n * 8)] = (40, 50, 60)
        assert found(film) == []

    def test_a_wipe(self) -> None:
        one, other = shot(1, 60), shot(2, 60)
        film = [np.where(np.arange(256)[None, :, None] < 256 * (n - 20) / 20, b, a)
                for n, (a, b) in enumerate(zip(one, other, strict=True))]  # fmt: skip
        assert found(film) == []

    def test_a_caption_that_fades_in(self) -> None:
        film = shot(1, 60, 0.0)
        for n, picture in enumerate(film):
            a = min(max(n - 20, 0) / 12, 1)
            picture[115:135, 40:216] = (1 - a) * picture[115:135, 40:216] + a * 240
        assert found(film) == []

    def test_stills_and_no_frames(self) -> None:
        assert found([shot(1, 1)[0]] * 60) == []
        assert MixFinder(Fraction(25)).finish() == []


def test_what_of_mixes_lies_in_a_shot() -> None:
    assert mixed_in([(5, 12), (20, 30)], 10, 25) == ((10, 12), (20, 25))
    assert mixed_in([(5, 12)], 12, 25) == ()


@pytest.mark.parametrize("given", [False, True], ids=["found cuts", "a cut list"])
def test_the_stage_keeps_them_through_compression(tmp_path: Path, given: bool) -> None:
    film, edl, out = tmp_path / "film.mp4", tmp_path / "cuts.edl", tmp_path / "out"
    with media.ClipWriter(film, 256, 144, Fraction(25), crf=26) as clip:
        for picture in dissolve(shot(1, 40), shot(2, 40), 12):
            clip.frame(picture.round().clip(0, 255).astype(np.uint8))
    edl.write_text("001 REEL V C 00:00:00:00 00:00:02:12 00:00:00:00 00:00:02:12\n")
    out.mkdir()
    listed = File(edl, "") if given else None
    result = Shots().process(ShotsInputs(File(film, ""), listed, 3.0, 6), out, lambda n: None)
    assert near(list(result.mixes), 12)


@pytest.fixture(scope="module")
def portrait() -> Picture:
    """A photograph of a face on grey, float32 (360, 480, 3)."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image for its photograph")
    picture = np.full((360, 480, 3), 90, np.float32)
    picture[60:260, 120:320] = data.astronaut()[10:210, 120:320, ::-1]
    return picture


def test_training_data_ends_before_a_dissolve(tmp_path: Path, portrait: Picture) -> None:
    other = [cv2.resize(picture, (480, 360)) for picture in shot(2, 40)]
    with media.ClipWriter(tmp_path / "film.mp4", 480, 360, Fraction(25), crf=10) as clip:
        for picture in dissolve([portrait], other, 12):
            clip.frame(picture.round().clip(0, 255).astype(np.uint8))
    detector, meshes = Detector(), Meshes()
    try:
        segment = Segment(detector, meshes, (480, 360), 64)
        line = media.timeline(tmp_path / "film.mp4")
        for picture in media.read(tmp_path / "film.mp4", line, 0, len(line)):
            segment.step(picture)
        (run,) = segment.finish()
    finally:
        detector.close()
        meshes.close()
    assert run.start == 0
    assert BEFORE - 5 <= run.end <= BEFORE


def test_no_face_is_followed_through_a_dissolve(tmp_path: Path, portrait: Picture) -> None:
    with media.ClipWriter(tmp_path / "film.mp4", 480, 360, Fraction(25), crf=10) as clip:
        for _ in range(40):
            clip.frame(portrait.astype(np.uint8))
    cut = put(tmp_path, ShotList(40, ((0, 40),), ((15, 25),)))
    media.save_timeline(tmp_path, media.timeline(tmp_path / "film.mp4"))
    stage, seen = Faces(), []
    stage.setup()
    try:
        inputs = FacesInputs(0, 40, File(tmp_path / "film.mp4", ""), 1, cut, mixes=((15, 25),))
        stage.process(inputs, tmp_path, seen.append)
    finally:
        stage.close()
    assert sum(seen) == 40
    assert sorted((t.start_frame, t.end_frame) for t in load_tracks(tmp_path)) == [(0, 15), (25, 40)]


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
def test_a_woman_who_dissolves_into_a_man_is_two_faces(tmp_path: Path) -> None:
    script = CASES / "w14_hard_shots.py"
    subprocess.run([sys.executable, "-B", script.name, str(tmp_path)], cwd=CASES, check=True)
    film, out = File(tmp_path / "film.mp4", ""), tmp_path / "out"
    out.mkdir()
    listed = Shots().process(ShotsInputs(film, None, 3.0, 6), out, lambda n: None)
    ((start, end),) = listed.mixes
    assert listed.cuts[2] == (100, 190)
    assert 131 <= start <= 133
    assert 156 <= end <= 158
    stage = Faces()
    stage.setup()
    try:
        stage.process(FacesInputs(100, 190, film, 3, put(out, listed), mixes=listed.mixes), out, lambda n: None)
    finally:
        stage.close()
    assert sorted((t.start_frame, t.end_frame) for t in load_tracks(out)) == [(100, start), (end, 190)]
