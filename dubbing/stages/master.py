"""Master: paste takes into one film, a long one in windows. Knows paths only; `media` does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from dubbing.analysis.windows import film_windows
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import Master, Scores, Take
from dubbing.master_choice import MasterChoice
from dubbing.media import Looked, encode_masters, load_timeline, make_part
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import WindowedFilm, awaited, uncounted

__all__ = ["MakeMaster", "MasterInputs"]


@dataclass(frozen=True)
class MasterInputs(WindowedFilm):
    """What a master depends on, or the pictures of a window of it, which depend on its own takes and on no sound."""

    film: File
    """The film."""
    sound: File | None
    """The mix that is delivered; None of a window."""
    target_name: str
    """Name of the master's file, the first where there are several."""
    language: str
    """BCP 47 tag of its sound."""
    crf: int | None
    """Quality of the encoder; None for its default."""
    preset: str | None
    """Effort of the encoder; None for its default."""
    takes: tuple[Ref[Take], ...] = awaited()
    """The takes that are pasted, in the film's order."""
    frames: int | None = None
    """How many frames of the film are delivered; None for all."""
    tracks: tuple[int, ...] | None = None
    """Numbers of the sound tracks that are delivered, counted from 1; None for all."""
    waits_for: tuple[Ref[Take] | Ref[Scores], ...] = awaited(
        why="a shot whose take or scores failed is not among the takes", read=False, default=()
    )
    """Everything that must have ended before it is known which takes are pasted."""
    draft: bool | None = None
    """True for half the size, quickly, and marked as a draft."""
    asked: tuple[tuple[str, MasterChoice], ...] | None = None
    """Name of each master's file and how it is asked for, where that is more than `crf` and `preset`."""
    look: bool = uncounted("looking at a master does not change it", default=False)
    """Whether its pictures are compared with the film's as they are made: of what a proof is wanted."""
    cuts: tuple[int, ...] | None = None
    """First frames of the windows of a long film; None where one task does it."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""


class MakeMaster(Stage[MasterInputs, Master]):
    """Decode the source once, paste the patches, encode once for each master; of a long film window by window."""

    name: ClassVar[str] = "master"
    scope = Scope.DUB
    version = 4
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=30)
    chain_ms = 0.001  # takes and scores come first: all windows wait for them, and nothing for a window but the join

    @classmethod
    def inputs(cls, at: Place) -> MasterInputs:
        takes, waits_for = at.takes()
        masters = at.masters
        (name, first), plain = masters[0], len(masters) == 1 and masters[0][1].plain
        shots = at.result(ShotList)
        frames = at.made_of.frames[at.dub.language] if at.made_of else None
        end = frames or shots.frames
        parts = film_windows((a for a, _ in shots.cuts), end, at.rate) if at.seekable else []
        return MasterInputs(
            at.film, at.file(at.dub.audio), name, at.dub.language,
            first.crf if plain else None, str(first.preset) if plain and first.preset is not None else None, takes,
            frames, at.dub.deliver_tracks, waits_for,
            True if at.config.quality == "draft" else None, None if plain else masters,
            at.config.proof and at.config.quality != "draft", tuple(a for a, _ in parts) if len(parts) > 1 else None,
            at.ref(ShotList), end=end,
        )  # fmt: skip

    @classmethod
    def windows(cls, inputs: MasterInputs, at: Place) -> list[MasterInputs]:
        """What the pictures of each window depend on: its takes, and how masters are asked for."""
        asked = inputs.asked and tuple(("", choice) for _, choice in inputs.asked)
        found = []
        for window in pairwise((*(inputs.cuts or ()), inputs.end)):
            takes, waits_for = at.takes(window)
            own = replace(inputs, window=window, takes=takes, waits_for=waits_for, asked=asked)
            found.append(replace(own, sound=None, target_name="", language="", frames=None, tracks=None, cuts=None))
        return found

    @classmethod
    def joins(cls, inputs: MasterInputs, parts: tuple[Ref[Any], ...]) -> MasterInputs:
        """Windows have read the takes."""
        return replace(inputs, parts=parts, takes=())

    def process(self, inputs: MasterInputs, out: Path, progress: Callable[[int], None]) -> Master:
        """Write the masters into `out`. Raises UnsupportedMedia, DamagedMedia, OutputError (all InputError)."""
        plain = MasterChoice(crf=inputs.crf, preset=inputs.preset)
        asked = inputs.asked or ((inputs.target_name, plain),)
        patches = [face for take in inputs.takes for face in sorted(take.folder.glob("face_*"))]
        if inputs.window is not None:
            seen = make_part(
                inputs.film.path, load_timeline(inputs.timeline.folder), patches, [choice for _, choice in asked], out,
                *inputs.window, draft=bool(inputs.draft), progress=progress,
                look=inputs.look,
            )  # fmt: skip
            return Master("", inputs.window[1] - inputs.window[0], looked=tuple(seen))
        assert inputs.sound is not None
        done = encode_masters(
            inputs.film.path,
            load_timeline(inputs.timeline.folder),
            patches,
            inputs.sound.path,
            {out / name: choice for name, choice in asked},
            language=inputs.language,
            tracks=inputs.tracks,
            frames=inputs.frames,
            draft=bool(inputs.draft),
            progress=progress if inputs.parts is None else None,
            parts=[part.folder for part in inputs.parts or ()],
            look=inputs.look,
        )
        seen = [one.looked for one in done] if inputs.parts is None else _joined(inputs.parts, len(asked))
        notices = dict.fromkeys(note for one in done for note in one.notices)
        others = tuple(name for name, _ in asked[1:])
        looked = tuple(seen) if any(one is not None for one in seen) else ()
        return Master(inputs.target_name, done[0].frames, tuple(notices), others, looked)


def _joined(parts: Sequence[Ref[Master]], count: int) -> list[tuple[Looked, ...] | None]:
    """What windows saw of each of so many masters; None of one that was not looked at in all of them."""
    found: list[tuple[Looked, ...] | None] = []
    for each in zip(*(part.read().looked or (None,) * count for part in parts), strict=True):
        found.append(None if None in each else tuple(run for one in each for run in one or ()))
    return found
