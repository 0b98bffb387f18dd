"""The cast of a title, looked at before a run: is there one face in every picture, and another in each character's?

Who plays whom in the film is found by the stage `cast`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dubbing.analysis.casting import LIKE
from dubbing.analysis.identity import chip
from dubbing.analysis.portraits import FaceFinder, Portrait
from dubbing.config import Config
from dubbing.errors import ManifestError
from dubbing.manifest import Title
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.store import Store

__all__ = ["contradiction", "look_at_pictures"]

_UNLIKE = 0.65  # pictures of one face that lie further apart than this are of two people (measured: see `casting`)


def contradiction(title: Title) -> None:
    """Raises ManifestError where what is said of a character cannot be."""
    for name, member in (title.cast or {}).items():
        if member.off_screen and member.pictures:
            raise ManifestError(
                f"{name} is off_screen, which says never in sight, and has a picture; remove one of the two.",
                at=("cast", name, "off_screen"),
            )


def look_at_pictures(title: Title, config: Config, store: Store, attempt: Callable[..., Any]) -> list[str]:
    """Look for the face in every picture of a cast: a note where they can only be compared coarsely, or look wrong.

    attempt(key, call, *args): calls what may raise; what it raises is of that key of the title, and None comes back.
    Refused so are a picture that shows no face or several, and two characters whose pictures show one person.
    """
    pictures = [(name, n, file) for name, m in (title.cast or {}).items() for n, file in enumerate(m.pictures)]
    if not pictures:
        return []
    finder, found = FaceFinder(), []
    try:
        for name, n, file in pictures:
            portrait = attempt(("cast", name, "face", n), lambda f=file: finder.find(store.local(f), str(f)))
            if portrait is not None:
                found.append((name, file.name, portrait))
    finally:
        finder.close()
    if config.speakers.identity != "off" and FaceDescriptor.identity() is not None:
        return attempt(("cast",), _compared, title, found) or []
    return [
        f"{title.id}: the pictures of its cast are compared by proportions and light alone, which finds few; "
        "`pip install 'dubbing[identity]'` makes it surer, or name people by `dub cast`."
    ]


def _compared(title: Title, found: Sequence[tuple[str, str, Portrait]]) -> list[str]:
    """Notes on pictures of one character that look like two people. Raises ManifestError for the reverse."""
    looks = FaceDescriptor().describe([chip(one.bgr_HWC, one.mesh_P3) for *_, one in found])
    notes = []
    for a, b in combinations(range(len(found)), 2):
        (one, first, _), (other, second, _) = found[a], found[b]
        distance = float(np.linalg.norm(looks[a] - looks[b]))
        if one != other and distance < LIKE:
            raise ManifestError(
                f"{first} of {one} and {second} of {other} show one person, whose faces nothing could tell apart; give "
                "pictures of two people, or of one of the two characters.",
                at=("cast", other, "face"),
            )
        if one == other and distance > _UNLIKE:
            notes.append(f"{title.id}: {first} and {second}, both of {one}, look like two people.")
    return notes
