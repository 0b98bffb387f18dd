"""Finished results that were damaged, and films that change during a run: named, made again, and never delivered.

Over 400 lines: all that may be damaged, or change during a run, on one small film.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from command import Dub
from faulty import Sleepers
from films import Finished, facts_on_disk, plain_job, run, started_by

from bench import corrupt
from dubbing import config, manifest
from dubbing.analysis import windows
from dubbing.api.results import open_results
from dubbing.artifacts.sound import new_wave
from dubbing.engine import run_job
from dubbing.engine.pool import Turn
from dubbing.engine.schedule import Event, Schedule
from dubbing.errors import DamagedResult, InputError, OutputError
from dubbing.job import Job
from dubbing.shot_table import read_rows
from dubbing.store import RESULT, Store, content_key
from dubbing.task import Outcome, Task


def flip(path: Path) -> None:
    """One bit, in place, and the file's times as they were."""
    corrupt.Folder(path.parent).write(path.name, corrupt.damaged(path.read_bytes(), "flipped", path.name))


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """The finished run's output, to be damaged."""
    place = corrupt.Folder(tmp_path / "out")
    place.out.mkdir()
    place.put(corrupt.Folder(finished.out).files())
    return place.out


def told_by(film: Path, out: Path, verify: bool = False) -> list[str]:
    """Runs a manifest in this process: what it says to people."""
    said: list[str] = []
    work = Job(manifest.load(film), out, config.load())
    work.verifies = verify
    run_job(work, "local", lambda e: said.append(e.text) if e.kind == "message" else None)
    return said


# -- finished results --------------------------------------------------------------------------


@pytest.mark.parametrize("hows", [corrupt.DAMAGES[:2], corrupt.DAMAGES[2:]], ids=" and ".join)
def test_no_damage_of_a_take_reaches_a_master(finished: Finished, tmp_path: Path, hows: tuple[str, str]) -> None:
    """The small form of bench/corrupt.py: every file of the takes, read by the master that is made again; they are
    damaged in two ways by turns."""
    place = corrupt.Folder(tmp_path / "out")
    place.out.mkdir()
    whole = corrupt.Folder(finished.out).files()
    which, gone = corrupt.RULES["takes"]
    names = [n for n in whole if re.search(which, n)]
    assert {n.rpartition("/")[2] for n in names} == {RESULT, "patch.nut", "frames.parquet"}
    for some in corrupt.rounds(names, whole):
        each = [hows[n % 2] for n in range(len(some))]
        assert set(corrupt.fates(place, finished.film, whole, some, each, gone).values()) == {"healed"}


def test_what_was_seen_of_a_take_and_is_damaged_is_made_again(finished: Finished, copied: Path) -> None:
    for seen in copied.glob("film/hi/takes/*/*/patch/**/seen.npz"):
        flip(seen)
    for score in copied.glob("film/hi/takes/*/*/score-*"):
        shutil.rmtree(score)
    assert len(told_by(finished.film, copied)) == 1
    assert facts_on_disk(copied) == facts_on_disk(finished.out)


def test_a_wave_that_is_read_and_damaged_is_made_again_once(finished: Finished, copied: Path) -> None:
    (wave,) = copied.glob("film/hi/sound-*/wave.npy")
    flip(wave)
    shutil.rmtree(copied / "film" / "hi" / "takes")
    (said,) = told_by(finished.film, copied)
    assert f"{str(wave.parent)!r} is damaged: wave.npy no longer holds what was written into it" in said
    assert "it is made again" in said and facts_on_disk(copied) == facts_on_disk(finished.out)
    assert not started_by(finished.film, copied)


def test_a_damaged_master_is_named_by_status_and_made_again_by_a_run(
    finished: Finished, copied: Path, dub: Dub
) -> None:
    master = copied / "film" / "hi" / "film.hi.mp4"
    os.truncate(master, 1000)
    code, out, _ = dub("status", copied)
    assert code == 0 and "film.hi.mp4 has 1000 bytes instead of" in out
    assert started_by(finished.film, copied) == {"master film/hi", "proof film/hi"}
    flip(master)  # its size and its times say nothing
    assert started_by(finished.film, copied) == {"master film/hi", "proof film/hi"}
    assert facts_on_disk(copied) == facts_on_disk(finished.out)
    master.unlink()
    master.write_bytes(b"another film")  # and the result's own file is whole
    assert open_results(copied).dub("film", "hi").damage
    assert not started_by(finished.film, copied) and facts_on_disk(copied) == facts_on_disk(finished.out)


