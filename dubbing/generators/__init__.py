"""What renders mouths: the protocol that every generator keeps, and the list of those there are.

A generator gets one shot's work and yields patches (design decision 1): never a whole picture,
never a frame it was not asked for. It decides nothing about who speaks or when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import ManifestError
from dubbing.records import Line, Patch, Track

__all__ = ["NAMES", "Generator", "Rendered", "RenderRequest", "create", "settings"]

NAMES = ("rewrite", "wav2lip", "spt_wav2lip", "lipgan", "speech_gan")


@dataclass(frozen=True)
class RenderRequest:
    """One track of one shot to render.

    source: the film; picture_wh: its upright size in pixels; lines: where the mouth is to be
    re-rendered, frames of the title; wave: float32 mono 16 kHz dub sound, sample 0 at the start of
    frame 0 of the track; speech_N: bool, per frame of the track, whether this face speaks in the dub;
    actor: file of the actor fitted by the title's analysis, or None; window: only patches of frames [a, b) are
    to be yielded, the same as without it, or None for all; still: whether the film is made of a photograph;
    min_donor_gap_s: no mouth is borrowed from frames nearer than this to the one it is lent to; shapes: instead of
    the sound the track's own mouth drives: how `dub eval` sees what rendering is worth. A generator that cannot be
    driven by shapes raises StageError; one that borrows no mouths has nothing to keep apart.
    """

    source: Path
    timeline: Timeline
    picture_wh: tuple[int, int]
    track: Track
    lines: tuple[Line, ...]
    wave: np.ndarray
    speech_N: np.ndarray
    actor: Path | None
    window: tuple[int, int] | None = None
    still: bool = False
    min_donor_gap_s: float | None = None
    shapes: bool = False

    def wants(self, frame: int) -> bool:
        """Whether a frame's patch is to be yielded."""
        return self.window is None or self.window[0] <= frame < self.window[1]

    def fade(self, ramp_frames: int) -> np.ndarray:
        """How much of each frame of the track is to be new, float64 (N,), 0..1: more than 0 exactly on lines.

        It rises and falls over `ramp_frames` frames where a line does not begin and end with the track.
        """
        first, count = self.track.start_frame, len(self.track.frames_N)
        fade_N = np.zeros(count)
        for line in self.lines:
            a, b = line.start_frame - first, line.end_frame - first
            up = np.arange(1, b - a + 1) / (ramp_frames + 1)
            weight = np.ones(b - a)
            if a > 0:
                weight = np.minimum(weight, up)
            if b < count:
                weight = np.minimum(weight, up[::-1])
            fade_N[a:b] = np.maximum(fade_N[a:b], weight)
        return fade_N


@dataclass(frozen=True)
class Rendered:
    """One frame's patch, and how far the mouth was meant to open (inter-ocular distances)."""

    patch: Patch
    wanted_opening: float


class Generator(Protocol):
    """name: as in the manifest; hash: 12 hex digits that name weights and settings; wants: parts of a title's analysis
    that it uses, of which there is `actors` (`RenderRequest.actor`), and only on which its takes depend; size_bytes: of
    its weights."""

    name: str
    hash: str
    wants: frozenset[str]

    @property
    def size_bytes(self) -> int: ...

    def check(self) -> None:
        """Whether its weights can be used, before any work. Raises ModelError."""
        ...

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines` in `work.window`, in order, all of one size.

        Memory does not grow with length, and windows change no patch.
        """
        ...


def create(name: str, settings: Mapping[str, Any], models_folder: str | None = None) -> Generator:
    """A generator; large weights are loaded when it first renders.

    models_folder: where published models lie, as the configuration says. Raises ManifestError: unknown name or
    setting; ModelError: no such model (with the next step), or not the published file.
    """
    if name == "rewrite":
        from dubbing.generators.rewrite.generator import Rewrite

        return Rewrite(settings)
    if name == "wav2lip":
        from dubbing.generators.wav2lip import Wav2Lip

        return Wav2Lip(settings, models_folder)
    if name == "spt_wav2lip":
        from dubbing.generators.wav2lip import SptWav2Lip

        return SptWav2Lip(settings, models_folder)
    if name == "lipgan":
        from dubbing.generators.lipgan import LipGAN

        return LipGAN(settings, models_folder)
    if name == "speech_gan":
        from dubbing.generators.speech_gan import SpeechGAN

        return SpeechGAN(settings, models_folder)
    raise ManifestError(f"There is no generator {name!r}; there is: {', '.join(NAMES)}.")


def settings(name: str) -> dict[str, Any]:
    """What may be said of a generator of NAMES in a manifest: JSON Schema of each setting, by name."""
    from importlib import import_module

    module, kind = {
        "rewrite": ("rewrite.generator", "Settings"),
        "wav2lip": ("wav2lip", "Settings"),
        "spt_wav2lip": ("wav2lip", "SptSettings"),
        "lipgan": ("lipgan", "Settings"),
        "speech_gan": ("speech_gan", "Settings"),
    }[name]
    found = getattr(import_module(f"dubbing.generators.{module}"), kind)
    properties: dict[str, Any] = found.model_json_schema()["properties"]
    return properties
