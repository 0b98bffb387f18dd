"""What a run will need, looked at before any work starts: files, lengths, disk, packages.

`look` opens every file and decodes the dubs' sound (about 500 times faster than film time); with
`deep` it decodes the pictures too and finds damage inside them. It changes nothing. What it finds
wrong it lists, all of it, as the errors a run would stop with.

Over 400 lines: everything that is looked at, in the order in which a person reads it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from dubbing import device, media
from dubbing.analysis import dialogue
from dubbing.analysis.asked import Ranges, ShownFilm
from dubbing.analysis.cutlist import OutsideFilm, read_cuts
from dubbing.analysis.footage import Sounds, made_of
from dubbing.analysis.speech import Listener
from dubbing.analysis.windows import film_windows
from dubbing.clock import Timeline, samples_at
from dubbing.config import Config
from dubbing.document import Location
from dubbing.errors import InputError, ManifestError, MediaError, during, several
from dubbing.manifest import Dub, Manifest, Original, Title
from dubbing.master_choice import MasterChoice
from dubbing.preflight import characters
from dubbing.preflight.actors import learnt_elsewhere
from dubbing.preflight.asked import said_of_parts, taken_back
from dubbing.preflight.cast import contradiction, look_at_pictures
from dubbing.preflight.consent import consent_is_there, said_of_consent
from dubbing.preflight.expression import look_at_expressions
from dubbing.preflight.generators import conditions_fit, devices_of, look_at_generators, said_of_generators
from dubbing.preflight.masks import look_at_masks
from dubbing.preflight.masters import look_at_masters
from dubbing.preflight.packages import SENT_WITH, other_packages, versions
from dubbing.preflight.provenance import look_at_signing, said_of_signing
from dubbing.preflight.stills import said_of_face
from dubbing.records import Shot
from dubbing.remote import Uri, scheme_of
from dubbing.store import Store, open_store, stamp_of, standing

__all__ = ["SENT_WITH", "DubFinding", "Findings", "SoundFinding", "TitleFinding", "devices", "look", "versions"]


T = TypeVar("T")
P = ParamSpec("P")
_MUCH_S, _PART = 2.0, 0.25  # so much speech in a dub, and so small a part of it in the original, do not go together
_TAKE_BYTES = 80_000  # lossless patches of one frame: 50 to 130 KB on faces of 270 to 500 px
_HEAD_BYTES = 1.25  # a pixel of a photograph whose head moves, at most (LOG)


@dataclass(frozen=True)
class DubFinding:
    """One dub, looked at. samples at rate_hz of the mix; over_frames: dub minus picture, in frames; master: the name of
    the file to come; others: of further ones; room_bytes: about how large they may be; sound: how the first will carry
    the mix; notices: what will differ from the source; asked: what of the film is re-rendered and what is left, a
    sentence, where the manifest says it; asked_frames: frames [start, end) that may be, None for all, or where it
    depends on shots not known yet."""

    language: str
    audio: Path | Uri
    codec: str
    channels: int
    rate_hz: int
    samples: int
    over_frames: float
    master: str
    others: tuple[str, ...]
    room_bytes: int
    sound: str
    notices: tuple[str, ...]
    asked: str = ""
    asked_frames: Ranges | None = None


@dataclass(frozen=True)
class SoundFinding:
    """Which tracks and channels of a file are listened to. whose: `original`, or a dub's language; listened: in words,
    with the reason; speech_s: seconds of speech in it (estimated for a file of over ten minutes); others: the same of
    what else there is, by name."""

    whose: str
    file: Path | Uri
    listened: str
    speech_s: float
    others: Mapping[str, float]


@dataclass(frozen=True)
class TitleFinding:
    """One title, looked at. frames: as the file promises, or exact when `exact`; size_px: upright; rate: nominal, and
    meaningless where pictures come at uneven times (variable_rate); coded_px: in the film's own pixels, where these are
    not square; take_bytes: about what a rendered frame takes on the disk."""

    id: str
    video: Path | Uri
    codec: str
    size_px: tuple[int, int]
    bit_depth: int
    rate: Fraction
    frames: int
    exact: bool
    duration_s: float
    start_tc: str | None
    has_sound: bool
    dubs: tuple[DubFinding, ...]
    variable_rate: bool = False
    sounds: tuple[SoundFinding, ...] = ()
    coded_px: tuple[int, int] | None = None
    take_bytes: int = _TAKE_BYTES


@dataclass
class Findings:
    """What `look` found. problems stop a run; notes do not. Sizes in bytes."""

    titles: list[TitleFinding] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    disk_needed: int = 0
    disk_free: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)

    def raise_first(self) -> None:
        """The first problem as an error of its own kind, counting the others."""
        if self.problems:
            first, others = self.problems[0], len(self.problems) - 1
            if others:
                raise type(first)(f"{first} (and {others} more: `dub check` shows all)")
            raise first


def look(
    manifest: Manifest,
    config: Config,
    out: Store | Path | str,
    *,
    deep: bool = False,
    listen: bool = False,
    on_frames: Callable[[int], None] = lambda frames: None,
) -> Findings:
    """Everything a run of this job would need. listen: look for speech in every track too; on_frames(n): n more
    pictures were decoded (deep only).

    Remote files of the manifest are brought to this machine.
    """
    found = Findings()
    store = open_store(out)
    attempt = _Attempts(found, store, manifest)
    listener = Listener() if listen else None
    sounds = Sounds(store.root)
    prior = any(
        one.name == "rewrite" for one in manifest.generators
    )  # the others are driven by sound alone, whatever the title
    models = look_at_generators(manifest, config, store, attempt), attempt(None, (), _expert, config)
    signing, signer = manifest.provenance or config.provenance, look_at_signing(manifest, config, attempt)
    for i, title in enumerate(manifest.titles):
        at, video = ("titles", i), ("video",)
        attempt(at, ("cast",), contradiction, title)
        found.notes += look_at_pictures(title, config, store, partial(attempt, at))
        found.notes += characters.look_at_voices(title, config, store, partial(attempt, at))
        before = len(found.problems)
        made = attempt(at, video, made_of, title, store.local, sounds)
        if len(found.problems) > before:
            continue
        info = made.info if made else attempt(at, video, _picture, title, store)
        if info is None or info.video is None:
            continue
        found.notes += attempt(at, ("actors",), learnt_elsewhere, manifest, title, config, store) or []
        if not made and info.video.interlaced:
            note = attempt(at, video, _fields, title.video, info.video, store, sounds)
            if note is None:
                continue
            found.notes.append(note)
        found.notes += look_at_masks(title, info, store, partial(attempt, at))
        named = partial(characters.named_by_reviewers, title, store)
        found.notes += look_at_expressions(title, info, store, named, partial(attempt, at))
        cuts = None
        if title.shots is not None and not made:
            cuts = attempt(at, ("shots",), _cuts, title.shots, info.video, store.local(title.video), store)
        line = attempt(at, video, _decode, store.local(title.video), on_frames) if deep and not made else None
        if deep and line is None and not made:
            continue
        original = title.original or Original()
        if original.dialogue is not None:
            attempt(
                at, ("original", "dialogue"), _dialogue, original.dialogue, "original", original, title, info, line,
                config, store, sounds,
            )  # fmt: skip
        elif original.track or original.channels:
            attempt(at, ("original",), dialogue.named, title.video, info, original.track, original.channels)
        if made:
            line = made.line()
        elif info.audio and (deep or _keeps_floats(info)):
            loud = attempt(at, video, _over_full_scale, title.video, info, store, sounds)
            if loud is None:
                continue
            found.notes += [loud] if loud else []
        dubs = []
        listed: set[str] = set()
        for j, dub in enumerate(title.dubs):
            own = made.line(dub.language) if made else line
            if dub.dialogue is not None and dub.dialogue != dub.audio:
                attempt(
                    at, ("dubs", j, "dialogue"), _dialogue, dub.dialogue, dub.language, dub, title, info, own, config,
                    store, sounds,
                )  # fmt: skip
            attempt(at, ("dubs", j, "stems"), characters.stems_fit_cast, title, dub)
            attempt(at, ("cast",), consent_is_there, manifest, title, dub)
            attempt(at, ("dubs", j), characters.known, title, dub, partial(characters.named_by_reviewers, title, store))
            if dub.stems is not None:
                fits = partial(_fits, film=store.local(title.video), picture=info, line=own, config=config)
                attempt(
                    at, ("dubs", j, "stems"), characters.stems_can_be_used, title, dub, store,
                    config.length_tolerance_frames, float(info.video.rate), fits,
                )  # fmt: skip
            if dub.lines is not None:
                lines = attempt(at, ("dubs", j, "lines"), characters.lines_can_be_read, title, dub, info.video, store)
                listed |= {one.character for one in lines or () if one.character}
            one = attempt(
                at, ("dubs", j, "audio"), _dub, title, dub, info, own, config, store, sounds,
                manifest.masters(title, dub) or config.master,
            )  # fmt: skip
            parts = attempt(at, ("dubs", j), said_of_parts, manifest, title, dub, config, store, line, cuts)
            if one is not None:
                text, frames = parts or ("", None)
                said = "; ".join(part for part in (text, characters.said(title, dub)) if part)
                dubs.append(replace(one, asked=said, asked_frames=frames))
                found.notes += taken_back(title, dub, frames, store)
                found.notes += [n for n in one.notices if n not in found.notes]
        found.notes += said_of_consent(manifest, title, partial(characters.named_by_reviewers, title, store), listed)
        variable = media.uneven(line.pts) if line else media.variable_rate(store.local(title.video))
        good = len(found.problems) == before
        heard = attempt(at, ("original",), _heard, title, info, store, listener) if listener and good else None
        found.titles.append(_title(title, info, line, tuple(dubs), variable, tuple(heard or ()),
                                   bool(made and made.settings.motion != "none")))  # fmt: skip
        found.notes += _doubts(title, heard or ())
        for dub in title.dubs if good else ():
            if listener is not None and dub.lines is not None and dub.stems is None:
                found.notes += characters.notes_of_lines(title, dub, info, store, listener)
        if made:
            found.notes += made.notices
            found.notes.append(
                f"{title.id} is a photograph: no performance to compare with"
                + (", and the general prior drives the lips." if prior else ".")
            )
            found.notes += attempt(at, video, said_of_face, title, config, store) or []
        elif not info.audio and original.dialogue is None:
            found.notes.append(
                f"{title.id} has no sound of its own: there is no baseline to compare with"
                + (", and the general prior drives the lips instead of this film's own dialogue." if prior else ".")
            )
    if config.quality == "draft":
        found.notes.append(
            "A draft: masters have half the picture's size, simpler mouths and .draft in their names; not for delivery."
        )
    if not config.sync.score:
        found.notes.append("The takes are not measured: there are no numbers, and no shot asks for review.")
    if signing is not None and signer is not None:
        masters = [name for t in found.titles for d in t.dubs for name in (d.master, *d.others)]
        found.notes += said_of_signing(signer, signing, masters)
    films = [ShownFilm(t.frames, t.rate, t.start_tc, None) for t in found.titles]
    attempt(("generator",), (), conditions_fit, manifest, films, store)
    found.notes += said_of_generators(manifest)
    attempt(None, (), store.check)
    _disk(found, store, 1 if signing is None else 2)
    found.notes += other_packages()
    found.versions = {**versions(), "generator": models[0] or "unusable", "sync expert": models[1] or "unusable"}
    if all(models):
        found.devices = devices(manifest, config)
    return found


class _Attempts:
    """Calls that may raise InputError: kept as a problem, each once, with the line of the key that is at fault before
    it. base: where in the manifest, None for what is not in it; key: below that, unless the error names another."""

    def __init__(self, found: Findings, store: Store, manifest: Manifest) -> None:
        self._found, self._named, self._manifest = found, store.copies.named, manifest

    def __call__(
        self, base: Location | None, key: Location, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        try:
            with during(f"looking at {'this machine' if base is None else self._manifest.place(*base, *key)}"):
                return call(*args, **kwargs)
        except InputError as e:
            text = str(e)
            if base is not None:
                at = *base, *(e.at or key)
                text = f"{self._manifest.place(*at)}: {text}"
                if isinstance(e.__cause__, FileNotFoundError) and self._manifest.is_relative(*at):
                    text += " A path in a manifest starts at the manifest's own folder."
            problem = type(e)(self._named(text))
            if str(problem) not in map(str, self._found.problems):
                self._found.problems.append(problem)
            return None


def _expert(config: Config) -> str:
    """`lips@hash12`. Raises ModelError for missing weights."""
    from dubbing import experts

    return experts.identity(config.sync.expert, config.models.folder)


def devices(manifest: Manifest, config: Config) -> dict[str, str]:
    """Where generator and sync expert will run on this machine: `wav2lip on cuda (NVIDIA H200)`."""
    from dubbing import experts

    expert = experts.find(config.sync.expert)
    where = f"{expert.name} on {device.described(device.default(expert.profits_from_gpu))}"
    return {"generator": devices_of(manifest, config), "sync expert": where}


def _cuts(shots: Path | Uri, video: media.VideoInfo, film: Path, store: Store) -> list[Shot]:
    """The shots of a cut list, read against what the film's header promises. That an edit lies outside the film is said
    only of decoded frames. Raises ManifestError."""
    try:
        path = store.local(shots)
    except MediaError as e:
        raise ManifestError(f"there is no file {shots}; 'shots' names a cut list (.edl or .otio).") from e
    count, start = video.frames_hint, video.start_tc or "00:00:00:00"
    promised = Timeline(np.arange(count), 1 / video.rate, count, video.rate, start)
    try:
        cuts = read_cuts(path, promised, lambda frames: media.changes(film, media.timeline(film))(frames))
    except OutsideFilm:
        promised = media.timeline(film)
        cuts = read_cuts(path, promised, media.changes(film, promised))
    edges = [0, *cuts, len(promised)]
    return [Shot(n, *ends) for n, ends in enumerate(zip(edges[:-1], edges[1:], strict=True), 1)]


def _picture(title: Title, store: Store) -> media.MediaInfo:
    path = title.video
    if not media.check_sequence(store.local(path)):
        for key in ("rate", "colour"):
            if getattr(title, key) is not None:
                raise ManifestError(f"{path} is no sequence of pictures; '{key}' is for these: remove it.", at=(key,))
    info = media.probe(store.local(path))
    if info.video is None:
        raise MediaError(f"{path} has no video stream; 'video' must be a film.")
    return info


def _fields(path: Path | Uri, video: media.VideoInfo, store: Store, sounds: Sounds) -> str:
    """A note on what a film that is marked as interlaced holds. Raises UnsupportedMedia where that is not whole
    pictures."""
    return sounds.carriage(store.local(path)).said(path, video.rate)


def _decode(path: Path, on_frames: Callable[[int], None]) -> Timeline:
    """The exact timeline, by decoding every picture. Raises DamagedMedia."""
    scan = media.scan(path, width_px=16)
    for _ in scan:
        on_frames(1)
    if 0 < len(scan.timeline) < scan.frames_hint:
        raise MediaError(
            f"{path} is truncated: its header promises {several(scan.frames_hint, 'frame')}, {len(scan.timeline)} can "
            "be decoded."
        )
    return scan.timeline


def _dub(
    title: Title,
    dub: Dub,
    picture: media.MediaInfo,
    line: Timeline | None,
    config: Config,
    store: Store,
    sounds: Sounds,
    choices: Sequence[MasterChoice],
) -> DubFinding:
    audio, video = store.local(dub.audio), store.local(title.video)
    info = media.probe(audio)
    if not info.audio:
        raise MediaError(f"{dub.audio} has no sound stream; 'audio' must be the {dub.language} mix.")
    rate_hz, samples = info.audio[0].rate_hz, sounds.length(audio)
    if dub.dialogue is None:
        dialogue.named(dub.audio, info, dub.track, dub.channels)
    over = _fits(dub.audio, samples, rate_hz, video, picture, line, config)
    masters = look_at_masters(title, dub, picture, info, choices, stamp_of(video)[0])
    if scheme_of(store.shown(store.root)) and any(one.muxer == media.SEQUENCE for one in masters.deliveries):
        raise MediaError(f"{title.id}: a sequence of pictures is written to a folder, and not to an address.")
    loud = _over_full_scale(dub.audio, info, store, sounds)
    names = [one.file(title.id, dub.language, config.quality == "draft") for one in masters.deliveries]
    return DubFinding(
        dub.language, dub.audio, info.audio[0].codec, info.audio[0].channels, rate_hz, samples, over,
        names[0], tuple(names[1:]), masters.room_bytes, masters.sound, masters.notices + ((loud,) if loud else ()),
    )  # fmt: skip


def _dialogue(
    file: Path | Uri, whose: str, named: Dub | Original, title: Title, picture: media.MediaInfo, line: Timeline | None,
    config: Config, store: Store, sounds: Sounds,
) -> None:  # fmt: skip
    """Raises MediaError where a dialogue is no sound, lacks a track or channel that is named, or does not fit the
    picture. whose: `original`, or a dub's language."""
    path = store.local(file)
    info = media.probe(path)
    if not info.audio:
        raise MediaError(f"{file} has no sound stream; 'dialogue' must be the {whose} dialogue.")
    dialogue.named(file, info, named.track, named.channels)
    _fits(file, sounds.length(path), info.audio[0].rate_hz, store.local(title.video), picture, line, config)


