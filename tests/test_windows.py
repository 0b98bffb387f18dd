"""Long shots in windows: the same faces, the same patches, and scores as of the whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from films import Finished, of_hindi, started_by

from dubbing import media
from dubbing.analysis import windows as module
from dubbing.analysis.identity import PORTRAIT_PX, Signature
from dubbing.analysis.windows import join_tracks, people_in_parts, shared_out, windows
from dubbing.artifacts.tracks import load_tracks
from dubbing.records import Patch, Track
from dubbing.shot_table import read_rows


def test_windows_cover_a_shot_once() -> None:
    assert windows(10, 1450) == [(10, 1450)]
    found = windows(10, 7210)
    assert found[0][0] == 10 and found[-1][1] == 7210 and len(found) == 5
    assert all(a[1] == b[0] for a, b in zip(found[:-1], found[1:], strict=True))
    assert max(b - a for a, b in found) <= module.WINDOW_FRAMES


def test_people_are_shared_out_by_how_much_there_is_of_them() -> None:
    frames = {0: 9000, 1: 3000, 2: 1400, 3: 900, 4: 700, 5: 100}
    parts = people_in_parts(frames, 1440)
    assert parts == [(0,), (1,), (2, 3), (4, 5)]
    assert shared_out(parts, frames, 1510) == [((0,), 900), ((1,), 300), ((2, 3), 230), ((4, 5), 80)]
    assert people_in_parts({0: 1000, 1: 500}, 1440) == people_in_parts({7: 99_999}, 1440) == []


def track(start: int, end: int, x: float) -> tuple[Track, Signature]:
    mesh = np.random.default_rng(3).uniform(0, 100, (478, 3)).astype(np.float32) + (x, 0, 0)
    meshes = np.stack([mesh + (0, f, 0) for f in range(start, end)]).astype(np.float32)
    count = end - start
    one = Track("w/face_1", np.arange(start, end, dtype=np.int32), meshes, np.ones(count, bool),
                np.zeros(count, np.float32), 100.0)  # fmt: skip
    return one, Signature(np.full((PORTRAIT_PX, PORTRAIT_PX, 3), x, np.float32), mesh, count)


def test_a_face_is_one_again_and_two_stay_two() -> None:
    parts = [[track(0, 40, 0), track(0, 40, 300)], [track(30, 70, 300), track(30, 70, 0)], [track(60, 90, 0)]]
    (a, _), (b, look) = sorted(join_tracks(parts, "shot_0001"), key=lambda pair: pair[0].mesh_NP3[0, 0, 0])
    assert (a.start_frame, a.end_frame, b.start_frame, b.end_frame) == (0, 90, 0, 70)
    for one in (a, b):
        assert (np.diff(one.frames_N) == 1).all() and len(one.mesh_NP3) == len(one.frames_N)
        np.testing.assert_allclose(np.diff(one.mesh_NP3[:, 0, 1]), 1, atol=1e-3)
    assert {a.id, b.id} == {"shot_0001/face_1", "shot_0001/face_2"} and look.frames == 80


def test_a_face_that_left_before_the_next_window_is_another() -> None:
    found = join_tracks([[track(0, 20, 0)], [track(30, 70, 0)]], "shot_0001")
    assert [(t.start_frame, t.end_frame) for t, _ in found] in ([(0, 20), (30, 70)], [(30, 70), (0, 20)])


def test_joined_patches_are_the_pictures_of_one_writer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = [Patch(10 + n, 2 * n, 4, rng.integers(0, 255, (32, 48, 3), np.uint8),
                  rng.integers(0, 255, (32, 48), np.uint8)) for n in range(9)]  # fmt: skip
    for name, some in {"a": made[:4], "b": made[4:5], "c": made[5:]}.items():
        (tmp_path / name).mkdir()
        with media.PatchWriter(tmp_path / name, 48, 32) as writer:
            for patch in some:
                writer.write(patch, wanted_opening=patch.frame / 2)
    (tmp_path / "all").mkdir()
    media.join_patches([tmp_path / n for n in "abc"], tmp_path / "all")
    assert media.patch_frames(tmp_path / "all")["wanted_opening"].to_pylist() == [p.frame / 2 for p in made]
    for was, now in zip(made, media.read_patches(tmp_path / "all"), strict=True):
        assert (was.frame, was.x, was.y) == (now.frame, now.x, now.y)
        assert (was.bgr_HWC == now.bgr_HWC).all() and (was.matte_HW == now.matte_HW).all()
    assert [p.frame for p in media.read_patches(tmp_path / "all", 12, 15)] == [12, 13, 14]


def test_a_run_in_windows_renders_what_a_run_without_does(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, fresh = finished.out, tmp_path / "cut", tmp_path / "fresh"
    monkeypatch.setattr(module, "WINDOW_FRAMES", 30)
    shutil.copytree(whole / "film" / "analysis", cut / "film" / "analysis")
    job = of_hindi(finished.film, tmp_path)
    started = started_by(job, cut)
    assert {f"lipsync film/hi/shot_0002/window_{n}" for n in (1, 2, 3)} <= started
    assert not list(cut.glob("film/hi/takes/*/*/windows/*"))
    was, now = (read_rows(out / "film" / "hi" / "shots.parquet")[1] for out in (whole, cut))
    for a, b in zip(patches(whole), patches(cut), strict=True):
        assert a.frame == b.frame and (a.bgr_HWC == b.bgr_HWC).all() and (a.matte_HW == b.matte_HW).all()
    for name in ("lse_d", "lse_at_zero", "source_lse_d", "following", "sharpness"):
        assert now[name] == pytest.approx(was[name], rel=0.02), name
    assert now["lse_windows"] == was["lse_windows"] and (cut / "film" / "hi" / "film.hi.mp4").exists()
    assert list(cut.glob("film/hi/takes/shot_0002/*/patch/sheet.jpg"))

    started = started_by(job, fresh)  # with faces followed in windows too
    assert "faces film/shot_0002/window_3" in started
    (folder,) = (fresh / "film" / "analysis" / "faces").glob("shot_0002-*")
    (one,) = load_tracks(folder)
    assert (one.start_frame, one.end_frame) == (12, 84) and one.seen_N.all()
    assert read_rows(fresh / "film" / "hi" / "shots.parquet")[1]["following"] > 0.8


def patches(out: Path) -> list[Patch]:
    (folder,) = out.glob("film/hi/takes/shot_0002/*/patch/face_1")
    return list(media.read_patches(folder))
