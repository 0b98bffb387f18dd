"""The master: the source decoded once, patches pasted, encoded once, everything else carried over.

Frames, their times, size, aspect, colour tags, turn, timecode, chapters, tags, subtitles and further
picture streams are the source's; its sound streams give way to the dub, which is copied packet by
packet, or written as PCM. Several masters of one dub are made side by side of one decoding. Memory does not grow with
the film. It does not know what may be delivered how (`delivery`) or where patches come from (`paste`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from dubbing.clock import Timeline
from dubbing.errors import OutputError, UnsupportedMedia, several
from dubbing.master_choice import MasterChoice
from dubbing.media.alone import pictures
from dubbing.media.delivery import Delivery, delivery
from dubbing.media.film import Film
from dubbing.media.groups import Ground, ground, group_pictures
from dubbing.media.looked import Looked, least_db
from dubbing.media.looks import Looks
from dubbing.media.master_file import MasterFile, carry
from dubbing.media.master_parts import PART_THREADS, joined
from dubbing.media.master_picture import steady
from dubbing.media.master_sequence import PictureFiles
from dubbing.media.master_sound import NOT_TOGETHER, begins_of, together
from dubbing.media.numbered import CONTAINER
from dubbing.media.paste import pasted
from dubbing.media.probe import MediaInfo, open_media, probe
from dubbing.media.prores import Box
from dubbing.media.read import variable_rate

__all__ = ["Mastered", "encode_master", "encode_masters", "refuse_for_mxf", "write_masters"]

_PROGRESS_FRAMES = 24
_VARIABLE = "{} has a variable frame rate, which {} cannot say: ask for mov."


@dataclass(frozen=True)
class Mastered:
    """A finished master. frames: how many it holds, the source's; notices: what the user should know; looked: what was
    seen of its pictures while they were made, None where they are to be looked at in its file."""

    path: Path
    frames: int
    notices: tuple[str, ...]
    looked: tuple[Looked, ...] | None = None


def encode_master(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    target: str | Path,
    *,
    language: str | None = None,
    tracks: Sequence[int] | None = None,
    crf: float | None = None,
    preset: str | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Mastered:
    """Write the master of `source`, as the source is, to `target`; all else as of `encode_masters`. crf and preset: of
    the encoder, where the source's codec has such (None: visually lossless and fast, H.264 superfast 16, HEVC
    ultrafast 14)."""
    plan = delivery(probe(source), probe(sound), tracks)
    plan = replace(plan, picture=replace(plan.picture, crf=crf, preset=preset))
    return write_masters(
        source, timeline, patch_folders, sound, {Path(target): plan}, language=language, threads=threads,
        frames=frames, draft=draft, progress=progress,
    )[0]  # fmt: skip


def encode_masters(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    targets: Mapping[Path, MasterChoice],
    *,
    language: str | None = None,
    tracks: Sequence[int] | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
    parts: Sequence[Path] = (),
    look: bool = False,
) -> list[Mastered]:
    """Write masters of `source` with patches and dub `sound`, one for each target, decoding the film once.

    timeline: the source's; sound: the dub's file, whose tracks are all delivered, beginning with frame 0; targets: how
    each file is asked for; language: BCP 47 tag of the dub; tracks: numbers, counted from 1, of those that are
    delivered (None: all); threads: encoder threads, 0 for a fixed number, so that the same input gives the same bytes
    on every machine; frames: leave off after so many, where a film is made longer than this dub needs (None: all of
    them, as any source's are); draft: half the width and height, encoded fast and small unless crf and preset say
    otherwise, with a comment among the tags that says so; progress(n): n more frames are done; parts: folders of
    `make_part`, which follow each other, for the same targets in this order: their pictures are joined, none is made;
    look: compare pictures with the source's as soon as they are made, where that takes little memory (`Looks`).

    Raises UnsupportedMedia before any work, DamagedMedia by timecode, OutputError when a target cannot be written.
    """
    info, sound_info = probe(source), probe(sound)
    plans = {path: delivery(info, sound_info, tracks, choice) for path, choice in targets.items()}
    return write_masters(
        source, timeline, patch_folders, sound, plans, language=language, threads=threads, frames=frames, draft=draft,
        progress=progress, parts=parts,
        least_db=[least_db(choice) for choice in targets.values()] if look and not draft and not parts else None,
    )  # fmt: skip


def write_masters(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    plans: Mapping[Path, Delivery],
    *,
    language: str | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
    parts: Sequence[Path] = (),
    least_db: Sequence[float] | None = None,
) -> list[Mastered]:
    """As `encode_masters`, of what was decided for each target (`delivery`). least_db: as of `Looks`, which looks at
    them; None: nothing does."""
    info, sound_info = probe(source), probe(sound)
    for plan in plans.values():
        if plan.muxer in ("mxf", CONTAINER) and not steady(timeline):
            raise UnsupportedMedia(_VARIABLE.format(info.path.name, _shown(plan)))
    copies = not draft and any(plan.picture.alike for plan in plans.values())
    base = ground(source) if not draft and any(plan.picture.grouped for plan in plans.values()) else None
    reasons: dict[str, int] = {}
    outputs: list[MasterFile] = []
    looks: Looks | None = None
    with Film(source, 1 if copies else 0) as film, contextlib.ExitStack() as files:
        if copies:
            film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "SLICE", 0
        try:
            for path, plan in plans.items():
                outputs.append((PictureFiles if plan.muxer == CONTAINER else MasterFile)(path, plan, draft))
                opened = [files.enter_context(open_media(sound)) for _ in plan.sound]
                opened += [files.enter_context(open_media(source)) for _ in plan.kept]
                outputs[-1].open(
                    info, sound_info, film, timeline, PART_THREADS if parts else threads, opened, sound, language, base
                )
            if least_db is not None:
                looks = Looks(film, timeline, [output.picture for output in outputs], least_db)
            film.on_packet = lambda packet: carry(outputs, packet)
            done = told = 0
            steps = (
                joined(film, timeline, outputs, parts, frames, reasons)
                if parts
                else _drawn(film, timeline, outputs, patch_folders, frames, base, reasons, looks)
            )
            for _ in steps:
                done = outputs[0].done
                if progress is not None and done - told >= _PROGRESS_FRAMES:
                    progress(done - told)
                    told = done
            for output in outputs:
                output.finish()
        except BaseException as e:
            for output in outputs:
                output.abandon()
            if isinstance(e, av.error.FFmpegError | OSError):
                names = " and ".join(map(str, plans))
                raise OutputError(f"The master {names} could not be written: {e.strerror or e}.") from e
            raise
    done = outputs[0].done
    if progress is not None and done > told:
        progress(done - told)
    found = [None] * len(outputs) if looks is None else looks.found
    return [
        Mastered(output.path, output.done, (*output.notices, *_told(output, info.path.name, reasons)), looked)
        for output, looked in zip(outputs, found, strict=True)
    ]


def _told(output: MasterFile, name: str, reasons: Mapping[str, int]) -> Iterable[str]:
    """Sentences about pictures without a patch of a film of that name that were to be copied in groups, and were not.
    reasons: how many, by why."""
    if output.picture.refused:
        yield output.picture.refused
    elif output.plan.picture.grouped:
        for why, count in reasons.items():
            yield f"{name}: {several(count, 'picture')} without a patch had to be encoded, because {why}."


def _drawn(
    film: Film, timeline: Timeline, outputs: Sequence[MasterFile], folders: Iterable[str | Path], frames: int | None,
    base: Ground | None, reasons: dict[str, int], looks: Looks | None,
) -> Iterator[None]:  # fmt: skip
    """Decode the film, paste and encode into masters that are open; yields after each picture. base, reasons: as of
    `group_pictures`; looks: at them, None for nothing that does."""
    keep = None if looks is None else looks.keep
    shown: Iterable[tuple[int, Any, Any, tuple[Box, ...]]]
    every = not all(output.picture.copies for output in outputs)
    if not any(output.picture.copies for output in outputs):
        whole = enumerate(pasted(film, timeline, folders, frames, keep))
        shown = ((n, None, frame, ()) for n, frame in whole)
    elif base is not None:
        shown = group_pictures(film, timeline, folders, base, 0, frames, every, reasons, keep)
    else:
        alone = enumerate(pictures(film, timeline, folders, last=frames, every=every))
        shown = ((n, *picture) for n, picture in alone)
    for number, packet, frame, parts in shown:
        for n, output in enumerate(outputs):
            made = output.picture.packets(number, packet, frame, parts)
            if looks is not None:
                made = looks.made(n, made, number, packet is not None and output.picture.groups is not None)
            output.take(made)
        if looks is not None:
            looks.forget()
        yield
    for n, output in enumerate(outputs):
        output.take(output.picture.rest() if looks is None else looks.made(n, output.picture.rest()))


def refuse_for_mxf(plan: Delivery, film: MediaInfo, sound: MediaInfo) -> None:
    """Raises UnsupportedMedia where MXF, or a sequence of pictures, cannot hold what the files are, as far as their
    beginnings tell: a variable rate, and of MXF sound that does not begin with the picture."""
    if variable_rate(film.path):
        raise UnsupportedMedia(_VARIABLE.format(film.path.name, _shown(plan)))
    if plan.muxer == CONTAINER:
        return
    start = film.video.start_pts * film.video.time_base if film.video else Fraction(0)
    if not together(*begins_of(plan, sound.path, film.path), start):
        raise UnsupportedMedia(NOT_TOGETHER.format(sound.path))


def _shown(plan: Delivery) -> str:
    return "a sequence of pictures" if plan.muxer == CONTAINER else "MXF"
