"""What the speech-driven GAN is trained by: L1 on the lower half, and both discriminators. Functions only.

The paper's sum: L_frame + L_sequence + 400 L1, the L1 over the lower half of the picture. Discriminators give logits.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["GENERATOR_LR", "JUDGE_LR", "L1_WEIGHT", "fooling", "generator_loss", "judging", "lower_l1"]

GENERATOR_LR, JUDGE_LR = 2e-3, 2e-5  # learning rates: encoders, noise and decoder; both discriminators
L1_WEIGHT = 400.0


def lower_l1(made: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference of the lower half of the rows; pictures (..., H, W) of one shape."""
    half = made.shape[-2] // 2
    return F.l1_loss(made[..., half:, :], real[..., half:, :])


def judging(real: Tensor, made: Tensor) -> Tensor:
    """A discriminator's loss: cross-entropy of its logits (N,) of real and of generated pictures."""
    return F.binary_cross_entropy_with_logits(real, real.new_ones(()).expand_as(real)) + (
        F.binary_cross_entropy_with_logits(made, made.new_zeros(()).expand_as(made))
    )


def fooling(made: Tensor) -> Tensor:
    """The generator's loss from a discriminator's logits (N,) of generated pictures: cross-entropy with 'real'."""
    return F.binary_cross_entropy_with_logits(made, made.new_ones(()).expand_as(made))


def generator_loss(l1: Tensor, frame: Tensor, sequence: Tensor, l1_weight: float = L1_WEIGHT) -> Tensor:
    """The generator's whole loss: of `lower_l1`, and of both discriminators' logits of what it made."""
    return fooling(frame) + fooling(sequence) + l1_weight * l1
