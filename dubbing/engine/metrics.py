"""What a run tells Prometheus through Ray, so that Ray's own exporter and dashboards show it.

`Metrics` is called with the engine's events, beside the display. It needs a process that is in a Ray
cluster, and counts in that process only: the driver. Ray puts `ray_` before every name;
monitoring/grafana.json asks for these names and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.util import metrics

from dubbing.artifacts.takes import Scores

if TYPE_CHECKING:
    from dubbing.engine.schedule import Event

__all__ = ["NAMES", "Metrics"]

_LSE_D = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0]
_SECONDS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]

# name -> (kind, tags, what it is); a counter's samples keep its name, a histogram's get _bucket, _sum and _count
NAMES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "dub_tasks": ("gauge", ("stage", "state"), "Tasks by state: waiting, running, done, failed."),
    "dub_shots": ("gauge", ("state",), "Shots by state: waiting, dubbed, untouched, failed; once per language."),
    "dub_frames_total": ("counter", ("stage",), "Frames finished."),
    "dub_stage_seconds_total": ("counter", ("stage",), "Wall seconds of finished tasks."),
    "dub_task_seconds": ("histogram", ("stage",), "Wall seconds of one finished task."),
    "dub_found_done": ("gauge", (), "Tasks that were done before this run began."),
    "dub_shot_lse_d": ("histogram", ("language",), "LSE-D of shots that were dubbed in this run."),
    "dub_shot_source_lse_d": ("histogram", ("language",), "LSE-D of their original performance."),
}


class Metrics:
    """Counts events into Ray's metrics."""

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}
        for name, (kind, tags, what) in NAMES.items():
            if kind == "histogram":
                bounds = _SECONDS if name == "dub_task_seconds" else _LSE_D
                self._metrics[name] = metrics.Histogram(name, what, boundaries=bounds, tag_keys=tags)
            else:
                make = metrics.Counter if kind == "counter" else metrics.Gauge
                self._metrics[name] = make(name, what, tag_keys=tags)
        self._known: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._running: dict[str, set[str]] = {}
        self._failed: dict[str, int] = {}
        self._shots = {"dubbed": 0, "untouched": 0, "failed": 0}
        self._told: dict[str, int] = {}
        self._found: int | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "planned":
            self._known = {stage: known for stage, (known, _, _, _) in event.totals.items()}
            self._ended = {stage: ended for stage, (_, ended, _, _) in event.totals.items()}
            if self._found is None:
                self._found = sum(self._ended.values())
                self._metrics["dub_found_done"].set(self._found)
        elif event.kind == "started":
            self._running.setdefault(event.stage, set()).add(event.task_id)
        elif event.kind == "frames":
            self._told[event.task_id] = self._told.get(event.task_id, 0) + event.frames
            self._frames(event.stage, event.frames)
        elif event.kind in ("finished", "failed"):
            self._end(event)
        if event.kind != "frames":
            self._states()

    def _end(self, event: Event) -> None:
        self._running.setdefault(event.stage, set()).discard(event.task_id)
        self._ended[event.stage] = self._ended.get(event.stage, 0) + (event.window is None)
        self._frames(event.stage, event.frames - self._told.pop(event.task_id, 0))
        if event.seconds > 0:
            self._metrics["dub_stage_seconds_total"].inc(event.seconds, tags={"stage": event.stage})
            self._metrics["dub_task_seconds"].observe(event.seconds, tags={"stage": event.stage})
        if event.kind == "failed":
            self._failed[event.stage] = self._failed.get(event.stage, 0) + 1
            self._shots["failed"] += event.stage in ("lipsync", "sync") and event.window is None
            return
        result = event.result
        if isinstance(result, Scores) and event.window is None:
            self._shots["dubbed" if result.faces else "untouched"] += 1
            for face in result.faces:
                for name, value in (("dub_shot_lse_d", face.lse_d), ("dub_shot_source_lse_d", face.source_lse_d)):
                    if value is not None:
                        self._metrics[name].observe(value, tags={"language": event.language or ""})

    def _frames(self, stage: str, frames: int) -> None:
        if frames > 0:
            self._metrics["dub_frames_total"].inc(frames, tags={"stage": stage})

    def _states(self) -> None:
        for stage, known in self._known.items():
            running, failed = len(self._running.get(stage, ())), self._failed.get(stage, 0)
            ended = self._ended.get(stage, 0)
            states = {"waiting": max(0, known - ended - running), "running": running, "failed": failed,
                      "done": max(0, ended - failed)}  # fmt: skip
            for state, count in states.items():
                self._metrics["dub_tasks"].set(count, tags={"stage": stage, "state": state})
        waiting = max(0, self._known.get("sync", 0) - self._ended.get("sync", 0))
        for state, count in {**self._shots, "waiting": waiting}.items():
            self._metrics["dub_shots"].set(count, tags={"state": state})
