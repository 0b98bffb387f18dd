"""Where the work happens: one loop over a job's tasks, and a pool that does them.

The loop knows what is ready, done and failed; a pool (`local`, `ray`) only runs tasks. Both pools run
the same stages on the same arguments, so they give the same bytes.
"""

from dubbing.engine.run import ENGINES, Report, do_tasks, run_job
from dubbing.engine.schedule import Event

__all__ = ["ENGINES", "Event", "Report", "do_tasks", "run_job"]
