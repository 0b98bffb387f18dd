"""What travels to a cluster, the address and the token, and answers that are none: all without a cluster."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dubbing import config, manifest
from dubbing.cli import main
from dubbing.cluster import jobs
from dubbing.cluster.access import Token, address_of, token_of
from dubbing.cluster.submission import Submission, attempt_of, is_job_id, prepare
from dubbing.engine.ray import _where
from dubbing.errors import ClusterError, InputError, ManifestError

SECRET = "0123456789abcdef-a-secret"
JOB: dict[str, Any] = {
    "version": 1,
    "titles": [{"id": "reel", "video": "film.mp4", "dubs": [{"language": "fr", "audio": "fr.flac"}]}],
}
ODD = [
    "it's",
    '"two"',
    "-lead",
    "$HOME",
    "`id`",
    "a;b",
    "a\nb",
    "no",
    "1e5",
    "日本",
    "🎬",
    "\x85",
    "\u2028",
    "\x7f",
    "#x: y",
]


@pytest.fixture
def reel(tmp_path: Path) -> Path:
    path = tmp_path / "reel.yaml"
    path.write_text(json.dumps(JOB), encoding="utf-8")
    return path


def test_a_submission_is_named_by_its_manifest_settings_and_out(reel: Path, tmp_path: Path) -> None:
    first = prepare(str(reel), None, "out")
    assert is_job_id(first.name) and first.name.startswith("dub-reel-")
    assert prepare(str(reel), None, "./out").name == first.name
    assert prepare(str(reel), None, "out", workers=3).name == first.name  # how quickly is not what
    settings = tmp_path / "c.yaml"
    settings.write_text("shots: {threshold: 3.0}")  # the default
    assert prepare(str(reel), settings, "out").name == first.name
    settings.write_text("shots: {threshold: 4.0}")
    names = {first.name, prepare(str(reel), settings, "out").name, prepare(str(reel), None, "out2").name}
    reel.write_text(json.dumps(JOB).replace("fr.flac", "other.flac"))
    assert len(names | {prepare(str(reel), None, "out").name}) == 4


def test_paths_become_absolute_and_uris_stay(reel: Path, tmp_path: Path) -> None:
    made = prepare(str(reel), None, "s3://bucket/out")
    assert made.out == "s3://bucket/out" and made.metadata["out"] == made.out
    title = json.loads(made.files["manifest.yaml"])["titles"][0]
    assert title["video"] == str(tmp_path / "film.mp4") and title["dubs"][0]["audio"] == str(tmp_path / "fr.flac")
    assert made.absent == (str(tmp_path / "film.mp4"), str(tmp_path / "fr.flac"))
    assert prepare(str(reel), None, "out").out == str(Path("out").absolute())


def travelled(made: Submission, folder: Path) -> manifest.Manifest:
    """The manifest as the cluster reads it."""
    for name, text in made.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return manifest.load(folder / "manifest.yaml")


def test_every_name_survives_the_way(tmp_path: Path) -> None:
    """Names that YAML would fold, refuse or take for something else."""
    cast = {name: {"consent": name} for name in ODD}
    job = JOB | {"titles": [JOB["titles"][0] | {"id": "1e5", "cast": cast}], "generator": {"name": "x", "a": ODD}}
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "manifest.yaml").write_text(jobs_yaml(job), encoding="utf-8")
    read = manifest.load(here / "manifest.yaml")
    assert set(read.titles[0].cast or {}) == set(ODD)
    assert travelled(prepare(str(here / "manifest.yaml"), None, "out"), there).model_dump() == read.model_dump()


def jobs_yaml(value: Any) -> str:
    """YAML that every reader takes, by PyYAML's own hand."""
    import yaml

    return yaml.safe_dump(value, default_style='"', allow_unicode=False).replace('!!int "1"', "1")


