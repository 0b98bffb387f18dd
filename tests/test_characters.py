"""Characters, end to end: each stem drives its own face, several at once, and who is not in sight moves no pixel."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command import Dub
from made import put

from dubbing import config, manifest, media, open_results, verify
from dubbing.artifact import File
from dubbing.artifacts.sound import DubSound, save_speech
from dubbing.artifacts.takes import seen_file
from dubbing.artifacts.turns import TurnList
from dubbing.decisions import DecisionLog
from dubbing.engine import Report, run_job
from dubbing.job import Job
from dubbing.media import ClipWriter
from dubbing.shot_table import read_rows
from dubbing.stages.turns import Turns

pytestmark = pytest.mark.long
HZ = 48_000
BOTH, ALONE = 72, 36  # frames of the two shots: in the first, two speak at once, in the second CARL, whom nobody sees
ANNA, BEN, AGAIN = "shot_0001/face_1", "shot_0001/face_2", "shot_0002/face_1"


def voice(sound: Path, first_s: Fraction, seconds: Fraction) -> np.ndarray:
    """A stretch of a sound, float32 (T,), mono."""
    wave = media.read_sound(sound, HZ)[int(first_s * HZ) :]
    part = np.zeros(int(seconds * HZ), np.float32)
    part[: len(wave)] = wave[: len(part)]
    return part


def write(path: Path, wave: np.ndarray) -> None:
    with ClipWriter(path, sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(wave[:, None].astype(np.float32))


@pytest.fixture(scope="module")
def made(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a film, its three stems and its manifest: ANNA speaks beside BEN, her mirror image, then alone."""
    folder = tmp_path_factory.mktemp("characters")
    source = film.parent / "film.mp4"
    line = media.timeline(source)
    first_s, seconds = line.time(12), Fraction(BOTH) / line.rate
    pictures = [p.bgr() for p in media.read(source, line, 12, 12 + BOTH)]
    own = voice(source, first_s, seconds)
    short = int(Fraction(ALONE) / line.rate * HZ)
    with ClipWriter(folder / "two.mp4", 600, 270, line.rate, sample_rate_hz=HZ, channels=1, crf=12) as clip:
        for p in pictures:
            half = p[:, 90:390]
            clip.frame(np.concatenate([half, cv2.flip(half, 1)], 1))
        for p in pictures[:ALONE]:
            clip.frame(cv2.copyMakeBorder(p, 0, 0, 0, 120, cv2.BORDER_REPLICATE))
        clip.sound(np.concatenate([own, own[:short]])[:, None])
    hi, ta = (voice(film.parent / f"film.{name}.flac", first_s, seconds) for name in ("hi", "ta"))
    late = np.roll(ta, int(0.45 * HZ))  # the two dubs have one rhythm
    none = np.zeros(short, np.float32)
    stems = {
        "ANNA": np.concatenate([hi, none]),
        "BEN": np.concatenate([late, none]),
        "CARL": np.concatenate([0.08 * np.roll(hi, 200), ta[:short]]),  # her voice is heard through, 4 ms later
    }
    for name, wave in stems.items():
        write(folder / f"{name}.wav", wave)
    write(folder / "mix.wav", sum(stems.values()) / 2)
    manifest_of(folder, {})
    return folder


def manifest_of(folder: Path, cast: Mapping[str, Any], name: str = "job.yaml", **changed: Any) -> Path:
    """Writes a manifest of that film. changed: of its dub."""
    dub = {"language": "hi", "audio": "mix.wav", "stems": {n: f"{n}.wav" for n in ("ANNA", "BEN", "CARL")}, **changed}
    title = {"id": "two", "video": "two.mp4", "dubs": [{k: v for k, v in dub.items() if v is not None}]}
    title |= {"cast": cast} if cast else {}
    (folder / name).write_text(json.dumps({"version": 1, "titles": [title]}), encoding="utf-8")
    return folder / name


def run(job: Path) -> Report:
    return run_job(Job(manifest.load(job), job.parent / "out", config.load()), "local", lambda event: None)


