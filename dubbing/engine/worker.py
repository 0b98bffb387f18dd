"""One process's worth of work: stages set up when first needed, tasks done one after another.

What a task reads is brought to this machine first, where it lies elsewhere, and looked at: whether it is what was
committed. Both engines use this, so a task ends the same way in either.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dubbing.artifact import File
from dubbing.errors import DamagedResult, InputError
from dubbing.stage import Stage, execute
from dubbing.store import RESULT, Stamp, Store, stamp_of
from dubbing.store.scratch import release
from dubbing.task import Inputs, Outcome, Task, located

__all__ = ["Worker"]


class Worker:
    """Keeps the stages it has set up. close() lets go of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.tidy()
        self._stages: dict[type[Stage[Any, Any]], Stage[Any, Any]] = {}
        self._whole: set[tuple[Path, Stamp]] = set()

    def run(self, task: Task, progress: Callable[[int], None]) -> Outcome:
        """Do one task. Never raises: a stage that cannot be set up fails the task as one that cannot do it does."""
        try:
            return self._run(task, progress)
        finally:
            release(self)

    def _run(self, task: Task, progress: Callable[[int], None]) -> Outcome:
        try:
            if task.kind not in self._stages:
                stage = task.kind()
                stage.setup()
                self._stages[task.kind] = stage
        except InputError as e:
            return Outcome(task.id, 0.0, str(e), type(e).__name__, fatal=e)
        except Exception as e:
            text = f"stage {task.stage} could not be set up: {type(e).__name__}: {e}"
            return Outcome(task.id, 0.0, text, type(e).__name__, traceback.format_exc())
        try:
            inputs = located(task.inputs, partial(self._store.bring, user=self))
            self._look_at(inputs)
            task = replace(task, inputs=inputs, folder=self._store.here(task.folder))
        except DamagedResult as e:
            damaged = self._store.there(e.folder) if e.folder else None
            return Outcome(task.id, 0.0, str(e), type(e).__name__, fatal=e, damaged=damaged)
        except InputError as e:
            return Outcome(task.id, 0.0, str(e), type(e).__name__, fatal=e)
        except Exception as e:
            text = f"what {task.id} needs could not be brought here: {type(e).__name__}: {e}"
            return Outcome(task.id, 0.0, text, type(e).__name__, traceback.format_exc())
        return self._named(execute(self._stages[task.kind], task, self._store, progress))

    def _look_at(self, inputs: Inputs) -> None:
        """Every result that is read, once while it stays as it is. Raises DamagedResult."""
        for one in inputs.read():
            folder = one.path.parent if isinstance(one, File) else one.folder
            result = folder / RESULT
            if isinstance(one, File) and not (folder.is_relative_to(self._store.root) and result.exists()):
                continue  # a file of the manifest
            mark = (folder, stamp_of(result)) if result.is_file() else None
            if mark is None or mark not in self._whole:
                self._store.whole(folder)
                self._whole.add((folder, stamp_of(result)))

    def _named(self, outcome: Outcome) -> Outcome:
        """An error with the URIs that a person gave, instead of the paths of their copies here."""
        if outcome.error is None:
            return outcome
        named, fatal = self._store.copies.named, outcome.fatal
        fatal = type(fatal)(named(str(fatal))) if fatal else None
        return replace(outcome, error=named(outcome.error), fatal=fatal)

    def close(self) -> None:
        """Close every stage."""
        for stage in self._stages.values():
            stage.close()
        self._stages.clear()
