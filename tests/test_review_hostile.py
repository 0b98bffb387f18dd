"""The review server against clients that mean no good, files that were damaged, and its own sudden end."""

import os
import resource
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import Dub
from films import Finished, plain_job, run
from test_review_server import KEY, Server
from waiting import until

from dubbing.decisions import FILE, DecisionLog
from dubbing.review import connections
from dubbing.review.background_jobs import MOST_WAITING

REWRITE = {"name": "rewrite", "opening": 1.3}


@pytest.fixture
def out(finished: Finished, tmp_path: Path) -> Path:
    return shutil.copytree(finished.out, tmp_path / "out")


@pytest.fixture
def server(out: Path) -> Iterator[Server]:
    made = Server(out)
    yield made
    made.end()


def opened(server: Server, said: bytes = b"") -> socket.socket:
    """A connection on which no more than `said` is said."""
    port = int(server.base.rsplit(":", 1)[1])
    made = socket.create_connection(("127.0.0.1", port), timeout=60)
    made.sendall(said)
    return made


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def said_on_stderr(server: Server) -> str:
    """All that the server has said; ends it."""
    assert server.process.stderr is not None
    server.process.send_signal(signal.SIGTERM)
    return server.process.stderr.read()


# -- before the token ------------------------------------------------------------------------


