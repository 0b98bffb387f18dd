"""`dim_mouth`: the mouth gets darker as the dub gets louder. No network, no weights; it shows what a generator is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from dubbing.face import OUTER_LIPS
from dubbing.generators import Rendered, RenderRequest, Settings
from dubbing.models import Model
from dubbing.records import Patch
from dubbing.sound import RATE_HZ
from dubbing.store import key_of

__all__ = ["DimMouth", "DimMouthSettings"]

_ROOM = 1.5  # a patch's size, times that of the lips


class DimMouthSettings(Settings):
    """What a manifest may say under `generator: {name: dim_mouth, ...}`."""

    strength: float = Field(0.6, ge=0, le=1, description="how dark the loudest frame makes the mouth; 1 is black")
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")


class DimMouth:
    """See `dubbing.generators.Generator`."""

    name: ClassVar[str] = "dim_mouth"
    version: ClassVar[int] = 1
    Settings: ClassVar[type[DimMouthSettings]] = DimMouthSettings
    published: ClassVar[tuple[Model, ...]] = ()
    wants: ClassVar[frozenset[str]] = frozenset()
    profits_from_gpu: ClassVar[bool] = False
    size_bytes = 0

    def __init__(self, settings: DimMouthSettings, models_folder: str | None = None, *, device: str = "cpu") -> None:
        self.settings = settings
        self.hash = key_of(self.name, self.version, settings.model_dump())[:12]

    def check(self) -> None:
        """It has no weights that could be absent."""

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.spans`. Raises what `media.read` raises."""
        first = work.track.start_frame
        places, size = _places(work)
        matte = _soft_ellipse(*size)
        loud_N, fade_N = _loudness(work), work.fade(self.settings.ramp_frames)
        for _, a, b in work.spans:
            for picture in work.pictures(a, b):
                n = picture.frame - first
                x, y = places[n]
                bgr = picture.bgr(box=(x, y, *size)) * (1 - self.settings.strength * loud_N[n])
                alpha = np.rint(matte * 255 * fade_N[n]).astype(np.uint8)
                yield Rendered(Patch(picture.frame, x, y, np.rint(bgr).astype(np.uint8), alpha), float("nan"))


def _places(work: RenderRequest) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """The top left of each frame's patch and the size of all, (width, height): even, inside the picture, pixels."""
    lips_NP2 = work.track.mesh_NP3[:, list(OUTER_LIPS), :2]
    low_N2, high_N2 = lips_NP2.min(1), lips_NP2.max(1)
    most = np.array(work.picture_wh) // 2 * 2
    size = np.clip(np.ceil(_ROOM * (high_N2 - low_N2).max(0) / 2).astype(int) * 2, 2, most)
    corner_N2 = np.clip((low_N2 + high_N2 - size) / 2, 0, most - size).astype(int) // 2 * 2
    return [(int(x), int(y)) for x, y in corner_N2], (int(size[0]), int(size[1]))


def _soft_ellipse(width: int, height: int) -> np.ndarray:
    """1 in the middle, falling smoothly to 0 at the edges' middles, float64 (height, width)."""
    y, x = np.mgrid[0:height, 0:width]
    far = np.hypot((x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip(far, 0, 1)))


def _loudness(work: RenderRequest) -> np.ndarray:
    """How loud this face speaks in each frame of the track, over its loudest frame, float64 (N,), 0..1."""
    first, begins = work.track.start_frame, work.timeline.sample(work.track.start_frame, RATE_HZ)
    edges = [work.timeline.sample(first + n, RATE_HZ) - begins for n in range(len(work.track.frames_N) + 1)]
    parts = [work.wave[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    loud_N = np.sqrt([float(np.mean(np.square(part))) if len(part) else 0.0 for part in parts]) * work.speech_N
    return np.asarray(loud_N / max(loud_N.max(), 1e-9))
