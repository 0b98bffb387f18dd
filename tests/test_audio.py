"""Sound for the lips: exact in time, speech found and sharpened, keys that change only where they must."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from made import put
from silero_vad import load_silero_vad

from dubbing import media
from dubbing.analysis.speech import CHUNK, Listener, speech_ranges
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import Sound, load_speech, load_wave
from dubbing.clock import Timeline
from dubbing.errors import ManifestError, MediaError
from dubbing.sound import RATE_HZ
from dubbing.stages.audio import Audio, DubAudio, DubAudioInputs, SourceAudio, SourceAudioInputs

RATE = Fraction(24)
CUTS = ((0, 96), (96, 192), (192, 288))
LENGTH_S = 12


@pytest.fixture(scope="module")
def stage() -> Iterator[DubAudio]:
    made = DubAudio()
    made.setup()
    yield made
    made.close()


@pytest.fixture
def film(tmp_path: Path) -> Ref[ShotList]:
    """The shots and the timeline of a 12 s film of three shots."""
    folder = tmp_path / "shots"
    folder.mkdir()
    media.save_timeline(folder, Timeline(np.arange(288, dtype=np.int64), 1 / RATE, 288, RATE))
    return put(folder, ShotList(288, CUTS))


def hum(seconds: float = LENGTH_S) -> np.ndarray:
    """Something to hear, float32, 16 kHz: a buzz that swells five times a second."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
    return np.float32(0.2) * (buzz * (0.5 + 0.5 * np.sin(2 * np.pi * 5 * t))).astype(np.float32)


def run(
    stage: Audio, film: Ref[ShotList], wave: np.ndarray, name: str, difference: str = "refuse"
) -> tuple[Sound, Path]:
    path = film.folder.parent / f"{name}.wav"
    with media.ClipWriter(path, sample_rate_hz=RATE_HZ, channels=1) as clip:
        clip.sound(wave[:, None])
    out = film.folder.parent / name
    out.mkdir()
    own = isinstance(stage, SourceAudio)
    sound = File(path, "")
    inputs = SourceAudioInputs(sound, film) if own else DubAudioInputs(sound, film, difference, 2.0)
    return stage.process(inputs, out, lambda n: None), out


class TestStage:
    def test_samples_are_kept_in_place(self, stage: DubAudio, film: Ref[ShotList]) -> None:
        wave = hum()
        result, out = run(stage, film, wave, "a")
        assert result.samples == LENGTH_S * RATE_HZ
        assert np.abs(load_wave(out) - wave).max() < 1e-4
        assert np.abs(load_wave(out, 5000, 5100) - wave[5000:5100]).max() < 1e-4
        beyond = load_wave(out, -50, 100)
        assert beyond.shape == (150,) and not beyond[:50].any() and beyond[60:].any()
        assert not load_wave(out, result.samples - 10, result.samples + 40)[10:].any()

    @pytest.mark.parametrize("seconds", [LENGTH_S - 3, LENGTH_S, LENGTH_S + 3])
    def test_a_sound_that_was_listened_to_before_the_shots_were_known_is_the_same(
        self, film: Ref[ShotList], seconds: float
    ) -> None:
        stage = SourceAudio()
        stage.setup()
        at_once, folder = run(stage, film, hum(seconds), "whole")
        sound = SourceAudioInputs(File(film.folder.parent / "whole.wav", ""), film, end=288)
        heard, laid = (film.folder.parent / name for name in ("heard", "laid"))
        for out in (heard, laid):
            out.mkdir()
        part = put(heard, stage.process(replace(sound, shots=None, window=(0, 288)), heard, lambda n: None))
        later = stage.process(replace(sound, parts=(part,)), laid, lambda n: None)
        assert later == at_once
        for path in folder.iterdir():
            assert (laid / path.name).read_bytes() == path.read_bytes()

    def test_keys_change_only_for_the_shots_a_change_touches(self, stage: DubAudio, film: Ref[ShotList]) -> None:
        first = run(stage, film, hum(), "first")[0].shot_keys
        assert run(stage, film, hum(), "same")[0].shot_keys == first
        for name, at_s, touched in (
            ("middle", 6.0, {"shot_0002"}),
            ("border", 7.7, {"shot_0002", "shot_0003"}),
            ("end", 11.5, {"shot_0003"}),
        ):
            wave = hum()
            wave[round(at_s * RATE_HZ) :][:200] *= 0.9
            keys = run(stage, film, wave, name)[0].shot_keys
            assert {s for s in keys if keys[s] != first[s]} == touched

    def test_a_silent_dub_is_refused_and_a_silent_film_is_not(self, stage: DubAudio, film: Ref[ShotList]) -> None:
        quiet = hum() * 1e-4
        with pytest.raises(MediaError, match="no sound"):
            run(stage, film, quiet, "dub")
        own = SourceAudio()
        own.setup()
        result, out = run(own, film, quiet, "own")
        assert result.speech_s == 0
        assert load_speech(out).shape == (0, 2)

    def test_a_length_that_does_not_fit_is_refused_with_both(self, stage: DubAudio, film: Ref[ShotList]) -> None:
        with pytest.raises(ManifestError, match=r"11\.500 s.*12\.000 s.*12\.0 frames less.*length_difference"):
            run(stage, film, hum(11.5), "short")
        assert run(stage, film, hum(11.95), "near")[0].samples == LENGTH_S * RATE_HZ
        assert run(stage, film, hum(13), "long", difference="allow")[0].samples == LENGTH_S * RATE_HZ
        result, out = run(stage, film, hum(3), "padded", difference="allow")
        assert result.samples == LENGTH_S * RATE_HZ and not load_wave(out)[4 * RATE_HZ :].any()


