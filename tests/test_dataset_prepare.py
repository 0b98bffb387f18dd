"""Source folders become data folders: every layout, each film decoded once, whatever happens in between."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Dub, code_of
from films import Finished, plain_job

from dubbing.dataset import pieces
from dubbing.dataset.layouts import Splits, find
from dubbing.dataset.prepare import Settings, prepare, refusal
from dubbing.dataset.segment import Run
from dubbing.dataset.shards import Dataset
from dubbing.engine import Event
from dubbing.media import ClipWriter, read_sound
from dubbing.media.film import Film

pytestmark = pytest.mark.long
SETTINGS = Settings(size=64)


@pytest.fixture(scope="module")
def corpus(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LRS2's layout: one speaker who is seen and heard, and one clip of each kind that is no use."""
    root = tmp_path_factory.mktemp("lrs2")
    speaks, made = film.parent / "film.mp4", tmp_path_factory.mktemp("made")
    plain_job(made, {}, 30)
    tone = (0.2 * np.sin(np.arange(16_000))).astype(np.float32)[:, None]
    with ClipWriter(made / "mute.mp4", 128, 96) as clip:
        for _ in range(30):
            clip.frame(np.full((96, 128, 3), 90, np.uint8))
    with ClipWriter(made / "heard.mp4", sample_rate_hz=16_000, channels=1) as clip:
        clip.sound(tone)
    (made / "cut.mp4").write_bytes(speaks.read_bytes()[:20_000])
    for name, file in {
        "main/anna/00001": speaks, "main/bela/00001": made / "cut.mp4", "main/carl/00001": made / "mute.mp4",
        "main/dora/00001": made / "film.mp4", "pretrain/emil/00001": made / "heard.mp4",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / f"{name}.mp4")
        (root / f"{name}.txt").write_text("Text:  SOMETHING SAID\n")
    (root / "test.txt").write_text("anna/00001 NF\n")
    (root / "train.txt").write_text("bela/00001\ncarl/00001\ndora/00001\n")
    return root


def test_a_corpus_from_the_command_line(corpus: Path, tmp_path: Path, dub: Dub) -> None:
    """What is used, what is not and why, in the card, in the table, and in the exit code."""
    out = tmp_path / "data"
    args = ("dataset", "prepare", corpus, "--out", out, "--engine", "local", "--size", "64")
    code, told, err = dub(*args, "--note", "made for a test")
    assert code == 1 and "main/bela/00001:" in err, err
    for words in ("1 sample,", "made for a test", "| 1 | no_face |", "| 1 | unreadable |", "No speaker is in train"):
        assert words in told, told
    card = json.loads(dub("dataset", "show", out, "--json")[1])
    assert (card["layout"], card["clips"]) == ("lrs2", {"found": 5, "used": 1, "rejected": 3, "unreadable": 1})
    assert card["rejected"] == {"no_face": 1, "no_picture": 1, "no_sound": 1, "unreadable": 1}
    assert [b["id"] for b in card["broken"]] == ["main/bela/00001"]
    assert card["splits"]["test"]["names"] == ["anna"] and card["note"] == "made for a test"
    rows = {r["id"]: r for r in pq.read_table(out / "clips.parquet").to_pylist()}
    assert rows["main/carl/00001"]["reason"] == "no_sound" and rows["pretrain/emil/00001"]["reason"] == "no_picture"
    assert rows["main/anna/00001"]["samples"] == 1 and abs(rows["main/anna/00001"]["offset_frames"]) <= 3
    assert cv2.imread(str(out / "sheet.jpg")).shape[1] > 500
    before = tree(out)
    code, told, err = dub(*args, "--json")
    assert code == 1 and json.loads(told)["note"] == "made for a test", "again: the note stays, and nothing is made"
    assert {k: v for k, v in tree(out).items() if k[-8:] == ".parquet"} == {
        k: v for k, v in before.items() if k[-8:] == ".parquet"
    }


