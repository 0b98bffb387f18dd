"""`consent: required`: whose face is not known to be of somebody who consented stays as it is in the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Dub
from films import plain_job

import dubbing
from dubbing import manifest
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.turns.asked import with_consent

SAYS = ((0, 20),)


def face(track: str, actor: int, character: str | None = None) -> FaceTurns:
    return FaceTurns(f"shot_0001/{track}", actor, (), SAYS, character)


def test_only_faces_that_are_named_as_somebody_who_consented_are_kept() -> None:
    shots = [
        ShotTurns("shot_0001", SAYS, (face("a", 0), face("b", 1))),
        ShotTurns("shot_0002", SAYS, (face("c", 1), face("d", 2, "ANNA"))),  # that is Anna's stem, and no one's name
        ShotTurns("shot_0003", SAYS, ()),
    ]
    told = {"shot_0001/a": "ANNA", "shot_0001/b": "BEN", "shot_0001/c": "BEN"}
    turns, notices = with_consent(shots, told, ("ANNA",))
    assert [[f.track for f in one.faces] for one in turns] == [["shot_0001/a"], [], []]
    assert [one.reason for one in turns] == [None, "no_consent", None]
    assert notices == (
        "consent is required, and was not found for BEN, 1 person without a name: left as in the source in 2 shots.",
    )
    assert with_consent(shots[:1], told, ("ANNA", "BEN")) == (shots[:1], ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("consent")
    plain_job(made, {"fr": "fr.wav"}, 50)
    return made


def job(folder: Path, title: dict[str, Any], **whole: Any) -> Path:
    plain = json.loads((folder / "job.yaml").read_text(encoding="utf-8"))
    plain["titles"][0] |= title
    (folder / "asked.yaml").write_text(json.dumps(plain | whole, indent=1), encoding="utf-8")
    return folder / "asked.yaml"


WITH = {"consent": "contract 2026-114"}


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ({"cast": {"ANNA": WITH, "BEN": {}}}, "consent is required, and BEN has none"),
        ({"cast": {"ANNA": WITH, "BEN": {"consent": "  "}}}, "consent is required, and BEN has none"),
        ({}, "no character of the title has any"),
        ({"cast": {"ANNA": {"leave_alone": True}}}, "no character of the title has any"),
        ({"dubs": [{"language": "fr", "audio": "fr.wav", "stems": {"BEN": "fr.wav"}}]}, "and BEN has none"),
    ],
)
def test_a_character_without_it_is_refused(folder: Path, title: dict[str, Any], said: str) -> None:
    for asked in (job(folder, title | {"consent": "required"}), job(folder, title, consent="required")):
        found = dubbing.check(asked, folder / "out", listen=False)
        assert any(said in str(p) and f"{asked}, line" in str(p) for p in found.problems), found.problems
    assert not dubbing.check(job(folder, title), folder / "out", listen=False).problems, "it is required"


def test_who_is_not_re_rendered_needs_none(folder: Path, dub: Dub) -> None:
    cast = {"ANNA": WITH, "BEN": {"leave_alone": True}, "TELLER": {"off_screen": True}, "CARL": {}}
    asked = job(folder, {"cast": cast, "leave": {"characters": ["CARL"]}, "consent": "required"})
    found = dubbing.check(asked, folder / "out", listen=False)
    assert not found.problems
    assert any("only faces that are known to be ANNA are re-rendered" in note for note in found.notes)
    assert any("nothing says which face is that of ANNA" in note for note in found.notes)
    (title,) = manifest.load(asked).titles
    assert manifest.load(asked).consented(title) == ("ANNA",)
    code, _, err = dub("run", job(folder, {"consent": "asked"}), "--out", folder / "out")
    assert code == 2 and "'consent' must be 'required'" in err
