"""What of a master is its source's and its dub's by headers and sound. Pictures are for `likeness`, streams that are
carried over for `compare_carried`.

Each comparison is a `Check`: equal, differs, or not looked at, with a sentence's end that says what. Sound is
compared sample by sample as it is decoded; nothing holds a film. It knows what is delivered (docs/sound.md, `master`),
and not where takes or dubs lie.

32-bit integer and 64-bit float sound is compared with the 24 bits of a float's fraction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import several
from dubbing.languages import of_stream_tag
from dubbing.media.encoders import Encoder
from dubbing.media.language import three_letters
from dubbing.media.likeness import until_damage
from dubbing.media.probe import AudioInfo, MediaInfo, VideoInfo, first_video, open_media
from dubbing.media.seen import InPictures, Likeness
from dubbing.media.sound import first_sample_time, silent_after, sound_blocks

__all__ = ["CLOCK", "Check", "check_picture", "check_sound", "check_times", "check_within", "checked", "stretch"]

Status = Literal["equal", "differs", "not looked at"]
CLOCK = Fraction(1, 1000)
"""Matroska's: times within it are the same."""
_MOST = 5  # differences of one kind that are named
_PADDED = {"aac", "ac3", "eac3", "opus"}


@dataclass(frozen=True)
class Check:
    """One comparison. what: its subject; status: `equal`, `differs` or `not looked at`; detail: how, or why not; of
    what is equal, how much there was of it."""

    what: str
    status: Status
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else self.status


def checked(what: str, problems: Sequence[str], detail: str = "") -> Check:
    """Equal where there is no problem. detail: of what is equal."""
    return Check(what, "differs", "; ".join(problems)) if problems else Check(what, "equal", detail)


def check_picture(source: VideoInfo, master: VideoInfo, mxf: bool = False) -> list[Check]:
    """Size, format, aspect, turn, colour tags and timecode, by two headers.

    A range that is not said is limited, and a chroma location that is not said is left: what says so is equal to it.
    RGB has no matrix, whatever its header says.
    mxf: the master is one, which has a timecode from zero where none is said.
    """
    size, wanted = (f"{v.width}x{v.height} {v.pix_fmt.replace('yuvj', 'yuv')}" for v in (master, source))
    pairs = {
        "size and format": (size, wanted),
        "pixel aspect": (master.sample_aspect, source.sample_aspect),
        "turn": (_turn(master), _turn(source)),
        "scan": (*(_scan(v, source) for v in (master, source)),),
        **{name: (_said(getattr(master, name)), _said(getattr(source, name))) for name in ("primaries", "transfer")},
        "matrix": (*(0 if v.pix_fmt.startswith("gbr") else _said(v.matrix) for v in (master, source)),),
        "range": (_range(master), _range(source)),
        "chroma location": (*(v.chroma_location or "left" for v in (master, source)),),
    }
    picture = ("size and format", "pixel aspect", "turn", "scan")
    found = []
    for what, names in (("picture", picture), ("colour tags", [n for n in pairs if n not in picture])):
        problems = [f"{n} {pairs[n][0]}, the source's {pairs[n][1]}" for n in names if pairs[n][0] != pairs[n][1]]
        found.append(checked(what, problems, ", ".join(f"{n} {pairs[n][0]}" for n in names)))
    codes = [v.start_tc or "none" for v in (master, source)]
    if mxf and source.start_tc is None and master.start_tc == "00:00:00:00":
        codes[1] = codes[0]  # it has one always
    found.append(checked("timecode", [f"{codes[0]}, the source's {codes[1]}"] * (codes[0] != codes[1]), codes[0]))
    return found


def check_within(
    seen: Likeness, source: VideoInfo, wanted: VideoInfo, master: VideoInfo, encoder: Encoder | None
) -> list[Check]:
    """Metadata of a high dynamic range, and captions (CTA-708, ATSC A/53) in the pictures; nothing of what is in
    neither file. wanted: what the master's header should say; encoder: of its pictures, None where nobody knows.

    What changes from picture to picture (HDR10+, Dolby Vision) no encoder here is given, which is told before a run: it
    is `not looked at` where a master has none, and compared where it has.
    """
    equal, problems, left = [], [], []
    for name, own, due, made in (
        ("mastering display", source.mastering, wanted.mastering, master.mastering),
        ("light levels", source.light, wanted.light, master.light),
    ):
        if own and not due:
            left.append(name)
        elif made != due:
            problems.append(f"{name} {made or 'not said'}, the source's {due or 'not said'}")
        elif made:
            equal.append(name)
    found = []
    for name, one in seen.within.items():
        if name == "captions" and encoder is not None and not (encoder.captions or one.master):
            said = f"{several(one.source, 'frame has', 'frames have')} them, and {encoder.shown} carries none"
            found.append(Check(name, "not looked at", said))
        elif name == "captions":
            lost = [_within(name, one, seen.source)] if one.first is not None else []
            found.append(checked(name, lost, f"in {several(one.source, 'frame')}"))
        elif not one.master:
            left.append(name)
        elif one.first is not None:
            problems.append(_within(name, one, seen.source))
        else:
            equal.append(name)
    if left and not problems:
        told = f"; {', '.join(equal)} equal" if equal else ""
        found.append(Check("HDR metadata", "not looked at", f"{', '.join(left)} not in this master{told}"))
    elif problems or equal:
        found.append(checked("HDR metadata", problems, ", ".join(equal)))
    return found


