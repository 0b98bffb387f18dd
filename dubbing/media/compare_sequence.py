"""What of a master that is one file a picture is its source's and its dub's, beside its pictures (`likeness`).

Its files against the source's, byte by byte where nobody changed the picture; its sound, which lies beside them as WAV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from dubbing.clock import Timecode, samples_at
from dubbing.errors import several
from dubbing.media.compare import Check, check_sound
from dubbing.media.master_sequence import sound_name
from dubbing.media.numbered import start_of
from dubbing.media.patches import patch_frames
from dubbing.media.probe import MediaInfo, probe
from dubbing.sequences import addressed, find, said_of

__all__ = ["as_its_source", "check_files"]

_MOST = 3


def as_its_source(master: Path, source: Path) -> Path:
    """A master's path; of a sequence with what only the source says of its rate and colours."""
    sequence = find(master)
    if sequence is None:
        return master
    said: dict[str, str | int | Fraction | None] = {**said_of(source), **said_of(master)}
    video = probe(source).video
    if start_of(sequence).rate is None and video is not None:
        said.setdefault("rate", video.rate)
    return addressed(master, said)


def check_files(
    source: MediaInfo, master: MediaInfo, folders: Iterable[str | Path] | None, dub: MediaInfo | None,
    tracks: Sequence[int] | None,
) -> list[Check]:  # fmt: skip
    """The files of a master that is a sequence: pictures without a patch, and the sound beside them.

    folders: of patches, None where these are not known; dub, tracks: the dub's file and its tracks that are delivered,
    None for no comparison and all."""
    found = []
    one, two = find(source.path), find(master.path)
    assert two is not None and source.video is not None and master.video is not None
    alike = [(video.codec, video.pix_fmt) for video in (source.video, master.video)]
    if one is not None and alike[0] == alike[1]:
        changed = {frame for folder in folders or () for frame in patch_frames(folder)["frame"].to_pylist()}
        pairs = [(one.file(n), two.file(n)) for n in range(min(one.count, two.count)) if n not in changed]
        other = [b.name for a, b in pairs if not b.samefile(a) and b.read_bytes() != a.read_bytes()]
        same = f"{len(pairs) - len(other)} of {several(len(pairs), 'file')} byte for byte the source's"
        if other and folders is None:
            found.append(Check("files", "not looked at", f"{same}; no takes say which may be others"))
        elif other:
            more = f" and {len(other) - _MOST} more" if len(other) > _MOST else ""
            problem = f"{', '.join(other[:_MOST])}{more} not the source's, although nothing was to change there"
            found.append(Check("files", "differs", problem))
        else:
            found.append(Check("files", "equal", f"{same}, without a patch"))
    wanted = [] if dub is None else [(dub, n) for n in tracks or range(1, len(dub.audio) + 1)]
    name = two.folder.name
    there: list[Path] = []
    while (two.folder / sound_name(name, len(there) + 1)).is_file():
        there.append(two.folder / sound_name(name, len(there) + 1))
    if dub is not None and len(there) == len(wanted) + len(source.audio):
        wanted += [(source, n) for n in range(1, len(source.audio) + 1)]
    if dub is not None:
        count = f"{several(len(there), 'WAV file')}, {several(len(wanted), 'track')} wanted"
        found.append(Check("sound tracks", "equal" if len(there) == len(wanted) else "differs", count))
    for n, (path, (info, track)) in enumerate(zip(there, wanted, strict=False), 1):
        made = probe(path)
        for check in check_sound(info, made, [track], None)[1:]:
            found.append(replace(check, what=check.what.replace("track 1", f"track {n}")))
        code = Timecode.parse(master.video.start_tc or "00:00:00:00", master.video.rate).frames
        begins = samples_at(Fraction(code) / master.video.rate, made.audio[0].rate_hz)
        told_at = made.metadata.get("time_reference", "nothing")
        if master.video.start_tc is not None:
            good = told_at == str(begins)
            text = f"sample {told_at}" + ("" if good else f", not {begins},") + " of the day"
            found.append(Check(f"beginning of track {n}", "equal" if good else "differs", text))
    lost = "a sequence of pictures carries no tags, chapters or further streams"
    return [*found, Check("tags and further streams", "not looked at", lost)]
