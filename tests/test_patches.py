"""Patches on disk: lossless, the same bytes, read in part, and damage is named."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from dubbing import media
from dubbing.errors import MediaError
from dubbing.media.colour import Colour, planes_of
from dubbing.media.paste import paste
from dubbing.records import Patch


def test_patches_are_lossless_and_always_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    patches = [
        Patch(n, 2 * n, 4, rng.integers(0, 256, (20, 32, 3), np.uint8), rng.integers(0, 256, (20, 32), np.uint8))
        for n in (5, 6, 7, 20)
    ]
    hashes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with media.PatchWriter(tmp_path / name, 32, 20) as writer:
            for patch in patches:
                writer.write(patch, wanted_opening=patch.frame / 3, still=patch.frame > 6)
        files = sorted((tmp_path / name).iterdir())
        assert [f.name for f in files] == ["frames.parquet", "patch.nut"]
        hashes.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files])
    assert hashes[0] == hashes[1]
    for before, after in zip(patches, media.read_patches(tmp_path / "a"), strict=True):
        assert (before.frame, before.x, before.y) == (after.frame, after.x, after.y)
        assert np.array_equal(before.bgr_HWC, after.bgr_HWC) and np.array_equal(before.matte_HW, after.matte_HW)
    table = media.patch_frames(tmp_path / "a")
    assert table["wanted_opening"].to_pylist()[0] == pytest.approx(5 / 3) and table["still"].to_pylist()[-1] is True


@pytest.mark.parametrize(("depth", "apart"), [(8, 8), (10, 8), (12, 2), (16, 0)])
def test_deep_patches_keep_more_than_their_film_has(tmp_path: Path, depth: int, apart: int) -> None:
    rng = np.random.default_rng(1)
    deep = rng.integers(0, 65536, (20, 32, 3), np.uint16)
    deep[:2] = [[[0]], [[65535]]]
    patch = Patch(3, 0, 0, (deep >> 8).astype(np.uint8), rng.integers(0, 256, (20, 32), np.uint8), deep)
    with media.PatchWriter(tmp_path, 32, 20, transfer=0, depth=depth) as writer:
        kept = writer.write(patch)
    (read,) = media.read_patches(tmp_path)
    assert read.deep_HWC is not None and kept.deep_HWC is not None
    assert np.abs(read.deep_HWC.astype(int) - deep).max() <= apart and (read.deep_HWC[:2] == deep[:2]).all()
    assert (read.deep_HWC == kept.deep_HWC).all() and np.array_equal(read.matte_HW, patch.matte_HW)
    assert depth == 16 or (read.bgr_HWC == kept.bgr_HWC).all()


def test_a_stretch_of_patches_is_read_without_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frames = [*range(100, 160), *range(170, 300)]
    with media.PatchWriter(tmp_path, 64, 48) as writer:
        for n in frames:
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            picture[0, 0] = n % 256
            writer.write(Patch(n, 2 * n, 0, picture, np.full((48, 64), 255, np.uint8)))
    for first, last, every in ((100, 101, 1), (150, 175, 1), (299, 400, 1), (0, 90, 1), (160, 170, 1), (201, None, 1),
                               (120, 290, 7), (None, 103, 1)):  # fmt: skip
        got = list(media.read_patches(tmp_path, first, last, every))
        wanted = [n for n in frames if (first or 0) <= n < (last or 999) and n % every == 0]
        assert [p.frame for p in got] == wanted == [p.x // 2 for p in got]
        assert [int(p.bgr_HWC[0, 0, 0]) for p in got] == [n % 256 for n in wanted]
    data = (tmp_path / "patch.nut").read_bytes()
    (tmp_path / "patch.nut").write_bytes(data[: len(data) * 3 // 4])
    assert [p.frame for p in media.read_patches(tmp_path, 100, 110)] == list(range(100, 110))
    for first in (None, 220, 290):
        with pytest.raises(MediaError, match="remove it and run again"):
            list(media.read_patches(tmp_path, first))
    (tmp_path / "patch.nut").write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    with pytest.raises(MediaError, match="damaged after"):
        list(media.read_patches(tmp_path))
    (tmp_path / "patch.nut").write_bytes(data)
    covers = list(media.read_patches(tmp_path, 290, mattes=True))
    assert [p.frame for p in covers] == list(range(290, 300)), "mattes are read without the pictures"
    assert all((p.matte_HW == 255).all() and not p.bgr_HWC.any() for p in covers)


def test_a_patch_writer_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        media.PatchWriter(tmp_path, 31, 20)
    good = Patch(3, 0, 0, np.zeros((20, 32, 3), np.uint8), np.zeros((20, 32), np.uint8))
    with media.PatchWriter(tmp_path, 32, 20) as writer:
        writer.write(good)
        with pytest.raises(ValueError, match="follows"):
            writer.write(good)
        with pytest.raises(ValueError, match="16x20"):
            writer.write(Patch(4, 0, 0, np.zeros((20, 16, 3), np.uint8), np.zeros((20, 16), np.uint8)))
    assert [p.frame for p in media.read_patches(tmp_path)] == [3]
    with pytest.raises(MediaError, match="no patch"):
        list(media.read_patches(tmp_path / "absent"))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
def test_a_patch_at_the_end_of_an_odd_picture_stays_inside_it(pix_fmt: str) -> None:
    frame = av.VideoFrame(63, 45, pix_fmt)
    depth = 10 if pix_fmt.endswith("10le") else 8
    for plane in planes_of(frame):
        plane[:] = 16 << (depth - 8)
    shown = SimpleNamespace(rotation_deg=180, aspect=Fraction(1), colour=Colour.of(1, 1, 720, pix_fmt))
    white, matte = np.full((16, 16, 3), 255, np.uint8), np.full((16, 16), 255, np.uint8)
    deep = None if depth == 8 else np.full((16, 16, 3), 65535, np.uint16)
    paste(frame, Patch(0, 0, 0, white, matte, deep), shown)
    luma = planes_of(frame)[0]
    assert luma[-16:, -16:].min() == 235 << (depth - 8), "upright top left is what is coded last"
    assert luma[:-16].max() == luma[:, :-16].max() == 16 << (depth - 8)
