"""How far a run is: counted from the engine's events, and left in OUT/.progress.json for `dub status`.

It knows events and nothing of the work behind them, nor of who shows the figures.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from dubbing.inputs import json_value
from dubbing.store import Store, open_store

if TYPE_CHECKING:
    from dubbing.engine import Event

__all__ = ["DOING", "PROGRESS", "Figures", "FiguresFile", "Tally", "first_line", "read_figures"]

PROGRESS = ".progress.json"
_TELLING, _TELLING_S = 0.2, 120.0  # share of a run's work, and time, after which its own pace says something
FAILURES = 20  # how many of the newest failures `dub status` is told
# Milliseconds of wall time a frame of film costs on two cores: for the share done and the time left only.
COST = {"shots": 2.0, "faces": 7.0, "lipsync": 10.0, "sync": 9.0, "master": 22.0, "proof": 8.0}
_PER_TITLE = ("shots", "faces")
DOING = {
    "still": "making a film of the photograph",
    "shots": "finding cuts",
    "faces": "finding faces",
    "source_audio": "listening to the original",
    "audio": "listening to the dub",
    "active": "looking who speaks",
    "descriptors": "looking who is who",
    "overlays": "looking for letters over faces",
    "overlay_list": "listing letters over faces",
    "people": "telling people apart",
    "cast": "finding characters",
    "speakers": "deciding who speaks",
    "actors": "fitting voices",
    "donors": "collecting mouths",
    "turns": "finding who says what",
    "lipsync": "rendering mouths",
    "sync": "scoring",
    "select": "selecting takes",
    "master": "mastering",
    "proof": "proving masters",
    "sign": "signing",
    "listen": "hearing the words",
}
"""The stages as people read them."""


@dataclass(frozen=True)
class Figures:
    """How far a run is. part: 0..1 of the work; shots_done of shots_total (null before the cuts are
    known), each counted once per language; frames_per_s: over the last seconds, all stages together;
    left_s: null while there is nothing to go by; stage: of the newest task; where: its title and language, `reel/fr`;
    found: tasks that were done before; made: tasks finished now; seconds_by_stage: of these; failures: the newest,
    task id -> why."""

    part: float
    shots_done: int
    shots_total: int | None
    frames_per_s: float
    left_s: float | None
    stage: str
    running: int
    failed: int
    found: int = 0
    made: int = 0
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


class Tally:
    """Counts events. films: (frames, dubs) of every title, so that the whole is known from the start.

    How long is left is at first what earlier runs on this machine say (the event `expected`), and more and more what
    this run's own pace says, the further it is. Without earlier runs nothing is said in the first minutes, because
    what comes first (starting, loading networks, the analysis) says little of the rest.
    """

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
        self._since: dict[str, float] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failures: dict[str, str] = {}
        self._made = self._known_done = 0
        self._expected_s: float | None = None
        self.failed = 0
        self.stage = self.where = ""

    def __call__(self, event: Event) -> None:
        if event.kind == "expected":
            self._expected_s = event.seconds
        elif event.kind == "planned":
            for stage, (_, _, known, done) in event.totals.items():
                if stage in COST:
                    self._done[stage] = done
                    self._expected[stage] = max(self._expected[stage], known)
            if "master" in event.totals and "proof" not in event.totals:
                self._expected["proof"] = 0  # it is off
            tasks, ended, _, _ = event.totals.get("sync", (0, 0, 0, 0))
            found = event.totals.get("faces", (0,))[0] * (self._dubs or 0)  # of every dub, planned yet or not
            if tasks or found:
                self._shots = (ended, max(tasks, found))
            if self._found is None:
                self._found = self._work()
            self._known_done = max(
                self._known_done, sum(t[1] for t in event.totals.values()) - self._made - self.failed
            )
        elif event.kind == "started":
            self._stage_of[event.task_id] = self.stage = event.stage
            self.where = "/".join(part for part in (event.title, event.language) if part)
            self._since[event.task_id] = self._clock()
        elif event.kind == "frames":
            self._partial[event.task_id] = self._partial.get(event.task_id, 0) + event.frames
            self._recent.append((self._clock(), event.frames))
        elif event.kind in ("finished", "failed"):
            known = self._partial.pop(event.task_id, 0)
            self._done[event.stage] += event.frames or known
            self._stage_of.pop(event.task_id, None)
            self._seconds[event.stage] += self.seconds_of(event)
            self._since.pop(event.task_id, None)
            if event.kind == "failed":
                self.failed += 1
                self._failures[event.task_id] = first_line(event.text)
            else:
                self._made += 1
            if event.stage == "sync" and event.window is None and self._shots is not None:
                self._shots = (self._shots[0] + 1, self._shots[1])

    def seconds_of(self, event: Event) -> float:
        """How long a task that ends with this event took, by the engine's word, else since it was started."""
        told: float | None = getattr(event, "seconds", None)
        return told if told else self._clock() - self._since.get(event.task_id, self._clock())

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
        left = self._left(work - (self._found or 0.0), whole - work, now - self._started)
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
            found=self._known_done,
            made=self._made,
            seconds_by_stage={s: round(v, 2) for s, v in self._seconds.items()},
            failures=dict([*self._failures.items()][-FAILURES:]),
            where=self.where,
        )

    def _left(self, made: float, open_: float, elapsed_s: float) -> float | None:
        """Seconds left. made: work done by this run; open_: work that is left, in the same measure."""
        if not made + open_:
            return None
        part = made / (made + open_)
        pace = open_ * elapsed_s / made if part > 0.01 and elapsed_s > 2 else None
        if self._expected_s is not None:
            said = self._expected_s * (1 - part)
            return said if pace is None else (1 - part) * said + part * pace
        return pace if part > _TELLING or elapsed_s > _TELLING_S else None


def first_line(text: str) -> str:
    """What a failure's text begins with."""
    return text.splitlines()[0] if text.strip() else "no reason given"


class FiguresFile:
    """Keeps a run's figures in its output folder while it goes on: call it with events. A context manager, which takes
    the file away at its end. films: as of `Tally`; folder: OUT, or its mirror."""

    def __init__(self, films: list[tuple[int, int]], folder: Path) -> None:
        self.tally = Tally(films)
        self._file = folder / PROGRESS
        self._written = 0.0

    def __enter__(self) -> FiguresFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._written:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def __call__(self, event: Event) -> None:
        """Count, and write at most once a second; a disk that takes no more of them is the engine's to report."""
        self.tally(event)
        now = time.monotonic()
        if now - self._written < 1.0 or not self._file.parent.is_dir():
            return
        self._written = now
        part = self._file.with_name(f".part-{os.getpid()}{PROGRESS}")
        with suppress(OSError):
            part.write_text(json.dumps({"pid": os.getpid(), "at": time.time(), **asdict(self.tally.figures())}))
            part.replace(self._file)


def read_figures(out: Store | Path | str) -> dict[str, Any] | None:
    """The figures of a run under way, with pid and at (seconds since 1970); None where there are none.

    Raises InputError for a URI that cannot be used, StorageError where it does not answer."""
    store = open_store(out)
    try:
        found = json_value(store.read_bytes(store.root / PROGRESS))
        if not isinstance(found, dict) or not isinstance(found.get("at"), int | float):
            return None
        TypeAdapter(Figures).validate_python({k: v for k, v in found.items() if k in Figures.__dataclass_fields__})
    except (OSError, ValueError):
        return None  # damaged: the run that writes it will write it anew
    return dict(found)