def _heard(title: Title, picture: media.MediaInfo, store: Store, listener: Listener) -> list[SoundFinding]:
    """Which tracks and channels of the title's files are listened to."""
    own = title.original or Original()
    wanted: list[tuple[str, Path | Uri, int | None, tuple[str, ...] | None, str | None]] = []
    if own.dialogue is not None or picture.audio:
        wanted.append(("original", own.dialogue or title.video, own.track, own.channels, None))
    for dub in title.dubs:
        stems = sorted((dub.stems or {}).items())
        wanted += [(f"{dub.language} {name}", file, None, None, dub.language) for name, file in stems]
        if not stems:
            wanted.append((dub.language, dub.dialogue or dub.audio, dub.track, dub.channels, dub.language))
    found = []
    for whose, file, track, channels, language in wanted:
        path = store.local(file)
        it = dialogue.choose(path, media.probe(path), listener, track=track, channels=channels, language=language)
        others = {one.name: one.speech_s for one in it.others}
        found.append(SoundFinding(whose, file, it.said, it.chosen.speech_s, others))
    return found


def _doubts(title: Title, heard: Sequence[SoundFinding]) -> list[str]:
    """A note where the original has next to no speech and a dub has much."""
    if not heard or heard[0].whose != "original":
        return []
    most = max(heard[1:], key=lambda one: one.speech_s, default=None)
    if most is None or most.speech_s < _MUCH_S or heard[0].speech_s >= _PART * most.speech_s:
        return []
    return [
        f"{title.id}: {heard[0].file.name} has {heard[0].speech_s:.1f} s of speech and {most.file.name} "
        f"{most.speech_s:.1f} s: the original's sound looks like music and effects, and who speaks will be chosen by "
        "sight. Name its dialogue in the manifest (`original: {dialogue: FILE}`, or `{track: 2}`)."
    ]


