"""Masters in parts: the pictures of some frames made by themselves, and such parts joined without encoding.

A part leaves two files for each master in a folder: the packets of its pictures, one after another, and what each is.
Where the source's own packets stand in a master, it leaves only those that are new. Whoever joins them opens the same
encoder, gives it nothing, and takes its header; the parts' headers must be that one. It writes no container
(`master_file`).

A part begins at a frame that anything may begin with: its encoder is its own, and its first picture a key frame. Where
groups of the source's pictures are copied, those that are not whole in one part are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import DamagedResult, MediaError, OutputError, StageError, several
from dubbing.master_choice import MasterChoice
from dubbing.media.alone import pictures
from dubbing.media.delivery import picture_of
from dubbing.media.film import Film
from dubbing.media.groups import Copied, ground, group_pictures
from dubbing.media.looked import Looked, least_db
from dubbing.media.looks import Looks
from dubbing.media.master_file import MasterFile
from dubbing.media.master_picture import MadePicture
from dubbing.media.master_sequence import SequencePicture
from dubbing.media.numbered import CONTAINER
from dubbing.media.paste import pasted_part
from dubbing.media.probe import probe
from dubbing.media.prores import Box

__all__ = ["PART_THREADS", "joined", "make_part"]

PART_THREADS = 4  # of an encoder: as many parts as there are workers are made at once
_STEP = 24  # frames, of progress


def make_part(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    choices: Sequence[MasterChoice],
    folder: Path,
    first: int,
    last: int,
    *,
    draft: bool = False,
    progress: Callable[[int], None] = lambda frames: None,
    look: bool = False,
) -> list[tuple[Looked, ...] | None]:
    """Make the pictures of frames [first, last) for one master for each of `choices`, into `folder`, decoding them
    once; patch_folders: all that have patches there; look: as of `encode_masters`, what was seen of each is returned.
    `write_masters` joins them. Raises as `encode_masters`."""
    info = probe(source)
    assert info.video is not None
    wanted = [picture_of(info, choice)[0] for choice in choices]
    alike = not draft and any(made.alike for made in wanted)
    base = ground(source) if not draft and any(made.grouped for made in wanted) else None
    with Film(source, 1) as film, ExitStack() as files:
        film.picture_only()
        if alike:
            film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "SLICE", 0
        elif base is not None:
            film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "AUTO", PART_THREADS
        try:
            made: list[MadePicture] = []
            for encoding in wanted:
                if encoding.encoder.muxers[0] == CONTAINER:
                    made.append(SequencePicture(encoding, info.video, film, timeline, draft))
                    continue
                unwritten = files.enter_context(av.open(os.devnull, "w", format=encoding.encoder.muxers[0]))
                made.append(MadePicture(unwritten, encoding, info.video, film, timeline, PART_THREADS, draft, base))
            limits = [least_db(choice) for choice in choices]
            looks = Looks(film, timeline, made, limits) if look and not draft else None
            keep = None if looks is None else looks.keep
            shown: Iterable[tuple[int, Any, Any, tuple[Box, ...]]]
            every = not all(one.copies for one in made)
            reasons: dict[str, int] = {}
            if any(one.groups for one in made) and base is not None:
                shown = group_pictures(film, timeline, patch_folders, base, first, last, every, reasons, keep)
            elif any(one.copies for one in made):
                alone = enumerate(pictures(film, timeline, patch_folders, first, last, every), first)
                shown = ((n, *picture) for n, picture in alone)
            else:
                part = pasted_part(source, timeline, patch_folders, first, last, PART_THREADS, keep)
                frames = enumerate(part, first)
                shown = ((n, None, frame, ()) for n, frame in frames)
            leave = [files.enter_context(_Leaves(folder, n, one, timeline, looks)) for n, one in enumerate(made)]
            told = first
            for done, (number, packet, frame, parts) in enumerate(shown, first + 1):
                for one in leave:
                    one.take(number, packet, frame, parts)
                if looks is not None:
                    looks.forget()
                if done - told >= _STEP:
                    progress(done - told)
                    told = done
            for one in leave:
                one.finish(reasons)
        except (av.error.FFmpegError, OSError) as e:
            raise OutputError(
                f"Frames {first} to {last - 1} of the master of {source} could not be made: {e.strerror or e}."
            ) from e
    progress(last - told)
    return [None] * len(choices) if looks is None else looks.found


def _files(folder: Path, n: int) -> tuple[Path, Path]:
    """The packets of the n-th master's picture in a part, and what each of them is."""
    return folder / f"picture_{n}.packets", folder / f"picture_{n}.npz"


