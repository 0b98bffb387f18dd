"""A real Ray head on this machine, with a token: submit, attach, leave, come back, cancel, go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from films import Finished
from waiting import NET_S, until

from dubbing.shot_table import read_rows

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-of-this-test-0123456789abcdef"

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.ray]


@dataclass(frozen=True)
class Head:
    """address: of the dashboard; environment: of a user's commands, with the right token."""

    address: str
    environment: dict[str, str]

    def dub(self, *args: object, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*args), env=self.environment | more, capture_output=True, text=True, check=False, timeout=600
        )
        assert TOKEN not in done.stdout + done.stderr
        return done

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-m", "dubbing", *map(str, args), "--address", self.address]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Its nodes find a package `dubbing` that is none: only `--with-code` brings one."""
    folder = Path(tempfile.mkdtemp(prefix="dub-ray-"))  # short: Ray puts sockets there
    (folder / "image" / "dubbing").mkdir(parents=True)
    (folder / "image" / "dubbing" / "__main__.py").write_text("raise SystemExit('No module named dubbing')")
    (folder / "ray_bootstrap_config.yaml").write_text("{}")  # else the head asks which cloud this is
    port, dashboard, *agents = free_ports(6)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    }
    command = [
        Path(sys.executable).parent / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agents[0]}",
        f"--dashboard-agent-grpc-port={agents[1]}", f"--metrics-export-port={agents[2]}",
        f"--ray-client-server-port={agents[3]}", "--object-store-memory=100000000", f"--temp-dir={folder}",
    ]  # fmt: skip
    environment = plain | {"RAY_AUTH_MODE": "token", "PYTHONPATH": str(folder / "image")}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as ray:
        try:
            until(lambda: answers(dashboard), lambda: (folder / "log").read_text() if ray.poll() is not None else None)
            yield Head(f"http://127.0.0.1:{dashboard}", plain | {"PYTHONPATH": str(ROOT)})
        finally:
            ours = psutil.Process(ray.pid).children(recursive=True)
            ray.terminate()
            psutil.wait_procs(ours, timeout=15)
            for process in ours:
                if process.is_running():
                    process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def status(head: Head, *args: object) -> Any:
    return json.loads(head.dub("status", "--json", *args).stdout)


def test_a_token_that_is_missing_or_wrong(head: Head, tmp_path: Path) -> None:
    wrong = head.dub("status", RAY_AUTH_TOKEN="another")
    assert wrong.returncode == 2 and "refused the token from RAY_AUTH_TOKEN" in wrong.stderr
    none = head.dub("status", RAY_AUTH_TOKEN="", HOME=str(tmp_path))
    assert none.returncode == 2 and "there is none here" in none.stderr and none.stderr.count("\n") == 1
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")  # must not replace the token
    right = head.dub(
        "status", RAY_AUTH_TOKEN="", HOME=str(tmp_path), RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"),
        RAY_API_SERVER_ADDRESS="http://127.0.0.1:1", RAY_ADDRESS="http://127.0.0.1:1",
    )  # fmt: skip
    assert right.returncode == 0 and "no jobs of dub" in right.stdout


def test_a_cluster_without_dubbing(head: Head, film: Path, tmp_path: Path) -> None:
    done = head.dub("submit", film, "--out", tmp_path / "out", "--wait")
    assert done.returncode == 1 and "submit with --with-code" in done.stdout


def test_submit_leave_attach_and_cancel(head: Head, film: Path, tmp_path: Path) -> None:
    submit = ["submit", film, "--out", tmp_path / "it's out", "--with-code"]
    # leave: Ctrl-C while it works
    with subprocess.Popen(
        head.command(*submit, "--wait"), env=head.environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as waiting:
        assert waiting.stderr is not None
        lines = []
        for line in waiting.stderr:
            lines.append(line)
            if "shots" in line:
                waiting.send_signal(signal.SIGINT)
                break
        _, rest = waiting.communicate(timeout=NET_S)
    assert waiting.returncode == 130 and "goes on without you" in rest and "--follow" in rest, lines
    job_id = lines[0].split()[0]
    now = status(head, job_id)
    assert now["state"] == "running" and "shots" in now["progress"] and now["out"] == str(tmp_path / "it's out")
    # a second submit attaches
    second = head.dub(*submit, "--json")
    assert second.returncode == 0 and json.loads(second.stdout)["id"] == job_id
    assert json.loads(second.stdout)["started"] is False
    # cancel, twice
    stopped = head.dub("cancel", job_id)
    assert stopped.returncode == 0 and f"{job_id}: stopped" in stopped.stdout
    assert "had ended already" in head.dub("cancel", film, "--out", tmp_path / "it's out").stderr
    assert status(head, job_id)["exit_status"] == 130


def test_what_was_stopped_goes_on_and_ends_as_the_run_does(head: Head, finished: Finished, tmp_path: Path) -> None:
    """The analysis is done, as by an earlier attempt."""
    film, out = finished.film, tmp_path / "it's out"
    shutil.copytree(finished.out / "film" / "analysis", out / "film" / "analysis")
    submit = ["submit", film, "--out", out, "--with-code"]
    job_id = json.loads(head.dub(*submit, "--json").stdout)["id"]
    assert f"{job_id}: stopped" in head.dub("cancel", job_id).stdout
    # the same submit goes on, as another attempt
    done = head.dub(*submit, "--wait", "--json")
    ended = json.loads(done.stdout)
    assert ended["id"] == f"{job_id}-2" and ended["started"] and ended["state"] == "finished"
    assert done.returncode == ended["exit_status"] in (0, 3) and "tasks done in" in done.stderr
    for language in ("hi", "ta"):
        rows = read_rows(out / "film" / language / "shots.parquet")
        assert [r["status"] for r in rows] == ["untouched", "dubbed"]
        assert (out / "film" / language / f"film.{language}.mp4").exists()
    report = json.loads((out / "run.json").read_text())
    assert report["engine"] == "ray" and report["found_done"] > 0
    # and a last one says how it ended
    again = head.dub(*submit)
    assert again.returncode == done.returncode and "has ended already" in again.stderr and "finished" in again.stdout
    told = head.dub("logs", film, "--out", out, "--follow")
    assert told.returncode == done.returncode and "film.hi.mp4" in told.stdout
    listed = {j["id"]: j["state"] for j in status(head)["jobs"]}
    assert (listed[job_id], listed[f"{job_id}-2"]) == ("stopped", "finished")


def test_ids_that_are_not_there(head: Head, film: Path, tmp_path: Path) -> None:
    gone = head.dub("logs", "dub-film-0123456789ab")
    assert gone.returncode == 2 and "no such job" in gone.stderr
    other = head.dub("logs", film, "--out", tmp_path)
    assert other.returncode == 2 and "was made from" in other.stderr
    neither = head.dub("cancel", "film")
    assert neither.returncode == 2 and "neither" in neither.stderr


def test_a_run_that_refuses_its_input_says_so(head: Head, film: Path, tmp_path: Path) -> None:
    """The manifest reads well here; what it names is not there."""
    (tmp_path / "m.yaml").write_text(film.read_text().replace("film.mp4", "absent.mp4"))
    done = head.dub("submit", tmp_path / "m.yaml", "--out", tmp_path / "out", "--with-code", "--wait")
    assert done.returncode == 2 and "absent.mp4 is not on this machine" in done.stderr
    assert "absent.mp4" in done.stdout and "exit status 2" in done.stdout
