"""Overlays: what lies over the faces of a shot and is no part of the scene; and which shots of a title have any.

Letters, logos and timecode are found by standing still (`analysis.burned_in`), and the manifest's `mask` adds to that.
Most are found with the faces already (`analysis.held`), for the rest the shot is decoded once more.
It decides nothing about takes: lipsync does. Few films have any, and what a take depends on changes only where there
is something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.asked import ShownFilm
from dubbing.analysis.burned_in import Cover, Search
from dubbing.analysis.given_masks import MaskPlace, frames_of, mask_in
from dubbing.artifact import File, Ref
from dubbing.artifacts.overlays import OverlayList, Overlays, load_letters, save_overlays
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["FindOverlays", "FindOverlaysInputs", "ListOverlays", "ListOverlaysInputs"]


@dataclass(frozen=True)
class FindOverlaysInputs(Inputs):
    """The inputs of the stage `overlays`."""

    faces: Ref[FaceTracks]
    """The shot's faces."""
    min_face_px: float
    """Least height of a face that is rendered, and so of one that is looked at."""
    start: int
    """First frame of the shot."""
    end: int
    """The frame after its last."""
    masks: tuple[File | None, ...] | None = None
    """The files of the manifest's masks, None of one that is a box; None where there are none."""
    places: tuple[MaskPlace, ...] | None = None
    """Where and when each of them holds."""
    film: File = uncounted("the faces were found in it", default=None)
    """The film."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""
    still: bool | None = None
    """True where the film is made of a photograph, in which nothing moves."""


class FindOverlays(Stage[FindOverlaysInputs, Overlays]):
    """What lies over the faces of one shot."""

    name: ClassVar[str] = "overlays"
    scope = Scope.SHOT
    resources = Resources(cpus=1.0, memory_mb=900, picture_mb=8)
    bad_input_costs = "shot"
    chain_ms = 55.0

    @classmethod
    def inputs(cls, at: Place) -> FindOverlaysInputs:
        shot, masks = at.shot, at.title.mask or ()
        return FindOverlaysInputs(
            at.ref(FaceTracks), at.config.speakers.min_face_px, shot.start_frame, shot.end_frame,
            tuple(at.file(m.file) if m.file is not None else None for m in masks) or None,
            tuple(MaskPlace(m.box, m.frames, m.timecodes) for m in masks) or None,
            at.film, at.ref(ShotList), True if at.made_of else None,
        )  # fmt: skip

    def process(self, inputs: FindOverlaysInputs, out: Path, progress: Callable[[int], None]) -> Overlays:
        """Writes the masks."""
        line = media.load_timeline(inputs.timeline.folder)
        info = media.probe(inputs.film.path)
        tracks = [t for t in load_tracks(inputs.faces.folder) if t.height_px >= inputs.min_face_px]
        covers: list[Cover] = []
        if tracks and inputs.places:
            film = ShownFilm(len(line), line.rate, line.start_tc, None)
            for file, place in zip(inputs.masks or (), inputs.places, strict=True):
                a, b = frames_of(place, film) or (0, len(line))
                a, b = max(a, inputs.start), min(b, inputs.end)
                if a < b:
                    whole_HW = mask_in(file.path if file else None, place, info.upright_size)
                    covers.append(_given(whole_HW, a, b))
        known = load_letters(inputs.faces.folder)
        unknown = [] if inputs.still else [t for t in tracks if t.id not in known]
        searches = [Search(t, info.upright_size, float(line.rate)) for t in unknown]
        wanted = frozenset[int]().union(*(s.frames for s in searches))
        done = 0
        if wanted:
            for picture in media.read(inputs.film.path, line, min(wanted), max(wanted) + 1, threads=1):
                for search in searches:
                    if picture.frame in search.frames:
                        boxes = search.boxes(picture.frame)
                        search.add(picture.frame, [cv2.cvtColor(picture.bgr(box=b), cv2.COLOR_BGR2GRAY) for b in boxes])
                done += 1
                progress(1)
        found = known | {t.id: search.finish() for t, search in zip(unknown, searches, strict=True)}
        covers += [cover for t in tracks for cover in found.get(t.id, ())]
        progress(inputs.end - inputs.start - done)
        return save_overlays(out, covers)


def _given(whole_HW: np.ndarray, start: int, end: int) -> Cover:
    """A mask of the whole picture, cut to what is in it."""
    rows, columns = np.flatnonzero(whole_HW.any(1)), np.flatnonzero(whole_HW.any(0))
    part_HW = whole_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Cover(start, end, int(columns[0]), int(rows[0]), part_HW, 0.0, True)


@dataclass(frozen=True)
class ListOverlaysInputs(Inputs):
    """The inputs of the stage `overlay_list`."""

    overlays: tuple[Ref[Overlays] | None, ...] = awaited()
    """Those of each shot, None where that failed."""
    shots: Ref[ShotList] = uncounted("the faces are those of its shots", default=None)
    """The shots."""


class ListOverlays(Stage[ListOverlaysInputs, OverlayList]):
    """Which shots of one title have something over a face."""

    name: ClassVar[str] = "overlay_list"
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=500)
    expands = True
    chain_ms = 54.0

    @classmethod
    def inputs(cls, at: Place) -> ListOverlaysInputs:
        return ListOverlaysInputs(at.each(Overlays), at.ref(ShotList))

    def process(self, inputs: ListOverlaysInputs, out: Path, progress: Callable[[int], None]) -> OverlayList:
        shots = inputs.shots.read().shots
        progress(sum(map(len, shots)))
        pairs = zip(shots, inputs.overlays, strict=True)
        return OverlayList({shot.id: one.read().content for shot, one in pairs if one is not None})
