"""What reviewers decide is appended, survives crashes, and is never lost to somebody else's decision."""

import itertools
import json
import multiprocessing
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import NET_S

from dubbing.artifacts.people import names_of, spans_of
from dubbing.decisions import FILE, Conflict, DecisionLog, standing_of
from dubbing.errors import InputError, OutputError
from dubbing.records import Shot

KEY = ("reel", "fr", "shot_0003")
OTHER = ("reel", "ja", "shot_0003")
SAID = {"text": "x", "severity": "note", "frame": 7}
TAKE, SECOND = "0123456789ab", "ba9876543210"


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog(tmp_path)


def test_a_shot_of_which_nothing_was_said_delivers_its_take(log: DecisionLog) -> None:
    now = log.of(KEY)
    assert (now.verdict, now.take, now.revision, now.comments) == (None, None, 0, ())
    assert not now.delivers_source(TAKE) and not now.approves(TAKE)


def test_the_newest_verdict_holds_and_says_whose_it_is(log: DecisionLog) -> None:
    log.append(KEY, "approve", "Ana", take=TAKE)
    log.append(KEY, "reject", "Bo", take=TAKE)
    now = log.of(KEY)
    assert (now.verdict, now.by, now.about, now.revision) == ("rejected", "Bo", TAKE, 2)
    assert now.delivers_source(TAKE) and not now.delivers_source(SECOND)
    assert log.of(OTHER).revision == 0


def test_original_holds_for_every_take_and_approval_for_the_one_that_was_seen(log: DecisionLog) -> None:
    log.append(KEY, "original", "Ana")
    assert log.of(KEY).delivers_source(TAKE) and log.of(KEY).delivers_source(SECOND)
    log.append(KEY, "approve", "Ana", take=TAKE)
    assert log.of(KEY).approves(TAKE) and not log.of(KEY).approves(SECOND)


def test_choosing_another_take_ends_the_verdict_on_the_one_before(log: DecisionLog) -> None:
    log.append(KEY, "reject", "Ana", take=TAKE)
    log.append(KEY, "choose", "Ana", take=SECOND, generator={"name": "wav2lip"})
    now = log.of(KEY)
    assert (now.verdict, now.about, now.by) == ("chosen", SECOND, "Ana")
    assert (now.take, now.chosen_by, now.generator) == (SECOND, "Ana", {"name": "wav2lip"})
    log.append(KEY, "original", "Bo")
    now = log.of(KEY)
    assert (now.verdict, now.by, now.take, now.chosen_by) == ("original", "Bo", SECOND, "Ana")


def test_undo_takes_back_what_was_said_last_and_leaves_the_record(log: DecisionLog) -> None:
    log.append(KEY, "approve", "Ana", take=TAKE)
    second = log.append(KEY, "reject", "Ana", take=TAKE)
    log.append(KEY, "undo", "Ana", undoes=second.seq)
    now = log.of(KEY)
    assert now.verdict == "approved" and len(now.history) == 3 and now.revision == 3
    with pytest.raises(InputError, match="undone already"):
        log.append(KEY, "undo", "Ana", undoes=second.seq)
    with pytest.raises(InputError, match="only they"):
        log.append(KEY, "undo", "Bo", undoes=1)
    with pytest.raises(InputError, match="no decision 99"):
        log.append(KEY, "undo", "Ana", undoes=99)


def test_reasons_and_drawings_are_kept_and_older_logs_are_read(log: DecisionLog) -> None:
    log.append(KEY, "approve", "Ana", take=TAKE)
    old = log.path.read_text("utf-8")
    assert "reasons" not in old and "drawing" not in old  # as versions wrote it that knew neither
    drawing = (((0.25, 0.5), (0.5, 0.5)), ((1.0, 0.0),))
    log.append(KEY, "comment", "Ana", **SAID, drawing=drawing)
    log.append(KEY, "reject", "Ana", take=TAKE, reasons=("teeth", "wrong_face"))
    now = DecisionLog(log.path.parent.parent).of(KEY)
    assert now.reasons == ("teeth", "wrong_face") and now.comments[0].drawing == drawing
    assert [r.reasons for r in now.history] == [(), (), ("teeth", "wrong_face")]


def test_comments_stand_beside_each_other_and_conflict_with_nothing(log: DecisionLog) -> None:
    log.append(KEY, "comment", "Ana", text="teeth", severity="issue", frame=7)
    log.append(KEY, "approve", "Bo", take=TAKE, expected=0)
    two = log.append(KEY, "comment", "Cy", text="line\nbreak — ü", severity="blocker", frame=8)
    assert [c.text for c in log.of(KEY).comments] == ["teeth", "line\nbreak — ü"]
    log.append(KEY, "undo", "Cy", undoes=two.seq)
    assert [c.text for c in log.of(KEY).comments] == ["teeth"]


