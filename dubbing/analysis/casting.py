"""Which person of a title each character's pictures show. Numbers only: no picture, no file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from dubbing.analysis.identity import Signature, alikeness

__all__ = ["CLEAR", "LIKE", "assigned", "by_descriptors", "by_signatures"]

# Distance of a picture from a person. Measured on single frames against the tracks of other shots: of one person half
# lie within 0.41 and three of four within 0.48; of two people none of 8,797 within 0.48.
LIKE = 0.46
CLEAR = 0.05  # by which a picture must be nearer than another character's, or it is not known whom the person plays
_ALIKE, _SPREAD = (
    1.46,
    4.0,
)  # alikeness (-2 to 2) of one person from here on; what of it is one distance
_LEAST_FRAMES = 3


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
