"""Characters: each stem drives its own face, lines say who speaks, and what is left by name is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from films import run

from dubbing import config, media, open_results
from dubbing.media import ClipWriter
from dubbing.shot_table import read_rows

HZ = 48_000
SPEAKS = 72  # frames of the short film in which its one face speaks
BOTH = (0, SPEAKS)  # the shot in which ANNA, to the left, and BEN, her mirror image, speak at once
ALONE = (SPEAKS, 2 * SPEAKS)  # the shot in which ANNA is seen to speak, and only CARL's stem does, who is never seen
SIZE = 2  # of the short film's picture


def voice(sound: Path, first_s: Fraction, seconds: Fraction) -> np.ndarray:
    """A stretch of a sound, float32 (T,), mono."""
    wave = media.read_sound(sound, HZ)[int(first_s * HZ) :]
    part = np.zeros(int(seconds * HZ), np.float32)
    part[: len(wave)] = wave[: len(part)]
    return part


@pytest.fixture(scope="module")
def made(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a film of the two shots, with three stems, and its manifest, job.yaml."""
    folder = tmp_path_factory.mktemp("characters")
    source = film.parent / "film.mp4"
    line = media.timeline(source)
    first_s, seconds = line.time(12), SPEAKS / line.rate
    pictures = [p.bgr() for p in media.read(source, line, 12, 12 + SPEAKS)]
    size = (SIZE * 600, SIZE * 270)
    own = voice(source, first_s, seconds)
    with ClipWriter(folder / "two.mp4", *size, line.rate, sample_rate_hz=HZ, channels=1, crf=12) as clip:
        for p in pictures:
            half = p[:, 90:390]
            clip.frame(cv2.resize(np.concatenate([half, cv2.flip(half, 1)], 1), size))
        for p in pictures:
            clip.frame(cv2.copyMakeBorder(cv2.resize(p, (960, 540)), 0, 0, 0, 240, cv2.BORDER_REPLICATE))
        clip.sound(np.concatenate([own, own])[:, None])
    hi, ta = (voice(film.parent / f"film.{name}.flac", first_s, seconds) for name in ("hi", "ta"))
    rest = np.zeros_like(hi)
    stems = {"ANNA": [hi, rest], "BEN": [ta, rest], "CARL": [rest, ta]}
    for name, parts in stems.items():
        with ClipWriter(folder / f"{name}.wav", sample_rate_hz=HZ, channels=1) as clip:
            clip.sound(np.concatenate(parts)[:, None])
    with ClipWriter(folder / "mix.wav", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(sum(np.concatenate(p) for p in stems.values())[:, None] / 2)
    title = {
        "id": "two", "video": "two.mp4",
        "dubs": [{"language": "hi", "audio": "mix.wav", "stems": {name: f"{name}.wav" for name in stems}}],
    }  # fmt: skip
    (folder / "job.yaml").write_text(json.dumps({"version": 1, "titles": [title]}), encoding="utf-8")
    return folder
