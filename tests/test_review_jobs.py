"""Reruns and exports that wait and run behind the review page: how many, which of them twice, and their end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import until

from dubbing.errors import InputError
from dubbing.review import background_jobs
from dubbing.review.background_jobs import MOST_WAITING, BackgroundJobs
from dubbing.review.kept import Kept
from dubbing.store import open_store

KEY = ("film", "hi", "shot_0002")
REWRITE = {"name": "rewrite", "opening": 1.3}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundJobs]:
    """Jobs of which the first runs until it is ended, which its stdin's end does."""
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\ncat >/dev/null\n", encoding="utf-8")  # until its stdin ends
    sleeper.chmod(0o755)
    monkeypatch.setattr(background_jobs.sys, "executable", str(sleeper))
    made = BackgroundJobs(tmp_path)
    yield made
    made.close()


def state(jobs: BackgroundJobs, number: int) -> str:
    return next(j.state for j in jobs.all() if j.id == number)


def test_only_so_many_wait_and_the_same_is_asked_for_once(jobs: BackgroundJobs) -> None:
    first = jobs.rerun([KEY, ("film", "ta", "shot_0001")], REWRITE, "Ana")
    until(lambda: state(jobs, first.id) == "running")
    again = jobs.rerun([("film", "ta", "shot_0001"), KEY, KEY], dict(reversed(REWRITE.items())), "Bo")
    assert again.id == first.id and len(jobs.all()) == 1
    export = jobs.export("Ana")
    assert jobs.export("Bo").id == export.id != first.id
    for n in range(MOST_WAITING - 1):
        jobs.rerun([("film", "hi", f"shot_1{n:03d}")], REWRITE, "Ana")
    with pytest.raises(InputError, match=f"{MOST_WAITING} reruns and exports wait already; cancel one"):
        jobs.rerun([KEY], REWRITE, "Ana")
    assert jobs.export("Cy").id == export.id
    jobs.cancel(export.id, "Bo")
    assert jobs.rerun([KEY], REWRITE, "Ana").state == "waiting"


def test_what_waits_and_what_runs_can_be_cancelled(jobs: BackgroundJobs) -> None:
    first, second, third = (jobs.rerun([("film", "hi", f"shot_{n}")], REWRITE, "Ana") for n in range(3))
    until(lambda: state(jobs, first.id) == "running")
    assert jobs.cancel(second.id, "Bo").message == "by Bo"
    assert jobs.cancel(first.id, "Bo").state == "cancelled"
    until(lambda: state(jobs, third.id) == "running")
    assert [j.state for j in jobs.all()] == ["cancelled", "cancelled", "running"]
    for gone in (first.id, second.id, 99):
        with pytest.raises(InputError, match=f"no rerun or export {gone} that waits or runs"):
            jobs.cancel(gone, "Bo")


def test_a_rerun_that_begins_leaves_alone_what_the_page_is_making(tmp_path: Path) -> None:
    """It removed the half-written proxy, of which the page then said that its folder cannot be written."""
    kept = Kept(tmp_path / "review" / "proxies", ".mp4", 100)
    with kept.new("moving") as part:
        part.write_text("x")
        open_store(tmp_path).sweep()
    made = kept.get("moving")
    assert made is not None and made.read_text() == "x"
