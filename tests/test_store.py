"""What is committed is whole, what is not leaves nothing behind."""

import errno
import os
from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from dubbing.errors import OutputError
from dubbing.estimate.history import history_file
from dubbing.store import RESULT, Store, content_key, key_of, read_json
from dubbing.store.scratch import scratch


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store, final = Store(tmp_path), tmp_path / "a" / "result"
    with pytest.raises(ValueError), store.commit(final) as part:
        (part / "half").write_text("x")
        assert not final.exists()
        raise ValueError
    assert not final.exists() and not list(tmp_path.rglob(".part-*"))
    with store.commit(final) as part:
        (part / "whole").write_text("x")
    assert (final / "whole").read_text() == "x" and not list(tmp_path.rglob(".part-*"))


def test_what_another_worker_has_committed_stays(tmp_path: Path) -> None:
    store, final = Store(tmp_path), tmp_path / "result"
    with store.commit(final) as part:
        (part / "first").touch()
        with store.commit(final) as other:
            (other / "second").touch()
    assert sorted(p.name for p in final.iterdir()) == [RESULT, "second"]


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "t" / ".part-1234-shot").mkdir(parents=True)
    (tmp_path / ".part-99-run.json").touch()
    assert Store(tmp_path).sweep() == 2
    assert not list(tmp_path.rglob(".part-*"))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="full; free some space and run the same command again"):
        with Store(tmp_path).commit(tmp_path / "x"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), Store(tmp_path / "file" / "out").lock():
        pass


def test_a_second_run_stops_at_once_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    first, second = Store(tmp_path), Store(tmp_path)
    with first.lock(), pytest.raises(OutputError, match="Another run"), second.lock():
        pass
    with second.lock():
        pass


def test_keys_depend_on_content_and_on_nothing_else(tmp_path: Path) -> None:
    one, two, memory = tmp_path / "one", tmp_path / "two words", tmp_path / "memory.json"
    one.write_bytes(b"film")
    two.write_bytes(b"film")
    assert content_key(one, memory) == content_key(two, memory) == content_key(one, memory)
    one.write_bytes(b"flim")
    os.utime(one, ns=(1, 1))
    assert content_key(one, memory) != content_key(two, memory)
    memory.write_text("not json")
    assert content_key(two, memory) == content_key(two)
    assert key_of({"b": 1, "a": [2]}) == key_of({"a": [2], "b": 1}) != key_of({"a": [3], "b": 1})


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_json(tmp_path / "run.json", {"état": "läuft"})
    store.write_json(tmp_path / "run.json", {"état": "fini"})
    assert read_json(tmp_path / "run.json") == {"état": "fini"}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Copies of remote files and the history of runs lie side by side, unless one is put elsewhere."""
    for name in ("DUB_SCRATCH", "DUB_HISTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home-of-ann")
    for system, said, where in (
        (Unix, "", "/home-of-ann/.cache/dub"),
        (Unix, "relative", "/home-of-ann/.cache/dub"),
        (MacOS, "", "/home-of-ann/Library/Caches/dub"),
        (MacOS, "/cache", "/cache/dub"),
    ):
        monkeypatch.setattr(platformdirs, "PlatformDirs", system)
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert scratch() == Path(where) and history_file() == Path(where, "history.jsonl")
    monkeypatch.setenv("DUB_SCRATCH", "/fast")
    monkeypatch.setenv("DUB_HISTORY", "~/runs.jsonl")
    assert scratch() == Path("/fast") and history_file() == Path("/home-of-ann/runs.jsonl")
