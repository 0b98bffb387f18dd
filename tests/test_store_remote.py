"""An output place at a URI: whole or not at all, one run at a time, patient with what passes.

Over 400 lines: one faulty storage and its fixtures serve all of it.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import time
import zlib
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from storage import Faulty
from waiting import until

from dubbing import remote
from dubbing.errors import DamagedResult, InputError, MediaError, OutputError, StorageError
from dubbing.remote import Objects, Uri, place
from dubbing.store import Store, content_key, lease, open_store
from dubbing.store.mirror import RemoteStore


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(remote, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(remote, "PATIENCE_S", 0.3)
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)


def result(store: Store, name: str = "reel/fr/takes/shot_0001/abc/patch") -> Path:
    """One committed result of two files."""
    folder = store.root / name
    with store.commit(folder) as part:
        (part / "face_1").mkdir()
        (part / "face_1" / "patch.nut").write_bytes(b"picture" * 100)
        (part / "empty [1] %+é.txt").touch()
        store.write_json(part / "result.json", {"status": "dubbed"})
    return folder


def other_node(store: RemoteStore, monkeypatch: pytest.MonkeyPatch, scratch: Path) -> RemoteStore:
    """The store as it arrives in a worker on a machine with another scratch folder."""
    sent = pickle.dumps(store)
    monkeypatch.setenv("DUB_SCRATCH", str(scratch))
    arrived = pickle.loads(sent)
    assert isinstance(arrived, RemoteStore)
    return arrived


# -- places ------------------------------------------------------------------------------------


def test_what_a_person_writes() -> None:
    assert place("out") == Path("out") and place("file:///films/a%20b") == Path("/films/a b")
    out = place("s3://films/out/")
    assert isinstance(out, Uri) and out == "s3://films/out" and out.parent == "s3://films"
    assert out / "a b/c.mp4" == "s3://films/out/a b/c.mp4" and (out / "c.mp4").suffix == ".mp4"
    assert out / "../media/x.mp4" == "s3://films/media/x.mp4" and out / "../../../x" == "s3://films/x"
    assert isinstance(open_store("s3://films/out"), RemoteStore) and not isinstance(open_store("out"), RemoteStore)
    for text in ("s4://films", "s3://", "s3://key:secret@films/out"):
        with pytest.raises(InputError) as caught:
            place(text)
        assert "secret" not in str(caught.value)


def test_no_library_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    remote.forget_connections()

    def absent(*_: Any, **__: Any) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(StorageError, match=r"pip install 'dubbing\[s3\]'"):
        Objects(Uri("s3://films/out")).read("x")


# -- commits -----------------------------------------------------------------------------------


def test_a_result_counts_only_with_its_last_object(faulty: type[Faulty]) -> None:
    """Killed between the upload of the files and of result.json: nothing is done, and a retry is whole."""

    class Killed(BaseException):
        pass

    def kill(operation: str, path: str) -> None:
        if operation == "write" and path.endswith("result.json"):
            raise Killed

    store = open_store("faulty://films/out")
    faulty.fault = staticmethod(kill)  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        result(store)
    assert [p for p in faulty.store if p.endswith("patch.nut")]  # half of it did arrive
    faulty.fault = staticmethod(lambda operation, path: None)  # type: ignore[method-assign, assignment]
    again = open_store("faulty://films/out")
    folder = again.root / "reel/fr/takes/shot_0001/abc/patch"
    assert not again.done(folder) and again.results([folder]) == {} and not folder.exists()
    assert result(again) == folder
    third = open_store("faulty://films/out")
    assert third.done(folder) and third.results([folder])[folder]["status"] == "dubbed"


def test_a_block_that_fails_uploads_nothing(faulty: type[Faulty]) -> None:
    store = open_store("faulty://films/out")
    with pytest.raises(ValueError), store.commit(store.root / "a") as part:
        (part / "half").touch()
        raise ValueError
    assert not faulty.store and not list(store.root.rglob(".part-*"))


def test_what_is_done_is_listed_once(faulty: type[Faulty]) -> None:
    first = open_store("faulty://films/out")
    folders = [result(first, f"reel/fr/takes/shot_{n:04d}/abc/patch") for n in range(30)]
    faulty.calls.clear()
    again = open_store("faulty://films/out")
    assert all(again.done(f) for f in folders) and not again.done(again.root / "reel/fr/takes/shot_0099/abc/patch")
    assert [c[0] for c in faulty.calls] == ["list"]
    new = again.root / "reel/fr/master-abc"
    again.note(new)  # as the engine does when a worker has committed it
    assert again.done(new) and len(faulty.calls) == 1


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_worker_elsewhere_gets_what_a_task_needs(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = request.getfixturevalue("s3") if kind == "s3" else "memory://films-away"
    film = Objects(Uri(f"{bucket}/media"))
    film.write("a b.mp4", b"film")
    store = open_store(f"{bucket}/out [1]")
    assert isinstance(store, RemoteStore)
    folder, source = result(store), store.local(Uri(f"{bucket}/media/a b.mp4"))
    assert source.read_bytes() == b"film" and source.name == "a b.mp4"
    away = other_node(store, monkeypatch, tmp_path / "another node")
    args = {"take": str(folder), "faces": [str(folder), None], "source": str(source), "n": 3, "x": {"y": "plain"}}
    brought = away.bring(args)
    take = Path(brought["take"])
    assert take.is_relative_to(tmp_path / "another node") and brought["faces"] == [str(take), None]
    assert (take / "face_1" / "patch.nut").read_bytes() == b"picture" * 100
    assert json.loads((take / "result.json").read_text())["files"] == {
        "empty [1] %+é.txt": [0, "00000000"], "face_1/patch.nut": [700, f"{zlib.crc32(b'picture' * 100):08x}"],
    }  # fmt: skip
    copy = Path(brought["source"])
    assert copy.read_bytes() == b"film" and copy.is_relative_to(tmp_path / "another node")
    assert (brought["n"], brought["x"]) == (3, {"y": "plain"})
    assert (take / "empty [1] %+é.txt").read_bytes() == b""
    assert away.here(folder) == take and content_key(copy) == content_key(source)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "a third"))
    fresh, rest = open_store(f"{bucket}/out [1]"), folder.relative_to(store.root)
    second = result(store, "reel/fr/takes/shot_0002/abc/patch").relative_to(store.root)
    found = fresh.results([fresh.root / rest, fresh.root / second, fresh.root / "absent"])
    assert {f: r["status"] for f, r in found.items()} == {fresh.root / rest: "dubbed", fresh.root / second: "dubbed"}
    names = {fresh.root / r / "face_1" / "patch.nut" for r in (rest, second)}
    assert fresh.find(fresh.root / "reel", "patch.nut") == names


def test_an_interrupted_download_leaves_nothing(faulty: type[Faulty], tmp_path: Path, monkeypatch: Any) -> None:
    store = open_store("faulty://films/out")
    folder = result(store)
    away = other_node(store, monkeypatch, tmp_path / "another node")  # type: ignore[arg-type]

    class Killed(BaseException):
        pass

    def kill(operation: str, path: str) -> None:
        if operation == "read" and path.endswith("patch.nut"):
            raise Killed

    faulty.fault = staticmethod(kill)  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        away.bring({"take": str(folder)})
    assert not away.here(folder).exists() and not list(away.root.rglob(".part-*"))
    faulty.fault = staticmethod(lambda operation, path: None)  # type: ignore[method-assign, assignment]
    assert (Path(away.bring({"take": str(folder)})["take"]) / "face_1/patch.nut").stat().st_size == 700


def test_a_file_of_a_result_brings_the_result(faulty: type[Faulty], tmp_path: Path, monkeypatch: Any) -> None:
    """As the film that was made of a photograph."""
    store = open_store("faulty://films/out")
    folder = result(store)
    away = other_node(store, monkeypatch, tmp_path / "another node")  # type: ignore[arg-type]
    brought = away.bring({"source": str(folder / "face_1.mp4"), "take": str(folder)})
    assert Path(brought["source"]) == Path(brought["take"]) / "face_1.mp4"
    assert (Path(brought["take"]) / "face_1" / "patch.nut").read_bytes() == b"picture" * 100


def test_a_result_that_lost_a_file_is_not_used(faulty: type[Faulty], tmp_path: Path, monkeypatch: Any) -> None:
    store = open_store("faulty://films/out")
    folder = result(store)
    Objects(Uri("faulty://films/out")).remove("reel/fr/takes/shot_0001/abc/patch/face_1/patch.nut")
    away = other_node(store, monkeypatch, tmp_path / "another node")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="not whole"):
        away.bring({"take": str(folder)})


@pytest.mark.parametrize("damage", [b"", b"picture", b"pictuse" + b"picture" * 99])
def test_an_object_that_was_damaged_is_found_before_it_is_read(
    faulty: type[Faulty], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    store = open_store("faulty://films/out")
    folder = result(store)
    Objects(Uri("faulty://films/out")).write("reel/fr/takes/shot_0001/abc/patch/face_1/patch.nut", damage)
    away = other_node(store, monkeypatch, tmp_path / "another node")  # type: ignore[arg-type]
    with pytest.raises(DamagedResult, match=r"faulty://films/out/reel/.* is damaged: face_1/patch\.nut") as caught:
        away.bring({"take": str(folder)})
    assert caught.value.folder and away.there(caught.value.folder) == folder and not away.here(folder).exists()
    again = open_store("faulty://films/out")
    folder = again.root / folder.relative_to(store.root)
    told = again.results([folder])[folder]
    assert told and bool(again.fault(folder, told)) == (len(damage) != 700)  # the listing tells sizes
    assert again.fault(folder, told, "all") and not list(again.root.glob(".part-*"))
    again.remove(folder)
    assert result(again) == folder and again.fault(folder, told) is None
    again.note(folder)  # as the engine does
    assert again.done(folder) and open_store("faulty://films/out").fault(folder, told, "all") is None


def test_a_copy_of_a_result_that_was_damaged_is_brought_again(
    faulty: type[Faulty], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("faulty://films/out")
    folder = result(store)
    away = other_node(store, monkeypatch, tmp_path / "another node")  # type: ignore[arg-type]
    here = Path(away.bring({"take": str(folder)})["take"])
    away.whole(here)
    for name, data in (
        ("face_1/patch.nut", b"pictuse" + b"picture" * 99),
        ("result.json", b""),
    ):
        (here / name).write_bytes(data)
        away.whole(here)
        assert (here / "face_1/patch.nut").read_bytes() == b"picture" * 100
        told = away.results([here])[here]
        assert told and told["status"] == "dubbed"


def test_a_published_master_that_was_replaced(faulty: type[Faulty]) -> None:
    objects = Objects(Uri("faulty://films/out"))
    store = open_store("faulty://films/out")
    folder = store.root / "reel/fr/master-abc"
    with store.commit(folder) as part:
        (part / "reel.fr.mp4").write_bytes(b"film")
    store.publish(folder / "reel.fr.mp4", store.root / "reel/fr/reel.fr.mp4")

    def faults() -> list[str | None]:
        again = open_store("faulty://films/out")
        told = again.results([folder])[folder]
        assert told is not None
        return [again.fault(folder, told, look) for look in ("sizes", "moved")]

    assert faults() == [None, None]
    reads = [path for operation, path in faulty.calls if operation == "read" and path.endswith("fr.mp4")]
    assert not reads  # its mark says that it is as it was
    objects.write("reel/fr/reel.fr.mp4", b"flim")
    sizes, moved = faults()
    assert sizes is None and moved == "is damaged: reel.fr.mp4 no longer holds what was written into it"
    again = open_store("faulty://films/out")
    again.remove(folder)  # as a run does, which then makes it again, under the same key
    with again.commit(folder) as part:
        (part / "reel.fr.mp4").write_bytes(b"film")
    again.publish(folder / "reel.fr.mp4", again.root / "reel/fr/reel.fr.mp4")
    assert objects.read("reel/fr/reel.fr.mp4") == b"film" and faults() == [None, None]
    assert "reel/fr/master-abc/reel.fr.mp4" not in objects.find()
    objects.write("reel/fr/reel.fr.mp4", b"fi")
    assert faults() == ["is damaged: reel.fr.mp4 has 2 bytes instead of 4"] * 2
    objects.remove("reel/fr/reel.fr.mp4")
    assert faults() == ["is not whole: reel.fr.mp4 is missing"] * 2


def test_a_list_of_an_earlier_version_says_sizes_only(faulty: type[Faulty]) -> None:
    objects = Objects(Uri("faulty://films/out"))
    objects.write("reel/a/one.txt", b"one")
    for size, problem in ((3, None), (4, "is damaged: one.txt has 3 bytes instead of 4")):
        objects.write("reel/a/result.json", json.dumps({"status": "x", "files": {"one.txt": size}}).encode())
        store = open_store("faulty://films/out")
        folder = store.root / "reel/a"
        told = store.results([folder])[folder]
        assert told and store.fault(folder, told, "all") == problem


def test_a_result_that_nothing_needs_any_more(faulty: type[Faulty]) -> None:
    store = open_store("faulty://films/out")
    folder, kept = result(store, "t/fr/takes/a/window_1"), result(store, "t/fr/takes/a/window_10")
    assert store.done(folder)
    store.remove(folder)
    again = open_store("faulty://films/out")
    assert not store.done(folder) and not again.done(folder) and again.done(kept) and not folder.exists()
    assert not [n for n in Objects(Uri("faulty://films/out")).find() if "window_1/" in n]


def test_the_master_has_one_object_under_its_name(faulty: type[Faulty]) -> None:
    objects = Objects(Uri("faulty://films/out"))

    def made(key: str) -> tuple[RemoteStore, Path]:
        store = open_store("faulty://films/out")
        assert isinstance(store, RemoteStore)
        folder = store.root / "reel" / "fr" / f"master-{key}"
        with store.commit(folder) as part:
            (part / "reel.fr.mp4").write_bytes(key.encode())
        store.publish(folder / "reel.fr.mp4", store.root / "reel/fr/reel.fr.mp4")
        return store, folder

    made("one")
    store, folder = made("two")
    assert objects.read("reel/fr/reel.fr.mp4") == b"two"
    assert sorted(objects.find("reel/fr")) == [
        "reel/fr/.master.json", "reel/fr/master-two/result.json", "reel/fr/reel.fr.mp4",
    ]  # fmt: skip
    faulty.calls.clear()
    store.publish(folder / "reel.fr.mp4", store.root / "reel/fr/reel.fr.mp4")
    assert "write" not in {c[0] for c in faulty.calls}  # it is there already
    # somebody removed it: the next run makes it again
    objects.remove("reel/fr/reel.fr.mp4")
    with pytest.raises(OutputError, match="run the same command again"):
        store.publish(folder / "reel.fr.mp4", store.root / "reel/fr/reel.fr.mp4")
    assert not open_store("faulty://films/out").done(folder)


def test_several_masters_of_one_result_have_each_one_object(faulty: type[Faulty]) -> None:
    store = open_store("faulty://films/out")
    names = ("reel.fr.mov", "reel.fr.proxy.mp4")
    folder = store.root / "reel" / "fr" / "master-one"
    with store.commit(folder) as part:
        for name in names:
            (part / name).write_bytes(name.encode())
    for _ in range(2):  # the second time they are there already
        for name in reversed(names):
            store.publish(folder / name, store.root / "reel/fr" / name)
    objects = Objects(Uri("faulty://films/out"))
    assert sorted(objects.find("reel/fr")) == [
        "reel/fr/.master.json", "reel/fr/master-one/result.json", *(f"reel/fr/{name}" for name in names),
    ]  # fmt: skip
    again = open_store("faulty://films/out")
    assert again.done(folder)
    told = again.results([folder])[folder]
    assert told is not None and again.fault(folder, told, "all") is None
    objects.write("reel/fr/reel.fr.proxy.mp4", b"reel.fr.PROXY.mp4")
    again = open_store("faulty://films/out")
    assert again.done(folder) and "is damaged" in str(again.fault(folder, told, "all"))


def test_parts_of_killed_workers_go(faulty: type[Faulty]) -> None:
    store = open_store("faulty://films/out")
    old, fresh = store.root / "reel" / ".part-1-patch", store.root / "reel" / ".part-2-patch"
    for part in (old, fresh):
        part.mkdir(parents=True)
    os.utime(old, (1, 1))
    store.tidy()
    assert not old.exists() and fresh.exists()
    assert store.sweep() == 1 and not fresh.exists()


def test_threads_share_a_connection(s3: str) -> None:
    found: list[int] = []
    remote.at_once(lambda n: found.append(id(Objects(Uri(f"{s3}/{n}")).filesystem())), list(range(50)))
    assert len(found) == 50 and len(set(found)) == 1


def test_many_at_once_end_with_the_first_error() -> None:
    done: list[int] = []

    def call(n: int) -> None:
        if n == 3:
            raise IndexError("three")
        done.append(n)

    remote.at_once(call, [0, 1, 2])
    assert sorted(done) == [0, 1, 2]
    with pytest.raises(IndexError, match="three"):
        remote.at_once(call, [3, *range(4, 1000)])


def test_places_without_atomic_writes_get_a_part_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk(LocalFileSystem):
        """A file system whose writes can be seen half done, as that of a server."""

        protocol = "disk"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(path).removeprefix("disk://").rstrip("/")

    fsspec.register_implementation("disk", Disk, clobber=True)
    written: list[str] = []
    monkeypatch.setattr(
        Disk, "pipe_file", lambda self, path, data: written.append(path) or Path(path).write_bytes(data)
    )
    objects = Objects(Uri(f"disk://{tmp_path}/place"))
    objects.write("a/b.json", b"1")
    assert ".part-" in written[0] and (tmp_path / "place/a/b.json").read_bytes() == b"1"
    assert objects.find() == {"a/b.json": 1} and objects.children() == ["a"]


# -- copies of media ---------------------------------------------------------------------------


def test_a_copy_is_loaded_once_and_again_when_the_object_changes(faulty: type[Faulty]) -> None:
    film = Objects(Uri("faulty://films"))
    film.write("a.mp4", b"film")

    def local() -> Path:
        return Store("out").local(Uri("faulty://films/a.mp4"))

    path = local()
    reads = [c for c in faulty.calls if c[0] == "read"]
    assert local() == path and [c for c in faulty.calls if c[0] == "read"] == reads
    film.write("a.mp4", b"flim")  # as long as before
    assert local().read_bytes() == b"flim"
    with pytest.raises(MediaError, match=r"no file faulty://films/b.mp4"):
        Store("out").local(Uri("faulty://films/b.mp4"))


def test_an_interrupted_copy_is_loaded_again(faulty: type[Faulty], tmp_path: Path) -> None:
    Objects(Uri("faulty://films")).write("a.mp4", b"film")

    def half(self: Any, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(b"fi")
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Faulty, "get_file", half)
        Store("out").local(Uri("faulty://films/a.mp4"))
    assert not list((tmp_path / "scratch").rglob("*.mp4"))
    assert Store("out").local(Uri("faulty://films/a.mp4")).read_bytes() == b"film"


def test_a_source_that_changes_under_a_run_stops_it(faulty: type[Faulty], tmp_path: Path, monkeypatch: Any) -> None:
    film = Objects(Uri("faulty://films"))
    film.write("a.mp4", b"film")
    store = Store(tmp_path / "out")
    source = store.local(Uri("faulty://films/a.mp4"))
    sent = pickle.dumps(store)
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "another node"))
    film.write("a.mp4", b"another cut")
    with pytest.raises(OutputError, match="was changed"):
        pickle.loads(sent).bring({"source": str(source)})


# -- faults ------------------------------------------------------------------------------------


def test_what_passes_is_waited_for(faulty: type[Faulty]) -> None:
    """Half of all calls fail, for a while: a connection, a time-out, a busy server."""
    errors = [ConnectionResetError("reset"), TimeoutError("slow"), OSError(5, "503 Slow Down")]
    left = [40]

    def flaky(operation: str, path: str) -> None:
        left[0] -= 1
        if left[0] > 0 and left[0] % 2:
            raise errors[left[0] % 3]

    faulty.fault = staticmethod(flaky)  # type: ignore[method-assign, assignment]
    store = open_store("faulty://films/out")
    folders = [result(store, f"t/fr/takes/shot_{n:04d}/abc/patch") for n in range(10)]
    assert left[0] < 10 and all(open_store("faulty://films/out").done(f) for f in folders)


def test_what_does_not_pass_is_one_sentence(faulty: type[Faulty]) -> None:
    faults: dict[str, Exception] = {
        "for 0 s .*finished shots are kept": OSError(5, "503 Service Unavailable"),
        "The place was full when .* was written; make room": OSError(28, "No space left on device"),
        "was denied; check its keys": PermissionError("Forbidden"),
        "bucket or folder does not exist": FileNotFoundError("The specified bucket does not exist"),
        "no credentials": type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"),
    }
    for said, error in faults.items():
        calls = []

        def fail(operation: str, path: str, error: Exception = error, calls: list[str] = calls) -> None:
            calls.append(path)
            raise error

        faulty.fault = staticmethod(fail)  # type: ignore[method-assign, assignment]
        with pytest.raises(StorageError, match=said) as caught:
            result(open_store("faulty://films/out"))
        assert "faulty://films/out" in str(caught.value) and "\n" not in str(caught.value)
        assert len(calls) > 1 if isinstance(error, OSError) and error.errno == 5 else len(calls) == 1


def test_s3_says_what_is_wrong(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="bucket or folder does not exist"):
        Objects(Uri("s3://no-such-bucket/out")).write("x", b"")
    with pytest.raises(FileNotFoundError):
        Objects(Uri(f"{s3}/media/absent.mp4")).stamp()
    assert Objects(Uri("s3://no-such-bucket/out")).find() == {}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    remote.forget_connections()
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID"):
        Objects(Uri(f"{s3}/out")).write("x", b"")


def test_an_endpoint_that_does_not_answer(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        remote.forget_connections()
        with pytest.raises(StorageError, match=r"could not be read .*check the network and the endpoint"):
            Objects(Uri(f"{s3}/out"), patience_s=0.01).read("x")


# -- one run at a time -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_second_run_stops_and_a_finished_one_does_not_block(kind: str, request: pytest.FixtureRequest) -> None:
    where = f"{request.getfixturevalue('s3') if kind == 's3' else 'memory://films-lock'}/out"
    first, second = open_store(where), open_store(where)
    with first.lock():
        assert second.held()
        with pytest.raises(OutputError, match="Another run is writing"), second.lock():
            pass
    assert not second.held()
    with second.lock():
        pass


def lease_of(seconds_ago: float, **other: Any) -> bytes:
    """A lease as a run on another machine left it."""
    at = time.time() - seconds_ago
    return json.dumps({"id": "other", "host": "elsewhere", "space": "", "pid": 1, "at": at, **other}).encode()


def test_a_stale_lease_is_taken_over(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    objects = Objects(Uri("faulty://films/out"))
    objects.write(".lease.json", lease_of(lease.STALE_S - 5))
    with pytest.raises(OutputError, match="elsewhere"), open_store("faulty://films/out").lock():
        pass
    objects.write(".lease.json", lease_of(lease.STALE_S + 1))
    with open_store("faulty://films/out").lock():
        assert json.loads(objects.read(".lease.json"))["pid"] == os.getpid()
    # a process of this machine that is gone does not keep anybody waiting
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    objects.write(".lease.json", lease_of(1, **{**lease.this_process(), "pid": child}))
    with open_store("faulty://films/out").lock():
        pass


def test_a_run_whose_clock_is_wrong_is_not_taken_over(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease looks an hour old, but it is renewed while we look."""
    objects = Objects(Uri("faulty://films/out"))
    objects.write(".lease.json", lease_of(3600))
    monkeypatch.setattr(lease.time, "sleep", lambda s: objects.write(".lease.json", lease_of(3600 - s)))
    with pytest.raises(OutputError, match="Another run is writing"), open_store("faulty://films/out").lock():
        pass


