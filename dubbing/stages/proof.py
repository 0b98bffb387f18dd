"""Proof: hold the masters that were made against the film and the sound. Knows paths only; `media` compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dubbing.artifact import File, Ref
from dubbing.artifacts.proof import MasterProof, Proof
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import Master, Take
from dubbing.master_choice import MasterChoice
from dubbing.media import load_timeline, prove
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["ProofInputs", "ProveMasters"]

_THREADS = 4  # of each decoder: with more, frames that wait for each other take memory and save little time


@dataclass(frozen=True)
class ProofInputs(Inputs):
    """What a proof depends on."""

    film: File
    """The film."""
    sound: File
    """The mix that was delivered."""
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
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""


class ProveMasters(Stage[ProofInputs, Proof]):
    """What `dub verify` says of each master of a dub."""

    name: ClassVar[str] = "proof"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=1500)
    bad_input_costs = "shot"  # a film that cannot be compared is no reason to stop: its masters are not proven
    chain_ms = 8.0

    @classmethod
    def inputs(cls, at: Place) -> ProofInputs | None:
        if at.config.proof == "off":
            return None
        takes, _ = at.takes()
        return ProofInputs(
            at.film, at.file(at.dub.audio), at.ref(Master), at.masters, at.dub.language, takes,
            at.made_of.frames[at.dub.language] if at.made_of else None, at.dub.deliver_tracks,
            True if at.config.quality == "draft" else None, at.ref(ShotList),
        )  # fmt: skip

    @classmethod
    def covers(cls, inputs: Inputs, at: Place) -> int:
        assert isinstance(inputs, ProofInputs)
        return inputs.frames or at.result(ShotList).frames

    def process(self, inputs: ProofInputs, out: Path, progress: Callable[[int], None]) -> Proof:
        """Compare. Raises MediaError: the film or the dub is gone, or damaged."""
        line = load_timeline(inputs.timeline.folder)
        if inputs.frames is not None and inputs.frames < len(line):
            line = replace(line, pts=line.pts[: inputs.frames], end_pts=int(line.pts[inputs.frames]))
        found = prove(
            inputs.film.path,
            {inputs.master.folder / name: choice for name, choice in inputs.asked},
            inputs.sound.path,
            patch_folders=[face for take in inputs.takes for face in sorted(take.folder.glob("face_*"))],
            tracks=inputs.tracks,
            language=inputs.language,
            timeline=line,
            draft=bool(inputs.draft),
            threads=_THREADS,
            progress=progress,
        )
        names = [name for name, _ in inputs.asked]
        proven = [MasterProof(n, p.checks, p.plain_pictures()) for n, p in zip(names, found, strict=True)]
        return Proof(inputs.master.key, tuple(proven))
