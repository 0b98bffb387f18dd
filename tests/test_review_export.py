"""`dub export`: what decisions changed is mastered again, nothing else; lists that editing systems and people read.

Over 400 lines: one finished export and its fixtures serve all of it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from waiting import until

from dubbing import config, manifest, media
from dubbing.cli.app import dub
from dubbing.clock import Timecode, Timeline
from dubbing.decisions import Decision, standing_of
from dubbing.demo import SHORT, make_demo
from dubbing.demo.portrait import Camera
from dubbing.engine import Event, run_job
from dubbing.errors import InputError, OutputError
from dubbing.job import Job
from dubbing.manifest import GeneratorChoice
from dubbing.media.colour import planes_of
from dubbing.review.deliveries import Delivered, Deliveries, changes
from dubbing.review.edits import Edit, Note, edl, otio_json, reel_name
from dubbing.review.export import Exported, export
from dubbing.review.library import Library
from dubbing.review.rerun import rerun
from dubbing.shot_table import read_rows
from dubbing.stages.master import MasterInputs

# -- the lists, without a film ------------------------------------------------------------------

RATES = {
    "23.976": (Fraction(24000, 1001), "01:00:00:00"),
    "24": (Fraction(24), "00:59:59:20"),
    "25": (Fraction(25), "10:00:00:00"),
    "29.97 drop-frame": (Fraction(30000, 1001), "00:59:58;00"),
    "29.97": (Fraction(30000, 1001), "00:00:00:00"),
    "50": (Fraction(50), "00:00:00:00"),
    "59.94 drop-frame": (Fraction(60000, 1001), "01:08:59;40"),
}


def line_of(name: str, frames: int = 400) -> Timeline:
    rate, start = RATES[name]
    return Timeline(np.arange(frames) * rate.denominator, Fraction(1, rate.numerator), frames * rate.denominator, rate,
                    start)  # fmt: skip


def edits() -> list[Edit]:
    said = [Note(75, "issue", "teeth flicker\nhere", "ana", "2026-01-01T00:00:00+00:00"),
            Note(50, "blocker", "said of a handle", "ben", "2026-01-01T00:00:00+00:00")]  # fmt: skip
    return [
        Edit("shot_0002", 60, 190, said, {"SHOT": "shot_0002"}, {"lse_d": 6.5, "reason": None}),
        Edit("shot_0005", 301, 302, [Note(301, "original", "", "ana", "")], {"SHOT": "shot_0005"}),
    ]


@pytest.mark.parametrize("name", RATES)
def test_an_edl_reads_back_with_the_same_frames(name: str) -> None:
    line = line_of(name)
    text = edl("reel.fr changed", "REELFR", "reel.fr.mp4", line, edits())
    drop = "drop" in name
    assert text.splitlines()[:2] == ["TITLE: reel.fr changed", f"FCM: {'DROP FRAME' if drop else 'NON-DROP FRAME'}"]
    assert text.count("\r\n") == text.count("\n") and text.endswith("\r\n")
    read = otio.adapters.read_from_string(text, "cmx_3600", rate=float(line.rate))
    first = Timecode.parse(line.start_tc, line.rate).frames
    clips = list(read.find_clips())
    spans = [(c.source_range.start_time.value - first, c.source_range.duration.value) for c in clips]
    assert spans == [(60, 130), (301, 1)]
    # what lies between two events is a gap of the same length: record timecodes are the source's
    gap = next(g for g in read.tracks[0] if isinstance(g, otio.schema.Gap))
    assert gap.duration().value == 301 - 190
    assert [c.name for c in clips] == ["reel.fr.mp4"] * 2 and clips[0].metadata["cmx_3600"]["reel"] == "REELFR"
    assert list(clips[1].metadata["cmx_3600"]["comments"]) == ["SOURCE FILE: reel.fr.mp4", "SHOT: shot_0005"]
    where = [int(m.marked_range.start_time.value) - first for m in clips[0].markers]
    assert where == ([] if drop else [75, 60])  # that reader knows no locator with a semicolon
    assert f"* LOC: {line.timecode(75)} YELLOW  issue, ana: teeth flicker here\r\n" in text


@pytest.mark.parametrize("name", RATES)
def test_a_timeline_reads_back_with_the_same_frames(name: str) -> None:
    line = line_of(name)
    master = Path("/films/a b/reel.fr.mp4")
    read = otio.adapters.read_from_string(otio_json("reel.fr", master, line, edits(), {"title": "reel"}), "otio_json")
    first = Timecode.parse(line.start_tc, line.rate).frames
    assert read.global_start_time == otio.opentime.RationalTime(first, float(line.rate))
    assert read.global_start_time.to_timecode(float(line.rate), "drop" in name) == line.start_tc
    picture, sound = read.tracks
    assert [(c.name, c.source_range.start_time.value - first, c.source_range.duration.value) for c in picture] == [
        ("shot_0002", 60, 130), ("shot_0005", 301, 1)]  # fmt: skip
    reference = picture[0].media_reference
    assert reference.target_url == "file:///films/a%20b/reel.fr.mp4"
    assert (reference.available_range.start_time.value, reference.available_range.duration.value) == (first, 400)
    assert Fraction(reference.available_range.duration.rate).limit_denominator(1001) == line.rate
    markers = picture[0].markers
    assert [(m.color, m.marked_range.start_time.value - first) for m in markers] == [("YELLOW", 75), ("RED", 60)]
    assert markers[1].metadata["dub"]["frame"] == 50 and markers[0].metadata["dub"]["text"] == "teeth flicker\nhere"
    assert dict(picture[0].metadata["dub"]) == {"lse_d": 6.5} and picture[1].markers[0].color == "PURPLE"
    assert sound.kind == "Audio" and sound[0].source_range == reference.available_range


def test_variable_frame_rate_is_counted_as_its_timecode_counts() -> None:
    """Frames of 1/20 and of 1/40 s in turn, at a nominal 25: the same numbers as in shots.parquet."""
    pts = np.cumsum(np.tile([50, 25], 200)) - 50
    line = Timeline(pts, Fraction(1, 1000), int(pts[-1]) + 25, Fraction(25), "01:00:00:00")
    text = edl("t", "T", "t.mkv", line, edits())
    assert "01:00:02:10 01:00:07:15 01:00:02:10 01:00:07:15" in text
    read = otio.adapters.read_from_string(otio_json("t", Path("/t.mkv"), line, edits(), {}), "otio_json")
    assert [c.source_range.start_time.value - 90000 for c in read.tracks[0]] == [60, 301]


def test_an_edl_without_a_change_and_one_with_very_many() -> None:
    line = line_of("24", 5000)
    assert edl("none", "R", "r.mp4", line, []) == "TITLE: none\r\nFCM: NON-DROP FRAME\r\n"
    otio.adapters.read_from_string(edl("none", "R", "r.mp4", line, []), "cmx_3600", rate=24)
    many = [Edit(f"shot_{n:04d}", 2 * n, 2 * n + 2) for n in range(1200)]
    read = otio.adapters.read_from_string(edl("many", "R", "r.mp4", line, many), "cmx_3600", rate=24)
    assert len(list(read.find_clips())) == 1200


@pytest.mark.parametrize(
    ("title", "language", "name"),
    [("reel", "fr", "REELFR"), ("the_long_title-2", "pt-BR", "THELPTBR"), ("reel", "sr-Latn-RS", "RESRLATN")],
)
def test_a_reel_is_at_most_eight_letters(title: str, language: str, name: str) -> None:
    assert reel_name(title, language) == name and len(name) <= 8


# -- what changed, and who decided it -------------------------------------------------------------


def history(*said: tuple[str, str, dict[str, Any]]) -> Any:
    key = ("reel", "fr", "shot_0001")
    return standing_of([Decision(n, f"t{n}", who, *key, kind, **about)  # type: ignore[arg-type]
                        for n, (who, kind, about) in enumerate(said, 1)])  # fmt: skip


def test_a_change_names_the_record_that_brought_it_about() -> None:
    def of(was: str | None, now: str | None, *said: tuple[str, str, dict[str, Any]]) -> list[Any]:
        found = changes(Delivered("m", {"s": was}), Delivered("n", {"s": now}), {"s": history(*said)}, {"s": "own"})
        return [(c.was, c.now, c.decided and (c.decided.reviewer, c.decided.kind)) for c in found]

    chosen = ("ana", "choose", {"take": "new", "generator": {"name": "rewrite"}})
    good, bad = ("ben", "approve", {"take": "new"}), ("ben", "reject", {"take": "new"})
    assert of("own", "own", ("ana", "approve", {"take": "own"})) == []
    assert of("own", "new", chosen, good) == [("own", "new", ("ana", "choose"))]
    assert of("own", None, chosen, bad) == [("own", None, ("ben", "reject"))]
    assert of(None, "new", chosen, bad, good) == [(None, "new", ("ben", "approve"))]
    assert of(None, "own", ("ana", "original", {}), ("ana", "undo", {"undoes": 1})) == [(None, "own", ("ana", "undo"))]
    assert of(None, "own") == [(None, "own", None)]  # a run rendered what had failed


def test_deliveries_survive_a_line_cut_off_by_a_crash(tmp_path: Path) -> None:
    log = Deliveries(tmp_path)
    with log.alone():
        log.append("ana", 3, {"reel/fr": Delivered("m", {"shot_0001": None, "shot_0002": "abc"})})
        with log.path.open("ab") as f:
            f.write(b'{"schema": "dub.deliv')
        assert len(log.all()) == 1
        assert log.append("ben", 4, {}).seq == 2
        with pytest.raises(OutputError, match="Another export"), Deliveries(tmp_path).alone():
            pass
    assert [(d.seq, d.reviewer, d.decisions) for d in log.all()] == [(1, "ana", 3), (2, "ben", 4)]
    assert log.all()[0].dubs["reel/fr"].pictures == {"shot_0001": None, "shot_0002": "abc"}
    log.path.write_text("nonsense\n")
    with pytest.raises(OutputError, match="Line 1"):
        log.all()


# -- a film ---------------------------------------------------------------------------------------

TEETH = '=teeth flicker,\n"there" → look'


@dataclass
class Story:
    """film: its manifest; done: the run, before anything was decided; out: after decisions and an export."""

    film: Path
    done: Path
    out: Path
    exported: Exported
    take: str
    events: list[Event]

    def lists(self, name: str) -> Path:
        return self.out / "review" / "export" / name


@pytest.fixture(scope="module")
def story(demo_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """12 frames without a face, then two shots of 72 that speak; of Hindi, a rerun is chosen for the first of them and
    the original kept for the second; Tamil is approved."""
    close = replace(SHORT[1], start=Camera(222, 119, 338, mirror=True), end=Camera(225, 120, 326, mirror=True))
    film = make_demo(tmp_path_factory.mktemp("film"), scenes=(*SHORT, close), size=(480, 270), quiet=True)
    done = tmp_path_factory.mktemp("done") / "out"
    assert run_job(job_of(film, done), "local", lambda e: None).exit_code in (0, 3)
    out = done.with_name("reviewed")
    shutil.copytree(done, out, copy_function=link_or_copy(done, out))
    library = Library(out)
    second, third = ("film", "hi", "shot_0002"), ("film", "hi", "shot_0003")
    choice = GeneratorChoice(name="rewrite", jump_cost=0.3)
    made = rerun(library, [second], choice, "ana", lambda part, stage: None, "local")[0]
    assert made.take is not None and not made.known
    log = library.log
    log.append(second, "choose", "ana", take=made.take, generator={"name": "rewrite", "jump_cost": 0.3})
    log.append(second, "approve", "ben", take=made.take)
    log.append(third, "comment", "ben", text=TEETH, frame=100, severity="blocker")
    said = log.append(third, "comment", "ben", text="never mind", frame=101, severity="note")
    log.append(third, "undo", "ben", undoes=said.seq)
    log.append(third, "original", "ben")
    log.append(("film", "ta", "shot_0002"), "approve", "ana", take=library.find("film", "ta", "shot_0002").takes[0].id)
    events: list[Event] = []
    exported = export(library, "cleo", events.append, "local")
    return Story(film, done, out, exported, made.take, events)


def link_or_copy(old: Path, new: Path) -> Any:
    """Copies, but keeps a master and its published name one file, as a run leaves them."""
    seen: dict[int, str] = {}

    def copy(a: str, b: str) -> None:
        inode = os.stat(a).st_ino
        if inode in seen:
            os.link(seen[inode], b)
        else:
            shutil.copy2(a, b)
            seen[inode] = b

    return copy


def job_of(film: Path, out: Path) -> Job:
    return Job(manifest.load(film), out, config.load())


def master(out: Path, language: str) -> tuple[int, int, bytes]:
    file = out / "film" / language / f"film.{language}.mp4"
    return file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def test_only_the_dub_that_changed_is_mastered_again(story: Story) -> None:
    assert master(story.out, "ta")[1:] == master(story.done, "ta")[1:]
    assert master(story.out, "hi")[2] != master(story.done, "hi")[2]
    assert [e.task_id for e in story.events if e.kind == "started"] == ["master film/hi", "proof film/hi"]
    hi, ta = story.exported.dubs
    assert (hi.remastered, ta.remastered) == (True, False) and ta.changes == ()
    assert [(c.shot, c.now, c.decided and c.decided.reviewer) for c in hi.changes] == [
        ("shot_0002", story.take, "ana"), ("shot_0003", None, "ben")]  # fmt: skip


def test_an_original_shot_is_the_source_bit_for_bit_and_the_others_keep_their_takes(story: Story) -> None:
    """Before the encode, in every plane; and what was delivered looks like it."""
    job = job_of(story.film, story.out)
    title = job.manifest.titles[0]
    task = job.dub(title, title.dubs[0], {}).master
    assert task is not None and job.done(task)
    assert isinstance(task.inputs, MasterInputs)
    source, line = task.inputs.film.path, job.timeline(title)
    folders = [f for take in task.inputs.takes for f in sorted(take.folder.glob("face_*"))]
    chosen = story.out / "film" / "hi" / "takes" / "shot_0002" / story.take / "patch" / "face_1"
    assert chosen in folders
    touched = set(media.patch_frames(chosen)["frame"].to_pylist())
    delivered = media.read(story.out / "film" / "hi" / "film.hi.mp4", line)
    pictures = zip(media.read(source, line), media.pasted_frames(source, line, folders), delivered, strict=True)
    changed = set()
    for was, planes, now in pictures:
        original = planes_of(was.av_frame)
        if any((a != b).any() for a, b in zip(original, planes, strict=True)):
            changed.add(was.frame)
        if was.frame >= 84:
            luma = planes_of(now.av_frame)[0].astype(float)
            assert 10 * np.log10(255**2 / ((luma - original[0]) ** 2).mean()) > 40
    assert changed == touched and touched and max(touched) < 84
    row = read_rows(story.out / "film" / "hi" / "shots.parquet")[2]
    assert (row["status"], row["reason"], row["take"]) == ("untouched", "excluded", None)


def test_a_run_afterwards_keeps_to_the_decisions(story: Story) -> None:
    before = master(story.out, "hi"), master(story.out, "ta")
    report = run_job(job_of(story.film, story.out), "local", lambda e: None)
    assert report.run_json["done_now"] == 0
    assert (master(story.out, "hi"), master(story.out, "ta")) == before


def test_csv_and_parquet_say_the_same(story: Story) -> None:
    for language in ("hi", "ta"):
        table = pq.read_table(story.lists(f"film.{language}.decisions.parquet"))
        assert table.schema.metadata[b"schema"] == b"dub.review.2"
        told = rows(story.lists(f"film.{language}.decisions.csv"))
        assert list(told[0]) == table.schema.names
        for plain, row in zip(told, table.to_pylist(), strict=True):
            for name, value in row.items():
                text = plain[name].removeprefix("'")
                if value is None:
                    assert text == ""
                elif isinstance(value, bool):
                    assert text == str(value).lower()
                elif isinstance(value, float):
                    assert float(text) == pytest.approx(value, rel=1e-5)
                else:
                    assert text == str(value)
    hi = pq.read_table(story.lists("film.hi.decisions.parquet")).to_pylist()
    assert [(r["verdict"], r["by"], r["chosen"], r["chosen_by"], r["delivered"], r["changed"]) for r in hi] == [
        (None, None, None, None, "source", False), ("approved", "ben", story.take, "ana", "take", True),
        ("original", "ben", None, None, "source", True)]  # fmt: skip
    assert hi[2]["comments"] == '01:00:04:04 blocker, ben: =teeth flicker, "there" → look'
    assert (hi[2]["start_tc"], hi[2]["comment_severity"]) == ("01:00:03:12", "blocker")
    scored = read_rows(story.out / "film" / "hi" / "shots.parquet")[1]
    assert hi[1]["lse_d"] == scored["lse_d"] and hi[1]["source_lse_d"] == scored["source_lse_d"]


def test_comments_and_redelivery_are_listed(story: Story) -> None:
    said = rows(story.lists("film.hi.comments.csv"))
    assert [(r["timecode"], r["frame"], r["severity"], r["reviewer"], r["text"], r["undone"]) for r in said] == [
        ("01:00:04:04", "100", "blocker", "ben", "'" + TEETH, "false"),
        ("01:00:04:05", "101", "note", "ben", "never mind", "true")]  # fmt: skip
    assert rows(story.lists("film.ta.comments.csv")) == []
    again = rows(story.lists("film.hi.redelivery.csv"))
    own = read_rows(story.done / "film" / "hi" / "shots.parquet")
    names = ("shot", "start_tc", "end_tc", "frames", "was", "now", "decided_by")
    assert [tuple(r[name] for name in names) for r in again] == [
        ("shot_0002", "01:00:00:12", "01:00:03:12", "72", own[1]["take"], story.take, "ana"),
        ("shot_0003", "01:00:03:12", "01:00:06:12", "72", own[2]["take"], "source picture", "ben")]  # fmt: skip
    assert [(r["was_generator"], r["now_generator"]) for r in again] == [
        ("rewrite", "rewrite jump_cost=0.3"), ("rewrite", "")]  # fmt: skip
    assert rows(story.lists("film.ta.redelivery.csv")) == []


def test_the_film_s_timeline_and_changes_open_in_otio(story: Story) -> None:
    rate, first = 24000 / 1001, 86400
    whole = otio.adapters.read_from_file(str(story.lists("film.hi.otio")))
    spans = [(c.name, c.source_range.start_time.value - first, c.source_range.duration.value) for c in whole.tracks[0]]
    assert spans == [("shot_0001", 0, 12), ("shot_0002", 12, 72), ("shot_0003", 84, 72)]
    assert whole.tracks[0].duration().rate == rate and whole.duration().value == 156
    assert Path(whole.tracks[0][0].media_reference.target_url.removeprefix("file://")).samefile(
        story.out / "film" / "hi" / "film.hi.mp4")  # fmt: skip
    assert [(m.color, m.marked_range.start_time.value - first) for m in whole.tracks[0][2].markers] == [
        ("PURPLE", 84), ("RED", 100)]  # fmt: skip
    assert whole.tracks[0][1].metadata["dub"]["take"] == story.take
    assert whole.tracks[0][1].metadata["dub"]["lse_d"] > 0
    changed = otio.adapters.read_from_file(str(story.lists("film.hi.changed.edl")), rate=rate)
    assert [(c.source_range.start_time.value - first, c.source_range.duration.value) for c in changed.find_clips()] == [
        (12, 72), (84, 72)]  # fmt: skip
    report = story.lists("report.html").read_text(encoding="utf-8")
    changed_rows = report[report.index("What this delivery changed") : report.index("How well the lips fit")]
    assert changed_rows.count("<tr>") == 3 and story.take in changed_rows and "source picture" in changed_rows
    none = otio.adapters.read_from_file(str(story.lists("film.ta.changed.edl")), rate=rate)
    assert list(none.find_clips()) == []


def test_a_second_export_changes_nothing_and_an_earlier_one_can_be_named(story: Story, tmp_path: Path) -> None:
    before = master(story.out, "hi"), master(story.out, "ta")
    args = ["export", str(story.out), "--engine", "local", "--reviewer", "dan", "--to", str(tmp_path / "lists")]
    done = CliRunner().invoke(dub, args)
    assert "Nothing has changed since delivery 1" in done.stdout and done.stdout.count("(unchanged)") == 2
    assert (master(story.out, "hi"), master(story.out, "ta")) == before
    assert rows(tmp_path / "lists" / "film.hi.redelivery.csv") == []
    again = CliRunner().invoke(dub, [*args, "--since", "0", "--json"])
    said = json.loads(again.stdout)
    hi, ta = said["dubs"]
    assert again.exit_code == done.exit_code and (hi["since"], ta["changed"]) == ("the run", [])
    assert [(c["shot"], c["now"], c["by"]) for c in hi["changed"]] == [
        ("shot_0002", story.take, "ana"), ("shot_0003", "source picture", "ben")]  # fmt: skip
    assert {Path(f).parent for f in said["files"]} == {tmp_path / "lists"} and len(said["files"]) == 13
    assert len(rows(tmp_path / "lists" / "film.hi.redelivery.csv")) == 2
    log = Deliveries(story.out).all()
    assert [d.reviewer for d in log] == ["cleo", "dan", "dan"]
    assert log[0].dubs == log[2].dubs


def test_what_cannot_be_exported_is_refused_in_one_sentence(story: Story, tmp_path: Path) -> None:
    library = Library(story.out)
    with pytest.raises(InputError, match="no delivery 99"):
        export(library, "ana", lambda e: None, "local", since=99)
    with pytest.raises(InputError, match="needs its reviewer's name"):
        export(library, " ", lambda e: None, "local")
    (tmp_path / "file").touch()
    told: list[Event] = []
    with pytest.raises(OutputError, match="file' cannot be written"):
        export(library, "ana", told.append, "local", tmp_path / "file")
    assert not told  # before anything was mastered
    (tmp_path / "out").mkdir()
    shutil.copy(story.out / "run.json", tmp_path / "out" / "run.json")
    with pytest.raises(OutputError, match="is not finished"):
        export(Library(tmp_path / "out"), "ana", lambda e: None, "local")
    assert not list((tmp_path / "out").glob("film/*/shots.parquet"))
    other = tmp_path / "other"  # as if the generator had other settings now
    shutil.copytree(story.done, other)
    run = other / "run.json"
    asked = json.loads(run.read_text())
    asked["manifest"]["generator"] = {"name": "rewrite", "jump_cost": 0.7}
    run.write_text(json.dumps(asked))
    events: list[Event] = []
    with pytest.raises(OutputError, match="other settings"):
        export(Library(other), "ana", events.append, "local")
    assert not events and Deliveries(other).all() == []
    run = tmp_path / "out" / "run.json"
    run.write_text(run.read_text().replace("film.mp4", "gone.mp4"))
    with pytest.raises(InputError, match="gone.mp4"):
        export(Library(tmp_path / "out"), "ana", lambda e: None, "local")


def test_killed_in_the_middle_of_mastering_the_old_master_is_whole(story: Story, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(story.done, out, copy_function=link_or_copy(story.done, out))
    Library(out).log.append(("film", "hi", "shot_0003"), "original", "ana")
    old = master(out, "hi")
    command = [sys.executable, "-m", "dubbing", "export", str(out), "--engine", "local", "--reviewer", "ana"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(out.glob("film/hi/.part-*master*/film.hi.mp4")), process.poll)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and list(out.glob("film/hi/.part-*"))
    assert master(out, "hi") == old and Deliveries(out).all() == []
    assert len(media.timeline(out / "film" / "hi" / "film.hi.mp4")) == 156
    done = export(Library(out), "ana", lambda e: None, "local")
    assert [(c.shot, c.now) for c in done.dubs[0].changes] == [("shot_0003", None)] and done.dubs[0].remastered
    assert master(out, "hi")[2] != old[2] and not list(out.rglob(".part-*"))
