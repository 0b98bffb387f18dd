"""The scratch folder: what was used longest ago goes when the disk fills, and never what somebody uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from dubbing.errors import OutputError
from dubbing.remote import Uri, place
from dubbing.store import RESULT, open_store, scratch
from dubbing.store.copies import Copies
from dubbing.store.scratch import make_room, release, use

TOTAL = 1_000_000


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A scratch folder on a disk of TOTAL bytes; sets how many are free when nothing lies in it."""
    home, empty = tmp_path / "scratch", TOTAL
    monkeypatch.setenv("DUB_SCRATCH", str(home))

    def usage(path: Path) -> SimpleNamespace:
        held = sum(p.stat().st_size for p in home.rglob("*") if p.is_file() and p.suffix == ".bin")
        return SimpleNamespace(total=TOTAL, free=empty - held)

    def leaves(free: int) -> None:
        nonlocal empty
        empty = free

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return leaves


def result(home: Path, name: str, used_s: int) -> Path:
    """A mirrored result of 50,000 bytes that was used at this moment."""
    folder = home / "scratch" / "out" / "place" / name
    folder.mkdir(parents=True)
    (folder / RESULT).write_text("{}")
    (folder / "patch.bin").write_bytes(b"x" * 50_000)
    use([folder])
    release()
    os.utime(folder, (used_s, used_s))
    return folder


def test_what_was_used_longest_ago_goes_first_and_only_as_much_as_must(
    room: Callable[[int], None], tmp_path: Path
) -> None:
    old, older, new = (result(tmp_path, name, s) for name, s in (("a/b", 200), ("c", 100), ("d", 300)))
    assert make_room() == 0, "there is room"
    room(220_000)  # 70,000 are free, and a tenth of the disk should be
    assert make_room() // 1000 == 50
    assert not older.exists() and old.exists() and new.exists()
    assert make_room(more=30_000) // 1000 == 50 and not old.exists()
    assert not list((tmp_path / "scratch").rglob(".part-*"))


def test_what_a_living_process_uses_stays_until_it_ends(
    room: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "QUIET_S", 0.0)
    mine, theirs = result(tmp_path, "mine", 100), result(tmp_path, "theirs", 200)
    code = (
        "import sys; from pathlib import Path; from dubbing.store.scratch import use\n"
        "use([Path(sys.argv[1])]); print('ready', flush=True); sys.stdin.read()"
    )
    room(100_000)
    command = [sys.executable, "-c", code, str(theirs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        use([mine])
        assert make_room() == 0 and mine.exists() and theirs.exists()
        release()
        other.kill()
    assert make_room() // 1000 == 100 and not mine.exists() and not theirs.exists()


def test_a_film_takes_the_place_of_another_job_s(room: Callable[[int], None], tmp_path: Path) -> None:
    memory, other = fsspec.filesystem("memory"), tmp_path / "scratch" / "media" / "other" / "film.bin"
    for n in (1, 2):
        memory.pipe(f"/films-{tmp_path.name}/{n}.bin", bytes([n]) * 300_000)
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x" * 300_000)
    room(450_000)
    first, second = (place(f"memory://films-{tmp_path.name}/{n}.bin") for n in (1, 2))
    assert isinstance(first, Uri) and isinstance(second, Uri)
    path = Copies().fetch(first)
    assert path.read_bytes() == b"\1" * 300_000 and not other.exists()
    with pytest.raises(OutputError, match="make room there"):
        Copies().fetch(second)
    assert path.exists(), "this process still works on it"


def test_a_result_that_went_is_brought_again(room: Callable[[int], None], tmp_path: Path) -> None:
    store = open_store(f"memory://out-{tmp_path.name}")
    folder = store.root / "reel" / "analysis" / "shots-1"
    with store.commit(folder) as part:
        (part / "line.bin").write_bytes(b"y" * 50_000)
        (part / RESULT).write_text("{}")
    room(100_000)
    assert make_room() // 1000 == 50 and not folder.exists() and store.done(folder)
    room(TOTAL)
    store.bring({"timeline": str(folder)})
    assert (folder / "line.bin").read_bytes() == b"y" * 50_000
    store.whole(folder)
