"""Several generators in one manifest: by conditions, and the best of several; takes, scores, and who decides."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from films import Finished, run, started_by

from dubbing import best_of, open_results
from dubbing.best_of import SeenFace, weigh
from dubbing.decisions import DecisionLog
from dubbing.errors import ManifestError, StageError
from dubbing.generators.rewrite.generator import Rewrite
from dubbing.manifest import Dub, Manifest, Title
from dubbing.rendered_by import Face, RenderedBy, candidates
from dubbing.review import told
from dubbing.review.library import Library
from dubbing.shot_table import read_rows

SHOT = ("film", "hi", "shot_0002")
OTHER = {"name": "rewrite", "jump_cost": 0.1}
BOTH = {"name": "best_of", "of": ["rewrite", OTHER]}


def of(generator: Any) -> Manifest:
    title = Title(id="film", video="/film.mp4", dubs=[Dub(language="fr", audio="/fr.wav")])
    return Manifest.of([title], generator=generator)


# -- what a manifest may say -----------------------------------------------------------------


def test_a_list_is_read_in_order_and_survives_its_own_json() -> None:
    close, some = {"face_px": ">400"}, {"shots": [2, "5-7"]}
    written = [{"name": "musetalk", "size": 256, "when": close}, {**BOTH, "when": some}, "wav2lip"]
    job = of(written)
    assert [[one.name for one in rule.alternatives] for rule in job.rules] == [
        ["musetalk"],
        ["rewrite"] * 2,
        ["wav2lip"],
    ]
    assert [one.settings for one in job.generators] == [{"size": 256}, {}, {"jump_cost": 0.1}, {}]
    assert Manifest.model_validate(job.model_dump(mode="json")).model_dump() == job.model_dump()


def test_by_character_is_a_list_of_conditions() -> None:
    by = of({"characters": {"ANNA": "rewrite", "BEN": OTHER}, "others": "wav2lip"})
    assert by.rules == of([
        {"name": "rewrite", "when": {"characters": ["ANNA"]}}, {**OTHER, "when": {"characters": ["BEN"]}}, "wav2lip",
    ]).rules  # fmt: skip


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        ([], "'generator' is an empty list"),
        (["rewrite", "wav2lip"], r"generator\[0\]: rewrite has no 'when', so it is for all faces, and what follows"),
        ([{"name": "rewrite", "when": {"face_px": ">400"}}], "the last of the list, rewrite, has a 'when'"),
        ({"name": "rewrite", "when": {"face_px": ">400"}}, "rewrite has a 'when', which stands only in a list"),
        ([{"name": "rewrite", "when": {"face": ">4"}}, "rewrite"], "unknown key 'face'; did you mean 'face_px'?"),
        ([{"name": "rewrite", "when": {"face_px": 400}}, "rewrite"], "'face_px' is 400; write the height of a face"),
        ([{"name": "rewrite", "when": {"face_px": "4-2"}}, "rewrite"], "write the smaller number first, 2-4"),
        ([{"name": "rewrite", "when": {}}, "rewrite"], "'when' is empty: name 'face_px'"),
        ({"name": "best_of", "of": ["rewrite"]}, r"generator.of: 'best_of' compares generators: name two or more"),
        ({"name": "best_of", "of": ["rewrite", "rewrite"]}, r"of\[1\]: rewrite comes twice with the same settings"),
        ({"name": "best_of", "of": ["rewrite", BOTH]}, "'best_of' stands in another"),
        ({"name": "best_of", "of": ["rewrite", OTHER], "by": "looks"}, "'by' must be 'sync'; found 'looks'"),
        ({"characters": {"ANNA": "rewrite"}}, "'generator' by character has no 'others'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(generator: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        of(generator)


# -- who renders which face ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [(">400", (False, False, True)), (">=400", (False, True, True)), ("<400", (True, False, False)),
     ("<=400", (True, True, False)), ("399-400", (True, True, False))],
)  # fmt: skip
def test_sizes(wanted: str, fits: tuple[bool, ...]) -> None:
    rules = of([{"name": "a", "when": {"face_px": wanted}}, "b"]).rules
    found = (candidates(rules, [None, None], [Face("f", None, px)], 0) for px in (399.0, 400.0, 401.0))
    assert tuple(one[0].main.name == "a" for one in found) == fits


def test_each_face_of_a_shot_has_its_own_generator_and_all_conditions_must_fit() -> None:
    rules = of([{"name": "a", "when": {"face_px": ">300", "characters": ["ANNA"], "frames": ["0-100"]}}, "b"]).rules
    faces = [Face("f1", "ANNA", 400.0), Face("f2", "BEN", 400.0), Face("f3", "ANNA", 200.0)]
    (by,) = candidates(rules, [((0, 100),), None], faces, 50)
    assert [by.of(face.track).name for face in faces] == ["a", "b", "b"] and by.name == "a and b"
    assert RenderedBy.said(by.decision) == by, "a reviewer can choose such a take"
    assert candidates(rules, [((0, 100),), None], faces, 100) == (RenderedBy(rules[1].alternatives[0]),)
    assert candidates(rules, [((0, 100),), None], [], 50) == (RenderedBy(rules[1].alternatives[0]),)


def test_a_shot_has_as_many_takes_as_its_face_with_most_generators() -> None:
    rules = of([{"name": "best_of", "of": ["a", "b", "c"], "when": {"characters": ["ANNA"]}}, "d"]).rules
    found = candidates(rules, [None, None], [Face("f1", "ANNA", 9.0), Face("f2", None, 9.0)], 0)
    assert [[one.of("f1").name, one.of("f2").name] for one in found] == [["a", "d"], ["b", "d"], ["c", "d"]]
    assert [one.name for one in candidates(rules, [None, None], [Face("f2", None, 9.0)], 0)] == ["d"]


# -- the score -------------------------------------------------------------------------------


def test_the_score_is_sync_with_what_guards_cost() -> None:
    good, soft = SeenFace(100, 7.0, 6.5, 0.9, 0.2, 1.0), SeenFace(100, 6.6, 6.5, 0.3, 0.75, 1.0)
    first, second = weigh([{"f": good}, {"f": soft}])
    assert first.score == 0.5 and first.parts == {"sync": 0.5}
    assert second.parts == {"sync": 0.1, "sharpness": 0.75, "leak": 0.75} and second.score == 1.6
    assert best_of.told("soft", second) == "soft +1.60 (sync +0.10, sharpness +0.75, leak +0.75)"


def test_sync_counts_where_all_takes_have_it_and_faces_by_their_frames() -> None:
    one, none = SeenFace(30, 7.0, 6.0), SeenFace(30, None, 6.0)
    assert [w.score for w in weigh([{"f": one}, {"f": none}])] == [None, None]
    strange = SeenFace(30, float("nan"), 6.0, float("inf"))
    assert [w.score for w in weigh([{"f": strange}, {"f": one}])] == [None, None], "no number is the least of all"
    both = {"f": one, "g": SeenFace(90, 6.0, 6.0)}
    assert weigh([both, both])[0].score == 0.25 and weigh([both, both])[0].synced


def test_trembling_is_jitter_over_that_of_the_original() -> None:
    was, rendered = np.sin(np.arange(60) / 5), np.ones(60, bool)
    shaken = was + 0.2 * (-1) ** np.arange(60)
    assert best_of.trembling(was, was, rendered) == pytest.approx(1)
    assert (best_of.trembling(shaken, was, rendered) or 0) > 5
    assert best_of.trembling(shaken, was, rendered & (np.arange(60) < 4)) is None


# -- a run -----------------------------------------------------------------------------------


@pytest.fixture
def job(finished: Finished, tmp_path: Path) -> Callable[[Any], tuple[Path, Path]]:
    """Writes a job of the short film's Hindi dub: its manifest, and an output folder in which `rewrite` has run."""
    out = tmp_path / "out"

    def write(generator: Any) -> tuple[Path, Path]:
        if not out.exists():
            shutil.copytree(finished.out, out)
        plain = yaml.safe_load(finished.film.read_text()) | {"generator": generator}
        (title,) = plain["titles"]
        title["video"] = str(finished.film.parent / title["video"])
        title["dubs"] = [{**d, "audio": str(finished.film.parent / d["audio"])} for d in title["dubs"]][:1]
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(plain))
        return path, out

    return write


