"""What of a master is its source's and its dub's: everything but the pictures themselves (`likeness`).

Each comparison is a `Check`: equal, differs, or not looked at, with a sentence's end that says what. Packets are
compared by a hash of each, sound sample by sample as it is decoded; nothing holds a film. It knows what is delivered
(docs/sound.md, `master`), and not where takes or dubs lie.

32-bit integer and 64-bit float sound is compared with the 24 bits of a float's fraction.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import several
from dubbing.languages import of_stream_tag
from dubbing.media.language import three_letters
from dubbing.media.likeness import until_damage
from dubbing.media.master import NO_TEXT
from dubbing.media.probe import AudioInfo, MediaInfo, VideoInfo, first_video, open_media
from dubbing.media.sound import first_sample_time, silent_after, sound_blocks
from dubbing.media.tags import kept_tags

__all__ = ["Check", "check_carried", "check_picture", "check_sound", "check_times", "stretch"]

Status = Literal["equal", "differs", "not looked at"]
_MS = Fraction(1, 1000)
_MOST = 5  # differences of one kind that are named
_PADDED = {"aac", "ac3", "eac3", "opus"}
_OF_THE_MUXER = {"handler_name", "vendor_id", "language"}  # language is compared as such
_KINDS = {
    "subtitle": "subtitles", "video": "further pictures", "cover": "covers", "attachment": "attachments",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One comparison. what: its subject; status: `equal`, `differs` or `not looked at`; detail: how, or why not; of
    what is equal, how much there was of it."""

    what: str
    status: Status
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else self.status


def _checked(what: str, problems: Sequence[str], detail: str = "") -> Check:
    return Check(what, "differs", "; ".join(problems)) if problems else Check(what, "equal", detail)


def check_picture(source: VideoInfo, master: VideoInfo) -> list[Check]:
    """Size, format, aspect, turn, colour tags and timecode, by two headers.

    A range that is not said is limited, and a chroma location that is not said is left: what says so is equal to it.
    """
    size, wanted = (f"{v.width}x{v.height} {v.pix_fmt}" for v in (master, source))
    pairs = {
        "size and format": (size, wanted),
        "pixel aspect": (master.sample_aspect, source.sample_aspect),
        "turn": (_turn(master), _turn(source)),
        "scan": (*(_scan(v, source) for v in (master, source)),),
        **{
            name: (_said(getattr(master, name)), _said(getattr(source, name)))
            for name in ("primaries", "transfer", "matrix")
        },
        "range": (_range(master), _range(source)),
        "chroma location": (*(v.chroma_location or "left" for v in (master, source)),),
    }
    picture = ("size and format", "pixel aspect", "turn", "scan")
    found = []
    for what, names in (("picture", picture), ("colour tags", [n for n in pairs if n not in picture])):
        problems = [f"{n} {pairs[n][0]}, the source's {pairs[n][1]}" for n in names if pairs[n][0] != pairs[n][1]]
        found.append(_checked(what, problems, ", ".join(f"{n} {pairs[n][0]}" for n in names)))
    codes = [v.start_tc or "none" for v in (master, source)]
    found.append(_checked("timecode", [f"{codes[0]}, the source's {codes[1]}"] * (codes[0] != codes[1]), codes[0]))
    return found


def _scan(video: VideoInfo, source: VideoInfo) -> str:
    if not video.interlaced:
        return "progressive"
    said = source.first_field and video.first_field
    return f"interlaced, {said} field first" if said else "interlaced"


def _turn(video: VideoInfo) -> str:
    other = video.matrix9 and [v for n, v in enumerate(video.matrix9) if n not in (2, 5, 6, 7, 8)]
    one = 1 << 16
    upright = other in (None, [one, 0, 0, one])
    return f"{video.rotation_deg} degrees" if upright or video.rotation_deg else f"display matrix {video.matrix9}"


def _said(value: int | None) -> str:
    return "not said" if value is None else str(value)


def _range(video: VideoInfo) -> str:
    return "full" if video.range == 2 or video.pix_fmt.startswith("yuvj") else "limited"