class _Leaves:
    """The pictures of one master that a part leaves. A context manager."""

    def __init__(self, folder: Path, n: int, picture: MadePicture, timeline: Timeline, looks: Looks | None) -> None:
        self._picture, self._line, self._n, self._looks = picture, timeline, n, looks
        packets, self._index = _files(folder, n)
        self._file = packets.open("wb")
        self._numbers: list[int] = []
        self._sizes: list[int] = []
        self._keys: list[bool] = []
        self._behind = 0

    def take(self, number: int, packet: Any, frame: Any, parts: tuple[Box, ...]) -> None:
        """The next picture, as of `MadePicture.packets`."""
        if self._picture.groups is not None and packet is not None:
            self._write(self._picture.rest(), None)
        elif parts or not self._picture.copies or self._picture.groups is not None:
            self._write(self._picture.packets(number, packet, frame, parts), number)

    def finish(self, reasons: Mapping[str, int]) -> None:
        """Write what is left. reasons: as of `group_pictures`."""
        self._write(self._picture.rest(), None)
        np.savez(
            self._index, numbers=np.array(self._numbers, np.int64), sizes=np.array(self._sizes, np.int64),
            keys=np.array(self._keys, bool), behind=self._behind, header=np.frombuffer(self._picture.header, np.uint8),
            why=np.array(list(reasons), str), many=np.array(list(reasons.values()), np.int64),
        )  # fmt: skip

    def _write(self, packets: Iterable[Any], given: int | None) -> None:
        """given: the frame that went in, None where no more do."""
        if self._looks is not None:
            packets = self._looks.made(self._n, packets, given)
        pts = self._line.pts
        for packet in packets:
            number = int(np.searchsorted(pts, packet.pts))
            if not self._numbers:  # by how many pictures decoding is ahead of what is shown
                self._behind = int(np.searchsorted(pts[number:] - pts[number], packet.pts - packet.dts))
            self._numbers.append(number)
            self._sizes.append(self._file.write(bytes(packet)))
            self._keys.append(packet.is_keyframe)

    def __enter__(self) -> _Leaves:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def joined(
    film: Film, timeline: Timeline, outputs: Sequence[MasterFile], folders: Sequence[Path], frames: int | None,
    reasons: dict[str, int],
) -> Iterator[None]:  # fmt: skip
    """Put the pictures that parts have left into masters that are open, beside everything that the film's file carries;
    yields after each picture of the film. folders: of the parts, which follow each other; frames: as of
    `encode_masters`; reasons: gets those of the parts, as of `group_pictures`.

    Raises MediaError where the film is not the timeline's, StageError where parts do not fit together, DamagedResult.
    """
    whole = len(timeline) if frames is None else min(frames, len(timeline))
    made = [_Joined(output, n, folders, timeline, whole) for n, output in enumerate(outputs)]
    for why, count in next((one.reasons for one in made if one.output.picture.groups is not None), ()):
        reasons[why] = reasons.get(why, 0) + count
    for number, packet in enumerate(film.packets()):
        if number >= whole:
            break
        for one in made:
            one.take(number, packet)
        yield
    for one in made:
        one.finish()
        if one.output.done != whole:
            raise MediaError(
                f"{film.path} has changed: its timeline has {several(len(timeline), 'frame')}, the file does not."
            )


