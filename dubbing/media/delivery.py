"""The container and codecs of a master, decided from headers before any work starts.

One function, `delivery`: the container, the codecs, and what the user should be told; or the one
sentence why not. It opens nothing and encodes nothing (`master` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

from dubbing.errors import MediaError, UnsupportedMedia, several
from dubbing.master_choice import SEQUENCES, MasterChoice
from dubbing.media.asked import asked_picture, check_copied
from dubbing.media.colour import layout_of
from dubbing.media.containers import (
    EXTENSIONS,
    FURTHER_PICTURES,
    LOSSLESS,
    LOSSY,
    MUXERS,
    SAME_FAMILY,
    SUBTITLES,
    containers_of,
)
from dubbing.media.encoders import DECODED, Encoder, Encoding
from dubbing.media.numbered import CONTAINER
from dubbing.media.numbered_files import MOST_NAMED
from dubbing.media.probe import AudioInfo, MediaInfo, VideoInfo
from dubbing.sequences import PRIMARIES, TRANSFERS

__all__ = [
    "DRAFT", "Delivery", "TrackDelivery", "delivery", "picture_of",
]  # fmt: skip

DRAFT = ".draft"  # in the names of masters that are not for delivery

_SAY_ASPECT = ("h264", "hevc", "av1")
"""Codecs that say themselves what shape a pixel has; of the others PyAV does not let Matroska say it."""
_NO_FIELDS = ("hevc", "av1", *SEQUENCES)
_ROOM = 1.5  # of the source's size
_BYTES_A_PIXEL = 1.0  # of pictures that stand alone: ProRes 422 HQ takes 0.45, FFV1 more than 1
_PLAIN = MasterChoice()
_MXF_RATES = (*(Fraction(n * 1000, 1001) for n in (24, 30, 60)), *map(Fraction, (24, 25, 30, 50, 60)))


@dataclass(frozen=True)
class TrackDelivery:
    """How one sound track of a master is made. stream: its index in the dub's file; copied: packet by packet, else
    decoded to PCM; codec: what it is in."""

    stream: int
    copied: bool
    codec: str


@dataclass(frozen=True)
class Delivery:
    """How a master is made.

    extension: with its dot; muxer: FFmpeg's name; picture: how the picture is encoded; sound: its tracks in order;
    notices: sentences for the user about what differs from the source; suffix: a part of the file's name, or '';
    kept: tracks of the film's own sound, which follow the dub's; left_out: indices of the film's streams that the
    container cannot carry.
    """

    extension: str
    muxer: str
    picture: Encoding
    sound: tuple[TrackDelivery, ...]
    notices: tuple[str, ...]
    suffix: str = ""
    kept: tuple[TrackDelivery, ...] = ()
    left_out: frozenset[int] = frozenset()

    def file(self, title: str, language: str, draft: bool) -> str:
        """The master's name: `reel.fr.mp4`, of a draft `reel.fr.draft.mp4`, so that nobody takes one for the other;
        with a suffix `reel.fr.proxy.mp4`."""
        suffix = f".{self.suffix}" if self.suffix else ""
        return f"{title}.{language}{DRAFT if draft else ''}{suffix}{self.extension}"

    def wanted(self, video: VideoInfo) -> VideoInfo:
        """What the master's header should say of its picture. video: the source's."""
        converts = self.picture.converts
        if converts is None:
            return video
        if self.picture.codec not in ("h264", "hevc"):  # as was told
            video = replace(video, mastering=None, light=None)
        pix_fmt = DECODED.get((self.picture.codec, converts.pix_fmt), converts.pix_fmt)
        made = replace(video, pix_fmt=pix_fmt, matrix=converts.matrix, range=2 if converts.full_after else 1)
        if self.muxer != CONTAINER:
            return made
        named = self.picture.codec == "dpx" and video.rate <= MOST_NAMED
        code = (video.start_tc or "").replace(";", ":") if named else ""
        return replace(
            made, start_tc=code or None, chroma_location=None,
            transfer=video.transfer if video.transfer in TRANSFERS.values() else None,
            primaries=video.primaries if video.primaries in PRIMARIES.values() else None,
        )  # fmt: skip

    def room(self, info: MediaInfo, size_bytes: int) -> float:
        """About how many bytes it may take at most, its sound left out. info, size_bytes: of the source."""
        if self.picture.converts is None or not self.picture.encoder.intra or info.video is None:
            return size_bytes * _ROOM
        pixels = info.video.width * info.video.height * info.video.frames_hint
        if self.muxer == CONTAINER:
            return pixels * (4 if self.picture.pix_fmt in ("gbrp", "gbrap", "gbrp10le") else 8)
        return pixels * _BYTES_A_PIXEL


def delivery(
    info: MediaInfo, sound_info: MediaInfo, tracks: Sequence[int] | None = None, choice: MasterChoice = _PLAIN
) -> Delivery:
    """How the picture of `info` is delivered with the sound of `sound_info`: all its tracks, or those of these numbers,
    counted from 1, in that order; as `choice` asks, and as the source where it says nothing.

    mp4, mov and Matroska stay what they are; WebM becomes Matroska (same clock, same subtitles); all
    else becomes mp4, whose clock can be any; mp4 becomes mov where the sound is PCM, and each what carries its codec.
    The codec is the source's own where `encoders` knows it. Subtitles, further pictures and covers are copied.
    Raises UnsupportedMedia when anything but the source's own sound would be lost, or what is asked for cannot be made;
    MediaError without a picture, a sound stream or a track of that number.
    """
    picture, told = picture_of(info, choice)
    video = info.video
    assert video is not None
    if not sound_info.audio:
        raise MediaError(f"{sound_info.path} has no sound stream.")
    notices = list(told)
    own = list(info.audio) if choice.sound is not None and choice.sound.keep_source_tracks else []
    chosen = [sound_info.track(number) for number in tracks] if tracks else list(sound_info.audio)
    if choice.container is not None:
        muxer = _asked_muxer(info, video, picture.encoder, choice.container)
    else:
        muxer = _muxer(info, video)
        if muxer == "mxf" and not _fits_mxf(info, video, [(sound_info, chosen), (info, own)]):
            muxer = ""
        if muxer not in picture.encoder.muxers:
            muxer = picture.encoder.muxers[0]
            if "mov" in info.container or "matroska" in info.container:
                notices.append(
                    f"{info.path.name} becomes a {EXTENSIONS[muxer]}, which carries {picture.encoder.shown}."
                )
    if muxer == "matroska" and video.sample_aspect != 1 and picture.codec not in _SAY_ASPECT:
        shape = f"{picture.encoder.shown} with pixels of {str(video.sample_aspect).replace('/', ':')}"
        muxer = "mov" if choice.container is None and "mov" in picture.encoder.muxers else ""
        if not muxer:
            raise UnsupportedMedia(
                f"{info.path} would be {shape}, which is lost in its Matroska: ask for ProRes, v210 or H.264 in mov."
            )
        notices.append(f"{info.path.name} becomes a {EXTENSIONS[muxer]}, which keeps {shape}.")
    sound, kept = _tracks(muxer, sound_info, chosen), _tracks(muxer, info, own)
    if muxer == "mp4" and any(track.codec.startswith("pcm") for track in (*sound, *kept)):
        if choice.container is not None:
            whose, of = (sound_info, chosen) if any(t.codec.startswith("pcm") for t in sound) else (info, own)
            raise UnsupportedMedia(
                f"{whose.path.name} ({of[0].codec}) cannot be in an mp4 sample for sample: ask for "
                "`container: mov` or `mkv`, or give the sound in FLAC."
            )
        muxer = "mov" if "mov" in picture.encoder.muxers else "matroska"
        if "mov" in info.container:
            extension = EXTENSIONS[muxer]
            notices.append(f"{info.path.name} becomes a {extension}: mp4 does not carry this sound without loss.")
        sound, kept = _tracks(muxer, sound_info, chosen), _tracks(muxer, info, own)
    if choice.container is not None:
        pass
    elif "mov" not in info.container and "matroska" not in info.container and muxer != info.container:
        kind = "a sequence of pictures" if info.container == CONTAINER else info.container
        notices.append(f"{info.path.name} ({kind}) is delivered as {EXTENSIONS.get(muxer, 'one')}.")
    elif "matroska" in info.container and info.path.suffix.lower() != EXTENSIONS[muxer]:
        notices.append(f"{info.path.name} is delivered as {EXTENSIONS[muxer]}.")
    if picture.notice:
        notices.append(f"{info.path.name} {picture.notice}.")
    if muxer == "matroska" and 1 / video.time_base != 1000:
        notices.append(f"{info.path.name}: frame times are rounded to milliseconds, which Matroska counts.")
    if picture.codec == "dpx" and muxer == CONTAINER and video.start_tc and video.rate > MOST_NAMED:
        notices.append(
            f"{info.path.name} has {video.rate} frames a second, and DPX's timecode counts to {MOST_NAMED}: its "
            "pictures have none."
        )
    if muxer == "mxf" and info.chapters:
        notices.append(f"{info.path.name} has {several(info.chapters, 'chapter')}, which MXF does not carry.")
    if muxer == "mxf" and sound_info.duration_s is not None and video.frames_hint:
        notices += _ends_with_picture(sound_info.path.name, sound_info.duration_s - video.frames_hint / video.rate)
    if video.captions and not picture.encoder.captions:
        notices.append(f"{info.path.name} has captions in its pictures, which {picture.encoder.shown} does not carry.")
    if video.dynamic:
        notices.append(f"{info.path.name} has {' and '.join(video.dynamic)} metadata, which is not in the master.")
    for whose, of, carried in ((sound_info, chosen, sound), (info, own, kept)):
        for codec in dict.fromkeys(one.codec for one, made in zip(of, carried, strict=True) if not made.copied):
            notices.append(f"{whose.path.name} ({codec}) is delivered as PCM, sample for sample.")
    left_out = _check_others(info, muxer, notices, choice.container is not None or choice.codec is not None)
    tag = picture.tag if muxer != "mxf" else ""
    extension = f".{picture.codec}" if muxer == CONTAINER else EXTENSIONS[muxer]
    if picture.codec == "hevc" and muxer in ("mp4", "mov"):
        tag = "hev1" if video.tag == "hev1" or picture.grouped else "hvc1"
        if tag != video.tag and picture.grouped:
            notices.append(
                f"{info.path.name}: to hold copied pictures the master is hev1, which Apple's players refuse"
            )
    return Delivery(
        extension, muxer, replace(picture, tag=tag), sound, tuple(notices), choice.suffix or "", kept, left_out
    )


def picture_of(info: MediaInfo, choice: MasterChoice = _PLAIN) -> tuple[Encoding, tuple[str, ...]]:
    """How the picture is encoded, and what the user should know of it. Raises UnsupportedMedia for one that would be
    changed without being asked, or cannot be as it is asked; MediaError where there is none."""
    name, video = info.path, info.video
    if video is None:
        raise MediaError(f"{name} has no video stream.")
    layout = layout_of(video.pix_fmt)
    picture, told = (None, ()) if layout is None else asked_picture(info, video, choice)
    if picture is None or layout is None:
        if video.alpha:
            raise UnsupportedMedia(f"{name} has transparency or a palette, which a master would lose: remove it first.")
        allowed = "4:2:0, 4:2:2 or 4:4:4 YUV, or planar RGB"
        raise UnsupportedMedia(f"{name} is in {video.pix_fmt}, and masters are {allowed}: convert it.")
    if video.alpha and not layout.alpha:
        raise UnsupportedMedia(f"{name} has transparency or a palette, which a master would lose: remove it first.")
    if video.interlaced and video.codec == "hevc":
        raise UnsupportedMedia(f"{name} is interlaced HEVC, each picture a field: convert it to ProRes or H.264.")
    unmarked = picture.codec in _NO_FIELDS or (picture.codec == "dnxhd" and "profile" in picture.options)
    if video.interlaced and unmarked:
        raise UnsupportedMedia(
            f"{name} is marked as interlaced, and {picture.encoder.shown} has no such marks for whole pictures: ask "
            "for H.264, ProRes or FFV1."
        )
    if video.interlaced and picture.codec == "h264" and layout.sub[1] and video.height % 4:
        raise UnsupportedMedia(
            f"{name} is interlaced with {video.height} lines, and H.264 codes fields of {video.pix_fmt} in steps of 4: "
            "crop it, or convert it to ProRes."
        )
    for pix_fmt in dict.fromkeys((video.pix_fmt, picture.pix_fmt)):
        across, down = (layout_of(pix_fmt) or layout).sub
        if video.width % (1 << across) or video.height % (1 << down):
            raise UnsupportedMedia(f"{name} is {video.width}x{video.height}, and {pix_fmt} needs even sizes: crop it.")
    if video.matrix9 is not None and not _pure_turn(video.matrix9, video.rotation_deg):
        raise UnsupportedMedia(f"{name} is to be shown mirrored or askew, not by quarter turns: turn its pictures.")
    if choice.untouched == "copy":
        check_copied(info, video, picture)
    return replace(picture, untouched=choice.untouched), told


def _pure_turn(matrix9: tuple[int, ...], degrees: int) -> bool:
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    return (matrix9[0], matrix9[1], matrix9[3], matrix9[4]) == (cosine * one, sine * one, -sine * one, cosine * one)


def _muxer(info: MediaInfo, video: VideoInfo) -> str:
    if info.container in ("mxf", CONTAINER):
        return info.container
    if "matroska" in info.container and 1 / video.time_base == 1000:
        return "matroska"
    quicktime = info.brand.strip() == "qt" or (not info.brand and info.path.suffix.lower() in (".mov", ".qt"))
    return "mov" if "mov" in info.container and quicktime else "mp4"


def _fits_mxf(info: MediaInfo, video: VideoInfo, sounds: Sequence[tuple[MediaInfo, Sequence[AudioInfo]]]) -> bool:
    """Whether a film can stay in MXF with this sound, and with all else that is in it."""
    further = info.subtitles or any(other.kind in ("video", "cover") for other in info.others)
    with suppress(UnsupportedMedia):
        made = [_tracks("mxf", whose, tracks) for whose, tracks in sounds]
        return bool(made) and video.rate in _MXF_RATES and not (video.rotation_deg or further)
    return False


def _asked_muxer(info: MediaInfo, video: VideoInfo, encoder: Encoder, container: str) -> str:
    """FFmpeg's name of a container that is asked for. Raises UnsupportedMedia where it cannot carry the film."""
    muxer, name = MUXERS.get(container, container), info.path.name
    if muxer not in encoder.muxers:
        able = ", ".join(containers_of(encoder))
        other = "; or name another `codec`" if CONTAINER in encoder.muxers else ""
        what = f"a master in {encoder.shown} cannot be in {container}"
        raise UnsupportedMedia(f"{name}: {what}; it may be in {able}{other}.")
    if muxer == "mxf" and video.rate not in _MXF_RATES:
        raise UnsupportedMedia(
            f"{name} has {video.rate} frames a second, and MXF has {', '.join(map(str, _MXF_RATES))}: ask for `mov`."
        )
    if muxer in ("mxf", CONTAINER) and video.rotation_deg:
        which = "MXF" if muxer == "mxf" else "a sequence of pictures"
        raise UnsupportedMedia(f"{name} is to be shown turned, which {which} cannot say: ask for `container: mov`.")
    if muxer == CONTAINER and video.sample_aspect != 1:
        raise UnsupportedMedia(
            f"{name} has pixels that are not square, which a sequence of pictures cannot say: ask for `container: mov`."
        )
    return muxer


