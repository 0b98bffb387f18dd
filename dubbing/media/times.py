"""Film time of a file: from the raw pts of its frames to a `Timeline`, and a Timeline on disk.

The rule that numbers frames is here once, and `read` follows it: frame n is the n-th frame that the
decoder shows. Raw pts are kept where they increase; where a container has none or shuffles them
(AVI, MPEG program streams), they are put in order or counted. It knows no file of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError

__all__ = ["load_timeline", "save_timeline", "shown_pts"]

_FILE = "timeline.npz"


def shown_pts(raw: Sequence[int | None], step: int) -> np.ndarray:
    """Strictly increasing pts, int64 (N,), one for each of N frames in the order they are shown.

    raw: the pts the decoder gave, None where it gave none; step: pts between frames at nominal rate.
    """
    known = [p for p in raw if p is not None]
    if len(known) == len(raw):
        pts = np.array(known, np.int64)
        if np.all(np.diff(pts) > 0):
            return pts
        pts = np.sort(pts)
        if np.all(np.diff(pts) > 0):
            return pts
    out = np.empty(len(raw), np.int64)
    first = next((n for n, p in enumerate(raw) if p is not None), 0)
    last = (known[0] if known else 0) - (first + 1) * step
    for n, p in enumerate(raw):
        last = p if p is not None and (n == 0 or p > last) else last + step
        out[n] = last
    return out


def save_timeline(folder: Path, timeline: Timeline) -> None:
    """Write `timeline.npz` into a folder."""
    np.savez(
        folder / _FILE,
        pts=timeline.pts,
        end_pts=np.int64(timeline.end_pts),
        time_base=np.array([timeline.time_base.numerator, timeline.time_base.denominator], np.int64),
        rate=np.array([timeline.rate.numerator, timeline.rate.denominator], np.int64),
        start_tc=np.array(timeline.start_tc),
    )


def load_timeline(folder: Path | str) -> Timeline:
    """The Timeline of a folder (or of the file itself). Raises MediaError when it is not there."""
    path = Path(folder)
    path = path / _FILE if path.is_dir() else path
    try:
        with np.load(path) as data:
            return Timeline(
                pts=data["pts"],
                time_base=Fraction(*(int(v) for v in data["time_base"])),
                end_pts=int(data["end_pts"]),
                rate=Fraction(*(int(v) for v in data["rate"])),
                start_tc=str(data["start_tc"]),
            )
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as e:
        raise MediaError(f"There is no timeline at {path} ({e}).") from e
