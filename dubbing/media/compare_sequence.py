"""What of a master that is one file a picture is its dub's: its sound, which lies beside its pictures as WAV.

Pictures, and the files that are the source's own, are compared like those of any film (`likeness`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from dubbing.clock import Timecode, samples_at
from dubbing.errors import several
from dubbing.media.compare import Check, check_sound
from dubbing.media.master_sequence import sound_name
from dubbing.media.numbered import start_of
from dubbing.media.probe import MediaInfo, probe
from dubbing.sequences import PRIMARIES, TRANSFERS, addressed, find, said_of

__all__ = ["as_its_source", "check_beside"]


def as_its_source(master: Path, source: Path) -> Path:
    """A master's path; of a sequence with what only the source says of its rate and colours."""
    sequence = find(master)
    if sequence is None:
        return master
    video, told = probe(source).video, start_of(sequence)
    said: dict[str, str | int | Fraction | None] = {**said_of(master)}
    if video is not None and told.rate is None:
        said.setdefault("rate", video.rate)
    for key, names in (("transfer", TRANSFERS), ("primaries", PRIMARIES)):
        if getattr(told, key) is None:
            said.setdefault(key, next((name for name, n in names.items() if n == getattr(video, key, None)), None))
    return addressed(master, said)


def check_beside(
    source: MediaInfo, master: MediaInfo, dub: MediaInfo | None, tracks: Sequence[int] | None,
    keeps: bool | None = None,
) -> list[Check]:  # fmt: skip
    """The sound beside a master that is a sequence. dub, tracks: the dub's file and its tracks that are delivered, None
    for no comparison and all; keeps: as of `check_sound`."""
    found: list[Check] = []
    two = find(master.path)
    assert two is not None and master.video is not None
    wanted = [] if dub is None else [(dub, n) for n in tracks or range(1, len(dub.audio) + 1)]
    name = two.folder.name
    there: list[Path] = []
    while (two.folder / sound_name(name, len(there) + 1)).is_file():
        there.append(two.folder / sound_name(name, len(there) + 1))
    if dub is not None and (len(there) == len(wanted) + len(source.audio) if keeps is None else keeps):
        wanted += [(source, n) for n in range(1, len(source.audio) + 1)]
    if dub is not None:
        count = f"{several(len(there), 'WAV file')}, {several(len(wanted), 'track')} wanted"
        found.append(Check("sound tracks", "equal" if len(there) == len(wanted) else "differs", count))
    for n, (path, (info, track)) in enumerate(zip(there, wanted, strict=False), 1):
        made = probe(path)
        for check in check_sound(info, made, [track], None)[1:]:
            found.append(replace(check, what=check.what.replace("track 1", f"track {n}")))
        start_tc = (source.video and source.video.start_tc) or master.video.start_tc  # DPX does not say drop-frame
        code = Timecode.parse(start_tc or "00:00:00:00", master.video.rate).frames
        begins = samples_at(Fraction(code) / master.video.rate, made.audio[0].rate_hz)
        told_at = made.metadata.get("time_reference", "nothing")
        if start_tc is not None:
            good = told_at == str(begins)
            text = f"sample {told_at}" + ("" if good else f", not {begins},") + " of the day"
            found.append(Check(f"beginning of track {n}", "equal" if good else "differs", text))
    lost = "a sequence of pictures carries no tags, chapters or further streams"
    return [*found, Check("tags and further streams", "not looked at", lost)]
