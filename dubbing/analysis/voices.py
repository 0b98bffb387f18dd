"""Whose face a voice of a dub is: voices found by how alike they sound, joined to people by the original performance.

A person is mostly dubbed by one voice, and it mostly speaks while that person does in the original. So voices are
clustered over a whole dub, and each is weighed, over all shots, by who speaks in the original while it speaks in the
dub. Where one person of a shot has nearly all of that, the voice is that person's, and what it says goes to that face,
also where another face speaks nearer in time. Where that is not clear, nothing changes: one voice that speaks for
everybody belongs to nobody. It knows no sound and no network; two voices at once it cannot tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Followed", "Part", "Said", "Scene", "follow", "voices_of"]

# Measured by bench/voices.py; docs/voices.md has the numbers.
_APART = 0.4  # cosine distance (average linkage) from which two groups of windows are two voices
_MOST = 4000  # windows that are clustered; of more, every n-th, and the others go to the voice most like them
_LEAST_S = 2.0  # how long a voice must speak with a person
_SURE_PART, _LEANS_PART = 0.75, 0.6  # of the voice's time with the people of the shot
_OF_VOICE, _OF_PERSON = 0.3, 0.2  # of all the voice's time, and of all the person's, so that no narrator or guest is
_AGREE = 2 / 3  # of the shots in which the voice is heard with one of these people, by their number
_ALIKE, _MARGIN = 0.6, 0.05  # cosine to the person's voice; how much more than to the other's
_DOUBT_S = 2.0  # less than this against the nearest face asks nobody to look


@dataclass(frozen=True, eq=False)
class Said:
    """One face of a shot. person: the same number is the same person in all shots; own_N: where it speaks in the
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
    """Frames [start, end) of the title that one print, a unit vector, tells the voice of; at most some tenths of a
    second, and of one stretch of speech."""

    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Followed:
    """What the voices say of a scene. says_KN: where each face speaks in the dub, bool; moved_N: where that is another
    than before; doubt: what a person should look at, or None."""

    says_KN: np.ndarray
    moved_N: np.ndarray
    doubt: str | None


def voices_of(prints_WE: np.ndarray) -> np.ndarray:
    """The voices of a dub as unit vectors, float (V, E), the most heard first: agglomerative clustering of its prints
    by cosine, average linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage

    some = prints_WE[:: -(-len(prints_WE) // _MOST)].astype(np.float64)
    if len(some) < 2:
        return some
    label = fcluster(linkage(some, "average", "cosine"), _APART, "distance")
    order = np.argsort(-np.bincount(label)[1:], kind="stable") + 1
    return _unit(np.stack([some[label == n].mean(0) for n in order]))


def follow(
    scenes: Sequence[Scene],
    parts: Sequence[Part],
    prints_WE: np.ndarray,
    frame_s: float,
    known: Mapping[int, np.ndarray] | None = None,
) -> list[Followed | None]:
    """What the voices say of each scene, None where they change nothing and nobody need look.

    scenes: of all shots; parts, prints_WE: of the dub's speech, (W, E), in the film's order; frame_s: how long a frame
    lasts; known: the print of a person's voice, by number, where somebody gave it.
    """
    if not len(parts):
        return [None] * len(scenes)
    voices_VE = voices_of(prints_WE)
    label_W = np.argmax(prints_WE @ voices_VE.T, 1)
    starts_W, ends_W = (np.array([getattr(p, side) for p in parts]) for side in ("start", "end"))
    evidence = _Evidence(frame_s)
    inside = []
    for number, scene in enumerate(scenes):
        within = range(np.searchsorted(ends_W, scene.start, "right"), np.searchsorted(starts_W, scene.end))
        windows = [_Window(_at(parts[w], scene), prints_WE[w], int(label_W[w])) for w in within]
        inside.append(windows)
        for one in windows:
            evidence.add(number, scene, one)
    given = {person: _unit(print_E) for person, print_E in (known or {}).items()}
    return [
        _scene(scene, windows, voices_VE, evidence, given) if len(scene.faces) > 1 and windows else None
        for scene, windows in zip(scenes, inside, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Window:
    """A part of a scene, counted from its start, its print, and the number of the voice that it is most like."""

    at: slice
    print_E: np.ndarray
    voice: int


def _at(part: Part, scene: Scene) -> slice:
    return slice(max(part.start, scene.start) - scene.start, min(part.end, scene.end) - scene.start)


class _Evidence:
    """Seconds in which a voice speaks in the dub while a person, or nobody who is seen, does in the original."""

    def __init__(self, frame_s: float) -> None:
        self.frame_s = frame_s
        self._by_scene: defaultdict[int, defaultdict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        self._together: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._voice: defaultdict[int, float] = defaultdict(float)
        self._person: defaultdict[int, float] = defaultdict(float)

    def add(self, number: int, scene: Scene, one: _Window) -> None:
        """One window of a scene. Where two people speak at once in the original, it says nothing."""
        speak_N = np.zeros(one.at.stop - one.at.start, int) + sum(f.own_N[one.at] for f in scene.faces)
        self._voice[one.voice] += float((speak_N < 2).sum()) * self.frame_s
        for face in scene.faces:
            heard_s = float((face.own_N[one.at] & (speak_N == 1)).sum()) * self.frame_s
            if heard_s:
                seen = self._by_scene[one.voice][number]
                seen[face.person] = seen.get(face.person, 0.0) + heard_s
                self._together[one.voice, face.person] += heard_s
                self._person[face.person] += heard_s

    def owner(self, voice: int, people: Sequence[int]) -> tuple[int | None, bool]:
        """Whose voice it most likely is among the people of a shot, and whether that is sure; None for nobody's."""
        among = {p: self._together.get((voice, p), 0.0) for p in people}
        best = max(among, key=lambda p: among[p])
        heard_s = among[best]
        part = heard_s / max(sum(among.values()), 1e-9)
        if heard_s < _LEAST_S or part < _LEANS_PART:
            return None, False
        if heard_s < _OF_VOICE * self._voice[voice] or heard_s < _OF_PERSON * self._person[best]:
            return None, False
        votes = [max(seen, key=lambda p: seen[p]) for seen in self._of_scenes(voice, people)]
        return best, part >= _SURE_PART and votes.count(best) >= _AGREE * len(votes)

    def _of_scenes(self, voice: int, people: Sequence[int]) -> list[dict[int, float]]:
        of = [{p: s for p, s in seen.items() if p in people} for seen in self._by_scene[voice].values()]
        return [seen for seen in of if seen]


