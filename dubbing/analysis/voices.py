"""Whose face a voice of a dub is: windows of its speech by how alike they sound, joined to the original performance.

A person is mostly dubbed by one voice, and it mostly speaks while that person does in the original. So over all shots,
what is heard while one person speaks in the original is that person's voice, with errors. Whether the voices of two
people can be told apart is tried on what is known: each window against the others of both, those that share its sound
left out. Where that finds the right one often enough, windows that clearly sound like another face's voice than the
nearest one's go to that face. Else nothing changes: where one voice speaks for both, the trial fails. It knows no sound
and no network; two voices at once it cannot tell, and a voice that is heard with nobody is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Followed", "Part", "Said", "Scene", "follow"]

# Measured by bench/voices.py; docs/voices.md has the numbers.
_LEAST_S = 2.0  # of each voice
_FOUND, _LEAST_FOUND = 0.65, 0.5  # of the windows, what the trial must give to the right voice: mean, and of either
_CHANCE = 3.0  # standard deviations by which the mean must pass a coin's, over windows that share no sound
_LEANS = 0.1  # under the least mean: with so much less a long contradiction is worth a look
_ONE_VOICE = 0.9  # cosine between two voices; above it they are one, in two rooms or moods
_CLEAR = 0.6  # where between two voices, 0 and 1, a window must lie to be the other's
_UNLIKE = 0.25  # cosine: more under the lower tenth of a voice's own windows, and it is a third voice
_SHARED_S = 1.0  # windows closer than this share sound
_RUN = 2  # windows in a row, 0.2 s each: one alone is no turn
_DOUBT_S = 2.0
_THIS_VOICE = 0.7  # cosine from which a window has a given voice
_MOST = 1000  # windows of one person that are compared; of more, every n-th


@dataclass(frozen=True, eq=False)
class Said:
    """One face of a scene. person: the same number is the same person in all shots; own_N: where it speaks in the
    original, says_N: where it speaks in the dub by what is known without voices; bool over the scene's frames."""

    person: int
    own_N: np.ndarray
    says_N: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """The frames [start, end) of one shot in which anything is said, and the faces that may be rendered."""

    start: int
    end: int
    faces: tuple[Said, ...]


@dataclass(frozen=True)
class Part:
    """Frames [start, end) of the title that one print, a unit vector, tells the voice of: the middle of its window."""

    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Followed:
    """What the voices say of a scene. says_KN: where each face speaks in the dub, bool; doubt: what a person should
    look at, or None."""

    says_KN: np.ndarray
    doubt: str | None


@dataclass(frozen=True, eq=False)
class _Pair:
    """What tells two voices apart. sure: whether the trial was right often enough, else nearly so; ends: what lies
    along `axis_E` at the first and at the second; means: the voices; least: how alike a window of theirs is at least.
    """

    sure: bool
    axis_E: np.ndarray
    ends: tuple[float, float]
    means: tuple[np.ndarray, np.ndarray]
    least: tuple[float, float]

    def nearness(self, print_E: np.ndarray) -> float:
        """0 for the first voice, 1 for the second, nan for neither."""
        if float(print_E @ self.means[1]) < self.least[1]:
            return float("nan")
        return (float(print_E @ self.axis_E) - self.ends[0]) / (self.ends[1] - self.ends[0])


def follow(
    scenes: Sequence[Scene],
    parts: Sequence[Part],
    prints_WE: np.ndarray,
    frame_s: float,
    known: Mapping[int, np.ndarray] | None = None,
) -> list[Followed | None]:
    """What the voices say of each scene, None where they change nothing and nobody need look.

    scenes: of all shots; parts, prints_WE: of the dub's speech, (W, E), in the film's order; frame_s: how long a frame
    lasts; known: the print of a person's voice, by number, where somebody gave it; one that is not heard counts not.
    """
    starts_W, ends_W = (np.array([getattr(p, side) for p in parts], int) for side in ("start", "end"))
    middle_W = (starts_W + ends_W) / 2 * frame_s
    inside = [
        range(int(np.searchsorted(ends_W, s.start, "right")), int(np.searchsorted(starts_W, s.end))) for s in scenes
    ]
    heard: dict[int, list[int]] = {}
    for scene, windows in zip(scenes, inside, strict=True):
        for w in windows:
            at = _at(parts[w], scene)
            alone = [f.person for f in scene.faces if f.own_N[at].all()]
            if len(alone) == 1 and sum(int(f.own_N[at].any()) for f in scene.faces) == 1:
                heard.setdefault(alone[0], []).append(w)
    voices = _Voices(heard, prints_WE, middle_W, (ends_W - starts_W) * frame_s, known or {})
    return [
        _scene(scene, [(_at(parts[w], scene), prints_WE[w]) for w in windows], voices, frame_s)
        if len(scene.faces) > 1
        else None
        for scene, windows in zip(scenes, inside, strict=True)
    ]


def _at(part: Part, scene: Scene) -> slice:
    return slice(max(part.start, scene.start) - scene.start, min(part.end, scene.end) - scene.start)


