"""Waiting for something that another process or thread does: the one place where tests look at a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.01  # between two looks
NET_S = 120.0  # only so that a test that would hang fails; a slow machine must never come near it


def until(happens: Callable[[], T], fails: Callable[[], object] = lambda: None) -> T:
    """Wait until `happens` gives something true, and return that.

    fails: what can no longer be waited for, as a reason that is not None (an exit code, a message).
    """
    end = time.monotonic() + NET_S
    while not (found := happens()):
        reason = fails()
        assert reason is None, f"it cannot happen any more: {reason}"
        assert time.monotonic() < end, f"it did not happen within {NET_S:g} s"
        time.sleep(LOOK_S)
    return found