def _scene(
    scene: Scene,
    windows: Sequence[_Window],
    voices_VE: np.ndarray,
    evidence: _Evidence,
    given: Mapping[int, np.ndarray],
) -> Followed | None:
    people = [f.person for f in scene.faces]
    owners = {v: evidence.owner(v, people) for v in sorted({one.voice for one in windows})}
    sure = set(given).union(p for p, is_sure in owners.values() if p is not None and is_sure)
    for v, (p, is_sure) in owners.items():
        if p is not None and not is_sure and p not in sure and sure.issuperset({*people} - {p}):
            owners[v] = (p, True)  # nobody else is left for it
    prints = {}
    for person in people:
        mine = [v for v, owner in owners.items() if owner == (person, True)]
        if person in given or mine:
            prints[person] = given[person] if person in given else _unit(voices_VE[mine].mean(0))
    says_KN = np.stack([f.says_N for f in scene.faces])
    now_W = [_speaker(says_KN[:, one.at]) for one in windows]
    new_W = list(now_W)
    against_s: defaultdict[tuple[int, int], float] = defaultdict(float)
    for w, (one, now) in enumerate(zip(windows, now_W, strict=True)):
        if now is None:
            continue
        alike = {k: float(one.print_E @ prints[p]) for k, p in enumerate(people) if p in prints}
        best = max(alike, key=lambda k: alike[k], default=now)
        owner, is_sure = owners[one.voice]
        if best != now and (now in alike or owner == people[best]):
            if alike[best] >= max(_ALIKE, alike.get(now, 0.0) + _MARGIN):
                new_W[w] = best
        elif owner is not None and not is_sure and owner != people[now]:
            against_s[now, people.index(owner)] += (one.at.stop - one.at.start) * evidence.frame_s
    new_KN = says_KN.copy()
    for w, one in enumerate(windows):
        beside = (*new_W[max(0, w - 1) : w], *new_W[w + 1 : w + 2])
        new = new_W[w]
        if new is not None and new != now_W[w] and new in beside:  # a single window is no turn
            new_KN[:, one.at] = False
            new_KN[new, one.at] = says_KN[:, one.at].any(0)
    moved_N = (new_KN != says_KN).any(0)
    doubts = [
        f"for {lasts_s:.1f} s a voice speaks that is mostly heard while another of the faces does than the one that "
        "speaks nearest to it in the original"
        for lasts_s in against_s.values()
        if lasts_s >= _DOUBT_S
    ]
    return Followed(new_KN, moved_N, doubts[0] if doubts else None) if moved_N.any() or doubts else None


def _speaker(says_KN: np.ndarray) -> int | None:
    """The face that says most of some frames; None where nobody does."""
    said_K = says_KN.sum(1)
    return int(np.argmax(said_K)) if said_K.any() else None


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))