class _Voices:
    """What is known of the voices of all people. heard: by person, the windows during which nobody else speaks."""

    def __init__(
        self, heard: Mapping[int, Sequence[int]], prints_WE: np.ndarray, middle_W: np.ndarray, lasts_W: np.ndarray,
        known: Mapping[int, np.ndarray],
    ) -> None:  # fmt: skip
        some = {person: np.array(w)[:: -(-len(w) // _MOST)] for person, w in heard.items()}
        self._lasts_s = {person: float(lasts_W[list(w)].sum()) for person, w in heard.items()}
        self._prints = {person: prints_WE[w].astype(np.float64) for person, w in some.items()}
        self._middle = {person: middle_W[w] for person, w in some.items()}
        self._pairs: dict[tuple[int, int], _Pair | None] = {}
        self._known: dict[int, np.ndarray] = {}  # the windows of a given voice
        for person, print_E in known.items():
            his_W = prints_WE @ _unit(print_E) >= _THIS_VOICE
            if lasts_W[his_W].sum() >= _LEAST_S:
                self._known[person] = prints_WE[his_W].astype(np.float64)

    def pair(self, now: int, other: int) -> _Pair | None:
        """What tells these two apart; None where nothing does."""
        if (now, other) not in self._pairs:
            self._pairs[now, other] = self._told_apart(now, other)
        return self._pairs[now, other]

    def _told_apart(self, *two: int) -> _Pair | None:
        if any(self._lasts_s.get(p, 0.0) < _LEAST_S and p not in self._known for p in two):
            return None
        means, clean, right = [], [], []
        for mine, other in (two, two[::-1]):
            if mine in self._known:
                clean.append(self._known[mine])
                right.append(1.0)
            else:
                kept = self._alike(mine, mine) > self._alike(mine, other)
                clean.append(self._prints[mine][kept])
                right.append(float(kept.mean()))
                if not kept.any():
                    return None
            means.append(_unit(clean[-1].mean(0)))
        tried_s = sum(self._lasts_s[p] for p in two if p not in self._known)
        least_found = max(_FOUND, 0.5 + _CHANCE * 0.5 / np.sqrt(tried_s / _SHARED_S)) if tried_s else 0.0
        found = float(np.mean(right))
        if min(right) < _LEAST_FOUND or found < least_found - _LEANS or float(means[0] @ means[1]) > _ONE_VOICE:
            return None
        axis_E = means[1] - means[0]
        ends = tuple(float(np.median(prints @ axis_E)) for prints in clean)
        least = tuple(
            float(np.quantile(prints @ mean, 0.1)) - _UNLIKE for prints, mean in zip(clean, means, strict=True)
        )
        if ends[1] <= ends[0]:
            return None
        return _Pair(found >= least_found, axis_E, (ends[0], ends[1]), (means[0], means[1]), (least[0], least[1]))

    def _alike(self, mine: int, whose: int) -> np.ndarray:
        """How like a voice each of somebody's windows is: the mean cosine with what shares no sound with it."""
        if whose in self._known:
            return np.asarray(self._prints[mine] @ _unit(self._known[whose].mean(0)))
        apart = np.abs(self._middle[mine][:, None] - self._middle[whose]) >= _SHARED_S
        alike = (self._prints[mine] @ self._prints[whose].T) * apart
        return np.asarray(alike.sum(1) / np.maximum(apart.sum(1), 1))


def _scene(
    scene: Scene, windows: Sequence[tuple[slice, np.ndarray]], voices: _Voices, frame_s: float
) -> Followed | None:
    says_KN = np.stack([f.says_N for f in scene.faces])
    now_W, new_W, sure_W = [], [], []
    for at, print_E in windows:
        said_K = says_KN[:, at].sum(1)
        now = int(np.argmax(said_K)) if said_K.any() else -1
        best, nearest, sure = now, _CLEAR, True
        for k, face in enumerate(scene.faces):
            if now < 0 or k == now:
                continue
            pair = voices.pair(scene.faces[now].person, face.person)
            if pair is not None and pair.nearness(print_E) >= nearest:
                best, nearest, sure = k, pair.nearness(print_E), pair.sure
        now_W.append(now)
        new_W.append(best)
        sure_W.append(sure)
    new_KN, against_s, w = says_KN.copy(), 0.0, 0
    while w < len(windows):
        end = w + 1
        while end < len(windows) and (new_W[end], now_W[end]) == (new_W[w], now_W[w]):
            end += 1
        if new_W[w] != now_W[w] and end - w >= _RUN:
            for at, _ in windows[w:end]:
                if all(sure_W[w:end]):
                    new_KN[:, at] = False
                    new_KN[new_W[w], at] = says_KN[:, at].any(0)
                else:
                    against_s += (at.stop - at.start) * frame_s
        w = end
    doubt = None
    if against_s >= _DOUBT_S:
        doubt = (
            f"for {against_s:.1f} s the dub's voice may be that of another of the faces than of the one that speaks "
            "nearest to it in the original"
        )
    return Followed(new_KN, doubt) if doubt or (new_KN != says_KN).any() else None


def _unit(vector_E: np.ndarray) -> np.ndarray:
    return np.asarray(vector_E / max(float(np.linalg.norm(vector_E)), 1e-9))