def test_connections_that_say_nothing_or_say_it_slowly_keep_nobody_out(server: Server) -> None:
    """Nor 1,200 of them: a person with several windows is served on the same connections as before, and a newcomer is
    let in. No request has longer than others, not even from who has the cookie, and however often a byte comes."""
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))  # as a shell usually has it
    cookies = dict(server.web.cookies)
    cookie = "; ".join(f"{k}={v}" for k, v in cookies.items())
    head = (
        f"POST /api/decide HTTP/1.1\r\nHost: {server.base[7:]}\r\nOrigin: {server.base}\r\nCookie: {cookie}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with ExitStack() as stack:
        windows = []
        for _ in range(24):  # four windows of six connections each
            web = http_connection(server)
            stack.callback(web.close)
            assert read(web, cookies) == 200
            windows.append(web)
        silent = []
        for n in range(1200):
            silent.append(stack.enter_context(opened(server, (b"", b"GET / HTTP/1.1\r\nHost: 127", b"POST")[n % 3])))
            if n % 100 == 0:
                assert all(read(web, cookies) == 200 for web in windows), "a window lost its connection"
        until(lambda: sum(map(is_open, silent)) <= connections.MOST_STRANGERS_OF_ONE)
        assert httpx.get(server.url, trust_env=False, timeout=connections.REQUEST_S).status_code == 303
        assert server.get("/api/info")["out"] == "out"
        slow = [stack.enter_context(opened(server, said)) for said in (head.encode(), b"G")]
        begun = time.monotonic()
        while any(map(is_open, slow)):
            for one in slow:
                with suppress(OSError):
                    one.send(b" ")
            time.sleep(0.2)
            assert time.monotonic() - begun < 3 * connections.REQUEST_S
        assert time.monotonic() - begun > connections.REQUEST_S / 2
        until(lambda: not any(map(is_open, silent)))  # each has only so long to ask
    assert said_on_stderr(server).splitlines() == ["Ctrl-C ends it; decisions are kept as they are taken.",
                                                   "dub: the review has ended."]  # fmt: skip


def http_connection(server: Server) -> Any:
    """One kept connection, which does not open itself again."""
    import http.client

    made = http.client.HTTPConnection("127.0.0.1", int(server.base.rsplit(":", 1)[1]), timeout=60)
    made.connect()
    made.auto_open = 0
    return made


def read(web: Any, cookies: dict[str, str]) -> int:
    web.request("GET", "/api/refusal", headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    answer = web.getresponse()
    answer.read()
    return int(answer.status)


def test_who_is_refused_loses_the_connection(serving: Server) -> None:
    with opened(serving, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as one:
        told = b"".join(iter(lambda: one.recv(4096), b""))
    assert told.startswith(b"HTTP/1.1 401") and b"connection: close" in told.lower()


@pytest.mark.parametrize("length", ["Content-Length: 2\r\n", ""])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_in_chunks_does_not_pass_the_limit_of_writes(serving: Server, method: str, length: str) -> None:
    cookie = "; ".join(f"{k}={v}" for k, v in serving.web.cookies.items())
    head = (
        f"{method} /api/decide HTTP/1.1\r\nHost: {serving.base[7:]}\r\nOrigin: {serving.base}\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/json\r\n{length}Transfer-Encoding: chunked\r\n\r\n"
    )
    with opened(serving, head.encode()) as one:
        told, sent, whole = b"", 0, True
        try:
            for _ in range(64):
                one.sendall(b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n")
                sent += 1
        except OSError:
            pass
        one.settimeout(20)
        try:
            while part := one.recv(4096):
                told += part
        except OSError:  # the server has closed with our bytes unread: what it said last may be lost on the way
            whole = False
    assert sent < 64, "64 MB were read"
    refused = told.startswith(b"HTTP/1.1 413") and (b"body" in told or not whole)
    assert not told or refused or b"no chunks" in told
    assert serving.get("/api/info")["out"] == "out"


# -- reruns and exports ----------------------------------------------------------------------


def test_a_poll_stays_small_whatever_is_asked_for(server: Server) -> None:
    """Forty errands of as many shots as one may name made each poll half a megabyte."""
    answers = []
    for n in range(2 * MOST_WAITING):
        keys = [list(KEY)] * 499 + [["film", "ta", "shot_0002"]]
        asked = {"keys": keys, "generator": {"name": "rewrite", "opening": 1 + n / 1000}, "reviewer": "Ana"}
        answers.append(server.web.post("/api/rerun", json=asked))
    taken, refused = ([a for a in answers if a.status_code == code] for code in (200, 422))
    assert MOST_WAITING <= len(taken) == len(answers) - len(refused)
    assert refused and all("cancel one" in a.json()["error"] for a in refused)
    poll = server.web.get("/api/changes?since=0")
    assert len(poll.content) < 30_000
    waiting = [j for j in poll.json()["reruns"] if j["state"] == "waiting"]
    assert 0 < len(waiting) <= MOST_WAITING and waiting[0]["shots"] == 2 and waiting[0]["first"] == list(KEY)
    assert server.get("/api/changes?since=0&of=film/hi/shot_0001")["reruns"] == []
    assert len(server.get("/api/changes?since=0&of=film/ta/shot_0002")["reruns"]) == len(poll.json()["reruns"])
    for job in poll.json()["reruns"]:
        if job["state"] in ("waiting", "running"):
            told = server.web.post("/api/cancel", json={"id": job["id"], "reviewer": "Bo"})
            assert told.status_code in (200, 422)
    until(lambda: all(j["state"] not in ("waiting", "running") for j in server.get("/api/reruns")))
    assert {"state": "cancelled", "message": "by Bo"}.items() <= server.get("/api/reruns")[-1].items()
    late = server.web.post("/api/cancel", json={"id": waiting[0]["id"], "reviewer": "Bo"})
    assert late.status_code == 422 and "may have ended" in late.json()["error"]


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(n) for t in Path(f"/proc/{pid}/task").iterdir() for n in (t / "children").read_text().split()
    ]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_that_is_killed_leaves_no_rerun_behind(server: Server, out: Path) -> None:
    asked = {"keys": [list(KEY)], "generator": REWRITE, "reviewer": "Ana"}
    assert server.web.post("/api/rerun", json=asked).status_code == 200
    until(lambda: server.get("/api/reruns")[-1]["progress"] or server.get("/api/reruns")[-1]["message"])
    doing = [p for p in children(server.process.pid) if b"rerun" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert doing and all(map(alive, doing))
    os.kill(server.process.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, doing)))
    server.process.wait()
    again = Server(out)  # nothing holds the folder
    try:
        assert again.web.post("/api/rerun", json=asked).status_code == 200
        assert again.awaited()["state"] == "done"
    finally:
        again.end()


# -- what cannot be read or said -------------------------------------------------------------

DAMAGED = [
    b"\xff\xfe\n",
    b"\n",
    b"[]\n",
    b"null\n",
    b"[" * 100_000 + b"\n",
    b'{"schema": "dub.decision.1"}\n',
    b'{"schema": "dub.decision.1", "seq": "2", "time": "t", "reviewer": "A", "title": "film", "language": "hi", '
    b'"shot": "shot_0002", "kind": "original"}\n',
    b'{"schema": "dub.decision.1", "seq": 2, "time": "t", "reviewer": "A", "title": ["film"], "language": "hi", '
    b'"shot": "shot_0002", "kind": "original"}\n',
    b'{"schema": "dub.decision.1", "seq": 2, "time": "t", "reviewer": "A", "title": "\\ud800", "language": "hi", '
    b'"shot": "shot_0002", "kind": "original"}\n',
    b'{"schema": "dub.decision.1", "seq": 1, "time": "t", "reviewer": "A", "title": "film", "language": "hi", '
    b'"shot": "shot_0002", "kind": "original"}\n',
    b'{"schema": "dub.decision.1", "seq": 2, "time": "t", "reviewer": "A", "title": "film", "language": "hi", '
    b'"shot": "shot_0002", "kind": "choose", "take": "x", "generator": {"name": 7}}\n',
]


def test_a_damaged_line_is_one_answer_everywhere_and_no_trace(server: Server, out: Path) -> None:
    server.say("original", revision=0)
    whole = (out / FILE).read_bytes()
    for line in DAMAGED:
        (out / FILE).write_bytes(whole + line)
        for path in ("/api/shots", "/api/changes?since=0", "/api/shot/film/hi/shot_0002", "/dashboard", "/report.html"):
            told = server.get(path, 422)
            assert set(told) == {"error"} and "Line 2 of " in told["error"] and "restore the file" in told["error"]
            assert len(told["error"]) < 1100
        assert "Line 2 of " in server.say("approve", 422)["error"]
        assert (out / FILE).read_bytes() == whole + line, "a damaged file was written to"
        (out / FILE).write_bytes(whole)
        assert server.get("/api/changes?since=0")["log_seq"] == 1
    assert server.say("comment", text="on", severity="note")["record"]["seq"] == 2
    assert "Traceback" not in said_on_stderr(server)


@pytest.mark.parametrize("command", [("review",), ("export",), ("rerun", "--shots", "2"), ("run",)])
def test_a_damaged_line_is_one_sentence_of_a_command(
    dub: Dub, out: Path, finished: Finished, command: tuple[str, ...]
) -> None:
    DecisionLog(out).append(KEY, "original", "Ana")
    whole = (out / FILE).read_bytes()
    place = (finished.film, "--out", out) if command == ("run",) else (out,)
    for line in (DAMAGED[0], DAMAGED[6], DAMAGED[8], DAMAGED[9]):
        (out / FILE).write_bytes(whole + line)
        code, told, said = dub(command[0], *place, *command[1:])
        sentence = [x for x in said.splitlines() if x.startswith("dub: ")]
        assert code == 2 and len(sentence) == 1 and "Line 2 of " in sentence[0] and "Traceback" not in said + told
        assert (out / FILE).read_bytes() == whole + line


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/decide", r'{"key": ["\ud800", "hi", "shot_0002"], "kind": "original", "reviewer": "Ana"}'),
        ("/api/decide", r'{"key": ["film", "hi", "\ud83d"], "kind": "original", "reviewer": "Ana"}'),
        ("/api/decide", r'{"\ud800": 1, "key": ["film", "hi", "shot_0002"], "kind": "original", "reviewer": "Ana"}'),
        ("/api/decide", r'{"key": ["film", "hi", "shot_0002"], "kind": "approve", "take": "\ud800", "reviewer": "A"}'),
        ("/api/decide", r'{"key": ["film", "hi", "shot_0002"], "kind": "comment", "text": "\ud800", "reviewer": "A"}'),
        ("/api/decide", r'{"key": ["film", "hi", "shot_0002"], "kind": "original", "reviewer": "\ud800"}'),
        ("/api/decide", '{"key": ["film", "%s", "shot_0002"], "kind": "original", "reviewer": "A"}' % ("x" * 256)),
        ("/api/decide", '{"%s": 1}' % ("x" * 900_000)),
        ("/api/decide", "[" * 100_000),
        ("/api/decide", '{"key": [["film"], "hi", "shot_0002"], "kind": "original", "reviewer": "A"}'),
        ("/api/decide", '{"key": ["film", "hi", "shot_0002"], "kind": "original", "reviewer": "A", "revision": 1e99}'),
        ("/api/rerun", r'{"key": 1, "keys": [["film", "hi", "\ud800"]], "generator": {}, "reviewer": "A"}'),
        ("/api/rerun", r'{"keys": [["film", "hi", "shot_0002"]], "generator": {"name": "\ud800"}, "reviewer": "A"}'),
        ("/api/rerun", r'{"keys": [["film", "hi", "shot_0002"]], "generator": {"name": "rewrite", "\ud800": 1}, '
                       r'"reviewer": "A"}'),
        ("/api/rerun", '{"keys": [["film", "hi", "shot_0002"]], "generator": {"name": "rewrite", "opening": %s}, '
                       '"reviewer": "A"}' % ("[" * 500 + "]" * 500)),
        ("/api/rerun", '{"keys": [["film", "%s", "shot_0002"]], "generator": {"name": "rewrite"}, "reviewer": "A"}'
                       % ("x" * 256)),
        ("/api/cancel", '{"id": 1e400, "reviewer": "A"}'),
        ("/api/cancel", '{"id": %s, "reviewer": "A"}' % ("9" * 4000)),
        ("/api/cancel", r'{"id": 1, "reviewer": "\ud800"}'),
    ],
)  # fmt: skip
def test_what_no_text_can_hold_is_one_short_sentence(serving: Server, path: str, body: str) -> None:
    answer = serving.web.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and set(answer.json()) == {"error"}, answer.text
    assert 10 < len(answer.json()["error"]) < 1100


