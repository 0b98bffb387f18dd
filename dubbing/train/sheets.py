"""Contact sheets of sample pictures. It knows no design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["sheet"]


def sheet(columns: Sequence[Tensor]) -> np.ndarray:
    """Pictures (N, 3, H, W), BGR 0..1, side by side: a row for each of N, a column for each tensor. uint8 BGR."""
    rows = torch.cat([c.detach().float().clamp(0, 1).cpu() for c in columns], 3)
    pixels = (rows.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return np.concatenate(list(pixels), 0)
