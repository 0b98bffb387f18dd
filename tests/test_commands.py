"""`dub run`, `plan`, `status` on a small film without a face: everything but the rendering, from end to end."""

import json
from pathlib import Path

import pytest
from command import Dub, code_of
from films import plain_job

from dubbing.media import audio_length, probe
from dubbing.shot_table import read_rows
from dubbing.store import Store

FRAMES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two plain shots, and two dubs of it; file names as people give them."""
    folder = tmp_path_factory.mktemp("job")
    dubs = {"ja": "音.flac", "de": "-de.flac"}
    return plain_job(folder, dubs, FRAMES, video="das Bild 'x'.mp4", job="-odd job.yaml").parent


@pytest.fixture(scope="module")
def ran(folder: Path) -> Path:
    """The output folder of a finished run."""
    assert code_of("run", folder / "-odd job.yaml", "--out", folder / "out", "--engine", "local") == 0
    return folder / "out"


def test_a_run_delivers_a_master_and_a_table_for_every_dub(ran: Path, folder: Path) -> None:
    for language, sound in (("ja", "音.flac"), ("de", "-de.flac")):
        master = ran / "reel" / language / f"reel.{language}.mp4"
        video = probe(master).video
        assert video is not None and (video.frames_hint, video.rate) == (FRAMES, 25)
        assert audio_length(master) == audio_length(folder / sound)
        rows = read_rows(ran / "reel" / language / "shots.parquet")
        assert [(r["shot"], r["start_frame"], r["end_frame"]) for r in rows] == [
            ("shot_0001", 0, 30),
            ("shot_0002", 30, 60),
        ]
        assert {r["status"] for r in rows} == {"untouched"} and all(r["reason"] for r in rows)


def test_run_again_does_nothing(ran: Path, folder: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.stat().st_mtime_ns for p in ran.rglob("*") if p.suffix in (".mp4", ".npz", ".mkv")}
    monkeypatch.chdir(folder)
    code, out, err = dub("run", "--engine", "local", "--", "-odd job.yaml")
    assert code == 0, err
    assert "0 tasks done" in out and "2 untouched" in out and "\x1b" not in out + err
    assert {p: p.stat().st_mtime_ns for p in ran.rglob("*") if p.suffix in (".mp4", ".npz", ".mkv")} == before
    code, out, _ = dub("run", "--engine", "local", "--json", "--", "-odd job.yaml")
    told = json.loads(out)
    assert (code, told["state"], told["done_now"], told["counts"]) == (0, "finished", 0, {"untouched": 4})


def test_plan_knows_what_is_cached(ran: Path, folder: Path, dub: Dub, tmp_path: Path) -> None:
    job = folder / "-odd job.yaml"
    code, out, _ = dub("plan", job, "--out", ran)
    assert code == 0 and "Everything is done" in out
    plan = json.loads(dub("plan", job, "--out", ran, "--json")[1])
    assert plan["complete"] and all(t["done"] for t in plan["tasks"])
    assert {s["stage"]: s["tasks"] for s in plan["stages"]} == {
        "shots": 1, "faces": 2, "source_audio": 1, "audio": 2, "people": 1, "speakers": 1, "actors": 1, "donors": 0,
        "turns": 2, "lipsync": 4, "sync": 4, "master": 2, "proof": 2,
        "overlays": 2, "overlay_list": 1,
    }  # fmt: skip
    fresh = json.loads(dub("plan", job, "--out", tmp_path / "out", "--json")[1])
    assert not fresh["complete"] and not any(t["done"] for t in fresh["tasks"])
    assert not (tmp_path / "out").exists()


def test_a_changed_setting_redoes_only_what_it_touches(ran: Path, folder: Path, dub: Dub, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("master: {crf: 30}\n")
    plan = json.loads(dub("plan", folder / "-odd job.yaml", "--out", ran, "--config", tmp_path / "c.yaml", "--json")[1])
    assert {t["stage"] for t in plan["tasks"] if not t["done"]} == {"master", "proof"}


def test_status_of_a_run(ran: Path, dub: Dub) -> None:
    code, out, _ = dub("status", ran)
    assert code == 0 and "exit status 0" in out and "2 untouched" in out and "reel.ja.mp4" in out


def test_a_second_run_into_the_same_folder_stops_at_once(ran: Path, folder: Path, dub: Dub) -> None:
    before = (ran / "run.json").read_bytes()
    with Store(ran).lock():
        code, out, err = dub("run", folder / "-odd job.yaml", "--out", ran, "--engine", "local")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Another run is writing" in err
    assert (ran / "run.json").read_bytes() == before


def test_a_run_in_json_writes_nothing_but_json(ran: Path, folder: Path, dub: Dub, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("master: {crf: 30}\n")
    options = ("--out", ran, "--engine", "local", "--config", tmp_path / "c.yaml", "--log-format", "json")
    code, out, err = dub("run", folder / "-odd job.yaml", *options)
    assert code == 0 and "reel.ja.mp4" in out
    events = [json.loads(line) for line in err.splitlines()]
    assert [(e["task"], e["language"]) for e in events if e["event"] == "finished"] == [
        ("master reel/ja", "ja"),
        ("proof reel/ja", "ja"),
        ("master reel/de", "de"),
        ("proof reel/de", "de"),
    ]
    status = dub("status", ran)[1]
    assert "4 tasks done, 22 were done before; seconds: mastering" in status