def test_who_decides_on_an_old_look_is_told_and_nothing_is_lost(log: DecisionLog) -> None:
    log.append(KEY, "approve", "Ana", take=TAKE, expected=0)
    with pytest.raises(Conflict, match="Ana has said 'approve'"):
        log.append(KEY, "reject", "Bo", take=TAKE, expected=0)
    log.append(OTHER, "reject", "Bo", take=TAKE, expected=0)
    log.append(KEY, "reject", "Bo", take=TAKE, expected=1)
    assert [r.kind for r in log.of(KEY).history] == ["approve", "reject"]


@pytest.mark.parametrize(
    ("kind", "about", "what"),
    [
        ("approve", {}, "name it"),
        ("choose", {}, "name it"),
        ("comment", {"severity": "note"}, "needs a text"),
        ("comment", {"text": "x", "severity": "awful"}, "note, issue, blocker"),
        ("comment", {"text": "x" * 5000, "severity": "note"}, "4000"),
        ("like", {}, "There is no decision 'like'"),
        ("reject", {"take": TAKE, "reasons": ("nose",)}, "There is no reason 'nose'"),
        ("reject", {"take": TAKE, "reasons": ("jaw", "jaw")}, "given once"),
        ("approve", {"take": TAKE, "reasons": ("jaw",)}, "Only a rejection"),
        ("original", {"drawing": (((0.1, 0.2),),)}, "Only a comment"),
        ("comment", {**SAID, "drawing": (((0.1, 1.2),),)}, "0 to 1"),
        ("comment", {**SAID, "drawing": (((0.1, float("nan")),),)}, "0 to 1"),
        ("comment", {**SAID, "drawing": ((),)}, "none of them empty"),
        ("comment", {**SAID, "drawing": (((0.1, 0.2),),) * 41}, "41 strokes"),
        ("comment", {**SAID, "drawing": (((0.1, 0.2),) * 2001,)}, "2001 points"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_and_not_written(log, kind, about, what) -> None:
    with pytest.raises(InputError, match=what):
        log.append(KEY, kind, "Ana", **about)
    with pytest.raises(InputError, match="reviewer"):
        log.append(KEY, "original", " ")
    assert not log.path.exists() or log.path.read_bytes() == b""


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\0b", "two\nlines", "half \ud83d"])
def test_what_is_no_name_is_refused(log: DecisionLog, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        log.append(KEY, "original", name)
    assert log.records() == []


@pytest.mark.parametrize("text", ["half \ud83d", "a\0b"])
def test_a_text_that_no_file_can_keep_is_refused(log: DecisionLog, text: str) -> None:
    with pytest.raises(InputError, match="write it again"):
        log.append(KEY, "comment", "Ana", text=text, severity="note")
    log.append(KEY, "comment", "அனா \u200d", text="several\nlines\x0b🙂", severity="note")
    assert [c.text for c in log.of(KEY).comments] == ["several\nlines\x0b🙂"]


def test_who_saw_decisions_that_are_gone_is_told(log: DecisionLog) -> None:
    with pytest.raises(Conflict, match="shot_0003 has become undecided since"):
        log.append(KEY, "original", "Ana", expected=7)


def test_a_full_disk_is_told_in_one_sentence_and_keeps_no_half_record(log: DecisionLog) -> None:
    log.append(KEY, "comment", "Ana", text="first", severity="note")
    before = log.path.read_bytes()
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (len(before) + 50, held[1])
    )  # no file may grow beyond: a line does not fit
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            log.append(KEY, "comment", "Ana", text="x" * 1000, severity="note")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert log.path.read_bytes() == before
    log.append(KEY, "comment", "Ana", text="second", severity="note")
    assert [c.text for c in log.of(KEY).comments] == ["first", "second"]


def test_another_log_of_the_same_file_sees_what_was_appended(log: DecisionLog, tmp_path: Path) -> None:
    other = DecisionLog(tmp_path)
    assert other.all() == {}
    log.append(KEY, "original", "Ana")
    assert other.of(KEY).verdict == "original" and set(other.all()) == {KEY}
    other.append(KEY, "approve", "Bo", take=TAKE, expected=1)
    assert log.of(KEY).by == "Bo"


def test_a_line_cut_off_by_a_crash_goes_and_everything_before_it_stays(log: DecisionLog, tmp_path: Path) -> None:
    log.append(KEY, "original", "Ana")
    with (tmp_path / FILE).open("ab") as f:
        f.write(b'{"schema": "dub.decision.1", "seq": 2, "rev')
    after = DecisionLog(tmp_path)
    assert after.of(KEY).verdict == "original"
    after.append(OTHER, "original", "Bo")
    lines = (tmp_path / FILE).read_text().splitlines()
    assert [json.loads(x)["seq"] for x in lines] == [1, 2]


def test_a_file_that_somebody_edited_badly_is_named_with_its_line(log: DecisionLog, tmp_path: Path) -> None:
    log.append(KEY, "original", "Ana")
    with (tmp_path / FILE).open("a") as f:
        f.write("what is this\n")
    with pytest.raises(OutputError, match="Line 2 of .*decisions.jsonl"):
        DecisionLog(tmp_path).all()


def test_a_last_line_that_lost_its_end_counts_and_its_number_is_not_given_again(log: DecisionLog) -> None:
    log.append(KEY, "original", "Ana")
    log.append(KEY, "comment", "Ana", **SAID)
    log.path.write_bytes(log.path.read_bytes().rstrip(b"\n"))  # as some editors leave a file
    for read in (log, DecisionLog(log.path.parents[1])):
        assert [r.seq for r in read.records()] == [1, 2]
    assert log.append(KEY, "comment", "Bo", **SAID).seq == 3
    with log.path.open("ab") as f:
        f.write(b'{"schema": "dub.decision.1", "seq": 4, "ti')  # cut off by a crash
    assert [r.seq for r in log.records()] == [1, 2, 3]
    assert log.append(KEY, "comment", "Cy", **SAID).seq == 4
    kept = [json.loads(line)["seq"] for line in log.path.read_bytes().splitlines()]
    assert kept == [1, 2, 3, 4] == [r.seq for r in DecisionLog(log.path.parents[1]).records()]


def test_a_longer_file_in_its_place_is_read_anew(log: DecisionLog, tmp_path: Path) -> None:
    """Its records were read from the middle, and their numbers given again."""
    log.append(KEY, "original", "Ana")
    other = DecisionLog(tmp_path / "other")
    for n in range(5):
        other.append(OTHER, "comment", "Bo", text=str(n) * 50, severity="note")
    log.path.write_bytes(other.path.read_bytes())
    assert log.append(KEY, "comment", "Ana", **SAID).seq == 6
    assert [r.seq for r in DecisionLog(log.path.parents[1]).records()] == [1, 2, 3, 4, 5, 6]
    assert log.of(KEY).verdict is None and log.generation == 1


def _many(folder: str, who: str) -> None:
    log = DecisionLog(folder)
    for n in range(25):
        log.append((who, "fr", f"shot_{n:04d}"), "comment", who, text=str(n), severity="note")


def test_several_processes_lose_none_of_their_records(tmp_path: Path) -> None:
    names = ["Ana", "Bo", "Cy"]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_many, args=(str(tmp_path), name)) for name in names]
    for w in workers:
        w.start()
    for w in workers:
        w.join(NET_S)
        assert w.exitcode == 0
    records = DecisionLog(tmp_path).records()
    assert [r.seq for r in records] == list(range(1, 76))
    for name in names:
        assert [r.text for r in records if r.reviewer == name] == [str(n) for n in range(25)]


def test_several_threads_lose_none_of_their_records(log: DecisionLog) -> None:
    def say(who: str) -> None:
        for n in range(20):
            log.append((who, "fr", f"shot_{n:04d}"), "comment", who, text=str(n), severity="note")
            log.all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(say, ["Ana", "Bo", "Cy", "Di"]))
    assert (
        [r.seq for r in log.records()]
        == list(range(1, 81))
        == [r.seq for r in DecisionLog(log.path.parents[1]).records()]
    )


