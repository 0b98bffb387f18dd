"""The records that stages hand to each other: frozen, small, with units.

They know nothing of files or of the stages that make them. Arrays are named by their axes:
N frames, P points, H rows, W columns, C channels. Pictures are BGR uint8, upright (display
orientation) and in square pixels: a rotated or anamorphic source is made so on the way in, and patches are turned and
resampled back on the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

__all__ = ["HIDDEN", "OCCLUDED", "OUT_OF_FRAME", "Line", "Patch", "Samples", "Score", "Shot", "Track"]

HIDDEN = ("", "occluded", "out_of_frame")  # why a mouth cannot be rendered in a frame, by the codes of `Track.hidden_N`
OCCLUDED, OUT_OF_FRAME = 1, 2


@dataclass(frozen=True)
class Shot:
    """The frames [start_frame, end_frame) between two cuts. `number` counts from 1 along the title."""

    number: int
    start_frame: int
    end_frame: int

    @property
    def id(self) -> str:
        return f"shot_{self.number:04d}"

    def __len__(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True, eq=False)
class Track:
    """One face followed through one shot.

    id: `shot_0042/face_1`; frames_N: int32 frame numbers of the title, increasing, consecutive;
    mesh_NP3: float32 (N, 478, 3) MediaPipe mesh in pixels of the upright picture (z in pixels too,
    smaller is nearer); seen_N: bool, False where a gap was bridged or the mouth is hidden; yaw_N: float32 degrees,
    positive to the picture's right; height_px: median face height; hidden_N: uint8, why the mouth is hidden, a place in
    HIDDEN, 0 where it is not; None where it never is.
    """

    id: str
    frames_N: np.ndarray
    mesh_NP3: np.ndarray
    seen_N: np.ndarray
    yaw_N: np.ndarray
    height_px: float
    hidden_N: np.ndarray | None = None

    @property
    def hidden(self) -> np.ndarray:
        """`hidden_N`, of zeros where it is None."""
        return np.zeros(len(self.frames_N), np.uint8) if self.hidden_N is None else self.hidden_N

    @property
    def start_frame(self) -> int:
        return int(self.frames_N[0])

    @property
    def end_frame(self) -> int:
        return int(self.frames_N[-1]) + 1

    def until(self, end_frame: int) -> Track:
        """The same face in frames before `end_frame`, of which it must have one."""
        if end_frame >= self.end_frame:
            return self
        keep = self.frames_N < end_frame
        mesh_NP3, seen_N, yaw_N = self.mesh_NP3[keep], self.seen_N[keep], self.yaw_N[keep]
        return Track(self.id, self.frames_N[keep], mesh_NP3, seen_N, yaw_N, self.height_px, self.hidden[keep])


@dataclass(frozen=True)
class Line:
    """A stretch [start_frame, end_frame) in which one track speaks in the dub (or, in analysis, the source)."""

    track: str
    start_frame: int
    end_frame: int


class Samples(Protocol):
    """Pixels that are kept otherwise than as BGR. shape: begins with H and W; nbytes: their memory; bgr: uint8
    (H, W, 3), to look at; shown: a part of it; scaled: all of it, each layer of samples made by the function that is
    given, and all of one size."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def bgr(self) -> np.ndarray: ...

    def shown(self, rows: slice, columns: slice) -> np.ndarray: ...

    def scaled(self, each: Callable[[np.ndarray], np.ndarray]) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Patch:
    """The changed region of one frame.

    frame: number in the title; x, y: top left in the upright picture, both even; pixels: uint8 (H, W, 3), H and W even,
    BGR, or the film's own samples of as many pixels (`dubbing.media.planes`); matte_HW: uint8, 0 keeps the source, 255
    replaces it; deep_HWC: of a film of more than 8 bits or a high dynamic range what goes into it, uint16 (H, W, 3),
    0..65535 in the film's own transfer, and `pixels` is what a display shows of that. `bgr` and `alpha` are what it
    shows and its matte under the names that image libraries use.
    """

    frame: int
    x: int
    y: int
    pixels: np.ndarray | Samples
    matte_HW: np.ndarray
    deep_HWC: np.ndarray | None = None

    @cached_property
    def bgr_HWC(self) -> np.ndarray:
        """What it shows, uint8 (H, W, 3)."""
        return self.pixels if isinstance(self.pixels, np.ndarray) else self.pixels.bgr

    @property
    def bgr(self) -> np.ndarray:
        return self.bgr_HWC

    @property
    def alpha(self) -> np.ndarray:
        return self.matte_HW


@dataclass(frozen=True, eq=False)
class Score:
    """LSE of one stretch of film with one sound, by one expert (docs/lse.md).

    d: LSE-D, c: LSE-C, offset_frames: 25ths of a second, positive when the sound is early; windows:
    how many 5-frame windows it rests on; model: `name@hash12`; distance_S: mean distance per shift
    -15..15, float32 (31,); at_zero: the mean distance at shift 0.
    """

    d: float
    c: float
    offset_frames: float
    windows: int
    model: str
    distance_S: np.ndarray
    at_zero: float


@dataclass(frozen=True)
class Look:
    """How a face is to look."""

    neutralise: bool
    """Whether what it shows is taken away first."""
    emotion: str | None = None
    """One of `expression.units.EMOTIONS`; None for none."""
    strength: float = 1.0
    """Of the emotion, 0..1."""
    by: str = "mesh"
    """`mesh` or `latent`."""
    version: int = 2
    """Raised when the same look gives other pictures."""


@dataclass(frozen=True)
class FilmLook:
    """How a face of a film is to look, by `mesh`."""

    look: Look
    """How."""
    frames: tuple[tuple[int, int], ...] | None = None
    """Frames [start, end) of the title; None for all."""
