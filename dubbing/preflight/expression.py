"""The expressions that a title asks for, looked at before a run: weights that load, parts in the film, known names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from dubbing.analysis.asked import ShownFilm, parts_of
from dubbing.errors import ManifestError
from dubbing.expression import create
from dubbing.manifest import Title
from dubbing.media import MediaInfo
from dubbing.records import Look
from dubbing.store import Store

__all__ = ["look_at_expressions"]


def look_at_expressions(
    title: Title, info: MediaInfo, store: Store, named: Callable[[], Collection[str]], attempt: Callable[..., Any]
) -> list[str]:
    """Notes on how faces will look. info: of its film; named: asked for characters whom reviewers named.

    attempt(key, call, *args): calls what may raise; what it raises is of that key of the title. Refused so are weights
    that do not load or have no such emotion, parts outside the film, and characters whom nobody knows.
    """
    wanted = title.still.expression if title.still else None
    if wanted is not None and wanted.by == "latent":
        emotion = wanted.emotion.name if wanted.emotion else None
        look = Look(wanted.neutralise, emotion, by=wanted.by)
        attempt(("still", "expression", "model"), lambda: create(look, *(store.local(file) for file in wanted.files)))
    for n in range(len(title.expression or ())):
        attempt(("expression", n, "only"), _part, title, n, info, named)
    notes = []
    if wanted is not None:
        notes.append(f"{title.id}: the face that speaks is {wanted.words} before it speaks.")
    notes += [f"{title.id}: who speaks is {one.words}." for one in title.expression or ()]
    return notes


def _part(title: Title, n: int, info: MediaInfo, named: Callable[[], Collection[str]]) -> None:
    assert title.expression is not None
    only, video = title.expression[n].only, info.video
    if only is None or video is None:
        return
    at = ("expression", n, "only")
    if video.frames_hint:
        parts_of(only, at, ShownFilm(video.frames_hint, video.rate, video.start_tc, None))
    names = {*(title.cast or {}), *(name for dub in title.dubs for name in dub.stems or {})}
    for k, name in enumerate(only.characters or ()):
        if name not in names and name not in (names := names | set(named())):
            known = f"which has {', '.join(sorted(names))}" if names else "which names none"
            raise ManifestError(
                f"{name!r} is no character of the title, {known}; write a name of 'cast'.", at=(*at, "characters", k)
            )
