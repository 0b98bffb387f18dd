"""What every metric keeps; see `dubbing.metrics.Metric`."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from dubbing import metrics, plugins
from dubbing.metrics import FramePair, Metric, RenderedShot
from dubbing.testing import material

__all__ = ["MetricContract"]

_SIDE = 200  # of the pictures of a frame, px


class MetricContract:
    """A subclass gives `name`."""

    name: ClassVar[str]

    @pytest.fixture
    def metric(self) -> Metric:
        """The metric that is tried."""
        return metrics.load(self.name)

    def test_it_is_found_by_its_name_and_says_what_it_is(self, metric: Metric) -> None:
        assert self.name in metrics.names(), f"no entry point {self.name!r} in the group {plugins.METRICS}"
        assert isinstance(metric.version, int) and isinstance(metric.unit, str)
        low, high = metric.range
        assert low < high

    def test_a_shot_has_a_number_within_its_range(self, metric: Metric) -> None:
        found = of(metric, shot())
        assert found is not None, "the shot has speech, silence, an original and wanted openings"
        assert math.isfinite(found) and metric.range[0] <= found <= metric.range[1]

    def test_a_shot_that_lacks_something_has_a_number_or_none(self, metric: Metric) -> None:
        whole = shot()
        nothing = np.zeros(len(whole.frames_N), bool)
        for one in (
            replace(whole, source_wave=None, source_silent_N=nothing),
            replace(whole, silent_N=nothing),
            replace(whole, wanted_N=np.full(len(nothing), np.nan)),
            replace(whole, wave=np.zeros_like(whole.wave)),
            shot(6),
        ):
            found = of(metric, one)
            assert found is None or metric.range[0] <= found <= metric.range[1]

    def test_the_same_shot_has_the_same_number_and_is_left_as_it_was(self, metric: Metric) -> None:
        one, kept = shot(), shot()
        assert of(metric, one) == of(metric, one) == of(metrics.load(self.name), kept)
        for name in (f.name for f in fields(RenderedShot)):
            np.testing.assert_array_equal(getattr(one, name), getattr(kept, name))

    def test_every_frame_gives_as_many_numbers_and_is_left_as_it_was(self, metric: Metric) -> None:
        lengths = set()
        for one, kept in zip(pairs(shot()), pairs(shot()), strict=True):
            numbers = metric.frame(one)
            assert all(math.isfinite(n) for n in numbers)
            lengths.add(len(numbers))
            for name in ("before_HWC", "after_HWC", "before_P2", "after_P2"):
                np.testing.assert_array_equal(getattr(one, name), getattr(kept, name))
        assert len(lengths) == 1


def of(metric: Metric, one: RenderedShot) -> float | None:
    """The metric's number of a shot, its frames shown first."""
    said = [tuple(metric.frame(pair)) for pair in pairs(one)]
    found = metrics.measure([metric], one, {metric.name: [s for s in said if s]})
    assert len(found) <= 1
    return next(iter(found.values()), None)


def shot(count: int = 60) -> RenderedShot:
    """A face that was rendered in all but its first two frames: it opens as far as was wanted, or a little less."""
    was_N, now_N = material.openings(count), np.roll(material.openings(count), 7)
    silent_N, source_silent_N = now_N == 0, was_N == 0
    patched_N = np.arange(count) >= 2
    before, after = material.face(was_N), material.face(np.where(patched_N, 0.9 * now_N, was_N))
    wanted_N = np.where(patched_N, 0.2 * now_N, np.nan)
    frames_N = np.arange(material.LEAD, material.LEAD + count, dtype=np.int32)
    return RenderedShot(
        frames_N, np.arange(count) / 25, before, after, patched_N, wanted_N, silent_N, source_silent_N,
        material.voice(now_N), material.voice(was_N),
    )  # fmt: skip


def pairs(one: RenderedShot) -> list[FramePair]:
    """The rendered frames of a shot, in soft noise, the result a little softer."""
    rng = np.random.default_rng(3)
    found = []
    for n in np.flatnonzero(one.patched_N):
        corner = one.before_NP3[n, :, :2].min(0)
        before = cv2.GaussianBlur(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8), (0, 0), 1)
        after = cv2.GaussianBlur(before, (0, 0), 0.6)
        found.append(FramePair(int(one.frames_N[n]), before, after, one.before_NP3[n, :, :2] - corner,
                               one.after_NP3[n, :, :2] - corner))  # fmt: skip
    return found
