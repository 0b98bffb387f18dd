"""From a voice to the lips of one actor: the prior, fitted to how this actor's own mouth moves.

The prior says, for any voice, how the mouth departs from its speaker's average (`hearing`). An actor adds
the average, the spread and the range of the own mouth, and, where there is enough dialogue, a
correction by ridge regression on what the prior's networks hear, as strong as blocked
cross-validation allows. The dub's voice is not the actor's: sounds are normalised by the recording they
come from, and so is what is predicted from them. Knows no picture, film or shot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.generators.rewrite.hearing import CLASSES, STEP_HZ, Heard, Prior, prior_hash
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace, resting, smoothed
from dubbing.sound import RATE_HZ, at_times

__all__ = ["Actor", "Example", "default_actor", "fit_actor", "load", "opening_of", "predict", "save"]

SCHEMA = "dub.actor.1"
MOST_S = 600.0  # speech that a fit looks at
LEAST_S = 3.0  # of speech, below which the prior is only scaled, not corrected
RISE_S, FALL_S = 0.10, 0.12  # the mouth opens before the voice, and shuts after it
SMOOTH_S = 0.03  # of predictions, standard deviation
TRUST_STEPS = 100  # a recording with this many steps of speech is normalised half by its own statistics
LEVELS = np.array([0, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 100]) / 100  # of the opening's distribution
STRENGTHS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)  # of the ridge, in frames
LAGS_S = np.arange(-0.2, 0.201, 0.02)
_BLOCK_S, _FOLDS = 3.0, 5


@dataclass(frozen=True)
class Example:
    """One stretch of an actor's own performance.

    shape_NP3: canonical meshes (N, 478, 3) of `face.canonical`, or their lower faces (N, L, 3);
    times_s: (N,), middles of the frames, 0 at the first sample of `wave`; wave: float32 mono 16 kHz;
    speaking_N: bool, where this actor is the one who speaks and the face is seen.
    """

    shape_NP3: np.ndarray
    times_s: np.ndarray
    wave: np.ndarray
    speaking_N: np.ndarray


@dataclass(frozen=True)
class Actor:
    """How one person's mouth moves with sound. Arrays are float64 unless said otherwise.

    rest: (L, 3) canonical closed mouth; mean_K, std_K: coefficients while speaking; heard_mean_K,
    heard_std_K: the same of what is predicted for the actor's own voice; share_K: how much of the
    spread is predicted (0..1); opening_Q: quantiles of the opening at LEVELS, spoken_Q: of the predicted
    z-score; gain_K, bias_F, weight_FK: the correction (see `_basis`); seconds: of dialogue fitted;
    lag_s: how late the sound is in the actor's own footage, found in the fit and undone by it;
    score: cross-validated correlation of the opening, 0 for an actor that was not fitted.
    """

    rest: np.ndarray
    mean_K: np.ndarray
    std_K: np.ndarray
    heard_mean_K: np.ndarray
    heard_std_K: np.ndarray
    share_K: np.ndarray
    opening_Q: np.ndarray
    spoken_Q: np.ndarray
    gain_K: np.ndarray
    bias_F: np.ndarray
    weight_FK: np.ndarray
    seconds: float
    lag_s: float
    score: float

    @cached_property
    def hash(self) -> str:
        """sha256 of the content, 64 hex digits; the prior it belongs to is part of it."""
        digest = hashlib.sha256(f"{SCHEMA} {prior_hash()}".encode())
        for field in fields(self):
            value = np.asarray(getattr(self, field.name), "<f8")
            digest.update(f"{field.name}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()


def default_actor(shape_NP3: np.ndarray) -> Actor:
    """An actor nobody has heard: this face's own rest, everyone's average motion, the prior alone.

    shape_NP3: canonical meshes of the face, (N, 478, 3) or lower faces (N, L, 3), N >= 1.
    """
    return _Unfitted(resting(shape_NP3), Prior.load()).actor()


def save(actor: Actor, path: Path) -> None:
    """Write an actor as .npz, no pickle."""
    arrays = {field.name: np.asarray(getattr(actor, field.name), np.float64) for field in fields(actor)}
    with open(path, "wb") as file:
        np.savez(file, schema=np.array(SCHEMA), **arrays)


def load(path: Path) -> Actor:
    """Read what `save` wrote. Raises ModelError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["schema"]) != SCHEMA:
                raise ModelError(f"{path} holds {data['schema']}, this version reads {SCHEMA}; fit the actor again.")
            values: dict[str, Any] = {field.name: data[field.name] for field in fields(Actor)}
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} is not an actor's model ({e}); fit the actor again.") from e
    return Actor(**{name: float(value) if value.ndim == 0 else value for name, value in values.items()})


def opening_of(coef_NK: np.ndarray, rest_L3: np.ndarray) -> np.ndarray:
    """The mouth opening of wanted shapes as `face.mouth_measures` reads it, float64 (N,), inter-ocular distances."""
    lower = ShapeSpace.load().decode(coef_NK, rest_L3)
    place = [[LOWER_FACE.index(p) for p in pair] for pair in ((82, 87), (13, 14), (312, 317))]
    return np.mean([np.linalg.norm(lower[:, a] - lower[:, b], axis=-1) for a, b in place], axis=0)
