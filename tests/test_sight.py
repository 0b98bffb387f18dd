"""What is seen of a face while it is rendered is what anybody sees who decodes the film for it later; and what an
expert makes of the original's pixels is made once."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from films import Finished

from dubbing import config, media, metrics, sight
from dubbing.artifacts.takes import SHEET, Take, TakeFace
from dubbing.artifacts.tracks import load_tracks
from dubbing.clock import Timeline
from dubbing.experts import crop, lse, original
from dubbing.job import Job
from dubbing.manifest import load
from dubbing.mesh import Meshes
from dubbing.records import Patch, Track
from dubbing.stages.lipsync import Lipsync
from dubbing.stages.sync import Sync
from dubbing.store import open_store


@pytest.fixture(scope="module")
def shot(finished: Finished) -> tuple[Path, Timeline, Track, Path]:
    """A film, its frames in time, the face of its dubbed shot, and the folder of that face's patches."""
    job = Job(load(finished.film), finished.out, config.Config())
    (title,) = job.manifest.titles
    (faces,) = (finished.out / "film" / "analysis" / "faces").glob("shot_0002-*")
    (folder,) = finished.out.glob("film/hi/takes/shot_0002/*/patch/face_1")
    (track,) = load_tracks(faces)
    return Path(title.video), job.timeline(title), track, folder


def test_a_take_that_is_looked_at_later_shows_the_same(shot: tuple[Path, Timeline, Track, Path]) -> None:
    film, line, track, folder = shot
    frames = media.mouth_frames(folder)["frame"].to_numpy()
    first = sight.load_seen(folder)
    assert first is not None and first.at == (frames - track.start_frame).tolist()
    meshes = Meshes()
    eye = sight.Sight(track, line, media.probe(film).upright_size, meshes, metrics.built_in())
    with eye:
        ends = (int(frames[0]), int(frames[-1]) + 1)
        list(sight.look_again(eye, folder, film, line, ends, frozenset(frames[:24].tolist())))
    meshes.close()
    later, (name,) = eye.seen, eye.seen.said
    assert np.array_equal(later.meshes, first.meshes[:24])
    assert later.said[name] == first.said[name][:24] and name.startswith("sharpness")
    moved = np.abs(first.over(track)[first.at] - track.mesh_NP3[first.at]).max()
    assert moved > 1, "the mouth is another one"


