"""Which of a file's sound tracks and channels carry the dialogue, and why.

A film's sound may lie in one stereo track, in a 5.1, in six mono tracks, in one track a language, beside an audio
description or a commentary. What the user names is taken. Else every track that is not marked as something other than
dialogue is listened to, and the one with speech is chosen; where several have as much, the language, the marks of the
file and how far speech stands out decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.analysis.speech import CHUNK, Listener
from dubbing.errors import MediaError
from dubbing.media.language import three_letters
from dubbing.sound import RATE_HZ

__all__ = ["ONLY", "Heard", "Listening", "choose", "named"]

_OTHER_ROLES = ("comment", "visual_impaired", "descriptions", "lyrics", "karaoke", "clean_effects", "non_diegetic")
_OTHER_TITLES = re.compile(r"\b(audio.?descri\w*|descri(bed|ptive|ption)\w*|dvs|commentary|comments?|m ?& ?e|m\+e|"
                           r"music and effects|effects|isolated|karaoke)\b", re.IGNORECASE)  # fmt: skip
_CENTRE = re.compile(r"\s*(c|cen(tre|ter)|fc|dialog(ue)?s?|dx|vo|voices?)\s*", re.IGNORECASE)
_CHANNELS = {"L": "FL", "R": "FR", "C": "FC", "LS": "SL", "RS": "SR"}
_COUNTED = {
    1: ("FC",),
    2: ("FL", "FR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
_SPEAKS = 0.5  # the chance of speech, of silero-vad, from which a chunk counts
_ENOUGH_S = 0.3  # less speech than this is taken for none
_AS_MUCH = 0.8  # of the most speech: a track with this part of it has as much
_HALF = 0.5
_WIDE = 0.7  # of the power of the middle: where the side has more, the channels may cancel each other
_WHOLE_S, _PARTS, _PART_S = 600, 20, 30  # files longer than the first are listened to in parts, spread over them


@dataclass(frozen=True)
class Heard:
    """One way to listen to a file. name: in words; speech_s: seconds of speech found, estimated for a long file;
    clear_db: how far speech stands out of the rest, dB."""

    stream: int
    track: int
    channels: tuple[int, ...] | None
    name: str
    speech_s: float
    clear_db: float


@dataclass(frozen=True)
class Listening:
    """What of a file is listened to. stream: FFmpeg's index; channels: their places, whose mean is taken, None for all;
    why: the reason, as the end of a sentence; others: what else there was."""

    chosen: Heard
    why: str
    others: tuple[Heard, ...] = ()

    @property
    def said(self) -> str:
        """One line: what is listened to, and why."""
        return f"{self.chosen.name}: {self.why}"


ONLY = "the only one"


def choose(
    path: Path | str,
    info: media.MediaInfo,
    listener: Listener,
    *,
    track: int | None = None,
    channels: Sequence[str] | None = None,
    language: str | None = None,
) -> Listening:
    """What of a file to listen to.

    track: its number, counted from 1, and channels: their names (L, R, C, LFE, Ls, Rs, or FFmpeg's), where the user
    said; language: BCP 47 tag of what is looked for, None for a film's own. Raises MediaError: no sound, no such track
    or channel.
    """
    if not info.audio:
        raise MediaError(f"{path} has no sound stream.")
    numbers = [track] if track else list(range(1, len(info.audio) + 1))
    tracks = {number: info.track(number) for number in numbers}
    if channels:
        number = numbers[0]
        places = tuple(_place(path, number, tracks[number], name) for name in channels)
        name = (
            f"{_named(number, tracks[number], len(info.audio))}, channel{'s' * (len(places) > 1)} {', '.join(channels)}"
        )
        (only,) = _listened(path, info, listener, number, [(places, name)])
        return Listening(only, "as the manifest says")
    left_out = {} if track else {n: one for n, one in tracks.items() if _is_other(one)}
    if len(left_out) == len(tracks):
        left_out = {}
    best, others = [], []
    for number, one in tracks.items():
        if number in left_out:
            continue
        found = _ways(path, info, listener, number, one)
        best.append(found[0])
        others += found[1:]
    chosen, why = (best[0], _only_reason(best[0], track)) if len(best) == 1 else _across(best, tracks, language)
    if left_out and not track:
        why += f"; track {_list(left_out)} not dialogue, by {'its' if len(left_out) == 1 else 'their'} marks"
    rest = tuple(one for one in (*best, *others) if one is not chosen)
    return Listening(chosen, why, rest)


def named(path: Path | str, info: media.MediaInfo, track: int | None, channels: Sequence[str] | None) -> None:
    """Raises MediaError where a file lacks the track or a channel that somebody named. It decodes nothing."""
    one = info.track(track or 1)
    for name in channels or ():
        _place(path, track or 1, one, name)


def _only_reason(one: Heard, track: int | None) -> str:
    if track:
        return "as the manifest says"
    return ONLY if one.channels is None or len(one.channels) > 1 else "where its speech is"


def _list(numbers: Sequence[int] | dict[int, media.AudioInfo]) -> str:
    words = [str(n) for n in numbers]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) + (
        " is" if len(words) == 1 else " are"
    )


def _is_other(one: media.AudioInfo) -> bool:
    """Whether a track is marked as no dialogue: a description, a commentary, music and effects."""
    return any(role in _OTHER_ROLES for role in one.roles) or bool(_OTHER_TITLES.search(one.title))


def _places(one: media.AudioInfo) -> tuple[str, ...]:
    """Names of a track's channels; of channels that are only counted, those that so many usually are."""
    return one.places if len(one.places) == one.channels else _COUNTED.get(one.channels, ())


def _place(path: Path | str, number: int, one: media.AudioInfo, name: str) -> int:
    places = _places(one)
    wanted = _CHANNELS.get(name.upper(), name.upper())
    for spelt in (wanted, wanted.replace("S", "B", 1)):
        if spelt in places:
            return places.index(spelt)
    if name.isdigit() and 1 <= int(name) <= one.channels:
        return int(name) - 1
    allowed = ", ".join(places) or f"1 to {one.channels}"
    raise MediaError(f"track {number} of {path} has no channel {name!r}; it has {allowed}.")


def _named(number: int, one: media.AudioInfo, count: int) -> str:
    parts = [one.layout if one.channels > 1 else "mono", *([one.title] if one.title else []),
             *([one.language] if one.language else [])]  # fmt: skip
    return f"track {number}{f' of {count}' if count > 1 else ''} ({', '.join(parts)})"


def _ways(
    path: Path | str, info: media.MediaInfo, listener: Listener, number: int, one: media.AudioInfo
) -> list[Heard]:
    """The ways to listen to one track, the best first."""
    name, places = _named(number, one, len(info.audio)), _places(one)
    whole: tuple[tuple[int, ...] | None, str] = (None, name)
    if one.channels == 1:
        return _listened(path, info, listener, number, [whole])
    if one.channels == 2:
        power = _powers(path, info, one)
        if power.side <= _WIDE * power.middle:
            return _listened(path, info, listener, number, [whole])
        both, a, b = _listened(
            path, info, listener, number, [whole, ((0,), f"left channel of {name}"), ((1,), f"right channel of {name}")]
        )
        louder = a if (a.speech_s, power.left) >= (b.speech_s, power.right) else b
        cancelled = power.middle < 0.1 * max(power.left, power.right)
        if cancelled or both.speech_s < _HALF * louder.speech_s:
            said = f"{louder.name} (together its channels cancel each other)"
            return [Heard(louder.stream, number, louder.channels, said, louder.speech_s, louder.clear_db), both]
        return [both]
    ways = [whole]
    if "FC" in places:
        ways.insert(0, ((places.index("FC"),), f"centre channel of {name}"))
    else:
        ways += [((n,), f"channel {n + 1} of {name}") for n in range(one.channels)]
    heard = _listened(path, info, listener, number, ways)
    most = max(h.speech_s for h in heard)
    good = [h for h in heard if h.speech_s >= _HALF * most] if "FC" in places else sorted(
        (h for h in heard if h.speech_s >= _AS_MUCH * most), key=lambda h: -h.clear_db
    )  # fmt: skip
    return [good[0], *(h for h in heard if h is not good[0])]


def _across(best: list[Heard], tracks: dict[int, media.AudioInfo], language: str | None) -> tuple[Heard, str]:
    """The track to listen to, of several, and why."""
    most = max(one.speech_s for one in best)
    if most < _ENOUGH_S:
        return best[0], "no speech was found in any track, so it is the first"
    spoken = [one for one in best if one.speech_s >= max(_ENOUGH_S, 0.3 * most)]
    tagged = [one for one in spoken if language and _same(tracks[one.track].language, language)]
    if tagged and len(tagged) < len(spoken):
        spoken = tagged
        if len(spoken) == 1:
            return spoken[0], f"it is tagged {tracks[spoken[0].track].language}"
    rivals = [one for one in spoken if one.speech_s >= _AS_MUCH * max(s.speech_s for s in spoken)]
    if len(rivals) == 1:
        return rivals[0], "where most speech was found"
    languages = {tracks[one.track].language for one in rivals}
    if len(languages) == 1 and all(tracks[one.track].channels == 1 for one in rivals):
        centre = [one for one in rivals if _CENTRE.fullmatch(tracks[one.track].title)]
        if centre:
            return centre[0], "it is named the centre, and has speech"
        return max(rivals, key=lambda one: one.clear_db), "where speech stands out most"
    for role in ("original", "default") if language is None else ("dub", "default"):
        marked = [one for one in rivals if role in tracks[one.track].roles]
        if len(marked) == 1:
            return marked[0], f"it is marked as {role}"
    return rivals[0], "the first of several with speech"


def _same(tagged: str | None, language: str) -> bool:
    return tagged is not None and three_letters(tagged) == three_letters(language) != "und"


@dataclass
class _Power:
    """Mean squares: of the middle (the mean of both channels), the side (half their difference), and each channel."""

    middle: float = 0.0
    side: float = 0.0
    left: float = 0.0
    right: float = 0.0


def _powers(path: Path | str, info: media.MediaInfo, one: media.AudioInfo) -> _Power:
    found = _Power()
    for block in _blocks(path, info, one.index):
        left, right = block[:, 0].astype(np.float64), block[:, 1].astype(np.float64)
        found.middle += float((((left + right) / 2) ** 2).sum())
        found.side += float((((left - right) / 2) ** 2).sum())
        found.left += float((left**2).sum())
        found.right += float((right**2).sum())
    return found


@dataclass
class _Way:
    """Hears one way to listen to a track."""

    chance: list[float] = field(default_factory=list)
    level: list[float] = field(default_factory=list)

    def hear(self, wave: np.ndarray, listener: Listener) -> None:
        """One piece, float32 (T,); the listener has forgotten what was before."""
        listener.begin()
        whole = wave[: len(wave) // CHUNK * CHUNK].reshape(-1, CHUNK)
        self.chance += listener.hear(whole.reshape(-1))
        self.level += [float(v) for v in np.square(whole, dtype=np.float64).mean(1)]

    def heard(self) -> tuple[float, float]:
        """(seconds of speech, dB that it stands out)."""
        speaks, level = np.array(self.chance) > _SPEAKS, np.array(self.level)
        if not speaks.any() or speaks.all():
            return float(speaks.sum() * CHUNK / RATE_HZ), 0.0
        ratio = (level[speaks].mean() + 1e-12) / (level[~speaks].mean() + 1e-12)
        return float(speaks.sum() * CHUNK / RATE_HZ), float(10 * np.log10(ratio))


def _listened(
    path: Path | str,
    info: media.MediaInfo,
    listener: Listener,
    number: int,
    ways: Sequence[tuple[tuple[int, ...] | None, str]],
) -> list[Heard]:
    """Each way to listen to a track, with how much speech it has."""
    one = info.track(number)
    heard_ways = [_Way() for _ in ways]
    total = heard = 0.0
    for wave, share in _pieces(path, info, one.index):
        heard += len(wave) / RATE_HZ
        total += share
        for way, (channels, _) in zip(heard_ways, ways, strict=True):
            way.hear(wave.mean(1) if channels is None else wave[:, list(channels)].mean(1), listener)
    scale = total / heard if heard else 1.0
    found = []
    for way, (channels, name) in zip(heard_ways, ways, strict=True):
        speech_s, clear_db = way.heard()
        found.append(Heard(one.index, number, channels, name, round(speech_s * scale, 2), round(clear_db, 1)))
    return found


def _parts(info: media.MediaInfo) -> list[tuple[Fraction, Fraction]] | None:
    """The parts [start, end) in seconds that are listened to of a long file; None for the whole of a short one."""
    length = info.duration_s
    if length is None or length <= _WHOLE_S:
        return None
    step = (length - _PART_S) / (_PARTS - 1)
    return [(n * step, n * step + _PART_S) for n in range(_PARTS)]


def _blocks(path: Path | str, info: media.MediaInfo, stream: int) -> Iterator[np.ndarray]:
    """Sound in blocks, float32 (T, C) at 16 kHz: all of it, or parts of a long file."""
    parts = _parts(info)
    if parts is None:
        yield from media.sound_blocks(path, RATE_HZ, mono=False, align_to_video=False, stream_index=stream)
        return
    for start, end in parts:
        yield from media.sound_between(path, start, end, RATE_HZ, mono=False, stream_index=stream)


def _pieces(path: Path | str, info: media.MediaInfo, stream: int) -> Iterator[tuple[np.ndarray, float]]:
    """Pieces of about 30 s, float32 (T, C), each with the seconds of the file that it stands for."""
    length = float(info.duration_s or 0)
    scale = length / (_PARTS * _PART_S) if _parts(info) else 1.0
    held: list[np.ndarray] = []
    count = 0
    for block in _blocks(path, info, stream):
        held.append(block)
        count += len(block)
        if count >= _PART_S * RATE_HZ:
            yield np.concatenate(held), count / RATE_HZ * scale
            held, count = [], 0
    if count:
        yield np.concatenate(held), count / RATE_HZ * scale
