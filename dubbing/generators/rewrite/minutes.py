"""The dialogue of one person in numbers: what is heard, how the mouth stands, how clearly it was seen.

It is all that a fit needs, so it is what is kept of a title beside its models, and what another title may be given.
There is no picture in it, no wave and no word. It knows arrays only.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dubbing.errors import ModelError

__all__ = ["Minutes", "Stretch", "clearest", "joined", "load", "save"]

SCHEMA = "dub.minutes.1"
_PARTS = 24  # of a title, each of which gives as much as the others where there is more dialogue than is used


@dataclass(frozen=True, eq=False)
class Stretch:
    """One stretch of dialogue.

    heard_TF: float32 (T, F), `voice.heard` of its sound; place_N: float64 (N,), where in these steps each frame lies
    that speaks, rising; coef_NK: float64 (N, K), the shape there; seconds_N: float64 (N,), for how much each frame
    counts: its duration times how clearly the mouth was seen, 0..1.
    """

    heard_TF: np.ndarray
    place_N: np.ndarray
    coef_NK: np.ndarray
    seconds_N: np.ndarray


@dataclass(frozen=True, eq=False)
class Minutes:
    """Stretches of dialogue of one person. film_s: their duration, however clearly they were seen."""

    stretches: tuple[Stretch, ...]
    film_s: float

    @property
    def seconds(self) -> float:
        """For how much they count."""
        return float(sum(s.seconds_N.sum() for s in self.stretches))

    @property
    def frames(self) -> int:
        return sum(len(s.place_N) for s in self.stretches)

    def shifted(self, steps: float) -> Minutes:
        """The same with the sound so many steps later than was thought."""
        return replace(self, stretches=tuple(replace(s, place_N=s.place_N + steps) for s in self.stretches))


def joined(several: Sequence[Minutes]) -> Minutes:
    """All of them, in order."""
    return Minutes(tuple(s for one in several for s in one.stretches), float(sum(one.film_s for one in several)))


def clearest(seconds_S: Sequence[float], clear_S: Sequence[float], most_s: float) -> list[int]:
    """Which stretches are used, in order, where there is more dialogue than most_s: the clearest of every part.

    seconds_S: how long each stretch of a title speaks, in the title's order; clear_S: how clearly, any rising scale.
    The parts of the title take turns, each with the clearest that it has left.
    """
    seconds = np.asarray(seconds_S, float)
    if seconds.sum() <= most_s:
        return list(range(len(seconds)))
    part_S = np.minimum((np.cumsum(seconds) - seconds / 2) / seconds.sum() * _PARTS, _PARTS - 1).astype(int)
    left = {
        p: sorted(np.flatnonzero(part_S == p).tolist(), key=lambda n: (clear_S[n], -n)) for p in set(part_S.tolist())
    }
    turns = sorted(left, key=lambda p: (p * 0.6180339887498949) % 1)  # so that one round cut short is even too
    chosen: list[int] = []
    used_s = 0.0
    while used_s < most_s and any(left.values()):
        for p in turns:
            if left[p] and used_s < most_s:
                chosen.append(left[p].pop())
                used_s += seconds[chosen[-1]]
    return sorted(chosen)


def save(minutes: Minutes, path: Path) -> None:
    """Write as .npz, no pickle. What is heard is kept in half precision."""
    steps = [len(s.heard_TF) for s in minutes.stretches]
    frames = [len(s.place_N) for s in minutes.stretches]
    parts = {
        name: np.concatenate([getattr(s, name) for s in minutes.stretches])
        for name in ("heard_TF", "place_N", "coef_NK", "seconds_N")
    }
    with open(path, "wb") as file:
        np.savez(
            file, schema=np.array(SCHEMA), steps=np.array(steps), frames=np.array(frames),
            film_s=np.array(minutes.film_s), heard=parts["heard_TF"].astype(np.float16),
            place=parts["place_N"].astype(np.float32), coef=parts["coef_NK"].astype(np.float32),
            seconds=parts["seconds_N"].astype(np.float32),
        )  # fmt: skip


def load(path: Path) -> Minutes:
    """Read what `save` wrote. Raises ModelError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["schema"]) != SCHEMA:
                raise ModelError(f"{path} holds {data['schema']}, this version reads {SCHEMA}.")
            by_step, by_frame = (np.cumsum(data[name])[:-1] for name in ("steps", "frames"))
            heard = np.split(data["heard"].astype(np.float32), by_step)
            place, coef, seconds = (
                np.split(data[name].astype(np.float64), by_frame) for name in ("place", "coef", "seconds")
            )
            found = tuple(Stretch(*four) for four in zip(heard, place, coef, seconds, strict=True))
            return Minutes(found, float(data["film_s"]))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} holds no dialogue in numbers ({e}).") from e
