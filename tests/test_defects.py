"""What is said and written when something fails that nobody foresaw; and that no name speaks to a terminal."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Dub

from dubbing import media
from dubbing.cli.say import safe
from dubbing.cli.show import table
from dubbing.errors import MediaError, during
from dubbing.job import Job

HZ = 16_000


@pytest.fixture
def job(tmp_path: Path) -> Path:
    wave = (0.2 * np.sin(np.arange(HZ) / 8)).astype(np.float32)[:, None]
    with media.ClipWriter(tmp_path / "film.mp4", 64, 48, Fraction(25), sample_rate_hz=HZ, channels=1) as made:
        for n in range(25):
            made.frame(np.full((48, 64, 3), 40 + n, np.uint8))
        made.sound(wave)
    with media.ClipWriter(tmp_path / "fr.flac", sample_rate_hz=HZ, channels=1) as made:
        made.sound(wave)
    one = {"id": "reel", "video": "film.mp4", "dubs": [{"language": "fr", "audio": "fr.flac"}]}
    (tmp_path / "job.yaml").write_text(json.dumps({"version": 1, "titles": [one]}), encoding="utf-8")
    return tmp_path / "job.yaml"


def fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("boom")


def test_a_defect_says_which_file_it_was_at(job: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "delivery", fails)
    code, _, err = dub("check", job, "--out", job.parent / "out")
    assert code == 1 and err.count("\n") == 1
    assert f"ZeroDivisionError: boom (while looking at {job}, line 1); this is a defect of dub" in err


def test_a_defect_in_planning_says_stage_and_title(job: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> None:
    from dubbing.stages.shots import Shots

    monkeypatch.setattr(Shots, "inputs", fails)
    code, _, err = dub("run", job, "--out", job.parent / "out", "--engine", "local")
    assert code == 1 and "boom (while planning stage shots of title reel)" in err


def test_a_defect_after_a_task_names_the_task(job: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job, "forget", fails)
    code, _, err = dub("run", job, "--out", job.parent / "out", "--engine", "local")
    assert code == 1 and "boom (while taking up what " in err and " reel" in err


def test_debug_writes_a_report_to_send(job: Path, dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DUB_DEBUG", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    forget = Job.forget
    monkeypatch.setattr(Job, "forget", lambda self, task: forget(self, task) if task.stage == "shots" else fails())
    code, _, err = dub("run", job, "--out", tmp_path / "out", "--engine", "local")
    (report,) = (tmp_path / "here").iterdir()
    assert code == 1 and f"the report is {report}: " in err and "Traceback" in err
    text = report.read_text(encoding="utf-8")
    assert "ZeroDivisionError: boom (while taking up what" in text and "Traceback" in text
    assert " started " in text and " finished " in text and "numpy==" in text and "Python 3" in text
    assert "not a secret" not in text
    monkeypatch.delenv("DUB_DEBUG")
    dub("run", job, "--out", tmp_path / "out", "--engine", "local")
    assert list((tmp_path / "here").iterdir()) == [report]


def test_where_no_report_can_be_written_that_is_said(dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setenv("DUB_DEBUG", "1")
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "absent")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    code, _, err = dub("check", "absent.yaml")
    assert code == 2 and "the report could be written neither here nor" in err


def test_only_what_nobody_foresaw_is_told_where_it_was() -> None:
    with pytest.raises(MediaError) as known, during("looking"):
        raise MediaError("x")
    assert not hasattr(known.value, "__notes__")
    with pytest.raises(KeyError) as unforeseen, during("looking"), during("reading"):
        raise KeyError("x")
    assert unforeseen.value.__notes__ == ["reading", "looking"]


NAMES = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\x9b31mb", "a\u202egnp.exe", "\u2066x", "\x7f", "a\x00b"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_speaks_to_a_terminal(name: str) -> None:
    assert safe(name).isprintable() and json.loads(f'"{safe(name)}"') == name
    assert safe(table(["file"], [[name]])) == table(["file"], [[name]])
    assert safe("é 日本 \t\n 🎬") == "é 日本 \t\n 🎬"


@pytest.mark.parametrize("name", [n for n in NAMES if "\0" not in n])
def test_file_names_are_shown_escaped_by_commands(tmp_path: Path, dub: Dub, name: str) -> None:
    for command in (
        ("check", tmp_path / f"{name}.yaml"),
        ("status", tmp_path / name),
        ("score", tmp_path / f"{name}.mp4"),
    ):
        code, out, err = dub(*command)
        assert code == 2 and (out + err).replace("\n", "").isprintable(), (command, out, err)
