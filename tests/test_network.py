"""What a run on this machine asks of the network, whom its files are for, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from films import Finished, facts_on_disk
from waiting import NET_S

from dubbing.config import Engine
from dubbing.engine import connection
from dubbing.errors import ClusterError, EngineError
from dubbing.store import temporary

pytestmark = pytest.mark.xdist_group("cluster")
HERE = Path(__file__).parent
DUB = [sys.executable, "-m", "dubbing"]
# All that a run may do. Other addresses of the machine, a name to look up, a way out of it: none.
ALLOWED = {"127.0.0.1", "::1"}


@cache
def without_a_network() -> str | None:
    """Why a process cannot be given a network of its own here; None where it can."""
    if shutil.which("unshare") is None:
        return "there is no unshare (Linux, util-linux)"
    tried = subprocess.run(["unshare", "--net", "--map-root-user", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else None


@contextmanager
def short() -> Iterator[Path]:
    """An empty folder for temporary files, with a short name: Ray puts sockets there."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp", ignore_cleanup_errors=True) as name:
        for folder in (empty := Path(name, "t"), empty.with_name("home")):
            folder.mkdir()
        yield empty


@pytest.fixture
def temp() -> Iterator[Path]:
    with short() as folder:
        yield folder


def watched(*command: object, **more: Any) -> dict[str, Any]:
    """What a command asked of the network; see `own_network`."""
    words = ["unshare", "--net", "--map-root-user", sys.executable, HERE / "own_network.py", *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, **more)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


def sockets_of(process: psutil.Process) -> tuple[set[str], set[str]]:
    """(addresses listened on or bound for datagrams, addresses that it is connected with), now."""
    listening, remote = set(), set()
    with suppress(psutil.Error):
        for found in process.net_connections("inet"):
            if found.status == psutil.CONN_LISTEN or found.type == socket.SOCK_DGRAM:
                listening.add(found.laddr.ip.removeprefix("::ffff:"))
            if found.raddr:
                remote.add(found.raddr.ip.removeprefix("::ffff:"))
    return listening, remote


def polled(*command: object, **more: Any) -> dict[str, Any]:
    """The same of sockets that are there when somebody looks. What is shorter, or is only tried, is missed."""
    listening, remote, seen = set(), set(), set()
    with tempfile.TemporaryFile("w+") as said:
        process = psutil.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=said, **more)
        while process.poll() is None:
            with suppress(psutil.Error):
                seen |= {process, *process.children(recursive=True)}
            for one in seen:
                here, there = sockets_of(one)
                listening |= here
                remote |= there
            time.sleep(0.1)
        left = psutil.wait_procs(seen, timeout=NET_S)[1]
        said.seek(0)
        return {
            "code": process.returncode,
            "listening": listening,
            "remote": remote,
            "left": left,
            "stderr": said.read(),
        }


def quiet(*command: object, **more: Any) -> dict[str, Any]:
    """A command's exit code and stderr, after it was seen to keep to loopback and to leave nothing running.

    Where a process cannot have a network of its own, less is seen: call `seen_all` at the end of the test.
    """
    said = polled(*command, **more) if without_a_network() else watched(*command, **more)
    assert (said.get("ways_out_asked_for", 0), said.get("datagrams", 0)) == (0, 0), said["stderr"]
    assert said["listening"] and set(said["listening"]) <= ALLOWED and set(said["remote"]) <= ALLOWED
    assert not said["left"], "something still runs or listens afterwards"
    return said


def seen_all() -> None:
    """Skips, after all that could be seen was, where attempts to connect could not be."""
    if why := without_a_network():
        pytest.skip(f"sockets were looked at now and then, attempts were not counted: {why}")


def left_of(path: str) -> set[object]:
    """Folders whose path begins so, and living processes whose command names one."""
    at = Path(path)
    processes = psutil.process_iter(["cmdline"])
    named = {p.pid for p in processes if path in " ".join(p.info["cmdline"] or [])}  # a zombie's is empty
    return {*at.parent.glob(f"{at.name}*"), *named}


