"""The page of scale: it is worked out from a run, and says what bench/scale.py prints."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from bench.scale import Seen, clusters, priced, title_hours

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
COST_S = {"shots": 0.003, "faces": 0.013, "source_audio": 0.001, "audio": 0.001, "lipsync": 0.018, "sync": 0.014,
          "master": 0.018}  # fmt: skip
SEEN = Seen(1224, 0.75, 0.9, 0.2, 0.92, COST_S, {}, 4.5, 2000.0, 1100.0, 2e-5)
ARGS = argparse.Namespace(titles=1000, languages=10, frames=170_000, shots=2000, machines=[1, 8, 64], cores=16, use=0.9)


def test_nothing_changes_at_the_runs_own_size() -> None:
    assert priced(SEEN, 0.92, 0.75) == pytest.approx(COST_S)


def test_costs_grow_with_the_picture_and_the_share_as_they_should() -> None:
    large, few = priced(SEEN, 1.84, 0.75), priced(SEEN, 0.92, 0.375)
    assert all(COST_S[s] < large[s] < 2 * COST_S[s] for s in ("shots", "faces", "lipsync", "sync", "master"))
    assert large["audio"] == COST_S["audio"]
    assert few["lipsync"] == pytest.approx(COST_S["lipsync"] / 2) and few["faces"] == COST_S["faces"]
    assert COST_S["master"] / 2 < few["master"] < COST_S["master"]


def test_analysis_counts_once_and_languages_each() -> None:
    times = {"shots": 1, "faces": 1, "source_audio": 1, "audio": 10, "lipsync": 10, "sync": 10, "master": 10}
    whole = sum(COST_S[s] * n for s, n in times.items())
    assert title_hours(COST_S, ARGS) == pytest.approx(whole * 170_000 / 3600)


def test_a_cluster_takes_the_work_over_its_cores_and_the_last_title(capsys: pytest.CaptureFixture[str]) -> None:
    clusters(SEEN, COST_S, 100.0, ARGS)
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if re.match(r"\| \d", line)]
    days = [float(row[2]) for row in rows]
    chain = (0.003 + 0.001 + 0.018) * 170_000 / 86_400
    for machines, said in zip((1, 8, 64), days, strict=True):
        assert said == pytest.approx(1000 * title_hours(COST_S, ARGS) / 24 / (machines * 16 * 0.9) + chain, abs=0.06)


def test_every_row_of_the_page_adds_up() -> None:
    hours = [
        float(row.split("|")[5])
        for row in re.findall(
            r"^\| (?:shots|faces|source_audio|audio|speakers|actors|lipsync|sync|master) .*$", PAGE, re.M
        )
    ]
    together = re.search(r"^\| together .*\| ([\d.]+) \|$", PAGE, re.M)
    assert len(hours) == 9 and together and sum(hours) == pytest.approx(float(together[1]), abs=0.3)
    assert "--megapixels 2.07 --source-kb 1100 --share 0.4" in PAGE and "(a)" in PAGE
