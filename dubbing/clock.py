"""Film time: integer pts, exact rates, sample counts and SMPTE timecode.

Nothing here knows a file or a codec. Seconds appear only as `Fraction`, or in text a person reads.
SMPTE timecode counts frames as SMPTE ST 12-1 does, drop-frame included (`;` before the frames).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dubbing.errors import ManifestError

__all__ = ["Timecode", "Timeline", "frame_of", "joined", "mask_of", "runs", "samples_at"]


def samples_at(time_s: Fraction, rate_hz: int) -> int:
    """The sample count at an exact time, rounded half up."""
    return int((time_s * rate_hz * 2 + 1) // 2)


def runs(mask_N: np.ndarray, first_frame: int = 0) -> list[tuple[int, int]]:
    """Where a mask of frames is True, as frames [start, end). mask_N: bool (N,), of frames from first_frame on."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask_N.astype(np.int8), [0]])))
    return [(first_frame + int(a), first_frame + int(b)) for a, b in edges.reshape(-1, 2)]


def joined(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies in any of these stretches [a, b), sorted and apart; those that touch are one."""
    found: list[tuple[int, int]] = []
    for a, b in sorted(stretches):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return found


def mask_of(stretches: Iterable[tuple[int, int]], start: int, end: int) -> np.ndarray:
    """The frames [start, end) that lie in one of the stretches [a, b), bool."""
    mask_N = np.zeros(end - start, bool)
    for a, b in stretches:
        mask_N[max(0, a - start) : max(0, b - start)] = True
    return mask_N


@dataclass(frozen=True)
class Timecode:
    """SMPTE timecode of one frame: a count of frames since 00:00:00:00 at an integer base.

    frames: count since midnight; base: frames a second as counted (24 for 24000/1001, 30 for
    30000/1001); drop: drop-frame counting (only at bases 30 and 60).
    """

    frames: int
    base: int
    drop: bool = False

    @classmethod
    def parse(cls, text: str, rate: Fraction) -> Timecode:
        """Parse `HH:MM:SS:FF`, or `HH:MM:SS;FF` for drop-frame, at `rate` frames a second.

        Raises ManifestError when the text is no timecode at that rate.
        """
        m = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d{2,3})", text.strip(), re.ASCII)
        base = counting_base(rate)
        if not m or int(m[2]) > 59 or int(m[3]) > 59 or int(m[5]) >= base:
            raise ManifestError(
                f"{text[:40]!r} is not a timecode at {rate} frames a second: "
                f"write HH:MM:SS:FF with frames 00 to {base - 1:02d}."
            )
        h, mi, s, f = int(m[1]), int(m[2]), int(m[3]), int(m[5])
        drop = m[4] in ";." and base % 30 == 0
        n = ((h * 60 + mi) * 60 + s) * base + f
        if drop:
            minutes = h * 60 + mi
            n -= (base // 15) * (minutes - minutes // 10)
        return cls(n, base, drop)

    @property
    def day(self) -> int:
        """Frames of a day, as it counts them."""
        return self.base * 86_400 - (self.base // 15 * 1_296 if self.drop else 0)

    def __add__(self, frames: int) -> Timecode:
        return Timecode(self.frames + frames, self.base, self.drop)

    def __str__(self) -> str:
        base, n = self.base, self.frames
        if self.drop:
            skip = base // 15
            per_10min, per_min = base * 600 - skip * 9, base * 60 - skip
            tens, rest = divmod(n, per_10min)
            n += skip * 9 * tens
            if rest >= base * 60:
                n += skip * (1 + (rest - base * 60) // per_min)
        s, f = divmod(n, base)
        m, s = divmod(s, 60)
        h, m = divmod(m, 60)
        return f"{h % 24:02d}:{m:02d}:{s:02d}{';' if self.drop else ':'}{f:02d}"


def frame_of(text: str, rate: Fraction, start_tc: str | None) -> int:
    """The frame of a film that has this timecode, 0 to a day's frames: a film may run over midnight.

    rate: frames a second; start_tc: timecode of the film's frame 0, None where it has none. Raises ManifestError: it is
    no timecode at that rate, it counts drop-frame where the film does not or the other way round, or drop-frame leaves
    it out.
    """
    text = text.strip()
    first, code = Timecode.parse(start_tc or "00:00:00:00", rate), Timecode.parse(text, rate)
    drop = text[8] in ";."
    if drop != first.drop:
        said = f"starts at {first}" if start_tc else f"has no timecode, so it is counted from {first}"
        raise ManifestError(
            f"{text} counts {'drop-frame' if drop else 'non-drop'}, but the film {said}; write timecode as the film "
            f"counts it, with {';' if first.drop else ':'} before the frames."
        )
    if str(code) != f"{text[:8]}{';' if drop else ':'}{int(text[9:]):02d}":
        raise ManifestError(
            f"{text} is no timecode of a day, or one that drop-frame leaves out; write one that the film has."
        )
    return (code.frames - first.frames) % first.day


def counting_base(rate: Fraction) -> int:
    """Frames a second as timecode counts them: 24 for 24000/1001, 30 for 30000/1001."""
    return max(1, int(rate + Fraction(1, 2)))


@dataclass(frozen=True, eq=False)
class Timeline:
    """When every frame of one picture is shown. Frame n shows during [pts_n, pts_n+1).

    pts: int64 (N,), strictly increasing, in `time_base` seconds; end_pts: where the last frame
    ends; rate: nominal frames a second (for timecode only); start_tc: timecode of frame 0, as text.
    """

    pts: np.ndarray
    time_base: Fraction
    end_pts: int
    rate: Fraction
    start_tc: str = "00:00:00:00"

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def duration(self) -> Fraction:
        """From the first frame's start to the last frame's end, in seconds."""
        return (self.end_pts - int(self.pts[0])) * self.time_base

    def time(self, frame: int) -> Fraction:
        """Seconds from the start of frame 0 to the start of `frame` (`len` gives the end)."""
        pts = self.end_pts if frame >= len(self.pts) else int(self.pts[frame])
        return (pts - int(self.pts[0])) * self.time_base

    def sample(self, frame: int, rate_hz: int) -> int:
        """The sound sample at which `frame` begins, at `rate_hz`."""
        return samples_at(self.time(frame), rate_hz)

    def times_s(self, start: int = 0, end: int | None = None, centre: bool = False) -> np.ndarray:
        """float64 seconds at which frames [start, end) begin (or their middles), for signals only."""
        ends = np.append(self.pts[1:], self.end_pts)
        t = (self.pts + ends) / 2.0 if centre else self.pts.astype(np.float64)
        return (t[start:end] - float(self.pts[0])) * float(self.time_base)

    def frame_at(self, time_s: Fraction) -> int:
        """The frame shown at `time_s` seconds after frame 0's start, clamped to the film."""
        pts = int(self.pts[0]) + time_s / self.time_base
        n = int(np.searchsorted(self.pts, int(pts // 1), side="right")) - 1
        return min(max(n, 0), len(self.pts) - 1)

    def timecode(self, frame: int) -> str:
        """SMPTE name of `frame`."""
        return str(Timecode.parse(self.start_tc, self.rate) + frame)