def environment(temp: Path, **more: str) -> dict[str, str]:
    """Ours without what a user may have set for Ray; the home folder is one that nobody has used yet."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    home = temp.with_name("home")
    return plain | {"TMPDIR": str(temp), "HOME": str(home), "PYTHONPATH": str(HERE.parent)} | more


ASKS = {  # what a connection outside would look like: a route, a name, a packet, an open door
    "ways_out_asked_for": "socket(AF_INET, SOCK_DGRAM).connect_ex(('8.8.8.8', 53))",
    "datagrams": "socket(AF_INET, SOCK_DGRAM).sendto(b'?', ('127.0.0.53', 53))",
    "listening": "s = socket(); s.bind(('0.0.0.0', 0)); s.listen(); sleep(0.5)",
}


@pytest.mark.parametrize("what", ASKS)
def test_the_watch_sees_what_must_not_be(what: str) -> None:
    seen_all()
    said = watched(sys.executable, "-c", f"from socket import *; from time import sleep\n{ASKS[what]}")
    assert said["code"] == 0 and said[what] == (["0.0.0.0"] if what == "listening" else 1)
    counts = {"ways_out_asked_for", "datagrams"} - {what}
    assert not said["left"] and not any(said[name] for name in counts)


RAY_STARTED = """
import os, sys
from dubbing.config import Engine
from dubbing.engine.connection import connect
connection = connect(Engine(workers=1))
print("up", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Doomed:
    """A run that will be killed. temp: the folder for temporary files, which holds nothing but `folder`, its own;
    helpers: what Ray started."""

    process: subprocess.Popen[str]
    temp: Path
    folder: Path
    helpers: list[psutil.Process]


@pytest.fixture(scope="module")
def doomed() -> Iterator[Doomed]:
    """One for two tests: Ray's agents need a minute to see that they are alone, in which others can be run."""
    started = [sys.executable, "-c", RAY_STARTED]
    with short() as temp, subprocess.Popen(started, env=environment(temp), stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        (folder,) = temp.iterdir()
        yield Doomed(process, temp, folder, psutil.Process(process.pid).children(recursive=True))
        process.kill()


@pytest.mark.ray
def test_what_a_run_shows_and_writes_is_private(doomed: Doomed) -> None:
    here = set().union(*(sockets_of(h)[0] for h in doomed.helpers))  # in the machine's own network, which has a way out
    assert here and here <= ALLOWED
    assert stat.S_IMODE(doomed.folder.stat().st_mode) == 0o700
    environments = (Path(f"/proc/{h.pid}/environ").read_bytes() for h in doomed.helpers)
    (token,) = {e.partition(b"RAY_AUTH_TOKEN=")[2][:64] for e in environments} - {b""}
    kept = [p for p in doomed.folder.rglob("*") if p.is_file() and token in p.read_bytes()]
    assert not kept, "the token is in a file"
    with temporary("other", doomed.temp):
        assert doomed.folder.exists(), "a run under way lost its folder"
    doomed.process.kill()


@pytest.mark.ray
def test_a_run_makes_no_connection_beyond_this_machine(finished: Finished, temp: Path, tmp_path: Path) -> None:
    """Two workers and every stage. Nothing is left afterwards, the output is readable as the umask says, and holds the
    same bytes as one process makes."""
    said = quiet(
        *DUB, "run", finished.film, "--out", tmp_path / "out", env=environment(temp), preexec_fn=lambda: os.umask(0o027)
    )
    assert said["code"] in (0, 3), said["stderr"]
    assert "starting workers" in said["stderr"]
    assert list(temp.iterdir()) == [], "something is left in the folder for temporary files"
    assert not temp.with_name("home").joinpath(".ray").exists(), "a token lies in the home folder"
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    folders = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*") if p.is_dir()}
    assert modes == {0o640} and folders == {0o750}, (modes, folders)
    assert facts_on_disk(tmp_path / "out") == facts_on_disk(finished.out)
    seen_all()


@pytest.mark.ray
def test_the_local_cluster_makes_no_connection_beyond_this_machine(temp: Path, tmp_path: Path) -> None:
    """Two nodes, the dashboard with its Jobs API, and a job, which is refused so that it is quick: its exit code comes
    out, and nothing stays behind."""
    before = left_of("/tmp/dub-ray.")
    (tmp_path / "m.yaml").write_text("version: 2")
    bins = str(Path(sys.executable).parent)
    said = quiet(HERE.parent / "jobs" / "local.sh", tmp_path / "m.yaml", "out", env=environment(temp, DUB_BIN=bins))
    assert said["code"] == 2 and "reads version 1" in said["stderr"], said["stderr"]
    assert left_of("/tmp/dub-ray.") <= before
    seen_all()


def test_only_what_nobody_holds_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "dub-report").mkdir()  # has no lock: somebody's own
    (tmp_path / "other-1").mkdir()
    (tmp_path / "other-1" / "lock").touch()
    (tmp_path / "dub-link").symlink_to(tmp_path / "other-1")
    (tmp_path / "dub-score-dead").mkdir()
    (tmp_path / "dub-score-dead" / "lock").touch()
    with temporary("score", tmp_path) as one, temporary("score", tmp_path) as two:
        assert one.is_dir() and two.is_dir() and one != two
        assert {p.name for p in tmp_path.iterdir()} == {
            "dub-report", "other-1", "dub-link", one.parent.name, two.parent.name
        }  # fmt: skip


@pytest.mark.ray
def test_workers_that_do_not_start_are_said_with_an_exit_code_of_their_own(
    film: Path, temp: Path, tmp_path: Path
) -> None:
    """Ray is given no time to start, as on a machine that is far too busy."""
    command = [*DUB, "run", film, "--out", tmp_path / "out"]
    late = environment(temp, RAY_gcs_server_port_wait_time_s="0")
    done = subprocess.run(command, env=late, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 4, done.stderr
    *before, last = done.stderr.splitlines()
    assert [line for line in before if "trying again, 2 of 3" in line or "trying again, 3 of 3" in line] != []
    assert last.startswith("dub: The workers did not start in 3 tries") and "--engine local" in last
    assert "defect" not in done.stderr and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_text())["exit_status"] == 4
    assert list(temp.iterdir()) == []
    assert left_of(str(temp / "dub")) == set()


def test_a_start_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [TimeoutError("the port was not there\nmore"), RuntimeError("no node.")]

    def start(config: Engine) -> ExitStack:
        if fails:
            raise fails.pop(0)
        return ExitStack()

    monkeypatch.setattr(connection, "started", start)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []
    made = connection.connect(Engine(), said.append)
    assert made.own and made.alone
    assert said == [
        "starting workers", "the workers did not start (the port was not there); trying again, 2 of 3",
        "the workers did not start (no node); trying again, 3 of 3",
    ]  # fmt: skip
    fails.extend([OSError("a"), OSError("b"), OSError("c")])
    with pytest.raises(EngineError, match=r"in 3 tries \(c\)"):
        connection.connect(Engine())


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**where: Any) -> None:
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(ClusterError, match=r"at head:6379 \(RAY_ADDRESS\) cannot be joined: Failed to connect; see"):
        connection.connect(Engine())


@pytest.mark.ray
def test_what_a_killed_run_leaves_ends_and_the_next_one_clears_it_away(doomed: Doomed) -> None:
    """The last test here: what is waited for has gone on during the others."""
    doomed.process.kill()
    doomed.process.wait()
    assert not psutil.wait_procs(doomed.helpers, timeout=NET_S)[1], "something of a killed run runs on"
    assert doomed.folder.exists()
    with temporary("next", doomed.temp) as mine:
        assert [p.name for p in doomed.temp.iterdir()] == [mine.parent.name]
    assert list(doomed.temp.iterdir()) == []
