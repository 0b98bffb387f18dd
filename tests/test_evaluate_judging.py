"""Measure 10: an expert that hears is believed, one that does not is not."""

import numpy as np
import pytest

from dubbing.evaluate.goals import goals
from dubbing.evaluate.judging import judge, spoken_only
from dubbing.evaluate.measurements import row

RATE_HZ = 16_000


class Level:
    """An expert that sees the first point's height and hears level, both smoothed over a window."""

    name, hash12, wants = "level", "0" * 12, "mesh"

    def __init__(self, deaf: bool = False) -> None:
        self._deaf = deaf

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        height = frames_N[:, 0, 1]
        return np.stack([height[k : k + 5] for k in range(len(height) - 5)]).astype(np.float32)

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        first, frame = round(start_s * RATE_HZ), RATE_HZ // 25
        held = np.zeros((windows + 5) * frame, np.float32)
        part = wave_16k[max(first, 0) : max(first + len(held), 0)]
        held[max(-first, 0) :][: len(part)] = part
        level = 0 * held[::frame] if self._deaf else np.abs(held.reshape(-1, frame)).mean(1)
        return np.stack([level[k : k + 5] for k in range(windows)]).astype(np.float32)


def talker(late_frames: int = 0, seed: int = 1, length: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Meshes whose first point follows the level of a sound, which is so many frames late."""
    rng = np.random.default_rng(seed)
    level = np.convolve(rng.random(length + 40), np.ones(3) / 3, "same")
    mesh = np.zeros((length, 478, 3), np.float32)
    mesh[:, 0, 1] = level[20 : 20 + length]
    wave = np.repeat(level[20 - late_frames : 20 - late_frames + length], RATE_HZ // 25).astype(np.float32)
    return mesh, np.arange(length) / 25, wave


@pytest.mark.parametrize("late_frames", [0, 3])
def test_a_hearing_expert_finds_moved_sound_and_knows_its_own(late_frames):
    mesh, times_s, wave = talker(late_frames)
    foreign = [talker(seed=n)[2] for n in (5, 6)]
    found = judge(Level(), mesh, times_s, wave, np.ones(200, bool), foreign)
    assert found.stretches == 9 and found.offset_frames == -late_frames
    assert found.consistent > 0.95 and found.nearer == 1.0 and found.c > 0
    assert (found.found > 0.95) == (late_frames == 0)


def test_a_deaf_expert_is_found_out():
    mesh, times_s, wave = talker()
    found = judge(Level(deaf=True), mesh, times_s, wave, np.ones(200, bool), [talker(seed=5)[2]])
    assert found.found < 0.2 and found.nearer < 0.5


def test_only_stretches_in_which_the_face_speaks_count():
    mesh, times_s, wave = talker()
    speaks = np.zeros(200, bool)
    assert judge(Level(), mesh, times_s, wave, speaks, []) is None
    speaks[100:] = True
    half = judge(Level(), mesh, times_s, wave, speaks, [])
    assert half.stretches == 2 and np.isnan(half.nearer)
    assert judge(Level(), mesh[:50], times_s[:50], wave, speaks[100:150], []) is None  # two seconds say nothing
    assert judge(Level(), mesh[:75], times_s[:75], wave, speaks[100:175], []).stretches == 1


def test_digital_silence_is_no_foreign_sound():
    wave = np.concatenate([np.zeros(8000), np.ones(4000), np.zeros(4000)]).astype(np.float32)
    assert len(spoken_only(wave)) == 4000 and not len(spoken_only(wave[:8000]))


def test_the_goal_weighs_stretches_of_clips_it_never_saw():
    def face(clip: str, seen: bool, **numbers: float) -> list[dict]:
        return [row("expert", k, v, clip=clip, seen=seen, track="shot_0001/face_1") for k, v in numbers.items()]

    rows = face("a", False, stretches=9, consistent=1.0, nearer=0.9) + face("b", False, stretches=1, consistent=0.0)
    rows += face("known", True, stretches=50, consistent=0.0, nearer=0.0)
    found = {g.what: g for g in goals(rows)}
    assert found["expert: offsets found, part"].value == pytest.approx(0.9)
    assert found["expert: own sound told from foreign, part"].value == pytest.approx(0.9)
    assert "10 stretches" in found["expert: offsets found, part"].over
