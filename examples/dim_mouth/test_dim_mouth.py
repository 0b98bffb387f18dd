"""The generator keeps the contract of all generators, and darkens as it says."""

from pathlib import Path

import numpy as np
from dim_mouth import DimMouth, DimMouthSettings

from dubbing.testing import GeneratorContract, material


class TestDimMouth(GeneratorContract):
    name, held_frames, change = "dim_mouth", 0, {"strength": 0.2}


def test_the_loudest_frame_is_the_darkest(tmp_path: Path) -> None:
    work = material.request(tmp_path, 40)
    patches = [one.patch for one in DimMouth(DimMouthSettings(strength=1.0)).render(work)]
    opening_N = material.openings(40)  # the voice is as loud as the mouth is open
    bright = {p.frame - work.track.start_frame: float(p.bgr_HWC.mean()) for p in patches}
    darkest, brightest = min(bright, key=lambda n: bright[n]), max(bright, key=lambda n: bright[n])
    assert bright[darkest] < 0.2 * bright[brightest]
    assert opening_N[darkest] > 0.9 * np.max(opening_N[list(bright)]) and opening_N[brightest] < 0.1