def test_settings_travel_as_differences(reel: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("master: {crf: 30}\nengine: {tries: 5}")
    made = prepare(str(reel), tmp_path / "c.yaml", "out")
    assert json.loads(made.files["config.yaml"]) == {"master": {"crf": 30}, "engine": {"tries": 5}}
    travelled(made, tmp_path)
    assert config.load(tmp_path / "config.yaml") == config.load(tmp_path / "c.yaml")
    assert "--config=config.yaml" in made.entrypoint


@pytest.mark.parametrize(
    "name", [n for n in ODD if n != "a\nb"] + ["$(touch owned)", "x' ; touch owned ; '", "-", "a\n"]
)
def test_no_name_breaks_out_of_the_shell_line(reel: Path, tmp_path: Path, name: str) -> None:
    made = prepare(str(reel), None, name, workers=2)
    assert made.out == str(Path(name).absolute())
    line = made.entrypoint.replace("python -m dubbing", "printf '%s\\0'", 1)
    shown = subprocess.run(["/bin/sh", "-c", line], capture_output=True, cwd=tmp_path, check=True).stdout
    words = [w.decode() for w in shown.split(b"\0")[:-1]]
    assert words == ["run", "manifest.yaml", f"--out={made.out}", "--engine=ray", "--workers=2"]
    assert not (tmp_path / "owned").exists()
    from dubbing.cli.app import dub

    parsed = dub.commands["run"].make_context("run", shlex.split(made.entrypoint)[4:]).params
    assert str(parsed["out"]) == made.out and parsed["engine"] == "ray"


def test_what_is_wrong_is_said_before_anything_is_sent(reel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="UTF-8"):
        prepare(str(reel), None, "out\udcff")
    reel.write_text("version: 1\ntitels: []")
    with pytest.raises(ManifestError, match="titles"):
        prepare(str(reel), None, "out")
    code, _, err = dub(capsys, "submit", reel, "--address", "http://127.0.0.1:1")
    assert code == 2 and "line" in err and err.count("\n") == 1


def dub(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in args])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize(
    ("job_id", "attempt"),
    [("dub-a-0123456789ab", 1), ("dub-a-0123456789ab-2", 2), ("dub-a-0123456789ab-13", 13),
     ("dub-a-0123456789ab-1", None),
     ("dub-a-0123456789ac", None), ("dub-a-0123456789ab-02", None), ("raysubmit_x", None)],
)  # fmt: skip
def test_attempts_are_numbered(job_id: str, attempt: int | None) -> None:
    assert attempt_of("dub-a-0123456789ab", job_id) == attempt


@pytest.mark.parametrize(
    "text", ["dub-a-0123456789ab/../x", "dub-a-0123456789ab\n", "dub-A-0123456789ab", "dub-a-xyz", ""]
)
def test_only_ids_of_dub_are_ids(text: str) -> None:
    assert not is_job_id(text)


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
    status: int, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with answering(status, body) as address:
        code, out, err = dub(capsys, "status", "--address", address)
    assert code == 2 and said in err and err.count("\n") == 1 and address in err
    assert SECRET not in out + err


def test_a_cluster_that_asks_for_a_token_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    with answering(401, b"Unauthorized") as address:
        code, _, err = dub(capsys, "status", "--address", address)
        assert code == 2 and "there is none here" in err and "RAY_AUTH_TOKEN_PATH" in err
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        assert "unset it" in dub(capsys, "status", "--address", address)[2]


def test_nothing_at_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = dub(capsys, "status", "--address", "http://127.0.0.1:1")
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
    job = jobs._job(details(status, code))
    assert (job.state, job.exit_status) == (state, ends)
    assert job.ended_well == (ends in (0, 3)) and job.under_way == (ends is None)
    assert job.message == "Job entrypoint command failed with exit code 9" and job.started_s == 1.0


class Pretended(jobs.Cluster):
    """A cluster in a list, to which somebody else may submit in between."""

    def __init__(self, *ends: int | None, quicker: bool = False) -> None:
        self.address, self.quicker = "http://pretended:1", quicker
        self.all = [self._made(n + 1, end) for n, end in enumerate(ends)]

    def _made(self, attempt: int, end: int | None) -> jobs.Job:
        status = {None: "RUNNING", 0: "SUCCEEDED", 130: "STOPPED"}.get(end, "FAILED")
        found = details(status, end)
        found.submission_id += f"-{attempt}" if attempt > 1 else ""
        return jobs._job(found)

    def jobs(self) -> list[jobs.Job]:
        return self.all

    def job(self, job_id: str) -> jobs.Job:
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
    running, done = jobs._job(details("RUNNING", None)), jobs._job(details("SUCCEEDED", 0))
    answers: list[tuple[jobs.Job, str] | None] = [
        (running, "one\ntw"),
        None,
        (running, "one\ntwo\n"),
        (done, "one\ntwo\nend"),
    ]
    cluster = Pretended()

    def job(job_id: str) -> jobs.Job:
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
    with pytest.raises(ClusterError, match="silence"):
        list(cluster.follow("x", patience_s=-1.0))


@pytest.mark.parametrize(
    ("address", "joins"),
    [("", False), ("local", False), ("http://h:8265", False), ("10.0.0.1:6379", True), ("auto", True)],
)
def test_a_run_inside_a_cluster_joins_it(address: str, joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    where = _where(config.Engine(workers=2))
    assert where == {"address": address} if joins else where["address"] == "local" and where["num_cpus"] == 2


def test_status_knows_a_job_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert "Nothing answers" in dub(capsys, "status", "dub-a-0123456789ab")[2]
    (tmp_path / "dub-a-0123456789ab").mkdir()
    assert "no run.json" in dub(capsys, "status", "dub-a-0123456789ab")[2]
    assert "no run.json" in dub(capsys, "status")[2]
