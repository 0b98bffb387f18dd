"""Lists of lines: every format says the same, what cannot be is refused, and times that do not fit are found."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dubbing.analysis.line_drift import drift
from dubbing.analysis.lines import SpokenLine, read_lines
from dubbing.errors import ManifestError
from dubbing.sound import RATE_HZ

TTML = """<?xml version="1.0" encoding="utf-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttm="http://www.w3.org/ns/ttml#metadata"
    xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25" ttp:tickRate="1000">
<head><metadata>
<ttm:agent xml:id="a" type="character"><ttm:name type="full">ANNA</ttm:name></ttm:agent>
</metadata></head>
<body><div begin="1s">
<p begin="00:00:00.500" end="00:00:01:00" ttm:agent="a">Good<br/>day.</p>
<p begin="2000t" dur="12f">BEN: And to you.</p>
</div></body></tt>"""
SAME = {
    "a.csv": "Character;TC In;TC Out;Text\n"
    "Anna;10:00:01:12;10:00:02:00;Good day.\nben;10:00:03:00;10:00:03:12;And to you.\n",
    "b.csv": "﻿in,out,speaker,line\n1.48,2,ANNA,Good day.\n00:00:03.0,00:00:03.48,BEN,And to you.\n",
    "c.srt": "1\n00:00:01,480 --> 00:00:02,000\nANNA: Good\nday.\n\n2\n"
    "00:00:03,000 --> 00:00:03,480\n[BEN] <i>And to you.</i>\n",
    "d.vtt": "WEBVTT\n\nNOTE no cue\n\n00:01.480 --> 00:02.000 align:start\n<v Anna>Good day.\n\n"
    "00:03.000 --> 00:03.480\n<v.loud Ben>And to you.</v>\n",
    "e.ttml": TTML.replace("00:00:00.500", "00:00:00.480"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_each_format_says_who_speaks_when(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAME[name], encoding="utf-8")
    found = read_lines(tmp_path / name, Fraction(25), "10:00:00:00", ["ANNA", "BEN"])
    assert found == (
        SpokenLine("ANNA", Fraction(37, 25), Fraction(2), "Good day."),
        SpokenLine("BEN", Fraction(3), Fraction(87, 25), "And to you."),
    )


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> list[tuple[str | None, float, float, str]]:
    path = tmp_path / "lines"
    path.write_text(text, encoding=encoding)
    return [(x.character, float(x.start_s), float(x.end_s), x.text) for x in read_lines(path, Fraction(25))]


def test_two_voices_of_a_cue_share_its_time_by_their_letters(tmp_path: Path) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\n- ANNA: No.\n- BEN: Yes: it is.\n"
    assert read(tmp_path, cue, "utf-16") == [("ANNA", 1, 1 + 2 / 9, "No."), ("BEN", 1 + 2 / 9, 2, "Yes: it is.")]
    cue = "WEBVTT\n\n00:01.000 --> 00:05.000\n- <v Anna>Hi there\n<v Ben &amp; Co>Q&amp;A &lt;3&nbsp;x\n"
    assert read(tmp_path, cue) == [("Anna", 1, 1 + 28 / 11, "Hi there"), ("Ben & Co", 1 + 28 / 11, 5, "Q&A <3 x")]


def test_ttml_gives_each_span_its_agent_and_its_own_time(tmp_path: Path) -> None:
    body = (
        "<p begin='1s' end='3s'>\n<span ttm:agent='a'>Hi</span><br/>- <span ttm:agent='b'>H\xe9!</span>\n</p>"
        "<p ttm:agent='b'><span begin='4s' end='5s'>So</span> <span ttm:agent='a' begin='6s' dur='1s'>No</span></p><p/>"
    )
    agent = "<ttm:agent xml:id='b'><ttm:name>RENÉ</ttm:name></ttm:agent>"
    for encoding, declared in (("utf-16", "UTF-16"), ("utf-8", "ISO-8859-1")):
        text = (
            f"<?xml version='1.0' encoding='{declared}'?><tt xmlns:ttm='m'><head>{agent}</head>"
            f"<body><div begin='1s'>{body}</div></body></tt>"
        )
        assert read(tmp_path, text, encoding) == [
            ("a", 2, 3, "Hi"), ("RENÉ", 3, 4, "Hé!"), ("RENÉ", 5, 6, "So"), ("a", 7, 8, "No"),
        ]  # fmt: skip


def test_subtitles_as_they_come_are_read(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\n[ANNA]\nGood\nday.\n2\n00:00:02,000 --> 00:00:03,000\nBEN:\nNo.\n"
        "3\n00:00:03,000 --> 00:00:03,000\nANNA: without a length\n4\n00:00:04,000 --> 00:00:05,000\n[MUSIC]\n"
        "5\n00:00:06,000 --> 00:00:07,000\n\n"
    )
    assert read(tmp_path, text) == [
        ("ANNA", 1, 2, "Good day."), ("BEN", 2, 3, "No."), (None, 4, 5, "[MUSIC]")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "character,in,out\nA,1,2\n" + "\n" * 100_000 + " " * 100_000,
        "WEBVTT\n\n00:01.000 --> 00:02.000\nA: b" + " " * 100_000 + "<" * 50_000 + "<v " * 50_000 + "{\\" * 50_000,
        "WEBVTT\n\n00:01.000 --> 00:02.000\nA: b\n" + "[A]\n" * 50_000,
        "WEBVTT\n\n00:01.000 --> 00:02.000\nA: <v" + " " * 100_000 + "\n",
    ],
)
def test_a_long_file_takes_no_long_time(tmp_path: Path, text: str) -> None:
    began = time.process_time()
    assert read(tmp_path, text)[0][0] == "A"
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("character,in,out\nA,10:00:01:25,10:00:02:00\n",
         "line 2: '10:00:01:25' is not a timecode at 25 frames a second: write HH:MM:SS:FF with frames 00 to 24."),
        ("character,in,out\nA,2,1\n", "line 2: the line ends before it begins"),
        ("character,in,out\nA,soon,1\n", "line 2: 'soon' is no time; write the film's timecode"),
        ("who,when\nA,1\n", "line 1: the columns are who, when; a table of lines begins with the header"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n", "names no character"),
        ("character,in,out\n", "holds no line"),
        ("<!DOCTYPE tt [<!ENTITY a 'b'>]><tt/>", "line 1: it has a DOCTYPE"),
        ("<tt><body>", "line 1: it is no whole XML"),
        ("<tt xmlns:t='u' t:frameRate='0'><body><p begin='1f' end='2f'>A: b</p></body></tt>",
         "line 1: ttp:frameRate is '0'; write a number above 0, such as 30."),
        ("<tt xmlns:t='u' t:tickRate='1e4000000'/>", "line 1: ttp:tickRate is '1e4000000'; write a number above 0"),
        ("<tt xmlns:t='u' t:frameRateMultiplier='1 0'/>", "line 1: ttp:frameRateMultiplier is '1 0'"),
        ("<tt><body><p begin='1s'>A: b</p></body></tt>", "line 1: the line has no end; give it begin and end."),
        (f"character,in,out\nA,1,{'9' * 400}\n", "line 2: '999"),
        ("character,in,out\nA,1,360001\n", "line 2: the line lies beyond 100 hours; write seconds, or 01:02:03.400."),
        ("character,in,out\nA,1,1\n", "has a length: each ends where it begins"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lines"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        read_lines(path, Fraction(25), "10:00:00:00")
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_timecode_is_counted_as_the_film_counts_it_and_over_midnight(tmp_path: Path) -> None:
    path, ntsc = tmp_path / "a.csv", Fraction(30000, 1001)
    path.write_text("character,in,out\nA,01:00:10:00,01:00:11:00\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="line 2: 01:00:10:00 counts non-drop, but the film starts at 01:00:00;00"):
        read_lines(path, ntsc, "01:00:00;00")
    path.write_text("character,in,out\nA,23:59:39:00,23:59:41:00\nB,00:00:10:00,00:00:11:00\n", encoding="utf-8")
    times = [(x.start_s, x.end_s) for x in read_lines(path, Fraction(25), "23:59:40:00")]
    assert times == [(-1, 1), (30, 31)], "a line may begin before the film does"


def dialogue(seconds: float = 1200.0) -> list[tuple[float, float]]:
    """When somebody speaks in a film, seconds: lines of 0.6 to 4 s with pauses."""
    rng = np.random.default_rng(3)
    found, at = [], 5.0
    while at < seconds - 6:
        lasts = float(rng.uniform(0.6, 4))
        found.append((at, at + lasts))
        at += lasts + float(rng.choice([0.3, 1.0, 4.0], p=[0.5, 0.3, 0.2]))
    return found


def listed(factor: float = 1.0, offset_s: float = 0.0, loose_s: float = 0.15) -> list[SpokenLine]:
    """The list of that dialogue, as loose as lists are, with all times wrong."""
    rng = np.random.default_rng(4)
    edges = [(a + rng.normal(0, loose_s), b + rng.normal(0, loose_s)) for a, b in dialogue()]
    return [
        SpokenLine("A", Fraction(a * factor + offset_s), Fraction(max(b, a + 0.2) * factor + offset_s), "")
        for a, b in edges
    ]


def test_times_that_do_not_fit_are_found_with_the_right_value() -> None:
    speech = np.array([[a * RATE_HZ, b * RATE_HZ] for a, b in dialogue()]).astype(np.int64)
    assert drift(listed(), speech, 1200.0) is None
    assert drift(listed(offset_s=0.1), speech, 1200.0) is None, "lists are as loose as this"
    for offset_s, said in ((0.8, "late"), (-3.4, "early")):
        found = drift(listed(offset_s=offset_s), speech, 1200.0)
        move = f"{'subtract' if offset_s > 0 else 'add'} {abs(offset_s):.1f}"
        assert found and said in found and move in found, found
    assert "subtract 01:00:00:00" in str(drift(listed(offset_s=3600.0), speech, 1200.0))
    assert "add 10:00:00:00" in str(drift(listed(offset_s=-36000.0), speech, 1200.0))
    for factor, said in (
        (24 / 25, "multiplied by 25/24 (1.0417): they look made for a faster version"),
        (25 / 24, "multiplied by 24/25 (0.9600): they look made for a slower version"),
        (24000 / 25025, "multiplied by 1001/960 (1.0427)"),
        (1000 / 1001, "multiplied by 1001/1000 (1.0010): they look made for timecode that counts drop-frame"),
    ):
        assert said in str(drift(listed(factor), speech, 1200.0)), factor
    assert "then subtract 01:00:00:00" in str(drift(listed(24 / 25, 3456.0), speech, 1200.0))
    assert drift(listed()[:2], speech, 1200.0) is None, "two lines prove nothing"
    unrelated = np.stack([speech[::-1, 0] * 0, speech[:, 0] * 0 + 200], 1) + np.arange(len(speech))[:, None] * 48_000
    assert drift(listed(offset_s=2.0), unrelated, 1200.0) is None
