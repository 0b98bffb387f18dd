"""`dub eval` of several generators: one line each, over the clips that all of them have, and a page that shows them."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from dubbing import config
from dubbing.errors import MediaError
from dubbing.evaluate import find_clips, page, read_table
from dubbing.evaluate.measurements import by_generator, measured_beside, row, side_by_side
from dubbing.evaluate.measures import GROUPS

pytestmark = pytest.mark.long


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


def test_the_command_measures_several(finished, tmp_path, dub):
    """On what a run has analysed."""
    shutil.copytree(finished.out / "film" / "analysis", tmp_path / "film" / "analysis")
    two = ("--generator", "rewrite", "--generator", "{name: rewrite, opening: 0.5}")
    clip = finished.film.parent / "film.mp4"
    code, said, err = dub("eval", clip, "--out", tmp_path, "--json", "--only", "resynthesis", *two)
    assert code == 0, err
    value = json.loads(said)
    whole, half = value["side_by_side"]
    assert whole["clips"] == half["clips"] == 1 and whole["PSNR"] > 10 and whole["MB"] == half["MB"] > 0.1
    assert whole["M-LMD"] != half["M-LMD"] and set(value["summary"]) == {whole["generator"], half["generator"]}
    rows = read_table(tmp_path / "eval.parquet")
    assert len({r["generator_hash"] for r in rows}) == 2
    html = page(rows, tmp_path)
    assert html.count("<h2>rewrite@") == 2 and html.count("data:image/jpeg") == 2


def test_a_generator_there_is_not_stops_all_before_any_work(film, tmp_path, dub):
    two = ("--generator", "rewrite", "--generator", "{name: lipgan, model: /no/such.pth}")
    code, _, err = dub("eval", film.parent / "film.mp4", "--out", tmp_path / "out", *two)
    assert code == 2 and "/no/such.pth" in err and "Traceback" not in err
    assert not list((tmp_path / "out").rglob("result.json"))


def test_another_expert_judges_anew(monkeypatch):
    """What a sync expert said must not outlive it, in any group that asks one."""
    asked = {g.name: g.judges(config.load()) for g in GROUPS}
    ask = {name for name, judges in asked.items() if any("lips@" in one for one in judges)}
    assert ask == {"dub", "published", "languages", "expert", "resynthesis"}
    monkeypatch.setattr("dubbing.experts.identity", lambda name, folder=None: f"{name}@new")
    now = {g.name: g.judges(config.load()) for g in GROUPS}
    assert {name for name in asked if now[name] != asked[name]} == ask


def test_without_clips_the_media_beside_the_checkout_are_measured(tmp_path, monkeypatch):
    (tmp_path / "shared" / "media").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "shared" / "media" / "one.mp4").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert [c.id for c in find_clips([])] == ["one"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="nothing to measure"):
        find_clips([])