@pytest.mark.parametrize("most", [2, sight.HELD_BYTES])
def test_crops_wait_for_patches_and_are_decoded_again_where_none_waits(
    shot: tuple[Path, Timeline, Track, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """In memory, and on disk as soon as there are more than two."""
    film, line, _, _ = shot
    box = (40, 20, 64, 48)
    monkeypatch.setattr(sight, "HELD_BYTES", most if most > 2 else most * 64 * 48 * 3 // 2)
    shown = {p.frame: p for p in media.read(film, line, 20, 30, threads=1)}
    with sight.SourceCrops(film, line, lambda frame: box, range(20, 30), scratch=tmp_path) as crops:
        for frame in (20, 21, 22, 26):
            crops.watch(shown[frame])
        crops.watch(shown[20])
        for frame in (20, 22, 25, 26, 29):
            assert np.array_equal(crops.take(frame).bgr, shown[frame].bgr(box=box)), frame
    assert not list(tmp_path.iterdir())


class Colours:
    """An expert of pixels that counts what it is shown and told."""

    name, wants, published, profits_from_gpu = "colours", "crop", (), False
    hash12, crop_px = "0" * 12, 8

    def __init__(self) -> None:
        self.windows = self.sounds = 0

    def crops(self, mesh_NP3: np.ndarray, times_s: np.ndarray) -> list[crop.Crop]:
        corners = mesh_NP3[:, 13, :2].astype(int).tolist()
        return [crop.Crop(x - 8, y - 8, x + 8, y + 8) for x, y in corners]

    def embed_video(self, frames_N: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        count = lse.windows_in(times_s)
        self.windows += count
        return np.stack([frames_N[n : n + lse.WINDOW].mean((0, 1, 2)) for n in range(count)]).astype(np.float32)

    def embed_sound(self, wave: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        self.sounds += 1
        return np.full((windows, 3), 100, np.float32)


def test_an_expert_of_pixels_sees_the_original_once_for_all_languages(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(load(finished.film), finished.out, config.Config())
    title = job.manifest.titles[0]
    (step,) = (s for s in job.dub(title, title.dubs[0], {}).steps if s.shot.id == "shot_0002")
    inputs = step.score.inputs
    faces = shutil.copytree(inputs.faces.folder, tmp_path / "analysis" / "faces" / "shot_0002-0")
    inputs = replace(inputs, faces=replace(inputs.faces, folder=faces), expert="colours")
    expert = Colours()
    monkeypatch.setattr("dubbing.experts.load", lambda *about: expert)
    scores, seen = [], []
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        expert.windows = expert.sounds = 0
        (one,) = Sync().process(inputs, tmp_path / str(n), lambda frames: None).faces
        scores.append(one)
        seen.append((expert.windows, expert.sounds))
    assert scores[0] == scores[1] and scores[0].source_lse_d is not None
    assert seen[1] == (scores[0].lse_windows, 1), "only the take, where it is rendered, and the dub"
    assert seen[0] == (2 * seen[1][0], 2), "all of this face is rendered"
    (kept,) = (tmp_path / "analysis" / "originals").rglob("face_1.npz")
    was = kept.read_bytes()
    kept.write_bytes(b"cut off")
    (one,) = Sync().process(inputs, tmp_path / "1", lambda frames: None).faces
    assert one == scores[0] and kept.read_bytes() == was


def test_what_is_kept_of_an_original_is_of_so_many_frames(
    shot: tuple[Path, Timeline, Track, Path], tmp_path: Path
) -> None:
    """A photograph's film may end earlier in one language than in another."""
    track = shot[2]
    files = {original.file_of(tmp_path, t, Colours(), "f", None) for t in (track, track.until(track.end_frame - 1))}
    assert len(files) == 2 and None not in files


def test_nothing_of_an_original_is_kept_in_the_copy_of_a_place(
    shot: tuple[Path, Timeline, Track, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path))
    there = open_store("memory://place").analysis("film")
    assert there.is_relative_to(tmp_path) and original.file_of(there, shot[2], Colours(), "f", None) is None


@pytest.mark.parametrize("sound", [True, False])
def test_what_is_kept_of_an_original_is_read_whole_or_not_at_all(tmp_path: Path, sound: bool) -> None:
    """Each bit flipped once, the file cut at each byte; and a whole file of another face."""
    lips_VE = np.arange(6, dtype=np.float32).reshape(3, 2)
    file = tmp_path / "shot" / "face_1.npz"
    original.save(file, original.Original(lips_VE, lips_VE + 1 if sound else None))
    found = original.load(file, 3, sound)
    assert found is not None and np.array_equal(found.lips_VE, lips_VE)
    assert np.array_equal(found.sound_VE, lips_VE + 1) if found.sound_VE is not None else not sound
    assert original.load(file, 2, sound) is None and original.load(file, 3, not sound) is None
    data = file.read_bytes()
    assert len(data) < 1000, "or this takes long"
    for n in range(len(data)):
        file.write_bytes(data[:n])
        assert original.load(file, 3, sound) is None, n
        for bit in range(8):
            file.write_bytes(data[:n] + bytes([data[n] ^ 1 << bit]) + data[n + 1 :])
            assert original.load(file, 3, sound) is None, (n, bit)


def full(*about: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_crops_are_decoded_again_where_the_disk_has_no_room_for_them(
    shot: tuple[Path, Timeline, Track, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, line, _, _ = shot
    box = (40, 20, 64, 48)
    monkeypatch.setattr(sight, "HELD_BYTES", 64 * 48 * 3 // 2)
    shown = {p.frame: p for p in media.read(film, line, 20, 26, threads=1)}
    with sight.SourceCrops(film, line, lambda frame: box, range(20, 26), scratch=tmp_path) as crops:
        crops.watch(shown[20])
        crops.watch(shown[21])
        with monkeypatch.context() as disk:
            disk.setattr("os.pwrite", full)
            crops.watch(shown[22])
        crops.watch(shown[23])
        for frame in range(20, 26):
            assert np.array_equal(crops.take(frame).bgr, shown[frame].bgr(box=box)), frame
    with sight.SourceCrops(film, line, lambda frame: box, range(20, 26), scratch=tmp_path / "none") as crops:
        for frame in (20, 21):
            crops.watch(shown[frame])
        assert np.array_equal(crops.take(21).bgr, shown[21].bgr(box=box))


@pytest.mark.parametrize("unseen", [None, "1/face_2"])
def test_a_take_of_windows_shows_all_that_was_seen_or_nothing(
    shot: tuple[Path, Timeline, Track, Path], finished: Finished, tmp_path: Path, unseen: str | None
) -> None:
    """Where one face of one window was rendered and not looked at, whoever scores the take looks at all of it."""
    (shots,) = (finished.out / "film" / "analysis").glob("shots-*")
    faces = tuple(TakeFace(f"shot_0002/{name}", name, 2, 0, ((0, 4),)) for name in ("face_1", "face_2"))
    parts: list[Any] = []
    for n in range(2):
        for face in faces:
            folder = tmp_path / str(n) / face.folder
            folder.mkdir(parents=True)
            with media.PatchWriter(folder, 16, 16) as writer:
                for frame in (2 * n, 2 * n + 1):
                    grey = np.full((16, 16), 99, np.uint8)
                    writer.write(Patch(frame, 0, 0, np.stack([grey] * 3, 2), grey), wanted_opening=0.1)
            with sight.Sight(shot[2], shot[1], (320, 240), Meshes(), (), drawn=[2 * n]) as eye:
                eye.sheet.add(2 * n, np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8), np.eye(478, 2))
                if unseen != f"{n}/{face.folder}":
                    eye.save(folder, part=True)
        take = Take("dubbed", None, None, None, None, faces=faces)
        parts.append(SimpleNamespace(folder=tmp_path / str(n), read=lambda take=take: take))
    inputs: Any = SimpleNamespace(parts=parts, timeline=SimpleNamespace(folder=shots), title="film")
    (tmp_path / "out").mkdir()
    made = Lipsync().process(inputs, tmp_path / "out", lambda frames: None)
    assert [face.frames for face in made.faces] == [4, 4]
    seen = [sight.load_seen(tmp_path / "out" / face.folder) is not None for face in faces]
    assert seen == [unseen is None] * 2 and (tmp_path / "out" / SHEET).exists() == (unseen is None)
