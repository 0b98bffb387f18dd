"""Every knob, grouped by the part that owns it, with its default. A file gives differences only.

It knows no stage: owners get their group as a plain dict and give the numbers their meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from dubbing import document, plugins
from dubbing.errors import ManifestError
from dubbing.master_choice import MasterChoice, Masters
from dubbing.provenance import Signing

__all__ = ["Config", "StageResources", "load", "schema"]

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class _Group(document.Model):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Shots(_Group):
    """How cuts are found (ignored where the manifest gives a cut list)."""

    threshold: Positive = Field(3.0, description="Adaptive detector: times the change around it that makes a cut.")
    min_frames: int = Field(6, ge=1, description="No detected shot is shorter.")


class Speakers(_Group):
    """Which faces may be re-rendered at all."""

    min_face_px: Positive = Field(96.0, description="A smaller face (height in pixels) is left alone: too_small.")
    max_yaw_deg: Annotated[float, Field(gt=0, le=90)] = Field(
        45.0, description="A face turned further is left alone: profile."
    )
    active_speaker: Literal["auto", "off"] = Field(
        "auto", description="Light-ASD's evidence of who speaks, where its model is present; off: lips' motion alone."
    )
    voices: Literal["auto", "off"] = Field(
        "auto",
        description="Who of a shot says what in a dub follows its voices where they are sure, with the extra `voices`; "
        "off: nearest in time alone.",
    )

    identity: Literal["auto", "off"] = Field(
        "auto",
        description="People are told apart by dlib's face descriptor, where the extra `identity` is installed; off: by "
        "small portraits and proportions alone.",
    )


class Sync(_Group):
    """How lips and sound are measured."""

    expert: str = Field(
        "lips",
        description="The sync expert of every LSE; syncnet_v2, wav2lip_color and stable_syncnet are published models "
        "(`dub models`), and other packages may add more.",
        json_schema_extra=lambda schema: schema.update(enum=list(plugins.names(plugins.EXPERTS))),
    )
    score: bool = Field(
        True, description="false: takes are not measured; there are no numbers, and no shot asks for review for them."
    )

    @field_validator("expert")
    @classmethod
    def _there_is(cls, value: str) -> str:
        known = plugins.names(plugins.EXPERTS)
        if value not in known:
            raise ValueError(f"'expert' must be one of {', '.join(known)}; found {value!r}.")
        return value


class Review(_Group):
    """When a dubbed shot asks for a person (exit code 3, `needs_review`)."""

    lse_d_over_source: NotNegative = Field(1.5, description="LSE-D above the original's by more than this.")
    offset_frames: NotNegative = Field(3.0, description="Sound early or late by more than this (25 frames a second).")
    min_sharpness: Annotated[float, Field(ge=0, le=1)] = Field(0.6, description="Mouth detail, take over source.")
    max_silence_motion: Positive = Field(2.0, description="Mouth motion in silence, take over source.")


class Listen(_Group):
    """What `dub listen` hears with."""

    model: str = Field(
        "whisper_base", description="A Whisper model of `dub models`, or your own file (absolute, or from ~)."
    )


class Speaking(_Group):
    """How written text is spoken."""

    slowest: Annotated[float, Field(ge=0.5, le=1)] = Field(
        0.8, description="Times a voice's own rate: the slowest that a line with times is said, to fill its time."
    )
    fastest: Annotated[float, Field(ge=1, le=2.5)] = Field(
        1.4, description="The fastest; a line that needs more is refused."
    )


class StageResources(_Group):
    """What one worker of a stage holds; null: what the stage itself says."""

    cpus: Positive | None = Field(None, description="Processor cores.")
    gpus: NotNegative | None = Field(None, description="Graphics cards; a fraction shares one.")
    memory_mb: int | None = Field(None, ge=1, description="Memory.")


StageName = Literal[
    "still", "shots", "faces", "source_audio", "audio", "active", "descriptors", "overlays", "overlay_list", "people",
    "cast", "speakers", "actors", "donors", "turns", "lipsync", "sync", "select", "master", "proof", "sign",
]  # fmt: skip


class Engine(_Group):
    """Where the work happens."""

    workers: int | None = Field(None, ge=1, description="Most workers at once; null: as many as there is room for.")
    tries: int = Field(3, ge=1, description="How often a task may lose its worker before its shot is given up.")
    deadline_s: Positive = Field(900.0, description="A task that takes longer than this, and the next, is stopped.")
    deadline_frame_s: NotNegative = Field(2.0, description="Added to the deadline for each frame of film.")
    stages: dict[StageName, StageResources] = Field({}, description="Stage by stage what a worker holds (Ray only).")
    generators: dict[Annotated[str, Field(min_length=1)], StageResources] = Field(
        {}, description="Generator by generator what a worker of lipsync holds that renders by it (Ray only)."
    )


class Models(_Group):
    """Where published models lie, and where `dub models pull` loads them from."""

    folder: str | None = Field(None, description="Absolute, or from ~; null: the user's data folder. DUB_MODELS wins.")
    mirror: str | None = Field(None, description="Base address asked instead of the authors' servers; null: theirs.")

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("/", "~")):
            raise ValueError(f"'folder' must begin with / or ~; found {value!r}.")
        return value

    @field_validator("mirror")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"'mirror' must begin with http:// or https://; found {value!r}.")
        return value


class Config(_Group):
    """All settings of a run."""

    model_config = ConfigDict(title="dub config")
    quality: Literal["full", "draft"] = Field(
        "full",
        description="draft: masters of half the size, named .draft, with mouths rendered coarsely; not for delivery.",
    )
    shots: Shots = Shots()
    speakers: Speakers = Speakers()
    master: Masters = Field(
        [MasterChoice()],
        description="How masters are made, where the manifest does not say: `as_source`, a mapping, or a list of them.",
    )
    provenance: Signing | None = Field(
        None,
        description="Masters are signed as altered content (C2PA), where the manifest does not say how; null: not.",
    )
    proof: bool = Field(
        True, description="Every master is compared with its film and its dub as soon as it is made; false: it is not."
    )
    sync: Sync = Sync()
    review: Review = Review()
    listen: Listen = Listen()
    speaking: Speaking = Speaking()
    length_difference: Literal["refuse", "allow"] = Field(
        "refuse", description="A dub longer or shorter than the picture: refuse it, or deliver it as it is."
    )
    length_tolerance_frames: NotNegative = Field(2.0, description="Differences up to this are always accepted.")
    engine: Engine = Engine()
    models: Models = Models()

    @field_validator("provenance")
    @classmethod
    def _absolute(cls, value: Signing | None) -> Signing | None:
        for name in ("certificate", "key") if value is not None else ():
            if not str(path := getattr(value, name)).startswith(("/", "~")):
                raise ValueError(f"{name!r} must begin with / or ~ here; found {str(path)!r}.")
        return value and value.below(Path("/"))


def load(path: Path | str | None = None) -> Config:
    """The defaults, with the differences in a YAML file over them.

    Raises ManifestError: file, line, what was found, what is allowed.
    """
    if path is None:
        return Config()
    source = document.read(path, "config", may_be_empty=True)
    if not isinstance(source.value, dict):
        raise ManifestError(f"{source.path}, line {source.line(())}: a config is a mapping of groups like 'master:'.")
    return document.parse(source, Config)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
