"""Several runs into one folder: what run.json keeps of each, and that status, review and export forget no dub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Dub
from films import Finished, of_hindi, run

from dubbing.engine import Event
from dubbing.errors import InputError
from dubbing.review.export import export
from dubbing.review.library import Library
from dubbing.review.report import report

BOTH = {"film/hi", "film/ta"}


@pytest.fixture
def out(finished: Finished, tmp_path: Path) -> Path:
    """A finished run of two dubs."""
    return shutil.copytree(finished.out, tmp_path / "out")


def names(library: Library) -> set[str]:
    return {f"{t.id}/{d.language}" for t, d in library.dubs()}


def told(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "run.json").read_text("utf-8")))


def rewritten(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plain = told(out)
    change(plain)
    (out / "run.json").write_text(json.dumps(plain), "utf-8")


def test_a_smaller_manifest_forgets_no_dub(finished: Finished, out: Path, tmp_path: Path, dub: Dub) -> None:
    master = (out / "film" / "ta" / "film.ta.mp4").read_bytes()
    smaller = of_hindi(finished.film, tmp_path)
    assert run(smaller, out).run_json["done_now"] == 0

    runs = told(out)["runs"]
    assert [(r["number"], r["state"], r["asked"]) for r in runs] == [
        (1, "finished", {"film": ["hi", "ta"]}),
        (2, "finished", {"film": ["hi"]}),
    ]
    assert runs[1]["manifest"] == str(smaller) and runs[1]["started"] and runs[1]["by"]

    found = json.loads(dub("status", out, "--json")[1])
    assert [(d["language"], d["run"], bool(d["master"])) for d in found["dubs"]] == [("hi", 2, True), ("ta", 1, True)]
    assert len(found["runs"]) == 2 and "earlier" not in found["run"]
    text = dub("status", out)[1]
    assert "film/hi, film/ta" in text and "film.ta.mp4" in text and f"exit status {runs[0]['exit_status']}" in text

    library = Library(out)
    assert names(library) == BOTH and library.find("film", "ta", "shot_0002").current
    assert "film ta" in (page := report(library)) and "run 1" in page and "run 2" in page
    done = export(library, "ana", lambda e: None, "local")
    assert {(d.language, d.remastered) for d in done.dubs} == {("hi", False), ("ta", False)} and not done.left_out
    assert (out / "film" / "ta" / "film.ta.mp4").read_bytes() == master
    assert (told(out)["runs"][-1]["command"], told(out)["runs"][-1]["by"]) == ("export", "ana")


def test_dubs_of_other_settings_are_reviewed_with_their_own(finished: Finished, out: Path, tmp_path: Path) -> None:
    run(of_hindi(finished.film, tmp_path, generator={"name": "rewrite", "jump_cost": 0.7}), out)
    library = Library(out)
    assert len(library.parts) == 2 and names(library) == BOTH
    for language, settings in (("hi", {"jump_cost": 0.7}), ("ta", {})):
        take = library.find("film", language, "shot_0002").current
        assert take and take.generator == {"name": "rewrite", **settings}
    done = export(library, "ana", lambda e: None, "local")
    assert {d.language for d in done.dubs} == {"hi", "ta"} and not any(d.remastered for d in done.dubs)
    after = Library(out)
    assert names(after) == BOTH and after.run_file.manifest.generator.settings == {"jump_cost": 0.7}


def test_what_was_removed_or_lost_its_film_keeps_nobody_from_the_rest(
    finished: Finished, out: Path, tmp_path: Path, dub: Dub
) -> None:
    run(of_hindi(finished.film, tmp_path), out)

    def move(plain: dict[str, Any]) -> None:
        plain["earlier"][0]["manifest"]["titles"][0]["video"] = str(tmp_path / "gone.mp4")

    rewritten(out, move)
    library = Library(out)
    assert names(library) == {"film/hi"} and "gone.mp4 is gone" in library.left_out["film/ta"]
    code, said, _ = dub("export", out, "--engine", "local", "--reviewer", "ana")
    assert code in (0, 3) and "note: film/ta, of an earlier run, is left out:" in said
    shutil.rmtree(out / "film" / "ta")
    assert names(library := Library(out)) == {"film/hi"} and not library.left_out
    with pytest.raises(InputError, match="no dub film/ta"):
        library.part("film", "ta")


def test_a_run_json_without_records_is_the_first_run(finished: Finished, out: Path, tmp_path: Path) -> None:
    def older(plain: dict[str, Any]) -> None:
        del plain["runs"], plain["earlier"]

    rewritten(out, older)
    assert names(Library(out)) == BOTH
    run(of_hindi(finished.film, tmp_path), out)
    assert [(r["number"], r["asked"]["film"]) for r in told(out)["runs"]] == [(1, ["hi", "ta"]), (2, ["hi"])]
    assert names(Library(out)) == BOTH


def test_a_damaged_run_json_is_told_of_and_begun_anew(finished: Finished, out: Path, tmp_path: Path) -> None:
    (out / "run.json").write_text("{")
    said: list[Event] = []
    run(of_hindi(finished.film, tmp_path), out, show=said.append)
    assert [e.text for e in said if e.kind == "message" and "is damaged" in e.text]
    assert [r["number"] for r in told(out)["runs"]] == [1] and names(Library(out)) == {"film/hi"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.update(runs={}),
        lambda p: p.update(runs=[{"number": 0}]),
        lambda p: p.update(earlier=[{"run": 1, "manifest": {"version": 1, "titles": []}}]),
        lambda p: p.update(earlier=[{"run": 1, "manifest": {**p["manifest"], "titles": [{"id": "../../x"}]}}]),
    ],
)
def test_damage_in_the_records_is_named(out: Path, dub: Dub, damage: Callable[[dict[str, Any]], None]) -> None:
    rewritten(out, damage)
    for command in ("status", "export"):
        code, said, err = dub(command, out)
        assert (code, said) == (2, "") and "run.json" in err and err.count("\n") == 1
