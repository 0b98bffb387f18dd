"""What became of the tests, in the last lines: how many passed, which were skipped and why, which were not asked for.

A plugin of pytest, with processes of pytest-xdist and without. Where the environment names a file in DUB_COUNTS the
lines are written there too, so that ./check can end with them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

SLOW = ("ray", "browser", "training", "long")  # what ./check --fast leaves out; said in pyproject.toml too
OUTCOMES = {
    "passed": "passed", "failed": "failed", "error": "broken", "skipped": "skipped",
    "xfailed": "failed as expected", "xpassed": "passed against expectation",
}  # fmt: skip


def why_skipped(report: Any) -> str:
    """The reason that a skipped test, or module of tests, gave."""
    reason = report.longrepr[2] if isinstance(report.longrepr, (tuple, list)) else str(report.longrepr)
    return str(reason).removeprefix("Skipped: ").strip() or "no reason given"


def why_not_run(item: pytest.Item) -> str:
    """Why a test was left out: its slow marks where the arguments name marks, or else the arguments."""
    named = item.config.getoption("markexpr")
    marks = [name for name in SLOW if name in named and item.get_closest_marker(name)]
    return f"marked {', '.join(marks)}" if marks else "left out by the arguments"


def lines(stats: Mapping[str, Sequence[Any]], not_run: Mapping[str, int]) -> Iterator[str]:
    """The counts as text. stats: reports by outcome, as pytest's terminal keeps them; not_run: reason -> tests."""
    counts = {word: len(stats.get(outcome, ())) for outcome, word in OUTCOMES.items()}
    told = {word: n for word, n in counts.items() if n or word == "passed"}
    yield "tests: " + ", ".join(f"{n} {word}" for word, n in told.items())
    for word, reasons in (("skipped", Counter(map(why_skipped, stats.get("skipped", ())))), ("not run", not_run)):
        for reason, n in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])):
            yield f"  {word} {n}: {reason}"


class Counts:
    """Gathers what no report tells, and prints all at the end."""

    def __init__(self) -> None:
        self._file = os.environ.pop("DUB_COUNTS", None)  # not for the processes that tests start
        self._not_run: Counter[str] = Counter()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._not_run.update(map(why_not_run, items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):  # one of several processes: its chief prints
            session.config.workeroutput["not_run"] = dict(self._not_run)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Every process of pytest-xdist leaves out the same tests."""
        self._not_run |= Counter(getattr(node, "workeroutput", {}).get("not_run", {}))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if config.getoption("collectonly"):
            return
        text = list(lines(terminalreporter.stats, self._not_run))
        terminalreporter.section("what became of the tests")
        for line in text:
            terminalreporter.write_line(line)
        if self._file:
            Path(self._file).write_text("\n".join(text) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Takes part, once."""
    if not config.pluginmanager.has_plugin("dub counts"):
        config.pluginmanager.register(Counts(), "dub counts")
