"""Proof: hold the masters that were made against film and sound, long ones in windows. Knows paths only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from dubbing.analysis.windows import film_windows
from dubbing.artifact import File, Ref
from dubbing.artifacts.proof import MasterProof, Proof
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import Master, Take
from dubbing.master_choice import MasterChoice
from dubbing.media import Sums, load_timeline, prove, prove_part
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import WindowedFilm, awaited, uncounted

__all__ = ["ProofInputs", "ProveMasters"]

_THREADS = 4  # of each decoder: with more, frames that wait for each other take memory and save little time


@dataclass(frozen=True)
class ProofInputs(WindowedFilm):
    """What a proof depends on, or the pictures of a window of it, which depend on its own takes and on no sound."""

    film: File
    """The film."""
    sound: File | None
    """The mix that was delivered; None of a window."""
    master: Ref[Master]
    """The masters."""
    asked: tuple[tuple[str, MasterChoice], ...]
    """Name of each master's file and how it was asked for."""
    language: str
    """BCP 47 tag of the dub."""
    takes: tuple[Ref[Take], ...] = awaited()
    """The takes that were pasted, in the film's order: under their mattes pictures may differ."""
    frames: int | None = None
    """How many frames of the film are delivered; None for all."""
    tracks: tuple[int, ...] | None = None
    """Numbers of the sound tracks that are delivered, counted from 1; None for all."""
    draft: bool | None = None
    """True for masters of half the size, of which less can be compared."""
    cuts: tuple[int, ...] | None = None
    """First frames of the windows of a long film; None where one task does it."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""


class ProveMasters(Stage[ProofInputs, Proof]):
    """What `dub verify` says of each master of a dub; the pictures of a long film window by window."""

    name: ClassVar[str] = "proof"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=12)
    bad_input_costs = "shot"  # a film that cannot be compared is no reason to stop: its masters are not proven
    chain_ms = 8.0
    of_the_files = True

    @classmethod
    def inputs(cls, at: Place) -> ProofInputs | None:
        if not at.config.proof:
            return None
        takes, _ = at.takes()
        shots, draft = at.result(ShotList), at.config.quality == "draft"
        frames = at.made_of.frames[at.dub.language] if at.made_of else None
        end = frames or shots.frames
        found_by_time = at.seekable and not any(name.endswith(".mxf") for name, _ in at.masters)
        parts = film_windows((a for a, _ in shots.cuts), end, at.rate) if found_by_time and not draft else []
        return ProofInputs(
            at.film, at.file(at.dub.audio), at.ref(Master), at.masters, at.dub.language, takes, frames,
            at.dub.deliver_tracks, draft or None, tuple(a for a, _ in parts) if len(parts) > 1 else None,
            at.ref(ShotList), end=end,
        )  # fmt: skip

    @classmethod
    def windows(cls, inputs: ProofInputs, at: Place) -> list[ProofInputs]:
        """What the pictures of each window depend on: the masters and its takes."""
        return [
            replace(inputs, window=window, takes=at.takes(window)[0], sound=None, language="", tracks=None, cuts=None)
            for window in pairwise((*(inputs.cuts or ()), inputs.end))
        ]

    def process(self, inputs: ProofInputs, out: Path, progress: Callable[[int], None]) -> Proof:
        """Compare. Raises MediaError: the film or the dub is gone, or damaged."""
        line = load_timeline(inputs.timeline.folder)
        if inputs.frames is not None and inputs.frames < len(line):
            line = replace(line, pts=line.pts[: inputs.frames], end_pts=int(line.pts[inputs.frames]))
        masters = {inputs.master.folder / name: choice for name, choice in inputs.asked}
        patches = [face for take in inputs.takes for face in sorted(take.folder.glob("face_*"))]
        made = inputs.master.read()
        both = zip(made.files, made.looked or (None,) * len(made.files), strict=True)
        looked = {inputs.master.folder / name: runs for name, runs in both if runs is not None}
        if inputs.window is not None:
            start, end = inputs.window
            left = {path: choice for path, choice in masters.items() if path not in looked}
            sums: list[Sums | None] = []
            if left:
                sums = prove_part(
                    inputs.film.path, left, patches, line, start, end, threads=_THREADS, progress=progress
                )
            found = dict(zip(left, sums, strict=True))
            return Proof(inputs.master.key, (), tuple(found.get(path) for path in masters))
        assert inputs.sound is not None
        windows = [part.read().sums for part in inputs.parts or ()]
        proofs = prove(
            inputs.film.path,
            masters,
            inputs.sound.path,
            patch_folders=patches,
            tracks=inputs.tracks,
            language=inputs.language,
            timeline=line,
            draft=bool(inputs.draft),
            threads=_THREADS,
            progress=progress,  # what windows have looked at is not looked at again, but where something differs
            parts={path: [sums[n] for sums in windows] for n, path in enumerate(masters)} if windows else None,
            looked=looked,
        )
        names = [name for name, _ in inputs.asked]
        proven = [MasterProof(n, p.checks, p.plain_pictures()) for n, p in zip(names, proofs, strict=True)]
        return Proof(inputs.master.key, tuple(proven))
