"""Sound: every sample where it belongs, whatever the container, rate or start."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dubbing import media
from dubbing.errors import DamagedMedia


def wave_of(samples: int, rate_hz: int, channels: int = 2) -> np.ndarray:
    """float32 (T, C): speech-like noise with clicks every quarter second, each channel its own."""
    rng = np.random.default_rng(7)
    time_s = np.arange(samples) / rate_hz
    out = [
        0.2 * np.sin(2 * np.pi * (300 + 170 * c) * time_s) + 0.05 * rng.standard_normal(samples)
        for c in range(channels)
    ]
    wave = np.stack(out, 1)
    wave[:: rate_hz // 4] += 0.5
    return wave.astype(np.float32)


def film_with_sound(
    path: Path, wave: np.ndarray, rate_hz: int, frames: int = 30, start_pts: int = 0, **settings: object
) -> Path:
    """A grey film at 30 frames a second whose picture starts at `start_pts` (in 1/15360 s); the sound starts at 0."""
    base = None if path.suffix in (".avi", ".mpg") else Fraction(1, 15360)
    with media.ClipWriter(
        path, 64, 48, Fraction(30), time_base=base, sample_rate_hz=rate_hz, channels=wave.shape[1], **settings,  # type: ignore[arg-type]
    ) as clip:  # fmt: skip
        for n in range(frames):
            clip.frame(np.full((48, 64, 3), 100, np.uint8), start_pts + 512 * n if base else None)
        clip.sound(wave)
    return path


def lag(a: np.ndarray, b: np.ndarray, reach: int = 400) -> int:
    """The shift of b against a, in samples, that fits best."""
    n = min(len(a), len(b)) - 2 * reach
    return max(range(-reach, reach + 1), key=lambda s: float(a[reach : reach + n] @ b[reach + s : reach + s + n]))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_sound_begins_with_frame_0_to_the_sample(tmp_path: Path, name: str) -> None:
    wave = wave_of(48_000, 48_000)
    codec = "pcm_s16le" if name != "a.mp4" else "flac"
    for start_pts in (0, 5120, 4999):
        path = film_with_sound(tmp_path / name, wave, 48_000, start_pts=start_pts, sound_codec=codec)
        line = media.timeline(path)
        skip = round(Fraction(int(line.pts[0])) * line.time_base * 48_000)
        got = media.read_sound(path, None, False)
        slack = 0 if name != "a.mkv" else 48  # Matroska counts milliseconds
        assert abs(lag(wave[skip:, 0], got[:, 0])) <= slack
        if slack == 0:
            assert len(got) == len(wave) - skip and np.abs(got - wave[skip:]).max() <= 1 / 32768
        alone = media.read_sound(path, None, False, align_to_video=False)
        assert len(alone) == len(wave)


def test_sound_that_starts_late_is_led_in_by_silence(shared: Path) -> None:
    path = shared / "media" / "containers" / "nodur_webm.webm"
    wave = media.read_sound(path, None, False)
    assert media.audio_length(path) == (233_280, 48_000)
    assert not wave[:718].any() and abs(len(wave) - 233_280 - 720) <= 24


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mpg"])
def test_an_encoders_lead_in_is_not_heard(tmp_path: Path, name: str) -> None:
    wave = wave_of(48_000, 48_000)
    path = film_with_sound(tmp_path / name, wave, 48_000, codec="mpeg1video" if name == "b.mpg" else "libx264")
    got = media.read_sound(path, None, False)
    if name == "b.mpg":
        assert abs(lag(wave[:, 0], got[:, 0], 1400)) <= 1200  # MPEG program streams do not say how long it is
    else:
        assert lag(wave[:, 0], got[:, 0]) == 0
    if name == "b.mp4":
        assert len(got) == len(wave)


@pytest.mark.parametrize(
    ("rate_hz", "wanted_hz"), [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (96_000, 48_000)]
)
def test_resampling_keeps_time(tmp_path: Path, rate_hz: int, wanted_hz: int) -> None:
    time_s = np.arange(3 * rate_hz + 77) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    with media.ClipWriter(tmp_path / "t.wav", sample_rate_hz=rate_hz, channels=1) as clip:
        clip.sound(tone)
    got = media.read_sound(tmp_path / "t.wav", wanted_hz)
    assert abs(len(got) - len(tone) * wanted_hz / rate_hz) <= 1
    ideal = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(got)) / wanted_hz)
    assert np.abs(got - ideal)[200:-200].max() < 1e-3


def test_mono_is_the_mean_and_blocks_are_the_whole(tmp_path: Path) -> None:
    wave = wave_of(150_001, 48_000, 2)
    with media.ClipWriter(tmp_path / "s.flac", sample_rate_hz=48_000, channels=2) as clip:
        for part in np.array_split(wave, 7):
            clip.sound(part)
    both = media.read_sound(tmp_path / "s.flac", None, False)
    assert both.shape == wave.shape and np.abs(both - wave).max() <= 1 / 32768
    assert np.allclose(media.read_sound(tmp_path / "s.flac", None), both.mean(1), atol=1e-6)
    blocks = list(media.sound_blocks(tmp_path / "s.flac", 16_000))
    whole = media.read_sound(tmp_path / "s.flac")
    assert max(len(b) for b in blocks) < 40_000 and np.array_equal(np.concatenate(blocks), whole)
    short = media.read_sound(tmp_path / "s.flac", dtype=np.int16)
    assert short.dtype == np.int16 and np.abs(short / 32768 - whole).max() <= 1 / 32768
    assert media.audio_length(tmp_path / "s.flac") == (150_001, 48_000)
    info = media.probe(tmp_path / "s.flac")
    assert (info.audio[0].rate_hz, info.audio[0].channels, info.audio[0].bits) == (48_000, 2, 16)


def test_damaged_sound_is_named_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "d.flac"
    with media.ClipWriter(path, sample_rate_hz=48_000, channels=2) as clip:
        clip.sound(wave_of(480_000, 48_000))
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle])
    with pytest.raises(DamagedMedia, match=r"00:0[45]\."):
        media.audio_length(path)
    path.write_bytes(data[:middle] + bytes(30_000) + data[middle + 30_000 :])
    with pytest.raises(DamagedMedia, match=r"00:0[45]\."):
        media.read_sound(path)


def test_a_gap_in_the_middle_is_silence_and_no_damage(tmp_path: Path) -> None:
    whole = film_with_sound(tmp_path / "a.mp4", wave_of(144_000, 48_000), 48_000, frames=90)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "b.mp4"), "w") as made:
        stream = made.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.pts is not None and not 48_000 <= packet.pts < 72_000:
                packet.stream = stream
                made.mux(packet)
    was, now = media.read_sound(whole, None), media.read_sound(tmp_path / "b.mp4", None)
    assert abs(len(now) - len(was)) <= 1024
    assert np.abs(now[52_000:70_000]).max() < 1e-3 < np.abs(was[52_000:70_000]).max()
    assert lag(was[80_000:120_000], now[80_000:120_000]) == 0


def test_the_reel_and_its_dubs_have_the_films_length(shared: Path) -> None:
    for name in ("reel.mp4", "reel.fr.flac", "reel.ja.flac", "reel.de.flac"):
        assert media.audio_length(shared / "media" / name) == (2_450_448, 48_000), name
