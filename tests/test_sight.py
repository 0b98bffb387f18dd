"""What is seen of a face while it is rendered is what anybody sees who decodes the film for it later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import Finished

from dubbing import config, media, metrics, sight
from dubbing.artifacts.tracks import load_tracks
from dubbing.clock import Timeline
from dubbing.job import Job
from dubbing.manifest import load
from dubbing.mesh import Meshes
from dubbing.records import Track


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


def test_crops_wait_for_patches_and_are_decoded_again_where_none_waits(
    shot: tuple[Path, Timeline, Track, Path], tmp_path: Path
) -> None:
    film, line, _, _ = shot
    box = (40, 20, 64, 48)
    shown = {p.frame: p for p in media.read(film, line, 20, 30, threads=1)}
    with sight.SourceCrops(film, line, lambda frame: box, range(20, 30), scratch=tmp_path) as crops:
        for frame in (20, 21, 22, 26):
            crops.watch(shown[frame])
        crops.watch(shown[20])
        for frame in (20, 22, 25, 26, 29):
            assert np.array_equal(crops.take(frame), shown[frame].bgr(box=box)), frame
    assert not list(tmp_path.iterdir())
