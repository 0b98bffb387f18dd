"""Groups of pictures, of H.264 and HEVC, which refer to each other: groups in which nothing changed are copied.

A clean key frame is one (IDR) from which on nothing refers to what was before, in decoding or in showing. From one to
the next is a group. A group without a patch goes into the master as its packets are; a run of others is decoded,
pasted and encoded by an encoder of its own, which begins with a clean key frame and ends complete (`group_writer`). It
knows neither sound nor containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError, several
from dubbing.media.asked import COPIED_IN_GROUPS
from dubbing.media.film import Film
from dubbing.media.parameter_sets import HevcSets, Sets, sets_of, units
from dubbing.media.paste import Keep, PatchQueue, pasted_part, with_patches
from dubbing.media.patches import patch_frames
from dubbing.media.probe import first_video, open_media
from dubbing.media.prores import Box
from dubbing.media.read import Picture, uneven

__all__ = [
    "VARIABLE", "Copied", "Ground", "Group", "GroupsRefused", "ground", "group_pictures", "groups", "why_encoded",
]  # fmt: skip

_LOOKED_AT, _REORDERED = 1000, 32  # packets; those shown between the last ones are not all there
_MOST_PICTURES, _MOST_BYTES = 1500, 1 << 28  # of a group that is held until it is known whether it changes
_STEPS_BACK = (0, 17, 300)  # frames before the wanted one to seek to, one try after another
VARIABLE = "it has a variable frame rate, and pictures that are not coded in the order they are shown"
"""Why such a film's groups are not copied."""
_ACROSS = "their groups reach over the edges of the windows in which a long film is made"
_NO_CLEAN = "no clean key frame is near before them"


@dataclass(frozen=True)
class Ground:
    """What a film's header and its first packets say about copying groups. why: why none can be copied, '' where they
    can; sets: of its header; delay: how many pictures are coded before the one that is shown first."""

    why: str
    sets: Sets | HevcSets | None = None
    delay: int = 0


@dataclass(frozen=True)
class Copied:
    """A picture that is the source's own packet. data: units after four-byte lengths; number: its frame's; key: whether
    one may begin to decode there."""

    data: bytes
    number: int
    key: bool


@dataclass
class Group:
    """Packets from one clean key frame up to the next, in the order of decoding. clean: whether it begins with one;
    why: why it cannot be copied, '' where it can."""

    packets: list[Any] = field(default_factory=list)
    clean: bool = False
    why: str = ""

    @property
    def pts(self) -> list[int | None]:
        """Of the pictures that are shown, in the order of decoding."""
        return [packet.pts for packet in self.packets if not packet.is_discard]


def ground(path: str | Path) -> Ground:
    """Whether groups of a film can be copied, by its header and its first thousand packets. Decodes nothing."""
    with open_media(path) as container:
        stream = first_video(container)
        codec = stream.codec_context.codec.canonical_name if stream is not None else ""
        if stream is None or codec not in COPIED_IN_GROUPS:
            return Ground("only groups of H.264 and HEVC are copied")
        try:
            sets = sets_of(codec, bytes(stream.codec_context.extradata or b""))
            why = sets.why_not()
        except ValueError:
            why = "its header has no parameter sets that can be read"
        if why or (stream.codec_context.field_order or 0) > 1:
            return Ground(why or "its pictures may be coded as fields")
        packets = (packet for packet in islice(container.demux(stream), _LOOKED_AT) if packet.size)
        first = next(packets, None)
        if first is None or not _Reader(sets).read(first)[0]:
            return Ground("it does not begin with a clean key frame")
        times = [p.pts for p in chain([first], packets) if not p.is_discard]
    known = np.array([t for t in times if t is not None], np.int64)
    if len(known) < len(times) or not len(known):
        return Ground("not all of its packets say when they are shown")
    sure = len(known) - _REORDERED if len(times) == _LOOKED_AT else len(known)
    delay = _delay(known, sure)
    if delay and uneven(np.sort(known)[:sure]):
        return Ground(VARIABLE)
    return Ground("", sets, delay)


def _delay(pts_N: np.ndarray, first: int | None = None) -> int:
    """How many pictures are decoded at most before one that is shown before them. pts_N: in the order of decoding, of
    which only the first ones are looked at."""
    ranks = np.argsort(np.argsort(pts_N, kind="stable"), kind="stable")
    return int((np.arange(len(pts_N)) - ranks)[:first].max(initial=0))


class GroupsRefused(Exception):
    """No group of a film can be copied; the argument says why."""

    def sentence(self, path: Path) -> str:
        """For the user."""
        return f"{path.name}: every picture is encoded, though untouched ones were to be copied, because {self}."


def why_encoded(path: Path) -> str:
    """The sentence that says why all pictures of a film are encoded though those without a patch were to be copied; ''
    where groups can be copied, as far as the film's beginning tells."""
    why = ground(path).why
    return GroupsRefused(why).sentence(path) if why else ""


