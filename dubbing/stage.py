"""The contract between what happens (stages) and where it happens (engines).

A stage knows neither Ray nor other stages. It is built with its settings, set up once in the
process that will use it (that is when models load), given one task after another, and closed. A
task's result is a folder: `process` fills the one it is given, and the engine commits it.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from threadpoolctl import threadpool_limits

from dubbing.errors import InputError
from dubbing.store import RESULT, Store, read_json

__all__ = ["RESULT", "Outcome", "Resources", "Stage", "Task", "execute", "is_window"]


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage holds while it works: processor cores, share of a GPU, memory."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: int = 1500


@dataclass(frozen=True)
class Task:
    """One piece of work, named, keyed by everything its result depends on.

    id: readable and unique in a run, `lipsync reel/fr/shot_0002`; folder: where the result is
    committed (whether it is done, the store says); args: what the stage needs, paths and plain values only;
    needs: ids that must have succeeded; after: ids that must have ended, well or not;
    frames: how many frames it covers, for progress; span: frames of film that it works through or joins, for its
    deadline, where these are more; windows: tasks that do a long shot part by part, which this one then joins;
    rank: tasks of a smaller one go first; weight: among them the heaviest first, about the milliseconds of it and of
    what waits for it.
    """

    id: str
    stage: str
    key: str
    folder: Path
    args: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    frames: int = 0
    span: int = 0
    windows: tuple[Task, ...] = ()
    rank: int = 0
    weight: float = 0.0


def is_window(task_id: str) -> bool:
    """Whether a task does a part of a long shot, which another joins."""
    return "/window_" in task_id


@dataclass(frozen=True)
class Outcome:
    """How one task ended. error is None when it succeeded; error_class names the exception."""

    id: str
    seconds: float
    error: str | None = None
    error_class: str | None = None
    trace: str = field(default="", repr=False)
    fatal: InputError | None = None


class Stage(ABC):
    """One kind of work. Subclasses define `process`, and set `name` and `version` (raise it when results change)."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def setup(self) -> None:  # noqa: B027 - not every stage has a model
        """Load models. Called once per worker, before the first task."""

    @abstractmethod
    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Do one task: write files into `out`, return a small JSON value kept as result.json.

        progress(n): n more frames are finished. Raises StageError (or anything: the shot fails),
        or InputError when the user's input is at fault and the run must stop.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of models and files. Called in `finally`."""


def execute(stage: Stage, task: Task, store: Store, progress: Callable[[int], None]) -> Outcome:
    """Run one task on a stage that is set up, commit its folder, and say how it ended.

    Never raises for what a task does wrong; an InputError is handed back as `fatal`.
    """
    started, cpu = time.monotonic(), time.process_time()
    try:
        # one thread for sums: how many there are must not change the last digit of a score
        with threadpool_limits(limits=1), store.commit(task.folder) as part:
            result = stage.process(task.args, part, progress)
            # cpu_s is of all threads, and a busy machine does not stretch it; a long shot costs its windows too
            spent = {"seconds": time.monotonic() - started, "cpu_s": time.process_time() - cpu}
            windows = [read_json(Path(p) / RESULT) for p in task.args.get("parts", ())]
            result |= {k: round(s + sum(w.get(k, 0.0) for w in windows), 3) for k, s in spent.items()}
            result["key"] = task.key
            store.write_json(part / RESULT, result)
    except InputError as e:
        return Outcome(task.id, time.monotonic() - started, str(e), type(e).__name__, fatal=e)
    except Exception as e:
        text = f"{type(e).__name__}: {e}"
        return Outcome(task.id, time.monotonic() - started, text, type(e).__name__, traceback.format_exc())
    return Outcome(task.id, time.monotonic() - started)