def row(out: Path) -> dict[str, Any]:
    (found,) = (r for r in read_rows(out / "film" / "hi" / "shots.parquet") if r["shot"] == "shot_0002")
    return found


def test_the_best_of_two_keeps_and_shows_both_and_a_reviewer_may_choose_the_other(
    job: Callable[[Any], tuple[Path, Path]],
) -> None:
    film, out = job(BOTH)
    plain = row(out)["take"]
    began = started_by(film, out)
    assert "lipsync film/hi/shot_0002/rewrite_2" in began and "select film/hi" in began
    assert "lipsync film/hi/shot_0002/rewrite" not in began, "the take of `rewrite` alone is the same one"
    assert not started_by(film, out)
    library = Library(out)
    rows = {SHOT: next(r for r in library.rows() if (r["language"], r["shot"]) == SHOT[1:])}
    facts = told.shot(library, rows, library.find(*SHOT))
    scores = {t["id"]: t["score"] for t in facts["takes"]}
    selected = row(out)
    assert len(scores) == 2 and plain in scores and None not in scores.values()
    assert selected["take"] == min(scores, key=lambda t: scores[t])
    assert [t["current"] for t in facts["takes"]] == [t["id"] == selected["take"] for t in facts["takes"]]
    assert "of 2: " in selected["selection"] and "rewrite jump_cost=0.1" in selected["selection"]
    assert facts["row"]["selection"] == selected["selection"]
    told_of = open_results(out).dub("film", "hi").to_dict()
    assert told_of["selected"] == 1 and told_of["generators"] == {"rewrite": 1}
    (other,) = (t for t in facts["takes"] if t["id"] != selected["take"])
    before = (out / "film" / "hi" / "film.hi.mp4").read_bytes()
    DecisionLog(out).append(SHOT, "choose", "Ana", take=other["id"], generator=other["generator"])
    assert {name.split()[0] for name in started_by(film, out)} == {"master", "proof"}
    assert row(out)["take"] == other["id"] and (out / "film" / "hi" / "film.hi.mp4").read_bytes() != before
    assert Library(out).find(*SHOT).current is not None


