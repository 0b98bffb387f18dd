"""Lists of lines: every format says the same, what cannot be is refused, and times that do not fit are found."""

from __future__ import annotations

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


def test_a_cue_may_hold_two_voices_and_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\n- ANNA: No.\n- BEN: Yes: it is.\n", encoding="utf-16")
    found = read_lines(path, Fraction(24))
    assert [(x.character, x.text) for x in found] == [("ANNA", "No."), ("BEN", "Yes: it is.")]


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
        ("<tt xmlns:t='u' t:frameRate='0'><body><p begin='1f' end='2f'>A: b</p></body></tt>", "line 1: "),
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
