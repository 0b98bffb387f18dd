"""CONTRIBUTING.md and docs/architecture.md: the examples run as they stand, and what is named is there."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from films import Finished

from dubbing import config, manifest
from dubbing.engine import Report, run_job
from dubbing.job import Job
from dubbing.pipeline import PIPELINE
from dubbing.shot_table import REASONS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def section(title: str, text: str = TEXT) -> str:
    """What stands under a heading, up to the next of its level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {title!r}"
    return found[1]


def blocks(title: str) -> dict[str, str]:
    """The fenced blocks under a heading, by the file that their first line names; a diff by `diff`."""
    found: dict[str, str] = {}
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE):
        name = kind if kind == "diff" else text.splitlines()[0].removeprefix("# ")
        found[name] = text
    return found


def unpacked(title: str, folder: Path) -> None:
    """Writes the blocks under a heading as files of one folder."""
    for name, text in blocks(title).items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")


# -- a stage ---------------------------------------------------------------------------------


def test_a_stage_is_one_file_and_one_line(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked("A stage", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("loudness")
    monkeypatch.delitem(sys.modules, "loudness")
    monkeypatch.setitem(sys.modules, "loudness", made)
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)

    class Longer(Job):
        pipeline = (*PIPELINE, made.MeasureLoudness)

    def run() -> tuple[Report, Longer, list[str]]:
        started: list[str] = []
        job = Longer(manifest.load(finished.film), out, config.Config())
        report = run_job(job, "local", lambda e: started.append(e.task_id or "") if e.kind == "started" else None)
        return report, job, started

    report, job, started = run()
    assert report.exit_code in (0, 3)
    shots = [f"film/{language}/shot_{n:04d}" for language in ("hi", "ta") for n in (1, 2)]
    assert sorted(started) == [f"loudness {where}" for where in shots], "all else was done, and stays"
    tasks = {t.id: t for t in job.tasks()}
    found = {where: job.result(tasks[f"loudness {where}"]) for where in shots}
    assert all(isinstance(one, made.Loudness) for one in found.values())
    assert all(-60 < found[f"film/{language}/shot_0002"].rms_db < 0 for language in ("hi", "ta")), "somebody speaks"
    assert run()[2] == [], "a second run finds it done"
    monkeypatch.setattr(made.MeasureLoudness, "version", 2)
    assert sorted(run()[2]) == sorted(started), "a raised version does it anew"


# -- a generator, a sync expert, a metric ----------------------------------------------------


def test_what_another_package_adds_keeps_its_contract(tmp_path: Path) -> None:
    """As a reader would: the files in a folder, the package's metadata beside them, and pytest."""
    title = "A generator, a sync expert, a metric"
    unpacked(title, tmp_path)
    project = tomllib.loads(blocks(title)["pyproject.toml"])["project"]
    about = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir()
    said = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(said, encoding="utf-8")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    code = f"import sys, pytest; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 25 and "skipped" not in done.stdout, done.stdout[-500:]


# -- a container or a codec ------------------------------------------------------------------


def test_a_codec_is_one_line_and_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks("A container or a codec")
    (old,) = re.findall(r"^-(.+)$", found["diff"], re.MULTILINE)
    (new,) = re.findall(r"^\+(.+)$", found["diff"], re.MULTILINE)
    containers: Any = sys.modules["dubbing.media.containers"]
    source = Path(containers.__file__).read_text(encoding="utf-8")
    assert source.count(f"\n{old}\n") == 1, "the line that changes does not stand in containers.py"
    shown: dict[str, Any] = {}
    exec(found["tests/test_wavpack.py"], shown)
    with pytest.raises(AssertionError):  # without the line
        shown["test_wavpack_is_carried_as_it_is"](tmp_path)
    changed = ModuleType("changed")
    monkeypatch.setitem(sys.modules, "changed", changed)
    exec(compile(source.replace(f"\n{old}\n", f"\n{new}\n"), "changed", "exec"), changed.__dict__)
    monkeypatch.setattr(sys.modules["dubbing.media.delivery"], "LOSSLESS", changed.__dict__["LOSSLESS"])
    shown["test_wavpack_is_carried_as_it_is"](tmp_path)


# -- names -----------------------------------------------------------------------------------


def rows(title: str) -> list[tuple[str, str]]:
    """The rows of the table under a heading, without its head: (first cell, second cell)."""
    found = re.findall(r"^\| (.+?) \| (.+) \|$", section(title), re.MULTILINE)
    return found[1:]


@pytest.mark.parametrize(("what", "where"), rows("Where does it go?"))
def test_what_an_answer_names_is_there(what: str, where: str) -> None:
    named = re.findall(r"`([^`]+)`", where)
    paths = [n for n in named if re.search(r"[/.]\w*$", n) and " " not in n and not n.startswith("keys.")]
    assert paths, f"{what}: no file is named"
    for name in paths:
        assert (ROOT / name).exists(), f"{what}: there is no {name}"
    text = "\n".join((ROOT / n).read_text(encoding="utf-8") for n in paths if (ROOT / n).is_file())
    for name in set(named) - set(paths) - {"?", "dub schema"}:
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text), f"{what}: {name} is in none of {paths}"


def test_the_questions_have_answers() -> None:
    asked = {what for what, _ in rows("Where does it go?")}
    assert asked >= {"a container format", "a reason code", "a column of `shots.parquet`", "a keyboard shortcut",
                     "a metric"}  # fmt: skip


def test_the_page_has_words_for_every_reason_code() -> None:
    words = (ROOT / "dubbing" / "review" / "static" / "words.js").read_text(encoding="utf-8")
    (table,) = re.findall(r"export const REASON = \{(.*?)\}", words, re.DOTALL)
    assert tuple(re.findall(r"(\w+):", table)) == REASONS


def test_every_file_that_is_named_in_code_quotes_is_there() -> None:
    for text in (TEXT, ARCHITECTURE):
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for name in re.findall(r"`((?:dubbing|docs|tests|examples|configs|engine)/[^`]*)`", prose):
            home = ROOT / "dubbing" if name.startswith("engine/") else ROOT
            assert (home / name).exists(), f"there is no {name}"


def test_every_stage_is_in_the_architecture_in_its_order() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", section("A film's way", ARCHITECTURE), re.MULTILINE)
    assert sorted(listed) == sorted(stage.name for stage in PIPELINE)
    figure = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    for stage in PIPELINE:
        assert f">{stage.name}</text>" in figure, f"the figure lacks {stage.name}"


def test_what_docstrings_cite_is_a_decision_of_the_architecture() -> None:
    decided = {d.lower() for d in re.findall(r"^\*\*(.+?)\.\*\*", section("Decisions", ARCHITECTURE), re.MULTILINE)}
    cited: dict[str, str] = {}
    for path in sorted((ROOT / "dubbing").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        cited |= {" ".join(name.split()): path.name for name in re.findall(r"\(architecture: ([^)]+)\)", text)}
        assert not re.search(r"design (section|decision)", text), f"{path.name} cites what is not here"
    assert "a take is a patch" in cited
    assert cited.keys() <= decided, {name: where for name, where in cited.items() if name not in decided}


def test_the_glossary_is_sorted_and_each_word_has_one_sentence() -> None:
    found = re.findall(r"^\| ([^|`]+?) \| (.+?) \|$", section("Glossary", ARCHITECTURE), re.MULTILINE)[1:]
    words = [word for word, _ in found]
    assert words == sorted(words, key=str.lower)
    for word, meaning in found:
        assert meaning.endswith(".") and len(re.findall(r"\.(?: |$)", meaning)) == 1, word
