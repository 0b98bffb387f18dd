"""What a manifest says of characters, looked at before a run: names that agree, stems and lines that can be used."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.analysis import dialogue
from dubbing.analysis.asked import characters_asked
from dubbing.analysis.line_drift import drift
from dubbing.analysis.lines import SpokenLine, read_lines
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.artifacts.people import names_of
from dubbing.config import Config
from dubbing.decisions import DecisionLog
from dubbing.errors import ManifestError, MediaError, blaming
from dubbing.experts import resemblyzer
from dubbing.manifest import Dub, Title
from dubbing.remote import Uri
from dubbing.sound import RATE_HZ
from dubbing.stages.audio import different_lengths
from dubbing.store import Store, content_key

__all__ = [
    "known", "lines_can_be_read", "look_at_voices", "named_by_reviewers", "notes_of_lines", "said", "stems_can_be_used",
    "stems_fit_cast",
]  # fmt: skip

_INAUDIBLE = 0.001  # -60 dBFS


def stems_fit_cast(title: Title, dub: Dub) -> None:
    """Raises ManifestError, where there are stems and a cast: a character has a stem and is not in the cast, or is in
    the cast, may be in sight, and has no stem."""
    if dub.stems is None or title.cast is None:
        return
    for name in dub.stems:
        if name not in title.cast:
            raise ManifestError(
                f"{name!r} has a stem and is not in 'cast', {_which(name, title.cast)}; add it there (off_screen: true "
                "for a voice without a face).",
                at=("dubs", title.dubs.index(dub), "stems", name),
            )
    for name, one in title.cast.items():
        if name not in dub.stems and not (one.off_screen or one.leave_alone):
            raise ManifestError(
                f"{name!r} is in 'cast' and has no stem in the {dub.language} dub, {_which(name, dub.stems)}; add one, "
                "or say leave_alone: true.",
                at=("cast", name),
            )


def named_by_reviewers(title: Title, store: Store) -> set[str]:
    """The characters whom people of a title were said to be."""
    return set(names_of(DecisionLog(store.root).records()).get(title.id, {}).values())


def known(title: Title, dub: Dub, named: Callable[[], Collection[str]] = tuple) -> None:
    """Raises ManifestError where `only` or `leave` name a character whom nobody knows. named: asked for characters whom
    reviewers named, where the manifest does not know one."""
    names = {*(title.cast or {}), *(dub.stems or {})}
    levels = ((title, ()), (dub, ("dubs", title.dubs.index(dub))))
    for says, at in levels:
        for key in ("only", "leave"):
            parts = getattr(says, key)
            for n, name in enumerate((parts and parts.characters) or ()):
                if name not in names and name not in (names := names | set(named())):
                    raise ManifestError(
                        f"{name!r} is no character of the title, {_which(name, names)}; write a name of 'cast'.",
                        at=(*at, key, "characters", n),
                    )


def said(title: Title, dub: Dub) -> str:
    """Whose faces are re-rendered, as `dub check` says it; empty where everybody's are."""
    only, leave = characters_asked(title, dub)
    parts = [f"only the faces of {', '.join(only)}"] if only else []
    parts += [f"not the faces of {', '.join(leave)}"] if leave else []
    return ", ".join(parts)


def stems_can_be_used(
    title: Title, dub: Dub, store: Store, tolerance_frames: float, rate: float,
    fits: Callable[[Path | Uri, int, int], float],
) -> None:  # fmt: skip
    """Raises MediaError where a stem is not there or is no sound, ManifestError where they differ in length or two are
    one file or copies of one that is not silent, and what `fits` raises where one does not fit the picture. What no
    header tells, the run finds.

    fits: called with a file, its samples and their rate.
    """
    at = ("dubs", title.dubs.index(dub), "stems")
    lasts_s: dict[str, float] = {}
    rates: dict[str, int] = {}
    stems = dub.stems or {}
    for name, file in stems.items():
        with blaming(*at, name):
            info = media.probe(store.local(file))
            if not info.audio:
                raise MediaError(f"{file} has no sound stream; a stem must be the dialogue of {name}.")
        if info.duration_s is not None:
            lasts_s[name], rates[name] = float(info.duration_s), info.audio[0].rate_hz
    if lasts_s and max(lasts_s.values()) - min(lasts_s.values()) > tolerance_frames / rate + 1e-3:
        raise ManifestError(different_lengths(lasts_s))
    of: dict[str, str] = {}
    sizes = [store.local(file).stat().st_size for file in stems.values()]
    for name, file in stems.items():
        path = store.local(file)
        if sizes.count(path.stat().st_size) > 1:
            other = of.setdefault(content_key(path), name)
            if other != name and _sounds(path):
                raise ManifestError(
                    f"{other} and {name} have the same sound as their stems ({file}), so both mouths would say all of "
                    "it; give each character a file of its own voice, or give it to one of them.",
                    at=(*at, name),
                )
    for name, seconds in lasts_s.items():
        fits(stems[name], round(seconds * rates[name]), rates[name])