def rows(folder: Path, table: str = "shots") -> list[dict[str, Any]]:
    return read_rows(folder / "out" / "two" / "hi" / f"{table}.parquet")


@pytest.fixture(scope="module")
def guessed(made: Path) -> list[dict[str, Any]]:
    """The rows of a run in which nobody has said whose faces these are."""
    assert run(made / "job.yaml").exit_code == 3
    return rows(made)


@pytest.fixture(scope="module")
def report(made: Path, guessed: list[dict[str, Any]]) -> Report:
    """A run in which the faces are named."""
    log = DecisionLog(made / "out")
    log.name("two", [ANNA, AGAIN], "ANNA", "Ana")
    log.name("two", [BEN], "BEN", "Ana")
    return run(made / "job.yaml")


def test_a_face_without_a_name_is_not_guessed(guessed: list[dict[str, Any]]) -> None:
    assert [r["status"] for r in guessed] == ["untouched"] * 2 and all(r["needs_review"] for r in guessed)
    assert "speaks in the original, and nobody said whose stem is its" in guessed[0]["review_reason"]


def test_two_who_speak_at_once_have_each_the_lips_of_its_own_stem(made: Path, report: Report) -> None:
    faces = {f["track"]: f for f in rows(made, "faces")}
    assert {t: (f["character"], f["stem"]) for t, f in faces.items()} == {ANNA: ("ANNA",) * 2, BEN: ("BEN",) * 2}
    (scores,) = (made / "out/two/hi/takes/shot_0001" / rows(made)[0]["take"]).glob("score-*")
    seen = {track: np.load(seen_file(scores, track)) for track in (ANNA, BEN)}
    for track, other in ((ANNA, BEN), (BEN, ANNA)):
        both_N = seen[track]["rendered"] & seen[other]["rendered"]
        assert both_N.sum() > BOTH - 12
        opening = seen[track]["seen"][both_N]
        assert np.corrcoef(opening, seen[track]["wanted"][both_N])[0, 1] > 0.9
        assert np.corrcoef(opening, seen[other]["wanted"][both_N])[0, 1] < 0.3
        assert faces[track]["following"] > 0.9, "judged by its own stem"


def test_who_is_not_in_sight_moves_no_pixel(made: Path, report: Report) -> None:
    row = rows(made)[1]
    assert (row["status"], row["reason"], row["needs_review"]) == ("untouched", "off_screen", False)
    (dub,) = open_results(made / "out").dubs
    assert dub.master is not None
    found = verify(str(dub.master), made / "two.mp4", dub=made / "mix.wav", takes=made / "out")
    assert found.exit_code == 0 and not found.differing


def test_a_voice_heard_through_is_nobody_s(report: Report) -> None:
    (said,) = (n for n in report.summary[0]["notices"] if "heard through" in n)
    assert said.endswith("of CARL's stem hold another's voice, heard through, and move nobody.")


def test_who_is_left_by_name_keeps_the_source(made: Path, report: Report) -> None:
    job = manifest_of(made, {}, "left.yaml", leave={"characters": ["ANNA"]})
    run(job)
    assert [(f["track"], f["character"]) for f in rows(made, "faces")] == [(BEN, "BEN")]


def test_lines_say_who_speaks_where_there_are_no_stems(made: Path, report: Report, tmp_path: Path) -> None:
    (made / "said.csv").write_text(
        "character;in;out\nanna;0;1.2\nBEN;1.0;2.0\nCARL;00:00:03:00;00:00:04:12\n", encoding="utf-8"
    )
    job = Job(manifest.load(made / "job.yaml"), made / "out", config.load())
    task = job.plan(job.manifest.titles[0], {}).get(TurnList, "hi")
    assert task is not None and job.done(task)
    speech = np.array([[0, 40_000], [48_300, 70_000]])  # up to 2.5 s, then in the second shot
    save_speech(tmp_path, 72_000, speech)
    sound = put(tmp_path, DubSound(72_000, 3.9, 2, {}))
    inputs = replace(task.inputs, sound=sound, lines=File(made / "said.csv", ""), spelled=("ANNA", "BEN", "CARL"))
    both, alone = Turns().process(inputs, tmp_path, lambda frames: None).shots
    rate = 24000 / 1001
    says = {face.character: face for face in both.faces}
    assert says["ANNA"].says[0] == (0, round(1.2 * rate)) and says["ANNA"].by == "lines" and not says["ANNA"].sound
    assert says["BEN"].says == ((int(1.0 * rate), round(2.25 * rate)),), "0.25 s beyond his line"
    assert both.doubt is None and says["ANNA"].says[-1][1] == 60, "the rest is by whoever spoke nearest"
    assert not alone.faces and (alone.reason, alone.doubt) == ("off_screen", None)


