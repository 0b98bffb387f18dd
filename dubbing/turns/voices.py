"""Turns where it is known who speaks when in the dub, by stems or by lines: each character's face says what it says.

A face is driven wherever its character speaks and it is in sight, whether or not it spoke in the original. A face that
spoke in the original and whose character is silent comes to rest, if another face of the shot speaks: then the shot is
the dub's. A character who is not in sight moves nobody, and no face is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dubbing.analysis.lines import SpokenLine
from dubbing.artifacts.speakers import Decision
from dubbing.artifacts.tracks import Limits, unfit
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline, runs
from dubbing.records import Shot, Track

__all__ = ["Voices", "turns_by_voices"]

_LOOSE_S = 0.25  # by which a line may begin too late and end too early
_SPEAKS_S = 0.4  # of a voice in a shot; less is the end of a line from the shot beside it


@dataclass(frozen=True, eq=False)
class Voices:
    """The voices of a dub. spoken: by character the frames of the film in which it speaks, bool (N,); by: `stem` or
    `lines`; off_screen: characters who are never in sight; others: further ones who are
    known, such as of the cast."""

    spoken: Mapping[str, np.ndarray]
    by: str
    off_screen: Collection[str] = ()
    others: Collection[str] = ()

    @property
    def characters(self) -> set[str]:
        """Whoever may be meant by a name."""
        return {*self.spoken, *self.off_screen, *self.others}

    @cached_property
    def known_N(self) -> np.ndarray:
        """Frames of the film in which it is known who speaks, bool."""
        return np.logical_or.reduce(list(self.spoken.values()))


def within_lines(lines: Sequence[SpokenLine], heard_N: np.ndarray, film: Timeline) -> dict[str, np.ndarray]:
    """By character, the frames of the film in which it speaks, bool (N,): those with speech that lie in its lines, or
    within _LOOSE_S of one and in nobody's line. heard_N: frames in which the dub speaks, bool."""
    starts_N, ends_N = film.times_s(), np.append(film.times_s()[1:], float(film.duration))
    exact: dict[str, np.ndarray] = {}
    loose: dict[str, np.ndarray] = {}
    for line in lines:
        if line.character is None:
            continue
        for masks, more_s in ((exact, 0.0), (loose, _LOOSE_S)):
            first, last = float(line.start_s) - more_s, float(line.end_s) + more_s
            mask_N = masks.setdefault(line.character, np.zeros(len(film), bool))
            mask_N[np.searchsorted(ends_N, first, "right") : np.searchsorted(starts_N, last)] = True
    free_N = ~np.logical_or.reduce(list(exact.values()))
    return {name: heard_N & (exact[name] | loose[name] & free_N) for name in exact}


def turns_by_voices(
    shot: Shot, decision: Decision, tracks: Sequence[Track], people: Mapping[str, int], names: Mapping[str, str],
    voices: Voices, film: Timeline, limits: Limits, rest_N: np.ndarray | None = None,
    nearest: Mapping[str, np.ndarray] | None = None,
) -> ShotTurns:  # fmt: skip
    """The turns of one shot.

    tracks: its faces; people, names: the person and the character by track id; limits: outside which no face is
    rendered; rest_N: the shot's frames in which the dub speaks and nobody says who it is, bool; nearest: what of these
    is taken to be said by which track.
    """
    first, end = shot.start_frame, shot.end_frame
    nearest = nearest or {}
    here = {name: mask_N[first:end] for name, mask_N in voices.spoken.items() if mask_N[first:end].any()}
    heard_N = np.zeros(len(shot), bool) if rest_N is None else rest_N.copy()
    for mask_N in here.values():
        heard_N |= mask_N
    own = {spoken.track: spoken.stretches for spoken in decision.tracks}
    speak: list[FaceTurns] = []
    rest: list[FaceTurns] = []
    reasons: list[str] = []
    for track in tracks:
        name = names.get(track.id)
        says_N = np.zeros(len(shot), bool)
        if track.id in nearest:
            says_N |= nearest[track.id]
        if name in here and name not in voices.off_screen:
            says_N |= here[name]
        there = slice(track.start_frame - first, min(track.end_frame, end) - first)
        mine_N = says_N[there]
        face = FaceTurns(
            track.id, people[track.id], own.get(track.id, ()), tuple(runs(mine_N, track.start_frame)), name,
            name if name and voices.by == "stem" else "", voices.by if name else "nearest",
        )  # fmt: skip
        if not mine_N.any():
            if name is not None and track.id in own:
                rest.append(face)
        elif reason := unfit(track.until(end), mine_N, film.rate, limits):
            reasons.append(reason)
        else:
            speak.append(face)
    speak.sort(key=lambda face: -sum(b - a for a, b in face.says))
    return ShotTurns(
        shot.id,
        tuple(runs(heard_N, first)),
        (*speak, *rest) if speak else (),
        _doubt(tracks, own, names, here, voices, float(film.rate)) or _unlisted(rest_N, float(film.rate)),
        reason=None if speak else (reasons[0] if reasons else "off_screen" if tracks else "no_face"),
    )


def _doubt(
    tracks: Sequence[Track], own: Collection[str], names: Mapping[str, str], here: Mapping[str, np.ndarray],
    voices: Voices, rate: float,
) -> str | None:  # fmt: skip
    """Why somebody should look: a face without a name speaks in the original, or a voice without a face is heard while
    a face without a name is in sight."""
    if not here:
        return None
    nameless = [track.id for track in tracks if names.get(track.id) not in voices.characters]
    speakers = [track.rsplit("/", 1)[-1].replace("_", " ") for track in nameless if track in own]
    if strange := [names[track] for track in nameless if track in own and track in names]:
        return (
            f"{strange[0]} speaks in the original, and no voice of the dub and nobody in the cast has this name: name "
            "the face as one of them (`cast`)"
        )
    if speakers:
        what = "stem is its" if voices.by == "stem" else "lines it says"
        return (
            f"{' and '.join(speakers)} speak{'s' * (len(speakers) == 1)} in the original, and nobody said whose {what}"
            ": name the face (`cast`)"
        )
    known = set(names.values())
    for name, mask_N in here.items():
        spoken_s = mask_N.sum() / rate
        if nameless and name not in known and name not in voices.off_screen and spoken_s >= _SPEAKS_S:
            return (
                f"{name} speaks {spoken_s:.1f} s here, and no face of the film is known to be {name}'s: name it "
                "(`cast`), or say `off_screen`"
            )
    return None


def _unlisted(rest_N: np.ndarray | None, rate: float) -> str | None:
    """Why somebody should look: the dub speaks where no line is."""
    rest_s = 0.0 if rest_N is None else rest_N.sum() / rate
    if rest_s < _SPEAKS_S:
        return None
    return f"{rest_s:.1f} s of the dub's speech here lie in no line: they are taken for whoever speaks nearest to them"
