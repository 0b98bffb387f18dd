"""Whose voice it is: what moved in time goes to the face whose voice says it, and nothing else changes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dubbing.analysis.voices import Followed, Part, Said, Scene, follow
from dubbing.artifacts.sound import new_wave, save_speech
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline, mask_of, runs
from dubbing.demo.voice import Utterance, say
from dubbing.errors import ModelError
from dubbing.experts import resemblyzer, whose_voice
from dubbing.experts.whose_voice import by_voice
from dubbing.sound import RATE_HZ

HOP = 5  # frames
LENGTH = 150
ANNA, BERT, OFF = 0, 1, 2
ORIGINAL = ((0, 75, ANNA), (75, 150, BERT))


def film(
    shots: int, dub: tuple[tuple[int, int, int], ...], voices: tuple[int, int, int] = (0, 1, 2), given: bool = False
) -> list[Followed | None]:
    """What is said of shots in which first Anna speaks, then Bert. dub: who says what in each; voices: of the three;
    given: whether Anna's and Bert's are known."""
    rng = np.random.default_rng(3)
    base = rng.normal(size=(3, 64))
    base[OFF] = 0.5 * base[BERT] + 0.9 * base[OFF]  # rather like Bert's
    scenes, parts, prints = [], [], []
    for n in range(shots):
        first = n * LENGTH
        own = [mask_of([(a, b)], 0, LENGTH) for a, b, _ in ORIGINAL]
        said = tuple(Said(who, own_N, own_N) for (_, _, who), own_N in zip(ORIGINAL, own, strict=True))
        scenes.append(Scene(first, first + LENGTH, said))
        for a, b, who in dub:
            for at in range(a, b, HOP):
                parts.append(Part(first + at, first + at + HOP))
                prints.append(base[voices[who]] + rng.normal(0, 0.3, 64))
    prints_WE = np.array([p / np.linalg.norm(p) for p in prints])
    return follow(scenes, parts, prints_WE, 0.04, {ANNA: base[ANNA], BERT: base[BERT]} if given else None)


def spoken(found: Followed | None) -> list[list[tuple[int, int]]]:
    assert found is not None
    return [runs(says_N) for says_N in found.says_KN]


def test_a_reply_that_comes_early_goes_to_its_voice() -> None:
    for found in film(4, ((0, 50, ANNA), (50, 150, BERT))):
        assert spoken(found) == [[(0, 50)], [(50, 150)]] and found is not None and found.doubt is None


def test_nothing_changes_where_time_was_right() -> None:
    assert film(4, ORIGINAL) == [None] * 4


def test_one_voice_for_all_is_nobodys() -> None:
    assert film(4, ((0, 50, ANNA), (50, 150, BERT)), voices=(0, 0, 0)) == [None] * 4


def test_a_third_voice_is_neithers() -> None:
    assert film(4, ((0, 50, ANNA), (50, 75, OFF), (75, 150, BERT))) == [None] * 4


def test_six_seconds_of_two_voices_are_not_enough() -> None:
    assert film(1, ((0, 50, ANNA), (50, 150, BERT))) == [None]


def test_voices_that_are_given_need_no_time() -> None:
    swapped = ((0, 75, BERT), (75, 150, ANNA))
    assert film(4, swapped) == [None] * 4
    for found in film(4, swapped, given=True):
        assert spoken(found) == [[(75, 150)], [(0, 75)]]
    assert film(4, ((0, 150, OFF),), given=True) == [None] * 4


@pytest.fixture(scope="module")
def two_voices() -> list[np.ndarray]:
    """Six seconds each of a man and of a woman of espeak-ng, 16 kHz."""
    if resemblyzer.installed() is None:
        pytest.skip("needs the extra `voices`: pip install --no-deps Resemblyzer==0.1.4")
    text = (
        "When the boat came back in the evening, nobody on the pier had seen the light, and yet he had found his way."
    )
    return [s.samples[:: 48_000 // RATE_HZ] for s in say([Utterance(text, f"en-us+{v}", 8.0) for v in ("m3", "f4")])]


@pytest.mark.long
def test_a_voice_is_alike_whatever_it_says(two_voices: list[np.ndarray]) -> None:
    encoder = resemblyzer.VoiceEncoder()
    starts = np.array([0, 40_000])
    man, woman = (encoder.embed(wave, starts) for wave in two_voices)
    assert man.shape == (2, 256) and man.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(man, axis=1), 1, atol=1e-5)
    assert min(man[0] @ man[1], woman[0] @ woman[1]) > (man @ woman.T).max() + 0.1
    quiet, quieter = (encoder.embed(np.float32(part) * two_voices[0], starts) for part in (0.002, 0.001))
    np.testing.assert_allclose(quiet, quieter, atol=1e-3)


@pytest.mark.long
def test_the_stage_gives_a_late_reply_to_the_face_that_says_it(two_voices: list[np.ndarray], tmp_path: Path) -> None:
    man, woman = two_voices
    second = RATE_HZ
    pieces = [man[: 4 * second], woman[: 2 * second], man[4 * second : 6 * second], woman[2 * second : 6 * second]]
    wave = np.tile(np.concatenate(pieces), 3)
    stored = new_wave(tmp_path, len(wave))
    stored[:] = (wave * 32767).astype(np.int16)
    stored.flush()
    save_speech(tmp_path, len(wave), np.array([[0, len(wave)]]))
    frames = len(wave) * 25 // RATE_HZ
    line = Timeline(np.arange(frames, dtype=np.int64), Fraction(1, 25), frames, Fraction(25))
    own = ((0, 100), (175, 200)), ((100, 175), (200, 300))  # in the original she goes on for a second
    faces = tuple(
        FaceTurns(f"shot_0001/face_{n + 1}", n, said, said)
        for n, said in enumerate(tuple((k + a, k + b) for k in (0, 300, 600) for a, b in once) for once in own)
    )
    (shot,) = by_voice([ShotTurns("shot_0001", ((0, frames),), faces)], tmp_path, line)
    assert [f.by for f in shot.faces] == ["voice", "voice"] and shot.doubt is None
    right = np.tile(mask_of(((0, 100), (150, 200)), 0, 300), 3)
    assert (mask_of(shot.faces[0].says, 0, frames) == right).mean() > 0.96
    alone = ShotTurns("shot_0001", ((0, frames),), faces[:1])
    assert by_voice([alone], tmp_path, line) == [alone]


def test_of_a_voice_that_is_given_half_a_minute_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = iter([np.ones(RATE_HZ, np.float32)] * 31)
    monkeypatch.setattr(whose_voice.media, "sound_blocks", lambda path, rate_hz: blocks)
    assert len(whose_voice.beginning(Path("hour.wav"))) == 30 * RATE_HZ and len([*blocks]) == 1


def test_turns_without_the_network_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblyzer, "installed", lambda: None)
    with pytest.raises(ModelError, match="pip install --no-deps Resemblyzer"):
        resemblyzer.VoiceEncoder()
