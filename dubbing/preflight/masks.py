"""The masks of a title, looked at before a run: can each be read, does it fit the picture, and what does it cover?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dubbing.analysis.asked import ShownFilm
from dubbing.analysis.given_masks import MaskPlace, frames_of, mask_in
from dubbing.errors import ManifestError, several
from dubbing.manifest import Mask, Title
from dubbing.media import MediaInfo
from dubbing.store import Store

__all__ = ["look_at_masks"]


def look_at_masks(title: Title, info: MediaInfo, store: Store, attempt: Callable[..., Any]) -> list[str]:
    """A note on what each mask of a title covers. info: of its film.

    attempt(key, call, *args): calls what may raise; what it raises is of that key of the title, and None comes back.
    Refused so are masks of another size, that are no PNG or white nowhere, and parts outside the film.
    """
    notes = [attempt(("mask", n), _look, title, mask, n, info, store) for n, mask in enumerate(title.mask or ())]
    return [note for note in notes if note]


def _look(title: Title, mask: Mask, n: int, info: MediaInfo, store: Store) -> str:
    video = info.video
    assert video is not None
    place = MaskPlace(mask.box, mask.frames, mask.timecodes)
    film = ShownFilm(video.frames_hint, video.rate, video.start_tc, None)
    try:
        there = frames_of(place, film)
        covered_HW = mask_in(store.local(mask.file) if mask.file is not None else None, place, info.upright_size)
    except ManifestError as e:
        raise type(e)(str(e), at=("mask", n, *e.at)) from e
    when = "in all frames"
    if there is not None:
        when = f"in {several(there[1] - there[0], 'frame')}, {place.timecodes or place.frames}"
    what = mask.file.name if mask.file is not None else f"the box {list(mask.box or ())}"
    part = 100 * float(covered_HW.mean())
    return f"{title.id}: mask {what} covers {part:.{1 if part >= 1 else 3}f} % of the picture {when}."
