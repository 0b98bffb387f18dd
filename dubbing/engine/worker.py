"""One process's worth of work: stages set up when first needed, tasks done one after another.

What a task reads is brought to this machine first, where it lies elsewhere. Both engines use this, so a
task ends the same way in either.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dubbing.errors import InputError
from dubbing.stage import Stage, execute
from dubbing.store import Store
from dubbing.task import Outcome, Task, located

__all__ = ["Worker"]


class Worker:
    """Keeps the stages it has set up. close() lets go of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.tidy()
        self._stages: dict[type[Stage[Any, Any]], Stage[Any, Any]] = {}

    def run(self, task: Task, progress: Callable[[int], None]) -> Outcome:
        """Do one task. Never raises: a stage that cannot be set up fails the task as one that cannot do it does."""
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
            inputs = located(task.inputs, self._store.bring)
            task = replace(task, inputs=inputs, folder=self._store.here(task.folder))
        except InputError as e:
            return Outcome(task.id, 0.0, str(e), type(e).__name__, fatal=e)
        except Exception as e:
            text = f"what {task.id} needs could not be brought here: {type(e).__name__}: {e}"
            return Outcome(task.id, 0.0, text, type(e).__name__, traceback.format_exc())
        return self._named(execute(self._stages[task.kind], task, self._store, progress))

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