@pytest.fixture(scope="module")
def serving(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that must have kept nothing and thrown nothing when all is over."""
    out = shutil.copytree(finished.out, tmp_path_factory.mktemp("hostile") / "out")
    made = Server(out)
    yield made
    assert not (out / FILE).exists() or DecisionLog(out).records() == []
    assert said_on_stderr(made).count("\n") == 2, "what clients did was printed"
    made.end()


@pytest.mark.parametrize("tag", ["x" * 256, "x-" + "abcdefgh-" * 60 + "a", "%ED%A0%80", "a%00b", "x" * 30_000])
@pytest.mark.parametrize("path", ["/shot/film/{}/shot_0002", "/api/shot/film/{}/shot_0002",
                                  "/api/curves/film/{}/shot_0002", "/api/thumb/film/{}/shot_0002.jpg",
                                  "/api/changes?since={}"])  # fmt: skip
def test_a_tag_in_an_address_that_names_nothing_is_one_short_sentence(serving: Server, path: str, tag: str) -> None:
    told = serving.get(path.format(tag), 422)
    assert set(told) == {"error"} and len(told["error"]) < 1100


def test_what_is_no_http_is_refused_and_nothing_is_printed(serving: Server) -> None:
    for said in (b"\x00\x01\x02\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"A" * 100_000 + b"\r\n\r\n"):
        with opened(serving, said) as one:
            try:
                assert one.recv(4096).startswith(b"HTTP/1.1 400")
            except ConnectionResetError:
                pass
    assert serving.get("/api/info")["out"] == "out"


def test_the_longest_names_are_run_and_exported(dub: Dub, tmp_path: Path) -> None:
    tag = "x" + "-abcdefgh" * 13 + "-abcdefg-a"
    film = plain_job(tmp_path, {tag: "dub.flac"}, frames=30)
    title = "t" * 64
    text = film.read_text("utf-8").replace('"reel"', f'"{title}"')
    film.write_text(text.replace(tag, tag + "b"), "utf-8")
    code, _, said = dub("check", film)
    assert len(tag) == 128 and code == 2 and "which has 129 letters; 128 are allowed" in said
    film.write_text(text, "utf-8")
    assert run(film, tmp_path / "out").exit_code == 0
    code, _, said = dub("export", tmp_path / "out")
    assert code == 0, said
    assert (tmp_path / "out" / "review" / "export" / f"{title}.{tag}.decisions.parquet").exists()
    code, _, said = dub("rerun", tmp_path / "out", "--shots", f"{'x' * 300}/1")
    assert code == 2 and "No shot fits" in said
