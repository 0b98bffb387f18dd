"""The proof of masters: all that is compared of files which were made of one film and one dub, as a table for each.

One function for `dub verify`, which is given a file, and for a run, which proves what it has just made. It opens the
files as they lie there and believes nothing that is remembered of them. It knows no run: which mattes, which sound and
what was asked for, it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dubbing.clock import Timeline
from dubbing.errors import MediaError, several
from dubbing.master_choice import MasterChoice
from dubbing.media.asked import COPIED_IN_GROUPS
from dubbing.media.compare import Check, check_picture, check_sound, check_times, check_within, stretch
from dubbing.media.compare_carried import check_carried
from dubbing.media.compare_sequence import as_its_source, check_beside
from dubbing.media.delivery import Delivery, delivery
from dubbing.media.likeness import compare_masters, compare_part, joined_parts
from dubbing.media.looked import Looked, confirmed
from dubbing.media.looked import least_db as limit
from dubbing.media.numbered import CONTAINER
from dubbing.media.own_packets import own_packets
from dubbing.media.probe import MediaInfo, VideoInfo, probe
from dubbing.media.read import timeline as timeline_of
from dubbing.media.seen import Likeness, Sums

__all__ = ["Proof", "prove", "prove_part"]

_IN_GROUPS = [[codec] * 2 for codec in COPIED_IN_GROUPS]
_MOST_NAMED = 5


@dataclass(frozen=True)
class Proof:
    """What was found of one master. checks: one for each thing that was compared, or that was not, with the reason;
    pictures: what was seen of its pictures, None where they were not compared."""

    checks: tuple[Check, ...]
    pictures: Likeness | None

    @property
    def differing(self) -> tuple[Check, ...]:
        """The checks that found a difference; none of a good master."""
        return tuple(c for c in self.checks if c.status == "differs")

    def plain_pictures(self) -> dict[str, Any] | None:
        """What was seen of its pictures, as plain values."""
        seen = self.pictures
        if seen is None:
            return None
        line = seen.source
        ranges = {"missing": (line, seen.missing), "extra": (seen.master or line, seen.extra)}
        worst = None if seen.worst_frame is None else line.timecode(seen.worst_frame)
        return {
            "compared": seen.pairs, "copied": seen.same, "masked": seen.masked, "psnr_db": round(seen.psnr_db, 3),
            "worst_frame": seen.worst_frame,
            "worst_tc": worst, "worst_db": None if seen.worst_db is None else round(seen.worst_db, 3),
            "differing": [
                {**_ends(line, a, b), "psnr_db": round(db, 3), "block_psnr_db": round(block_db, 3)}
                for a, b, db, block_db in seen.differing
            ],
            **{name: [_ends(at, a, b) for a, b in found] for name, (at, found) in ranges.items()},
        }  # fmt: skip


def prove(
    film: Path, masters: Mapping[Path, MasterChoice | None], sound: Path | None, *,
    patch_folders: Sequence[Path] | None, tracks: Sequence[int] | None = None, language: str | None = None,
    timeline: Timeline | None = None, draft: bool = False, no_sound: str = "", least_db: float | None = None,
    threads: int = 0, progress: Callable[[int], None] | None = None,
    parts: Mapping[Path, Sequence[Sums | None]] | None = None,
    looked: Mapping[Path, Sequence[Looked]] | None = None,
) -> list[Proof]:  # fmt: skip
    """Compare masters with the film and the dub that they were made of; the film is decoded once.

    masters: by file, how each was asked for, None where nobody knows; sound: the dub's file, None where it is not known
    (no_sound: why); patch_folders: what was pasted, None where it is not known; tracks: numbers, from 1, of the dub's
    tracks that are delivered, None for all; language: of the dub; timeline: frames of the film that are delivered, None
    for all; draft: of half size, of which pictures and tags are not compared; least_db: PSNR under which a frame
    differs, None for 34, and 24 where a quality was asked for; threads, progress: as of `compare_masters`;
    parts: what `prove_part` found of each master in every part of the film, where that was done before; looked: what
    was seen of each while it was made: where its file holds these pictures still, they are not decoded again.

    Raises MediaError: the film or the dub cannot be opened, or is damaged. What is wrong with a master is in its proof.
    """
    was, heard = probe(film), probe(sound) if sound is not None else None
    opened = {path: _opened(path, was, draft) for path in masters}
    seen: dict[Path, Likeness] = {}
    looked, parts = looked or {}, parts or {}
    for path in {**looked, **parts}:
        assert timeline is not None
        there, one = opened[path], None
        if isinstance(there, MediaInfo) and path in looked:
            one = confirmed(was.path, there.path, timeline, looked[path])
        elif isinstance(there, MediaInfo):
            one = joined_parts(timeline, there.path, parts[path])
        if one is not None:
            seen[path] = one
    whole = [path for path, info in opened.items() if isinstance(info, MediaInfo) and path not in seen]
    if whole and not draft:
        compared = compare_masters(
            film, [_path(opened[path]) for path in whole], patch_folders or (), timeline=timeline, threads=threads,
            progress=progress,
            least_db=[limit(masters[path]) if least_db is None else least_db for path in whole],
        )  # fmt: skip
        seen |= dict(zip(whole, compared, strict=True))
    proofs = []
    for path, choice in masters.items():
        now = opened[path]
        if isinstance(now, Check):
            proofs.append(Proof((now,), None))
            continue
        if path in seen and [i.video.codec for i in (was, now) if i.video] in _IN_GROUPS:
            one = seen[path]
            seen[path] = replace(one, sums=replace(one.sums, same=own_packets(film, path)))
        plan = delivery(was, heard, tracks, choice) if heard is not None and choice is not None else None
        checks = list(
            _draft(now.path, timeline or timeline_of(film, threads=threads), threads)
            if draft
            else _picture(was, now, seen[path], plan, patch_folders is not None)
        )
        keeps = None if plan is None else bool(plan.kept)
        sequence = now.container == CONTAINER
        if heard is None:
            checks.append(Check("sound", "not looked at", no_sound))
        elif not sequence:
            checks += check_sound(heard, now, tracks, language, was, keeps)
        if sequence:
            checks += check_beside(was, now, heard, tracks, keeps)
        elif not draft:
            checks += check_carried(was, now, plan.left_out if plan else frozenset())
        proofs.append(Proof(tuple(checks), seen.get(path)))
    return proofs


def prove_part(
    film: Path, masters: Mapping[Path, MasterChoice | None], patch_folders: Sequence[Path], timeline: Timeline,
    first: int, last: int, *, threads: int = 0, progress: Callable[[int], None] | None = None,
) -> list[Sums | None]:  # fmt: skip
    """Compare the pictures of frames [first, last), as `prove` does; what they come to for each master, None where
    something is not as it should be, so that `prove` has to look at all of it. Raises MediaError: the film cannot be
    read."""
    was = probe(film)
    opened = {path: _opened(path, was, False) for path in masters}
    good = [path for path in masters if isinstance(opened[path], MediaInfo)]
    limits = [limit(masters[path]) for path in good]
    found = compare_part(
        film,
        [_path(opened[path]) for path in good],
        patch_folders,
        timeline,
        first,
        last,
        least_db=limits,
        threads=threads,
        progress=progress,
    )
    seen = dict(zip(good, found, strict=True))
    return [seen.get(path) for path in masters]


def _path(opened: MediaInfo | Check) -> Path:
    assert isinstance(opened, MediaInfo)
    return opened.path


def _opened(path: Path, was: MediaInfo, draft: bool) -> MediaInfo | Check:
    """A master's header; or a check, where it cannot be one of that film."""
    try:
        info = probe(as_its_source(path, was.path))
    except MediaError as e:
        return Check("file", "differs", str(e).rstrip("."))
    assert was.video is not None
    if info.video is None:
        return Check("file", "differs", "it has no picture")
    sizes = [(v.width, v.height) for v in (info.video, was.video)]
    if sizes[0] != sizes[1] and not draft:
        one, two = ("{}x{}".format(*size) for size in sizes)
        return Check("file", "differs", f"it is {one}, the source is {two}")
    return info


