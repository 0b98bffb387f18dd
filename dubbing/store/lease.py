"""One run at a time in a place without file locks: an object that the run renews while it lives.

The lease is `.lease.json` (who, where, when). Another run's is respected while it was renewed within
STALE_S, and taken over after that if it stays as it is, or at once when its process was on this machine
and is gone. Where two runs reach for it together the last writer has it; the other sees so before it begins. A run that
could not renew for so long that another took over is told at its next write.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dubbing.errors import OutputError, StorageError
from dubbing.remote import Objects

__all__ = ["LEASE", "STALE_S", "Lease", "alive", "held", "this_process"]

LEASE = ".lease.json"
RENEW_S = 5.0
STALE_S = 60.0
SETTLE_S = 1.0  # how long after writing it we look whether another run wrote it too


class Lease:
    """The lease of one output place. also: called at every renewal, for what goes along with it."""

    def __init__(self, objects: Objects, also: Callable[[], None] = lambda: None) -> None:
        self._objects = objects
        self._quick = replace(objects, patience_s=RENEW_S)  # what one renewal cannot do the next one will
        self._id, self._also = uuid.uuid4().hex, also
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    def take(self) -> None:
        """Raises OutputError while another run holds it."""
        other = _read(self._objects)
        if other is not None and (alive(other) or (not _gone(other) and self._renewed(other))):
            raise OutputError(
                f"Another run is writing to {str(self._objects.uri)!r} (on {other.get('host')}, seen "
                f"{max(0.0, time.time() - other['at']):.0f} s ago); wait for it to end, or choose another --out. "
                f"If it was killed, it can be taken over {STALE_S:.0f} s after it was last seen."
            )
        self._write(self._objects)
        time.sleep(SETTLE_S)
        mine = _read(self._objects)
        if mine is None or mine.get("id") != self._id:
            raise OutputError(
                f"Another run began to write to {str(self._objects.uri)!r} at the same moment; "
                "wait for it to end, or choose another --out."
            )
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def _renewed(self, other: dict[str, Any]) -> bool:
        """Whether what looks stale by our clock is renewed all the same: clocks of machines differ."""
        time.sleep(1.5 * RENEW_S)
        now = _read(self._objects)
        return now is not None and (now.get("id"), now["at"]) != (other.get("id"), other["at"])

    def release(self) -> None:
        """Let go of it, however the run ended; a storage that fails now leaves it to grow stale."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(StorageError):
            now = _read(self._quick)
            if now is not None and now.get("id") == self._id:
                self._quick.remove(LEASE)

    def check(self) -> None:
        """Raises OutputError when another run has taken over."""
        if self.lost:
            raise OutputError(
                f"Another run took {str(self._objects.uri)!r} over, because this one could not reach it for more than "
                f"{STALE_S:.0f} s; this run stops, the other goes on."
            )

    def _write(self, objects: Objects) -> None:
        value = {"id": self._id, **this_process(), "at": time.time()}
        objects.write(LEASE, json.dumps(value).encode())

    def _renew(self) -> None:
        while not self._end.wait(RENEW_S):
            try:
                now = _read(self._quick)
                if now is not None and now.get("id") != self._id:
                    self.lost = True
                    return
                self._write(self._quick)
                self._also()
            except Exception:  # whatever it is, the next renewal may succeed; a thread that ended could not
                continue


def _read(objects: Objects) -> dict[str, Any] | None:
    try:
        value = json.loads(objects.read(LEASE))
        return value if isinstance(value.get("at"), int | float) else None
    except (FileNotFoundError, ValueError, AttributeError):
        return None


def this_process() -> dict[str, Any]:
    """This process. space: the process numbers it counts in, which containers have of their own."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return {"host": socket.gethostname(), "space": space, "pid": os.getpid()}


def _gone(lease: dict[str, Any]) -> bool:
    """Whether its process was on this machine and has ended."""
    me = this_process()
    if (lease.get("host"), lease.get("space")) != (me["host"], me["space"]):
        return False
    try:
        os.kill(int(lease["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return False


def alive(lease: dict[str, Any]) -> bool:
    """Whether the run that wrote this lease may still be going, by our clock."""
    return not _gone(lease) and abs(time.time() - float(lease["at"])) < STALE_S


def held(objects: Objects) -> bool:
    """Whether a run that is alive holds the lease here."""
    lease = _read(objects)
    return lease is not None and alive(lease)
