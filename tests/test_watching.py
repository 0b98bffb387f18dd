"""Seeing a run: events as JSON lines, what `dub status` is told meanwhile, metrics, and their dashboard."""

from __future__ import annotations

import fcntl
import io
import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from events import of

from dubbing.api.progress import PROGRESS, FiguresFile, Tally
from dubbing.api.results import open_results
from dubbing.artifacts.takes import FaceScores, Scores, Take
from dubbing.cli.status import told_status
from dubbing.cli.watch import JsonLines, watcher
from dubbing.engine import Event
from dubbing.engine import metrics as engine_metrics

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {"time", "level", "event", "task", "stage", "title", "language", "shot", "frames", "seconds", "text"}
TAKE = "lipsync reel/fr/shot_0002"
SCORE = "sync reel/fr/shot_0002"


def totals(**known: tuple[int, int]) -> Event:
    return Event("planned", totals={s: (n, done, 25 * n, 25 * done) for s, (n, done) in known.items()})


# -- JSON ------------------------------------------------------------------------------------


def test_every_event_is_one_json_object_with_all_fields() -> None:
    stream = io.StringIO()
    with watcher([(100, 1)], stream, "json") as show:
        assert isinstance(show, JsonLines)
        show(totals(lipsync=(4, 1)))
        show(of("started", TAKE))
        show(of("frames", TAKE, 25))
        show(of("finished", TAKE, 25, seconds=1.5))
        show(of("failed", SCORE, text="boom\ntrace"))
        show(of("finished", "shots reel", 100))
        show(of("finished", "source_audio reel"))
        show(Event("message", text="a worker died"))
    lines = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert all(set(one) >= FIELDS for one in lines)
    events = [one for one in lines if one["event"] != "progress"]
    assert [e["event"] for e in events] == [
        "planned", "started", "finished", "failed", "finished", "finished", "message",
    ]  # fmt: skip
    take, failed, shots, sound = events[2:6]
    assert (take["task"], take["stage"], take["title"], take["language"], take["shot"], take["frames"]) == (
        TAKE, "lipsync", "reel", "fr", "shot_0002", 25,
    )  # fmt: skip
    assert take["seconds"] == 1.5 and take["level"] == "info"
    assert failed["level"] == "error" and failed["text"] == "boom\ntrace"
    assert (shots["title"], shots["language"], shots["shot"]) == ("reel", None, None)
    assert (sound["title"], sound["language"]) == ("reel", None)
    assert [one["failed"] for one in lines if one["event"] == "progress"] == [0], "at once, then every five seconds"


def test_the_page_of_events_names_what_is_written() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    stream = io.StringIO()
    with watcher([(100, 1)], stream, "json") as show:
        show(totals(shots=(1, 0)))
    names = {name for line in stream.getvalue().splitlines() for name in json.loads(line)}
    assert {n for n in names if f"`{n}`" not in page} == set()
    assert {n for n in engine_metrics.NAMES if f"`{n}`" not in page} == set()


# -- status ----------------------------------------------------------------------------------


def test_figures_hold_seconds_cache_hits_and_failures() -> None:
    now = [0.0]
    tally = Tally([(100, 1)], clock=lambda: now[0])
    tally(totals(faces=(4, 4), lipsync=(4, 2)))
    tally(of("started", TAKE))
    now[0] = 3.0
    tally(of("finished", TAKE, 25))
    tally(of("finished", "lipsync reel/fr/shot_0003", 25, seconds=2.0))
    tally(of("failed", SCORE, text="boom\ntrace"))
    tally(totals(faces=(4, 4), lipsync=(4, 4), sync=(4, 1)))
    figures = tally.figures()
    assert (figures.found, figures.made, figures.failed) == (6, 2, 1)
    assert figures.seconds_by_stage["lipsync"] == 5.0
    assert figures.failures == {SCORE: "boom"}


