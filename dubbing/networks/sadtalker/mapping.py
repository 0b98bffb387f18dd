"""MappingNet: coefficients of a 3D face model become the head's angles and shifts of its keypoints.

Keys as published (the entry `mapping` of its file). Angles are in degrees; the published code turns them into radians
with 3.14, and so does this.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["BINS", "Head", "MappingNet", "degrees", "moved", "rotation"]

BINS = 66
"""Bins of an angle, 3 degrees each, from -99 on."""
_WIDE = 1024
_LAYERS = 3


@dataclass(frozen=True, eq=False)
class Head:
    """A head of a frame. yaw, pitch, roll: (N, 66) logits of bins; t: (N, 3) shift; exp: (N, 45), of 15 keypoints."""

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    t: Tensor
    exp: Tensor


class MappingNet(nn.Module):
    """forward: coefficients (N, 70 or 73, 27) of frames in time give a `Head` (section 3.3 of the paper).

    coefficients: 70 (expression 64, pose 6), or 73 with scale and place of the face in the picture (`full`).
    wide: channels of the layers.
    """

    def __init__(self, coefficients: int = 70, wide: int = _WIDE) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(coefficients, wide, 7))
        for n in range(_LAYERS):
            layer = nn.Sequential(nn.LeakyReLU(0.1), nn.Conv1d(wide, wide, 3, dilation=3))
            self.add_module(f"encoder{n}", layer)
        self.fc_roll = nn.Linear(wide, BINS)
        self.fc_pitch = nn.Linear(wide, BINS)
        self.fc_yaw = nn.Linear(wide, BINS)
        self.fc_t = nn.Linear(wide, 3)
        self.fc_exp = nn.Linear(wide, 45)

    def forward(self, coefficients: Tensor) -> Head:
        x = self.first(coefficients)
        for n in range(_LAYERS):
            x = self.get_submodule(f"encoder{n}")(x) + x[:, :, 3:-3]
        x = x.mean(2)
        return Head(self.fc_yaw(x), self.fc_pitch(x), self.fc_roll(x), self.fc_t(x), self.fc_exp(x))


def degrees(logits: Tensor) -> Tensor:
    """The angle (N,) that logits of bins (N, 66) mean, in degrees, -99..96."""
    at = torch.arange(BINS, dtype=logits.dtype, device=logits.device)
    return (torch.softmax(logits, 1) * at).sum(1) * 3 - 99


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) of angles (N,) in degrees: about z by roll, then y by yaw, then x by pitch."""
    yaw, pitch, roll = (angle / 180 * 3.14 for angle in (yaw, pitch, roll))
    one, none = torch.ones_like(yaw), torch.zeros_like(yaw)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, 1).view(-1, 3, 3)

    about_x = matrix(one, none, none, none, pitch.cos(), -pitch.sin(), none, pitch.sin(), pitch.cos())
    about_y = matrix(yaw.cos(), none, yaw.sin(), none, one, none, -yaw.sin(), none, yaw.cos())
    about_z = matrix(roll.cos(), -roll.sin(), none, roll.sin(), roll.cos(), none, none, none, one)
    return about_x @ about_y @ about_z


def moved(
    canonical: Tensor, head: Head, *, yaw: Tensor | None = None, pitch: Tensor | None = None, roll: Tensor | None = None
) -> Tensor:
    """Keypoints (N, 15, 3) of a head from the canonical ones, (1 or N, 15, 3); only y of its shift moves them.

    yaw, pitch, roll: degrees (N,) that stand in for the head's own.
    """
    turn = rotation(
        degrees(head.yaw) if yaw is None else yaw,
        degrees(head.pitch) if pitch is None else pitch,
        degrees(head.roll) if roll is None else roll,
    )
    points = torch.einsum("nij,nkj->nki", turn, canonical.expand(len(turn), -1, -1))
    shift = head.t * torch.tensor([0.0, 1.0, 0.0], device=head.t.device, dtype=head.t.dtype)
    return points + shift[:, None] + head.exp.view(len(turn), -1, 3)
