"""The page of scale: it says what bench/scale.py works out from the committed table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.scale import Catalogue, Seen, filled, options, priced, title_hours

ROOT = Path(__file__).resolve().parents[1]
COST_S = {"shots": 0.003, "faces": 0.013, "source_audio": 0.001, "audio": 0.001, "lipsync": 0.018, "sync": 0.014,
          "master": 0.018}  # fmt: skip
BYTES = {"source": 11e3, "analysis": 4e3, "patches": 100e3, "scores and tables": 3e3, "masters": 50e3}
SEEN = Seen(1224, 0.75, 0.9, 0.2, 0.92, 0.015, 0.1, 0.07, COST_S, BYTES, 4.5, 0.1, 2000.0, 1100.0, 2e-5)


def test_nothing_changes_at_the_runs_own_size() -> None:
    assert priced(SEEN, 0.92, 0.75) == pytest.approx(COST_S)


def test_costs_grow_with_the_picture_and_the_share_as_they_should() -> None:
    large, few = priced(SEEN, 1.84, 0.75), priced(SEEN, 0.92, 0.375)
    assert all(COST_S[s] < large[s] < 2 * COST_S[s] for s in ("shots", "faces", "lipsync", "master"))
    assert large["audio"] == COST_S["audio"]
    assert few["lipsync"] == pytest.approx(COST_S["lipsync"] / 2) and few["faces"] == COST_S["faces"]
    assert COST_S["master"] / 2 < few["master"] < COST_S["master"]


def test_analysis_counts_once_and_languages_each() -> None:
    times = {"shots": 1, "faces": 1, "source_audio": 1, "audio": 10, "lipsync": 10, "sync": 10, "master": 10}
    whole = sum(COST_S[s] * n for s, n in times.items())
    assert title_hours(COST_S, 170_000, 10) == pytest.approx(whole * 170_000 / 3600)


def test_money_and_hours_follow_from_the_table() -> None:
    """Twice the cost of every stage is twice the hours and the money; the cores share the hours, not the money."""

    def rows(seen: Seen) -> list[list[float]]:
        text = Catalogue(seen, options().parse_args(["--megapixels", "0"])).clusters()
        lines = [line for line in text.splitlines() if line[:3] in ("| 1", "| 8", "| 6")]
        return [[float(cell.replace(",", "")) for cell in line.strip("| ").split(" | ")] for line in lines]

    once, twice = rows(SEEN), rows(replace(SEEN, cost_s={s: 2 * v for s, v in COST_S.items()}))
    hours = 1000 * title_hours(COST_S, 158_400, 10) / 0.95
    for (machines, cores, spent, _, _, money), more in zip(once, twice, strict=True):
        assert cores == 16 * machines and spent == pytest.approx(hours / cores, abs=0.5)
        assert money == pytest.approx(hours / 16 * 0.7, abs=1)
        assert more[2] == pytest.approx(2 * spent, abs=1) and more[5] == pytest.approx(2 * money, abs=1)


def test_what_breaks_first_is_what_there_is_least_of() -> None:
    args = ["--machines", "1", "--storage-gbs", "0.0001", "--people", "1000000"]
    assert "first, on 1: storage" in Catalogue(SEEN, options().parse_args(args)).limits()
    plenty = [f"--{name}=1e12" for name in ("people", "storage-gbs", "network-gbs", "disk-gb", "memory-gb", "calls")]
    assert (
        "on 1: nothing; the driver's core" in Catalogue(SEEN, options().parse_args(["--machines=1", *plenty])).limits()
    )


def test_the_page_tells_of_the_committed_table_and_adds_up() -> None:
    """`python -m bench.scale --page docs/scale.md` mends it."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    catalogue = Catalogue(Seen.read(ROOT / "bench" / "costs.json"), options().parse_args([]))
    assert filled(page, {"basis": catalogue.basis()}) == page
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| [\d.]+ \| \d+ \| ([\d.]+) \|$", page, re.M)
    together = re.search(r"^\| together .*\| ([\d.]+) \|$", page, re.M)
    assert {stage: float(ms) for stage, ms, _ in rows} == pytest.approx(
        {stage: 1000 * s for stage, s in catalogue.seen.cost_s.items()}, abs=0.006
    )
    assert together and sum(float(hours) for *_, hours in rows) == pytest.approx(float(together[1]), abs=0.5)
    with pytest.raises(SystemExit, match="no marks"):
        filled("no mark", catalogue.texts())