def _ends_with_picture(name: str, over_s: Fraction) -> list[str]:
    """What the user should know of a sound in MXF that does not last as long as the picture."""
    if abs(over_s) < Fraction(1, 10_000):
        return []
    longer = f"{name} is {1000 * abs(float(over_s)):.1f} ms {'longer' if over_s > 0 else 'shorter'} than the picture"
    what = "its end is not in the master" if over_s > 0 else "silence follows it"
    return [f"{longer}, and MXF has both equally long: {what}."]


def _tracks(muxer: str, info: MediaInfo, tracks: Sequence[AudioInfo]) -> tuple[TrackDelivery, ...]:
    return tuple(_sound(muxer, info, track) for track in tracks)


def _sound(muxer: str, info: MediaInfo, sound: AudioInfo) -> TrackDelivery:
    """How a track is delivered. Lossy codecs that must be decoded become float PCM."""
    family = next((name for name in ("matroska", "mov") if name in info.container), "")
    own = family == ("matroska" if muxer == "matroska" else "mov")
    exact = set(LOSSLESS[muxer])
    if own or not family:
        exact |= LOSSY[muxer]
    if own:
        exact |= SAME_FAMILY.get(muxer, set())
    if muxer == "mp4":
        exact |= {codec for codec in LOSSLESS["mov"] if codec.startswith("pcm")}
    if muxer == "mxf" and sound.rate_hz != 48_000:
        raise UnsupportedMedia(
            f"{info.path.name} has {sound.rate_hz} Hz, and sound in MXF has 48,000: ask for `container: mov`."
        )
    if sound.codec in exact:
        return TrackDelivery(sound.index, True, sound.codec)
    kind = sound.sample_format.removesuffix("p")
    if muxer == "mxf" and (kind in ("flt", "dbl") or sound.bits > 24):
        raise UnsupportedMedia(
            f"{info.path.name} ({sound.codec}) has more than 24 bits a sample, and MXF has 16 or 24: ask for "
            "`container: mov`."
        )
    if kind in ("flt", "dbl"):
        return TrackDelivery(sound.index, False, "pcm_f32le" if kind == "flt" else "pcm_f64le")
    deep = "pcm_s16le" if sound.bits <= 16 else "pcm_s24le" if sound.bits <= 24 else "pcm_s32le"
    return TrackDelivery(sound.index, False, deep)


def _check_others(info: MediaInfo, muxer: str, notices: list[str], asked: bool) -> frozenset[int]:
    """The streams that are left out, with a notice of each: of a container that was asked for, those that it cannot
    carry. Raises UnsupportedMedia for such a stream where nobody asked."""
    extension, left = EXTENSIONS.get(muxer, "a sequence"), set()
    further = [(other.index, other.kind, other.codec) for other in info.others if other.kind in ("video", "cover")]
    for index, kind, codec in [*((sub.index, "subtitle", sub.codec) for sub in info.subtitles), *further]:
        if codec in (SUBTITLES if kind == "subtitle" else FURTHER_PICTURES)[muxer]:
            continue
        what = f"{codec} subtitles" if kind == "subtitle" else f"another {kind} stream ({codec})"
        if not asked:
            raise UnsupportedMedia(
                f"{info.path} has {what}, which {extension} cannot carry: take stream {index} out, or put the film "
                "into Matroska."
            )
        left.add(index)
        notices.append(f"{info.path.name} has {what}, which {extension} cannot carry: not in this master.")
    for other in info.others:
        if other.kind == "data" and other.codec is not None:
            notices.append(f"{info.path.name}: data stream {other.index} ({other.codec}) is not in the master.")
    return frozenset(left)
