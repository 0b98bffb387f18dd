"""Where the work happens: one loop over a job's tasks, and a pool that does them.

The loop knows what is ready, done and failed; a pool (`local`, `ray`) only runs tasks. Both pools run
the same stages on the same arguments, so they give the same bytes.

Names are imported when they are first used: a worker needs neither the job nor the stages of others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dubbing.engine.run import ENGINES, Report, do_tasks, run_job
    from dubbing.engine.schedule import Event

__all__ = ["ENGINES", "Event", "Report", "do_tasks", "run_job"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("dubbing.engine.schedule" if name == "Event" else "dubbing.engine.run"), name)
