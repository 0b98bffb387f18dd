"""Active: how sure Light-ASD is, frame by frame, that each face of a shot speaks. Optional evidence.

Made only where the model is on this machine and the film has sound; the speakers stage weighs it beside
the lips' own motion and decides. Pictures are read in stretches, so memory does not grow with a shot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dubbing import media, models
from dubbing.artifact import File, Ref
from dubbing.artifacts.active import ActiveFaces, save_active
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, load_speech, load_wave
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.clock import Timeline
from dubbing.experts import crop
from dubbing.records import Track
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

if TYPE_CHECKING:  # it brings torch, which the process that only plans does without
    from dubbing.experts.light_asd import LightASD

__all__ = ["MODEL", "Active", "ActiveInputs"]

MODEL = "light_asd_ava"  # the published model whose presence brings in this stage
_STRETCH = 750  # frames judged at once
_AROUND_S = 1.0  # context before and after them, which is not judged


@dataclass(frozen=True)
class ActiveInputs(Inputs):
    """The inputs of the stage `active`."""

    faces: Ref[FaceTracks]
    """The shot's faces."""
    source_sound: Ref[SourceSound]
    """The film's own sound."""
    model: str
    """`name@hash12` of the detector's weights."""
    film: File = uncounted("the faces were found in it")
    """The film."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames")
    """The film's frames in time."""
    start: int = uncounted("the faces are those of the shot")
    """First frame of the shot."""
    end: int = uncounted("the faces are those of the shot")
    """The frame after its last."""
    models_folder: str = uncounted("the model's hash counts, not where it lies")
    """Where published models lie."""


class Active(Stage[ActiveInputs, ActiveFaces]):
    """One float32 array per face, by its track's id: above 0 it speaks, NaN where it was not measured."""

    name: ClassVar[str] = "active"
    scope = Scope.SHOT
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=8)
    bad_input_costs = "shot"
    profits_from_gpu = True
    chain_ms = 75.0

    def __init__(self) -> None:
        self._judge: LightASD | None = None

    @classmethod
    def inputs(cls, at: Place) -> ActiveInputs | None:
        if at.active_speaker is None or not at.has_sound:
            return None
        shot = at.shot
        return ActiveInputs(
            at.ref(FaceTracks), at.ref(SourceSound), at.active_speaker, at.film, at.ref(ShotList),
            shot.start_frame, shot.end_frame, at.models_folder,
        )  # fmt: skip

    def process(self, inputs: ActiveInputs, out: Path, progress: Callable[[int], None]) -> ActiveFaces:
        line = media.load_timeline(inputs.timeline.folder)
        start, end = inputs.start, inputs.end
        tracks = load_tracks(inputs.faces.folder)
        found = {t.id: np.full(len(t.frames_N), np.nan, np.float32) for t in tracks}
        sound = inputs.source_sound.folder
        edges = line.sample(start, RATE_HZ), line.sample(end, RATE_HZ)
        if tracks and any(a < edges[1] and b > edges[0] for a, b in load_speech(sound)):
            if self._judge is None:
                from dubbing.experts.light_asd import LightASD

                self._judge = LightASD(models.path(MODEL, configured=inputs.models_folder))
            shot = _Shot(self._judge, inputs.film.path, line, sound, tracks)
            for a in range(start, end, _STRETCH):
                shot.judge(a, min(end, a + _STRETCH), found)
                progress(min(end, a + _STRETCH) - a)
        else:
            progress(end - start)
        save_active(out, found)
        return ActiveFaces(len(tracks))


@dataclass(frozen=True, eq=False)
class _Part:
    """One face: frames [start, end) are judged, with those of [first, last) as context."""

    track: Track
    start: int
    end: int
    first: int
    last: int
    times_s: np.ndarray
    crops: list[crop.Crop]
    seen: list[np.ndarray]


class _Shot:
    """The faces of one shot with the original sound."""

    def __init__(self, judge: LightASD, source: Path, line: Timeline, sound: Path, tracks: list[Track]) -> None:
        self._judge, self._source, self._line, self._sound, self._tracks = judge, source, line, sound, tracks

    def judge(self, start: int, end: int, found: dict[str, np.ndarray]) -> None:
        """Fill in frames [start, end) of every face that has some there."""
        around = round(_AROUND_S * float(self._line.rate))
        parts: list[_Part] = []
        for track in self._tracks:
            a, b = max(start, track.start_frame), min(end, track.end_frame)
            if a < b:
                first, last = max(track.start_frame, a - around), min(track.end_frame, b + around)
                times_s = self._line.times_s(first, last)
                mesh_NP3 = track.mesh_NP3[first - track.start_frame : last - track.start_frame]
                parts.append(_Part(track, a, b, first, last, times_s, self._judge.crops(mesh_NP3, times_s), []))
        if not parts:
            return
        first, last = min(p.first for p in parts), max(p.last for p in parts)
        for picture in media.read(self._source, self._line, first, last, threads=1):
            here = [p for p in parts if p.first <= picture.frame < p.last]
            if here:
                whole = crop.published_bgr(picture)
                for p in here:
                    one = crop.cut(whole, p.crops[picture.frame - p.first], self._judge.crop_px)
                    p.seen.append(self._judge.grey(one))
        for p in parts:
            wave = load_wave(self._sound, *(self._line.sample(f, RATE_HZ) for f in (p.first, p.last)))
            says_N = self._judge.speaking(np.stack(p.seen), p.times_s - p.times_s[0], wave)
            at = p.track.start_frame
            found[p.track.id][p.start - at : p.end - at] = says_N[p.start - p.first : p.end - p.first]
