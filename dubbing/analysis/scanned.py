"""The cuts, mixes and times of a long film, found window by window and joined: exactly those of one pass over it, or no
film at all.

A window is decoded from seconds before it, so that its finders remember, where it begins, what those of one pass would.
That is not taken for granted. The window before tells in what state its own finders are there, and cuts of what comes
next are taken from the window whose finder is in that very state: from there on both find the same, so that by
induction all of it is what one pass finds. Where pictures repeat each other a finder may come into step only later:
the window before goes on until then, with a second finder that begins where that of the next window does.
`joined` refuses what does not fit. It knows no task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dubbing.analysis.cuts import SCAN_WIDTH_PX, CutFinder, FoundCut, kept_cuts
from dubbing.analysis.mixes import Mix, Mixes, MixFinder
from dubbing.clock import Timeline
from dubbing.errors import DamagedResult, MediaError
from dubbing.media import FilmSpan, SpanScan

__all__ = ["Unjoined", "Window", "joined", "load_window", "save_window", "scan_window"]

HANDOVER_S = 20.0  # after the end of a window for which it is tried to come into step with the next
_FILE = "window.npz"
_THREADS = 4  # of a decoder: as many windows as there are workers are looked through at once
_NEVER = -1


class Unjoined(Exception):
    """What windows have found does not make one film; says why, in words."""


@dataclass(frozen=True, eq=False)
class Window:
    """What was found in one window of a film."""

    why: str
    """Why there is nothing of it, in words; empty where there is."""
    first_frame: int
    """Its first frame, as the film's index counts them."""
    pts: np.ndarray
    """Times of its frames, int64 (N,)."""
    end_pts: int
    """Where the last frame that was decoded ends."""
    film: tuple[str, ...]
    """What its file says of the whole film, and what its pictures are: the same in all windows."""
    packets: int
    """Packets of its pictures."""
    promised: int
    """How many of the film its header promises; 0 where it does not."""
    early: bool
    """Whether the file ends earlier than its header says."""
    cuts: np.ndarray
    """What was found in all that was decoded, int64 (M, 3), as `FoundCut`."""
    ends: np.ndarray
    """Ends of mixes, float64 (K, 5): of how many pictures looked at the last one is, and the fields of `Mix`."""
    mixes_before: int
    """State of the finder of mixes before its first frame."""
    mixes_after: int
    """The same after its last frame."""
    cuts_before: np.ndarray
    """States of the finder of cuts before the first frame and after each of the first ones, int64 (S,)."""
    handover: int
    """The frame after which cuts are the next window's; -1 where its finder did not come into step."""
    cuts_handed: int
    """State of the finder of cuts after that frame."""


class _Noted:
    """Ends of mixes, once they are in the window."""

    def __init__(self) -> None:
        self.on = False
        self.rows: list[tuple[float, ...]] = []

    def take(self, looked: int, ends: list[Mix]) -> None:
        if self.on:
            self.rows += [(looked, m.start, m.end, m.change, m.length) for m in ends]


def scan_window(path: str | Path, span: FilmSpan, threshold: float, progress: Callable[[int], None]) -> Window:
    """Look through one window of a film. threshold: as of `CutFinder`. A file that cannot be decoded so leaves a window
    that says why."""
    try:
        return _scanned(path, span, threshold, progress)
    except MediaError:  # one pass over the film tells what is damaged, if anything is: here frames have no numbers yet
        none = np.zeros(0, np.int64)
        return Window(
            "it cannot be decoded from its middle on", 0, none, 0, (), 0, 0, True, none, none, 0, 0, none, _NEVER, 0
        )


