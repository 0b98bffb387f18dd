"""Sync experts: networks that embed lips and sound in one space, in which LSE is measured.

An expert only embeds; `lse.py` measures, the same way for every expert. Numbers compare only within
one expert, so each score carries its name and hash.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from dubbing import models
from dubbing.errors import ModelError
from dubbing.experts import lse
from dubbing.records import Score
from dubbing.store import content_key

__all__ = ["Expert", "identity", "load", "model_name", "names", "score", "score_embedded"]

# model -> (module, class): published networks, imported only where they are asked for
_PUBLISHED = {"syncnet_v2": ("syncnet", "SyncNet"), "wav2lip_color": ("wav2lip_color", "Wav2LipColor")}


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
    """The experts there are: the built-in one, and the published ones by their models' names."""
    return ("lips", *_PUBLISHED)


def load(name: str = "lips", folder: str | Path | None = None) -> Expert:
    """The expert of that name, with its weights. folder: where published models lie, as the configuration says.

    Raises ModelError: unknown name; a published file that is absent (with the next step) or another than published.
    """
    if name == "lips":
        from dubbing.experts.lips import Lips

        return Lips()
    module, cls = _published(name)
    made: Expert = getattr(import_module(f"dubbing.experts.{module}"), cls)(models.path(name, configured=folder))
    return made


def identity(name: str, folder: str | Path | None = None) -> str:
    """What `model_name` of the loaded expert will be, without loading it. Raises ModelError as `load` does."""
    if name == "lips":
        from dubbing.experts.lips import WEIGHTS

        return f"{name}@{content_key(WEIGHTS)[:12]}"
    _published(name)
    return f"{name}@{models.digest(name, configured=folder)[:12]}"


def _published(name: str) -> tuple[str, str]:
    if name not in _PUBLISHED:
        raise ModelError(f"There is no sync expert {name!r}; there is: {', '.join(names())}.")
    return _PUBLISHED[name]


def model_name(expert: Expert) -> str:
    """`name@hash12`, the column lse_model."""
    return f"{expert.name}@{expert.hash12}"


def score(expert: Expert, frames_N: np.ndarray, times_s_N: np.ndarray, wave_16k: np.ndarray) -> Score | None:
    """LSE of one stretch of one face with one sound; None where no window fits (under 6 frames).

    frames_N: what `expert.wants`, one per frame; times_s_N: float64 seconds at which the frames begin,
    on the clock where sample 0 of `wave_16k` (float32 mono, 16 kHz) is 0. Only the sound under the
    stretch is heard: what comes before and after counts as zeros, as the definition says.
    """
    if lse.windows_in(times_s_N) == 0:
        return None
    return score_embedded(expert, expert.embed_video(frames_N, times_s_N), float(times_s_N[0]), wave_16k)


def score_embedded(expert: Expert, video_VE: np.ndarray, start_s: float, wave_16k: np.ndarray) -> Score:
    """LSE of one stretch whose lips are embedded already, V at least 1; start_s: of its first frame, as in `score`."""
    found = lse.score(video_VE, expert.embed_sound(wave_16k, start_s, len(video_VE)), model_name(expert))
    assert found is not None
    return found
