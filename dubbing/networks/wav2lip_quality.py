"""Wav2Lip's visual-quality discriminator: is this lower half of a face a photograph?

Prajwal et al. (2020), section 3.4: convolutions with leaky activations, no norm. Layers under the published keys.
Larger pictures than 96 pass through as many more halvings as they need. Only training uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["QualityDiscriminator"]


class _Conv(nn.Module):
    def __init__(self, inward: int, outward: int, kernel: int, stride: int | tuple[int, int], padding: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(inward, outward, kernel, stride, padding))
        self.act = nn.LeakyReLU(0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv_block(x))


class QualityDiscriminator(nn.Module):
    """`forward(face)`: whole faces (N, 3, S, S), BGR 0..1, of which it sees the lower half. Returns logits (N, 1).

    size_px: S; width: of the published numbers of channels.
    """

    def __init__(self, size_px: int = 96, width: float = 1.0) -> None:
        super().__init__()

        def of(n: int) -> int:
            return max(4, round(n * width))

        def pair(a: int, b: int, kernel: int, stride: int | tuple[int, int]) -> nn.Sequential:
            pad = kernel // 2
            return nn.Sequential(_Conv(of(a), of(b), kernel, stride, pad), _Conv(of(b), of(b), kernel, 1, pad))

        blocks: list[nn.Module] = [nn.Sequential(_Conv(3, of(32), 7, 1, 3)), pair(32, 64, 5, (1, 2))]
        side, inward = (size_px + 1) // 2, 64
        for outward, kernel in ((128, 5), (256, 5), (512, 3), *((512, 3),) * 8):
            if side <= 4:
                break
            blocks.append(pair(inward, outward, kernel, 2))
            side, inward = (side + 1) // 2, outward
        last = nn.Sequential(_Conv(of(inward), of(512), 3, 1, 0), _Conv(of(512), of(512), 1, 1, 0))
        self.face_encoder_blocks = nn.ModuleList([*blocks, last])
        self.binary_pred = nn.Sequential(nn.Conv2d(of(512), 1, 1))

    def forward(self, face: Tensor) -> Tensor:
        x = face[:, :, face.shape[2] // 2 :]
        for block in self.face_encoder_blocks:
            x = block(x)
        return torch.mean(self.binary_pred(x).flatten(1), 1, keepdim=True)
