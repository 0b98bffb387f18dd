"""How far a run is: counted from the engine's events, shown on a terminal or as plain lines.

It knows events and nothing of the work behind them. `Tally` counts; `Bar` and `Lines` show; both also
leave the figures in OUT/.progress.json, where `dub status` finds them.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from dubbing.engine import Event

__all__ = ["PROGRESS", "Bar", "Figures", "Lines", "Tally", "watcher"]

PROGRESS = ".progress.json"
LINE_S = 5.0
# Milliseconds of wall time a frame of film costs on two cores: for the share done and the time left only.
COST = {"shots": 2.0, "faces": 7.0, "lipsync": 10.0, "sync": 9.0, "master": 22.0}
_PER_TITLE = ("shots", "faces")


@dataclass(frozen=True)
class Figures:
    """How far a run is. part: 0..1 of the work; shots_done of shots_total (null before the cuts are
    known), each counted once per language; frames_per_s: over the last seconds, all stages together;
    left_s: null while there is nothing to go by; stage: of the newest task."""

    part: float
    shots_done: int
    shots_total: int | None
    frames_per_s: float
    left_s: float | None
    stage: str
    running: int
    failed: int


class Tally:
    """Counts events. films: (frames, dubs) of every title, so that the whole is known from the start."""

    def __init__(self, films: list[tuple[int, int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected = {
            stage: sum(frames * (1 if stage in _PER_TITLE else dubs) for frames, dubs in films) for stage in COST
        }
        dubs = {n for _, n in films}
        self._dubs = dubs.pop() if len(dubs) == 1 else None
        self._done: Counter[str] = Counter()
        self._partial: dict[str, int] = {}
        self._stage_of: dict[str, str] = {}
        self._shots: tuple[int, int] | None = None
        self._recent: deque[tuple[float, int]] = deque()
        self._started = clock()
        self._found: float | None = None
        self.failed = 0
        self.stage = ""

    def __call__(self, event: Event) -> None:
        if event.kind == "planned":
            for stage, (_, _, known, done) in event.totals.items():
                if stage in COST:
                    self._done[stage] = done
                    self._expected[stage] = max(self._expected[stage], known)
            tasks, ended, _, _ = event.totals.get("sync", (0, 0, 0, 0))
            if tasks:
                self._shots = (ended, tasks)
            elif self._dubs and (found := event.totals.get("faces", (0,))[0]):
                self._shots = (0, found * self._dubs)
            if self._found is None:
                self._found = self._work()
        elif event.kind == "started":
            self._stage_of[event.task_id] = self.stage = event.stage
        elif event.kind == "frames":
            self._partial[event.task_id] = self._partial.get(event.task_id, 0) + event.frames
            self._recent.append((self._clock(), event.frames))
        elif event.kind in ("finished", "failed"):
            known = self._partial.pop(event.task_id, 0)
            self._done[event.stage] += event.frames or known
            self._stage_of.pop(event.task_id, None)
            self.failed += event.kind == "failed"
            if event.stage == "sync" and self._shots is not None:
                self._shots = (self._shots[0] + 1, self._shots[1])

    def _work(self) -> float:
        done = Counter(self._done)
        for task_id, frames in self._partial.items():
            done[self._stage_of.get(task_id, "")] += frames
        return sum(COST[s] * min(done[s], self._expected[s]) for s in COST)

    def figures(self) -> Figures:
        now = self._clock()
        while self._recent and self._recent[0][0] < now - 10:
            self._recent.popleft()
        span = max(1.0, now - max(self._recent[0][0] if self._recent else now, self._started))
        whole = sum(COST[s] * self._expected[s] for s in COST)
        work = self._work()
        fresh, elapsed = work - (self._found or 0.0), now - self._started
        left = (whole - work) * elapsed / fresh if fresh > 0.01 * whole and elapsed > 2 else None
        done, total = self._shots or (0, None)
        return Figures(
            part=min(1.0, work / whole) if whole else 0.0,
            shots_done=done,
            shots_total=total,
            frames_per_s=round(sum(n for _, n in self._recent) / span, 1),
            left_s=round(left, 1) if left is not None else None,
            stage=self.stage,
            running=len(self._stage_of),
            failed=self.failed,
        )


def told(figures: Figures) -> str:
    """`37 %  shots 4/30  lipsync  85 frames/s  about 1:20 left`."""
    shots = f"shots {figures.shots_done}/{figures.shots_total}" if figures.shots_total else "finding shots"
    failed = f"{figures.failed} failed" if figures.failed else ""
    rate = f"{figures.frames_per_s:.0f} frames/s" if figures.frames_per_s else ""
    left = f"about {clock_time(figures.left_s)} left" if figures.left_s is not None else ""
    return "  ".join(t for t in (f"{figures.part:3.0%}", shots, figures.stage, rate, left, failed) if t)


def clock_time(seconds: float) -> str:
    """`1:20`, `2:01:20`."""
    s = round(seconds)
    return f"{s // 3600}:{s // 60 % 60:02d}:{s % 60:02d}" if s >= 3600 else f"{s // 60}:{s % 60:02d}"


class _Shown:
    """What both displays share: counting, what is said once, and the file for `dub status`."""

    def __init__(self, tally: Tally, stream: TextIO, folder: Path | None) -> None:
        self.tally, self.stream = tally, stream
        self._file = folder / PROGRESS if folder is not None else None
        self._written = 0.0

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._written:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def __call__(self, event: Event) -> None:
        self.tally(event)
        if event.kind == "failed":
            self.say(f"{event.task_id} failed: {event.text.splitlines()[0] if event.text else 'no reason given'}")
        elif event.kind == "finished" and event.stage == "master":
            self.say(f"{event.task_id.split(' ', 1)[-1]} is rendered")
        elif event.kind == "message":
            self.say(event.text)
        self._leave()
        self.refresh()

    def say(self, text: str) -> None:
        raise NotImplementedError

    def refresh(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """The figures for `dub status`; a disk that takes no more of them is the engine's to report."""
        now = time.monotonic()
        if self._file is None or now - self._written < 1.0 or not self._file.parent.is_dir():
            return
        self._written = now
        part = self._file.with_name(f".part-{os.getpid()}{PROGRESS}")
        with suppress(OSError):
            part.write_text(json.dumps({"pid": os.getpid(), "at": time.time(), **asdict(self.tally.figures())}))
            part.replace(self._file)


class Lines(_Shown):
    """Plain lines: one every five seconds, and one for every dub and every failure."""

    _next = 0.0

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def refresh(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_S
            self.say(told(self.tally.figures()))


class Bar(_Shown):
    """One line that is redrawn; what is said scrolls above it."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(file=self.stream),
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("", total=1.0)
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        super().__exit__(*error)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        figures = self.tally.figures()
        self._progress.update(self._task, completed=figures.part, description=told(figures))


def watcher(films: list[tuple[int, int]], stream: TextIO, folder: Path | None) -> _Shown:
    """A display for this stream: a bar on a terminal, lines elsewhere. A context manager; call it with events."""
    tally = Tally(films)
    return Bar(tally, stream, folder) if stream.isatty() else Lines(tally, stream, folder)
