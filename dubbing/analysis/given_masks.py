"""What a manifest says must never be touched (`mask`): its frames, and its pixels in the upright picture.

A mask in a file is a grey, colour or transparent PNG of the picture's size: what is lighter than half is kept, as a
transparent pixel is not. A box is a rectangle of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.analysis.asked import ShownFilm, stretch_of
from dubbing.errors import ManifestError

__all__ = ["MaskPlace", "frames_of", "mask_in"]


@dataclass(frozen=True)
class MaskPlace:
    """Where and when a mask holds. box: (x, y, width, height), None where a file says it; frames, timecodes: one range
    as a manifest writes it, both None for the whole film."""

    box: tuple[int, int, int, int] | None = None
    frames: str | None = None
    timecodes: str | None = None


def frames_of(place: MaskPlace, film: ShownFilm) -> tuple[int, int] | None:
    """Frames [start, end) of the film; None for all of it. Raises ManifestError, whose `at` is the key."""
    for kind, text in (("frames", place.frames), ("timecodes", place.timecodes)):
        if text is not None:
            return stretch_of(kind, text, (kind,), film)
    return None


def mask_in(file: Path | None, place: MaskPlace, size_wh: tuple[int, int]) -> np.ndarray:
    """What must never be touched, bool (H, W) of the upright picture, True somewhere.

    Raises ManifestError, whose `at` is the key: no PNG, another size, nothing in it, a box outside the picture.
    """
    width, height = size_wh
    whole_HW = np.zeros((height, width), bool)
    if file is not None:
        return _in_file(file, size_wh)
    assert place.box is not None
    x, y, wide, high = place.box
    if x + wide > width or y + high > height:
        raise ManifestError(
            f"the box [{x}, {y}, {wide}, {high}] reaches outside the picture, which is {width}x{height} upright; give "
            "x, y, width and height inside it.",
            at=("box",),
        )
    whole_HW[y : y + high, x : x + wide] = True
    return whole_HW


def _in_file(file: Path, size_wh: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            kind, size = picture.format, picture.size
            if kind == "PNG" and size == size_wh:
                picture.load()
                light = np.asarray(picture.convert("LA"))
    except FileNotFoundError as e:
        raise ManifestError(f"there is no file {file}; 'mask' names a PNG.", at=("file",)) from e
    except Exception as e:  # damaged bytes make a decoder raise anything
        raise ManifestError(f"{file} is no picture that can be read; a mask is a PNG.", at=("file",)) from e
    if kind != "PNG":
        raise ManifestError(f"{file} is {kind}, and a mask is a PNG: others smear its edges.", at=("file",))
    if size != size_wh:
        told = "x".join(map(str, size_wh))
        raise ManifestError(
            f"{file} is {size[0]}x{size[1]}, and the film's upright picture is {told}; draw the mask on a frame of it.",
            at=("file",),
        )
    mask_HW = np.asarray((light[..., 0] > 127) & (light[..., 1] > 127))
    if not mask_HW.any():
        raise ManifestError(f"{file} is black everywhere; white is what must never be touched.", at=("file",))
    return mask_HW
