"""What travels to a cluster: the same work has the same name, and no name of a file breaks anything."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Dub

from dubbing import config, manifest
from dubbing.cluster.submission import Submission, attempt_of, is_job_id, prepare
from dubbing.errors import InputError, ManifestError

JOB: dict[str, Any] = {
    "version": 1,
    "titles": [{"id": "reel", "video": "film.mp4", "dubs": [{"language": "fr", "audio": "fr.flac"}]}],
}
ODD = [
    "it's",
    '"two"',
    "-lead",
    "$HOME",
    "`id`",
    "a;b",
    "a\nb",
    "no",
    "1e5",
    "日本",
    "🎬",
    "\x85",
    "\u2028",
    "\x7f",
    "#x: y",
]


@pytest.fixture
def reel(tmp_path: Path) -> Path:
    path = tmp_path / "reel.yaml"
    path.write_text(json.dumps(JOB), encoding="utf-8")
    return path


def test_a_submission_is_named_by_its_manifest_settings_and_out(reel: Path, tmp_path: Path) -> None:
    first = prepare(str(reel), None, "out")
    assert is_job_id(first.name) and first.name.startswith("dub-reel-")
    assert prepare(str(reel), None, "./out").name == first.name
    assert prepare(str(reel), None, "out", workers=3).name == first.name  # how quickly is not what
    settings = tmp_path / "c.yaml"
    settings.write_text("shots: {threshold: 3.0}")  # the default
    assert prepare(str(reel), settings, "out").name == first.name
    settings.write_text("shots: {threshold: 4.0}")
    names = {first.name, prepare(str(reel), settings, "out").name, prepare(str(reel), None, "out2").name}
    reel.write_text(json.dumps(JOB).replace("fr.flac", "other.flac"))
    assert len(names | {prepare(str(reel), None, "out").name}) == 4


def test_paths_become_absolute_and_uris_stay(reel: Path, tmp_path: Path) -> None:
    made = prepare(str(reel), None, "s3://bucket/out")
    assert made.out == "s3://bucket/out" and made.metadata["out"] == made.out
    title = json.loads(made.files["manifest.yaml"])["titles"][0]
    assert title["video"] == str(tmp_path / "film.mp4") and title["dubs"][0]["audio"] == str(tmp_path / "fr.flac")
    assert made.absent == (str(tmp_path / "film.mp4"), str(tmp_path / "fr.flac"))
    assert prepare(str(reel), None, "out").out == str(Path("out").absolute())


def travelled(made: Submission, folder: Path) -> manifest.Manifest:
    """The manifest as the cluster reads it."""
    for name, text in made.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return manifest.load(folder / "manifest.yaml")


def test_every_name_survives_the_way(tmp_path: Path) -> None:
    """Names that YAML would fold, refuse or take for something else."""
    cast = {name: {"consent": name} for name in ODD}
    job = JOB | {"titles": [JOB["titles"][0] | {"id": "1e5", "cast": cast}], "generator": {"name": "x", "a": ODD}}
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "manifest.yaml").write_text(jobs_yaml(job), encoding="utf-8")
    read = manifest.load(here / "manifest.yaml")
    assert set(read.titles[0].cast or {}) == set(ODD)
    assert travelled(prepare(str(here / "manifest.yaml"), None, "out"), there).model_dump() == read.model_dump()


def jobs_yaml(value: Any) -> str:
    """YAML that every reader takes, by PyYAML's own hand."""
    return yaml.safe_dump(value, default_style='"', allow_unicode=False).replace('!!int "1"', "1")


def test_settings_travel_as_differences(reel: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("master: {crf: 30}\nengine: {tries: 5}")
    made = prepare(str(reel), tmp_path / "c.yaml", "out")
    assert json.loads(made.files["config.yaml"]) == {"master": {"crf": 30}, "engine": {"tries": 5}}
    travelled(made, tmp_path)
    assert config.load(tmp_path / "config.yaml") == config.load(tmp_path / "c.yaml")
    assert "--config=config.yaml" in made.entrypoint


@pytest.mark.parametrize(
    "name", [n for n in ODD if n != "a\nb"] + ["$(touch owned)", "x' ; touch owned ; '", "-", "a\n"]
)
def test_no_name_breaks_out_of_the_shell_line(reel: Path, tmp_path: Path, name: str) -> None:
    made = prepare(str(reel), None, name, workers=2)
    assert made.out == str(Path(name).absolute())
    line = made.entrypoint.replace("python -m dubbing", "printf '%s\\0'", 1)
    shown = subprocess.run(["/bin/sh", "-c", line], capture_output=True, cwd=tmp_path, check=True).stdout
    words = [w.decode() for w in shown.split(b"\0")[:-1]]
    assert words == ["run", "manifest.yaml", f"--out={made.out}", "--engine=ray", "--workers=2"]
    assert not (tmp_path / "owned").exists()
    from dubbing.cli.app import dub

    parsed = dub.commands["run"].make_context("run", shlex.split(made.entrypoint)[4:]).params
    assert str(parsed["out"]) == made.out and parsed["engine"] == "ray"


def test_what_is_wrong_is_said_before_anything_is_sent(reel: Path, dub: Dub) -> None:
    with pytest.raises(InputError, match="UTF-8"):
        prepare(str(reel), None, "out\udcff")
    reel.write_text("version: 1\ntitels: []")
    with pytest.raises(ManifestError, match="titles"):
        prepare(str(reel), None, "out")
    code, _, err = dub("submit", reel, "--address", "http://127.0.0.1:1")
    assert code == 2 and "line" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("job_id", "attempt"),
    [("dub-a-0123456789ab", 1), ("dub-a-0123456789ab-2", 2), ("dub-a-0123456789ab-13", 13),
     ("dub-a-0123456789ab-1", None),
     ("dub-a-0123456789ac", None), ("dub-a-0123456789ab-02", None), ("raysubmit_x", None)],
)  # fmt: skip
def test_attempts_are_numbered(job_id: str, attempt: int | None) -> None:
    assert attempt_of("dub-a-0123456789ab", job_id) == attempt


@pytest.mark.parametrize(
    "text", ["dub-a-0123456789ab/../x", "dub-a-0123456789ab\n", "dub-A-0123456789ab", "dub-a-xyz", ""]
)
def test_only_ids_of_dub_are_ids(text: str) -> None:
    assert not is_job_id(text)