class _Joined:
    """One master and what parts have left of its picture."""

    def __init__(self, output: MasterFile, n: int, folders: Sequence[Path], timeline: Timeline, whole: int) -> None:
        self.output, self._picture = output, output.picture
        self._line = timeline
        self._files = [_files(folder, n) for folder in folders]
        parts = [_index(index) for _, index in self._files]
        self._numbers = np.concatenate([part["numbers"] for part in parts])
        self._keys = np.concatenate([part["keys"] for part in parts])
        self._sizes = [part["sizes"].tolist() for part in parts]
        self.reasons = [(str(w), int(n)) for part in parts for w, n in zip(part["why"], part["many"], strict=True)]
        self._packets = self._read()
        self._next = next(self._packets, None)
        self._placed, self._whole = 0, whole
        self._new = set(self._numbers.tolist())
        headers = {part["header"].tobytes() for part in parts}
        if self._picture.groups is not None:
            fits = headers == {output.header()} and len(np.unique(self._numbers)) == len(self._numbers)
        elif self._picture.copies:
            self._dts = timeline.pts
            fits = bool(np.all(np.diff(self._numbers) > 0))
        else:
            self._dts = _decoded_at(timeline.pts, max(int(part["behind"]) for part in parts), whole)
            headers |= {output.header()}
            fits = len(headers) == 1 and np.array_equal(np.sort(self._numbers), np.arange(whole))
            fits = fits and bool(np.all(self._dts <= timeline.pts[self._numbers]))
        if not fits:
            raise StageError(
                f"The parts of {output.path.name} do not fit together: their headers or their pictures are not of one "
                "stream. This is a defect of this version; please report it with what `dub formats` says of the film."
            )

    def take(self, number: int, packet: Any) -> None:
        """The film's next packet, which is picture `number` where each stands alone."""
        if self._picture.groups is not None:
            own = self._picture.groups.own(packet)
            if own is not None and own.number not in self._new and own.number < self._whole:
                self._grouped(own.number)
                self.output.take(self._picture.groups.copy(own))
        elif self._picture.copies:
            new = self._numbers[self._placed] == number if self._placed < len(self._numbers) else False
            self._place(self._pop() if new else packet, number, number)
        elif self._next is not None:
            self._encoded()

    def finish(self) -> None:
        """What is left of an encoded picture, where the film's packets are fewer than its pictures."""
        if self._picture.groups is not None:
            self._grouped(self._whole)
            return
        while self._next is not None and not self._picture.copies:
            self._encoded()

    def _grouped(self, before: int) -> None:
        """New pictures of runs that end before a frame, which is of a copied group."""
        groups = self._picture.groups
        assert groups is not None
        while self._next is not None and self._numbers[self._placed] < before:
            order, packet = self._placed, self._pop()
            one = Copied(bytes(packet), int(self._numbers[order]), bool(self._keys[order]))
            self.output.take(groups.copy(one))

    def _encoded(self) -> None:
        order = self._placed
        packet = self._pop()
        packet.is_keyframe = bool(self._keys[order])
        self._place(packet, int(self._numbers[order]), order)

    def _pop(self) -> Any:
        data, self._next = self._next, next(self._packets, None)
        self._placed += 1
        packet: Any = av.Packet(data)
        packet.is_keyframe = True
        return packet

    def _place(self, packet: Any, number: int, order: int) -> None:
        packet.pts, packet.dts = int(self._line.pts[number]), int(self._dts[order])
        packet.time_base = self._line.time_base
        self.output.take([packet])

    def _read(self) -> Iterator[bytes]:
        """The packets of all parts, one at a time."""
        for (path, _), sizes in zip(self._files, self._sizes, strict=True):
            with path.open("rb") as file:
                for size in sizes:
                    data = file.read(size)
                    if len(data) != size:
                        raise DamagedResult(f"{str(path)!r} ends early; run the job again.", path.parent)
                    yield data


def _index(path: Path) -> dict[str, np.ndarray]:
    """What is told of a part's packets; the file is closed again, since a film has hundreds of parts."""
    with np.load(path) as held:
        return dict(held)


def _decoded_at(pts_N: np.ndarray, behind: int, whole: int) -> np.ndarray:
    """When each picture of a film is decoded, in the order of decoding: as many pictures ahead of what is shown as its
    encoder is, as x264 and x265 count it. int64 (whole,)."""
    pts_N = pts_N[:whole]
    behind = min(behind, max(0, whole - 1))
    before = pts_N[:behind] - (pts_N[behind] - pts_N[0])
    return np.concatenate([before, pts_N[: whole - behind]])
