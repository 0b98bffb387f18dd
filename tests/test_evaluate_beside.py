"""`dub eval` of several generators: one line each, over the clips that all of them have, and a page that shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dubbing import config
from dubbing.errors import MediaError
from dubbing.evaluate import find_clips, page, read_table
from dubbing.evaluate.measurements import by_generator, measured_beside, row, side_by_side
from dubbing.evaluate.measures import GROUPS

pytestmark = [pytest.mark.xdist_group("film"), pytest.mark.long]


def told(generator: str, clip: str, model: str | None = None, sha: str = "a" * 12, **numbers: float) -> list[dict]:
    about: dict[str, Any] = {"generator": generator, "model": model, "generator_hash": sha, "clip": clip}
    return [row("resynthesis", name, value, **about) for name, value in numbers.items()]


def test_generators_stand_side_by_side_over_the_clips_they_share():
    rows = told("rewrite", "a", psnr_db=20.0) + told("rewrite", "b", psnr_db=30.0) + told("rewrite", "c", psnr_db=1.0)
    rows += told("wav2lip", "a", "mine", psnr_db=10.0) + told("wav2lip", "b", "mine", psnr_db=14.0, size_mb=3.0)
    first, second = side_by_side(rows)
    assert (first["generator"], first["PSNR"], first["clips"]) == ("rewrite", 25.0, 2)
    assert (second["generator"], second["PSNR"], second["MB"]) == ("wav2lip mine", 12.0, 3.0)
    assert [label for label, _ in measured_beside([first, second])] == ["PSNR", "MB"]


def test_two_of_one_name_are_told_apart():
    rows = told("lipgan", "a", "lipgan", "1" * 12, psnr_db=1.0) + told("lipgan", "a", "lipgan", "2" * 12, psnr_db=2.0)
    assert list(by_generator(rows)) == ["lipgan@111111", "lipgan@222222"]


def test_the_command_measures_several(film, tmp_path):
    clip = str(film.parent / "film.mp4")
    command = [sys.executable, "-m", "dubbing", "eval", clip, "--out", str(tmp_path), "--json"]
    command += ["--only", "resynthesis", "--generator", "rewrite", "--generator", "{name: rewrite, opening: 0.5}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    whole, half = value["side_by_side"]
    assert whole["clips"] == half["clips"] == 1 and whole["PSNR"] > 10 and whole["MB"] == half["MB"] > 0.1
    assert whole["M-LMD"] != half["M-LMD"] and set(value["summary"]) == {whole["generator"], half["generator"]}
    rows = read_table(tmp_path / "eval.parquet")
    assert len({r["generator_hash"] for r in rows}) == 2
    html = page(rows, tmp_path)
    assert html.count("<h2>rewrite@") == 2 and html.count("data:image/jpeg") == 2


def test_a_generator_there_is_not_stops_all_before_any_work(film, tmp_path):
    command = [sys.executable, "-m", "dubbing", "eval", str(film.parent / "film.mp4"), "--out", str(tmp_path / "out"),
               "--generator", "rewrite", "--generator", "{name: lipgan, model: /no/such.pth}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "/no/such.pth" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("result.json"))


def test_another_expert_judges_anew(monkeypatch):
    """What a sync expert said must not outlive it, in any group that asks one."""
    asked = {g.name: g.judges(config.load()) for g in GROUPS}
    assert {name for name, experts in asked.items() if experts} == {
        "dub",
        "published",
        "languages",
        "expert",
        "resynthesis",
    }
    monkeypatch.setattr("dubbing.experts.identity", lambda name, folder=None: f"{name}@new")
    now = {g.name: g.judges(config.load()) for g in GROUPS}
    assert all(now[name] != experts for name, experts in asked.items() if experts)


def test_without_clips_the_media_beside_the_checkout_are_measured(tmp_path, monkeypatch):
    (tmp_path / "shared" / "media").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "shared" / "media" / "one.mp4").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert [c.id for c in find_clips([])] == ["one"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="nothing to measure"):
        find_clips([])
