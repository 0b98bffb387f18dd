"""The encoding of a picture as a master is asked for, from the source's header: or the one sentence why not.

It says which of an encoder's formats is nearest to the source's, and opens nothing. Which container takes what is for
`delivery`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dubbing.errors import UnsupportedMedia
from dubbing.master_choice import PRESETS, SEQUENCES, MasterChoice
from dubbing.media.colour import HDR, Layout, layout_of
from dubbing.media.convert import Conversion
from dubbing.media.encoders import ENCODERS, PROFILES, Encoder, Encoding, as_sequence, as_source, marks_of
from dubbing.media.numbered import CONTAINER
from dubbing.media.numbered_files import writes_exr
from dubbing.media.probe import MediaInfo, VideoInfo

__all__ = ["COPIED_IN_GROUPS", "FFMPEG", "asked_picture", "check_copied", "shown_formats"]

FFMPEG = {"dnxhr": "dnxhd"}
"""FFmpeg's names of codecs, where they are others."""
COPIED_IN_GROUPS = ("h264", "hevc")
"""Codecs of which groups of pictures that do not change may be copied where that is asked for."""
_CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}
_MOST_CRF = {"libx264": 51, "libx265": 51, "libsvtav1": 63}


def asked_picture(info: MediaInfo, video: VideoInfo, choice: MasterChoice) -> tuple[Encoding | None, tuple[str, ...]]:
    """How a picture is encoded as `choice` asks, and what the user should know of it; None where nothing but the
    source's own encoding was asked for, and nothing here keeps it.

    Where depth and chroma are not asked for, they are those that lose least. Raises UnsupportedMedia: the codec has no
    such profile, depth, chroma, quality or preset.
    """
    own = as_sequence(video) if info.container == CONTAINER else as_source(video)
    asked = _codec(info, choice, own)
    codec = FFMPEG.get(asked, asked)
    encoder = ENCODERS.get(codec)
    if encoder is None:
        return None, ()
    rated = {name: getattr(choice, name) for name in ("crf", "preset", "bitrate") if getattr(choice, name) is not None}
    if choice.codec is not None or choice.bitrate is not None or encoder.name in _MOST_CRF:
        _check_rate(info, encoder, rated)
    if codec == "exr" and own is not None and own.codec == codec and not writes_exr():
        raise UnsupportedMedia(f"{info.path.name}: OpenEXR is written by a library: pip install 'dubbing[exr]'.")
    if own is not None and own.codec == codec and (choice.profile, choice.bit_depth, choice.chroma) == (None,) * 3:
        return _rated(own, choice), ()
    if video.width < encoder.least[0] or video.height < encoder.least[1]:
        least = "{}x{}".format(*encoder.least)
        raise UnsupportedMedia(
            f"{info.path.name} is {video.width}x{video.height}, and {encoder.shown} has at least {least}."
        )
    if codec == "exr":
        raise UnsupportedMedia(
            f"{info.path.name}: OpenEXR holds linear light, and which light a graded picture stands for is nobody's to "
            "guess: only a sequence of OpenEXR is delivered so; ask for dpx, tiff or png."
        )
    pix_fmt = _format(info, video, encoder, codec, choice)
    if own is not None and (own.codec, own.pix_fmt) == (codec, pix_fmt) and _same_profile(own, choice):
        return _rated(own, choice), ()
    options = dict(encoder.options)
    profile = choice.profile or _default_profile(codec, pix_fmt)
    if codec == "prores":
        options |= {"profile": profile} | ({"alpha_bits": "16"} if pix_fmt.startswith("yuva") else {})
    elif codec == "dnxhd":
        options["profile"] = f"dnxhr_{profile}"
    made = Encoding(codec, encoder, pix_fmt, options, converts=Conversion.between(video, pix_fmt, codec))
    made = replace(made, marks={} if codec == "dnxhd" else marks_of(encoder, video))  # DNxHR has no fields
    return _rated(made, choice), tuple(_told(info, video, made, choice))


def _codec(info: MediaInfo, choice: MasterChoice, own: Encoding | None) -> str:
    """The codec that is asked for: of a sequence its container's name. Raises UnsupportedMedia where two are named."""
    if choice.container not in SEQUENCES:
        return choice.codec or (own.codec if own else "")
    if choice.codec is not None:
        raise UnsupportedMedia(
            f"{info.path.name}: a master in {choice.codec} cannot be a sequence of {choice.container}; name one of the "
            "two."
        )
    return choice.container


def _rated(made: Encoding, choice: MasterChoice) -> Encoding:
    """With the quality that is asked for, where the encoder is told one."""
    if made.encoder.name not in _MOST_CRF:
        return made
    rate = int(choice.bitrate or 0)
    return replace(made, crf=choice.crf, preset=choice.preset, bit_rate=rate or made.bit_rate)


def _same_profile(own: Encoding, choice: MasterChoice) -> bool:
    """Whether the profile that is asked for is the source's."""
    return choice.profile is None or own.options.get("profile", "").removeprefix("dnxhr_") == choice.profile


def _check_rate(info: MediaInfo, encoder: Encoder, rated: dict[str, Any]) -> None:
    """Raises UnsupportedMedia where the encoder is not told its quality so."""
    if rated and encoder.name not in _MOST_CRF:
        raise UnsupportedMedia(
            f"{info.path.name}: {next(iter(rated))!r} is for H.264, HEVC and AV1; {encoder.shown} has none: remove it."
        )
    if rated.get("crf", 0) > _MOST_CRF.get(encoder.name, 63):
        raise UnsupportedMedia(
            f"{info.path.name}: 'crf' is {rated['crf']}, and {encoder.shown} has 0 to {_MOST_CRF[encoder.name]}."
        )
    preset = rated.get("preset")
    if preset is not None and isinstance(preset, int) != (encoder.name == "libsvtav1"):
        allowed = "a number from 0 to 13" if encoder.name == "libsvtav1" else ", ".join(PRESETS)
        raise UnsupportedMedia(f"{info.path.name}: 'preset' is {preset}, and of {encoder.shown} it is {allowed}.")


