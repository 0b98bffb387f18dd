"""Listening without a network: when words are, windows of a sound, languages against tags, words against lines."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Dub
from films import plain_job

from dubbing.listening import ear, tongues
from dubbing.listening.script import compare
from dubbing.listening.timing import aligned, settled
from dubbing.listening.windows import Window, windows
from dubbing.models import MODELS
from dubbing.store import Store
from dubbing.words import TABLE, Word, cues, joined, read_words, vtt, write_words

HZ = 16_000
KNOWN = ("en", "fr", "de", "pt", "no", "nn", "hr", "sr", "zh", "tl", "hi")


def word(text: str, start_s: float, end_s: float, character: str | None = None) -> Word:
    return Word(text, start_s, end_s, 0.5, "en", True, character)


def sentence(text: str, start_s: float, character: str | None = None) -> list[Word]:
    """Words of 0.3 s each."""
    return [word(t, start_s + 0.3 * n, start_s + 0.3 * (n + 1), character) for n, t in enumerate(text.split())]


# -- times -----------------------------------------------------------------------------------


def test_every_row_gets_the_steps_it_looks_at() -> None:
    attention = np.full((3, 10), 0.1)
    attention[0, :4] = attention[1, 4:5] = attention[2, 5:] = 1.0
    assert aligned(attention).tolist() == [0, 4, 5]
    blind = np.zeros((3, 10))  # a row that looks nowhere still gets a step, in order
    blind[0, :6] = blind[2, 6:] = 1.0
    assert aligned(blind).tolist()[0] == 0 and aligned(blind).tolist()[1] in (5, 6)
    assert aligned(np.ones((5, 2))).tolist() == sorted(aligned(np.ones((5, 2))).tolist())


def test_words_lie_where_speech_is() -> None:
    speech = np.array([[1.0, 2.0], [3.0, 4.0]])
    words = [word("a", 0.4, 1.2), word("b", 1.2, 1.8), word("c", 1.8, 3.4), word("d", 3.4, 3.7)]
    found = settled(words, speech)
    assert [(w.start_s, w.end_s) for w in found] == [(1.0, 1.2), (1.2, 2.0), (3.0, 3.4), (3.4, 4.0)]
    assert settled(words, np.zeros((0, 2))) == words
    alone = settled([word("far", 8.0, 8.5)], speech)  # no speech is near: it stays
    assert (alone[0].start_s, alone[0].end_s) == (8.0, 8.5)
    for first, second in zip(found, found[1:], strict=False):
        assert first.start_s <= first.end_s <= second.start_s


def test_a_window_knows_where_its_moments_are() -> None:
    one = Window(((HZ, 2 * HZ), (5 * HZ, 7 * HZ)))
    assert len(one) == 3 * HZ and (one.start_s, one.end_s) == (1.0, 7.0)
    assert one.at_s(0.5) == 1.5 and one.at_s(1.5) == 5.5
    assert one.at_s(1.0) == 5.0 and one.at_s(1.0, end=True) == 2.0
    assert one.at_s(99.0) == 7.0


def test_all_speech_is_in_windows_that_are_short_enough() -> None:
    rng = np.random.default_rng(0)
    sound = rng.integers(-9000, 9000, 100 * HZ).astype(np.int16)
    sound[33 * HZ : 34 * HZ] = 0  # a breath in a long speech
    speech = np.array([[2 * HZ, 5 * HZ], [7 * HZ, 8 * HZ], [20 * HZ, 75 * HZ], [80 * HZ, 99 * HZ]])
    found = windows(sound, speech)
    assert all(len(w) <= 20 * HZ for w in found)
    covered = np.zeros(len(sound), bool)
    for w in found:
        for a, b in w.pieces:
            assert not covered[a:b].any(), "no sample is heard twice"
            covered[a:b] = True
    for a, b in speech:
        assert covered[a:b].all()
    assert not covered[12 * HZ : 19 * HZ].any()  # silence is not listened to
    ends = [w.pieces[-1][1] / HZ for w in found]
    assert any(33 <= end <= 34 for end in ends), f"a long speech is cut where it is quiet: {ends}"
    halves = found[1].halves(sound)
    assert halves is not None and sum(map(len, halves)) == len(found[1])
    assert Window(((0, 4 * HZ),)).halves(sound) is None


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000, 8_000])
def test_sound_that_comes_in_blocks_is_resampled_as_a_whole(rate_hz: int) -> None:
    from torchaudio.functional import resample

    wave = np.random.default_rng(1).normal(0, 0.1, 3 * rate_hz + 77).astype(np.float32)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(wave), 7001):
            yield wave[start : start + 7001]

    found = np.concatenate(list(ear.resampled(blocks(), rate_hz)))
    whole = resample(torch.from_numpy(wave), rate_hz, HZ).numpy()
    assert abs(len(found) - len(whole)) <= 1
    assert np.abs(found[: len(whole)] - whole[: len(found)]).max() < 1e-5


def test_features_are_the_ones_that_whisper_was_taught_on() -> None:
    from whisper.audio import log_mel_spectrogram

    wave = np.random.default_rng(2).normal(0, 0.1, 5 * HZ).astype(np.float32)
    padded = np.zeros(30 * HZ, np.float32)
    padded[: len(wave)] = wave
    for mels in (80, 128):
        assert (ear.features(wave, mels) - log_mel_spectrogram(padded, mels)).abs().max() < 1e-4


# -- languages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chances", "tag", "verdict"),
    [
        ({"de": 0.98, "fr": 0.01}, "fr", "another"),
        ({"pt": 0.99}, "pt-BR", "as tagged"),
        ({"zh": 0.99}, "zh-Hant", "as tagged"),
        ({"no": 0.5, "nn": 0.45}, "nb", "as tagged"),
        ({"sr": 0.6, "hr": 0.3}, "hr", "as tagged"),  # one spoken language, under two names
        ({"tl": 0.9}, "fil", "as tagged"),
        ({"de": 0.55, "fr": 0.4}, "fr", "not sure"),
        ({"de": 0.4, "en": 0.3, "fr": 0.1}, "fr", "not sure"),
        ({"de": 0.98}, "gsw", "unknown"),  # Swiss German has no code of its own there
        ({"de": 0.98}, "x-dub", "unknown"),
        ({"de": 0.98}, None, "as tagged"),
        ({}, "fr", "no speech"),
    ],
)  # fmt: skip
def test_a_language_is_held_against_its_tag(chances: dict[str, float], tag: str | None, verdict: str) -> None:
    assert tongues.verdict(chances, tag, KNOWN).verdict == verdict


def test_windows_count_by_their_seconds() -> None:
    found = tongues.mean([({"fr": 1.0}, 9.0), ({"de": 1.0}, 1.0)])
    assert found == {"fr": 0.9, "de": 0.1} and tongues.mean([]) == {}
    assert tongues.named("de") == "German (de)"


# -- words and lines -------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    text: str
    start_s: float | None = None
    end_s: float | None = None
    character: str | None = None


def test_lines_that_are_said_in_their_place_are_no_difference() -> None:
    words = sentence("good morning everybody", 1.0) + sentence("this is fine too", 4.0)
    lines = [Line("Good morning, everybody!", 1.1, 2.0), Line("This is fine, too.", 4.2, 5.2)]
    assert compare(lines, words) == []
    misheard = sentence("good mourning every body", 1.0) + words[3:]
    assert compare(lines, misheard) == []
    without_times = [Line("Good morning, everybody!"), Line("This is fine, too.")]
    assert compare(without_times, words) == []


def test_missing_moved_and_extra_lines_are_told_with_their_times() -> None:
    words = (sentence("good morning everybody", 1.0) + sentence("nobody wrote these words", 4.0)
             + sentence("where is the station please", 20.0))  # fmt: skip
    lines = [
        Line("Good morning, everybody!", 1.0, 1.9), Line("I never say this at all.", 8.0, 9.5),
        Line("Where is the station, please?", 12.0, 13.5, "Anna"),
    ]  # fmt: skip
    extra, missing, moved = compare(lines, words)
    assert (extra.kind, extra.text, extra.start_s) == ("extra", "nobody wrote these words", 4.0)
    assert (missing.kind, missing.line, missing.start_s) == ("missing", 2, 8.0)
    assert (moved.kind, moved.line, moved.start_s, moved.heard_s, moved.character) == ("moved", 3, 12.0, 20.0, "Anna")


def test_a_characters_lines_are_looked_for_in_its_own_sound() -> None:
    mix = sentence("hello there my friend", 1.0)
    anna, ben = sentence("hello there", 1.0, "Anna"), sentence("my friend", 1.6, "Ben")
    lines = [Line("Hello there", 1.0, 1.6, "Anna"), Line("my friend", 1.6, 2.2, "Ben")]
    assert compare(lines, mix + anna + ben) == []
    (only,) = compare(lines, mix + sentence("my friend", 1.0, "Anna") + ben)[:1]
    assert only.kind in ("missing", "extra") and only.character == "Anna"


def test_a_long_script_takes_no_long_time() -> None:
    words = [w for n in range(4000) for w in sentence(f"w{n} {n}", 2.0 * n + 1)]
    words[10] = replace(words[10], end_s=60.0)  # the words that follow lie in it
    began = time.process_time()
    assert compare([Line(f"w{n}, {n}!", 2.0 * n + 1, 2.0 * n + 1.6) for n in range(4000)], words) == []
    assert time.process_time() - began < 1.5


def test_scripts_without_spaces_are_compared_by_letters() -> None:
    words = [Word(c, 1 + 0.2 * n, 1.2 + 0.2 * n, 0.9, "ja", False) for n, c in enumerate("前回の内容ではまだ")]
    assert joined(words) == "前回の内容ではまだ"
    assert compare([Line("前回の内容では、まだ。", 1.0, 3.0)], words) == []
    assert {d.kind for d in compare([Line("明日の天気です", 1.0, 3.0)], words)} == {"missing", "extra"}


def test_words_are_a_table_and_subtitles(tmp_path: Path) -> None:
    words = [*sentence("Good <morning> everybody.", 1.0), *sentence("And & more", 1.95), word("late", 9.0, 9.4, "Ann")]
    write_words(Store(tmp_path), tmp_path, "reel", "fr", words)
    assert read_words(Store(tmp_path), tmp_path) == words
    text = (tmp_path / "words.vtt").read_text("utf-8")
    assert text == vtt(words) and text.startswith("WEBVTT\n\n00:00:01.000 --> 00:00:01.900\nGood <00:00:01.300>")
    assert "&lt;morning&gt;" in text and "&amp;" in text and "<v Ann>late" in text
    assert [joined(c) for c in cues(words)] == ["Good <morning> everybody.", "And & more", "late"]
    (tmp_path / TABLE).write_bytes(b"PAR1 no more")
    assert read_words(Store(tmp_path), tmp_path) == [] == read_words(Store(tmp_path), tmp_path / "nowhere")


# -- what is needed --------------------------------------------------------------------------


def test_it_says_what_is_needed(tmp_path: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plain_job(tmp_path, {"fr": "fr.flac"}, 10)
    code, _, err = dub("listen", job, "--out", tmp_path / "out", "--engine", "local")
    assert code == 2 and "'whisper_base' is not on this machine" in err and "dub models pull whisper_base" in err
    code, _, err = dub("listen", job, "--out", tmp_path / "out", "--model", "models/base.pt")
    assert code == 2 and "is a relative path" in err
    wrong = tmp_path / "w.pt"
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": {"a": torch.zeros(1)}}, wrong)
    code, _, err = dub("listen", job, "--out", tmp_path / "out", "--engine", "local", "--model", wrong)
    assert code == 2 and "is no Whisper checkpoint" in err and err.count("\n") == 1
    monkeypatch.setattr(ear.importlib.util, "find_spec", lambda name: None)
    code, _, err = dub("listen", job, "--out", tmp_path / "out", "--engine", "local")
    assert code == 2 and "pip install 'dubbing[whisper]'" in err and err.count("\n") == 1


def test_published_models_have_the_hashes_of_the_package() -> None:
    """Those in the addresses that openai-whisper itself would load from."""
    import whisper

    source = Path(whisper.__file__).read_text("utf-8")
    ours = [m for m in MODELS if m.name.startswith("whisper_") and not m.name.endswith("_hf")]
    assert len(ours) == 6 and all(f'"{m.urls[0]}"' in source and m.sha256 in m.urls[0] for m in ours)
