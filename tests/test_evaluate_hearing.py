"""Sound to shape measured on mouths whose answer is known: the prior's own, late ones, and chance."""

import numpy as np
import pytest

from dubbing.evaluate import hearing, yardstick
from dubbing.face import LOWER_FACE
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.shape import ShapeSpace

FPS, LENGTH_S = 25, 10.0


@pytest.fixture(scope="module")
def babble() -> np.ndarray:
    """Noise that comes and goes in syllables of changing colour, float32 at 16 kHz."""
    rng = np.random.default_rng(3)
    count = int(LENGTH_S * 16000)
    steps = rng.uniform(0, 1, (int(LENGTH_S * 5) + 2, 3))
    at = np.arange(count) / 16000 * 5
    level, low, high = (np.interp(at, np.arange(len(steps)), steps[:, k]) for k in range(3))
    noise = rng.normal(0, 1, count)
    slow = np.convolve(noise, np.ones(24) / 5, "same")
    return (0.1 * level**2 * (low * slow + high * np.diff(noise, prepend=0))).astype(np.float32)


def spoken(wave: np.ndarray, late_s: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(canonical meshes, times, speaks) of a mouth that does exactly what the prior says, `late_s` too late."""
    times_s = (np.arange(int(LENGTH_S * FPS)) + 0.5) / FPS
    speaks = np.ones(len(times_s), bool)
    rng = np.random.default_rng(1)
    rest = np.zeros((len(LOWER_FACE), 3))
    rest[:, 0], rest[:, 1] = rng.uniform(-0.4, 0.4, len(rest)), rng.uniform(0.9, 1.1, len(rest))
    actor = voice.default_actor(rest[None])
    coef = voice.predict(actor, wave, times_s - late_s, speaks)
    full = np.zeros((len(times_s), 478, 3))
    full[:, list(LOWER_FACE)] = ShapeSpace.load().decode(coef, actor.rest)
    return full, times_s, speaks


def test_a_mouth_that_does_what_the_prior_says_is_predicted_by_it(babble):
    full, times_s, speaks = spoken(babble)
    found = hearing.sound_to_shape(full, times_s, babble, speaks, speaks)
    assert found is not None
    assert found.numbers["prior_whole_opening_corr"] > 0.99
    assert found.numbers["prior_opening_corr"] > 0.99
    assert found.numbers["fitted_opening_corr"] > 0.9
    assert found.numbers["prior_best_lag_s"] == 0
    assert found.numbers["fitted_opening_error"] < found.numbers["still_opening_error"]
    assert found.held_N.all() and found.numbers["blocks"] == yardstick.BLOCKS
    assert found.numbers["prior_met"] == found.numbers["closures"] and found.numbers["prior_false"] == 0
    assert found.numbers["prior_opening_error"] < 0.01 < found.numbers["still_opening_error"]
    assert abs(found.numbers["lot_opening_corr"]) < 0.3
    assert found.numbers["lot_opening_error"] > found.numbers["still_opening_error"]


def test_no_block_is_judged_by_a_fit_that_saw_it(babble):
    """Each mouth but one block is the truth; were that block learnt from, the prediction of it would change."""
    full, times_s, speaks = spoken(babble)
    found = hearing.sound_to_shape(full, times_s, babble, speaks, speaks)
    begin, end = 63, 125  # the second of four
    other = full.copy()
    other[begin + 5 : end - 5] = full[begin + 5 : end - 5][::-1]
    changed = hearing.sound_to_shape(other, times_s, babble, speaks, speaks)
    assert found is not None and changed is not None
    same = np.abs(found.curves["fitted"] - changed.curves["fitted"])
    assert same[begin:end].max() < 1e-9 < same[~np.isin(np.arange(250), np.arange(begin, end))].max()


def test_a_late_mouth_loses_correlation_and_its_lag_is_found(babble):
    full, times_s, speaks = spoken(babble, late_s=0.12)
    found = hearing.sound_to_shape(full, times_s, babble, speaks, speaks)
    assert found is not None
    assert found.numbers["prior_best_lag_s"] == pytest.approx(-0.12, abs=0.021)
    assert found.numbers["prior_best_corr"] > found.numbers["prior_whole_opening_corr"] + 0.05
    assert found.numbers["fit_lag_s"] == pytest.approx(-0.12, abs=0.021)
    assert found.numbers["fitted_opening_corr"] > 0.8  # that lag is undone


@pytest.mark.long
def test_a_mouth_that_knows_nothing_of_the_sound_is_chance(babble):
    full, times_s, speaks = spoken(babble)
    found = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(full))
        heard = hearing.sound_to_shape(full[order], times_s, babble, speaks, speaks)
        assert heard is not None
        found.append([heard.numbers[f"{who}_opening_corr"] for who in ("fitted", "prior", "ridge")])
    assert np.abs(np.mean(found, 0)).max() < 0.15


def test_correlation_of_a_shifted_curve_is_known():
    t = np.arange(1000) / 1000 * 2 * np.pi * 10
    assert hearing.correlation(np.sin(t), np.sin(t + 0.7)) == pytest.approx(np.cos(0.7), abs=1e-3)
    assert hearing.correlation(np.sin(t), np.ones(1000)) == 0


def test_too_little_says_nothing(babble):
    full, times_s, speaks = spoken(babble)
    few = slice(0, 40)
    assert hearing.sound_to_shape(full[few], times_s[few], babble, speaks[few], speaks[few]) is None
    rarely = np.zeros(len(speaks), bool)
    rarely[100:120] = True
    assert hearing.sound_to_shape(full, times_s, babble, rarely, speaks) is None


def test_a_face_is_judged_where_it_speaks_and_not_where_it_listens(babble):
    full, times_s, speaks = spoken(babble)
    speaks[170:] = False
    full[190:] = full[190:] * 1.5  # whatever it does there
    found = hearing.sound_to_shape(full, times_s, babble, speaks, np.ones(len(speaks), bool))
    assert found is not None
    judged = np.flatnonzero(found.held_N)
    near = 170 + int(hearing.PAUSE_S * FPS)
    assert judged[0] == 0 and judged[-1] == near - 1
    assert found.numbers["prior_opening_corr"] > 0.7