def check_times(
    source: Timeline, master: Timeline | None, missing: Sequence[tuple[int, int]] = (),
    extra: Sequence[tuple[int, int]] = (),
) -> list[Check]:  # fmt: skip
    """The number of frames, and when each is shown. missing, extra: stretches [first, last] of frames of the source
    that the master has not, and of the master that the source has not, where that is known. master: None where it is
    damaged."""
    if master is None:
        return [Check(what, "differs", "the master is damaged") for what in ("frames", "times of frames")]
    problems = []
    if len(source) != len(master):
        problems.append(f"{several(len(master), 'frame')}, the source has {len(source)}")
    problems += [f"{stretch(source, a, b)} missing" for a, b in missing[:_MOST]]
    problems += [f"{stretch(master, a, b)} in the master only" for a, b in extra[:_MOST]]
    found = [_checked("frames", problems, several(len(master), "frame"))]
    exact = _MS if master.time_base == _MS != source.time_base else Fraction(0)  # Matroska's clock
    problems = []
    if source.rate != master.rate and not (exact and abs(source.rate / master.rate - 1) < Fraction(1, 1000)):
        problems.append(f"{master.rate} frames a second, the source has {source.rate}")
    off, first, most = 0, 0, Fraction(0)
    for n, m in zip(_without(len(source), missing), _without(len(master), extra), strict=False):
        late = int(master.pts[m]) * master.time_base - int(source.pts[n]) * source.time_base
        if abs(late) > exact:
            first = n if off == 0 else first
            off, most = off + 1, max(most, late, key=abs)
    if off:
        problems.append(
            f"{several(off, 'frame')} at another time, the first {stretch(source, first, first)}, by up to "
            f"{abs(float(most)) * 1000:.3f} ms {'late' if most > 0 else 'early'}"
        )
    if abs(source.duration - master.duration) > 2 * exact:
        problems.append(f"{float(master.duration):.3f} s long, the source is {float(source.duration):.3f} s")
    rate = f"{source.rate} frames a second, {float(source.duration):.3f} s"
    return [*found, _checked("times of frames", problems, rate)]


