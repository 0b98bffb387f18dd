"""What is heard in a voice: the encoding is free of gain and in its place, and another encoder is refused."""

from dataclasses import replace

import numpy as np
import pytest

from dubbing.errors import ModelError
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.hearing import CLASSES, ENCODED, Prior
from dubbing.networks import voice_encoder

RATE_HZ = 16_000


def buzz(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    loud = np.sin(2 * np.pi * 2 * t) ** 2
    return np.asarray(0.2 * loud * sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20)), np.float32)


def test_the_encoding_is_free_of_gain_and_in_its_place() -> None:
    wave = buzz(2.0)
    code = voice_encoder.encoded(wave)
    assert code.shape == (101, voice_encoder.SIZE) and np.isfinite(code).all()
    np.testing.assert_allclose(voice_encoder.encoded(0.1 * wave), code, atol=1e-3)
    later = voice_encoder.encoded(np.pad(wave, (RATE_HZ // 5, 0)))[10:111]
    assert np.abs(later - code)[2:].mean() < 0.05 * code.std()
    assert voice_encoder.encoded(wave[:0]).shape == (1, voice_encoder.SIZE)


def test_another_encoder_is_refused() -> None:
    prior = Prior.load()
    assert prior.hear(buzz(1.0)).encoded_TE.shape == (51, ENCODED)
    with pytest.raises(ModelError, match="silero-vad"):
        replace(prior, encoder="0123456789abcdef").hear(buzz(1.0))


def test_lips_shut_where_a_p_is_sure() -> None:
    row = np.zeros((3, 8 + len(CLASSES) + ENCODED))
    row[:, 8 + CLASSES.index("pbm")] = [0.1, 0.55, 0.9]
    shut = voice.closing(row)
    assert shut[0] == 0 and 0.3 < shut[1] < 0.7 and shut[2] == 1
