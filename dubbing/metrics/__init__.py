"""Metrics of a rendered shot besides LSE: their protocol, and how one is found by name.

A metric looks at one face of one shot as a viewer would: never at what a generator meant to draw, unless it asks how
far the mouth was meant to open. Another package adds one by an entry point of the group `dubbing.metrics`; its number
is then the column `metric_<name>` of shots.parquet. `dubbing.testing.MetricContract` are the tests that each has to
pass. It knows no file, no stage and no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np

from dubbing import plugins
from dubbing.face import canonical, mouth_measures
from dubbing.records import Samples

__all__ = ["COLUMN", "FramePair", "Metric", "RenderedShot", "built_in", "identities", "load", "looks", "measure",
           "names", "others"]  # fmt: skip

COLUMN = "metric_"  # what the names of other packages' columns begin with
_CLASS = ("version", "unit", "range", "frame", "of")


@dataclass(frozen=True, eq=False)
class FramePair:
    """One frame that was rendered: the face's surroundings in source and result, of one size and place.

    frame: its number in the title; before, after: uint8 (H, W, 3) BGR, or samples that become it when somebody asks
    for `before_HWC` and `after_HWC`; before_P2, after_P2: the meshes found in them, float32 (478, 2) pixels of these
    pictures. Only to read.
    """

    frame: int
    before: np.ndarray | Samples
    after: np.ndarray | Samples
    before_P2: np.ndarray
    after_P2: np.ndarray

    @property
    def before_HWC(self) -> np.ndarray:
        """uint8 (H, W, 3) BGR."""
        return self.before if isinstance(self.before, np.ndarray) else self.before.bgr

    @property
    def after_HWC(self) -> np.ndarray:
        """uint8 (H, W, 3) BGR."""
        return self.after if isinstance(self.after, np.ndarray) else self.after.bgr


@dataclass(frozen=True, eq=False)
class RenderedShot:
    """One face of one shot after rendering, over the N frames of its track, with the dub's sound.

    frames_N: numbers in the title; times_s_N: float64 seconds at which they begin, 0 at the waves' first sample;
    before_NP3, after_NP3: float32 (N, 478, 3) meshes found in source and result, pixels (equal where nothing was
    rendered); patched_N: bool, where something was; wanted_N: float64, how far the mouth was meant to open
    (inter-ocular distances), nan where that is not known; silent_N, source_silent_N: bool, well inside a silence of
    the dub, of the original (all False without original sound); wave, source_wave: float32 mono 16 kHz of dub and
    original under the track, source_wave None without; seen_KC: float64, what the metric's own `frame` said of the K
    rendered frames in their order, K 0 where it says nothing.
    """

    frames_N: np.ndarray
    times_s_N: np.ndarray
    before_NP3: np.ndarray
    after_NP3: np.ndarray
    patched_N: np.ndarray
    wanted_N: np.ndarray
    silent_N: np.ndarray
    source_silent_N: np.ndarray
    wave: np.ndarray
    source_wave: np.ndarray | None
    seen_KC: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @cached_property
    def opening_N(self) -> np.ndarray:
        """How far the mouth of the result stands open, float64 (N,), inter-ocular distances."""
        return mouth_measures(canonical(self.after_NP3)[0])["opening"]

    @cached_property
    def source_opening_N(self) -> np.ndarray:
        """How far the mouth of the source stands open, float64 (N,), inter-ocular distances."""
        return mouth_measures(canonical(self.before_NP3)[0])["opening"]

    def with_seen(self, seen_KC: np.ndarray) -> RenderedShot:
        """The same shot with what one metric said of its frames; openings are found once for all metrics."""
        other = replace(self, seen_KC=seen_KC)
        for name in ("opening_N", "source_opening_N"):
            other.__dict__[name] = getattr(self, name)
        return other


class Metric(Protocol):
    """The protocol of a metric. Inherit from it where single frames are not measured.

    name: of its entry point; version: raised when the same shot gives another number; unit: in words, "" for a ratio;
    range: the least and the largest number there can be.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    unit: ClassVar[str]
    range: ClassVar[tuple[float, float]]

    def frame(self, pair: FramePair) -> Sequence[float]:
        """Numbers of one rendered frame, as many for every frame; none by default. Pictures are given only once."""
        return ()

    def of(self, shot: RenderedShot) -> float | None:
        """The number of a shot, or None where it has none."""
        ...


def names() -> tuple[str, ...]:
    """The metrics there are, our own first; none is imported."""
    return plugins.names(plugins.METRICS)


def others() -> tuple[str, ...]:
    """The names of those that other packages add."""
    return plugins.others(plugins.METRICS)


def load(name: str) -> Metric:
    """The metric of that name. Raises PluginError: none, two packages with it, or one that cannot be used."""
    made: Metric = plugins.require(plugins.METRICS, name, _CLASS)()
    return made


def looks(metric: Metric) -> bool:
    """Whether a metric looks at single frames, and so needs their pictures."""
    return type(metric).frame is not Metric.frame


def built_in() -> list[Metric]:
    """Our own metrics: the columns of shots.parquet that bear their names."""
    return [load(name) for name in plugins.BUILT_IN[plugins.METRICS]]


def identities() -> list[str]:
    """`name@version of package` of those that other packages add: what a score depends on besides our own code."""
    return [f"{n}@{load(n).version} of {plugins.find(plugins.METRICS, n).package}" for n in others()]


def measure(
    metrics: Iterable[Metric], shot: RenderedShot, seen: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, float]:
    """The numbers that a shot has, by their columns: `<name>` of our own, `metric_<name>` of others'.

    seen: by the metric's name, what its `frame` said of the rendered frames in their order.
    """
    found: dict[str, float] = {}
    own: Any = plugins.BUILT_IN[plugins.METRICS]
    for metric in metrics:
        numbers = np.array(seen.get(metric.name, ()), np.float64)
        value = metric.of(shot.with_seen(numbers if numbers.ndim == 2 else np.zeros((0, 0))))
        if value is not None:
            found[metric.name if metric.name in own else f"{COLUMN}{metric.name}"] = float(value)
    return found