def _without(count: int, left_out: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Numbers from 0, but for those in stretches [first, last]."""
    ends = iter([*left_out, (count, count)])
    first, last = next(ends)
    for n in range(count):
        if n > last:
            first, last = next(ends)
        if n < first:
            yield n


def stretch(line: Timeline, first: int, last: int) -> str:
    """`frame 12 (01:00:00:12)`, or `frames 12 to 19 (01:00:00:12 to 01:00:00:19)`."""
    if first == last:
        return f"frame {first} ({line.timecode(first)})"
    return f"frames {first} to {last} ({line.timecode(first)} to {line.timecode(last)})"


# -- sound -----------------------------------------------------------------------------------


def check_sound(
    dub: MediaInfo, master: MediaInfo, tracks: Sequence[int] | None, language: str | None,
    source: MediaInfo | None = None,
) -> list[Check]:  # fmt: skip
    """The master's sound tracks against those of the dub's file, in order, every sample. tracks: numbers of those that
    are delivered, counted from 1, None for all; language: BCP 47 tag of the dub, None where nobody says it;
    source: the film, whose own tracks may follow, all of them.

    Raises MediaError: the dub has no track of such a number; DamagedMedia: the dub is damaged.
    """
    wanted = [dub.track(n) for n in tracks] if tracks else list(dub.audio)
    kept = list(source.audio) if source and len(master.audio) == len(wanted) + len(source.audio) else []
    count = f"{several(len(master.audio), 'track')}, the dub has {len(wanted)}"
    told = several(len(wanted), "track") + (f", and the source's {len(kept)}" if kept else "")
    found = [_checked("sound tracks", [count] * (len(wanted) + len(kept) != len(master.audio)), told)]
    for n, (own, made) in enumerate(zip(kept, master.audio[len(wanted) :], strict=False), 1):
        assert source is not None
        problem, samples, longer = _difference(source.path, own, master.path, made, align=True, own_align=True)
        problems = [problem] * bool(problem) + [f"{longer} samples more"] * bool(longer)
        if (of_stream_tag(own.language) or "und") != (of_stream_tag(made.language) or "und"):
            problems.append(f"language {made.language or 'not said'}, the source's {own.language}")
        found.append(_checked(f"the source's track {n}", problems, several(samples, "sample")))
    for n, (own, made) in enumerate(zip(wanted, master.audio, strict=False), 1):
        found.append(_described(f"sound track {n}", own, made, master, language, len(wanted) > 1))
        found.append(_samples(f"samples of track {n}", dub, own, master, made))
    return found


def _described(
    what: str, own: AudioInfo, made: AudioInfo, master: MediaInfo, language: str | None, many: bool
) -> Check:
    """Rate, channels, layout, title and language of one track."""
    problems = []
    if own.rate_hz != made.rate_hz:
        problems.append(f"{made.rate_hz} Hz, the dub's {own.rate_hz} Hz")
    unsaid = not made.places and "matroska" in master.container  # it does not say it of PCM
    if own.channels != made.channels or (own.places and own.places != made.places and not unsaid):
        problems.append(f"layout {_layout(made)}, the dub's {_layout(own)}")
    if own.title != made.title:
        problems.append(f"title {made.title!r}, the dub's {own.title!r}")
    spoken = (of_stream_tag(own.language) and own.language if many else None) or language
    told = f"{made.rate_hz} Hz, {_layout(made)}"
    if spoken is None:
        return _checked(what, problems, f"{told}; its language was not looked at, because none was given")
    code = three_letters(spoken)
    if (of_stream_tag(code) or "und") != (of_stream_tag(made.language) or "und"):
        if made.language is None and master.brand.strip() == "qt":
            told += f"; QuickTime has no code for some languages, and none for {spoken} is there"
        else:
            problems.append(f"language {made.language or 'not said'}, the dub's {spoken} ({code})")
    return _checked(what, problems, f"{told}, {made.language or 'no language'}")


def _layout(track: AudioInfo) -> str:
    return track.layout if track.places else several(track.channels, "channel")


def _samples(what: str, dub: MediaInfo, own: AudioInfo, master: MediaInfo, made: AudioInfo) -> Check:
    """Every sample of one track.

    Matroska counts milliseconds, so that its sound may begin up to one away from the picture. In mp4 and mov the dub's
    header may cut the padding of a lossy codec to the millisecond: what of it the master still has is said.
    """
    problem, count, longer = _difference(dub.path, own, master.path, made, align=True)
    if (problem or longer) and "matroska" in master.container and _begins_with_picture(master):
        problem, count, longer = _difference(dub.path, own, master.path, made, align=False)
    if longer > 0 and not problem and "mxf" in master.container and silent_after(master.path, made.index, count):
        return Check(what, "equal", f"{several(count, 'sample')}, and {longer} of silence up to the picture's end")
    padded = "mov" in dub.container and made.codec == own.codec in _PADDED and 0 < longer <= _MS * own.rate_hz
    if problem or (longer and not padded):
        length = f"{several(count + longer, 'sample')}, the dub has {count}"
        return Check(what, "differs", "; ".join(filter(None, (problem, length if longer else ""))))
    more = f", and {longer} of the encoder's padding" if longer else ""
    return Check(what, "equal", several(count, "sample") + more)


def _begins_with_picture(master: MediaInfo) -> bool:
    """Whether the first sound track that begins does so within a millisecond of the picture."""
    with open_media(master.path) as container:
        video = first_video(container)
        begin = Fraction(video.start_time or 0) * video.time_base if video is not None else Fraction(0)
    return abs(min(first_sample_time(master.path, track.index) for track in master.audio) - begin) <= _MS


def _difference(
    dub: Path, own: AudioInfo, master: Path, made: AudioInfo, *, align: bool, own_align: bool = False
) -> tuple[str, int, int]:
    """In which samples two tracks differ ('' in none), how many the dub has, and how many more the master has. align:
    the master's are counted from its first picture, else from its first sound; own_align: the others so too. Raises
    DamagedMedia: the dub is."""
    ours = sound_blocks(dub, None, mono=False, align_to_video=own_align, stream_index=own.index)
    theirs = sound_blocks(master, None, mono=False, align_to_video=align, stream_index=made.index)
    held: np.ndarray | None = None
    wrong, first, count, total = 0, -1, 0, 0
    damage: list[str] = []
    for block in until_damage(theirs, damage):
        at, total = total, total + len(block)
        while len(block):
            held = next(ours, None) if held is None or not len(held) else held
            if held is None:
                break
            size = min(len(held), len(block))
            if held.shape[1] != block.shape[1]:
                return f"{block.shape[1]} channels, the dub has {held.shape[1]}", 0, 0
            far = (held[:size] != block[:size]).any(axis=1)
            if far.any():
                first = at + int(np.argmax(far)) if first < 0 else first
                wrong += int(far.sum())
            at, count, held, block = at + size, count + size, held[size:], block[size:]
    if damage:
        return damage[0].rstrip("."), count, 0
    count += (0 if held is None else len(held)) + sum(len(block) for block in ours)
    where = f"{several(wrong, 'sample')} of {count}, the first is sample {first} ({first / own.rate_hz:.3f} s)"
    return where if wrong else "", count, total - count


# -- what is carried over --------------------------------------------------------------------


def check_carried(source: MediaInfo, master: MediaInfo) -> list[Check]:
    """Subtitles, further pictures, covers, attachments, chapters and tags of the source, in the master.

    Times may differ by a millisecond, which is Matroska's clock. Tags that describe how the old file was made are not
    looked at, and tags that only the master has are no difference.
    """
    with open_media(source.path) as one, open_media(master.path) as two:
        streams = [_carried_streams(container) for container in (one, two)]
        packets = [_packets(container, [s for s, _ in own]) for container, own in zip((one, two), streams, strict=True)]
        found = []
        for kind, name in _KINDS.items():
            own, made = ([s for s, k in side if k == kind] for side in streams)
            problems = []
            if len(own) != len(made):
                problems.append(f"{several(len(made), 'stream')}, the source has {len(own)}")
            for n, (a, b) in enumerate(zip(own, made, strict=False), 1):
                problems += [f"stream {n}: {p}" for p in _stream(a, b, packets[0][a.index], packets[1][b.index])]
            if own or made:
                found.append(_checked(name, problems, several(len(own), "stream")))
        found += [_chapters(one, two), _tags(one, two, source, master)]
    lost = [o for o in source.others if o.kind == "data" and o.codec is not None]
    found += [Check("data", "not looked at", f"stream {o.index} ({o.codec}) is never delivered") for o in lost]
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
    ms = float(_MS) + 1e-9
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
        if abs(t - u) > _MS:
            problems.append(f"chapter {n} begins at {float(u):.3f} s, the source's at {float(t):.3f} s")
    return _checked("chapters", problems[:_MOST], several(len(own), "chapter"))


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
    return _checked("tags", problems, several(count, "tag"))
