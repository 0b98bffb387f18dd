"""The programs in examples/api, and the one in the README, run as they stand on the short film."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import pytest
from films import Finished

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "api"


@pytest.fixture
def here(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the film and a run of it that is finished, so that only what is asked for is done."""
    shutil.copytree(finished.film.parent, tmp_path / "demo-film")
    shutil.copytree(finished.out, tmp_path / "demo-out")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(monkeypatch: pytest.MonkeyPatch, name: str, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *args])
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    except SystemExit as e:
        return int(e.code or 0)
    return 0


def test_all_of_them_are_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in sorted(EXAMPLES.iterdir()) if p.suffix == ".py" and f'"{p.name}"' not in text] == []


def test_run_a_manifest(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for master in here.glob("demo-out/film/hi/master-*"):
        shutil.rmtree(master)
    assert ran(monkeypatch, "run_a_manifest.py", "demo-film/manifest.yaml", "demo-out", "local") in (0, 3)
    said = capsys.readouterr()
    assert "finished master film/hi" in said.err and "film/hi: {'untouched': 1, 'dubbed': 1}" in said.out
    assert ran(monkeypatch, "run_a_manifest.py", "absent.yaml", "demo-out", "local") == 2
    assert "No such manifest" in capsys.readouterr().err


def test_worst_shots(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran(monkeypatch, "worst_shots.py", "demo-film/film.mp4", "demo-film/film.hi.flac", "hi", "demo-out", "local")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and re.match(r"shot_0002  01:00:00:12 +\d+\.\d\d +\d+\.\d\d  ", lines[1]), lines


def test_patches(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran(monkeypatch, "patches.py", "demo-out", "patch.png")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(re.search(r"take [0-9a-f]{12}: \d+ patches of face_1, \d+% of", x) for x in lines)
    picture = cv2.imread("patch.png", cv2.IMREAD_UNCHANGED)
    assert picture.shape[2] == 4 and picture[..., 3].max() == 255


def test_demo_film(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran(monkeypatch, "demo_film.py")
    assert "film: 84 frames, 2 dubs" in capsys.readouterr().out
    plot = cv2.imread("demo.png")
    assert plot.shape[1] == 600 and len({tuple(c) for c in plot.reshape(-1, 3)[::7]}) > 10


def test_the_readmes_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(program.splitlines()) <= 10
    shutil.copytree(here / "demo-film", here, dirs_exist_ok=True)
    (here / "manifest.yaml").rename("reel.yaml")
    Path("demo-out").rename("out")
    exec(compile(program, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("film hi {'untouched': 1, 'dubbed': 1} ") and lines[0].endswith(
        "out/film/hi/film.hi.mp4"
    )
    assert lines[1].startswith("shot_0002 ") and re.fullmatch(r"\d+ \d+ \d+ \(\d+, \d+, 3\) \(\d+, \d+\)", lines[2])