def test_standing_of_nothing_is_nothing() -> None:
    assert standing_of([]).history == ()


def test_a_name_follows_its_shot_and_goes_where_that_was_cut(log: DecisionLog) -> None:
    log.name("reel", ["shot_0001/face_1", "shot_0002/face_2"], "ANNA", "Ana", [(0, 40), (40, 90)])
    log.name("reel", ["shot_0003/face_1"], "BEN", "Ana", [(90, 120)])
    log.name("old", ["shot_0003/face_1"], "CARL", "Ana")
    cuts = [0, 20, 40, 90, 100, 120]
    shots = spans_of(Shot(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(cuts), 1))
    found = names_of(DecisionLog(log.path.parents[1]).records(), {"reel": shots, "old": shots})
    assert found == {"reel": {"shot_0003/face_2": "ANNA"}, "old": {"shot_0003/face_1": "CARL"}}
    assert found["reel"].gone == ("BEN",)
    log.name("reel", ["shot_0004/face_1"], "BEN", "Ana", [(90, 100)])
    assert names_of(log.records(), {"reel": shots})["reel"].gone == ()


def test_the_newest_name_of_a_face_counts_and_says_nothing_of_shots(log: DecisionLog) -> None:
    log.name("reel", ["shot_0002/face_1", "shot_0004/face_2"], "ANNA", "Ana")
    log.name("reel", ["shot_0004/face_2"], " BORIS ", "Bo")
    log.append(KEY, "approve", "Ana", take=TAKE)
    assert names_of(log.records()) == {"reel": {"shot_0002/face_1": "ANNA", "shot_0004/face_2": "BORIS"}}
    log.name("reel", ["shot_0002/face_1"], "", "Ana")
    assert names_of(log.records()) == {"reel": {"shot_0002/face_1": "", "shot_0004/face_2": "BORIS"}}
    assert log.of(KEY).approves(TAKE)
    for tracks, name in (([], "ANNA"), (["shot_0002/face_1"], "A\nB"), (["shot_0002/face_1"], "x" * 81)):
        with pytest.raises(InputError):
            log.name("reel", tracks, name, "Ana")
