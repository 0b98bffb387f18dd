"""Sync experts: networks that embed lips and sound in one space, in which LSE is measured.

An expert only embeds; `lse.py` measures, the same way for every expert. Numbers compare only within
one expert, so each score carries its name and hash.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np

from dubbing.errors import ModelError
from dubbing.experts import lse
from dubbing.records import Score

__all__ = ["Expert", "load", "model_name", "names", "score"]


@runtime_checkable
class Expert(Protocol):
    """What a sync expert is. Windows are 5 frames at 25 fps, counted by `lse.windows_in`.

    name: as in a configuration; hash12: the first 12 hex digits of its weights' sha256; wants: what
    `embed_video` takes for each frame: `mesh`, float32 (N, 478, 3) pixels of the upright picture, or
    `crop`, uint8 (N, H, W, 3) BGR crops of the face.
    """

    name: str
    hash12: str
    wants: Literal["mesh", "crop"]

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """One stretch of one face at its own frame times: float32 (V, E), V = windows_in(times_s_N)."""
        ...

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """The 0.2 s of sound under each window, the first at `start_s` from sample 0: float32 (windows, E)."""
        ...


def names() -> tuple[str, ...]:
    """The experts there are."""
    return ("lips",)


def load(name: str = "lips") -> Expert:
    """The expert of that name, with its weights. Raises ModelError for an unknown name or bad weights."""
    if name == "lips":
        from dubbing.experts.lips import Lips

        return Lips()
    raise ModelError(f"there is no sync expert {name!r}; there is: {', '.join(names())}.")


def model_name(expert: Expert) -> str:
    """`name@hash12`, the column lse_model."""
    return f"{expert.name}@{expert.hash12}"


def score(expert: Expert, frames_N: np.ndarray, times_s_N: np.ndarray, wave_16k: np.ndarray) -> Score | None:
    """LSE of one stretch of one face with one sound; None where no window fits (under 6 frames).

    frames_N: what `expert.wants`, one per frame; times_s_N: float64 seconds at which the frames begin,
    on the clock where sample 0 of `wave_16k` (float32 mono, 16 kHz) is 0. Only the sound under the
    stretch is heard: what comes before and after counts as zeros, as the definition says.
    """
    windows = lse.windows_in(times_s_N)
    if windows == 0:
        return None
    video_VE = expert.embed_video(frames_N, times_s_N)
    audio_AE = expert.embed_sound(wave_16k, float(times_s_N[0]), windows)
    return lse.score(video_VE, audio_AE, model_name(expert))
