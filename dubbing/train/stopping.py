"""How a run is told to stop between two steps: by a signal, or, of several processes, by a file in OUT.

It knows nothing of what is stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["STOP", "stop_asked", "until_ended"]

STOP = ".stop"  # a file in OUT
_LOOK_S = 0.5


@contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run stops between two steps; a second one stops it at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def ask(kind: int, frame: Any) -> None:
        event.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for kind in kinds:
        signal.signal(kind, ask)
    try:
        yield event
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def until_ended(fit: Callable[[], Any], stop: Path) -> None:
    """Do `fit`; what interrupts this process stops the others after the step at hand, and is raised when they have.

    On a thread, because on the main one Ray's own handler of SIGINT would end this process in its own way.
    """
    failed: list[BaseException] = []
    ended = threading.Event()  # joining the thread would not do: an interrupted join takes a thread for ended

    def work() -> None:
        try:
            fit()
        except BaseException as e:
            failed.append(e)
        finally:
            ended.set()

    stop.unlink(missing_ok=True)
    try:
        try:
            threading.Thread(target=work, daemon=True).start()
            while not ended.wait(_LOOK_S):
                pass
        except KeyboardInterrupt:  # a second one ends everything on the spot
            stop.touch()
            while not ended.wait(_LOOK_S):
                pass
            raise
    finally:
        stop.unlink(missing_ok=True)
    if failed:
        raise failed[0]
