"""What of a film a run is asked to re-render, in words, and what of an earlier master it would take back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dubbing import media
from dubbing.analysis.asked import Ranges, ShownFilm, asked, within
from dubbing.analysis.cutlist import OutsideFilm
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.errors import DamagedResult, several
from dubbing.job import Job
from dubbing.manifest import Dub, Manifest, Title
from dubbing.records import Shot
from dubbing.shot_table import SHOTS, read_rows
from dubbing.store import Store

__all__ = ["said_of_parts", "taken_back"]

_LATER = "parts of the film, by shots that are found when it runs; the rest is left (excluded)"
_NAMED = 4  # ranges of what is asked for


def said_of_parts(
    manifest: Manifest, title: Title, dub: Dub, config: Config, store: Store, line: Timeline | None,
    shots: Sequence[Shot] | None,
) -> tuple[str, Ranges | None]:  # fmt: skip
    """What of the film is re-rendered in a dub, as a sentence and in frames; nothing where the manifest does not say.
    line: exact, where it is known; shots: of a cut list. Raises ManifestError; what lies outside the film is said only
    of decoded frames."""
    if not (title.only or title.leave or dub.only or dub.leave):
        return "", None
    job = Job(manifest, store, config)
    if shots is None and store.names(store.analysis(title.id), "shots-"):
        shots = job.shots(title)
    video = job.info(title).video
    assert video is not None
    film = ShownFilm(len(line) if line else job.span(title), video.rate, video.start_tc, shots)
    try:
        found = asked(title, dub, film)
    except OutsideFilm:
        if line is not None or job.made_of(title):
            raise
        film = replace(film, frames=len(media.timeline(store.local(title.video))))
        found = asked(title, dub, film)
    if found is None:
        by_shots = any(p and p.in_time for p in (dub.only or title.only, title.leave, dub.leave))
        return _LATER if by_shots else "", None
    frames = sum(b - a for a, b in found)
    ranges = ", ".join(f"{film.first + a}-{film.first + b}" for a, b in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    text = f"{frames:,} of {several(film.frames, 'frame')}" + (f" ({ranges}{more})" if found else "")
    if shots is not None:
        touched = sum(bool(within(found, s.start_frame, s.end_frame)) for s in shots)
        text += f" in {touched} of {several(len(shots), 'shot')}"
    return f"{text}; the rest is left (excluded)", found


def taken_back(title: Title, dub: Dub, asked_frames: Ranges | None, store: Store) -> list[str]:
    """A note where a dub's finished master has more shots re-rendered than are asked for now."""
    try:
        rows = (
            read_rows(store.read_bytes(store.dub(title.id, dub.language) / SHOTS)) if asked_frames is not None else []
        )
    except (FileNotFoundError, DamagedResult):
        return []
    taken = [
        r["shot"] for r in rows
        if r["status"] == "dubbed" and not within(asked_frames or (), r["start_frame"], r["end_frame"])
    ]  # fmt: skip
    if not taken:
        return []
    return [
        f"{title.id}/{dub.language}: the master that is there has {several(len(taken), 'dubbed shot')} that this run "
        "is not asked for; it is replaced by one with the source's picture there. What was rendered is kept for a run "
        "that asks for it; another --out keeps this master."
    ]
