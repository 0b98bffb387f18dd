"""Which character a face plays: what the cast says, and for faces without a name what timing makes sure.

A face that nobody has named is joined to a voice of the dub where the two can only belong together: there is one of
each in the whole title, or each speaks almost only while the other does. Anything less is left open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Names", "known_names", "spelled_as"]

_PART = 0.75  # of the time in which a face and any voice speak together: so much must be with this one, and vice versa
_ENOUGH_S = 1.0  # spoken together


@dataclass(frozen=True)
class Names:
    """Who is who. of_track: the character by track id; joined: those of them, by character, whose name rests on when
    they speak, each with the reason as a sentence."""

    of_track: Mapping[str, str]
    joined: Mapping[str, str]


def spelled_as(cast: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """The names by track id, each written as the one of `known` that differs in case only, where there is one."""
    of = {name.casefold(): name for name in sorted(known)}
    return {track: name if name in known else of.get(name.casefold(), name) for track, name in cast.items()}


def known_names(
    cast: Mapping[str, str], people: Mapping[str, int], own: Mapping[int, np.ndarray],
    spoken: Mapping[str, np.ndarray], rate: float, leave: Collection[str] = (),
) -> Names:  # fmt: skip
    """The names of a title's tracks.

    cast: what is known, by track id; people: the number of the person, by track id; own: by person, the frames of the
    film in which the person is seen to speak in the original, bool (N,); spoken: by character, those in which it speaks
    in the dub, without characters who are never in sight; rate: frames a second; leave: characters who
    may not be rendered: as long as the face of one of them is not known, no face is taken for anybody by timing.
    """
    of_person: dict[int, set[str]] = {}
    for track, name in cast.items():
        if track in people:
            of_person.setdefault(people[track], set()).add(name)
    sure = {person: next(iter(names)) for person, names in of_person.items() if len(names) == 1}
    taken = set(cast.values())
    nameless = {person: mask_N for person, mask_N in own.items() if person not in of_person}
    free = {name: mask_N for name, mask_N in spoken.items() if name not in taken}
    found: dict[int, str] = {}
    joined: dict[str, str] = {}
    if not taken.issuperset(leave):
        pass
    elif len(own) == len(spoken) == len(nameless) == len(free) == 1:
        ((person,), (name,)) = nameless, free
        found[person] = name
        joined[name] = (
            f"{name} is taken for the one face that speaks: there is one voice in the dub, and one such face."
        )
    else:
        for person, name, seconds in _together(nameless, free, rate):
            found[person] = name
            joined[name] = (
                f"{name} is taken for a face without a name, because the two speak together for {seconds:.1f} s and "
                "hardly with others."
            )
    named = {**{t: (sure | found)[p] for t, p in people.items() if p in sure or p in found}, **cast}
    return Names(named, joined)


def _together(
    own: Mapping[int, np.ndarray], spoken: Mapping[str, np.ndarray], rate: float
) -> list[tuple[int, str, float]]:
    """Pairs of a person and a character that can only belong together, with the seconds in which both speak."""
    if not own or not spoken:
        return []
    people, names = list(own), list(spoken)
    both = np.array([[(own[p] & spoken[n]).sum() for n in names] for p in people]) / rate
    of_person = both / np.maximum(both.sum(1, keepdims=True), 1e-9)
    of_name = both / np.maximum(both.sum(0, keepdims=True), 1e-9)
    sure = (both >= _ENOUGH_S) & (of_person >= _PART) & (of_name >= _PART)
    return [(people[p], names[n], float(both[p, n])) for p, n in np.argwhere(sure)]
