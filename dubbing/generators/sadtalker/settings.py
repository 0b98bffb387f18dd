"""What a manifest may say under `generator: {name: sadtalker, ...}`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dubbing.generators import Settings
from dubbing.networks.sadtalker.windows import STYLES

__all__ = ["SadTalkerSettings"]

_TURNED = 90.0
_FILE = "a name among `dub models`, or a file (absolute, or from ~); null: that of `model`, or the published one"
_ANGLE = "degrees: one for all, or several that it passes through at one speed; null: as the sound has it"


class SadTalkerSettings(Settings):
    """The published settings, by names of ours where theirs say less."""

    model: str = Field(
        "sadtalker_256",
        description="the checkpoint: sadtalker_256, sadtalker_512, sadtalker_renderer (the older files), or your file",
    )
    size: Literal[256, 512] | None = Field(
        None, description="side of the network's picture; null: 512 for sadtalker_512, else 256"
    )
    preprocess: Literal["full", "extfull", "crop", "extcrop"] = Field(
        "full",
        description="which mapping is used (`full`: with place and size of the face) and how much is drawn (`ext`: "
        "more around the head)",
    )
    pose: Literal["speech", "source"] | None = Field(
        None,
        description="speech: the head moves as PoseVAE has it; source: the picture's own stays (published: --still), and "
        "a photograph's moves as with other generators; null: speech for a photograph, source for a film",
    )
    style: int = Field(0, ge=0, lt=STYLES, description="of the head's motion")
    seed: int = Field(0, ge=0, lt=2**32, description="which motion and which blinks are drawn")
    expression_scale: float = Field(1.0, ge=0.0, le=3.0, description="how strong the expression is")
    yaw: tuple[float, ...] | None = Field(None, min_length=1, description=f"turn of the head, {_ANGLE}")
    pitch: tuple[float, ...] | None = Field(None, min_length=1, description=f"nod of the head, {_ANGLE}")
    roll: tuple[float, ...] | None = Field(None, min_length=1, description=f"tilt of the head, {_ANGLE}")
    reference_pose: str | None = Field(
        None, description="a film (absolute, or from ~) whose head's motion is added; its first minute, repeated"
    )
    reference_eyes: str | None = Field(
        None, description="a film (absolute, or from ~) whose eyes are followed instead of blinks; the same"
    )
    mapping: str | None = Field(None, description=f"MappingNet: {_FILE}")
    exp_model: str | None = Field(None, description=f"ExpNet: {_FILE}")
    pose_model: str | None = Field(None, description=f"PoseVAE: {_FILE}")
    face_model: str | None = Field(None, description=f"network of 3D coefficients: {_FILE}")
    mean_face: str | None = Field(None, description=f"standard face for alignment: {_FILE}")
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")

    @field_validator("yaw", "pitch", "roll", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("yaw", "pitch", "roll")
    @classmethod
    def _possible(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value and not all(-_TURNED <= one <= _TURNED for one in value):
            raise ValueError(f"angles are {-_TURNED:g} to {_TURNED:g} degrees")
        return value

    @model_validator(mode="after")
    def _moves(self) -> SadTalkerSettings:
        if self.pose == "source" and self.turns:
            raise ValueError(f"{self.turns[0]} moves a head that `pose: source` keeps; leave one of them out")
        return self

    @property
    def turns(self) -> list[str]:
        """The settings that move the head otherwise than the sound does."""
        return [name for name in ("yaw", "pitch", "roll", "reference_pose") if getattr(self, name) is not None]

    @property
    def side(self) -> int:
        """Pixels of the side of the network's picture."""
        return self.size or (512 if self.model == "sadtalker_512" else 256)

    @property
    def full(self) -> bool:
        """Whether mapping is told place and size of the face."""
        return self.preprocess.endswith("full")

    @property
    def inner(self) -> bool:
        """Whether the smaller of both rectangles about the head is drawn."""
        return not self.preprocess.startswith("ext")