def _scanned(path: str | Path, span: FilmSpan, threshold: float, progress: Callable[[int], None]) -> Window:
    noted, pts = _Noted(), list[int]()
    cuts: CutFinder | None = None
    mixes: MixFinder | None = None
    following: CutFinder | None = None
    first_frame = end_pts = mixes_before = mixes_after = cuts_handed = 0
    before: list[int] = []
    handover = _NEVER
    with SpanScan(path, span, SCAN_WIDTH_PX, _THREADS) as scan:
        rate = scan.film.rate
        longest = max(1, round(HANDOVER_S * rate))
        for number, at, bgr_HWC in scan:
            if cuts is None or mixes is None:
                cuts, mixes = CutFinder(threshold, first=number), MixFinder(rate, number, noted)
            if following is None and scan.next_pts is not None and at >= scan.next_pts:
                following = CutFinder(threshold, first=number)
            if scan.after_pts is not None and at >= scan.after_pts:
                if not mixes_after:
                    mixes_after = mixes.state()
                cuts_handed = cuts.state()
                if following is not None and following.state() == cuts_handed:
                    handover = number - 1
                    break
                if following is None or number - first_frame - len(pts) >= longest:
                    break
            elif scan.first_pts is not None and at >= scan.first_pts:
                if not noted.on:
                    noted.on, first_frame = True, number
                    mixes_before, before = mixes.state(), [cuts.state()]
                elif len(before) < longest:
                    before.append(cuts.state())
                pts.append(at)
                end_pts = scan.end_pts
                mixes.feed(bgr_HWC)
                progress(1)
            else:
                mixes.feed(bgr_HWC)
            cuts.feed(bgr_HWC)
            if following is not None:
                following.feed(bgr_HWC)
        film, early = scan.film, span.after is None and scan.film.ends_early
        if cuts is None or not pts:
            raise MediaError(f"{path} shows no picture between frames {span.start} and {span.end}.")
        if span.after is None:
            cuts.end()
        told = (*map(str, film.shape), str(film.stream.time_base), str(rate), film.start_tc)
        return Window(
            "", first_frame, np.array(pts, np.int64), end_pts, told, scan.packets, film.promised, early,
            np.array(cuts.found, np.int64).reshape(-1, 3), np.array(noted.rows, np.float64).reshape(-1, 5),
            mixes_before, mixes_after, np.array(before, np.int64), handover, cuts_handed,
        )  # fmt: skip


def save_window(folder: Path, window: Window) -> None:
    """Write what was found into a folder."""
    np.savez(folder / _FILE, **{f.name: np.array(getattr(window, f.name)) for f in fields(window)})


def load_window(folder: Path) -> Window:
    """What was found, from a folder. Raises DamagedResult."""
    try:
        with np.load(folder / _FILE) as held:
            told = {f.name: held[f.name] for f in fields(Window)}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as e:
        raise DamagedResult(f"{str(folder / _FILE)!r} is damaged ({e}); run the job again.", folder) from e
    whole = {"pts", "cuts", "ends", "cuts_before"}
    plain = {name: value if name in whole else value.tolist() for name, value in told.items()}
    return Window(**{**plain, "film": tuple(plain["film"])})


def joined(windows: Sequence[Window], min_frames: int) -> tuple[Timeline, list[int], list[tuple[int, int]]]:
    """The film's times, its cuts and its mixes, from all of its windows in order. min_frames: as of `CutFinder`.

    Raises Unjoined where any of it may be another than one pass would find."""
    for window in windows:
        if window.why:
            raise Unjoined(window.why)
    first, last = windows[0], windows[-1]
    if any(one.film != first.film for one in windows):
        raise Unjoined("its pictures are not of one kind")
    _, _, _, _, time_base, rate_text, start_tc = first.film
    rate = Fraction(rate_text)
    if first.first_frame:
        raise Unjoined("its index does not begin with its first frame")
    for a, b in pairwise(windows):
        if (end := a.first_frame + len(a.pts)) != b.first_frame:
            raise Unjoined(f"by its index a key frame is frame {b.first_frame}, and it shows it as frame {end}")
    pts = np.concatenate([one.pts for one in windows])
    if not np.all(np.diff(pts) > 0):
        raise Unjoined("the times of its frames do not increase")
    if last.early or sum(one.packets for one in windows) < first.promised:
        raise Unjoined("it ends earlier than its header says")
    found: list[FoundCut] = []
    began = _NEVER  # the last frame after which cuts are not yet this window's
    for n, window in enumerate(windows):
        ended = window.handover
        if window is last:
            ended = len(pts) + 1  # what the last frames leave open is found after them
        else:
            after = windows[n + 1]
            place = ended + 1 - after.first_frame
            if not began <= ended or not 0 <= place < len(after.cuts_before):
                raise Unjoined(f"its pictures around frame {after.first_frame} hardly change for too long")
            if after.cuts_before[place] != window.cuts_handed or after.mixes_before != window.mixes_after:
                raise Unjoined(
                    f"its pictures before frame {after.first_frame} are others when decoding begins shortly before them"
                )
        found += [(at, cut, bool(fade)) for at, cut, fade in window.cuts.tolist() if began < at <= ended]
        began = ended
    mixes = Mixes(rate)
    for window in windows:
        for looked in np.unique(window.ends[:, 0]).tolist():
            rows = window.ends[window.ends[:, 0] == looked].tolist()
            mixes.take(int(looked), [Mix(int(a), int(b), change, int(length)) for _, a, b, change, length in rows])
    line = Timeline(pts, Fraction(time_base), last.end_pts, rate, start_tc)
    return line, kept_cuts(found, len(pts), min_frames), mixes.finish(len(pts))
