"""A whole run with manifest, media and output on a real S3 endpoint: the same bytes as on a disk."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dubbing import config, manifest, pipeline, remote
from dubbing.cli import main
from dubbing.cli.status import gather
from dubbing.demo import SHORT, make_demo
from dubbing.engine import Report, run_job
from dubbing.errors import OutputError
from dubbing.remote import Objects, Uri
from dubbing.store import lease
from dubbing.table import read_rows

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("espeakng_loader", "skimage", "s3fs", "moto")),
        reason="an optional extra is not installed: pip install 'dubbing[demo,dev]'",
    ),
    pytest.mark.xdist_group("film"),
]
Dub = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a 3.5 s film: 12 frames without a face, then 72 of a speaking one."""
    return make_demo(tmp_path_factory.mktemp("short film"), scenes=SHORT, size=(480, 270))


@pytest.fixture(scope="module")
def done(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of an undisturbed run on this machine's disk."""
    out = tmp_path_factory.mktemp("done") / "out"
    assert run(film, out).exit_code in (0, 3)
    return out


@pytest.fixture
def bucket(film: Path, s3: str) -> Iterator[str]:
    """The film, its dubs, a cut list and the manifest in a bucket."""
    objects = Objects(Uri(s3))
    for file in film.parent.iterdir():
        if file.is_file():
            objects.put(f"job/{file.name}", file)
    yield s3


@pytest.fixture
def dub(capsys: pytest.CaptureFixture[str]) -> Dub:
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def call(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in args])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def run(film: Path | str, out: Path | str, engine: str = "local") -> Report:
    return run_job(pipeline.Job(manifest.load(film), out, config.load()), engine, lambda event: None)


def facts(files: dict[str, bytes]) -> dict[str, Any]:
    """Masters, patches and tables, without the time they took."""
    found: dict[str, Any] = {}
    for name, data in files.items():
        if name.endswith("shots.parquet"):
            found[name] = [{k: v for k, v in r.items() if k != "seconds"} for r in read_rows(data)]
        elif name.endswith("/patch.mkv") or name.split("/")[-1].startswith("film.") and name.count("/") == 2:
            found[name] = hashlib.sha256(data).hexdigest()
    assert len(found) == 6, sorted(found)  # two languages: a table, a patch and a master each
    return found


def on_disk(out: Path) -> dict[str, Any]:
    return facts({str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()})


def at(uri: str) -> dict[str, Any]:
    objects = Objects(Uri(uri))
    return facts({name: objects.read(name) for name in objects.find()})


def test_a_run_on_s3_gives_the_bytes_of_a_run_on_disk(
    film: Path, done: Path, bucket: str, dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, out = f"{bucket}/job/{film.name}", f"{bucket}/out"
    code, told, err = dub("check", job, "--out", out)
    assert code == 0 and f"{bucket}/job/film.mp4" in told and f"{out}/film/hi/film.hi.mp4" in told, err
    code, told, err = dub("run", job, "--out", out, "--engine", "local")
    assert code in (0, 3) and f"{out}/film/hi/film.hi.mp4" in told, err
    assert at(out) == on_disk(done)
    names = Objects(Uri(out)).find()
    assert not [n for n in names if ".part-" in n or n.endswith((".lease.json", ".progress.json"))]
    assert [n for n in names if n.endswith("film.hi.mp4")] == ["film/hi/film.hi.mp4"]  # held once
    recorded = json.loads(Objects(Uri(out)).read("run.json"))
    assert recorded["manifest"]["titles"][0]["video"] == f"{bucket}/job/film.mp4"
    assert "not a secret" not in json.dumps(recorded) + told + err

    status = gather(Uri(out))
    assert status["state"] == "finished" and status["dubs"][0]["master"] == f"{out}/film/hi/film.hi.mp4"
    assert status["dubs"][0]["counts"] == {"untouched": 1, "dubbed": 1} and status["dubs"][0]["lse_d"] is not None

    # nothing is done twice, here or on a machine that has nothing yet
    assert run(job, out).run_json["done_now"] == 0
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "another machine"))
    code, told, _ = dub("plan", job, "--out", out)
    assert code == 0 and "Everything is done" in told
    before = Objects(Uri(out)).find()
    assert run(job, out).run_json["done_now"] == 0
    assert at(out) == on_disk(done) and Objects(Uri(out)).find().keys() == before.keys()
    # and a machine that has nothing yet can go on in the middle
    for name in before:
        if "/takes/shot_0002/" in name and "/hi/" in name or "master" in name:
            Objects(Uri(out)).remove(name)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "a third machine"))
    assert run(job, out).run_json["done_now"] == 4  # a take, its score, two masters
    assert at(out) == on_disk(done)


def test_workers_of_ray_write_there_too(film: Path, done: Path, bucket: str) -> None:
    run(f"{bucket}/job/{film.name}", f"{bucket}/out", engine="ray")
    assert at(f"{bucket}/out") == on_disk(done)


def test_media_elsewhere_and_output_here(film: Path, done: Path, bucket: str, tmp_path: Path) -> None:
    run(f"{bucket}/job/{film.name}", tmp_path / "out")
    assert on_disk(tmp_path / "out") == on_disk(done)


def test_storage_that_fails_half_of_its_writes_for_a_while(
    film: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on as if nothing were."""
    from fsspec import register_implementation
    from fsspec.implementations.memory import MemoryFileSystem

    failed = {"write": 0}
    written = {"write": 0}

    class Weak(MemoryFileSystem):
        protocol = "weak"
        store: dict[str, Any] = {}
        pseudo_dirs = [""]

        def _take(self) -> None:
            written["write"] += 1
            if written["write"] % 2 and failed["write"] < 60:
                failed["write"] += 1
                raise OSError(5, "503 Service Unavailable")

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
            self._take()
            super().pipe_file(path, value, mode=mode, **kwargs)

        def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
            self._take()
            super().put_file(lpath, rpath, **kwargs)

        def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
            self._take()
            super().cp_file(path1, path2, **kwargs)

    register_implementation("weak", Weak, clobber=True)
    monkeypatch.setattr(remote, "_OBJECT_STORES", (*remote._OBJECT_STORES, "weak"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "scratch"))
    assert run(film, "weak://films/out").counts == {"dubbed": 2, "untouched": 2}
    assert failed["write"] > 20
    assert at("weak://films/out") == on_disk(done)


def test_storage_that_stays_away_stops_the_run_and_keeps_what_is_done(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec import register_implementation
    from fsspec.implementations.memory import MemoryFileSystem

    gone = [False]

    class Gone(MemoryFileSystem):
        protocol = "gone"
        store: dict[str, Any] = {}
        pseudo_dirs = [""]

        def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
            if "/faces/" in rpath and gone[0]:
                raise OSError(5, "503 Service Unavailable")
            super().put_file(lpath, rpath, **kwargs)

    register_implementation("gone", Gone, clobber=True)
    monkeypatch.setattr(remote, "_OBJECT_STORES", (*remote._OBJECT_STORES, "gone"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "PATIENCE_S", 0.1)
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "scratch"))
    gone[0] = True
    with pytest.raises(OutputError, match="finished shots are kept"):
        run(film, "gone://films/out")
    names = Objects(Uri("gone://films/out")).find()
    assert [n for n in names if "/shots-" in n and n.endswith("result.json")]
    assert not [n for n in names if "/faces/" in n and n.endswith("result.json")]
    assert gather(Uri("gone://films/out"))["state"] == "stopped"
