"""Run a command and watch what its whole process tree costs. For the other scripts of this folder."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

__all__ = ["Cost", "watch"]


@dataclass(frozen=True)
class Cost:
    """seconds: wall time; peak_mb: largest sum over the tree of proportional set sizes; code: exit code."""

    seconds: float
    peak_mb: float
    code: int
    stdout: str


def watch(command: Sequence[str], every_s: float = 0.5) -> Cost:
    """Run `command` to its end."""
    started = time.monotonic()
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        top = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            try:
                tree = [top, *top.children(recursive=True)]
            except psutil.Error:
                tree = []
            for one in tree:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(every_s)
        out = process.stdout.read() if process.stdout else ""
    return Cost(time.monotonic() - started, peak / 2**20, process.returncode, out)
