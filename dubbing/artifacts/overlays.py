"""What lies over the faces of a shot and is no part of the scene, and what of a title's shots has any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.analysis.burned_in import Cover
from dubbing.artifact import Artifact
from dubbing.store import key_of

__all__ = ["Overlay", "OverlayList", "Overlays", "load_letters", "load_overlays", "save_letters", "save_overlays"]

FILE = "overlays.npz"
LETTERS = "letters.npz"


@dataclass(frozen=True)
class Overlay:
    """One thing that lies over the picture. Its mask is in the folder."""

    start_frame: int
    """First frame of the title in which it lies there."""
    end_frame: int
    """The frame after its last."""
    x: int
    """Left edge in the upright picture, pixels."""
    y: int
    """Top edge."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    given: bool
    """Whether the manifest's mask says it, else it was found."""
    edges: float
    """Area of its edges on the face, in square eye distances; 0 of one that is given."""


@dataclass(frozen=True)
class Overlays(Artifact):
    """What lies over the faces of one shot. Masks are files in its folder (`load_overlays`)."""

    schema: ClassVar[str] = "dub.overlays.1"
    found: tuple[Overlay, ...] = ()
    """In the order of their frames."""
    content: str = ""
    """Key of all of it, masks included; empty where there is none."""


@dataclass(frozen=True)
class OverlayList(Artifact):
    """Which shots of a title have something over a face."""

    schema: ClassVar[str] = "dub.overlay_list.1"
    contents: Mapping[str, str]
    """By shot id, the `content` of its overlays; empty where there is none. A shot that failed is not in it."""


def save_overlays(folder: Path, covers: Sequence[Cover]) -> Overlays:
    """Write the masks, and say what they are."""
    if not covers:
        return Overlays()
    packed = {f"mask_{n}": np.packbits(one.mask_HW) for n, one in enumerate(covers)}
    np.savez_compressed(folder / FILE, **packed)
    found = tuple(
        Overlay(c.start, c.end, c.x, c.y, c.mask_HW.shape[1], c.mask_HW.shape[0], c.given, c.edges) for c in covers
    )
    return Overlays(found, key_of([vars(one) for one in found], [packed[name].tobytes().hex() for name in packed]))


def load_overlays(folder: Path) -> list[Cover]:
    """The overlays of a finished result, with their masks."""
    found = Overlays.read(folder).found
    if not found:
        return []
    with np.load(folder / FILE) as data:
        masks = [
            np.unpackbits(data[f"mask_{n}"], count=o.width * o.height).reshape(o.height, o.width) > 0
            for n, o in enumerate(found)
        ]
    return [Cover(o.start_frame, o.end_frame, o.x, o.y, m, o.edges, o.given) for o, m in zip(found, masks, strict=True)]


def save_letters(folder: Path, by_track: Mapping[str, Sequence[Cover]]) -> None:
    """Write what was found over the faces of a shot while they were followed, beside their tracks."""
    covers = [one for some in by_track.values() for one in some]
    np.savez_compressed(
        folder / LETTERS, ids=np.array(list(by_track), np.str_), counts=np.array([*map(len, by_track.values())], int),
        places=np.array([(c.start, c.end, c.x, c.y, *c.mask_HW.shape) for c in covers], int).reshape(-1, 6),
        edges=np.array([c.edges for c in covers]),
        **{f"mask_{n}": np.packbits(c.mask_HW) for n, c in enumerate(covers)},
    )  # fmt: skip


def load_letters(folder: Path) -> dict[str, list[Cover]]:
    """What `save_letters` wrote; empty where nothing was looked for."""
    if not (folder / LETTERS).is_file():
        return {}
    with np.load(folder / LETTERS) as data:
        covers = [
            Cover(start, end, x, y, np.unpackbits(data[f"mask_{n}"], count=h * w).reshape(h, w) > 0, float(edges))
            for n, ((start, end, x, y, h, w), edges) in enumerate(
                zip(data["places"].tolist(), data["edges"], strict=True)
            )
        ]
        edges = [0, *np.cumsum(data["counts"]).tolist()]
        return {str(one): covers[edges[n] : edges[n + 1]] for n, one in enumerate(data["ids"])}
