"""./check ends with what became of the tests, and with --fast leaves the slow ones out. On a small folder of tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import counts
import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "test_one.py": """
import pytest

def test_well(): pass

@pytest.mark.parametrize("n", range(3))
def test_skipped(n): pytest.skip("no browser on this machine")

@pytest.mark.skip(reason="no GPU")
def test_marked(): pass

@pytest.mark.xfail(strict=True)
def test_known(): assert False

@pytest.mark.ray
def test_ray(): pass

@pytest.mark.long
@pytest.mark.training
def test_long(): pass
""",
    "test_two.py": "import pytest\npytest.importorskip('no_such_package', reason='the extra `none` brings it')\n",
}
SKIPPED = ["  skipped 3: no browser on this machine", "  skipped 1: no GPU", "  skipped 1: the extra `none` brings it"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of ./check with tools that find nothing wrong, and a few tests."""
    shutil.copy(ROOT / "check", tmp_path)
    for folder in ("tests", ".ci", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".ci" / "venv.sh").write_text('bin="$root/bin"\n', encoding="utf-8")
    for name in ("ruff", "mypy", "lint-imports", "deno", "mkdocs"):
        tool(tmp_path / "bin" / name, "exit 0")
    tool(tmp_path / "bin" / "python", f'exec "{sys.executable}" "$@"')
    markers = "\n".join(["markers ="] + [f"  {name}" for name in (*counts.SLOW, "xdist_group")])
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = -q -p counts -p no:cacheprovider\n{markers}\n")
    for name, text in TESTS.items():
        (tmp_path / "tests" / name).write_text(text, encoding="utf-8")
    return tmp_path


def tool(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def check(project: Path, *args: str) -> tuple[int, list[str]]:
    """Its exit code and what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "TMPDIR": str(project / "bin")}
    for name in list(environment):
        if name.startswith("PYTEST_"):  # of the run that this test is in
            del environment[name]
    command = [project / "check", *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert not list((project / "bin").glob("tmp.*")), "it left its file of counts behind"
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("processes", ["0", "2"])
def test_its_last_lines_are_what_became_of_the_tests(project: Path, processes: str) -> None:
    code, said = check(project, "-n", processes)
    wanted = [
        "ok: format lint types imports javascript docs tests",
        "tests: 3 passed, 5 skipped, 1 failed as expected",
        *SKIPPED,
    ]
    assert (code, said[-5:]) == (0, wanted)
    assert any(re.match(r"3 passed, 5 skipped, 1 xfailed in \d", line) for line in said), "pytest's own line"


@pytest.mark.parametrize("processes", ["0", "2"])
def test_fast_leaves_out_the_slow_ones_and_says_so(project: Path, processes: str) -> None:
    code, said = check(project, "--fast", "-n", processes)
    left_out = ["  not run 1: marked ray", "  not run 1: marked training, long"]
    wanted = ["tests: 1 passed, 5 skipped, 1 failed as expected", *SKIPPED, *left_out]
    assert (code, said[-6:]) == (0, wanted)
    assert "ok: format lint types imports javascript tests" in said, "the site is left out too"


def test_what_failed_is_counted_and_arguments_go_to_pytest(project: Path) -> None:
    tool(project / "bin" / "mypy", "exit 1")
    with (project / "tests" / "test_one.py").open("a", encoding="utf-8") as file:
        file.write(
            "\ndef test_wrong(): assert False\n\n@pytest.fixture\ndef bad(): 1 / 0\n\ndef test_broken(bad): pass\n"
        )
    code, said = check(project, "-n", "0", "-k", "well or wrong or broken", "tests/test_one.py")
    wanted = ["ok: format lint imports javascript docs", "FAILED: types tests", "tests: 1 passed, 1 failed, 1 broken"]
    assert (code, said[-4:]) == (1, [*wanted, "  not run 7: left out by the arguments"])


def test_checks_run_beside_each_other_and_speak_one_after_another(project: Path) -> None:
    tool(project / "bin" / "mypy", "echo waits; until [ -e met ]; do sleep 0.05; done; echo met")
    tool(project / "bin" / "lint-imports", "echo comes; touch met")
    code, said = check(project, "--fast", "-n", "0")
    heads = ["== types", "waits", "met", "   types: ok", "== imports", "comes", "   imports: ok"]
    first = said.index(heads[0])
    assert code == 0 and [line.partition(",")[0] for line in said[first : first + len(heads)]] == heads


def test_what_is_made_once_a_module_is_made_once_though_processes_share_the_tests(project: Path) -> None:
    """Without it every process makes films, runs and networks anew, and nothing but the time tells."""
    text = """
import os, pytest

pytestmark = pytest.mark.xdist_group(__name__)

@pytest.fixture(scope="module")
def made():
    with open(__name__ + ".made", "a") as file:
        file.write("made ")

@pytest.mark.parametrize("n", range(6))
def test_it(made, n): pass
"""
    for name in ("test_red.py", "test_blue.py"):
        (project / "tests" / name).write_text(text, encoding="utf-8")
    code, _ = check(project, "-n", "2", "tests/test_red.py", "tests/test_blue.py")
    assert code == 0
    assert {file.name: file.read_text() for file in project.glob("*.made")} == {
        "test_red.made": "made ", "test_blue.made": "made ",
    }  # fmt: skip


def test_tests_that_never_ran_are_not_called_well(project: Path) -> None:
    code, said = check(project, "--no-such-option")
    assert code == 1 and said[-1].startswith("tests: not counted")
    assert said[-2] == "FAILED: tests"


def test_the_slow_marks_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = [line.split(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]]
    assert tuple(known) == counts.SLOW
    assert f'-m "not ({" or ".join(known)})"' in (ROOT / "check").read_text(encoding="utf-8")
