"""Losses that several designs share. It knows no design.

Axes: N pictures, C channels, H, W.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["against", "agreement", "l1", "lips_mask"]


def lips_mask(lips_N4: Tensor, height: int, width: int) -> Tensor:
    """1 inside the lips' boxes (left, top, right, bottom in parts 0..1 of the picture), else 0: (N, 1, H, W)."""
    x = (torch.arange(width, device=lips_N4.device) + 0.5) / width
    y = (torch.arange(height, device=lips_N4.device) + 0.5) / height
    left, top, right, bottom = (edge[:, None] for edge in lips_N4.float().unbind(1))
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return (down[:, :, None] & across[:, None, :]).float()[:, None]


def l1(made_NCHW: Tensor, real_NCHW: Tensor, lips_N4: Tensor | None = None, lip_weight: float = 1.0) -> Tensor:
    """Mean absolute difference; with `lip_weight` over 1 a pixel inside the lips' box counts so many times.

    The weights are scaled to a mean of 1 over each batch, so that other losses keep their place beside it.
    """
    apart = (made_NCHW.float() - real_NCHW.float()).abs()
    if lips_N4 is None or lip_weight == 1.0:
        return apart.mean()
    weights = 1 + (lip_weight - 1) * lips_mask(lips_N4, *apart.shape[2:])
    return (apart.mean(1, keepdim=True) * weights).sum() / weights.sum()


def agreement(sound_ND: Tensor, face_ND: Tensor, same_N: Tensor) -> tuple[Tensor, Tensor]:
    """(cross entropy, cosines (N,)) of embeddings that belong together where `same_N` is 1.

    The cosine itself is taken for a probability, as Wav2Lip's expert does: its embeddings are never negative.
    """
    cosines = F.cosine_similarity(sound_ND.float(), face_ND.float()).clamp(0, 1)
    return F.binary_cross_entropy(cosines, same_N.float()), cosines


def against(logits: Tensor, real: bool) -> Tensor:
    """Cross entropy of a discriminator's logits when all of its pictures are real, or all made."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, float(real), dtype=torch.float32))