def _draft(path: Path, line: Timeline, threads: int) -> Iterator[Check]:
    try:
        made = timeline_of(path, threads=threads)
    except MediaError as e:
        yield Check("frames", "differs", str(e).rstrip("."))
    else:
        yield from check_times(line, made)
    yield Check("pictures", "not looked at", "a draft has half the size")


def _picture(was: MediaInfo, now: MediaInfo, seen: Likeness, plan: Delivery | None, known: bool) -> Iterator[Check]:
    """All that is seen, and what headers say of it."""
    assert was.video is not None and now.video is not None
    wanted: VideoInfo = was.video if plan is None else plan.wanted(was.video)
    yield from check_times(seen.source, seen.master, seen.missing, seen.extra)
    yield _pictures(seen, known, plan is not None and plan.picture.alike)
    yield from check_picture(wanted, now.video, "mxf" in now.container)
    yield from check_within(seen, was.video, wanted, now.video, None if plan is None else plan.picture.encoder)


def _pictures(seen: Likeness, known: bool, copied: bool) -> Check:
    """The pictures in one sentence. known: whether it is known where mattes are; copied: whether pictures without a
    patch are to be the source's own packets, where any are."""
    line = seen.source
    if known:
        where = f"outside the mattes, which {several(seen.masked, 'frame has one', 'frames have')}"
    else:
        where = "over the whole frame, because no takes are known"
    named = [
        f"{stretch(line, a, b)}: {db:.1f} dB, the worst block {block_db:.1f} dB"
        for a, b, db, block_db in seen.differing[:_MOST_NAMED]
    ]
    rest = sum(b - a + 1 for a, b, _, _ in seen.differing[_MOST_NAMED:])
    named += [f"{several(rest, 'more frame')}"] if rest else []
    named += [seen.damage.rstrip(".")] if seen.damage else []
    if copied and known and seen.same and seen.sums.other is not None:
        named.append(
            f"{stretch(line, seen.sums.other, seen.sums.other)} has no patch and is not the source's own packet"
        )
    if named or seen.worst_frame is None:
        return Check("pictures", "differs", "; ".join([*named, where] if named else ["none could be compared"]))
    own = f"; {seen.same} of {several(seen.pairs, 'packet')} are the source's own" if seen.same else ""
    both = seen.same + seen.masked - seen.pairs
    own += f", also of {several(both, 'frame')} with a matte" if both > 0 else ""
    worst = f"worst {seen.worst_db:.1f} dB in {stretch(line, seen.worst_frame, seen.worst_frame)}"
    return Check("pictures", "equal", f"PSNR {seen.psnr_db:.1f} dB {where}; {worst}{own}")


def _ends(line: Timeline, first: int, last: int) -> dict[str, Any]:
    return {
        "first_frame": first, "last_frame": last, "first_tc": line.timecode(first), "last_tc": line.timecode(last),
    }  # fmt: skip
