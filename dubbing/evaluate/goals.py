"""The goals that the built-in generator is judged by, beside what was measured, and how sure that is.

A value is a median over speakers with its 95 % interval (`yardstick.confidence`), but where `over` says otherwise. It
knows no clip and no page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dubbing.errors import several
from dubbing.evaluate.measurements import by_clip, median_of
from dubbing.evaluate.speakers import of_speakers, persons
from dubbing.evaluate.yardstick import confidence

__all__ = ["IN_SYNC_S", "Goal", "goals"]

IN_SYNC_S = 0.08  # a clip whose lips and sound lie further apart, by the prior's best lag, is out of sync

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """One line of the goals' table. value: None where nothing was measured; low, high: what is allowed; over: of what
    the value is the median; interval: where the value lies with a chance of 95 %, None of fewer than two."""

    what: str
    value: float | None
    low: float | None
    high: float | None
    over: str
    digits: int = 2
    interval: tuple[float, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value lies where it should; None where there is none."""
        if self.value is None:
            return None
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def wanted(self) -> str:
        """The goal in words."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"

    @property
    def measured(self) -> str:
        """The value in words, `0.44 [0.31, 0.62]`."""
        if self.value is None:
            return ""
        told = f"{self.value:.{self.digits}f}"
        if self.interval is None:
            return told
        low, high = self.interval
        return f"{told} [{low:.{self.digits}f}, {high:.{self.digits}f}]"


def goals(rows: Rows) -> list[Goal]:
    """The goals of the built-in generator, with what was measured."""
    rows = [r for r in rows if r.get("input") != "still"]  # photographs and stills have numbers, and no goals
    seen = {r["clip"] for r in rows if r.get("seen")}  # a prior that knows the answers helps the fit too
    lag = by_clip(rows, "hearing", "prior_best_lag_s")
    unseen = [r for r in rows if r["clip"] not in seen]
    in_sync = [r for r in unseen if abs(lag.get(r["clip"], 0.0)) <= IN_SYNC_S]
    shots = _values(rows, "sync", "recovery")
    near = [float(v <= 1) for v in _values(rows, "sync", "offset_frames_abs")]
    told, told_over = _over_stretches(unseen, "consistent")
    nearer, nearer_over = _over_stretches(unseen, "nearer")
    return [
        _median("fitted, opening correlation", in_sync, "hearing", "fitted_opening_corr", 0.75, None,
                "in sync that the prior never saw"),
        _median("prior alone, opening correlation", unseen, "hearing", "prior_whole_opening_corr", 0.68, None,
                "that it never saw"),
        _median("prior alone, at the own lag", unseen, "hearing", "prior_best_corr", 0.68, None, "that it never saw"),
        _median("fitted, width correlation", in_sync, "hearing", "fitted_width_corr", 0.55, None,
                "in sync that the prior never saw"),
        _part("lips shut between open frames: met", in_sync, "fitted_met", "closures", 0.9, None,
              f"true closures{_by_chance(in_sync)}"),
        _part("lips shut where they are open", in_sync, "fitted_false", "fitted_closures", None, 0.15,
              "predicted closures"),
        _median("following", rows, "following", "opening_corr", 0.95, None),
        _median("steadiness, lip points", rows, "steadiness", "lips", 0.8, 1.2),
        _median("sharpness", rows, "rendering", "sharpness", 0.9, 1.1),
        _median("seam", rows, "seam", "edge", None, 1.1),
        Goal("recovery ratio", median_of(shots), 0.9, None, several(len(shots), "dubbed shot"),
             interval=confidence(shots, median_of)),
        Goal("offset within one frame, part of shots", sum(near) / len(near) if near else None, 1.0, None,
             several(len(near), "dubbed shot")),
        Goal("expert: offsets found, part", told, 0.85, None, f"{told_over} stretches of 4 s it never saw"),
        Goal("expert: own sound told from foreign, part", nearer, 0.98, None, f"{nearer_over} stretches of 4 s"),
        _median("rendering, ms a frame", rows, "rendering", "render_ms_per_frame", None, 15.0, digits=1),
        _median("fitting, s for 10 minutes at 25 fps", rows, "hearing", "fit_ms_per_frame", None, 120.0, digits=0,
                times=15.0),
    ]  # fmt: skip


def _median(
    what: str, rows: Rows, measure: str, name: str, low: float | None, high: float | None, which: str = "",
    digits: int = 2, times: float = 1.0,
) -> Goal:  # fmt: skip
    """The median over speakers of a number, `times` as large."""
    values = [v * times for v in of_speakers(rows, measure, name).values()]
    over = f"{several(len(values), 'speaker')} {which}".strip()
    return Goal(what, median_of(values), low, high, over, digits, confidence(values, median_of))


def _part(
    what: str, rows: Rows, name: str, of: str, low: float | None, high: float | None, things: str
) -> Goal:  # fmt: skip
    """The part of all closures of all speakers: one closure counts as much as another."""
    whose = persons(rows)
    held: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for n, r in enumerate(rows):
        if r["measure"] == "hearing" and r.get("value") is not None and r.get("name") in (name, of):
            held[whose[n]][int(r["name"] == of)] += r["value"]
    pairs = [(a, b) for a, b in held.values() if b]

    def part(drawn: Sequence[tuple[float, float]]) -> float | None:
        total = sum(b for _, b in drawn)
        return sum(a for a, _ in drawn) / total if total else None

    count = int(sum(b for _, b in pairs))
    return Goal(what, part(pairs), low, high, f"{count} {things} of {several(len(pairs), 'speaker')}", 2,
                confidence(pairs, part))  # fmt: skip


def _by_chance(rows: Rows) -> str:
    """What part of the true closures a prediction meets that knows nothing of when, in words."""
    met, true = (sum(_values(rows, "hearing", name)) for name in ("fitted_met_by_chance", "closures"))
    return f" ({met / true:.2f} by chance)" if met and true else ""


def _over_stretches(rows: Rows, name: str) -> tuple[float | None, int]:
    """A number of the sync expert's over all stretches, and how many they are."""
    by_face: dict[tuple[str, str | None], dict[str, float]] = defaultdict(dict)
    for r in rows:
        if r["measure"] == "expert" and r.get("value") is not None:
            by_face[(r["clip"], r.get("track"))][r["name"]] = r["value"]
    faces = [f for f in by_face.values() if name in f and "stretches" in f]
    total = sum(f["stretches"] for f in faces)
    return (sum(f[name] * f["stretches"] for f in faces) / total if total else None), int(total)


def _values(rows: Iterable[Mapping[str, Any]], measure: str, name: str) -> list[float]:
    """Every single number of a name."""
    named = (r for r in rows if (r["measure"], r.get("name")) == (measure, name))
    return [r["value"] for r in named if r.get("value") is not None]
