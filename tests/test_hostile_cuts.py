"""Cut lists that are none, or hold what no film has: `dub check` reads them, and says which edit is at fault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Dub

from dubbing import media

HZ = 16_000


def time(value: object, rate: object = 25) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "value": value, "rate": rate}


def clip(start: object = 0, length: object = 25, rate: object = 25, **parts: Any) -> dict[str, Any]:
    span = {"OTIO_SCHEMA": "TimeRange.1", "start_time": time(start, rate), "duration": time(length, rate)}
    return {"OTIO_SCHEMA": "Clip.1", "name": "one", "source_range": span, **parts}


def otio(*clips: object, **parts: Any) -> str:
    track = {"OTIO_SCHEMA": "Track.1", "kind": "Video", "children": list(clips)}
    return json.dumps({"OTIO_SCHEMA": "Timeline.1", "tracks": {"OTIO_SCHEMA": "Stack.1", "children": [track]}, **parts})


@pytest.fixture
def checked(tmp_path: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], tuple[int, str, str]]:
    """`dub check` of a film of 50 frames with a cut list, which must not decode the film."""
    wave = (0.2 * np.sin(np.arange(2 * HZ) / 8)).astype(np.float32)[:, None]
    with media.ClipWriter(tmp_path / "film.mp4", 64, 48, sample_rate_hz=HZ, channels=1) as made:
        for n in range(50):
            made.frame(np.full((48, 64, 3), 40 + n, np.uint8))
        made.sound(wave)
    with media.ClipWriter(tmp_path / "fr.flac", sample_rate_hz=HZ, channels=1) as made:
        made.sound(wave)

    def check(name: str, text: str) -> tuple[int, str, str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        one = {"id": "reel", "video": "film.mp4", "shots": name, "dubs": [{"language": "fr", "audio": "fr.flac"}]}
        (tmp_path / "job.yaml").write_text(json.dumps({"version": 1, "titles": [one]}), encoding="utf-8")
        return dub("check", tmp_path / "job.yaml", "--out", tmp_path / "out")

    monkeypatch.setattr(media, "scan", None)  # nothing is decoded for these
    return check


EDIT = "001 REEL V C 00:00:00:00 00:00:01:00 {} {}\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.otio", otio(clip(0, 25), clip(25, 25)), ""),
        ("a.edl", EDIT.format("01:00:00:00", "01:00:01:00"), ""),
        ("a.otio", "garbage", "cannot be read"),
        ("a.otio", "", "cannot be read"),
        ("a.otio", "[" * 100_000, "lists inside lists without end"),
        ("a.otio", '{"a":' * 100_000, "lists inside lists without end"),
        ("a.otio", "null", ""),
        ("a.otio", otio({"OTIO_SCHEMA": "Clip.1", "name": "two"}), "edit 1 (two): how long it lasts cannot be known"),
        ("a.otio", otio(clip(0, 10), clip(0, float("nan"))), "edit 2 (one): nan at 25 a second is no time"),
        ("a.otio", otio(clip(0, float("inf"))), "edit 1 (one): inf at 25 a second is no time"),
        ("a.otio", otio(clip(0, 10, float("nan"))), "is no time"),
        ("a.otio", otio(clip(0, -5)), "edit 1 (one): it lasts -5 frames"),
        ("a.otio", otio(clip(0, 10, 0)), "0 frames a second"),
        ("a.otio", otio(clip(0, 10.5)), "falls between two frames"),
        ("a.otio", otio(clip(0, 10, 24)), "counts 24 frames a second"),
        ("a.otio", otio(clip("a", "b")), "cannot be read"),
        ("a.otio", otio(), "no picture edit"),
        ("a.otio", otio(clip(0, 10), global_start_time=time(float("nan"))), "global_start_time: nan"),
        ("a.edl", "garbage\x00\x01", "no picture edit"),
        ("a.edl", "", "no picture edit"),
        ("a.edl", EDIT.format("01:00:01:00", "01:00:00:00"), "line 1: it ends at 01:00:00:00, before it starts"),
        ("a.edl", EDIT.format("01:00:00:00", "01:00:00:77"), "line 1: '01:00:00:77' is not a timecode"),
        ("a.edl", EDIT.format("01:00:00:00", "01:00:00:" + "1" * 5000), "is not a timecode"),
        ("a.edl", "001 REEL V nonsense\n" + "x" * 100_000, "line 1: '001 REEL V nonsense' is no CMX3600 edit"),
        ("a.edl", EDIT.format("a", "b") + "001 R V " + "y" * 100_000, "is no CMX3600 edit"),
    ],
)  # fmt: skip
def test_check_reads_a_cut_list(checked: Callable[[str, str], Any], name: str, text: str, said: str) -> None:
    code, _, err = checked(name, text)
    if said == "" and text != "null":
        assert (code, err) == (0, "")
    else:
        assert code == 2 and said in err and err.count("\n") == 1 and len(err) < 700, err
        assert "line 1" in err or "job.yaml" in err


def test_outside_the_film_is_said_of_decoded_frames(
    checked: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    code, _, err = checked("a.otio", otio(clip(0, 25), clip(25, 40)))
    assert code == 2 and "is outside the film, which runs from 00:00:00:00 to 00:00:02:00" in err


def test_a_cut_list_that_is_a_pipe_or_is_not_there(
    tmp_path: Path, checked: Callable[[str, str], Any], dub: Dub
) -> None:
    checked("a.edl", "")
    (tmp_path / "a.edl").unlink()
    code, _, err = dub("check", tmp_path / "job.yaml", "--out", tmp_path / "out")
    assert code == 2 and "there is no file" in err
    os.mkfifo(tmp_path / "a.edl")
    code, _, err = dub("check", tmp_path / "job.yaml", "--out", tmp_path / "out")
    assert code == 2 and "it is a pipe, and not a file" in err