def test_verify_names_what_nothing_reads_and_makes_it_again(finished: Finished, copied: Path, dub: Dub) -> None:
    patch = next(copied.glob("film/ta/takes/shot_0002/*/patch/face_1/patch.nut"))
    flip(patch)
    assert not started_by(finished.film, copied)  # the master is made, and whole
    (take,) = open_results(copied).dub("film", "ta").takes("shot_0002")
    with pytest.raises(DamagedResult, match=r"face_1/patch\.nut no longer holds"):
        list(take.patches())
    code, _, err = dub("status", copied, "--verify")
    assert code == 1 and err.count("\n") == 1 and "face_1/patch.nut no longer holds what was written into it" in err
    (said,) = told_by(finished.film, copied, verify=True)
    assert str(patch.parents[1]) in said and facts_on_disk(copied) == facts_on_disk(finished.out)
    code, out, err = dub("status", copied, "--verify")
    assert code == 0 and "Everything is as it was written" in out and not err


def test_a_result_that_was_put_in_place_of_another(finished: Finished, copied: Path) -> None:
    one, two = (next(copied.glob(f"film/{x}/takes/shot_0002/*/patch")) for x in ("hi", "ta"))
    shutil.rmtree(one)
    shutil.copytree(two, one)
    assert "lipsync film/hi/shot_0002" in started_by(finished.film, copied)
    assert facts_on_disk(copied) == facts_on_disk(finished.out)


