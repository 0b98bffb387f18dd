"""Which person of a title each character's pictures show, and who is who in another title. Numbers only: no picture, no
file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dubbing.analysis.identity import NEAR, Signature, alikeness

__all__ = ["CLEAR", "LIKE", "Looks", "assigned", "by_descriptors", "by_signatures", "same_people"]

# Distance of a picture from a person. Measured on single frames against the tracks of other shots: of one person half
# lie within 0.41 and three of four within 0.48; of two people none of 8,797 within 0.48.
LIKE = 0.46
CLEAR = 0.05  # by which a picture must be nearer than another character's, or it is not known whom the person plays
_ALIKE, _SPREAD = (
    1.46,
    4.0,
)  # alikeness (-2 to 2) of one person from here on; what of it is one distance
_LEAST_FRAMES = 3
_OTHER = 0.60  # distance from which on faces under one name are two people's: a part may be cast anew


@dataclass(frozen=True, eq=False)
class Looks:
    """By what a person may be known in another title. names: of the characters; described: float32 (F, 128), a
    descriptor of each of the person's tracks, none where there are none."""

    names: tuple[str, ...]
    described: np.ndarray


def by_descriptors(pictures: Sequence[np.ndarray], tracks: Sequence[np.ndarray | None]) -> float:
    """Distance 0..2 of a character from a person, inf where it is not known. pictures: float32 (128,) each; tracks:
    float32 (F, 128) of each of the person's tracks."""
    seen = [one.mean(0) for one in tracks if one is not None and len(one)]
    if not seen or not pictures:
        return np.inf
    return float(np.mean(np.linalg.norm(np.stack(seen) - np.mean(pictures, axis=0), axis=1)))


def by_signatures(pictures: Sequence[Signature], tracks: Sequence[Signature]) -> float:
    """The same without descriptors, on a scale on which `LIKE` means the same: the best picture against the median of
    the person's tracks."""
    seen = [one for one in tracks if one.frames >= _LEAST_FRAMES]
    if not seen or not pictures:
        return np.inf
    alike = alikeness([*pictures, *seen])[: len(pictures), len(pictures) :]
    return float(LIKE + (_ALIKE - np.median(alike, axis=1).max()) / _SPREAD)


def assigned(
    far_CP: np.ndarray, together: Collection[tuple[int, int]]
) -> tuple[dict[int, int], list[tuple[int, int, int]]]:
    """Who plays whom. far_CP: distance of character c from person p; together: pairs of people that are in one picture.

    Returns the character of each person that is known, nearest first, and (person, character, character) where two
    characters are as near: such a person is nobody's. One character may be several people, if these are never seen
    together: identity then took one person for two.
    """
    owner: dict[int, int] = {}
    unsure: list[tuple[int, int, int]] = []
    apart = {frozenset(pair) for pair in together}
    characters, people = np.nonzero(far_CP <= LIKE)
    for c, p in sorted(zip(characters.tolist(), people.tolist(), strict=True), key=lambda cp: (far_CP[cp], cp)):
        if p in owner or any(p == one for one, _, _ in unsure):
            continue
        if any(owner[q] == c and frozenset((p, q)) in apart for q in owner):
            continue
        rivals = [d for d in range(len(far_CP)) if d != c and far_CP[d, p] <= min(LIKE, far_CP[c, p] + CLEAR)]
        if rivals:
            unsure.append((p, c, min(rivals, key=lambda d: far_CP[d, p])))
        else:
            owner[p] = c
    return owner, unsure


def same_people(here: Mapping[int, Looks], there: Mapping[int, Looks]) -> tuple[dict[int, int], list[str]]:
    """Who of another title is who of this one, by number: by the one name that both have, else by their faces alone.

    Returns that of everybody there who is known for sure, and a clause without a stop for everybody who may be
    somebody here and is not known for sure.
    """
    same: dict[int, int] = {}
    unsure: list[str] = []
    for other, look in there.items():
        far = {n: _apart(look.described, one.described) for n, one in here.items()}
        who = f"person {other + 1}" + (f" ({', '.join(look.names)})" if look.names else "")
        named = [n for n, one in here.items() if set(one.names) & set(look.names)]
        if named:
            if len(look.names) > 1 or len(named) > 1 or len(here[named[0]].names) > 1:
                unsure.append(f"{who} has a name that several people have, and is not used")
            elif far[named[0]] > _OTHER and np.isfinite(far[named[0]]):
                unsure.append(f"{who} has the name of person {named[0] + 1} here and another face, and is not used")
            else:
                same[other] = named[0]
            continue
        near = sorted((f, n) for n, f in far.items() if f <= LIKE and not (look.names and here[n].names))
        if not near:
            continue
        clear = len(near) == 1 or near[1][0] - near[0][0] >= CLEAR
        if near[0][0] <= NEAR and clear:
            same[other] = near[0][1]
        else:
            unsure.append(f"{who} may be person {near[0][1] + 1} here, which is not sure enough to be used")
    return same, unsure


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance between the tracks of two people; inf where it is not known."""
    if not len(one) or not len(other):
        return np.inf
    return float(np.linalg.norm(one[:, None].astype(np.float64) - other[None], axis=2).mean())