class _Reader:
    """Packets into groups. sets: of the film's header; what a packet has beyond them makes its group one that cannot
    be copied, and, where it is a set, those after it."""

    def __init__(self, sets: Sets | HevcSets) -> None:
        self._sets, self._changed = sets, ""

    def read(self, packet: Any) -> tuple[bool, str]:
        """Whether a packet is a clean key frame, and why it cannot be copied."""
        why = "an edit list leaves out others of their group" if packet.is_discard else ""
        try:
            parts = list(units(bytes(packet), self._sets.prefix))
        except ValueError:
            return False, "a packet is not made as its header says"
        kinds = {self._sets.kind(part) for part in parts}
        if not all(self._sets.holds(part) for part in parts if self._sets.kind(part) in self._sets.kinds):
            self._changed = "its parameter sets change on the way"
        if kinds - self._sets.plain:
            why = "it has units of further layers, or that an encoder does not make"
        return self._sets.clean(kinds), why or self._changed


def groups(film: Film, sets: Sets | HevcSets) -> Iterator[Group]:
    """The groups of a film from where it stands, packets of other streams going to `film.on_packet`. One that becomes
    too large to be held comes in pieces, of which none is `clean` but the first, and which cannot be copied."""
    reader = _Reader(sets)
    now, size, pieces = Group(), 0, ""
    for packet in film.packets(left_out=True):
        clean, why = reader.read(packet)
        if clean and now.packets:
            yield now
        if clean:
            now, size, pieces = Group(clean=True), 0, ""
        elif len(now.packets) >= _MOST_PICTURES or size > _MOST_BYTES:
            pieces = f"there is no clean key frame among {_MOST_PICTURES} pictures, or 256 MB,"
            now.why = now.why or pieces
            yield now
            now, size = Group(), 0
        now.packets.append(packet)
        now.why = now.why or why or pieces
        size += packet.size
    if now.packets:
        yield now


def group_pictures(
    film: Film, timeline: Timeline, folders: Iterable[str | Path], base: Ground, first: int = 0,
    last: int | None = None, every: bool = False, reasons: dict[str, int] | None = None, keep: Keep | None = None,
) -> Iterator[tuple[int, Copied | None, Any | None, tuple[Box, ...]]]:  # fmt: skip
    """The pictures of frames [first, last) of a film: copied ones as packets, in the order of decoding, others as
    decoded frames with their patches in them, in the order shown. What comes before the packets of a group is of frames
    before it. Of a copied group the frames come too, one beside each packet, where `every` is wanted; a frame without a
    packet is to be encoded by all. The number is the frame's, or the packet's where it comes alone. A group that is not
    whole among these frames is not copied.

    reasons: gets the number of pictures without a patch that cannot be copied, by why; keep: as of `paste.Keep`.
    Raises DamagedMedia; MediaError when the film is not the timeline's, or a patch lies beyond its end.
    """
    assert base.sets is not None
    folders = list(folders)
    patched = np.unique(np.concatenate([[], *(patch_frames(f)["frame"].to_numpy() for f in folders)])).astype(np.int64)
    whole = len(timeline) if last is None else min(last, len(timeline))
    some, at = _from(film, timeline, base.sets, first, whole)
    if at > first:  # what lies before the first clean key frame is found as any film's frames are
        before = pasted_part(film.path, timeline, folders, first, at, film.stream.codec_context.thread_count, keep)
        yield from ((n, None, frame, ()) for n, frame in enumerate(before, first))
        if reasons is not None and (count := at - first - int(np.sum((first <= patched) & (patched < at)))):
            reasons[_NO_CLEAN] = count
    queue = PatchQueue(folders, max(first, at) or None, last, own=True)
    copied = longest = 0
    decoder = _Decoder(film, timeline, queue, range(first, whole), keep)
    decoder.skip_to(at)
    for group in some:
        reached = at + len(group.pts)
        touched = np.searchsorted(patched, at) < np.searchsorted(patched, reached)
        numbers, why = _numbers(group, timeline, at, base.delay)
        inside, why = at >= first and reached <= whole, group.why or why
        longest = max(longest, reached - at)
        if touched or why or not inside:
            count = min(reached, whole) - max(at, first)
            if reasons is not None and not touched and count > 0:
                why = why or _ACROSS
                reasons[why] = reasons.get(why, 0) + count
            yield from ((n, None, frame, ()) for n, frame in decoder.feed(group.packets))
        else:
            yield from ((n, None, frame, ()) for n, frame in decoder.end())
            own = [
                Copied(base.sets.copied(bytes(packet), packet.is_keyframe), number, packet.is_keyframe)
                for packet, number in zip(group.packets, numbers, strict=True)
            ]
            decoder.skip_to(at)
            if every:
                shown = chain(decoder.feed(group.packets), decoder.end())  # one at a time: a group may be long
                yield from ((n, one, frame, ()) for one, (n, frame) in zip(own, shown, strict=True))
            else:
                yield from ((one.number, one, None, ()) for one in own)
            decoder.skip_to(reached)
            copied += len(own)
        at = reached
        if at >= whole:
            break
    yield from ((n, None, frame, ()) for n, frame in decoder.end())
    count = decoder.number
    if reasons is not None and not (first or last or copied or reasons) and len(patched) < whole:
        why = f"each group between two clean key frames, of up to {longest} pictures, has a patch"
        reasons[why] = whole - len(patched)
    if count < whole or (whole == len(timeline) and count != whole):
        raise MediaError(
            f"{film.path} has changed: its timeline has {several(len(timeline), 'frame')}, the file does not."
        )
    if queue.left and last is None:
        raise MediaError(f"{queue.left} patch folders reach beyond the last frame of {film.path}.")


