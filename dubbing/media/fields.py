"""What a film that is marked as interlaced really holds: pictures, or fields of different moments.

Broadcasters carry progressive pictures in interlaced streams (PsF, "25p in 1080i25"): both fields of a picture show one
moment, so that it is worked on as any picture. Only the pixels tell this from true interlacing, and from film that was
telecined to 30 pictures a second by 3:2 pulldown. The measure is that of FFmpeg's idet, taken where something moves.
It looks at some stretches spread over the film, each from a key frame on. How marks are kept is for `encoders`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Literal

import av.error
import cv2
import numpy as np

from dubbing.errors import UnsupportedMedia, several
from dubbing.media.colour import Layout, layout_of, planes_of
from dubbing.media.film import Film
from dubbing.remote import Uri

__all__ = ["Carriage", "carriage"]

Kind = Literal["progressive", "interlaced", "telecined", "unsure"]
_STRETCHES, _FRAMES = 8, 12
_PATIENCE = 300  # frames that are decoded to come to a place between key frames
_WIDTH_PX = 640  # columns are averaged to about so many, which takes out grain and leaves combs
_MOVES = 8.0  # steps of 8 bits by which a blurred pixel differs from the frame before or after
_LEAST = 0.001  # of the picture must move
_WHOLE, _WOVEN, _SIDED = 0.7, 0.8, 1.15
_ENOUGH = 8  # frames that tell
_FEW, _CYCLE = 0.15, 5
_FITS = 0.85  # of the frames of a telecined stretch that follow the pattern


@dataclass(frozen=True)
class Carriage:
    """What was found. kind: `unsure` where too little moves; frames: how many tell; woven: in how many of them the two
    fields show different moments."""

    kind: Kind
    frames: int
    woven: int

    def said(self, path: PurePath | Uri, rate: Fraction) -> str:
        """What is done about it, a sentence on a film of so many pictures a second. Raises UnsupportedMedia where its
        fields are no whole pictures."""
        seen = f"in {self.woven} of {several(self.frames, 'moving picture')} the two fields show different moments"
        if self.kind == "interlaced":
            raise UnsupportedMedia(
                f"{path} is truly interlaced, {seen}, and mouths are replaced in whole pictures: give the progressive "
                f"original, or deinterlace it to {float(2 * rate):.5g} pictures a second, one a field."
            )
        if self.kind == "telecined":
            raise UnsupportedMedia(
                f"{path} is telecined film (3:2 pulldown), {seen}, two in every five: take the pulldown out (inverse "
                f"telecine, to {float(rate * Fraction(4, 5)):.5g} pictures a second)."
            )
        whole = "too little moves in it to tell what they are"
        if self.kind == "progressive":
            whole = f"they are whole (PsF; {seen})"
        return (
            f"{path.name} is marked as interlaced. Its pictures are taken as they are, because {whole}; the master "
            "keeps the marks."
        )


def carriage(path: str | Path) -> Carriage:
    """Look at the fields of a film in some stretches. Raises MediaError where it cannot be opened; where it is damaged
    a stretch ends."""
    stretches = [_stretch(lumas) for lumas in _stretches(path)]
    told = [woven for stretch in stretches for woven in stretch if woven is not None]
    found, woven = len(told), sum(told)
    kind: Kind = "interlaced"
    if found < _ENOUGH:
        kind = "unsure"
    elif woven <= _FEW * found:
        kind = "progressive"
    elif _pulled_down(stretches):
        kind = "telecined"
    return Carriage(kind, found, woven)


def _stretches(path: str | Path) -> Iterator[Iterator[np.ndarray]]:
    """The luma of some frames from each of some places, averaged over columns, float32 (H, W) in steps of 8 bits."""
    with Film(path) as film:
        stream = film.stream
        length = stream.duration or int((film.container.duration or 0) / av.time_base / stream.time_base)
        seen: set[int] = set()
        for n in range(_STRETCHES if length else 1):
            at = (stream.start_time or 0) + length * n // _STRETCHES
            try:
                if n:
                    film.container.seek(at, stream=stream)
            except av.error.FFmpegError:
                return
            yield _lumas(film, at, seen)


def _lumas(film: Film, at: int, seen: set[int]) -> Iterator[np.ndarray]:
    """From where the file has been sought to; from the pts `at` on where that was seen before. seen: pts of frames."""
    try:
        taken = passed = 0
        for frame in film.container.decode(film.stream):
            if frame.pts in seen or (passed and (frame.pts or 0) < at):
                passed += 1
                if passed > _PATIENCE:
                    return
                continue
            seen.add(frame.pts or 0)
            layout = layout_of(frame.format.name)
            if layout is None:
                frame, layout = frame.reformat(format="yuv444p"), Layout((0, 0), 8)
            luma = planes_of(frame)[0]
            columns = luma.shape[1] // max(1, round(luma.shape[1] / _WIDTH_PX))
            small = cv2.resize(luma, (columns, luma.shape[0]), interpolation=cv2.INTER_AREA)
            yield small.astype(np.float32) / (1 << layout.depth - 8)
            taken += 1
            if taken == _FRAMES:
                return
    except av.error.FFmpegError:
        return


def _stretch(lumas: Iterator[np.ndarray]) -> list[bool | None]:
    """Of each frame but the first and last: whether its fields show two moments; None where it does not tell."""
    found = []
    held: list[np.ndarray] = []
    for luma in lumas:
        held = [*held[-2:], luma]
        if len(held) == 3:
            found.append(_woven(*held))
    return found


def _woven(before: np.ndarray, now: np.ndarray, after: np.ndarray) -> bool | None:
    """How far lines are from those above and below in their own frame, and woven with the frames before and after.

    In a picture of one moment its own lines fit best. Where the fields are of two moments, one field of a neighbour is
    as near in time as the frame's own other field, and one is farther off. Grain alone makes all three alike.
    """
    steps = [cv2.blur(one - now, (3, 5)) for one in (before, after)]
    moves = (np.maximum(np.abs(steps[0]), np.abs(steps[1])) > _MOVES)[1:-1]
    if moves.sum() < _LEAST * moves.size:
        return None
    around = now[:-2] + now[2:]
    own, early, late = (np.abs(around - 2 * one[1:-1]) * moves for one in (now, before, after))
    sides = sorted(float(a[::2].sum() + b[1::2].sum()) + 1 for a, b in ((early, late), (late, early)))
    fit = float(own.sum()) / sides[0]
    if fit < _WHOLE:
        return False
    return True if fit > _WOVEN and sides[1] > _SIDED * sides[0] else None


def _pulled_down(stretches: list[list[bool | None]]) -> bool:
    """Whether in most stretches that tell, two neighbours of every five frames are woven and the others are not."""
    fits = []
    for stretch in stretches:
        told = [(n, woven) for n, woven in enumerate(stretch) if woven is not None]
        if len(told) >= _ENOUGH and any(woven for _, woven in told):
            best = max(sum(((n - at) % _CYCLE < 2) == woven for n, woven in told) for at in range(_CYCLE))
            fits.append(best >= _FITS * len(told))
    return sum(fits) * 2 > len(fits)
