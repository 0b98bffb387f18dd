"""Cuts, mixes and times of a long film that is looked through in windows: those of one pass, or one pass decides."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dubbing import config, manifest, media
from dubbing.analysis import windows as module
from dubbing.analysis.scanned import Unjoined, Window, joined, load_window, save_window, scan_window
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.engine.run import do_tasks
from dubbing.job import Job
from dubbing.stages.shots import Shots, ShotsInputs

RATE = Fraction(6)  # finders remember seconds, so that few pictures do
FRAMES, WINDOW = 200, 73  # three windows
CUTS = (90, 115)
MIXED = (136, 156)


def pictures() -> list[np.ndarray]:
    """A lamp that is turned up slower than a finder sees, across the first window's end; a drifting scene with grain; a
    dissolve of it across the second's; and a cut between them."""
    rng = np.random.default_rng(3)

    def scene(grey: float) -> np.ndarray:
        grid = rng.uniform(-60, 60, (6, 10, 3)) + grey
        return np.kron(grid, np.ones((12, 17, 1)))

    still, scenes = rng.uniform(90, 110, (72, 128, 1)) * np.ones(3), [scene(g) for g in (80, 150, 90)]
    found = [still + 0.17 * n for n in range(CUTS[0])]
    for n in range(CUTS[0], FRAMES):
        part = min(1.0, max(0.0, (n - MIXED[0]) / (MIXED[1] - MIXED[0])))
        a, b = (scenes[0], scenes[0]) if n < CUTS[1] else scenes[1:]
        shown = (1 - part) * a + part * b if n >= CUTS[1] else a
        found.append(shown[:, (x := n // 7) : x + 128] + rng.normal(0, 3, (72, 128, 1)))
    return [p.clip(0, 255).astype(np.uint8) for p in found]


def written(path: Path, **options: str) -> Path:
    timecode = "01:00:00:00" if path.suffix == ".mp4" else None
    with media.ClipWriter(path, 128, 72, RATE, options=options, timecode=timecode, crf=0) as clip:
        for picture in pictures():
            clip.frame(picture)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("scanned") / "film.mp4", g="1")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCAN_FROM_S", 20.0)
    monkeypatch.setattr(module, "SCAN_S", WINDOW / RATE)


def passed(film: Path, folder: Path) -> Path:
    result = Shots().process(ShotsInputs(File(film, ""), None, 3.0, 6), folder, lambda n: None)
    (folder / "result.json").write_text(json.dumps(result.to_dict()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def one_pass(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return passed(film, tmp_path_factory.mktemp("one"))


def looked_through(film: Path, folder: Path) -> list[Window]:
    seen, windows = list[int](), []
    keys = media.key_frames(film)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCAN_FROM_S", 20.0)
        patch.setattr(module, "SCAN_S", WINDOW / RATE)
        spans = module.scan_windows(keys, FRAMES, RATE)
    for span in spans:
        save_window(folder, scan_window(film, span, 3.0, seen.append))
        windows.append(load_window(folder))
    assert sum(seen) == FRAMES, "frames that lead up to a window do not count"
    return windows


@pytest.fixture(scope="module")
def found(film: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Window]:
    return looked_through(film, tmp_path_factory.mktemp("windows"))


def lines(folder: Path) -> tuple[Any, ...]:
    line = media.load_timeline(folder)
    return line.pts.tolist(), line.end_pts, line.time_base, line.rate, line.start_tc


def test_windows_find_what_one_pass_does(found: list[Window], one_pass: Path, tmp_path: Path) -> None:
    whole = ShotList.read(one_pass)
    assert [a for a, _ in whole.cuts] == [0, *CUTS], "the film is what it is meant to be"
    ((start, end),) = whole.mixes
    assert start < 2 * WINDOW < end, "the dissolve reaches across the seam"
    line, cuts, mixes = joined(found, 6)
    media.save_timeline(tmp_path, line)
    assert lines(tmp_path) == lines(one_pass)
    assert (tuple(cuts), tuple(mixes)) == (CUTS, whole.mixes)
    late = [w.handover + 1 - w.first_frame - len(w.pts) for w in found[:-1]]
    assert late[0] > 10 and late[1:] == [0], "among pictures that hardly change a finder comes into step late"


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_pictures_that_refer_across_a_seam_are_decoded_as_in_one_pass(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, g="8", bf="3", **{"x264-params": "open-gop=1:scenecut=0"})
    whole = passed(path, tmp_path)
    line, cuts, mixes = joined(looked_through(path, tmp_path), 6)
    (found := tmp_path / "found").mkdir()
    media.save_timeline(found, line)
    listed = ShotList.read(whole)
    assert lines(found) == lines(whole)
    assert (tuple(cuts), tuple(mixes)) == (CUTS, listed.mixes)


def test_a_shot_across_a_seam_is_as_long_as_any(found: list[Window]) -> None:
    assert joined(found, 25)[1] == [*CUTS] and joined(found, 26)[1] == [CUTS[0]]


TAMPERED: dict[str, Callable[[list[Window]], object]] = {
    "lost": lambda w: w.__setitem__(1, replace(w[1], why="lost")),
    "is frame 74, and it shows it as frame 73": lambda w: w.__setitem__(1, replace(w[1], first_frame=74)),
    "is frame 73, and it shows it as frame 72": lambda w: w.__setitem__(0, replace(w[0], pts=w[0].pts[:-1])),
    "do not increase": lambda w: w.__setitem__(1, replace(w[1], pts=w[1].pts - w[1].pts[0])),
    "not of one kind": lambda w: w.__setitem__(2, replace(w[2], film=("320", *w[2].film[1:]))),
    "does not begin": lambda w: w.pop(0),
    "ends earlier": lambda w: w.pop(),
    "frame 146 are others when": lambda w: w.__setitem__(1, replace(w[1], mixes_after=1)),
    "before frame 146 are others": lambda w: w.__setitem__(1, replace(w[1], cuts_handed=1)),
    "around frame 73 hardly change": lambda w: w.__setitem__(0, replace(w[0], handover=-1)),
}


@pytest.mark.parametrize("said", TAMPERED)
def test_what_does_not_add_up_is_refused(found: list[Window], said: str) -> None:
    windows = [*found]
    TAMPERED[said](windows)
    with pytest.raises(Unjoined, match=said):
        joined(windows, 6)


class OnlyCuts(Job):
    """A job that ends where the cuts are known."""

    pipeline = (Shots,)


def job_of(film: Path, out: Path) -> Job:
    with media.ClipWriter(out.parent / "fr.flac", sample_rate_hz=16_000, channels=1) as clip:
        clip.sound(np.zeros((16_000, 1), np.float32))
    title = {"id": "film", "video": str(film), "dubs": [{"language": "fr", "audio": "fr.flac"}]}
    path = out.parent / "job.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "titles": [title]}), encoding="utf-8")
    return OnlyCuts(manifest.load(path), out, config.load())


def started(job: Job) -> list[str]:
    ids: list[str] = []
    failed = do_tasks(job, "local", lambda e: ids.append(e.task_id) if e.kind == "started" else None)
    assert not failed
    return ids


def result(job: Job) -> tuple[ShotList, Path]:
    task = job.analysis(job.manifest.titles[0]).get(ShotList)
    assert task is not None
    return job.result(task), task.folder


def test_a_run_finds_cuts_in_windows_and_goes_on_where_it_ended(
    film: Path, one_pass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "out", Shots.process
    begun: list[object] = []

    def stopped(self: Shots, inputs: ShotsInputs, *more: Any) -> ShotList:
        begun.append(inputs.window)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return whole(self, inputs, *more)

    monkeypatch.setattr(Shots, "process", stopped)
    with pytest.raises(KeyboardInterrupt):
        started(job_of(film, out))
    monkeypatch.setattr(Shots, "process", whole)
    names = [f"shots film/window_{n}" for n in (1, 2, 3)]
    again = started(job_of(film, out))
    assert len(again) == 2 and again[-1] == "shots film" and set(again) < {*names, "shots film"}
    listed, folder = result(job_of(film, out))
    assert listed == ShotList.read(one_pass) and lines(folder) == lines(one_pass)
    assert started(job_of(film, out)) == [] and not list(out.rglob("window.npz"))
    monkeypatch.setattr(module, "SCAN_FROM_S", 600.0)
    assert started(job_of(film, out)) == [], "windows change no key"


def test_one_pass_decides_where_an_index_is_wrong(
    film: Path, one_pass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [(stamp, number + (number > 50)) for stamp, number in media.key_frames(film)]
    monkeypatch.setattr(Job, "key_frames", lambda job, path: wrong)
    job = job_of(film, tmp_path / "out")
    assert len(started(job)) == 4
    listed, folder = result(job)
    assert "shows it as frame" in listed.in_one_pass
    assert replace(listed, in_one_pass="") == ShotList.read(one_pass) and lines(folder) == lines(one_pass)


@pytest.mark.parametrize("ending", ["avi", "mkv", "sequence", "fragments"])
def test_what_a_file_tells_of_its_key_frames(tmp_path: Path, ending: str) -> None:
    more: dict[str, Any] = {"codec": "mpeg4", "crf": None} if ending == "avi" else {"options": {"g": "5"}}
    path = tmp_path / f"film.{'mp4' if ending == 'fragments' else ending}"
    if ending == "sequence":
        import cv2

        for n in range(20):
            cv2.imwrite(str(tmp_path / f"film.{n:04d}.png"), np.full((36, 64, 3), 5 * n, np.uint8))
        path = tmp_path / "film.%04d.png#rate=24"
        assert media.key_frames(path) == [(n, n) for n in range(20)]
        return
    if ending == "fragments":
        more["container_options"] = {"movflags": "frag_keyframe+empty_moov"}
    with media.ClipWriter(path, 64, 36, Fraction(24), **more) as clip:
        for n in range(20):
            clip.frame(np.full((36, 64, 3), 5 * n, np.uint8))
    numbers = [number for _, number in media.key_frames(path)]
    assert numbers == ([0, 5, 10, 15] if ending == "mkv" else [])
