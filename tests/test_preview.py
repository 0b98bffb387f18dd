"""`dub run --preview`: seconds of the worst and best shots beside the original, in the way of no full run."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from command import Dub
from films import Finished, started_by

from dubbing import config, media
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline
from dubbing.records import Shot, Track
from dubbing.review import stretches
from dubbing.shot_table import read_rows

pytestmark = pytest.mark.xdist_group("film")
START, END = 12, 84  # of the speaking shot


@pytest.fixture
def analysed(finished: Finished, tmp_path: Path) -> Finished:
    """A job of the Hindi dub alone, and its output folder as it is when it was stopped after the analysis."""
    plain = yaml.safe_load(finished.film.read_text(encoding="utf-8"))
    (title,) = plain["titles"]
    title["video"] = str(finished.film.parent / title["video"])
    title["dubs"] = [{"language": "hi", "audio": str(finished.film.parent / "film.hi.flac")}]
    (tmp_path / "hindi.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    left = shutil.ignore_patterns("ta", "takes", "master-*", "proof-*", "*.mp4", "*.parquet", "run.*")
    out = shutil.copytree(finished.out, tmp_path / "out", ignore=left)
    return Finished(tmp_path / "hindi.yaml", out)


def files(out: Path) -> dict[Path, int]:
    """When what people look at was written."""
    return {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name[0] != "."}


def sides(video: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both pictures of every frame, without what is written below them, at the size of the film (480 by 270)."""
    line = media.timeline(video)
    pictures = [picture.bgr() for picture in media.read(video, line, 0, len(line))]
    return [
        (cv2.resize(p[:360, :640], (480, 270)), cv2.resize(p[:360, 648:1288], (480, 270))) for p in pictures
    ]  # fmt: skip


def test_it_shows_both_pictures_and_a_full_run_finds_what_it_made(
    analysed: Finished, finished: Finished, dub: Dub
) -> None:
    code, out, _ = dub("run", analysed.film, "--out", analysed.out, "--engine", "local", "--preview", "--json")
    (told,) = json.loads(out)["dubs"]
    assert code == 0 and told["language"] == "hi" and told["rendered"] > 40 and told["errors"] == []
    (shown,) = told["stretches"]
    assert (shown["kind"], shown["by"], shown["shot"], shown["kept"]) == ("worst", "analysis", "shot_0002", True)
    assert (shown["start_frame"], shown["end_frame"], shown["start_tc"]) == (START, END, "01:00:00:12")
    assert shown["lse_d"] and shown["source_lse_d"]
    video = Path(told["file"])
    assert video == analysed.out / "preview" / "film.hi.mp4" and not (analysed.out / "run.json").exists()
    assert not list(analysed.out.glob("film/hi/*.*")), "no master, no table"

    film, master = finished.film.parent / "film.mp4", finished.out / "film" / "hi" / "film.hi.mp4"
    wanted = [
        [p.bgr() for p in media.read(path, media.timeline(path), START, END)] for path in (film, master)
    ]  # fmt: skip
    both = sides(video)
    assert len(both) == END - START
    for n in range(0, len(both), 7):
        for side, pictures in enumerate(wanted):
            assert np.abs(both[n][side].astype(int) - pictures[n]).mean() < 4
    mouths = [np.abs(a.astype(int) - b)[140:230, 150:330].max() for a, b in both]
    assert max(mouths) > 60, "lips differ somewhere"
    heard = media.read_sound(video, 48_000)
    dubbed = media.read_sound(finished.film.parent / "film.hi.flac", 48_000)
    line = media.timeline(film)
    dubbed = dubbed[line.sample(START, 48_000) : line.sample(END, 48_000)]
    assert abs(len(heard) - len(dubbed)) < 3000 and np.corrcoef(heard[: len(dubbed)], dubbed[: len(heard)])[0, 1] > 0.9

    started = started_by(analysed.film, analysed.out)
    assert {name.split()[0] for name in started} == {"lipsync", "sync", "master", "proof"}
    assert not any("shot_0002" in name for name in started), "its take is there"
    mine, whole = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(out / "film" / "hi" / "shots.parquet")]
        for out in (analysed.out, finished.out)
    )
    assert mine == whole


def test_a_face_that_comes_to_rest_is_looked_at_as_it_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.arange(100, 300, dtype=np.int32)
    mesh, seen, yaw = np.zeros((200, 478, 3), np.float32), np.ones(200, bool), np.zeros(200, np.float32)
    monkeypatch.setattr(stretches, "load_tracks", lambda f: [Track(n, frames, mesh, seen, yaw, 200.0) for n in "ab"])
    speaks = FaceTurns("a", 0, (), ((120, 140),), by="stem")
    rests = FaceTurns("b", 1, ((200, 240),), (), by="stem")
    job: Any = SimpleNamespace(
        store=SimpleNamespace(brought=lambda *folders: nullcontext(folders)), made_of=lambda title: None,
        asked=lambda title, dub: None, config=config.load(),
    )  # fmt: skip
    step: Any = SimpleNamespace(shot=Shot(1, 100, 300), delivered=True, faces=SimpleNamespace(folder="."))
    line = Timeline(np.arange(400), Fraction(1, 25), 400, Fraction(25))
    turns = ShotTurns("shot_0001", ((120, 140),), (speaks, rests))
    seen_as = stretches.looked_at(job, *([None] * 2), step, line, turns)  # type: ignore[arg-type]
    assert seen_as is not None and seen_as[0][100:140].all() and not seen_as[0][60:80].any()


def test_scores_of_a_run_choose_and_nothing_of_it_changes(finished: Finished, dub: Dub, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    before = files(out)
    code, said, _ = dub("run", finished.film, "--out", out, "--engine", "local", "--preview")
    assert code == 0 and said.count("worst  scores  shot_0002") == 2
    assert "0 of 84 frames rendered for it now" in said and "No master was made" in said
    after = files(out)
    assert {p.name for p in after.keys() - before.keys()} == {"film.hi.mp4", "film.ta.mp4"}
    assert {p: after[p] for p in before} == before


def test_of_a_long_shot_parts_are_shown_whose_takes_go_again(
    analysed: Finished, dub: Dub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "WHOLE_S", 1.5)
    monkeypatch.setattr(stretches, "LENGTH_S", 1.0)
    code, out, _ = dub("run", analysed.film, "--out", analysed.out, "--engine", "local", "--preview", "--json")
    (hi,) = json.loads(out)["dubs"]
    parts = sorted((s["start_frame"], s["end_frame"], s["kind"]) for s in hi["stretches"])
    assert code == 0 and {b - a for a, b, _ in parts} == {24} and {kind for *_, kind in parts} == {"worst", "best"}
    assert parts[0][1] <= parts[1][0] and hi["rendered"] <= 48 and not any(s["kept"] for s in hi["stretches"])
    assert len(media.timeline(hi["file"])) == 48
    assert not list(analysed.out.glob("film/*/takes/*/*")), "a full run could not use them"