def test_a_long_shot_is_made_again_in_windows(
    finished: Finished, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_FRAMES", 30)
    (tracks,) = copied.glob("film/analysis/faces/shot_0002-*/tracks.npz")
    flip(tracks)
    shutil.rmtree(copied / "film" / "ta" / "takes")
    started = started_by(finished.film, copied)
    assert "faces film/shot_0002/window_1" in started and "lipsync film/ta/shot_0002/window_2" in started
    assert [r["status"] for r in read_rows(copied / "film" / "ta" / "shots.parquet")] == ["untouched", "dubbed"]
    assert not list(copied.glob("**/windows/*/*")) and not started_by(finished.film, copied)


@pytest.mark.ray
def test_workers_of_ray_have_damage_made_again(finished: Finished, copied: Path) -> None:
    (wave,) = copied.glob("film/hi/sound-*/wave.npy")
    flip(wave)
    shutil.rmtree(copied / "film" / "hi" / "takes")
    said: list[str] = []
    run(finished.film, copied, "ray", show=lambda e: said.append(e.text) if e.kind == "message" else None)
    assert sum("wave.npy no longer holds" in line for line in said) == 1, said
    assert facts_on_disk(copied) == facts_on_disk(finished.out)


def test_folders_of_earlier_versions_are_used_as_they_are(finished: Finished, copied: Path) -> None:
    for path in copied.rglob(RESULT):
        told = json.loads(path.read_bytes())
        path.write_text(json.dumps({k: v for k, v in told.items() if k not in ("files", "check")}))
    assert not started_by(finished.film, copied)
    shutil.rmtree(next(copied.glob("film/hi/master-*")))
    assert started_by(finished.film, copied) == {"master film/hi", "proof film/hi"}
    assert facts_on_disk(copied) == facts_on_disk(finished.out)


def test_what_is_damaged_again_ends_the_run_with_one_sentence(
    finished: Finished, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives back another bit than it was given."""
    commit = Store.commit

    @contextmanager
    def failing(self: Store, final: Path) -> Iterator[Path]:
        with commit(self, final) as part:
            yield part
        if final.name.startswith("sound-"):
            flip(final / "wave.npy")

    monkeypatch.setattr(Store, "commit", failing)
    shutil.rmtree(next(copied.glob("film/hi/sound-*")))
    shutil.rmtree(copied / "film" / "hi" / "takes")
    with pytest.raises(DamagedResult, match=r"wave\.npy .*although this run has made it again") as caught:
        run(finished.film, copied)
    assert "\n" not in str(caught.value) and not list(copied.glob("film/hi/takes/*/*/patch"))


def test_no_flipped_bit_of_a_table_is_read_as_another_table(finished: Finished) -> None:
    data = (finished.out / "film" / "hi" / "shots.parquet").read_bytes()
    rows, found = read_rows(data), Counter[str]()
    for n in range(300):
        other = corrupt.damaged(data, "flipped", str(n))
        assert other is not None
        try:
            assert read_rows(other) == rows
            found["the same"] += 1
        except DamagedResult:
            found["refused"] += 1
    assert found["refused"] > 100  # what is left changes nothing that is read, such as statistics


@pytest.mark.parametrize("how", ["cut", "emptied", "removed"])
def test_a_damaged_table_is_named_and_written_anew(finished: Finished, copied: Path, dub: Dub, how: str) -> None:
    table = copied / "film" / "hi" / "shots.parquet"
    corrupt.Folder(copied).write("film/hi/shots.parquet", corrupt.damaged(table.read_bytes(), how, "table"))
    if how != "removed":
        for command in ("status", "export"):
            code, _, err = dub(command, copied, *(["--reviewer", "Ann"] if command == "export" else []))
            assert code == 2 and "shots.parquet' is damaged; `dub run` its manifest again" in err, err
    assert not started_by(finished.film, copied)
    assert facts_on_disk(copied) == facts_on_disk(finished.out) and read_rows(table)


def test_a_damaged_memory_of_contents_is_not_believed(tmp_path: Path) -> None:
    film, memory = tmp_path / "film", tmp_path / "memory.json"
    film.write_bytes(b"film")
    key = content_key(film, memory)
    memory.write_bytes(memory.read_bytes().replace(key.encode(), b"0" * 64))
    assert content_key(film, memory) == key


# -- several workers ---------------------------------------------------------------------------


class Scripted:
    """A pool whose tasks end as a script says: by id and count of the task, an outcome instead of a good one."""

    def __init__(self, work: Sleepers, script: Callable[[Task, int], Outcome | None]) -> None:
        self._work, self._script, self._busy, self.begun = work, script, list[Task](), list[str]()

    def take(self, ready: Sequence[Task]) -> list[Task]:
        self._busy += ready
        return [*ready]

    def wait(self) -> Turn:
        task = self._busy.pop(0)
        self.begun.append(task.id)
        outcome = self._script(task, self.begun.count(task.id))
        if outcome is None:
            with self._work.store.commit(task.folder):
                pass
        return Turn([outcome or Outcome(task.id, 0.0)])

    def see(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


class Losing(Sleepers):
    """Two shots whose second stages both read the first shot's first result."""

    def __init__(self, out: Path) -> None:
        super().__init__(out, [(0.0, None), (0.0, None)])
        first, second, third, _, other, last = self._tasks
        shared = type(other.inputs)(0.0, 0, "", None, "", (first.ref,))
        self._tasks = [first, second, third, replace(other, inputs=shared), last]
        self.lost: list[str] = []

    def lose(self, task: Task, why: str) -> None:
        if task.id in self.lost:
            raise DamagedResult(why)
        self.lost.append(task.id)
        self.store.remove(task.folder)


@pytest.mark.parametrize("second_ends", ["damaged", "failed", "stopped", "well"])
def test_two_that_read_the_same_damage_have_it_made_again_once(tmp_path: Path, second_ends: str) -> None:
    work = Losing(tmp_path)
    first = next(t for t in work.tasks({}) if t.stage == "faces")

    def script(task: Task, count: int) -> Outcome | None:
        if task.stage != "lipsync" or count > 1:
            return None
        damage = Outcome(task.id, 0.0, "damaged", "DamagedResult", fatal=DamagedResult("d"), damaged=first.folder)
        if task.shot == "shot_0000" or second_ends == "damaged":
            return damage
        fatal = InputError("it is gone") if second_ends == "stopped" else None
        return None if second_ends == "well" else Outcome(task.id, 0.0, "gone", "OSError", fatal=fatal)

    pool = Scripted(work, script)
    schedule = Schedule(work, lambda event: None)
    schedule.drain(lambda: pool)
    assert work.lost == [first.id] and not schedule.failed and pool.begun.count(first.id) == 2
    assert schedule.done == {t.id for t in work.tasks({})}


def test_one_that_is_damaged_for_every_reader_ends_it(tmp_path: Path) -> None:
    work = Losing(tmp_path)
    first = next(t for t in work.tasks({}) if t.stage == "faces")

    def script(task: Task, count: int) -> Outcome | None:
        bad = task.stage == "lipsync"
        return Outcome(task.id, 0.0, "bad", "D", fatal=DamagedResult("d"), damaged=first.folder) if bad else None

    with pytest.raises(DamagedResult, match="bad"):
        Schedule(work, lambda event: None).drain(lambda: Scripted(work, script))


# -- films that change -------------------------------------------------------------------------


def changing(job: Path, out: Path, stage: str, change: Callable[[], None]) -> list[str]:
    """Runs a manifest; when the first task of a stage begins, something happens: the ids of all that ended well."""
    ended: list[str] = []

    def show(event: Event) -> None:
        if event.kind == "started" and event.stage == stage:
            change()
        if event.kind == "finished":
            ended.append(event.task_id)

    run(job, out, show=show)
    return ended


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A film of two plain shots with one dub."""
    (tmp_path / "film").mkdir()
    return plain_job(tmp_path / "film", {"fr": "fr.wav"}, 50)


HOWS = ("replaced", "overwritten", "removed", "cut")


def changed(film: Path, how: str, before: bytes) -> None:
    """Another content under the same name, with the times that it had; or no file."""
    stat = film.stat()
    if how == "replaced":
        (film.parent / "other").write_bytes(before[:-1] + b"x")
        (film.parent / "other").replace(film)
    elif how == "overwritten":
        film.write_bytes(before[:-1] + b"x")
    elif how == "removed":
        film.unlink()
    else:
        os.truncate(film, len(before) // 2)
    if how != "removed":
        os.utime(film, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("stage", ["shots", "faces", "audio", "master"])
def test_a_film_that_changes_during_a_run_stops_it(plain: Path, tmp_path: Path, stage: str) -> None:
    """In every way; each run goes on from where the one before it was stopped, and the last, of the film as it was, to
    the end."""
    film, out = plain.parent / ("fr.wav" if stage == "audio" else "film.mp4"), tmp_path / "out"
    before = film.read_bytes()
    for how in HOWS:
        (out / "run.json").unlink(missing_ok=True)  # what it says below, this round says
        with pytest.raises(InputError, match=f"{film.name} was .* while the run was going; nothing is kept") as caught:
            changing(plain, out, stage, partial(changed, film, how, before))
        assert caught.value.exit_code == 2 and "\n" not in str(caught.value), how
        folders = {"shots": "shots", "faces": "faces", "audio": "sound", "master": "master"}
        kept = [p.relative_to(out).as_posix() for p in out.rglob(RESULT)]
        assert not [name for name in kept if folders[stage] in name.replace("analysis/sound", "")], how
        assert json.loads((out / "run.json").read_text())["state"] == "stopped"
        film.write_bytes(before)
    assert run(plain, out).exit_code in (0, 3)


def test_a_film_that_was_only_touched_is_the_same(plain: Path, tmp_path: Path) -> None:
    film = plain.parent / "film.mp4"

    def change() -> None:
        (plain.parent / "copy").write_bytes(film.read_bytes())
        (plain.parent / "copy").replace(film)

    assert "master reel/fr" in changing(plain, tmp_path / "out", "faces", change)


def test_a_film_that_changes_while_it_is_looked_at(plain: Path, tmp_path: Path) -> None:
    film = plain.parent / "film.mp4"
    job = Job(manifest.load(plain), tmp_path / "out", config.load())
    job.media_info(film)
    film.write_bytes(film.read_bytes() + b"more")
    with pytest.raises(InputError, match="was changed while it was being looked at"):
        job.file(film)


# -- a full disk -------------------------------------------------------------------------------


def test_a_disk_that_is_full_before_a_sound_is_written(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dub: Dub
) -> None:
    """A mapped file that the disk cannot hold would end the process without a word."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    code, _, err = dub("run", plain, "--out", tmp_path / "out", "--engine", "local")
    assert code == 2 and "is full; free some space and run the same command again" in err
    assert not list((tmp_path / "out").rglob(".part-*"))
    monkeypatch.undo()
    wave = new_wave(tmp_path, 5_000_000)
    assert wave.shape == (5_000_000,) and not wave.any() and wave.dtype.str == "<i2"
    assert (tmp_path / "wave.npy").stat().st_blocks * 512 >= wave.nbytes  # its room is taken
    monkeypatch.delattr(os, "posix_fallocate")  # as on macOS
    assert not new_wave(tmp_path, 3_000_000).any()
    assert (tmp_path / "wave.npy").stat().st_blocks * 512 >= 6_000_000
    with pytest.raises(OutputError, match="full"), Store(tmp_path).commit(tmp_path / "x"):
        full()
