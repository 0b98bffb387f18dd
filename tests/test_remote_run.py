"""A whole run with manifest, media and output on a real S3 endpoint: the same bytes as on a disk."""

from __future__ import annotations

import functools
import http.server
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Dub
from films import Finished, facts, facts_on_disk, of_hindi, run
from storage import Faulty
from waiting import until

from dubbing import config, manifest, remote
from dubbing.api.results import open_results
from dubbing.engine.local import LocalPool
from dubbing.engine.pool import Turn
from dubbing.errors import OutputError
from dubbing.job import Job
from dubbing.remote import Objects, Uri
from dubbing.stages.audio import DubAudioInputs
from dubbing.stages.shots import ShotsInputs
from dubbing.store import Store, lease
from dubbing.task import Task

pytestmark = pytest.mark.long


@pytest.fixture
def bucket(film: Path, s3: str) -> Iterator[str]:
    """The film, its dubs, a cut list and the manifest in a bucket."""
    objects = Objects(Uri(s3))
    for file in film.parent.iterdir():
        if file.is_file():
            objects.put(f"job/{file.name}", file)
    yield s3


@pytest.fixture
def hindi(bucket: str, film: Path, tmp_path: Path) -> str:
    """A manifest in the bucket of one of the dubs."""
    (tmp_path / "smaller").mkdir()
    job = yaml.safe_load(of_hindi(film, tmp_path / "smaller").read_text())
    title = job["titles"][0]
    title["video"] = Path(title["video"]).name
    title["dubs"] = [{**dub, "audio": Path(dub["audio"]).name} for dub in title["dubs"]]
    Objects(Uri(f"{bucket}/job")).write("hindi.yaml", yaml.safe_dump(job).encode())
    return f"{bucket}/job/hindi.yaml"


def at(uri: str, languages: Collection[str] = ("hi", "ta")) -> dict[str, Any]:
    objects = Objects(Uri(uri))
    return facts({name: objects.read(name) for name in objects.find()}, languages)


def test_a_run_on_s3_gives_the_bytes_of_a_run_on_disk(
    finished: Finished, bucket: str, dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, out = f"{bucket}/job/{finished.film.name}", f"{bucket}/out"
    code, told, err = dub("check", job, "--out", out)
    assert code == 0 and f"{bucket}/job/film.mp4" in told and f"{out}/film/hi/film.hi.mp4" in told, err
    code, told, err = dub("run", job, "--out", out, "--engine", "local")
    assert code in (0, 3) and f"{out}/film/hi/film.hi.mp4" in told, err
    assert at(out) == facts_on_disk(finished.out)
    names = Objects(Uri(out)).find()
    assert not [n for n in names if ".part-" in n or n.endswith((".lease.json", ".progress.json"))]
    assert [n for n in names if n.endswith("film.hi.mp4")] == ["film/hi/film.hi.mp4"]  # held once
    recorded = json.loads(Objects(Uri(out)).read("run.json"))
    assert recorded["manifest"]["titles"][0]["video"] == f"{bucket}/job/film.mp4"
    log = Objects(Uri(out)).read("run.log").decode()
    assert "finished master film/hi after" in log and log.splitlines()[-1].split(" ", 1)[1].startswith("ended with")
    assert "not a secret" not in json.dumps(recorded) + told + err + log

    status = open_results(Uri(out)).to_dict()
    assert status["state"] == "finished" and status["dubs"][0]["master"] == f"{out}/film/hi/film.hi.mp4"
    assert status["dubs"][0]["counts"] == {"untouched": 1, "dubbed": 1} and status["dubs"][0]["lse_d"] is not None

    # read from Python on a machine that has nothing yet
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("DUB_SCRATCH", str(tmp_path / "a reader's machine"))
        there, here = (open_results(place).dub("film", "hi") for place in (out, finished.out))
        assert there.shots.drop(["seconds"]).equals(here.shots.drop(["seconds"]))
        assert there.master == Uri(f"{out}/film/hi/film.hi.mp4")
        (far,), (near,) = there.takes("shot_0002"), here.takes("shot_0002")
        assert (far.id, far.delivered, far.scores, far.made) == (near.id, True, near.scores, "")
        assert [hash(p.bgr.tobytes()) for p in far.patches()] == [hash(p.bgr.tobytes()) for p in near.patches()]

    # nothing is done twice, here or on a machine that has nothing yet
    assert run(job, out).run_json["done_now"] == 0
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "another machine"))
    code, told, _ = dub("plan", job, "--out", out)
    assert code == 0 and "Everything is done" in told
    before = Objects(Uri(out)).find()
    assert run(job, out).run_json["done_now"] == 0
    assert at(out) == facts_on_disk(finished.out) and Objects(Uri(out)).find().keys() == before.keys()
    # and a machine that has nothing yet can go on in the middle
    for name in before:
        if "/takes/shot_0002/" in name and "/hi/" in name or "master" in name:
            Objects(Uri(out)).remove(name)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "a third machine"))
    assert run(job, out).run_json["done_now"] == 6  # a take, its score, two masters and their proofs
    assert at(out) == facts_on_disk(finished.out)