def _sounds(path: Path) -> bool:
    """Whether anything in a file can be heard."""
    return any(np.abs(b).max() > _INAUDIBLE for b in media.sound_blocks(path, None, align_to_video=False) if len(b))


def look_at_voices(title: Title, config: Config, store: Store, attempt: Callable[..., Any]) -> list[str]:
    """A note where voices of the cast are given, a dub would be told by them, and nothing here can compare voices.

    attempt: as of `look_at_pictures`; a voice that is not there or is no sound is refused so.
    """
    given = {name: one.voice for name, one in (title.cast or {}).items() if one.voice is not None}
    for name, file in given.items():
        attempt(("cast", name, "voice"), _voice_can_be_used, name, file, store)
    if not given or all(dub.stems is not None or dub.lines is not None for dub in title.dubs):
        return []
    if config.speakers.voices == "off":
        why = "speakers.voices is off"
    elif resemblyzer.installed() is None:
        why = "the network that compares voices is not installed (the extra `voices`)"
    else:
        return []
    return [f"{title.id}: the voice of {', '.join(given)} in 'cast' is not used, because {why}."]


def _voice_can_be_used(name: str, file: Path | Uri, store: Store) -> None:
    if not media.probe(store.local(file)).audio:
        raise MediaError(f"{file} has no sound stream; 'voice' must be some seconds of {name}'s voice alone.")


def lines_can_be_read(title: Title, dub: Dub, video: media.VideoInfo, store: Store) -> tuple[SpokenLine, ...]:
    """The lines of a dub. Raises ManifestError where the list cannot be used."""
    assert dub.lines is not None
    try:
        path = store.local(dub.lines)
    except MediaError as e:
        raise ManifestError(f"there is no file {dub.lines}; 'lines' names a list: CSV, SRT, VTT or TTML.") from e
    return read_lines(path, video.rate, video.start_tc, title.cast or ())


def notes_of_lines(title: Title, dub: Dub, picture: media.MediaInfo, store: Store, listener: Listener) -> list[str]:
    """What does not fit in a list of lines: characters who are not in the cast, times that the dub's speech belies."""
    assert picture.video is not None and dub.lines is not None
    lines = lines_can_be_read(title, dub, picture.video, store)
    where, notes = f"{title.id}/{dub.language}: {dub.lines.name}", []
    strange = {line.character for line in lines if line.character} - set(title.cast or ())
    if title.cast is not None and strange:
        notes.append(
            f"{where} names {', '.join(sorted(strange))}, not in 'cast': their faces must be named to be found."
        )
    path = store.local(dub.dialogue or dub.audio)
    heard = dialogue.choose(
        path, media.probe(path), listener, track=dub.track, channels=dub.channels, language=dub.language
    ).chosen
    listener.begin()
    waves, chance = [np.zeros(0, np.int16)], []
    for block in media.sound_blocks(
        path, RATE_HZ, align_to_video=False, stream_index=heard.stream, channels=heard.channels
    ):
        waves.append(samples16(block))
        chance += listener.hear(block)
    wave = np.concatenate(waves)
    wrong = drift(lines, speech_ranges(wave, np.array(chance, np.float32)), len(wave) / RATE_HZ)
    return [*notes, *([f"{where} names who speaks, and {wrong}."] if wrong else [])]


def _which(name: str, names: Collection[str] | Mapping[str, object]) -> str:
    """`which has ANNA, BEN`, with a guess at what was meant."""
    near = difflib.get_close_matches(name, list(names), 1)
    return f"which has {', '.join(sorted(names)) or 'nobody'}" + (f" (did you mean {near[0]!r}?)" if near else "")