def tree(folder: Path) -> dict[str, str]:
    """Every file with the hash of its content."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def shards_of(folder: Path) -> dict[str, str]:
    return {k: v for k, v in tree(folder).items() if k.endswith(".parquet") and k != "clips.parquet"}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Frames of each film that the decoder gave, by file name."""
    count: Counter[str] = Counter()
    real: Callable[..., Iterator[object]] = Film.decoded

    def counted(self: Film, *args: object, **more: object) -> Iterator[object]:
        for frame in real(self, *args, **more):
            count[self.path.name] += 1
            yield frame

    monkeypatch.setattr(Film, "decoded", counted)
    return count


@pytest.fixture(scope="module")
def two(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips: a speaker's, and one without a face."""
    root = tmp_path_factory.mktemp("clips")
    (root / "Łucja").mkdir()
    shutil.copyfile(film.parent / "film.mp4", root / "Łucja/take 1.mp4")
    plain_job(root, {}, 30, video="wall.mp4")
    (root / "job.yaml").unlink()
    return root


@pytest.fixture(scope="module")
def undisturbed(two: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    prepare(two, out, SETTINGS)
    return out


def test_a_clip_is_decoded_once_and_holds_what_was_seen_and_heard(
    two: Path, tmp_path: Path, decoded: Counter[str]
) -> None:
    made = prepare(two, tmp_path / "data", SETTINGS)
    assert dict(decoded) == {"take 1.mp4": 84, "wall.mp4": 30}
    data = Dataset(tmp_path / "data")
    (sample,) = data.samples
    assert (made.layout, sample.id, sample.speaker, sample.source) == ("clips", "Łucja/take 1", "Łucja", "Łucja/take 1")
    (wall, one) = made.looked
    assert (wall.id, wall.status, wall.reason) == ("wall", "rejected", "no_face")
    clip = data.load(sample, tail=8000)
    assert clip.faces_NHWC.shape[1:] == (64, 64, 3) and 65 <= sample.frames <= 75
    # the speaker is seen from frame 12 on: what leads in is the film's own sound
    start = round(one.about[0]["start_s"] * 25)
    assert 10 <= start <= 16 and clip.lead == min(8000, start * 640)
    sound = read_sound(two / "Łucja/take 1.mp4")
    heard = np.pad(sound, (0, 640))[start * 640 - clip.lead :][: len(clip.wave)]  # its sound ends within the last frame
    np.testing.assert_allclose(clip.wave, heard, atol=2e-4)
    lips = clip.lips_N4
    assert (lips[:, 2] > lips[:, 0]).all() and 0.5 < lips[:, 1].mean() < 0.8 and 0.35 < lips[:, ::2].mean() < 0.65
    assert np.ptp(clip.shapes_NP2[..., 1], axis=1).std() > 0.01, "the mouth moves"


def test_killed_and_run_again_it_goes_on_and_gives_the_same(two: Path, undisturbed: Path, tmp_path: Path) -> None:
    out, begun = tmp_path / "data", []

    def kill(event: Event) -> None:
        begun.append(event.task_id) if event.kind == "started" else None
        if event.kind == "finished":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(two, out, SETTINGS, on_event=kill)
    again: list[str] = []
    prepare(two, out, SETTINGS, on_event=lambda e: again.append(e.task_id) if e.kind == "started" else None)
    assert len(begun) == 1 and len(again) == 1 and begun != again
    assert shards_of(out) == shards_of(undisturbed) and not list(out.rglob(".part-*"))


@pytest.mark.ray
def test_both_engines_give_the_same_bytes(two: Path, undisturbed: Path, tmp_path: Path) -> None:
    prepare(two, tmp_path / "data", SETTINGS, engine="ray")
    assert shards_of(tmp_path / "data") == shards_of(undisturbed)


def test_a_setting_does_again_only_what_it_touches(two: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    shutil.copytree(undisturbed, out)
    started: list[str] = []

    def watch(event: Event) -> None:
        started.append(event.task_id) if event.kind == "started" else None

    before = Dataset(out)
    prepare(two, out, replace(SETTINGS, splits=Splits(0.0, 1.0)), on_event=watch)
    after = Dataset(out)
    assert not started and [s.split for s in after.samples] == ["test"] and after.hash != before.hash
    assert len(list((out / "shards").iterdir())) == 1, "the old shard is gone"
    prepare(two, out, replace(SETTINGS, max_offset_frames=0.0, longest_s=10.0), on_event=watch)
    assert not started, "what is rejected is not cut again"
    prepare(two, out, SETTINGS, on_event=watch)
    assert shards_of(out) == shards_of(undisturbed)


def test_a_deleted_shard_costs_its_own_clips(two: Path, undisturbed: Path, tmp_path: Path) -> None:
    out, started = tmp_path / "data", []
    shutil.copytree(undisturbed, out)
    next((out / "shards").iterdir()).unlink()
    prepare(two, out, SETTINGS, on_event=lambda e: started.append(e.task_id) if e.kind == "started" else None)
    assert started == ["clip Łucja/take 1"] and shards_of(out) == shards_of(undisturbed)


def test_finished_titles_are_cut_in_one_pass(finished: Finished, tmp_path: Path, decoded: Counter[str]) -> None:
    made = prepare(finished.out, tmp_path / "data", SETTINGS, titles=["film"])
    data = Dataset(tmp_path / "data")
    assert made.layout == "titles" and len(data.samples) >= 1
    assert 60 <= decoded["film.mp4"] <= 84
    (sample, *_) = data.samples
    assert sample.speaker.startswith("film/") and sample.source == "film"
    clip, at = data.load(sample), round(made.looked[0].about[0]["start_s"] * 25)
    assert clip.lead == min(8000, at * 640) and 11 <= at <= 30
    assert 0.5 < clip.lips_N4[:, 1].mean() < 0.8
    assert abs(made.looked[0].about[0]["offset_frames"]) <= 3


def test_a_source_of_which_nothing_can_be_used(tmp_path: Path, dub: Dub) -> None:
    plain_job(tmp_path, {}, 30, video="wall.mp4")
    code, told, err = dub("dataset", "prepare", tmp_path, "--out", tmp_path / "data", "--engine", "local")
    assert code == 2 and "no clip of" in err and "(1 no_face)" in err and "0 samples" in told
    assert dub("dataset", "show", tmp_path / "data")[0] == 0 and Dataset(tmp_path / "data").samples == ()


def test_what_is_no_source(tmp_path: Path, two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.doc").touch()
    for args, words in (
        ((two, "--title", "reel"), "no title 'reel'; it is of layout clips, which has none"),
        ((tmp_path / "notes",), "has no layout that is known: it holds 1 file (.txt); expected: LRS2 ("),
        ((tmp_path / "absent",), "is not there; expected"),
        ((two, "--layout", "voxceleb2"), "has not the layout voxceleb2: it holds 1 folder (Łucja) and 1 file (.mp4)"),
        ((two, "--val", "0.7", "--test", "0.5"), "more than all speakers"),
        ((two, "--shortest", "4", "--longest", "2"), "--shortest 4 is more than --longest 2"),
        ((two, "--out", tmp_path / "mine"), "holds something else (diary.doc)"),
    ):
        out = () if "--out" in args else ("--out", tmp_path / "data")
        assert code_of("dataset", "prepare", *args, *out, "--engine", "local") == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1, err
    assert not (tmp_path / "data").exists()
    assert code_of("dataset", "show", two) == 2 and "is no data folder" in capsys.readouterr().err


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_voxceleb2s_layout(tmp_path: Path) -> None:
    names = ("dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "dev/mp4/id00012/21Uxsk56VDQ/00002.mp4",
             "test/mp4/id00017/01dfn2spqyE/00001.mp4", "test/mp4/id00017/01dfn2spqyE/00001.m4a")  # fmt: skip
    layout, sources = find(touched(tmp_path, *names))
    assert layout == "voxceleb2" and [(s.speaker, s.split) for s in sources] == [
        ("id00012", None), ("id00012", None), ("id00017", "test")
    ]  # fmt: skip
    assert sources[2].id == "test/mp4/id00017/01dfn2spqyE/00001"
    assert [s.speaker for s in find(tmp_path / "dev/mp4")[1]] == ["id00012"] * 2, "a part of it"


def test_lrs2s_own_lists_win_and_no_speaker_is_in_two_splits(tmp_path: Path) -> None:
    clips = ("main/anna/00001", "main/anna/00002", "main/bela/00001", "pretrain/anna/00001", "pretrain/carl/00001")
    touched(tmp_path, *(f"{c}.mp4" for c in clips), *(f"{c}.txt" for c in clips), "main/anna/notes.mp4")
    bare = find(tmp_path)[1]
    assert [s.id for s in bare] == sorted(clips) and {s.split for s in bare} == {None}
    (tmp_path / "train.txt").write_text("anna/00001\n")
    (tmp_path / "val.txt").write_text("bela/00001\n")
    (tmp_path / "test.txt").write_text("anna/00002 NF\n")
    layout, sources = find(tmp_path)
    assert layout == "lrs2"
    assert {s.id: s.split for s in sources} == dict(zip(clips, ("train", "test", "val", "train", "train"), strict=True))
    assert Splits(0.5, 0.5).assign(sources) == {"anna": "test", "bela": "val", "carl": "train"}
    refused = {
        s.id for s in sources if refusal({"offset_frames": 0.0}, s, Splits().assign(sources)[s.speaker], SETTINGS)
    }
    assert refused == {"main/anna/00001", "pretrain/anna/00001"}, "her clips of other lists are left out"


def test_clips_by_folder_or_by_name(tmp_path: Path) -> None:
    names = ("one.mov", "one.mp4", "Anna/b/two.MKV", "Anna/.hidden.mp4", "notes.txt")
    layout, sources = find(touched(tmp_path, *names))
    assert layout == "clips"
    assert [(s.id, s.speaker) for s in sources] == [("Anna/b/two", "Anna"), ("one_mov", "one"), ("one_mp4", "one")]


def test_speakers_are_held_out_by_name_alone() -> None:
    names = [f"speaker {n}" for n in range(2000)]
    few, many = Splits(0.1, 0.1), Splits(0.3, 0.1)
    parts = Counter(few.of(n) for n in names)
    assert 150 < parts["val"] < 250 and 150 < parts["test"] < 250
    assert few.of("speaker 7") == Splits(0.1, 0.1).of("speaker 7")
    assert all(many.of(n) == few.of(n) for n in names if few.of(n) != "train"), "a larger part only adds to it"


def face_run(face: int, start: int, frames: int, height: float = 100.0) -> Run:
    mesh, boxes = np.zeros((frames, 478, 3), np.float32), np.zeros((frames, 4))
    return Run(face, start, mesh, boxes, (b"",) * frames, height)


def test_who_of_several_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    says = {0: 2.0, 1: 0.3, 2: 1.8}
    monkeypatch.setattr(pieces, "speaks", lambda run, sound, expert: says[run.face])

    def told(*runs: Run) -> tuple[list[tuple[int, int]], dict[str, int]]:
        lost: Counter[str] = Counter()
        return [(r.face, r.start) for r in pieces.chosen(runs, None, None, lost)], dict(lost)  # type: ignore[arg-type]

    first, second = face_run(0, 0, 50), face_run(1, 0, 60)
    assert told(first, second) == ([(0, 0)], {}), "lips tell"
    assert told(first, face_run(2, 20, 60)) == ([], {"several_faces": 80}), "both could be"
    assert told(second, face_run(1, 70, 30)) == ([(1, 0), (1, 70)], {}), "one face in two stretches is no rival"
    assert told(second, face_run(2, 100, 30)) == ([(1, 0), (2, 100)], {}), "one after the other"
    assert told(second, face_run(0, 0, 60, 40.0)) == ([(1, 0)], {}), "who stands far behind is no rival"


def test_a_long_clip_is_held_in_parts(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part ends nothing is lost: pieces follow each other, with real sound before them."""
    monkeypatch.setattr("dubbing.dataset.clip.SEGMENT_FRAMES", 45)
    made = prepare(two, tmp_path / "data", replace(SETTINGS, longest_s=1.0))
    about = made.looked[1].about
    ends = [round(p["start_s"] * 25) + p["frames"] for p in about]
    assert 45 in ends and [round(p["start_s"] * 25) for p in about[1:]] == ends[:-1]
    data = Dataset(tmp_path / "data")
    assert [s.id for s in data.samples] == [f"Łucja/take 1.{n + 1:02d}" for n in range(len(about))]
    later = data.load(data.samples[-1])
    assert later.lead == 8000 and np.abs(later.wave[:8000]).max() > 0.01