def _within(name: str, one: InPictures, line: Timeline) -> str:
    assert one.first is not None
    return (
        f"{name} in {several(one.master, 'frame')}, the source has them in {one.source}; the first other is that of "
        f"{stretch(line, one.first, one.first)}"
    )


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
    return "full" if video.range == 2 or video.pix_fmt.startswith(("yuvj", "gbr")) else "limited"


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
    found = [checked("frames", problems, several(len(master), "frame"))]
    exact = CLOCK if master.time_base == CLOCK != source.time_base else Fraction(0)  # Matroska's clock
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
    return [*found, checked("times of frames", problems, rate)]


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
    source: MediaInfo | None = None, keeps: bool | None = None,
) -> list[Check]:  # fmt: skip
    """The master's sound tracks against those of the dub's file, in order, every sample. tracks: numbers of those that
    are delivered, counted from 1, None for all; language: BCP 47 tag of the dub, None where nobody says it;
    source: the film, whose own tracks may follow, all of them; keeps: whether they have to, None where nobody knows.

    Raises MediaError: the dub has no track of such a number; DamagedMedia: the dub is damaged.
    """
    wanted = [dub.track(n) for n in tracks] if tracks else list(dub.audio)
    if keeps is None:
        keeps = source is not None and len(master.audio) == len(wanted) + len(source.audio)
    kept = list(source.audio) if source is not None and keeps else []
    further = f", and the source's {len(kept)}" if kept else ""
    count = f"{several(len(master.audio), 'track')}, the dub has {len(wanted)}{further}"
    told = several(len(wanted), "track") + further
    found = [checked("sound tracks", [count] * (len(wanted) + len(kept) != len(master.audio)), told)]
    for n, (own, made) in enumerate(zip(kept, master.audio[len(wanted) :], strict=False), 1):
        assert source is not None
        problem, samples, longer = _difference(source.path, own, master.path, made, align=True, own_align=True)
        problems = [problem] * bool(problem) + [f"{longer} samples more"] * bool(longer)
        if (of_stream_tag(own.language) or "und") != (of_stream_tag(made.language) or "und"):
            problems.append(f"language {made.language or 'not said'}, the source's {own.language}")
        found.append(checked(f"the source's track {n}", problems, several(samples, "sample")))
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
    mxf = "mxf" in master.container
    silent = mxf or "matroska" in master.container or master.container == "wav"  # they do not say it of PCM
    unsaid = not made.places and silent
    if own.channels != made.channels or (own.places and own.places != made.places and not unsaid):
        problems.append(f"layout {_layout(made)}, the dub's {_layout(own)}")
    if own.title != made.title:
        problems.append(f"title {made.title!r}, the dub's {own.title!r}")
    spoken = (of_stream_tag(own.language) and own.language if many else None) or language
    told = f"{made.rate_hz} Hz, {_layout(made)}"
    if spoken is None:
        return checked(what, problems, f"{told}; its language was not looked at, because none was given")
    code = three_letters(spoken)
    if (of_stream_tag(code) or "und") != (of_stream_tag(made.language) or "und"):
        if made.language is None and master.brand.strip() == "qt":
            told += f"; QuickTime has no code for some languages, and none for {spoken} is there"
        elif made.language is None and mxf:
            told += "; no language is said in MXF"
        else:
            problems.append(f"language {made.language or 'not said'}, the dub's {spoken} ({code})")
    return checked(what, problems, f"{told}, {made.language or 'no language'}")


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
    padded = "mov" in dub.container and made.codec == own.codec in _PADDED and 0 < longer <= CLOCK * own.rate_hz
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
    return abs(min(first_sample_time(master.path, track.index) for track in master.audio) - begin) <= CLOCK


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