def test_two_that_reach_for_it_together(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw none; the other wrote last."""
    objects = Objects(Uri("faulty://films/out"))
    monkeypatch.setattr(lease.time, "sleep", lambda s: objects.write(".lease.json", lease_of(0)))
    with pytest.raises(OutputError, match="at the same moment"), open_store("faulty://films/out").lock():
        pass
    assert json.loads(objects.read(".lease.json"))["id"] == "other"


def test_a_run_that_was_taken_over_stops_at_its_next_write(
    faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    objects, store = Objects(Uri("faulty://films/out")), open_store("faulty://films/out")
    with store.lock():
        objects.write(".lease.json", lease_of(0))

        def refused() -> str:
            try:
                store.write_json(store.root / "run.json", {})
            except OutputError as e:
                return str(e)
            return ""

        assert "took" in until(refused)
    assert json.loads(objects.read(".lease.json"))["id"] == "other"  # and leaves the other's lease alone


def test_the_lease_is_renewed_and_carries_the_progress(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    objects, store = Objects(Uri("faulty://films/out")), open_store("faulty://films/out")
    with store.lock():
        first = json.loads(objects.read(".lease.json"))["at"]
        (store.root / ".progress.json").write_text('{"part": 0.5}')
        until(lambda: objects.find().get(".progress.json") and json.loads(objects.read(".lease.json"))["at"] > first)
        assert json.loads(store.read_bytes(store.root / ".progress.json")) == {"part": 0.5}
    assert objects.find() == {}