def _from(film: Film, timeline: Timeline, sets: Sets | HevcSets, first: int, whole: int) -> tuple[Iterator[Group], int]:
    """The groups from the one that holds frame `first`, or from one before it, else from the first after it, and the
    number of their first frame; `whole`, and no group, where there is none up to there."""
    if not first or not film.seekable:
        return groups(film, sets), 0
    for back in _STEPS_BACK:
        film.container.seek(int(timeline.pts[max(0, first - back)]), stream=film.stream)
        found = groups(film, sets)
        group = next(found, None)
        number = None if group is None else _begins(group, timeline)
        if group is not None and number is not None and number <= first:
            return chain([group], found), number
    film.container.seek(int(timeline.pts[first]), stream=film.stream)
    found = groups(film, sets)
    for group in found:
        number = _begins(group, timeline)
        if number is not None and first < number < whole:
            return chain([group], found), number
        if any(pts is not None and pts >= timeline.pts[whole - 1] for pts in group.pts):
            break
    return iter(()), whole


def _begins(group: Group, timeline: Timeline) -> int | None:
    """The frame that a group begins with; None where it is not clean, or has other times than the film."""
    if not group.clean or not group.pts or any(t is None for t in group.pts):
        return None
    number = int(np.searchsorted(timeline.pts, min(t for t in group.pts if t is not None)))
    return None if _numbers(group, timeline, number, len(group.packets))[1] else number


def _numbers(group: Group, timeline: Timeline, first: int, delay: int) -> tuple[list[int], str]:
    """The frame numbers of a group's packets, of which the one shown first has number `first`, and why it cannot be
    copied: its times are not those of the timeline, its order needs more than that delay, or it is not clean."""
    times = group.pts
    pts = np.array([t for t in times if t is not None], np.int64)
    order = np.argsort(pts, kind="stable")
    if len(pts) < len(group.packets) or not np.array_equal(pts[order], timeline.pts[first : first + len(pts)]):
        return [], "its packets do not say when they are shown"
    if not group.clean:
        return [], "it does not begin with a clean key frame"
    if _delay(pts) > delay:
        return [], "its pictures are coded in another order than those of the film's beginning"
    numbers = np.empty(len(pts), np.int64)
    numbers[order] = first + np.arange(len(pts))
    return [int(n) for n in numbers], ""


class _Decoder:
    """A film's decoder for runs of groups, whose frames get their patches. wanted: only these frames come out; number:
    of the next one."""

    def __init__(
        self, film: Film, timeline: Timeline, queue: PatchQueue, wanted: range, keep: Keep | None = None
    ) -> None:
        self._keep = keep
        self._film, self._line, self._queue, self._wanted = film, timeline, queue, wanted
        self._fed = self._decoded = 0
        self._open = False
        self.number = 0

    def skip_to(self, number: int) -> None:
        """The next frame that is decoded has that number."""
        self.number = number

    def feed(self, packets: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Frames that come out as these packets go in, with their numbers."""
        self._open = True
        for packet in packets:
            if self._wanted.stop <= self.number < len(self._line):
                return
            self._fed += not packet.is_discard
            yield from self._decode(packet)

    def end(self) -> Iterator[tuple[int, Any]]:
        """The frames that are still in the decoder, which can then begin anew."""
        if not self._open:
            return
        yield from self._decode(None)
        if self._decoded != self._fed:
            raise self._film.damage(self.number)
        self._film.stream.codec_context.flush_buffers()
        self._fed = self._decoded = 0
        self._open = False

    def _decode(self, packet: Any | None) -> Iterator[tuple[int, Any]]:
        film = self._film
        try:
            frames = film.stream.codec_context.decode(packet)
        except av.error.FFmpegError as e:
            raise film.damage(self.number) from e
        for frame in frames:
            if frame.is_corrupt:
                raise film.damage(self.number)
            film.check(frame, self.number)
            if self.number >= len(self._line):
                raise MediaError(f"{film.path} has changed: it has more frames than its timeline.")
            number, self.number, self._decoded = self.number, self.number + 1, self._decoded + 1
            if number not in self._wanted:
                continue
            picture = Picture.of(film, number, int(self._line.pts[number]), frame)
            yield number, with_patches(picture, self._queue.at(number), self._keep)
