"""`dub report languages`: dubs compared by language and kind of source, in numbers that the tables bear out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest
from command import Dub
from films import Finished

from dubbing.api.by_language import ALL, by_language
from dubbing.errors import OutputError
from dubbing.shot_table import FACE_SCHEMA, read_rows, write_rows
from dubbing.store import Store

pytestmark = pytest.mark.xdist_group("film")


def test_a_line_holds_the_means_of_its_faces(finished: Finished) -> None:
    hi, ta, every = by_language([finished.out])
    faces = [read_rows(finished.out / "film" / name / "faces.parquet")[0] for name in ("hi", "ta")]
    for line, face in zip((hi, ta), faces, strict=True):
        assert (line.source, line.dubs, line.shots, line.faces) == ("moving", 1, 1, 1)
        assert line.language == face["language"] and line.model == face["lse_model"] and line.generator == "rewrite"
        assert line.seconds == pytest.approx(face["rendered_frames"] * 1001 / 24000, abs=0.01)
        for name in ("lse_d", "source_lse_d", "lse_c", "source_lse_c", "sharpness"):
            assert getattr(line, name) == pytest.approx(face[name], abs=1e-3), name
        leak = face["lip_leak"]
        assert line.lip_leak == (None if leak is None else pytest.approx(leak, abs=1e-3))
    assert (every.language, every.dubs, every.faces) == (ALL, 2, 2)
    assert every.lse_d == pytest.approx(fmean(f["lse_d"] for f in faces), abs=1e-3)


def test_offsets_count_without_their_sign(finished: Finished, tmp_path: Path) -> None:
    """Several folders are taken together; an early and a late dub do not make a good one."""
    outs = []
    for n, offset in enumerate((-3.0, 2.0, 1.0)):
        outs.append(shutil.copytree(finished.out, tmp_path / str(n)))
        table = outs[-1] / "film" / "hi" / "faces.parquet"
        write_rows(Store(outs[-1]), table, [{**read_rows(table)[0], "lse_offset_frames": offset}], FACE_SCHEMA)
    line = next(x for x in by_language(outs) if x.language == "hi")
    assert (line.dubs, line.faces, line.offset_frames) == (3, 3, 2.0)
    assert line.within_one == pytest.approx(1 / 3, abs=1e-3)


def test_the_table_comes_as_text_markdown_csv_and_json(finished: Finished, dub: Dub, tmp_path: Path) -> None:
    code, told, _ = dub("report", "languages", finished.out)
    assert code == 0 and [line.split()[:2] for line in told.splitlines()[2:5]] == [
        ["hi", "moving"], ["ta", "moving"], ["all", "moving"],
    ]  # fmt: skip
    lines = dub("report", "languages", finished.out, "--markdown")[1].splitlines()
    assert len(lines) == 5 and {line.count("|") for line in lines} == {lines[0].count("|")} and "| --- |" in lines[1]
    (hi, *_) = csv.DictReader(io.StringIO(dub("report", "languages", finished.out, "--csv")[1]))
    told_json = json.loads(dub("report", "languages", finished.out, "--json")[1])["languages"]
    assert float(hi["lse_d"]) == told_json[0]["lse_d"] and len(told_json) == 3
    code, out, err = dub("report", "languages", finished.out, "--csv", "--json")
    assert (code, out) == (2, "") and "exclude each other" in err
    code, out, err = dub("report", "languages", tmp_path)
    assert (code, out) == (2, "") and err.startswith("dub: There is no run.json in ") and err.count("\n") == 1
    with pytest.raises(OutputError):
        by_language([finished.out, tmp_path])
