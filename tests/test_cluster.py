"""The address and the token, answers that are none, attaching and following: all without a cluster."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from command import Dub

from dubbing import config
from dubbing.cli import cluster as commands
from dubbing.cluster import jobs
from dubbing.cluster.access import Token, address_of, token_of
from dubbing.cluster.submission import Submission, attempt_of
from dubbing.engine import connection
from dubbing.errors import ClusterError, DubError

SECRET = "0123456789abcdef-a-secret"


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [("http://h:8265", {"RAY_API_SERVER_ADDRESS": "http://other:1"}, "http://h:8265"),
     ("h:8265", {}, "http://h:8265"), ("https://h/ray/", {}, "https://h/ray"),
     (None, {"RAY_API_SERVER_ADDRESS": "http://a:1", "RAY_ADDRESS": "http://b:1"}, "http://a:1"),
     (None, {"RAY_ADDRESS": "http://b:1"}, "http://b:1")],
)  # fmt: skip
def test_the_address(given: str | None, environment: dict[str, str], address: str) -> None:
    assert address_of(given, environment) == address


@pytest.mark.parametrize(
    ("given", "environment", "said"),
    [(None, {}, "Which cluster"), (None, {"RAY_ADDRESS": "10.0.0.1:6379"}, "Which cluster"),
     ("ray://h:10001", {}, "dashboard"), ("http://", {}, "dashboard"), ("http://h:port", {}, "dashboard"),
     ("http://h:1\n", {}, "dashboard"), ("", {}, "dashboard"), ("http://me:pw@h:1", {}, "user name")],
)  # fmt: skip
def test_no_address(given: str | None, environment: dict[str, str], said: str) -> None:
    with pytest.raises(ClusterError, match=said) as e:
        address_of(given, environment)
    assert "pw" not in str(e.value)


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("from-home\n")
    (tmp_path / "file").write_text("from-file\n")
    path = str(tmp_path / "file")
    everything = {"RAY_AUTH_TOKEN": SECRET, "RAY_AUTH_TOKEN_PATH": path}
    assert token_of(everything, tmp_path) == Token(SECRET, "RAY_AUTH_TOKEN")
    assert token_of({"RAY_AUTH_TOKEN_PATH": path}, tmp_path).value == "from-file"
    assert token_of({}, tmp_path) == Token("from-home", "~/.ray/auth_token")
    assert token_of({}, tmp_path / "nobody").value is None
    assert token_of(everything | {"RAY_AUTH_MODE": "disabled"}, tmp_path).value is None
    for wrong in ("absent", "empty"):
        (tmp_path / "empty").write_text("")
        with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH"):
            token_of({"RAY_AUTH_TOKEN_PATH": str(tmp_path / wrong)}, tmp_path)
    with pytest.raises(ClusterError, match="no token") as e:
        token_of({"RAY_AUTH_TOKEN": f"{SECRET}\r\nX-Injected: 1"}, tmp_path)
    assert SECRET not in str(e.value)
    assert SECRET not in repr(Token(SECRET, "RAY_AUTH_TOKEN"))


class Answers(BaseHTTPRequestHandler):
    """Answers as a test says, and remembers what was asked."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b""
    headers_seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.headers_seen.append(self.headers.get("Authorization"))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    handler = type("Handler", (Answers,), {"status": status, "body": body, "headers_seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(200, b"<html>hello</html>", "not Ray"), (200, b"[]", "not Ray"), (200, b"{}", "not Ray"), (404, b"", "not Ray"),
     (500, b"", "not Ray"), (302, b"", "not Ray"), (401, b"", "refused the token from RAY_AUTH_TOKEN"),
     (403, b"", "refused the token from RAY_AUTH_TOKEN"), (503, b"", "HTTP 503")],
)  # fmt: skip
def test_answers_that_are_no_cluster(
    status: int, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch, dub: Dub
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with answering(status, body) as address:
        code, out, err = dub("status", "--address", address)
    assert code == 2 and said in err and err.count("\n") == 1 and address in err
    assert SECRET not in out + err


def test_a_cluster_that_asks_for_a_token_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dub: Dub
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    with answering(401, b"Unauthorized") as address:
        code, _, err = dub("status", "--address", address)
        assert code == 2 and "there is none here" in err and "RAY_AUTH_TOKEN_PATH" in err
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        assert "unset it" in dub("status", "--address", address)[2]
        # a process in which Ray itself has been told to look for a token, as after a run of its own
        told = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        ended = subprocess.run(
            [sys.executable, "-m", "dubbing", "status", "--address", address],
            env=told | {"RAY_AUTH_MODE": "token"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 2 and "there is none here" in ended.stderr, ended.stderr


def test_nothing_at_the_address(dub: Dub) -> None:
    code, _, err = dub("status", "--address", "http://127.0.0.1:1")
    assert code == 2 and "Nothing answers at http://127.0.0.1:1" in err


def details(status: str, code: int | None) -> SimpleNamespace:
    return SimpleNamespace(
        status=status, driver_exit_code=code, submission_id="dub-a-0123456789ab", metadata=None, start_time=1000,
        end_time=3000, message="Job entrypoint command failed with exit code 9, last available logs (x):\nlog",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "state", "ends"),
    [("PENDING", None, "pending", None), ("RUNNING", None, "running", None), ("SUCCEEDED", 0, "finished", 0),
     ("FAILED", 3, "finished", 3), ("FAILED", 1, "failed", 1), ("FAILED", 2, "failed", 2),
     ("FAILED", 130, "failed", 130),
     ("FAILED", None, "failed", 1), ("FAILED", -9, "failed", 1), ("STOPPED", None, "stopped", 130)],
)  # fmt: skip
def test_a_jobs_exit_status_is_the_runs(status: str, code: int | None, state: str, ends: int | None) -> None:
    job = jobs.job_of(details(status, code))
    assert (job.state, job.exit_status) == (state, ends)
    assert job.ended_well == (ends in (0, 3)) and job.under_way == (ends is None)
    assert job.message == "Job entrypoint command failed with exit code 9" and job.started_s == 1.0


class Pretended(jobs.Cluster):
    """A cluster in a list, to which somebody else may submit in between."""

    def __init__(self, *ends: int | None, quicker: bool = False) -> None:
        self.address, self.quicker = "http://pretended:1", quicker
        self.all = [self._made(n + 1, end) for n, end in enumerate(ends)]

    def _made(self, attempt: int, end: int | None) -> jobs.ClusterJob:
        status = {None: "RUNNING", 0: "SUCCEEDED", 130: "STOPPED"}.get(end, "FAILED")
        found = details(status, end)
        found.submission_id += f"-{attempt}" if attempt > 1 else ""
        return jobs.job_of(found)

    def jobs(self) -> list[jobs.ClusterJob]:
        return self.all

    def job(self, job_id: str) -> jobs.ClusterJob:
        return next(j for j in self.all if j.id == job_id)

    def _start(self, submission: Submission, job_id: str, with_code: bool) -> bool:
        assert job_id not in [j.id for j in self.all]
        self.all = [*self.all, self._made(attempt_of(submission.name, job_id) or 0, None)]
        return not self.quicker


@pytest.mark.parametrize(
    ("before", "again", "job_id", "started"),
    [((), False, "dub-a-0123456789ab", True), ((None,), False, "dub-a-0123456789ab", False),
     ((None,), True, "dub-a-0123456789ab", False), ((0,), False, "dub-a-0123456789ab", False),
     ((3,), False, "dub-a-0123456789ab", False), ((0,), True, "dub-a-0123456789ab-2", True),
     ((1,), False, "dub-a-0123456789ab-2", True), ((130, 2), False, "dub-a-0123456789ab-3", True),
     ((1,) * 11, False, "dub-a-0123456789ab-12", True), ((1, None), False, "dub-a-0123456789ab-2", False)],
)  # fmt: skip
def test_a_second_submit_attaches_tells_or_starts_anew(
    before: tuple[int | None, ...], again: bool, job_id: str, started: bool
) -> None:
    what = Submission("dub-a-0123456789ab", {}, "", "/out", {}, ())
    job, began = Pretended(*before).submit(what, again=again)
    assert (job.id, began) == (job_id, started)


def test_two_submits_at_once_make_one_job() -> None:
    what = Submission("dub-a-0123456789ab", {}, "", "/out", {}, ())
    cluster = Pretended(quicker=True)
    job, began = cluster.submit(what)
    assert not began and job.under_way and len(cluster.all) == 1


def test_following_a_job_through_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole lines only, nothing twice, and a cluster that is silent for a while is asked again."""
    running, done = jobs.job_of(details("RUNNING", None)), jobs.job_of(details("SUCCEEDED", 0))
    answers: list[tuple[jobs.ClusterJob, str] | None] = [
        (running, "one\ntw"),
        None,
        (running, "one\ntwo\n"),
        (done, "one\ntwo\nend"),
    ]
    cluster = Pretended()

    def job(job_id: str) -> jobs.ClusterJob:
        if answers[0] is None:
            answers.pop(0)
            raise jobs.LostContact("silence")
        return answers[0][0]

    def log(job_id: str) -> str:
        now = answers.pop(0)
        assert now is not None
        return now[1]

    monkeypatch.setattr(cluster, "job", job)
    monkeypatch.setattr(cluster, "log", log)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    assert list(cluster.follow("x")) == [(running, "one\n"), (None, ""), (running, "two\n"), (done, "end")]
    answers[:] = [None]
    with pytest.raises(DubError, match="comes back") as e:
        list(cluster.follow("x", patience_s=-1.0))
    assert e.value.exit_code == 1  # nothing that was given is wrong


@pytest.mark.parametrize(
    ("address", "joins"),
    [("", False), ("local", False), ("http://h:8265", False), ("10.0.0.1:6379", True), ("auto", True)],
)
def test_a_run_inside_a_cluster_joins_it(address: str, joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    joined: list[str] = []
    monkeypatch.setattr("ray.init", lambda **where: joined.append(where["address"]))
    monkeypatch.setattr(connection, "started", lambda engine: ExitStack())
    made = connection.connect(config.Engine(workers=2))
    assert made.own and made.alone != joins and joined == ([address] if joins else [])


def test_status_knows_a_job_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dub: Dub) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert "Nothing answers" in dub("status", "dub-a-0123456789ab")[2]
    (tmp_path / "dub-a-0123456789ab").mkdir()
    assert "no run.json" in dub("status", "dub-a-0123456789ab")[2]
    assert "no run.json" in dub("status")[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_of_a_job(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run says is shown; its figures are a bar on a terminal and lines elsewhere; Ray's own lines are not."""
    pending, running, done = (jobs.job_of(details(*s)) for s in (("PENDING", None), ("RUNNING", None), ("FAILED", 3)))
    log = "2026-11-21 11:26:27,213\tINFO job_manager.py:581 -- Setting up.\nRunning entrypoint for job x: y\n"
    cluster = Pretended()
    told = [
        (pending, log),
        (None, ""),
        (running, " 37%  shots 4/30  [lipsync]\n"),
        (done, "reel/fr [red] is rendered\n"),
    ]
    monkeypatch.setattr(cluster, "follow", lambda job_id: iter(told))
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    assert commands.followed(cluster, pending) == done
    text = shown.getvalue()
    assert "reel/fr [red] is rendered" in text and "asking again" in text and "waiting for the cluster" in text
    assert "Running entrypoint" not in text and "job_manager" not in text
    assert ("37%  shots 4/30  [lipsync]" in text.splitlines()[2]) or isinstance(shown, Terminal)


def test_the_newest_figures_come_from_the_output_folder_where_it_is_seen(tmp_path: Path) -> None:
    figures = {"part": 0.5, "shots_done": 3, "shots_total": 6, "frames_per_s": 10.0, "left_s": 60.0, "stage": "sync",
               "running": 2, "failed": 0}  # fmt: skip
    job = dataclasses.replace(jobs.job_of(details("RUNNING", None)), out=str(tmp_path))
    cluster = Pretended()
    cluster.log = lambda job_id: " 1%  finding shots\nfilm/fr is rendered\n 20%  shots 1/6\nmore\n"  # type: ignore[method-assign]
    assert commands.newest_figures(cluster, job) == "20%  shots 1/6"
    (tmp_path / ".progress.json").write_text(json.dumps({"pid": 1, "at": time.time(), **figures}))
    assert "shots 3/6" in str(commands.newest_figures(cluster, job))
    (tmp_path / ".progress.json").write_text(json.dumps({"pid": 1, "at": time.time() - 900, **figures}))
    assert commands.newest_figures(cluster, job) == "20%  shots 1/6"  # a run that was killed left it


@pytest.mark.parametrize(
    ("log", "said"),
    [("/usr/bin/python: No module named dubbing\n", "--with-code"), ("sh: 1: python: not found\n", "no `python`"),
     (" 1%  x\ndub: There is no film.\n", "dub: There is no film."),
     ("boom\n", "its last line is: boom"), ("", "(none)")],
)  # fmt: skip
def test_what_to_do_about_a_job_that_failed(log: str, said: str) -> None:
    cluster = Pretended()
    cluster.log = lambda job_id: log  # type: ignore[method-assign]
    assert said in commands.advice(cluster, jobs.job_of(details("FAILED", 1)))
