"""The review server on a finished run: what it tells, what it keeps, and what it never touches."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import Dub
from films import Finished, run
from waiting import NET_S, until

from dubbing import manifest
from dubbing.decisions import FILE, DecisionLog
from dubbing.review.background_jobs import BackgroundJobs
from dubbing.review.export import refusal
from dubbing.review.library import Library
from dubbing.shot_table import read_rows

KEY = ("film", "hi", "shot_0002")


class Server:
    """`dub review` as a process of its own, and a browser's session with it."""

    def __init__(self, out: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dubbing", "review", str(out), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.base = self.url.split("/?")[0]
        self.web = httpx.Client(base_url=self.base, headers={"origin": self.base}, timeout=NET_S, trust_env=False)
        self.web.get(self.url)

    def get(self, path: str, code: int = 200) -> Any:
        answer = self.web.get(path)
        assert answer.status_code == code, answer.text
        return answer.json()

    def say(self, kind: str, code: int = 200, key: tuple[str, ...] = KEY, **about: Any) -> Any:
        answer = self.web.post("/api/decide", json={"key": list(key), "kind": kind, "reviewer": "Ana", **about})
        assert answer.status_code == code, answer.text
        return answer.json()

    def awaited(self) -> Any:
        """The newest job, once it has ended."""

        def ended() -> Any:
            job = self.get("/api/reruns")[-1]
            return job if job["state"] not in ("waiting", "running") else None

        return until(ended, self.process.poll)

    def end(self, how: int = signal.SIGTERM) -> int:
        self.web.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(NET_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


@pytest.fixture(scope="module")
def out(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two dubs that may be written to."""
    return shutil.copytree(finished.out, tmp_path_factory.mktemp("review") / "out")


@pytest.fixture(scope="module")
def serving(out: Path) -> Iterator[Server]:
    made = Server(out)
    yield made
    made.end()


@pytest.fixture
def server(serving: Server, out: Path) -> Server:
    """A server of which nothing was asked yet but by tests before."""
    (out / FILE).unlink(missing_ok=True)
    return serving


def test_the_first_line_is_the_url_and_ctrl_c_ends_it_well(out: Path) -> None:
    server = Server(out)
    assert server.url.startswith("http://127.0.0.1:") and "/?token=" in server.url
    assert httpx.get(server.base, trust_env=False).status_code == 401
    assert server.get("/api/info")["out"] == "out"
    assert server.end(signal.SIGINT) == 0


def test_every_shot_is_told_worst_first_with_its_thresholds(server: Server, out: Path) -> None:
    told = server.get("/api/shots")
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    table = {(r["language"], r["shot"]): r for x in ("hi", "ta") for r in read_rows(out / "film" / x / "shots.parquet")}
    assert {(r["language"], r["shot"]) for r in rows} == set(table)
    assert [r["severity"] for r in rows] == sorted((r["severity"] for r in rows), reverse=True)
    worst = rows[0]
    assert worst["status"] == "dubbed" and set(worst["severity_parts"]) >= {"lse", "offset", "sharp"}
    assert worst["lse_d"] == table[worst["language"], worst["shot"]]["lse_d"]
    info = server.get("/api/info")
    assert info["thresholds"]["offset_frames"] == 3.0 and [d["language"] for d in info["dubs"]] == ["hi", "ta"]
    rewrite = next(g for g in info["generators"] if g["name"] == "rewrite")
    assert rewrite["ready"] and rewrite["settings"]["opening"]["maximum"] == 2.0
    wav2lip = next(g for g in info["generators"] if g["name"] == "wav2lip")
    assert not wav2lip["ready"] and "dub models" in wav2lip["why"]


def test_what_was_kept_is_said_to_be_kept_though_the_film_is_gone(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(out, other)
    (other / FILE).unlink(missing_ok=True)
    run = json.loads((other / "run.json").read_text("utf-8"))
    film = Path(shutil.copy(run["manifest"]["titles"][0]["video"], tmp_path))
    run["manifest"]["titles"][0]["video"] = str(film)
    (other / "run.json").write_text(json.dumps(run), "utf-8")
    server = Server(other)
    try:
        server.get("/api/shot/film/hi/shot_0002")
        film.unlink()
        told = server.say("comment", text="kept")
        assert told["record"]["seq"] == 1 and told["standing"]["comments"][0]["text"] == "kept"
        assert [r.text for r in DecisionLog(other).records()] == ["kept"]
    finally:
        server.end()


def test_decisions_are_kept_over_a_new_server(server: Server, out: Path) -> None:
    server.say("comment", text="teeth flicker", severity="issue", frame=20)
    done = server.say("reject", revision=0)
    assert done["standing"]["verdict"] == "rejected" and done["row"]["verdict"] == "rejected"
    again = Server(out)
    try:
        shot = again.get("/api/shot/film/hi/shot_0002")
        comments = [(c["text"], c["frame"], c["severity"]) for c in shot["standing"]["comments"]]
        assert shot["standing"]["verdict"] == "rejected" and shot["standing"]["by"] == "Ana"
        assert comments == [("teeth flicker", 20, "issue")]
        assert (
            shot["takes"][0]["current"] and shot["frames"] == [12, 84] and shot["timecodes"]["start"] == "01:00:00:12"
        )
    finally:
        again.end()


def test_a_run_whose_decisions_cannot_be_exported_says_so_beforehand(server: Server, out: Path, tmp_path: Path) -> None:
    assert server.get("/api/refusal") == {"why": None}
    other = tmp_path / "other"
    shutil.copytree(out, other)
    run = json.loads((other / "run.json").read_text("utf-8"))
    run["manifest"]["generator"] = {"name": "rewrite", "jump_cost": 0.7}  # as a version would with other defaults
    (other / "run.json").write_text(json.dumps(run), "utf-8")
    assert "`dub run` its manifest again" in str(refusal(Library(other)))
    run["manifest"]["titles"][0]["video"] = str(tmp_path / "gone.mp4")
    (other / "run.json").write_text(json.dumps(run), "utf-8")
    assert "gone.mp4" in str(refusal(Library(other)))


def test_errands_that_ended_long_ago_are_not_told_for_ever(tmp_path: Path) -> None:
    background_jobs = BackgroundJobs(tmp_path)
    try:
        for n in range(60):
            background_jobs.export(f"a\0{n}")  # ends at once: no process takes such an argument
            until(lambda: background_jobs.all()[-1].state == "failed")
        assert [e.id for e in background_jobs.all()] == list(range(40, 61))
    finally:
        background_jobs.close()


def test_an_errand_that_cannot_be_started_costs_no_other(out: Path) -> None:
    """One name was found to end the thread that does them: no rerun after it was done."""
    server = Server(out)
    try:
        for name in ("a\0b", "two\nlines", " "):
            answer = server.web.post("/api/export", json={"reviewer": name})
            assert answer.status_code == 422 and "name" in answer.json()["error"]
        asked = {"keys": [list(KEY)], "generator": {"name": "rewrite"}, "reviewer": "a\0b"}
        assert server.web.post("/api/rerun", json=asked).status_code == 422
    finally:
        server.end()
    background_jobs = BackgroundJobs(out)
    try:
        background_jobs.export("a\0b")  # no process takes such an argument
        background_jobs.rerun([("film", "hi", "shot_9999")], {"name": "rewrite"}, "Ana")
        until(lambda: all(e.ended for e in background_jobs.all()))
        first, second = background_jobs.all()
        assert "could not be started" in first.message and "No shot fits" in second.message
    finally:
        background_jobs.close()


def test_killed_in_the_middle_of_decisions_nothing_that_was_acknowledged_is_lost(out: Path) -> None:
    (out / FILE).unlink(missing_ok=True)
    server = Server(out)
    acknowledged = 0

    def kill() -> None:
        until(lambda: acknowledged >= 20)
        server.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for n in range(100_000):
            server.say("comment", text=str(n), severity="note")
            acknowledged = n + 1
    except httpx.TransportError:
        pass
    killer.join()
    server.end()
    kept = [r.text for r in DecisionLog(out).records()]
    assert kept[:acknowledged] == [str(n) for n in range(acknowledged)] and len(kept) <= acknowledged + 1
    after = Server(out)
    try:
        after.say("approve", take="current", revision=0)
        assert after.get("/api/changes?since=0")["log_seq"] == len(kept) + 1
    finally:
        after.end()


def test_two_reviewers_see_each_other_and_lose_nothing(server: Server) -> None:
    since = server.get("/api/changes?since=0")["log_seq"]
    server.say("approve", take="current", revision=0)
    late = server.say("original", 409, revision=0, reviewer="Bo")
    assert "Ana has said 'approve'" in late["error"] and late["standing"]["verdict"] == "approved"
    server.say("original", revision=late["standing"]["revision"], reviewer="Bo")
    changes = server.get(f"/api/changes?since={since}")
    assert [(r["shot"], r["verdict"], r["by"]) for r in changes["shots"]] == [("shot_0002", "original", "Bo")]
    assert server.get(f"/api/changes?since={changes['log_seq']}")["shots"] == []


@pytest.mark.parametrize(
    ("about", "what"),
    [
        ({"kind": "choose", "take": "000000000000"}, "no take"),
        ({"kind": "choose", "take": "../../../etc"}, "no take"),
        ({"kind": "comment", "text": "x", "frame": 10**9}, "not in the film"),
        ({"kind": "comment", "text": " "}, "needs a text"),
        ({"kind": "like"}, "approve"),
        ({"kind": "rerun"}, "/api/rerun"),
        ({"kind": "approve", "reviewer": ""}, "reviewer"),
        ({"kind": "approve", "shot": "x"}, "shot"),
        ({"kind": "approve", "key": ["film", "hi", "shot_0099"]}, "no shot"),
        ({"kind": "approve", "key": ["..", "hi", "shot_0002"]}, "no shot"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(server: Server, out: Path, about: Any, what: str) -> None:
    body = {"key": list(KEY), "reviewer": "Ana", **about}
    answer = server.web.post("/api/decide", json=body)
    assert answer.status_code == 422 and what in answer.json()["error"]
    assert not (out / FILE).exists() or not DecisionLog(out).records()


@pytest.mark.parametrize(
    "path",
    [
        "/proxy/..%2f..%2frun.json",
        "/proxy/decisions.jsonl",
        "/proxy/%2e%2e",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/api/shot/..%2f..%2f/hi/shot_0002",
        "/api/thumb/film/hi/..%2f..%2frun.json.jpg",
        "/api/still/film/..%2fhi/shot_0002.jpg",
        "/shot/film/hi/shot_0099",
        "/run.json",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_address_reaches_a_file_that_is_not_offered(server: Server, path: str) -> None:
    answer = server.web.get(path)
    assert answer.status_code in (404, 422) and set(answer.json()) == {"error"}


def test_a_rerun_makes_a_take_beside_the_old_one_which_can_be_chosen(server: Server, out: Path, film: Path) -> None:
    before = server.get("/api/shot/film/hi/shot_0002")
    asked = {"keys": [list(KEY)], "generator": {"name": "rewrite", "opening": 1.3}, "reviewer": "Ana"}
    assert server.web.post("/api/rerun", json=asked).status_code == 200
    job = server.awaited()
    assert job["state"] == "done" and job["made"][0]["error"] is None, job
    after = server.get("/api/shot/film/hi/shot_0002")
    assert [t["id"] for t in after["takes"]] == [before["takes"][0]["id"], job["made"][0]["take"]]
    old, new = after["takes"]
    assert old["current"] and new["generator"] == {"name": "rewrite", "opening": 1.3} and new["row"]["lse_d"] > 0
    chosen = server.say("choose", take=new["id"], revision=after["standing"]["revision"])
    assert chosen["row"]["take"] == new["id"] and chosen["row"]["lse_d"] == pytest.approx(new["row"]["lse_d"])
    assert server.get("/api/shot/film/hi/shot_0002")["takes"][1]["current"]
    assert run(film, out).exit_code in (0, 3)
    row = next(r for r in read_rows(out / "film/hi/shots.parquet") if r["shot"] == "shot_0002")
    assert row["take"] == new["id"], "a run keeps to what was chosen"
    untouched = next(r for r in read_rows(out / "film/ta/shots.parquet") if r["shot"] == "shot_0002")
    assert untouched["take"] != new["id"]


def test_an_export_asked_for_on_the_page_masters_what_was_decided(server: Server, out: Path) -> None:
    server.say("original", revision=server.get("/api/shot/film/hi/shot_0002")["standing"]["revision"])
    assert server.web.post("/api/export", json={"reviewer": "Ana"}).status_code == 200
    job = server.awaited()
    assert job["state"] == "done", job
    told = {d["language"]: d for d in job["result"]["dubs"]}
    assert told["hi"]["remastered"] and told["hi"]["changed"][-1]["now"] == "source picture"
    assert (out / "review" / "export" / "report.html").exists()
    rows = {r["shot"]: r for r in read_rows(out / "film/hi/shots.parquet")}
    assert (rows["shot_0002"]["status"], rows["shot_0002"]["reason"]) == ("untouched", "excluded")


@pytest.mark.parametrize("generator", [{"name": "nobody"}, {"name": "rewrite", "teeth": 3}, {"name": "wav2lip"}, {}])
def test_a_rerun_that_cannot_be_done_is_refused_at_once(server: Server, generator: Any) -> None:
    answer = server.web.post("/api/rerun", json={"keys": [list(KEY)], "generator": generator, "reviewer": "Ana"})
    assert answer.status_code == 422 and answer.json()["error"]
    assert all(job.get("generator") != generator for job in server.get("/api/reruns"))


@pytest.mark.parametrize("value", ["Infinity", "NaN"])
def test_a_setting_that_json_cannot_hold_is_refused(server: Server, value: str) -> None:
    asked = (
        '{"keys": [["film", "hi", "shot_0002"]], "generator": {"name": "rewrite", "jump_cost": %s}, "reviewer": "A"}'
    )
    answer = server.web.post("/api/rerun", content=asked % value, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and "jump_cost" in answer.json()["error"]


def test_a_small_number_that_the_page_sends_stays_a_number(dub: Dub, finished: Finished, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    code, _, _ = dub("rerun", out, "--shots", "hi/2", "--generator", json.dumps({"name": "rewrite", "delay_s": 1e-05}))
    assert code == 0 and DecisionLog(out).records()[0].generator == {"name": "rewrite", "delay_s": 1e-05}


# -- the commands ----------------------------------------------------------------------------


def test_rerun_says_what_it_made_and_chooses_where_told(dub: Dub, finished: Finished, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    DecisionLog(out).append(KEY, "original", "Ann")
    code, told, said = dub("rerun", out, "--shots", "hi/2", "--generator", "{name: rewrite, delay_s: 0.04}", "--choose",
                           "--reviewer", "Bo", "--json")  # fmt: skip
    stages = [line.split("%  ")[1] for line in said.splitlines()]
    assert list(dict.fromkeys(stages)) == ["rendering mouths", "scoring"], "a slow one may be told more than once"
    made = json.loads(told)["made"]
    assert code == 0 and [m["key"] for m in made] == [["film", "hi", "shot_0002"]]
    standing = DecisionLog(out).of(KEY)
    assert standing.take == made[0]["take"] and standing.generator == {"name": "rewrite", "delay_s": 0.04}
    assert [r.kind for r in standing.history] == ["original", "rerun", "choose"]
    assert made[0]["ended"] == "original by Ann"  # what somebody else had decided does not end without a word
    code, told, _ = dub("rerun", out, "--shots", "hi/2", "--generator", "{name: rewrite, delay_s: 0.04}")
    assert code == 0 and "the same take as there was" in told and "place of" not in told
    code, told, _ = dub("rerun", out, "--shots", "hi/2", "--generator", "{name: rewrite, delay_s: 0.04}", "--choose",
                        "--reviewer", "Cy")  # fmt: skip
    assert code == 0 and "the same take as there was, takes the place of: chosen by Bo" in told


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("--shots", "shot_0099"), "shot_0004 or 4"),
        (("--shots", "rejected"), "No shot fits 'rejected'"),
        (("--shots", "²"), "No shot fits '²'"),
        (("--shots", "2", "--generator", "nobody"), "There is no generator 'nobody'"),
        (("--shots", "2", "--generator", "[1, 2]"), "a name, or a mapping"),
        (("--shots", "2", "--generator", "{name: rewrite, opening: 9}"), "opening"),
    ],
)
def test_a_wrong_rerun_is_one_sentence_and_changes_nothing(dub: Dub, out: Path, args: Any, what: str) -> None:
    (out / FILE).unlink(missing_ok=True)
    code, told, said = dub("rerun", out, *args)
    assert code == 2 and not told and what in said and said.count("\n") == 1
    assert not (out / FILE).exists()


@pytest.mark.parametrize("command", [("review",), ("rerun", "--shots", "1")])
def test_a_folder_without_a_run_is_one_sentence(dub: Dub, tmp_path: Path, command: tuple[str, ...]) -> None:
    code, _, said = dub(command[0], tmp_path, *command[1:])
    assert code == 2 and "no run.json" in said and "--out" in said
    code, _, said = dub(command[0], "s3://films/out", *command[1:])
    assert code == 2 and "copy" in said


def test_a_port_in_use_is_one_sentence(dub: Dub, server: Server, out: Path) -> None:
    code, _, said = dub("review", out, "--port", server.base.rsplit(":", 1)[1])
    assert code == 2 and "another --port" in said


def test_the_manifest_that_a_run_keeps_is_the_one_it_was_given(finished: Finished) -> None:
    from dubbing.review.library import Library

    kept, given = Library(finished.out).run_file.manifest, manifest.load(finished.film)
    assert kept.model_dump() == given.model_dump()
