"""How masters are asked for, in a manifest and in a configuration: as the source, or in another container and codec.

It knows names only: what an encoder or a container can do is for `media`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    field_validator,
    model_validator,
)

from dubbing import document
from dubbing.yaml_text import short

__all__ = ["AS_SOURCE", "PRESETS", "SEQUENCES", "MasterChoice", "MasterSound", "Masters", "PictureCodec"]

AS_SOURCE = "as_source"
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
SEQUENCES = ("dpx", "exr", "tiff", "png")
"""Containers that are a folder with one file a picture, named by what these are in."""
PictureCodec = Literal["prores", "dnxhr", "h264", "hevc", "av1", "ffv1"]
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kM]?)")
_SUFFIX = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_CHROMA = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}


def _text(value: Any) -> Any:
    """A number as its digits: ProRes has a profile called 4444."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _chroma(value: Any) -> Any:
    """`4:2:2`, however it is written; YAML 1.1 takes it for 4 hours, 2 minutes and 2 seconds unless it is quoted."""
    if isinstance(value, int) and not isinstance(value, bool):
        clock = {4 * 3600 + int(name[1]) * 60 + int(name[2]): said for name, said in _CHROMA.items()}
        return clock.get(value) or _CHROMA.get(str(value), value)
    return _CHROMA.get(value, value) if isinstance(value, str) else value


class MasterSound(document.Model):
    """What sound a master has besides the dub's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    keep_source_tracks: bool = Field(
        default=False, description="The source's own tracks follow the dub's, with their languages, titles and marks."
    )


class MasterChoice(document.Model):
    """One master of a dub; what is not said is the source's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    container: Literal["mp4", "mov", "mkv", "mxf", "dpx", "exr", "tiff", "png"] | None = Field(
        None, description="dpx, exr, tiff, png: a folder with one file a picture. null: as the source."
    )
    codec: PictureCodec | None = Field(None, description="null: the source's own, where it can be made.")
    profile: Annotated[
        Literal["proxy", "lt", "standard", "hq", "4444", "4444xq", "lb", "sq", "hqx", "444"] | None,
        BeforeValidator(_text),
    ] = Field(
        None,
        description="ProRes: proxy, lt, standard, hq, 4444, 4444xq; DNxHR: lb, sq, hq, hqx, 444. null: hq, or what the "
        "picture's depth and chroma need.",
    )
    bit_depth: Literal[8, 10, 12, 14, 16] | None = Field(None, description="Bits a sample.")
    chroma: Annotated[Literal["4:2:0", "4:2:2", "4:4:4"] | None, BeforeValidator(_chroma)] = Field(
        None, description="How many samples of colour there are."
    )
    crf: int | None = Field(
        None,
        ge=0,
        le=63,
        description="H.264 and HEVC (0 lossless, 51 worst), AV1 (to 63): constant quality. null: visually lossless.",
    )
    bitrate: int | str | None = Field(
        None, description="H.264, HEVC, AV1: bits a second instead of `crf`: 8000000, 8M, 800k.", examples=["8M"]
    )
    preset: int | str | None = Field(
        None,
        description=f"Speed against size at one quality. H.264 and HEVC: {', '.join(PRESETS)}; AV1: 0 (slow) to 13. "
        "null: the fastest that keeps the quality.",
    )
    suffix: str | None = Field(
        None, description="Part of the file's name: reel.fr.<suffix>.mov; of several masters only one may be without."
    )
    untouched: Literal["copy", "encode"] | None = Field(
        None,
        description="Pictures without a patch: the source's own packets (H.264 and HEVC: whole groups of them), or "
        "encoded like all. null: copied where every picture stands alone (ProRes, DNxHR, FFV1 and such), else encoded.",
    )
    sound: MasterSound | None = Field(None, description="null: the dub's tracks, and no others.")

    @field_validator("bitrate")
    @classmethod
    def _rate(cls, value: int | str | None) -> int | None:
        found = _RATE.fullmatch(str(value))
        if value is None:
            return None
        rate = round(float(found[1]) * {"": 1, "k": 1000, "M": 1_000_000}[found[2]]) if found else 0
        if not 10_000 <= rate <= 2_000_000_000:
            raise ValueError(
                f"'bitrate' is {short(value)}; it is bits a second, from 10k to 2000M, written 8000000 or 8M."
            )
        return rate

    @field_validator("preset")
    @classmethod
    def _preset(cls, value: int | str | None) -> int | str | None:
        if value is None or value in PRESETS or (isinstance(value, int) and 0 <= value <= 13):
            return value
        raise ValueError(
            f"'preset' must be {', '.join(PRESETS)} (H.264 and HEVC), or a number from 0 to 13 (AV1); "
            f"found {short(value)}."
        )

    @field_validator("suffix")
    @classmethod
    def _part_of_a_name(cls, value: str | None) -> str | None:
        if value is None or (_SUFFIX.fullmatch(value) and value != "draft"):
            return value
        raise ValueError(
            f"'suffix' is {short(value)}, but it is a part of the file's name: use 1 to 32 of the characters a-z, 0-9, "
            "_ and -; 'draft' is taken."
        )

    @model_validator(mode="after")
    def _one_measure(self) -> MasterChoice:
        if self.crf is not None and self.bitrate is not None:
            raise ValueError("a master has either 'crf' or 'bitrate'; remove one of the two.")
        return self

    @property
    def plain(self) -> bool:
        """Whether it is the source's own container and codec, under the plain name."""
        return self == MasterChoice(crf=self.crf, preset=self.preset)


def _listed(value: Any) -> Any:
    """One master, or a list of them, as a list of mappings."""
    several = value if isinstance(value, list | tuple) else [value]
    if not several:
        raise ValueError("'master' names no master; write as_source, or a mapping.")
    return [{} if one == AS_SOURCE else one for one in several]


def _differ(masters: list[MasterChoice]) -> list[MasterChoice]:
    names = [one.suffix for one in masters]
    for n, name in enumerate(names):
        if name in names[:n]:
            what = f"the suffix {name!r}" if name else "no suffix"
            raise ValueError(f"two masters have {what}, and so the same name; give each its own 'suffix'.")
    return masters


def _described(schema: dict[str, Any]) -> None:
    one: list[dict[str, Any]] = [{"const": AS_SOURCE}, schema.pop("items")]
    kept: dict[str, Any] = {k: schema.pop(k) for k in ("title", "description", "default") if k in schema}
    schema.clear()
    schema.update(kept, anyOf=[*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}])


def _written(masters: list[MasterChoice], info: SerializationInfo) -> Any:
    """As a file has it: a mapping, or a list of several."""
    plain = [one.model_dump(mode="json", exclude_defaults=info.exclude_defaults) or AS_SOURCE for one in masters]
    return plain[0] if len(plain) == 1 else plain


Masters = Annotated[
    list[MasterChoice], BeforeValidator(_listed), AfterValidator(_differ), PlainSerializer(_written),
    Field(json_schema_extra=_described),
]  # fmt: skip
"""`as_source`, a mapping, or a list of these; as a list of choices, of which no two have one name."""