def _format(info: MediaInfo, video: VideoInfo, encoder: Encoder, codec: str, choice: MasterChoice) -> str:
    """The encoder's format that is asked for and loses least of the source's."""
    formats = {f for f in encoder.formats if not f.startswith("yuvj") or f == video.pix_fmt}
    if choice.profile is not None:
        known = PROFILES.get(codec, {})
        if choice.profile not in known:
            has = f"its profiles are {', '.join(known)}" if known else "it has none: give bit_depth and chroma"
            raise UnsupportedMedia(f"{info.path.name}: {encoder.shown} has no profile {choice.profile!r}; {has}.")
        formats &= known[choice.profile]
    found = []
    for name in sorted(formats):
        layout = layout_of(name)
        assert layout is not None
        if choice.bit_depth in (None, layout.depth) and choice.chroma in (None, _CHROMA[layout.sub]):
            if not (layout.rgb and choice.chroma):
                found.append((_loss(video, layout), name))
    if not found:
        wanted = ", ".join(
            text for text in (choice.profile and f"profile {choice.profile}",
                              choice.bit_depth and f"{choice.bit_depth} bits", choice.chroma) if text
        )  # fmt: skip
        raise UnsupportedMedia(
            f"{info.path.name}: a master in {encoder.shown} cannot have {wanted}; it may have {shown_formats(formats)}."
        )
    return min(found)[1]


def _loss(video: VideoInfo, made: Layout) -> tuple[int, ...]:
    """What a picture loses in another layout, the worst first, then by how much it only grows."""
    was = layout_of(video.pix_fmt) or Layout((0, 0), video.bit_depth, rgb=True)
    lost = [max(0, b - a) for a, b in zip(was.sub, made.sub, strict=True)]
    gained = [max(0, a - b) for a, b in zip(was.sub, made.sub, strict=True)]
    return (
        int(was.alpha and not made.alpha), max(0, was.depth - made.depth), sum(lost), int(was.rgb != made.rgb),
        sum(gained), max(0, made.depth - was.depth), int(made.alpha),
    )  # fmt: skip


def shown_formats(formats: Iterable[str]) -> str:
    """What pixel formats are: `8 bits in 4:2:0, 4:2:2; 10 bits in 4:2:2`."""
    by_depth: dict[int, set[str]] = {}
    for layout in filter(None, map(layout_of, formats)):
        by_depth.setdefault(layout.depth, set()).add("RGB" if layout.rgb else _CHROMA[layout.sub])
    return "; ".join(f"{depth} bits in {', '.join(sorted(kinds))}" for depth, kinds in sorted(by_depth.items()))


def _default_profile(codec: str, pix_fmt: str) -> str:
    fitting = [name for name, formats in PROFILES.get(codec, {}).items() if pix_fmt in formats]
    return "hq" if "hq" in fitting else fitting[0] if fitting else ""


def _told(info: MediaInfo, video: VideoInfo, made: Encoding, choice: MasterChoice) -> Iterable[str]:
    """Sentences about what the picture loses without being asked for it."""
    was, will = layout_of(video.pix_fmt), layout_of(made.pix_fmt)
    assert will is not None and made.converts is not None
    name, what = info.path.name, f"the {made.encoder.shown} master"
    lost = [] if was is None else [
        text for text, is_lost in (
            (f"{will.depth} of its {was.depth} bits a sample", choice.bit_depth is None and will.depth < was.depth),
            (f"{_CHROMA[will.sub]} of its {_CHROMA[was.sub]}", choice.chroma is None and will.sub > was.sub),
            ("YUV of its RGB", was.rgb and not will.rgb),
        ) if is_lost
    ]  # fmt: skip
    if lost:
        yield f"{name}: {what} has {', '.join(lost)}."
    if was is not None and was.alpha and not will.alpha:
        yield f"{name} has transparency, which {what} has not."
    if made.converts.full and not made.converts.full_after and not (was and was.rgb):
        yield f"{name} has full range; {what} has limited range, the only one that this codec knows."
    if (video.mastering or video.light) and made.codec not in ("h264", "hevc"):
        yield f"{name} has a mastering display and light levels, which {what} does not name."
    if made.codec in SEQUENCES and video.transfer in HDR:
        yield f"{name} is {HDR[video.transfer]}, which the files of {what} do not name: say it where they go."
    if video.transfer in HDR and will.depth < 10:
        yield f"{name} is {HDR[video.transfer]}, and {what} has it in {will.depth} bits: it may show bands."


def check_copied(info: MediaInfo, video: VideoInfo, picture: Encoding) -> None:
    """Raises UnsupportedMedia where untouched pictures were to be copied, and cannot stand beside encoded ones."""
    if picture.own and (picture.encoder.intra or picture.codec in COPIED_IN_GROUPS):
        return
    what = f"{picture.encoder.shown} of {shown_formats([picture.pix_fmt])}"
    raise UnsupportedMedia(
        f"{info.path.name}: its own pictures, {video.codec} of {video.pix_fmt}, cannot stand in a master of {what}: "
        "remove `untouched: copy`, or ask for what the source is."
    )
