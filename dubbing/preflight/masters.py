"""The masters of a dub, looked at before any work: whether each can be made as it is asked for, and what it will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dubbing import media
from dubbing.errors import blaming
from dubbing.manifest import Dub, Title
from dubbing.master_choice import MasterChoice

__all__ = ["MastersFinding", "look_at_masters"]


@dataclass(frozen=True)
class MastersFinding:
    """deliveries: how each master will be made; room_bytes: about how large they may be together, without sound;
    sound: how the first carries the mix, such as `flac, copied`; notices: what differs from the source."""

    deliveries: tuple[media.Delivery, ...]
    room_bytes: int
    sound: str
    notices: tuple[str, ...]


def look_at_masters(
    title: Title, dub: Dub, picture: media.MediaInfo, sound: media.MediaInfo, choices: Sequence[MasterChoice],
    size_bytes: int,
) -> MastersFinding:  # fmt: skip
    """All masters of a dub. picture, size_bytes: of the title's film; sound: of the dub's file; choices: how they are
    asked for. Raises UnsupportedMedia, which names the key that is at fault: one cannot be made so."""
    said = ("dubs", title.dubs.index(dub), "master") if dub.master else ("master",)
    made: list[media.Delivery] = []
    refused: list[str] = []
    for choice in choices:
        with blaming(*(("video",) if choice.plain else said)):
            made.append(media.delivery(picture, sound, dub.deliver_tracks, choice))
            if made[-1].muxer in ("mxf", media.SEQUENCE):
                media.refuse_for_mxf(made[-1], picture, sound)
            if made[-1].picture.grouped:
                refused += filter(None, [media.why_encoded(picture.path)])
    return MastersFinding(
        tuple(made), int(sum(one.room(picture, size_bytes) for one in made)), _carried(made[0].sound),
        tuple(dict.fromkeys((*(note for one in made for note in one.notices), *refused))),
    )  # fmt: skip


def _carried(tracks: tuple[media.TrackDelivery, ...]) -> str:
    """How a master carries its sound, such as `flac, copied` or `6 tracks, pcm_s24le, copied`."""
    said = list(dict.fromkeys(f"{t.codec}, {'copied' if t.copied else 'sample for sample'}" for t in tracks))
    return (f"{len(tracks)} tracks, " if len(tracks) > 1 else "") + "; ".join(said)
