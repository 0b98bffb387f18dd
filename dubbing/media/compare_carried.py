"""What a master carries over besides picture and sound: subtitles, further pictures, attachments, chapters, tags.

Packets are compared by a hash of each; nothing holds a file.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dubbing.errors import several
from dubbing.languages import of_stream_tag
from dubbing.media.compare import CLOCK, Check, checked
from dubbing.media.master_file import NO_TEXT
from dubbing.media.probe import MediaInfo, first_video, open_media
from dubbing.media.tags import kept_tags

__all__ = ["check_carried"]

_MOST = 5  # chapters that are named
_OF_THE_MUXER = {"handler_name", "vendor_id", "language", "file_package_umid", "file_package_name"}
"""Tags of how the old file was made; language is compared as such."""
_KINDS = {
    "subtitle": "subtitles", "video": "further pictures", "cover": "covers", "attachment": "attachments",
}  # fmt: skip


def check_carried(source: MediaInfo, master: MediaInfo, left_out: frozenset[int] = frozenset()) -> list[Check]:
    """Subtitles, further pictures, covers, attachments, chapters and tags of the source, in the master. left_out: the
    source's streams that a container which was asked for cannot carry.

    Times may differ by a millisecond, which is Matroska's clock. Tags that describe how the old file was made are not
    looked at, and tags that only the master has are no difference.
    """
    with open_media(source.path) as one, open_media(master.path) as two:
        streams = [_carried_streams(container) for container in (one, two)]
        packets = [_packets(container, [s for s, _ in own]) for container, own in zip((one, two), streams, strict=True)]
        found = []
        for kind, name in _KINDS.items():
            own, made = (
                [s for s, k in side if k == kind and (n or s.index not in left_out)] for n, side in enumerate(streams)
            )
            problems = []
            if len(own) != len(made):
                problems.append(f"{several(len(made), 'stream')}, the source has {len(own)}")
            for n, (a, b) in enumerate(zip(own, made, strict=False), 1):
                problems += [f"stream {n}: {p}" for p in _stream(a, b, packets[0][a.index], packets[1][b.index])]
            if own or made:
                found.append(checked(name, problems, several(len(own), "stream")))
            found += [
                Check(name, "not looked at", f"stream {s.index} is left out, as it was asked for")
                for s, k in streams[0]
                if k == kind and s.index in left_out
            ]
        if "mxf" in master.container:
            lost = [name for name, there in (("chapters", source.chapters), ("tags", kept_tags(one.metadata))) if there]
            found += [Check(name, "not looked at", "MXF carries none") for name in lost]
        else:
            found += [_chapters(one, two), _tags(one, two, source, master)]
    data = [o for o in source.others if o.kind == "data" and o.codec is not None]
    found += [Check("data", "not looked at", f"stream {o.index} ({o.codec}) is never delivered") for o in data]
    return found


def _carried_streams(container: Any) -> list[tuple[Any, str]]:
    """Streams that are copied, with their kinds."""
    picture, found = first_video(container), []
    for stream in container.streams:
        if stream is not picture and stream.type in ("video", "subtitle", "attachment"):
            kinds = type(stream.disposition)
            cover = stream.type == "video" and stream.disposition & (kinds.attached_pic | kinds.timed_thumbnails)
            found.append((stream, "cover" if cover else stream.type))
    return found


@dataclass(frozen=True)
class _Packets:
    """Of one stream, in the file's order: a hash, a time and a length (seconds) for each packet."""

    hashes: array[int]
    times: array[float]
    lengths: array[float]


def _packets(container: Any, streams: Sequence[Any]) -> dict[int, _Packets]:
    """The packets of some streams, by index."""
    found = {s.index: _Packets(array("Q"), array("d"), array("d")) for s in streams}
    wanted = [s for s in streams if s.type != "attachment"]
    for packet in container.demux(wanted) if wanted else ():
        data = bytes(packet)
        text = packet.stream.codec_context is not None and packet.stream.codec_context.name == "mov_text"
        if not data or (text and data == NO_TEXT):
            continue
        own = found[packet.stream.index]
        own.hashes.append(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest()))
        own.times.append(float((packet.pts or 0) * packet.time_base))
        own.lengths.append(float((packet.duration or 0) * packet.time_base) if packet.stream.type == "subtitle" else 0)
    return found


def _stream(a: Any, b: Any, own: _Packets, made: _Packets) -> Iterator[str]:
    """How a carried stream differs."""
    names = [s.codec_context.codec.canonical_name if s.codec_context else None for s in (a, b)]
    if names[0] != names[1]:
        yield f"{names[1]}, the source's {names[0]}"
    spoken = [of_stream_tag(s.metadata.get("language")) or "not said" for s in (a, b)]
    if spoken[0] != spoken[1]:
        yield f"language {spoken[1]}, the source's {spoken[0]}"
    if a.type == "attachment":
        if (a.name, bytes(a.data or b"")) != (b.name, bytes(b.data or b"")):
            yield f"{b.name}, or its contents, is not the source's {a.name}"
        return
    titles = [s.metadata.get("title") for s in (a, b)]
    if titles[0] and titles[0] != titles[1]:
        yield f"title {titles[1]!r}, the source's {titles[0]!r}"
    if len(own.hashes) != len(made.hashes):
        yield f"{several(len(made.hashes), 'packet')}, the source has {len(own.hashes)}"
    pairs = zip(own.hashes, made.hashes, own.times, made.times, own.lengths, made.lengths, strict=False)
    ms = float(CLOCK) + 1e-9
    for x, y, t, u, long, length in pairs:
        if x != y or abs(t - u) > ms or abs(long - length) > ms:
            yield f"the packet at {t:.3f} s" + ("" if x != y else f" is shown at {u:.3f} s for {length:.3f} s")
            return


def _chapters(one: Any, two: Any) -> Check:
    own, made = (
        [(c["start"] * c["time_base"], c["metadata"].get("title", "")) for c in f.chapters()] for f in (one, two)
    )
    problems = [f"{several(len(made), 'chapter')}, the source has {len(own)}"] if len(own) != len(made) else []
    for n, ((t, title), (u, other)) in enumerate(zip(own, made, strict=False), 1):
        if title != other:
            problems.append(f"chapter {n} is {other!r}, the source's {title!r}")
        if abs(t - u) > CLOCK:
            problems.append(f"chapter {n} begins at {float(u):.3f} s, the source's at {float(t):.3f} s")
    return checked("chapters", problems[:_MOST], several(len(own), "chapter"))


def _tags(one: Any, two: Any, source: MediaInfo, master: MediaInfo) -> Check:
    """The files' tags, and the picture's."""
    problems, count = [], 0
    pictures: list[Any] = [first_video(file) for file in (one, two)]
    for whose, a, b in (("", one, two), ("the picture's ", *pictures)):
        made = {k.lower(): v for k, v in b.metadata.items()}
        for key, value in kept_tags(a.metadata).items():
            if key.lower() in _OF_THE_MUXER or not value:
                continue
            count += 1
            if made.get(key.lower()) != value:
                problems.append(f"{whose}{key} {made.get(key.lower(), 'not there')!r}, the source's {value!r}")
    spoken = [of_stream_tag(i.video.language if i.video else None) or "not said" for i in (source, master)]
    if spoken[0] != spoken[1]:
        problems.append(f"the picture's language {spoken[1]}, the source's {spoken[0]}")
    return checked("tags", problems, several(count, "tag"))
