"""Wav2Lip as a teacher of lips: a clip's first frame, drawn so that it says the clip's sentence.

As SadTalker's authors had their lip motion made (Zhang et al. 2023, section 3.1): only the mouth moves, so that what is
learnt is lips and nothing else. It knows no coefficients.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import torch

from dubbing import device, models
from dubbing.dataset.shards import FPS, Clip
from dubbing.networks import mel
from dubbing.networks.wav2lip import Wav2Lip, Wav2LipNet, plan_of

__all__ = ["LipTeacher"]


class LipTeacher:
    """See `coefficients.Teacher`. model: `wav2lip`, `wav2lip_gan`, or a file. Raises ModelError."""

    def __init__(self, model: str) -> None:
        path, self.digest = models.chosen(model)
        state = models.load_state(path)
        net = models.fit(Wav2LipNet(plan_of(state, name=model)), state, model).eval()
        self._net = Wav2Lip(net, device.default())

    def __call__(self, clip: Clip) -> np.ndarray:
        """Face pictures of the network's size, uint8 BGR (N, S, S, 3), the first frame's in each but for its mouth."""
        count, size = len(clip.faces_NHWC), self._net.size_px
        first = cv2.resize(clip.faces_NHWC[0], (size, size), interpolation=cv2.INTER_AREA)
        columns = mel.mel(clip.wave[clip.lead :])
        starts = mel.starts([Fraction(n, FPS) for n in range(count)], columns.shape[1], "inference")
        sound = torch.from_numpy(mel.windows(columns, starts))
        face = torch.from_numpy(first).permute(2, 0, 1)[None].float().div(255).repeat(1, 2, 1, 1)
        face[:, :3, size // 2 :] = 0
        drawn = self._net(sound, face.expand(count, -1, -1, -1))
        return drawn.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
