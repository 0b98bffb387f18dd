"""Shots: where the cuts of a film are, by one decoding pass of small pictures or by a supplied cut list, and where it
dissolves or fades.

The same pass fixes the film's timeline (every frame's pts), which all other stages read. A long film is looked through
in windows, by several workers at once, with the same result; where they do not fit together in every respect, one pass
decides. It knows no faces and no sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dubbing import media
from dubbing.analysis.cutlist import read_cuts
from dubbing.analysis.cuts import SCAN_WIDTH_PX, CutFinder
from dubbing.analysis.mixes import MixFinder
from dubbing.analysis.scanned import Unjoined, joined, load_window, save_window, scan_window
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import StillFilm
from dubbing.clock import Timeline
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import WindowedFilm, uncounted

__all__ = ["Shots", "ShotsInputs"]


@dataclass(frozen=True)
class ShotsInputs(WindowedFilm):
    """The inputs of the stage `shots`, or of a window of it."""

    film: File
    """The film, or the one that is made of a photograph."""
    cuts: File | None = None
    """A cut list to use instead of looking."""
    threshold: float | None = None
    """How many times the change around it a cut must be; None where nothing is looked for."""
    min_frames: int | None = None
    """Least length of a shot that is found, in frames."""
    still: Ref[StillFilm] | None = uncounted("its content is the film's", default=None)
    """The result of `still`, whose film is one shot."""
    span: media.FilmSpan | None = None
    """Where the window that this task does lies in the file; None for the whole film."""


class Shots(Stage[ShotsInputs, ShotList]):
    """The shots of one title, and its timeline. Raises DamagedMedia, and ManifestError for a cut list that does not
    fit."""

    name: ClassVar[str] = "shots"
    version = 3
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=700, picture_mb=8)
    expands = True
    chain_ms = 100.0

    @classmethod
    def inputs(cls, at: Place) -> ShotsInputs:
        if at.made_of is not None:
            return ShotsInputs(at.film, still=at.ref(StillFilm), end=at.frames_hint)
        cuts = at.file(at.title.shots) if at.title.shots else None
        return ShotsInputs(at.film, cuts, at.config.shots.threshold, at.config.shots.min_frames, end=at.frames_hint)

    @classmethod
    def windows(cls, inputs: ShotsInputs, at: Place) -> list[ShotsInputs]:
        """Of a long film whose cuts are looked for."""
        if inputs.still is not None or inputs.cuts is not None:
            return []
        return [replace(inputs, window=(span.start, span.end), span=span) for span in at.spans]

    def process(self, inputs: ShotsInputs, out: Path, progress: Callable[[int], None]) -> ShotList:
        source, why = inputs.film.path, ""
        if inputs.span is not None:
            assert inputs.threshold is not None
            window = scan_window(source, inputs.span, inputs.threshold, progress)
            save_window(out, window)
            return ShotList(len(window.pts), (), in_one_pass=window.why)
        if inputs.still is not None:
            film = media.timeline(source)
            progress(len(film))
            return _saved(out, film, [], [])
        if inputs.parts is not None and inputs.min_frames is not None:
            try:
                return _saved(out, *joined([load_window(part.folder) for part in inputs.parts], inputs.min_frames))
            except Unjoined as e:
                why = str(e)
        scan = media.scan(source, SCAN_WIDTH_PX)
        mix_finder, cut_finder = MixFinder(scan.rate), None
        if inputs.cuts is None:
            assert inputs.threshold is not None and inputs.min_frames is not None
            cut_finder = CutFinder(inputs.threshold, inputs.min_frames)
        for _, bgr_HWC in scan:
            mix_finder.feed(bgr_HWC)
            if cut_finder is not None:
                cut_finder.feed(bgr_HWC)
            progress(1)
        film = scan.timeline
        if cut_finder is not None:
            cuts = cut_finder.finish()
        else:
            assert inputs.cuts is not None
            cuts = read_cuts(inputs.cuts.path, film, media.changes(source, film))
        return _saved(out, film, cuts, mix_finder.finish(), why)


def _saved(out: Path, film: Timeline, cuts: list[int], mixes: list[tuple[int, int]], why: str = "") -> ShotList:
    edges = [0, *cuts, len(film)]
    media.save_timeline(out, film)
    return ShotList(len(film), tuple(zip(edges[:-1], edges[1:], strict=True)), tuple(mixes), why)