# -- before a run --------------------------------------------------------------------------------


def test_check_listens_to_each_stem(made: Path, dub: Dub, tmp_path: Path) -> None:
    code, out, _ = dub("check", made / "job.yaml", "--out", tmp_path / "out")
    assert code == 0
    for name in ("ANNA", "BEN", "CARL"):
        assert re.search(rf"hi {name} +{name}\.wav .* [12]\.\d s\n", out), out
    out = dub("check", made / "job.yaml", "--out", tmp_path / "out", "--only", "characters:ANNA")[1]
    assert "hi: only the faces of ANNA\n" in out


@pytest.mark.parametrize(
    ("cast", "changed", "said"),
    [
        ({"ANNA": {}, "BEN": {}}, {}, "'CARL' has a stem and is not in 'cast', which has ANNA, BEN; add it there"),
        ({"ANNA": {}, "BEN": {}, "CARL": {}, "DORA": {}}, {}, "'DORA' is in 'cast' and has no stem in the hi dub"),
        ({}, {"stems": {"ANNA": "ANNA.wav", "BEN": "short.wav"}},
         "stems of different lengths: that of BEN lasts 1.500 s and that of ANNA 4.505 s; give each character a file"),
        ({}, {"stems": {"ANNA": "short.wav"}}, "short.wav is 72.0 frames shorter than the picture"),
        ({}, {"stems": {"ANNA": "ANNA.wav", "BEN": "none.wav"}}, "none.wav"),
        ({}, {"stems": {"ANNA": "ANNA.wav", "BEN": "ANNA.wav"}}, "ANNA and BEN have the same sound as their stems"),
        ({}, {"stems": {"ANNA": "ANNA.wav", "BEN": "copy.wav"}}, "ANNA and BEN have the same sound as their stems"),
        ({"ANNA": {"voice": "lines.csv"}}, {"stems": None}, "lines.csv"),
        ({"ANNA": {"voice": "two.mute.mp4"}}, {"stems": None}, "'voice' must be some seconds of ANNA's voice alone"),
        ({}, {"track": 1}, "'track' is of one file, and a dub with 'stems' has several; remove it."),
        ({}, {"leave": {"characters": ["ANA"]}}, "'ANA' is no character of the title, which has ANNA, BEN, CARL (did"),
        ({}, {"only": {"characters": ["BEN"]}, "leave": {"characters": ["BEN"]}}, "'only' and 'leave' both name BEN"),
        ({}, {"stems": None, "lines": "lines.csv"}, "lines.csv, line 2: '00:00:01:24' is not a timecode at 24000/1001"),
        ({}, {"stems": None, "lines": "none.csv"}, "there is no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    made: Path, dub: Dub, tmp_path: Path, cast: Mapping[str, Any], changed: Mapping[str, Any], said: str
) -> None:
    if not (made / "short.wav").exists():
        shutil.copy(made / "ANNA.wav", made / "copy.wav")
        with ClipWriter(made / "two.mute.mp4", 64, 48, Fraction(25)) as clip:
            clip.frame(np.zeros((48, 64, 3), np.uint8))
        write(made / "short.wav", np.sin(np.arange(int(1.5 * HZ)) / 20) / 4)
        (made / "lines.csv").write_text("character,in,out\nANNA,00:00:01:24,00:00:02:00\n", encoding="utf-8")
    job = manifest_of(made, cast, "bad.yaml", **changed)
    code, _, err = dub("check", job, "--out", tmp_path / "out")
    assert code == 2 and said in err and err.count("\n") == 1, err
