"""Shots: where the cuts of a film are, by one decoding pass of small pictures or by a supplied cut list, and where it
dissolves or fades.

The same pass fixes the film's timeline (every frame's pts), which all other stages read. It knows no faces and no
sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dubbing import media
from dubbing.analysis.cutlist import read_cuts
from dubbing.analysis.cuts import SCAN_WIDTH_PX, CutFinder
from dubbing.analysis.mixes import MixFinder
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import StillFilm
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

__all__ = ["Shots", "ShotsInputs"]


@dataclass(frozen=True)
class ShotsInputs(Inputs):
    """The inputs of the stage `shots`."""

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
            return ShotsInputs(at.film, still=at.ref(StillFilm))
        cuts = at.file(at.title.shots) if at.title.shots else None
        return ShotsInputs(at.film, cuts, at.config.shots.threshold, at.config.shots.min_frames)

    @classmethod
    def covers(cls, inputs: Inputs, at: Place) -> int:
        return at.frames_hint

    def process(self, inputs: ShotsInputs, out: Path, progress: Callable[[int], None]) -> ShotList:
        source = inputs.film.path
        cuts: list[int] = []
        mixes: list[tuple[int, int]] = []
        if inputs.still is not None:
            film = media.timeline(source)
            progress(len(film))
        else:
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
            film, mixes = scan.timeline, mix_finder.finish()
            if cut_finder is not None:
                cuts = cut_finder.finish()
            elif inputs.cuts is not None:
                cuts = read_cuts(inputs.cuts.path, film, media.changes(source, film))
        edges = [0, *cuts, len(film)]
        media.save_timeline(out, film)
        return ShotList(len(film), tuple(zip(edges[:-1], edges[1:], strict=True)), tuple(mixes))
