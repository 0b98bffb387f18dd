"""How a photographed face acts to a sound: where it blinks, nods, raises its brows, and that it does so smoothly."""

from __future__ import annotations

import numpy as np
import pytest

from dubbing.performance.acts import acts_of
from dubbing.performance.blinks import blink_times, shut_at
from dubbing.performance.brows import HIGHEST, lifts
from dubbing.performance.motion import LIMITS, poses
from dubbing.performance.speech import Heard, hear

PHRASES = [(0.6, 3.1), (3.8, 6.2), (7.4, 11.0), (11.6, 13.0), (14.5, 18.2), (18.9, 22.0), (25.0, 29.0)]
STRESS_S = 8.6
LASTS_S = 30.0


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Seven phrases of made syllables with pauses between, one syllable of which is louder, float32 at 16 kHz."""
    times = np.arange(int(LASTS_S * 16000)) / 16000
    speaks = np.zeros(len(times))
    for a, b in PHRASES:
        speaks[(times >= a) & (times < b)] = 1
    syllables = 0.5 + 0.4 * np.sin(2 * np.pi * 4 * times)
    voice = sum(np.sin(2 * np.pi * 120 * k * times) / k for k in range(1, 12))
    loud = 1 + 3 * np.exp(-0.5 * ((times - STRESS_S) / 0.08) ** 2)
    return (0.05 * speaks * syllables * loud * voice).astype(np.float32)


@pytest.fixture(scope="module")
def heard(wave: np.ndarray) -> Heard:
    return hear(wave)


def test_phrases_and_the_stressed_syllable_are_heard(heard: Heard) -> None:
    assert len(heard.phrases) == len(PHRASES)
    assert np.abs(np.array(heard.phrases) - PHRASES).max() < 0.15
    assert min(abs(at - STRESS_S) for at, _ in heard.stresses) < 0.1
    nothing = hear(np.zeros(16000, np.float32))
    assert not nothing.phrases and not nothing.stresses and not nothing.loud_T.any()


def test_people_blink_8_to_25_times_a_minute_mostly_as_phrases_end(heard: Heard) -> None:
    counts, near = [], []
    ends = np.array([b for _, b in PHRASES])
    for seed in range(30):
        times = blink_times(heard, LASTS_S, seed)
        counts.append(len(times) * 60 / LASTS_S)
        assert np.diff(times).min() > 1.0, "lids are up between"
        near.append(np.mean([np.abs(ends - t).min() < 0.3 for t in times]))
    assert min(counts) >= 8 and max(counts) <= 25
    by_chance = 0.6 * len(ends) / LASTS_S
    assert np.mean(near) > 2.5 * by_chance
    shut = [shut_at(np.array([1.0]), t, 0.04) for t in np.arange(0.9, 1.4, 0.01)]
    assert max(shut) == 1 and shut[0] == shut[-1] == 0 and sum(s > 0.05 for s in shut) < 25


def test_a_head_begins_at_rest_stays_near_it_and_moves_smoothly_and_less_in_pauses(heard: Heard) -> None:
    times = (np.arange(750) + 0.5) / 25
    all_of = np.stack([poses(heard, times, seed) for seed in range(12)])
    assert np.abs(all_of[:, 0] / LIMITS).max() < 0.02, "the photograph's own pose"
    assert np.abs(all_of / LIMITS).max() <= 1.02
    assert 0.4 < np.degrees(np.radians(all_of[..., 1])).std() < 3
    steps = np.abs(np.diff(all_of[..., :3], axis=1)) * 25
    assert steps.max() < 40, "degrees a second"
    pause = (times[:-1] > 23.2) & (times[:-1] < 24.8)
    speaks = (times[:-1] > 26.0) & (times[:-1] < 29.0)
    assert steps[:, pause].mean() < 0.9 * steps[:, speaks].mean()


def test_the_same_sound_and_picture_move_the_same_way_at_any_frame_rate(heard: Heard) -> None:
    slow, fast = (poses(heard, np.arange(0, 20, 1 / rate), 5) for rate in (25, 50))
    assert np.abs(slow - fast[::2][: len(slow)]).max() < 1e-5
    assert (poses(heard, np.arange(0, 20, 0.04), 5) == slow).all()
    assert np.abs(poses(heard, np.arange(0, 20, 0.04), 6) - slow).max() > 0.5


def test_brows_rise_with_some_stresses_and_only_there(heard: Heard) -> None:
    times = np.arange(750) / 25
    lifted = np.stack([lifts(heard, times, seed) for seed in range(12)])
    assert 0 < lifted.max() <= HIGHEST
    at = round((STRESS_S - 0.04) * 25)
    assert 0.2 < (lifted[:, at] > 0.4 * HIGHEST).mean() < 1, "often, not always"
    assert lifted[:, (times > 23.5) & (times < 24.5)].max() < 0.02 * HIGHEST


def test_what_others_say_moves_nobody_and_left_frames_stay(wave: np.ndarray) -> None:
    times = (np.arange(750) + 0.5) / 25
    mine = (times > 7.2) & (times < 13.2)
    acts = acts_of(wave, mine, times, [(0, 750)], 3, moves=True, blinking=True)
    quiet = acts_of(wave * 0, mine, times, [(0, 750)], 3, moves=True, blinking=True)
    assert acts.brows_N[~mine & (np.abs(times - 10) > 4)].max() < 0.1 * HIGHEST and not quiet.brows_N.any()
    part = acts_of(wave, mine, times, [(100, 300)], 3, moves=True, blinking=True)
    assert part.acts_N.sum() == 200 and not part.pose_N6[:101].any() and not part.pose_N6[299:].any()
    assert np.abs(part.pose_N6[120:280] - acts.pose_N6[120:280]).max() < 1e-9