def _keeps_floats(info: media.MediaInfo) -> bool:
    """Whether its sound is stored as floating-point numbers, which may be over full scale, or no numbers at all."""
    return info.audio[0].codec.startswith("pcm_f") or info.audio[0].codec == "wavpack"


def _over_full_scale(path: Path | Uri, info: media.MediaInfo, store: Store, sounds: Sounds) -> str:
    """A note where sound that is stored as floats goes over full scale, else nothing. Raises DamagedMedia."""
    peak = sounds.peak(store.local(path))
    if peak <= 1.0 or not _keeps_floats(info):
        return ""
    return (
        f"{path.name} goes over full scale (its peak is {20 * math.log10(peak):+.1f} dBFS): it stays as it is, and "
        "what plays it may clip it."
    )


def _fits(
    path: Path | Uri,
    samples: int,
    rate_hz: int,
    film: Path,
    picture: media.MediaInfo,
    line: Timeline | None,
    config: Config,
) -> float:
    """How many frames longer the sound is than the picture. Raises MediaError beyond the tolerance.

    A header's promise is believed when the sound agrees with it; a refusal rests on decoded frames.
    """
    video = picture.video
    assert video is not None
    allowed = config.length_tolerance_frames

    def over(duration_s: Fraction) -> float:
        return float((samples - samples_at(duration_s, rate_hz)) * video.rate / rate_hz)

    if line is None:
        promised = [Fraction(video.frames_hint) / video.rate] if video.frames_hint else []
        promised += [picture.duration_s] if picture.duration_s else []
        near = min((over(d) for d in promised), key=abs, default=math.inf)
        if abs(near) <= allowed or config.length_difference == "allow":
            return near if promised else 0.0
        line = media.timeline(film)
    far = over(line.duration)
    if abs(far) > allowed and config.length_difference == "refuse":
        raise MediaError(
            f"{path} is {abs(far):.1f} frames {'longer' if far > 0 else 'shorter'} than the picture: "
            f"{_hms(Fraction(samples, rate_hz))} of sound, {_hms(line.duration)} of picture "
            f"({several(len(line), 'frame')}). Up to {allowed:g} frames are accepted; `length_difference: allow` in a "
            "config file delivers it as it is."
        )
    return far


