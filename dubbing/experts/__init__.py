"""Sync experts: networks that embed lips and sound in one space, in which LSE is measured.

An expert only embeds; `lse.py` measures, the same way for every expert. Numbers compare only within
one expert, so each score carries its name and hash. Another package adds one by an entry point of the group
`dubbing.experts`; `dubbing.testing.ExpertContract` are the tests that each has to pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from dubbing import device as devices
from dubbing import models, plugins
from dubbing.experts import lse
from dubbing.records import Score

__all__ = ["Expert", "find", "identity", "load", "model_name", "names", "score", "score_embedded"]

_CLASS = ("wants", "published", "profits_from_gpu", "load", "hash_of", "embed_video", "embed_sound")


@runtime_checkable
class Expert(Protocol):
    """The protocol of a sync expert. Windows are 5 frames at 25 fps, counted by `lse.windows_in`.

    name: as in a configuration, and of its entry point; hash12: the first 12 hex digits of its weights' sha256; wants:
    what `embed_video` takes for each frame: `mesh`, float32 (N, 478, 3) pixels of the upright picture, or
    `crop`, uint8 (N, H, W, 3) BGR crops of the face (then it is a `feed.CropExpert`); published: the published models
    that it needs, which `dub models` then knows; profits_from_gpu: whether a worker should be lent a GPU for it.
    """

    name: ClassVar[str]
    wants: ClassVar[Literal["mesh", "crop"]]
    published: ClassVar[tuple[models.Model, ...]]
    profits_from_gpu: ClassVar[bool]
    hash12: str

    @classmethod
    def load(cls, folder: str | Path | None, device: str) -> Expert:
        """The expert with its weights. folder: where published models lie, as the configuration says; device: of
        torch. Raises ModelError."""
        ...

    @classmethod
    def hash_of(cls, folder: str | Path | None) -> str:
        """The `hash12` of what `load` would give, without loading it. Raises ModelError."""
        ...

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """One stretch of one face at its own frame times: float32 (V, E), V = windows_in(times_s_N)."""
        ...

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """The 0.2 s of sound under each window, the first at `start_s` from sample 0: float32 (windows, E)."""
        ...


def names() -> tuple[str, ...]:
    """The experts there are, the built-in one first, then the published ones by their models' names; none is
    imported."""
    return plugins.names(plugins.EXPERTS)


def find(name: str) -> Any:
    """The class of that name. Raises PluginError: none, two packages with it, or one that cannot be used."""
    return plugins.require(plugins.EXPERTS, name, _CLASS)


def load(name: str = "lips", folder: str | Path | None = None, *, device: str | None = None) -> Expert:
    """The expert of that name, with its weights.

    folder: where published models lie, as the configuration says; device: of torch, None for a GPU where there is one
    and it profits. Raises PluginError: unknown name; ModelError: a published file that is absent (with the next step)
    or another than published.
    """
    kind = find(name)
    made: Expert = kind.load(folder, device or devices.default(kind.profits_from_gpu))
    return made


def identity(name: str, folder: str | Path | None = None) -> str:
    """The `model_name` of an expert, without loading it. Raises as `load` does."""
    return f"{name}@{find(name).hash_of(folder)}"


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