def chances(wave: np.ndarray, *ranges_s: tuple[float, float]) -> np.ndarray:
    """What a voice detector might say: 1 in chunks of 32 ms that touch the ranges, and one chunk late at the end."""
    at = (np.arange(len(wave) // 512) + 0.5) * 512 / RATE_HZ
    return np.float32([max(float(a - 0.02 < t < b + 0.05) for a, b in ranges_s) for t in at])


class TestSpeech:
    @pytest.mark.parametrize("floor", [0.0, 0.001])
    def test_ends_are_sharp(self, floor: float) -> None:
        said = [(1.0, 2.5), (3.1, 4.0)]
        wave = np.random.default_rng(0).normal(0, floor, 5 * RATE_HZ)
        for a, b in said:
            wave[round(a * RATE_HZ) : round(b * RATE_HZ)] += hum(b - a)
        codes = np.rint(wave * 32767).astype(np.int16)
        got = speech_ranges(codes, chances(codes, *said)) / RATE_HZ
        assert np.abs(got - said).max() <= 0.03

    def test_digital_silence_is_never_speech(self) -> None:
        codes = np.rint(hum(3) * 32767).astype(np.int16)
        codes[RATE_HZ : RATE_HZ + 1600] = 0
        got = speech_ranges(codes, np.ones(len(codes) // 512, np.float32))
        assert got[0, 1] == RATE_HZ and got[1, 0] == RATE_HZ + 1600

    def test_no_speech(self) -> None:
        assert speech_ranges(np.zeros(RATE_HZ, np.int16), np.zeros(31, np.float32)).shape == (0, 2)

    def test_the_detector_says_what_it_says_chunk_by_chunk(self, shared: Path) -> None:
        path = shared / "media" / "reel.fr.flac"
        wave = np.concatenate(list(media.sound_between(path, Fraction(2), Fraction(22), RATE_HZ)))
        model = load_silero_vad(onnx=False)
        with torch.inference_mode():
            alone = [float(model(torch.from_numpy(part), RATE_HZ)) for part in wave.reshape(-1, CHUNK)]
        listener = Listener()
        for sizes in ([], [100, 700, 5000, 5001, 200_000]):
            listener.begin()
            together = [chance for block in np.split(wave, sizes) for chance in listener.hear(block)]
            assert np.abs(np.subtract(together, alone)).max() < 1e-4
        assert 0.2 < np.mean(np.array(alone) > 0.5) < 0.95, "both speech and pauses are in it"

    @pytest.mark.parametrize("language", ["fr", "ja", "de"])
    def test_the_reels_dubs(self, stage: DubAudio, shared: Path, tmp_path: Path, language: str) -> None:
        rate = Fraction(24000, 1001)
        cuts = [0, 72, 216, 360, 576, 816, 936, 1104, 1224]  # a pair of shots is one stretch of speech
        media.save_timeline(tmp_path, Timeline(np.arange(1224, dtype=np.int64), 1 / rate, 1224, rate))
        sound = File(shared / "media" / f"reel.{language}.flac", "")
        inputs = DubAudioInputs(sound, put(tmp_path, ShotList(1224, ((0, 1224),))), "refuse", 2.0)
        stage.process(inputs, tmp_path, lambda n: None)
        speech = load_speech(tmp_path) / RATE_HZ
        for start, end in zip(cuts[1:-1], cuts[2:], strict=True):
            first, last = float(start / rate) + 0.20, float(end / rate) - 0.30
            inside = speech[(speech[:, 1] > first - 0.1) & (speech[:, 0] < last + 0.1)]
            assert inside[:, 0].min() >= first - 0.02
            assert inside[:, 1].max() <= last + 0.02
            assert (inside[:, 1] - inside[:, 0]).sum() > 0.5 * (last - first)
        assert speech[:, 0].min() > 3.0
