"""The scratch folder: what was used longest ago goes when the disk fills, and never what somebody uses."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from dubbing.errors import OutputError
from dubbing.remote import Uri, place
from dubbing.store import RESULT, Store, open_store, scratch
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
        use([mine], "a task")
        assert make_room() == 0 and mine.exists() and theirs.exists()
        release("a task")
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


def kept(name: str) -> tuple[Store, Path]:
    """A store at a URI, and a result of 50 KB in it, of which this machine has a copy."""
    store = open_store(f"memory://out-{name}")
    folder = store.root / "reel" / "analysis" / "shots-1"
    with store.commit(folder) as part:
        (part / "line.bin").write_bytes(b"y" * 50_000)
        (part / RESULT).write_text("{}")
    return store, folder


def test_a_result_that_went_is_brought_again(room: Callable[[int], None], tmp_path: Path) -> None:
    store, folder = kept(tmp_path.name)
    room(100_000)
    assert make_room() // 1000 == 50 and not folder.exists() and store.done(folder)
    room(TOTAL)
    store.bring({"timeline": str(folder)})
    assert (folder / "line.bin").read_bytes() == b"y" * 50_000
    store.whole(folder)


ANOTHER = (
    "import sys; from pathlib import Path; from dubbing.store import scratch\n"
    "scratch.FREE, scratch.GATE_S = 2.0, 0.2  # there is never room\n"
    "print(scratch.make_room(), end='')"
)


def another_makes_room(home: Path) -> int:
    """How many bytes another process removes, on a disk that is always too full."""
    env = {**os.environ, "DUB_SCRATCH": str(home)}
    return int(
        subprocess.run([sys.executable, "-c", ANOTHER], env=env, capture_output=True, text=True, check=True).stdout
    )


def lists(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "scratch" / ".using").iterdir() if p.name not in ("gate", "alone")]


def test_on_a_full_disk_nothing_of_anybody_s_goes(
    room: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = result(tmp_path, "first", 100), result(tmp_path, "second", 200)
    use([first], "a task")
    written, full = os.pwrite, True

    def pwrite(file: int, data: bytes, at: int) -> int:
        if full and at + len(data) > 4096:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(file, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    use([second], "a page")  # there is room for its name already
    assert another_makes_room(tmp_path / "scratch") == 0 and first.exists() and second.exists()
    more = [tmp_path / "scratch" / "out" / "place" / f"{'x' * 200}{n}" for n in range(40)]
    third = result(tmp_path, "third", 50)
    use([*more, third], "a page")
    assert another_makes_room(tmp_path / "scratch") == 0 and third.exists()
    full = False
    release("a page")
    assert another_makes_room(tmp_path / "scratch") // 1000 == 100
    assert first.exists() and not second.exists() and not third.exists()


def test_a_list_that_cannot_be_made_keeps_everything(
    room: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = result(tmp_path, "film", 100), os.open

    def full(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and Path(path).name != "gate":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, flags, mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        use([folder], "a task")
    assert another_makes_room(tmp_path / "scratch") == 0 and folder.exists()
    release("a task")
    assert another_makes_room(tmp_path / "scratch") // 1000 == 50


def test_a_scratch_folder_of_two_names(room: Callable[[int], None], tmp_path: Path) -> None:
    used, other = result(tmp_path, "used", 100), result(tmp_path, "other", 200)
    (tmp_path / "also").symlink_to(tmp_path / "scratch")
    use([used], "a task")
    assert another_makes_room(tmp_path / "also") // 1000 == 50 and used.exists() and not other.exists()
    release("a task")


def test_a_name_is_on_the_list_when_use_ends_in_every_thread(room: Callable[[int], None], tmp_path: Path) -> None:
    home, problems = tmp_path / "scratch", list[str]()
    folders = [home / "out" / "place" / str(n) for n in range(8)]

    def work(n: int) -> None:
        for _ in range(20):
            use(folders, n)
            (mine,) = lists(tmp_path)
            names = mine.read_bytes().partition(b"\0\0")[0].split(b"\0")
            if {os.path.relpath(f, home).encode() for f in folders} - {*names}:
                problems.append("a name is missing")
            release(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems
    (mine,) = lists(tmp_path)
    assert mine.read_bytes().startswith(b"\0\0"), "nothing is used any more"


def test_dead_processes_leave_nothing(room: Callable[[int], None], tmp_path: Path) -> None:
    folder = result(tmp_path, "one", 100)
    code = "import sys; from pathlib import Path; from dubbing.store.scratch import use; use([Path(sys.argv[1])])"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert len(lists(tmp_path)) == 1, "each removes the lists of those before"
    use([folder])
    assert len(lists(tmp_path)) == 1
    left = [tmp_path / "scratch" / at / ".part-gone-1" for at in ("media", "out/place")]
    for one in left:
        one.mkdir(parents=True)
        (one / "film.bin").write_bytes(b"x" * 50_000)
    room(200_000)
    assert make_room() // 1000 == 100 and not any(one.exists() for one in left) and folder.exists()


def test_some_more_goes_than_is_short_and_what_fails_is_passed_over(
    room: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [result(tmp_path, name, at) for at, name in enumerate("abcd", 100)]
    moved = Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path == folders[0]:
            raise PermissionError(errno.EACCES, "not yours")
        return moved(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    room(TOTAL // 10 + 200_000 - 45_000)  # so many bytes are short, and 20,000 more are to go
    assert make_room() // 1000 == 100 and [f.exists() for f in folders] == [True, False, False, True]


def test_what_is_brought_for_a_while_is_let_go(
    room: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = kept(tmp_path.name)
    room(100_000)
    monkeypatch.setattr(scratch, "QUIET_S", 0.0)
    with store.brought(folder) as (here,):
        assert make_room() == 0 and here == folder and here.exists()
    assert make_room() // 1000 == 50 and not folder.exists()


def test_what_is_used_below_a_name_or_around_it_stays(room: Callable[[int], None], tmp_path: Path) -> None:
    one, two = result(tmp_path, "a/one", 100), result(tmp_path, "two", 200)
    use([one / "frames"], "a task")
    use([two.parent / "two"], "another")
    assert another_makes_room(tmp_path / "scratch") == 0 and one.exists() and two.exists()
    release("a task")
    release("another")


def test_a_forked_process_has_a_list_of_its_own(room: Callable[[int], None], tmp_path: Path) -> None:
    mine, its = result(tmp_path, "mine", 100), result(tmp_path, "its", 200)
    use([mine], "a task")
    (before,) = lists(tmp_path)
    child = os.fork()
    if child == 0:
        use([its])
        release("a task")  # of the other
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0 and b"mine" in before.read_bytes()
    assert another_makes_room(tmp_path / "scratch") // 1000 == 50 and mine.exists() and not its.exists()
    release("a task")