def _hms(time_s: Fraction) -> str:
    """`0:00:51.051`."""
    ms = int(time_s * 1000 + Fraction(1, 2))
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _title(
    title: Title, info: media.MediaInfo, line: Timeline | None, dubs: tuple[DubFinding, ...],
    variable: bool, sounds: tuple[SoundFinding, ...], moves: bool,
) -> TitleFinding:  # fmt: skip
    video = info.video
    assert video is not None
    frames = len(line) if line else video.frames_hint
    duration = line.duration if line else info.duration_s or Fraction(frames) / video.rate
    return TitleFinding(
        title.id, title.video, video.codec, info.upright_size, video.bit_depth, video.rate, frames,
        line is not None, float(duration), video.start_tc, bool(info.audio), dubs, variable, sounds,
        None if video.grid.same else video.grid.coded,
        round(_HEAD_BYTES * math.prod(info.upright_size)) if moves else _TAKE_BYTES,
    )  # fmt: skip


def _disk(found: Findings, store: Store, copies: int) -> None:
    """Free space against a guess that leans to too much; already finished work is not subtracted. copies: how often a
    master lies there."""
    for title in found.titles:
        for dub in title.dubs:
            pcm = dub.samples * dub.channels * 3
            rendered = title.frames if dub.asked_frames is None else sum(b - a for a, b in dub.asked_frames)
            windows = len(film_windows((), title.frames, title.rate)) > 1  # are there while they are joined
            found.disk_needed += (
                dub.room_bytes * (copies + windows) + pcm * (1 + len(dub.others)) + rendered * title.take_bytes
            )
    found.disk_free = shutil.disk_usage(standing(store.root)).free
    if found.disk_free < found.disk_needed:
        found.notes.append(
            f"The disk may be too small: about {found.disk_needed / 1e9:.1f} GB may be needed, "
            f"{found.disk_free / 1e9:.1f} GB are free. A run that fills it can go on once there is space."
        )
