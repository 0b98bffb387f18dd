"""Film time: exact at every rate, and named as SMPTE names it."""

from fractions import Fraction

import numpy as np
import pytest

from dubbing.clock import Timecode, Timeline, samples_at
from dubbing.errors import ManifestError

RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50),
         Fraction(60000, 1001)]  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "named"),
    [(0, "00:00:00;00"), (1799, "00:00:59;29"), (1800, "00:01:00;02"), (17981, "00:09:59;29"), (17982, "00:10:00;00"),
     (107892, "01:00:00;00")],
)  # fmt: skip
def test_drop_frame_skips_two_names_a_minute_but_for_every_tenth(frames: int, named: str) -> None:
    assert str(Timecode(frames, 30, drop=True)) == named
    assert Timecode.parse(named, Fraction(30000, 1001)).frames == frames


@pytest.mark.parametrize("rate", RATES)
def test_every_frame_of_an_hour_has_one_name(rate: Fraction) -> None:
    start = Timecode.parse("01:00:00:00", rate)
    for frames in range(0, 90000, 997):
        assert Timecode.parse(str(start + frames), rate) == start + frames


def test_fractional_rates_count_to_their_nominal_base() -> None:
    assert str(Timecode.parse("01:00:00:00", Fraction(24000, 1001)) + 1224) == "01:00:51:00"


@pytest.mark.parametrize("text", ["1:00:00:00", "01:00:00:24", "01:60:00:00", "noon", ""])
def test_what_is_no_timecode_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ManifestError, match="HH:MM:SS:FF with frames 00 to 23"):
        Timecode.parse(text, Fraction(24000, 1001))


@pytest.mark.parametrize("rate", RATES)
def test_samples_never_drift(rate: Fraction) -> None:
    """Two hours in, a frame's first sample is where exact arithmetic puts it, and frame_at finds the frame again."""
    base = 1 / rate
    count = int(7200 * rate)
    line = Timeline(np.arange(count, dtype=np.int64), base, count, rate)
    for frame in (0, 1, count // 3, count - 1):
        assert line.sample(frame, 48000) == samples_at(frame / rate, 48000)
        assert line.frame_at(line.time(frame)) == frame
        assert line.frame_at(line.time(frame) + base / 2) == frame
    assert line.duration == count / rate


def test_variable_rate_shows_each_frame_until_the_next() -> None:
    line = Timeline(np.array([100, 103, 110, 111]), Fraction(1, 100), 120, Fraction(25))
    assert [line.frame_at(Fraction(t, 100)) for t in (0, 2, 3, 9, 10, 11, 19, 500)] == [0, 0, 1, 1, 2, 3, 3, 3]
    assert line.times_s().tolist() == pytest.approx([0, 0.03, 0.10, 0.11])
    assert line.times_s(centre=True).tolist() == pytest.approx([0.015, 0.065, 0.105, 0.155])
    assert line.time(4) == line.duration == Fraction(1, 5)
