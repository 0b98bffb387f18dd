"""Active: how sure Light-ASD is, frame by frame, that each face of a shot speaks. Optional evidence.

Made only where the model is on this machine and the film has sound; the speakers stage weighs it beside
the lips' own motion and decides. Pictures are read in stretches, so memory does not grow with a shot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dubbing import media, models
from dubbing.clock import Timeline
from dubbing.experts import crop
from dubbing.records import Track
from dubbing.sound import RATE_HZ
from dubbing.stage import Resources, Stage
from dubbing.stages.audio import load_speech, load_wave
from dubbing.stages.faces import load_tracks

if TYPE_CHECKING:  # it brings torch, which those that only read the evidence do without
    from dubbing.experts.light_asd import LightASD

__all__ = ["Active", "load_active"]

FILE = "active.npz"
_STRETCH = 750  # frames judged at once
_AROUND_S = 1.0  # seen and heard before and after them, without being judged


class Active(Stage):
    """args: source, timeline, start, end, faces, source_sound, model, models (folder). Writes `active.npz`.

    One float32 array per face, by its track's id: above 0 it speaks, NaN where nobody looked.
    """

    name: ClassVar[str] = "active"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def __init__(self) -> None:
        self._judge: LightASD | None = None

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        line = media.load_timeline(Path(args["timeline"]))
        start, end = args["start"], args["end"]
        tracks = load_tracks(Path(args["faces"]))
        found = {t.id: np.full(len(t.frames_N), np.nan, np.float32) for t in tracks}
        speech = load_speech(Path(args["source_sound"]))
        edges = line.sample(start, RATE_HZ), line.sample(end, RATE_HZ)
        if tracks and any(a < edges[1] and b > edges[0] for a, b in speech):
            if self._judge is None:
                from dubbing.experts.light_asd import LightASD

                self._judge = LightASD(models.path(args["model"], configured=args["models"]))
            shot = _Shot(self._judge, Path(args["source"]), line, Path(args["source_sound"]), tracks)
            for a in range(start, end, _STRETCH):
                shot.judge(a, min(end, a + _STRETCH), found)
                progress(min(end, a + _STRETCH) - a)
        else:
            progress(end - start)
        np.savez(out / FILE, **found)
        return {"faces": len(tracks)}


def load_active(folder: Path | str) -> dict[str, np.ndarray]:
    """What `Active` wrote: per track id float32 (N,), above 0 where the face speaks, NaN where nobody looked."""
    with np.load(Path(folder) / FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@dataclass(frozen=True)
class _Part:
    """One face where it is judged, frames [start, end), and where it is looked at for that, [first, last)."""

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
        for picture in media.read(self._source, self._line, min(p.first for p in parts), max(p.last for p in parts)):
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