@pytest.fixture
def analysed(finished: Finished, bucket: str) -> str:
    """An output folder in the bucket in which the analysis is done."""
    objects = Objects(Uri(f"{bucket}/out"))
    for file in (finished.out / "film" / "analysis").rglob("*"):
        if file.is_file():
            objects.put(file.relative_to(finished.out).as_posix(), file)
    return f"{bucket}/out"


@pytest.mark.ray
def test_workers_of_ray_write_there_too(finished: Finished, hindi: str, analysed: str) -> None:
    run(hindi, analysed, engine="ray")
    assert at(analysed, ["hi"]) == facts_on_disk(finished.out, ["hi"])


class Elsewhere(LocalPool):
    """Its worker is on another machine: it shares nothing with the driver but the bucket."""

    scratch = ""

    def __init__(self, store: Store, on_frames: Callable[[Task, int], None]) -> None:
        here = os.environ["DUB_SCRATCH"]
        sent = pickle.dumps(store)
        os.environ["DUB_SCRATCH"] = self.scratch
        super().__init__(pickle.loads(sent), on_frames)
        os.environ["DUB_SCRATCH"] = here

    def wait(self) -> Turn:
        here = os.environ["DUB_SCRATCH"]
        os.environ["DUB_SCRATCH"] = self.scratch
        try:
            return super().wait()
        finally:
            os.environ["DUB_SCRATCH"] = here