def test_a_take_that_fails_leaves_the_choice_to_the_others_and_the_row_says_so(
    job: Callable[[Any], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Rewrite, work: Any) -> Iterator[Any]:
        raise StageError("the card is gone")

    film, out = job(BOTH)
    with monkeypatch.context() as patch:
        patch.setattr(Rewrite, "render", broken)
        report = run(film, out)
    one = row(out)
    assert report.exit_code == 3 and one["status"] == "dubbed" and one["generator"] == "rewrite"
    assert "rewrite jump_cost=0.1 failed" in one["selection"] and "the card is gone" in one["selection"]
    assert one["needs_review"] and "failed, and was not compared" in one["review_reason"]
    assert Library(out).find(*SHOT).current is not None, "who looks at it needs no run"
    assert run(film, out).exit_code == 0 and "failed" not in row(out)["selection"], "the next run makes it good"


def test_a_condition_on_a_shot_renders_that_shot_otherwise(job: Callable[[Any], tuple[Path, Path]]) -> None:
    film, out = job([{**OTHER, "when": {"shots": [2], "face_px": ">20"}}, "rewrite"])
    before = row(out)["take"]
    assert {n for n in started_by(film, out) if n.startswith("lipsync")} == {"lipsync film/hi/shot_0002"}
    assert row(out)["take"] != before and row(out)["selection"] is None
    again, out = job([{**OTHER, "when": {"shots": [1]}}, "rewrite"])
    assert not {n for n in started_by(again, out) if n.startswith("lipsync")} and row(out)["take"] == before