def test_status_shows_them_while_a_run_is_under_way(tmp_path: Path) -> None:
    title = {"id": "reel", "video": "reel.mp4", "dubs": [{"language": "fr", "audio": "fr.wav"}]}
    run = {"state": "running", "started": "2026-01-01", "manifest": {"version": 1, "titles": [title]}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    with (tmp_path / ".lock").open("w") as lock, FiguresFile([(100, 1)], tmp_path) as show:
        fcntl.flock(lock, fcntl.LOCK_EX)
        show.tally(totals(faces=(4, 4), lipsync=(4, 0)))
        show.tally(of("finished", TAKE, 25, seconds=2.0))
        show(of("failed", SCORE, text="boom"))
        assert (tmp_path / PROGRESS).exists()
        text = told_status(open_results(tmp_path).to_dict())
    assert "1 task done, 4 were done before; seconds: rendering mouths 2.0" in text
    assert f"failed: {SCORE}: boom" in text


# -- metrics ---------------------------------------------------------------------------------


class Made:
    """Ray's metric classes, kept in memory."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = {}
        self.observed: dict[tuple[str, str], list[float]] = {}
        self.tags: dict[str, tuple[str, ...]] = {}

    def make(self, name: str, what: str, *, tag_keys: tuple[str, ...], boundaries: Any = ()) -> Any:
        assert what and list(boundaries) == sorted(boundaries)
        self.tags[name] = tag_keys

        def key(tags: dict[str, str] | None) -> tuple[str, str]:
            assert set(tags or {}) == set(tag_keys)
            return name, "/".join((tags or {}).values())

        def put(value: float, tags: dict[str, str] | None = None) -> None:
            self.values[key(tags)] = value

        def add(value: float, tags: dict[str, str] | None = None) -> None:
            assert value > 0
            self.values[key(tags)] = self.values.get(key(tags), 0) + value

        def seen(value: float, tags: dict[str, str] | None = None) -> None:
            self.observed.setdefault(key(tags), []).append(value)

        return SimpleNamespace(set=put, inc=add, observe=seen)


def test_metrics_count_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made()
    monkeypatch.setattr(
        engine_metrics, "metrics", SimpleNamespace(Counter=made.make, Gauge=made.make, Histogram=made.make)
    )
    watch = engine_metrics.Metrics()
    assert made.tags == {name: tags for name, (_, tags, _) in engine_metrics.NAMES.items()}
    watch(totals(lipsync=(3, 1), sync=(3, 0)))
    watch(of("started", TAKE))
    assert made.values["dub_tasks", "lipsync/running"] == 1 and made.values["dub_tasks", "lipsync/waiting"] == 1
    watch(of("frames", TAKE, 10))
    watch(of("finished", TAKE, 25, seconds=2.0, result=Take("dubbed", None, None, None, None)))
    face = FaceScores("shot_0002/face_1", 0, 25, 25, lse_d=6.5, source_lse_d=6.0, sharpness=0.9)
    watch(of("finished", SCORE, 25, seconds=1.0, result=Scores((face,))))
    watch(of("finished", "sync reel/fr/shot_0001", 25, seconds=0.1, result=Scores()))
    watch(of("finished", SCORE, window=1, result=Scores()))  # of a part of a shot
    watch(of("failed", "lipsync reel/fr/shot_0003", text="boom"))
    shots = {k[1]: v for k, v in made.values.items() if k[0] == "dub_shots"}
    assert shots == {"dubbed": 1, "untouched": 1, "failed": 1, "waiting": 1}
    assert made.values["dub_tasks", "lipsync/done"] == 2 and made.values["dub_tasks", "lipsync/failed"] == 1
    assert made.values["dub_frames_total", "lipsync"] == 25, "frames told on the way are not counted twice"
    assert made.values["dub_stage_seconds_total", "lipsync"] == 2.0
    assert made.values["dub_found_done", ""] == 1
    assert made.observed["dub_shot_lse_d", "fr"] == [6.5] and made.observed["dub_shot_source_lse_d", "fr"] == [6.0]
    assert made.observed["dub_task_seconds", "sync"] == [1.0, 0.1]


def test_ray_takes_these_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own classes, in a process outside any cluster: names, tags and boundaries are to its liking."""
    made: list[Any] = []

    def keep(real: Any, *args: Any, **more: Any) -> Any:
        made.append(real(*args, **more))
        return made[-1]

    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(engine_metrics.metrics, kind, partial(keep, getattr(engine_metrics.metrics, kind)))
    engine_metrics.Metrics()
    assert {m.info["name"] for m in made} == set(engine_metrics.NAMES)


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((ROOT / "monitoring" / "grafana.json").read_text(encoding="utf-8"))
    return board


def test_the_dashboard_is_grafanas() -> None:
    board = dashboard()
    assert board["title"] and board["uid"] and board["schemaVersion"] >= 36
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) >= 10
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"] and panel["type"] in {"timeseries", "stat", "heatmap"}
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} and panel["targets"]
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}" and target["expr"].count("(") == target["expr"].count(
                ")"
            )
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


def exported() -> dict[str, set[str]]:
    """Every series that Prometheus will see, with its tags."""
    series: dict[str, set[str]] = {}
    for name, (kind, tags, _) in engine_metrics.NAMES.items():
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        for end in ends:
            series[f"ray_{name}{end}"] = {*tags, "SessionName", *(["le"] if end == "_bucket" else [])}
    return series


def test_the_dashboard_asks_only_for_what_is_exported_and_for_all_of_it() -> None:
    asked: set[str] = set()
    board = dashboard()
    queries = [t["expr"] for p in board["panels"] for t in p["targets"]]
    for query in [*queries, *(v.get("definition", "") for v in board["templating"]["list"])]:
        for name in re.findall(r"\bray_\w+", query):
            assert name in exported(), f"{query} asks for {name}"
            asked.add(re.sub("^ray_|_bucket$|_sum$|_count$", "", name))
        for name, inside in re.findall(r"(ray_\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)\s*=", inside)) <= exported()[name], query
        for group in re.findall(r"by \(([^)]*)\)", query):
            known = set().union(*(exported()[n] for n in re.findall(r"ray_\w+", query)))
            assert {g.strip() for g in group.split(",")} <= known, query
    assert asked == set(engine_metrics.NAMES)