def test_workers_on_another_machine(
    finished: Finished, bucket: str, hindi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dubbing.engine.local.LocalPool", Elsewhere)
    monkeypatch.setattr(Elsewhere, "scratch", str(tmp_path / "worker"))
    run(hindi, f"{bucket}/out")
    assert at(f"{bucket}/out", ["hi"]) == facts_on_disk(finished.out, ["hi"])
    driver = {p.name for p in (tmp_path / "scratch").rglob("*") if p.is_file()}
    assert "patch.nut" not in driver and "film.mp4" in driver
    assert {"patch.nut", "film.mp4", "film.hi.mp4"} <= {p.name for p in (tmp_path / "worker").rglob("*")}


def test_storage_in_memory_is_not_for_several_processes(film: Path) -> None:
    with pytest.raises(OutputError, match="--engine local"):
        run(film, "memory://films-private/out", engine="ray")


def test_a_killed_run_goes_on(finished: Finished, hindi: str, analysed: str) -> None:
    job, out = hindi, analysed
    before = sum(n.endswith("/result.json") for n in Objects(Uri(out)).find())
    command = [sys.executable, "-m", "dubbing", "run", job, "--out", out, "--engine", "local"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until(lambda: any("/takes/" in n for n in Objects(Uri(out)).find()), process.poll)
        assert open_results(out).state == "running", process.stderr and process.stderr.read()
        os.kill(process.pid, signal.SIGKILL)
    assert open_results(out).state == "killed"
    assert "another" not in str(open_results(out).to_dict()) and ".lease.json" in Objects(Uri(out)).find()
    assert subprocess.run(command, capture_output=True, check=False).returncode in (0, 3)
    assert at(out, ["hi"]) == facts_on_disk(finished.out, ["hi"])
    assert open_results(out).run["found_done"] > before


def test_what_is_wrong_names_the_uri(bucket: str, s3_endpoint: str, dub: Dub) -> None:
    objects = Objects(Uri(f"{bucket}/job"))

    def refused(**changed: str) -> str:
        title = {"id": "film", "video": "film.mp4", "dubs": [{"language": "hi", "audio": "film.hi.flac"}], **changed}
        objects.write("other.yaml", json.dumps({"version": 1, "titles": [title]}).encode())
        code, _, err = dub("check", f"{bucket}/job/other.yaml", "--out", f"{bucket}/out")
        assert code == 2 and err.count("\n") == 1 and "scratch" not in err, err
        return err

    assert f"There is no file {bucket}/job/absent.mp4" in refused(video="absent.mp4")
    assert f"{bucket}/job/truth.json" in refused(video="truth.json")  # no film
    assert f"there is no file {bucket}/absent.edl" in refused(shots="../absent.edl").replace("There", "there")
    code, _, err = dub("check", f"{bucket}/job/absent.yaml")
    assert code == 2 and f"No such manifest: '{bucket}/job/absent.yaml'" in err
    code, _, err = dub("status", "s4://films/out")
    assert code == 2 and "does not support" in err and err.count("\n") == 1
    code, _, err = dub("status", f"{bucket}/nothing")
    assert code == 2 and "There is no run.json" in err
    code, _, err = dub("run", f"{bucket}/job/manifest.yaml", "--out", "s3://no-such-bucket/out")
    assert code == 2 and "bucket or folder does not exist" in err
    code, _, err = dub("check", f"{bucket}/job/manifest.yaml", "--out", f"{s3_endpoint}/films/out")
    assert code == 2 and "can be read but not written" in err


@pytest.fixture
def web(film: Path) -> Iterator[str]:
    """The film's folder on a web server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(film.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_cut_list_and_sound_elsewhere(bucket: str, web: str) -> None:
    """Each at a place of its own; http is read too."""
    objects = Objects(Uri(f"{bucket}"))
    objects.write("cuts/a b.edl", b"TITLE: film\n")
    dub = {"language": "hi", "audio": f"{web}/film.hi.flac", "dialogue": "film.ta.flac"}
    title = {"id": "film", "video": "film.mp4", "shots": "../cuts/a b.edl", "dubs": [dub]}
    objects.write("job/other.yaml", json.dumps({"version": 1, "titles": [title]}).encode())
    job = Job(manifest.load(f"{bucket}/job/other.yaml"), f"{bucket}/out", config.load())
    shots, sound = (next(t for t in job.tasks() if t.id == i) for i in ("shots film", "audio film/hi"))
    assert isinstance(shots.inputs, ShotsInputs) and isinstance(sound.inputs, DubAudioInputs) and shots.inputs.cuts
    cuts = shots.inputs.cuts.path
    assert cuts.read_bytes() == b"TITLE: film\n" and cuts.name == "a b.edl"
    assert sound.inputs.sound.path.read_bytes() == objects.read("job/film.ta.flac")
    assert job.store.local(Uri(f"{web}/film.hi.flac")).read_bytes() == objects.read("job/film.hi.flac")


def test_media_elsewhere_and_output_here(finished: Finished, hindi: str, tmp_path: Path) -> None:
    run(hindi, tmp_path / "out")
    assert facts_on_disk(tmp_path / "out", ["hi"]) == facts_on_disk(finished.out, ["hi"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short pauses between tries, and a scratch folder of its own."""
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "scratch"))


@pytest.mark.usefixtures("impatient")
def test_storage_that_fails_half_of_its_writes_for_a_while(
    finished: Finished, faulty: type[Faulty], tmp_path: Path
) -> None:
    """The run goes on as if nothing were."""
    written, failed = 0, 0

    def weak(operation: str, path: str) -> None:
        nonlocal written, failed
        if operation == "write":
            written += 1
            if written % 2 and failed < 60:
                failed += 1
                raise OSError(5, "503 Service Unavailable")

    faulty.fault = staticmethod(weak)  # type: ignore[method-assign, assignment]
    assert run(of_hindi(finished.film, tmp_path), "faulty://films/out").counts == {"dubbed": 1, "untouched": 1}
    assert failed > 20
    assert at("faulty://films/out", ["hi"]) == facts_on_disk(finished.out, ["hi"])


@pytest.mark.usefixtures("impatient")
def test_storage_that_stays_away_stops_the_run_and_keeps_what_is_done(
    film: Path, faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(operation: str, path: str) -> None:
        if operation == "write" and "/faces/" in path:
            raise OSError(5, "503 Service Unavailable")

    monkeypatch.setattr(remote, "PATIENCE_S", 0.1)
    faulty.fault = staticmethod(gone)  # type: ignore[method-assign, assignment]
    with pytest.raises(OutputError, match="finished shots are kept"):
        run(film, "faulty://films/out")
    names = Objects(Uri("faulty://films/out")).find()
    assert [n for n in names if "/shots-" in n and n.endswith("result.json")]
    assert not [n for n in names if "/faces/" in n and n.endswith("result.json")]
    assert open_results("faulty://films/out").state == "stopped"
