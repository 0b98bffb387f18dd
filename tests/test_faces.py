"""Faces: followed where they go, bridged where they hide, told apart, stored small and read back.

The films are made here from one photograph in scikit-image's wheel (astronaut, NASA, public domain).
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import ref

from dubbing import media
from dubbing.analysis.identity import Signature, group_actors
from dubbing.analysis.occluders import COLS, ROWS
from dubbing.analysis.tracker import Follower, Found
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import in_sight, load_signatures, load_tracks, save_tracks
from dubbing.clock import Timeline
from dubbing.records import Track
from dubbing.stages.faces import Faces, FacesInputs, track_of

RATE = Fraction(25)
SIZE = (480, 360)


def scene(*heads: tuple[np.ndarray, float, float]) -> np.ndarray:
    """Heads with their left top at (x, y) before a plain wall."""
    picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for head, x, y in heads:
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        cv2.warpAffine(head, move, SIZE, dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


Run = Callable[[list[np.ndarray]], list[Track]]


@pytest.fixture
def run(stage: Faces, tmp_path: Path) -> Run:
    def one(pictures: list[np.ndarray], start: int = 0) -> list[Track]:
        path = tmp_path / "film.mp4"
        with media.ClipWriter(path, *SIZE, RATE, crf=10) as clip:
            for picture in pictures:
                clip.frame(picture)
        return process(stage, path, tmp_path, start, len(pictures))

    return one


def process(stage: Faces, path: Path, folder: Path, start: int, end: int, line: Timeline | None = None) -> list[Track]:
    media.save_timeline(folder, line or media.timeline(path))
    seen: list[int] = []
    inputs = FacesInputs(start, end, File(path, ""), 7, ref(ShotList, folder))
    result = stage.process(inputs, folder, seen.append)
    assert sum(seen) == end - start
    tracks = load_tracks(folder)
    assert [t.id for t in result.tracks] == [t.id for t in tracks]
    return tracks


class TestFollowing:
    def test_a_moving_face_is_followed_in_every_frame(self, run: Run, face: np.ndarray) -> None:
        tracks = run([scene((face, 20 + 4 * n, 60 + n)) for n in range(40)])
        assert [(t.id, t.start_frame, t.end_frame) for t in tracks] == [("shot_0007/face_1", 0, 40)]
        track = tracks[0]
        assert track.seen_N.all()
        assert 60 < track.height_px < 140
        nose = track.mesh_NP3[:, 1, :2] - track.mesh_NP3[0, 1, :2]
        assert np.abs(nose - np.outer(np.arange(40), (4, 1))).max() < 3.0

    def test_a_short_gap_is_bridged_and_said(self, run: Run, face: np.ndarray) -> None:
        pictures = [scene((face, 60 + 2 * n, 60)) for n in range(36)]
        for n in range(15, 20):
            pictures[n] = scene()
        (track,) = run(pictures)
        assert list(np.flatnonzero(~track.seen_N)) == [15, 16, 17, 18, 19]
        assert in_sight(track, RATE).all()
        drift = track.mesh_NP3[15:20, 1, 0] - track.mesh_NP3[14, 1, 0]
        assert np.abs(drift - 2 * np.arange(1, 6)).max() < 2.0

    def test_a_face_that_comes_back_is_one_track_unseen_between(self, run: Run, face: np.ndarray) -> None:
        pictures = [scene((face, 100, 60))] * 20 + [scene()] * 30 + [scene((face, 120, 60))] * 20
        (track,) = run(pictures)
        assert (track.start_frame, track.end_frame) == (0, 70)
        assert not track.seen_N[20:50].any()
        assert not in_sight(track, RATE)[20:50].any()
        assert track.seen_N[:20].all() and track.seen_N[50:].all()

    def test_a_face_is_found_from_the_frame_it_appears_in(self, run: Run, face: np.ndarray) -> None:
        (track,) = run([scene()] * 13 + [scene((face, 100, 60))] * 17)
        assert (track.start_frame, track.end_frame) == (13, 30)

    def test_where_few_pictures_can_be_held_it_is_found_from_there_too(
        self, run: Run, face: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dubbing.stages.faces.HELD_BYTES", 1)
        held: list[int] = []
        step = Follower.step

        def counted(self: Follower, picture: media.Picture) -> None:
            step(self, picture)
            held.append(len(self._recent))

        monkeypatch.setattr(Follower, "step", counted)
        (track,) = run([scene()] * 13 + [scene((face, 100, 60))] * 17)
        assert (track.start_frame, track.end_frame) == (13, 30) and max(held) == 1

    def test_two_faces_are_two_tracks_and_the_larger_is_first(self, run: Run, face: np.ndarray) -> None:
        small = cv2.resize(face[:, ::-1], (150, 150), interpolation=cv2.INTER_AREA)
        large, other = run([scene((small, 20, 100), (face, 240 - n, 80)) for n in range(30)])
        assert large.height_px > 1.2 * other.height_px
        assert large.mesh_NP3[:, 1, 0].min() > other.mesh_NP3[:, 1, 0].max() + 100
        assert large.seen_N.all() and other.seen_N.all()

    def test_no_face(self, run: Run) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
        wall = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
        assert run([wall] * 20) == []

    def test_a_glimpse_is_no_track(self, run: Run, face: np.ndarray) -> None:
        assert run([scene()] * 10 + [scene((face, 100, 60))] * 4 + [scene()] * 10) == []

    def test_what_the_worker_saw_before_changes_nothing(self, run: Run, face: np.ndarray, tmp_path: Path) -> None:
        pictures = [scene((face, 60 + 3 * n, 60)) for n in range(20)]
        before = run(pictures)
        run([scene((cv2.resize(face, (260, 260)), 100, 60))] * 15)
        again = run(pictures)
        fresh = Faces()
        fresh.setup()
        anew = process(fresh, tmp_path / "film.mp4", tmp_path, 0, len(pictures))
        fresh.close()
        for other in (again, anew):
            assert np.array_equal(before[0].mesh_NP3, other[0].mesh_NP3)


def a_track(frames: int = 50, size: float = 300.0) -> Track:
    rng = np.random.default_rng(3)
    mesh = rng.uniform(-size, size, (1, 478, 3)) + rng.normal(0, 1, (frames, 478, 3)) + [900, 500, 0]
    seen = np.ones(frames, bool)
    seen[10:14] = False
    at = np.arange(100, 100 + frames, dtype=np.int32)
    return Track("shot_0002/face_1", at, mesh.astype(np.float32), seen, np.linspace(-30, 30, frames), size)


class TestStorage:
    @pytest.mark.parametrize("size", [60.0, 300.0, 2500.0])
    def test_read_back_to_a_fraction_of_a_pixel(self, tmp_path: Path, size: float) -> None:
        track = a_track(size=size)
        save_tracks(tmp_path, [track, track])
        back, _ = load_tracks(tmp_path)
        assert (back.id, back.start_frame, back.end_frame) == (track.id, 100, 150)
        assert np.abs(back.mesh_NP3 - track.mesh_NP3).max() <= (1 / 60 if size < 900 else 1 / 15)
        assert np.array_equal(back.seen_N, track.seen_N)
        assert np.abs(back.yaw_N - track.yaw_N).max() < 0.05
        assert back.mesh_NP3.dtype == np.float32

    def test_no_tracks(self, tmp_path: Path) -> None:
        save_tracks(tmp_path, [])
        assert load_tracks(tmp_path) == []


class TestSight:
    def test_gaps_up_to_two_fifths_of_a_second_are_bridged(self) -> None:
        track = a_track()
        for length, bridged in ((1, True), (10, True), (11, False)):
            track.seen_N[:] = True
            track.seen_N[20 : 20 + length] = False
            assert in_sight(track, RATE)[20 : 20 + length].all() == bridged

    def test_a_hand_before_the_mouth_is_not_bridged(self) -> None:
        mesh = a_track(1).mesh_NP3[0]
        mesh = mesh + 1000  # in the picture
        found = Found(dict.fromkeys(range(60), mesh), 12, 12)
        found.skins = dict.fromkeys(range(60), np.full((ROWS, COLS, 3), 120, np.uint8))
        found.cover = {n: 0.9 if n in (20, 25) else 0.1 for n in range(0, 60, 5)}
        track = track_of("x", found, (4000, 4000))
        hidden = np.flatnonzero(~in_sight(track, RATE))
        assert hidden.min() <= 18 and hidden.max() >= 27 and len(hidden) < 20
        found.cover = {n: 0.9 if n == 20 else 0.1 for n in range(0, 60, 5)}
        assert track_of("x", found, (4000, 4000)).seen_N.all()


@pytest.mark.long
class TestClips:
    def test_a_dubbed_shot_of_the_reel(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        (track,) = process(stage, shared / "media" / "reel.mp4", tmp_path, 460, 500)
        assert track.seen_N.all()
        assert (track.start_frame, track.end_frame) == (460, 500)
        assert 400 < track.height_px < 600

    def test_five_boxes(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        tracks = process(stage, shared / "media" / "five_faces.mp4", tmp_path, 0, 30)
        assert len(tracks) >= 4
        centres = np.array([t.mesh_NP3[:, 1, :2].mean(0) for t in tracks])
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.eye(len(tracks)) * 1e4
        assert apart.min() > 100
        assert all(t.seen_N.all() for t in tracks[:4])

    def test_a_hand_crosses_the_face(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        (track,) = process(stage, shared / "media" / "hand_before_face.avi", tmp_path, 0, 120)
        assert track.hidden[15:100].mean() > 0.9, "it lies before a corner of the mouth, or all of it"
        assert not in_sight(track, RATE)[20:100].any()

    def test_no_face_in_space(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        assert process(stage, shared / "media" / "space_no_face.mp4", tmp_path, 202, 240) == []


class TestActors:
    def test_the_same_face_in_other_light_is_one_actor_and_a_stranger_another(
        self, stage: Faces, run: Run, face: np.ndarray, tmp_path: Path
    ) -> None:
        signatures: list[Signature] = []
        stranger = cv2.resize(face, (150, 200))[:, ::-1]
        for head in (face, (face * 0.8).astype(np.uint8), np.ascontiguousarray(stranger)):
            run([scene((head, 100 + n, 60)) for n in range(16)])
            signatures += load_signatures(tmp_path)
        assert group_actors(signatures) == [0, 0, 1]
        assert group_actors(signatures, apart=[(1, 0)])[:2] == [0, 1]
        assert group_actors([]) == []

    @pytest.mark.long
    def test_the_people_of_the_reel_are_told_apart(self, stage: Faces, shared: Path, tmp_path: Path) -> None:
        reel = shared / "media" / "reel.mp4"
        line = media.timeline(reel)
        pieces = [(100, 130), (280, 310), (400, 430), (600, 630), (936, 966), (1070, 1100)]
        signatures = []
        for start, end in pieces:
            process(stage, reel, tmp_path, start, end, line)
            signatures += load_signatures(tmp_path)
        assert group_actors(signatures) == [0, 1, 2, 3, 4, 4]
