"""From a voice to the lips of one actor: the prior, fitted to how this actor's own mouth moves.

The prior says, for any voice, how the mouth departs from its speaker's average (`hearing`). An actor
adds the closed mouth, its average, spread and range, and where there is enough dialogue a correction
learnt from it (`fitting`). The dub's voice is not the actor's: what is heard, and what is predicted
from it, is centred and scaled by the recording it comes from. Knows no picture, film or shot.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.errors import ModelError
from dubbing.face import LOWER_FACE
from dubbing.generators.rewrite import fitting
from dubbing.generators.rewrite.fitting import Fit
from dubbing.generators.rewrite.hearing import STEP_HZ, Prior, prior_hash
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace, lower_of, resting, smoothed
from dubbing.sound import RATE_HZ, at_times

__all__ = [
    "Actor", "Example", "closing", "default_actor", "fit_actor", "heard", "load", "opening_of", "predict", "save",
]  # fmt: skip

SCHEMA = "dub.actor.1"
MOST_S = 600.0  # of speech that a fit looks at
RISE_S, FALL_S = 0.10, 0.12  # the mouth opens before the voice, and shuts after it
CLOSING, CLOSED = 0.35, 0.65  # chances that the lips are shut, at which they begin to shut, and are shut
SMOOTH_S = 0.03  # of what is heard, standard deviation
LEVELLED_FRAMES = 50.0  # an example with this many frames is trusted by half on where its mouth sits
LAGS_S = np.round(np.arange(-0.3, 0.301, 0.02), 2)
LAG_GAIN = 0.05  # by how much a lag must better the correlation to be believed
LAG_LEAST_S = 3.0
_MIDDLES = [[LOWER_FACE.index(point) for point in pair] for pair in ((82, 87), (13, 14), (312, 317))]


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Actor:
    """How one person's mouth moves with sound.

    rest: float64 (L, 3), the canonical closed mouth; fit: sound to coefficients from there; seconds: of dialogue
    fitted, 0 for a default actor; lag_s: how much later than its lips the sound is in the actor's own
    footage (negative: earlier), which the fit undoes.
    """

    rest: np.ndarray
    fit: Fit
    seconds: float
    lag_s: float

    @property
    def score(self) -> float:
        """Cross-validated correlation of the opening on the actor's own dialogue; 0 where there was too little."""
        return self.fit.score

    @cached_property
    def hash(self) -> str:
        """sha256 of the content, 64 hex digits; the prior it belongs to is part of it."""
        digest = hashlib.sha256(f"{SCHEMA} {prior_hash()}".encode())
        for name, value in _arrays(self).items():
            digest.update(f"{name}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()


def default_actor(shape_NP3: np.ndarray, *, prior: Prior | None = None) -> Actor:
    """An actor nobody has heard: this face's own closed mouth, everyone's average motion, the prior alone.

    shape_NP3: canonical meshes of the face, (N, 478, 3) or lower faces (N, L, 3), N >= 1.
    """
    return Actor(resting(shape_NP3), (prior or Prior.load()).population, 0.0, 0.0)


def fit_actor(
    examples: Sequence[Example], *, max_seconds: float = MOST_S, prior: Prior | None = None,
    space: ShapeSpace | None = None,
) -> Actor:  # fmt: skip
    """Learn an actor from their own performance; deterministic. Only frames where they speak are used.

    Of more than max_seconds of speech, examples evenly spread through the list are used. Under
    `fitting.LEAST_S` the prior is scaled to this mouth but not corrected. Raises ValueError where no
    frame speaks (`default_actor` needs none).
    """
    chosen = _subset(examples, max_seconds)
    if not chosen:
        raise ValueError("fit_actor needs a frame that speaks in at least one example; default_actor needs none.")
    prior, space = prior or Prior.load(), space or ShapeSpace.load()
    speaking = [np.asarray(e.speaking_N, bool) for e in chosen]
    rest = resting(np.concatenate([lower_of(e.shape_NP3) for e in chosen]), np.concatenate(speaking))
    coefs = [smoothed(space.encode(e.shape_NP3, rest), e.times_s)[s] for e, s in zip(chosen, speaking, strict=True)]
    times = [e.times_s[s] for e, s in zip(chosen, speaking, strict=True)]
    frame_s = _frame_s(chosen)
    hears = [heard(prior, e.wave) for e in chosen]
    lag_s = _lag(hears, times, coefs, frame_s)
    fit = fitting.learn(
        heard_NF=np.concatenate([at_times(h, t + lag_s, STEP_HZ) for h, t in zip(hears, times, strict=True)]),
        coef_NK=np.concatenate(_levelled(coefs)),
        example_N=np.repeat(np.arange(len(times)), [len(t) for t in times]),
        times_s=np.concatenate(times),
        frame_s=frame_s,
        prior=prior.population,
    )
    return Actor(rest, fit, sum(map(len, times)) * frame_s, lag_s)


def predict(
    actor: Actor,
    wave: np.ndarray,
    times_s: np.ndarray,
    speech_N: np.ndarray,
    *,
    prior: Prior | None = None,
    hears_TF: np.ndarray | None = None,
) -> np.ndarray:
    """Wanted coefficients at any frame times, float64 (N, COEFS); see `ShapeSpace.decode`.

    wave: float32 mono 16 kHz, any voice, sample 0 at time 0; times_s: (N,), middles of the frames, rising;
    speech_N: bool, where this face speaks; hears_TF: `heard` of that wave, where it is known. Exactly 0 (rest) in
    silence, but for the RISE_S before and FALL_S after speech in which the mouth opens and shuts.
    """
    times, speech = np.asarray(times_s, np.float64), np.asarray(speech_N, bool)
    if not speech.any() or not len(wave):
        return np.zeros((len(times), COEFS))
    hears = heard(prior or Prior.load(), wave) if hears_TF is None else hears_TF
    # Which frame shows at each step.
    frame = np.searchsorted((times[1:] + times[:-1]) / 2, np.arange(len(hears)) / STEP_HZ)
    said = actor.fit.say(hears, speech[frame])
    said[:, 0] *= 1 - closing(hears)
    coef = at_times(said, times, STEP_HZ)
    # Rounded, so that the last bits of a matrix product on another machine do not change a patch.
    return np.asarray(np.round(coef * _envelope(times, speech)[:, None], 6)) + 0.0


def heard(prior: Prior, wave: np.ndarray) -> np.ndarray:
    """What the prior hears, float32 (T, F) at STEP_HZ: coefficients and the ear, smoothed in time, and at last the
    chance that the lips are shut, as it is."""
    here = prior.hear(wave)
    row = np.concatenate([here.coef_TK, here.ear_TE], 1)
    smooth = gaussian_filter1d(row, SMOOTH_S * STEP_HZ, axis=0, mode="nearest")
    return np.concatenate([smooth, here.shut_T[:, None]], 1).astype(np.float32)


def closing(heard_TF: np.ndarray) -> np.ndarray:
    """How far the lips are shut by what is heard, as at a p, b or m; 0..1, (T,)."""
    part = np.clip((heard_TF[:, -1].astype(np.float64) - CLOSING) / (CLOSED - CLOSING), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def opening_of(coef_NK: np.ndarray, rest_L3: np.ndarray, space: ShapeSpace | None = None) -> np.ndarray:
    """The opening of wanted shapes as `face.mouth_measures` reads it, float64 (N,), inter-ocular distances."""
    lower = (space or ShapeSpace.load()).decode(coef_NK, rest_L3)
    return np.asarray(np.mean([np.linalg.norm(lower[:, a] - lower[:, b], axis=-1) for a, b in _MIDDLES], axis=0))


def save(actor: Actor, path: Path) -> None:
    """Write an actor as .npz, no pickle."""
    with open(path, "wb") as file:
        np.savez(file, schema=np.array(SCHEMA), **_arrays(actor))


def load(path: Path) -> Actor:
    """Read what `save` wrote. Raises ModelError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["schema"]) != SCHEMA:
                raise ModelError(f"{path} holds {data['schema']}, this version reads {SCHEMA}; fit the actor again.")
            values = {name: data[name] for name in data.files if name != "schema"}
        fit = Fit.of({name[4:]: value for name, value in values.items() if name.startswith("fit.")})
        return Actor(values["rest"], fit, float(values["seconds"]), float(values["lag_s"]))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} is not an actor's model ({e}); fit the actor again.") from e


def _arrays(actor: Actor) -> dict[str, np.ndarray]:
    named = {"rest": actor.rest, "seconds": actor.seconds, "lag_s": actor.lag_s}
    named |= {f"fit.{field.name}": getattr(actor.fit, field.name) for field in fields(Fit)}
    return {name: np.array(value, "<f8", order="C") for name, value in named.items()}


def _frame_s(examples: Sequence[Example]) -> float:
    steps = [np.diff(e.times_s) for e in examples if len(e.times_s) > 1]
    return float(np.median(np.concatenate(steps))) if steps else 0.04


def _subset(examples: Sequence[Example], max_seconds: float) -> list[Example]:
    """Examples that speak, spread evenly over the list, until there is max_seconds of speech."""
    usable = [n for n, e in enumerate(examples) if np.any(e.speaking_N)]
    spread = sorted(usable, key=lambda n: (n * 0.6180339887498949) % 1)
    chosen, left_s = [], max_seconds
    for n in spread:
        if left_s <= 0:
            break
        one = examples[n]
        frame_s = _frame_s([one])
        last = int(np.searchsorted(np.cumsum(one.speaking_N), left_s / frame_s)) + 1
        if last < len(one.times_s):
            one = Example(
                one.shape_NP3[:last], one.times_s[:last], one.wave[: int((one.times_s[last] + 0.6) * RATE_HZ)],
                one.speaking_N[:last],
            )  # fmt: skip
        chosen.append((n, one))
        left_s -= float(np.sum(one.speaking_N)) * frame_s
    return [one for _, one in sorted(chosen, key=lambda pair: pair[0])]


def _levelled(coefs: list[np.ndarray]) -> list[np.ndarray]:
    """Take out of each example where the mesh, not the voice, puts the mouth. The opening stays: it is absolute."""
    if len(coefs) < 2:
        return coefs
    general = np.median(np.concatenate(coefs), axis=0)
    out = []
    for coef in coefs:
        shift = (np.median(coef, axis=0) - general) * len(coef) / (len(coef) + LEVELLED_FRAMES)
        shift[0] = 0
        out.append(coef - shift)
    return out


def _lag(hears: list[np.ndarray], times: list[np.ndarray], coefs: list[np.ndarray], frame_s: float) -> float:
    """How much later the sound is than the lips it belongs to, as far as the prior can tell; 0 in doubt."""
    opening = np.concatenate([c[:, 0] for c in coefs])
    if len(opening) * frame_s < LAG_LEAST_S or opening.std() < 1e-6:
        return 0.0
    scores = []
    for lag_s in LAGS_S:
        said = np.concatenate([at_times(h[:, :1], t + lag_s, STEP_HZ)[:, 0] for h, t in zip(hears, times, strict=True)])
        scores.append(np.corrcoef(said, opening)[0, 1] if said.std() > 1e-9 else 0.0)
    best = int(np.argmax(scores))
    return float(LAGS_S[best]) if scores[best] > scores[len(LAGS_S) // 2] + LAG_GAIN else 0.0


def _envelope(times_s: np.ndarray, speech_N: np.ndarray) -> np.ndarray:
    """1 in speech; half cosines up to it and down from it; 0 elsewhere."""
    spoken = times_s[speech_N]
    after = np.searchsorted(spoken, times_s)
    to_next = np.where(after < len(spoken), spoken[np.minimum(after, len(spoken) - 1)] - times_s, np.inf)
    since_last = np.where(after > 0, times_s - spoken[np.maximum(after - 1, 0)], np.inf)
    up = 0.5 + 0.5 * np.cos(np.pi * np.clip(to_next / RISE_S, 0, 1))
    down = 0.5 + 0.5 * np.cos(np.pi * np.clip(since_last / FALL_S, 0, 1))
    return np.where(speech_N, 1.0, np.maximum(up, down))


def __getattr__(name: str) -> str:
    if name == "PRIOR_HASH":  # read from the file only when asked for
        return prior_hash()
    raise AttributeError(name)
