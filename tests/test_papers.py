"""Means per speaker, CSV and LaTeX, from values whose answer is known by hand."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from command import Dub

from dubbing.api import scores
from dubbing.cli.show import latex, latex_spread
from dubbing.evaluate.speakers import by_speaker
from dubbing.scoring import SCHEMA, means, speakers

# id1: 6, 8, 10 (mean 8, sample deviation 2); id2: 7 (one face); all: mean 31/4, deviation sqrt(8.75 / 3).
FACES = [("vox/id1/a/1.mp4", 6.0, 3.0), ("vox/id1/a/2.mp4", 8.0, 3.0), ("vox/id1/b/1.mp4", 10.0, 6.0)]
FACES += [("vox/id_2/c/1.mp4", 7.0, 5.0)]


def rows() -> list[dict[str, Any]]:
    """One face a film, and a film without one."""
    none = dict.fromkeys(SCHEMA.names)
    scored = [
        {
            **none,
            "video": v,
            "track": "shot_0001/face_1",
            "lse_d": d,
            "lse_c": c,
            "lse_windows": 5,
            "distance": [d] * 31,
        }
        for v, d, c in FACES
    ]
    return [*scored, {**none, "video": "vox/id3/c/9.mp4", "reason": "no_face"}]


def test_a_speaker_is_the_first_folder_below_the_shared_one() -> None:
    assert speakers(v for v, _, _ in FACES) == dict(
        zip((v for v, _, _ in FACES), ("id1", "id1", "id1", "id_2"), strict=True)
    )
    assert speakers(["clips/ann.mp4", "clips/bob.mp4"]) == {"clips/ann.mp4": "ann", "clips/bob.mp4": "bob"}
    assert speakers(["a/x.mp4", "a/b/y.mp4"]) == {"a/x.mp4": "x", "a/b/y.mp4": "b"}


def test_means_and_sample_deviations_are_those_worked_out_by_hand() -> None:
    found = scores.Scores("light@0123456789ab", 5, tuple(rows())).by_speaker
    assert [(x["speaker"], x["count"]) for x in found] == [("id1", 3), ("id_2", 1), ("all", 4)]
    one, two, every = found
    assert (one["lse_d_mean"], one["lse_d_std"], one["lse_c_mean"]) == (8.0, 2.0, 4.0)
    assert one["lse_c_std"] == pytest.approx(3**0.5)
    assert (two["lse_d_mean"], two["lse_d_std"]) == (7.0, None)
    assert every["lse_d_mean"] == 7.75 and every["lse_d_std"] == pytest.approx((8.75 / 3) ** 0.5)
    assert means([], ("lse_d",)) == []


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`dub score` finds what `rows` has, whatever it is given. A folder to give it."""
    found = scores.Scores("light@0123456789ab", 5, tuple(rows()))
    monkeypatch.setattr(scores, "score", lambda *_, **__: found)
    return tmp_path


def test_score_prints_a_table_for_a_paper(dub: Dub, measured: Path) -> None:
    code, out, _ = dub("score", measured, "--latex", "--out", measured / "t.parquet")
    assert code == 0
    assert out.splitlines()[1:] == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Speaker & Faces & LSE-D $\downarrow$ & LSE-C $\uparrow$ \\",
        r"\midrule",
        r"id1 & 3 & $8.00 \pm 2.00$ & $4.00 \pm 1.73$ \\",
        r"id\_2 & 1 & $7.00$ & $5.00$ \\",
        r"\midrule",
        r"all & 4 & $7.75 \pm 1.71$ & $4.25 \pm 1.50$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "booktabs" in out.splitlines()[0] and "light@0123456789ab" in out.splitlines()[0]


def test_score_prints_faces_and_speakers_as_csv(dub: Dub, measured: Path) -> None:
    out = dub("score", measured, "--csv", "--out", measured / "t.parquet")[1]
    faces = list(csv.DictReader(io.StringIO(out)))
    assert [(f["video"], f["lse_d"], f["reason"]) for f in faces[-2:]] == [
        ("vox/id_2/c/1.mp4", "7.0", ""),
        ("vox/id3/c/9.mp4", "", "no_face"),
    ]
    assert not {"distance", "confidence"} & set(faces[0])
    out = dub("score", measured, "--csv", "--by-speaker", "--out", measured / "t.parquet")[1]
    assert out.splitlines()[:3] == [
        "speaker,count,lse_d_mean,lse_d_std,lse_c_mean,lse_c_std",
        f"id1,3,8.0,2.0,4.0,{3**0.5}",
        "id_2,1,7.0,,5.0,",
    ]
    told = dub("score", measured, "--by-speaker", "--out", measured / "t.parquet")[1]
    assert [line.split() for line in told.splitlines()][2] == ["id1", "3", "8.00", "2.00", "4.00", "1.73"]


def test_two_forms_at_once_are_refused(dub: Dub, measured: Path) -> None:
    for command in ("score", "eval"):
        code, out, err = dub(command, measured, "--csv", "--latex")
        assert (code, out) == (2, "") and "exclude each other" in err


def test_names_cannot_break_a_table() -> None:
    told = latex(("Speaker", "LSE-D"), [(r"a_b & 50 % \x", latex_spread(None, None))], "two\nlines")
    assert r"a\_b \& 50 \% \textbackslash{}x & -- \\" in told and told.startswith("% two lines;")


def test_an_evaluation_counts_each_clip_once() -> None:
    made = []
    for generator, shift in (("rewrite", 0.0), ("wav2lip", 1.0)):
        for clip, faces in (("ann/1", [6.0, 8.0, 30.0]), ("ann/2", [10.0]), ("bob/1", [5.0])):
            about = {"clip": clip, "video": f"/clips/{clip}.mp4", "generator": generator, "measure": "resynthesis"}
            made += [{**about, "name": "lse_d", "value": v + shift} for v in faces]
    found = by_speaker(made)
    assert [(x["generator"], x["speaker"], x["count"], x["LSE-D_mean"]) for x in found] == [
        ("rewrite", "ann", 2, 9.0),
        ("rewrite", "bob", 1, 5.0),
        ("rewrite", "all", 3, pytest.approx(23 / 3)),
        ("wav2lip", "ann", 2, 10.0),
        ("wav2lip", "bob", 1, 6.0),
        ("wav2lip", "all", 3, pytest.approx(26 / 3)),
    ]
    assert found[0]["LSE-D_std"] == pytest.approx(2**0.5) and found[1]["LSE-D_std"] is None
    assert found[0]["PSNR_mean"] is None
