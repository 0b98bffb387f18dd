"""What hides a mouth: found, told apart from what a face does by itself, and said.

Most films are made here from one photograph in scikit-image's wheel (astronaut, NASA, public domain).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import ref

from dubbing import media
from dubbing.analysis.occluders import COLS, ROWS, covered_frames, lips_outside, unlike
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import Limits, facing, hidden_reason, in_sight, load_tracks, save_tracks, unfit
from dubbing.face import canonical, height_px, mouth_measures, roll_deg, yaw_deg
from dubbing.mesh import box_back, points_back, points_turned, turn_of, turned
from dubbing.records import OCCLUDED, OUT_OF_FRAME, Track
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.testing import material

RATE = Fraction(25)
SIZE = (480, 360)
FRAMES = 60
SKIN, LIPS = (196, 150, 128), (170, 92, 92)


Run = Callable[[list[np.ndarray]], list[Track]]


@pytest.fixture
def run(stage: Faces, tmp_path: Path) -> Run:
    def one(pictures: list[np.ndarray]) -> list[Track]:
        path = tmp_path / "film.mp4"
        height, width = pictures[0].shape[:2]
        with media.ClipWriter(path, width, height, RATE, crf=10) as clip:
            for picture in pictures:
                clip.frame(picture)
        return tracks_of(stage, path, tmp_path, 0, len(pictures))

    return one


def tracks_of(stage: Faces, path: Path, folder: Path, start: int, end: int) -> list[Track]:
    media.save_timeline(folder, media.timeline(path))
    stage.process(FacesInputs(start, end, File(path, ""), 7, ref(ShotList, folder)), folder, lambda frames: None)
    return load_tracks(folder)


def scene(head: np.ndarray, x: float, y: float) -> np.ndarray:
    """A head with its left top at (x, y) before a plain wall."""
    picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    cv2.warpAffine(head, move, SIZE, dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def skins(frames: int = FRAMES) -> np.ndarray:
    """A lower face that was unwrapped, with lips, of one skin and some noise."""
    rng = np.random.default_rng(1)
    out = np.full((frames, ROWS, COLS, 3), SKIN, np.float32)
    cv2.ellipse(base := np.zeros((ROWS, COLS), np.uint8), (22, 18), (10, 4), 0, 0, 360, 1, -1)
    out[:, base > 0] = LIPS
    return np.clip(out + rng.normal(0, 4, out.shape), 0, 255).astype(np.uint8)


def parts(skin_NHWC: np.ndarray) -> np.ndarray:
    return unlike(skin_NHWC, material.face(np.full(len(skin_NHWC), 0.1)), (4000, 4000))


class TestLook:
    """On made samples, without a picture."""

    @pytest.mark.parametrize("colour", [(20, 20, 22), (40, 60, 170), (240, 240, 240)], ids=["dark", "blue", "white"])
    def test_what_comes_and_goes_is_found_in_its_frames(self, colour: tuple[int, int, int]) -> None:
        skin = skins()
        skin[20:30, 12:30, 14:30] = colour
        covered = covered_frames(parts(skin), np.arange(FRAMES))
        assert covered[20:30].all() and not covered[:18].any() and not covered[32:].any()

    def test_what_stays_for_most_of_the_shot_is_found_too(self) -> None:
        skin = skins()
        skin[15:, 20:32, 12:30] = (25, 25, 25)
        covered = covered_frames(parts(skin), np.arange(FRAMES))
        assert covered[15:].all() and not covered[:13].any()

    def test_what_a_face_does_is_no_cover(self) -> None:
        for change in (beard, shadow, open_mouth, other_light):
            assert not covered_frames(parts(change(skins())), np.arange(FRAMES)).any(), change.__name__

    def test_a_single_frame_is_noise_and_a_gap_beside_a_cover_is_covered(self) -> None:
        part, frames = np.zeros(20), np.r_[0:8, 12:24]
        part[3] = 0.3
        assert not covered_frames(part, frames).any()
        part[6:8] = 0.3
        covered = covered_frames(part, frames)
        assert len(covered) == 24 and covered[6:12].all() and not covered[:4].any() and not covered[16:].any()


def beard(skin: np.ndarray) -> np.ndarray:
    skin[:, 22:, 8:36] = (70, 52, 44)
    return skin


def shadow(skin: np.ndarray) -> np.ndarray:
    skin[20:40, :, :22] = (skin[20:40, :, :22] * 0.5).astype(np.uint8)
    return skin


def open_mouth(skin: np.ndarray) -> np.ndarray:
    skin[20:40, 16:21, 14:31] = (40, 20, 22)
    return skin


def other_light(skin: np.ndarray) -> np.ndarray:
    skin[30:] = (skin[30:] * (0.7, 0.72, 0.8)).astype(np.uint8)
    return skin


class TestFilm:
    """On pictures: found, followed and looked at by the stage."""

    def test_a_bar_and_a_cup_before_the_mouth(self, run: Run, face: np.ndarray) -> None:
        def picture(n: int) -> np.ndarray:
            made = scene(face, 100 + n, 60)
            x, y = 100 + n + 100, 60 + 128  # about the mouth
            if 20 <= n < 28:
                cv2.rectangle(made, (x - 60, y - 6), (x + 60, y + 10), (30, 30, 30), -1)
            if 40 <= n < 52:
                cv2.circle(made, (x, y + 52 - 4 * (n - 40)), 26, (200, 120, 40), -1)
            return made

        (track,) = run([picture(n) for n in range(70)])
        occluded = track.hidden == OCCLUDED
        assert occluded[20:28].all() and occluded[46:52].all()
        assert not occluded[:17].any() and not occluded[31:37].any() and not occluded[56:].any()
        assert not track.seen_N[occluded].any() and not in_sight(track, RATE)[occluded].any()

    def test_a_mouth_that_leaves_the_picture(self, run: Run, face: np.ndarray) -> None:
        (track,) = run([scene(face, 120, 60 + 6 * max(0, n - 10)) for n in range(40)])
        outside = track.hidden == OUT_OF_FRAME
        assert outside.any() and not outside[:25].any() and outside[int(np.argmax(outside)) :].all()
        assert not in_sight(track, RATE)[outside].any()
        assert hidden_reason(track, outside) == "out_of_frame"

    @pytest.mark.parametrize("turn", [1, 2, 3])
    def test_a_head_that_lies_or_hangs(self, run: Run, face: np.ndarray, turn: int) -> None:
        (upright,) = run([scene(face, 100 + n, 60) for n in range(16)])
        (track,) = run([turned(scene(face, 100 + n, 60), turn) for n in range(16)])
        assert track.seen_N.all() and (track.start_frame, track.end_frame) == (0, 16)
        lean = float(np.median(roll_deg(track.mesh_NP3)))
        assert abs((lean + 90 * turn + 180) % 360 - 180) < 20
        assert np.abs(track.yaw_N - upright.yaw_N).max() < 8
        assert track.height_px == pytest.approx(upright.height_px, rel=0.06)
        shapes = [mouth_measures(canonical(t.mesh_NP3)[0])["width"].mean() for t in (upright, track)]
        assert shapes[1] == pytest.approx(shapes[0], rel=0.06)


class TestTurns:
    def test_turn_and_roll_do_not_mix(self) -> None:
        mesh = material.face(np.full(3, 0.1))
        mesh = mesh - mesh.mean(1, keepdims=True)
        for yaw in (-40.0, 0.0, 25.0):
            c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
            aside = mesh @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
            for turn in range(4):
                lying = points_turned(aside[0], (0, 0), turn)[None]
                assert abs(float(yaw_deg(lying)[0]) - float(yaw_deg(aside)[0])) < 0.1
                assert turn_of(float(roll_deg(lying)[0])) == -turn % 4
                assert height_px(lying) == pytest.approx(height_px(aside[:1]), rel=1e-3)

    def test_there_and_back(self) -> None:
        points = np.array([[3.0, 5.0, 1.0], [60.0, 30.0, 2.0]])
        picture = np.zeros((40, 80), np.uint8)
        picture[5, 3] = 1
        for turn in range(4):
            moved = points_turned(points, (80, 40), turn)
            assert np.allclose(points_back(moved, (80, 40), turn), points)
            y, x = np.argwhere(turned(picture, turn) == 1)[0]
            assert np.abs(moved[0, :2] - (x, y)).max() <= 1
            low, high = moved[:, :2].min(0), moved[:, :2].max(0)
            assert np.allclose(box_back((*low, *(high - low)), (80, 40), turn), (3, 5, 57, 25))

    def test_a_turn_is_kept_until_another_fits_much_better(self) -> None:
        assert [turn_of(roll, now=0) for roll in (0, 50, -50, 75, -75, 170)] == [0, 0, 0, 1, 3, 2]
        assert [turn_of(roll, now=1) for roll in (90, 40, 25, -170)] == [1, 1, 0, 2]


def track(frames: int = 100) -> Track:
    mesh = material.face(np.full(frames, 0.1))
    at = np.arange(frames, dtype=np.int32)
    return Track("shot_0001/face_1", at, mesh, np.ones(frames, bool), np.zeros(frames, np.float32), 300.0,
                 np.zeros(frames, np.uint8))  # fmt: skip


class TestWhatFollows:
    def test_a_short_cover_is_not_bridged_and_is_kept_on_disk(self, tmp_path: Path) -> None:
        one = track()
        one.hidden[40:44] = OCCLUDED
        one.seen_N[40:44] = False
        one.seen_N[60:64] = False  # out of sight, and nothing is known to be before it
        save_tracks(tmp_path, [one])
        (back,) = load_tracks(tmp_path)
        usable = in_sight(back, RATE)
        assert not usable[40:44].any() and usable.sum() == 96
        assert (back.until(50).hidden == one.hidden[:50]).all()

    def test_the_reason_is_the_true_one(self) -> None:
        limits, says_N = Limits(96.0, 45.0), np.ones(100, bool)
        for code, reason in ((OCCLUDED, "occluded"), (OUT_OF_FRAME, "out_of_frame")):
            one = track()
            assert unfit(one, says_N, RATE, limits) is None
            one.hidden[10:90] = code
            assert unfit(one, says_N, RATE, limits) == reason

    def test_a_head_at_the_limit_does_not_come_and_go(self) -> None:
        one = track()
        one.yaw_N[:] = np.where(np.arange(100) % 5 == 2, 46.0, 44.0)
        assert facing(one, 45.0).all()

    def test_lips_at_the_edge(self) -> None:
        mesh = material.face(np.full(2, 0.1))
        assert not lips_outside(mesh, material.SIZE_WH).any()
        mesh[1, :, 0] -= mesh[1, 61, 0] + 1
        assert lips_outside(mesh, material.SIZE_WH).tolist() == [False, True]


@pytest.mark.long
class TestClips:
    """Ground truth was marked by eye, frame by frame."""

    def test_a_microphone_before_two_speakers(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        woman, man = tracks_of(stage, shared / "media" / "two_faces.mp4", tmp_path, 150, 300)
        marked = ((woman, (162, 180, 195, 206), (225, 235, 250)), (man, (205, 216, 230, 245), (165, 175)))
        for one, hidden, free in marked:
            codes = one.hidden[[n - one.start_frame for n in hidden]]
            assert (codes == OCCLUDED).all(), (one.id, codes)
            assert not one.hidden[[n - one.start_frame for n in free]].any(), one.id

    def test_talking_is_no_cover(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        for name in ("frontal_512.mp4", "webcam_glasses.mp4", "grid/grid_swiz3n.mpg"):
            (one, *_) = tracks_of(stage, shared / "media" / name, tmp_path, 0, 60)
            assert not one.hidden.any(), name
