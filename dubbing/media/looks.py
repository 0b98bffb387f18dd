"""Masters are looked at while they are made: what their encoder gives is decoded at once, and compared with the
source's pictures and the mattes that are still in memory.

A frame of the source is held until its picture has come back from every master: as many as their encoders keep. So this
is done of pictures that are not too large, and an encoder that keeps too many of them is not looked at any further. The
rest is for whoever reads the finished file (`looked`, `likeness`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import av
import av.error

from dubbing.clock import Timeline
from dubbing.errors import MediaError
from dubbing.media.asked import COPIED_IN_GROUPS
from dubbing.media.colour import layout_of, picture_bytes
from dubbing.media.film import Film
from dubbing.media.gap import gap
from dubbing.media.likeness import pair
from dubbing.media.looked import Digest, Header, Looked, number_of
from dubbing.media.master_picture import MadePicture
from dubbing.media.paste import Keep
from dubbing.media.read import Picture
from dubbing.media.seen import Sums
from dubbing.records import Patch

__all__ = ["MOST_HELD", "Looks"]

_MOST_BYTES = 8_000_000  # of a picture: about eight are held where nothing is asked for, and as many by the decoder
MOST_HELD = 160_000_000
"""Bytes of the frames that are held, at most: slow presets keep fifty pictures and more."""


@dataclass(frozen=True)
class _Kept:
    """A picture of the source, as of `Keep`."""

    picture: Picture
    beside: Picture
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        frames = {id(one): one for one in (self.picture.av_frame, self.beside.av_frame)}.values()
        arrays = (one for p in self.patches for one in (p.pixels, p.matte_HW, p.deep_HWC) if one is not None)
        pixels = sum(picture_bytes(one.width, one.height, one.format.name) for one in frames)
        return pixels + sum(array.nbytes for array in arrays)


class Looks:
    """Masters of a film that are made side by side. pictures: theirs, open; least_db: for each the PSNR under which a
    frame differs, as of `compare_masters`. For each frame `made` is called of every master, then `forget`. size: bytes
    of the frames that are held."""

    def __init__(self, film: Film, line: Timeline, pictures: Sequence[MadePicture], least_db: Sequence[float]) -> None:
        self._each = [
            _Look(line, picture, least) if _can(film, picture) else None
            for picture, least in zip(pictures, least_db, strict=True)
        ]
        self._held: dict[int, _Kept] = {}
        self.size = 0

    @property
    def keep(self) -> Keep | None:
        """What keeps each frame; None where nothing does."""
        return self._keep if any(self._each) else None

    def _keep(self, picture: Picture, beside: Picture, patches: Sequence[Patch]) -> None:
        if all(one is None or one.lost for one in self._each):
            return
        self._held[picture.frame] = kept = _Kept(picture, beside, tuple(patches))
        self.size += kept.size

    def made(self, n: int, packets: Iterable[Any], number: int | None = None, copied: bool = False) -> list[Any]:
        """The packets that the n-th master's encoder gave when frame `number` went in, None for what is left at its
        end; copied: the last is the source's own, behind which an encoder begins anew. Returns them."""
        found, look = list(packets), self._each[n]
        if look is not None:
            if number is not None and not copied:
                look.wait(number)
            for packet in found[: len(found) - copied]:
                look.take(packet, self._held)
            if number is None or copied:
                look.end(self._held)
        return found

    def forget(self) -> None:
        """Let go of the frames that no master waits for, once all had their turn; where too much is held, also of the
        masters that have waited longest."""
        while self._held:
            least = min((one.waits for one in self._each if one and one.waits is not None), default=None)
            for frame in [f for f in self._held if least is None or f < least]:
                self.size -= self._held.pop(frame).size
            if self.size <= MOST_HELD:
                return
            for one in self._each:
                if one is not None and one.waits == least:
                    one.lose()

    @property
    def found(self) -> list[tuple[Looked, ...] | None]:
        """What was seen of each master; None where it has to be looked at as it lies in its file."""
        return [None if one is None or one.lost else tuple(one.runs) for one in self._each]


class _Look:
    """One master. waits: the first frame that went in and has not come back, None where there is none; lost: whether
    something is not as it should be, so that all of it has to be looked at again."""

    def __init__(self, line: Timeline, picture: MadePicture, least_db: float) -> None:
        self._line, self._picture, self._least = line, picture, least_db
        self._decoder: Any = None
        self._first = 0
        self._frames: list[int] = []
        self._sums = Sums()
        self.waits: int | None = None
        self.lost = False
        self.runs: list[Looked] = []

    def wait(self, number: int) -> None:
        if self.waits is None and not self.lost:
            self.waits = self._first = number

    def take(self, packet: Any, held: dict[int, _Kept]) -> None:
        if self.lost or self.waits is None:
            return
        try:
            if self._decoder is None:
                self._open()
            number = None if packet.pts is None else number_of(self._line, packet.pts)
            if number is None:
                raise ValueError("a packet does not say which frame it shows")
            self._digest.add(bytes(packet))
            self._frames.append(number)
            self._show(self._decoder.decode(packet), held)
        except (ValueError, KeyError, MediaError, av.error.FFmpegError):
            self.lose()

    def end(self, held: dict[int, _Kept]) -> None:
        """The encoder gives no more: what is still in the decoder."""
        if self._decoder is None or self.lost or self.waits is None:
            return
        try:
            self._show(self._decoder.decode(None), held)
        except (ValueError, KeyError, MediaError, av.error.FFmpegError):
            self.lose()
            return
        if sorted(self._frames) != [*range(self._first, self.waits)]:
            self.lose()
            return
        self.runs.append(Looked(self._first, self.waits, self._digest.value(self._frames), self._sums))
        self._decoder, self.waits, self._frames, self._sums = None, None, [], Sums()

    def lose(self) -> None:
        """Look no further."""
        self.lost, self.waits, self._decoder = True, None, None

    def _open(self) -> None:
        """A decoder that knows what the file's header will say."""
        codec, header = self._picture.encoding.codec, bytes(self._picture.stream.codec_context.extradata or b"")
        self._digest = Digest(Header(codec, header))
        self._decoder = av.CodecContext.create(codec, "r")
        self._decoder.extradata = header
        self._decoder.thread_count, self._decoder.thread_type = 1, "NONE"

    def _show(self, frames: Iterable[Any], held: dict[int, _Kept]) -> None:
        for frame in frames:
            assert self.waits is not None
            kept = held[self.waits]
            own = kept.picture
            pts = int(self._line.pts[self.waits])
            if frame.is_corrupt or frame.pts != pts:
                raise ValueError("another picture came out than went in")
            made = Picture(own.frame, pts, own.rotation_deg, own.colour, frame, own.aspect)
            apart = gap(own, made, kept.patches, self._least)
            if not apart.fits(self._least):
                raise ValueError("a picture is not as it should be")
            self._sums += pair(kept.beside, made, apart, bool(kept.patches))
            self.waits += 1


def _can(film: Film, picture: MadePicture) -> bool:
    """Whether a master can be looked at while it is made: its pictures are of the source's own kind and size, and not
    large, and their packets can be told again in a file."""
    made, ctx = picture.encoding, film.stream.codec_context
    if made.codec not in COPIED_IN_GROUPS or made.converts is not None or made.pix_fmt != ctx.pix_fmt:
        return False
    if layout_of(made.pix_fmt) is None or picture_bytes(ctx.width, ctx.height, made.pix_fmt) > _MOST_BYTES:
        return False
    return picture.groups is None or made.codec == "h264"  # HEVC has other sets on the way there
