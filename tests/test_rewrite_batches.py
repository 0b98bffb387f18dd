"""rewrite in batches: what torch gives for many frames is what OpenCV gives for each."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dubbing.generators.rewrite import batches
from dubbing.generators.rewrite.geometry import Box, Face, Wanted, crop_boxes
from dubbing.generators.rewrite.interior import Inside, tones
from dubbing.generators.rewrite.render import render
from dubbing.generators.rewrite.tensors import enlarged, node_maps, read
from dubbing.generators.rewrite.warp import Nodes, node_map
from dubbing.media.colour import Colour
from dubbing.media.planes import Planes
from dubbing.testing import material

pytestmark = pytest.mark.usefixtures("one_thread")
OPENINGS = np.array([0.0, 0.9, 0.3, 0.6, 0.1, 1.0])


@pytest.fixture(scope="module")
def frames() -> list[Wanted]:
    """A drawn face that is to open its mouth otherwise: by mouths of other frames, by two at once, by one of another
    shot, which is sharper, and with a gap that is drawn."""
    rng = np.random.default_rng(4)
    meshes, goals = material.face(OPENINGS)[..., :2], material.face(OPENINGS[::-1])[..., :2]
    faces = []
    for mesh, box in zip(meshes, crop_boxes(meshes, material.SIZE_WH), strict=True):
        picture = cv2.GaussianBlur(rng.integers(0, 256, (*material.SIZE_WH[::-1], 3), np.uint8), (0, 0), 1.2) // 4 + 70
        for points, colour in ((mesh[list(material.OUTER_LIPS)], (90, 80, 170)), (mesh[list(material.INNER_LIPS)], 20)):
            cv2.fillPoly(picture, [np.rint(points).astype(np.int32)], colour)
        crop = picture[box.y : box.y + box.height, box.x : box.x + box.width]
        faces.append(Face(np.ascontiguousarray(crop), box, mesh.astype(np.float64)))
    noisy = faces[5].bgr_HWC[4:, :-6] + rng.normal(0, 5, (faces[5].box.height - 4, faces[5].box.width - 6, 3))
    whole = Box(0, 0, noisy.shape[1], noisy.shape[0])
    other = Face(noisy.clip(0, 255).astype(np.float32), whole, faces[5].local_P2 - (0, 4), lent=True)
    lenders = [[(one, 1.0)] for one in (faces[5], faces[4], faces[3], faces[2], other, faces[0])]
    lenders[1] = [(faces[4], 0.3), (faces[0], 0.7)]
    inside = Inside(tones(faces[3].bgr_HWC, faces[3].local_P2), goals[0], False, 1.0)
    return [
        Wanted(faces[n], goals[n].astype(np.float64), one, inside if n == 3 else None, 40 + n)
        for n, one in enumerate(lenders)
    ]


def deep(face: Face) -> Face:
    """With fractions, as of a film of more than 8 bits."""
    return replace(face, pixels=face.bgr_HWC.astype(np.float32) * np.float32(0.9) + np.float32(0.3))


def planes(face: Face) -> Face:
    """In samples of 4:2:0, of sides that are even."""
    height, width = (n // 2 * 2 for n in face.bgr_HWC.shape[:2])
    pixels = Planes.of_bgr(np.ascontiguousarray(face.bgr_HWC[:height, :width]), Colour.of(1, 1, 720, "yuv420p"))
    return replace(face, pixels=pixels)


def test_a_batch_of_samples_is_what_each_frame_is(frames: list[Wanted]) -> None:
    """Of a film of 4:2:0: what is drawn between lips is not asked for, since only BGR has that."""
    given = [
        replace(f, target=planes(f.target), donors=[(planes(d), w) for d, w in f.donors], inside=None) for f in frames
    ]
    for one, (found, matte) in zip(given, batches.in_batches(iter(given), "cpu"), strict=True):
        wanted, same = render(one)
        assert isinstance(found, Planes) and isinstance(wanted, Planes) and found.both.dtype == np.uint8
        assert np.abs(matte.astype(int) - same).max() <= 1
        for layer, other, source, less in zip(found.layers, wanted.layers, one.target.layers, (1, 2), strict=True):
            there = (np.minimum(matte, same) > 0)[::less, ::less]
            apart = np.abs(layer.astype(int) - other)[there]
            assert (apart > 1).mean() < 2e-3 and apart.max() <= 6 and apart.mean() < 0.1
            assert np.abs(other.astype(int) - source)[there].max() > 20, "a mouth is another"


@pytest.mark.parametrize("fractions", (False, True))
def test_a_batch_is_what_each_frame_is(frames: list[Wanted], fractions: bool) -> None:
    if fractions:
        frames = [replace(f, target=deep(f.target), donors=[(deep(d), w) for d, w in f.donors]) for f in frames]
    made = list(batches.in_batches(iter(frames), "cpu"))
    assert len(made) == len(frames)
    for one, (bgr, matte) in zip(frames, made, strict=True):
        wanted_bgr, wanted_matte = render(one)
        assert bgr.dtype == wanted_bgr.dtype and bgr.shape == wanted_bgr.shape and matte.dtype == np.uint8
        assert np.abs(matte.astype(int) - wanted_matte).max() <= 1 and not bgr[matte == 0].any()
        there = (matte > 0) & (wanted_matte > 0)
        apart = np.abs(bgr.astype(np.float64) - wanted_bgr)[there]
        moved = np.abs(wanted_bgr.astype(np.float64) - one.target.bgr_HWC)[there]
        assert moved.max() > 60, "a mouth is another"
        assert (apart > 1).mean() < 5e-4 and apart.max() <= 6 and apart.mean() < (0.01 if fractions else 0.1)


def test_a_frame_is_the_same_whatever_lies_beside_it(frames: list[Wanted]) -> None:
    whole = list(batches.in_batches(iter(frames), "cpu"))
    for most in (1, 4):
        for one, other in zip(whole, batches.in_batches(iter(frames), "cpu", most=most), strict=True):
            assert one[0].tobytes() == other[0].tobytes() and one[1].tobytes() == other[1].tobytes()


def test_frames_of_other_sizes_keep_their_order(frames: list[Wanted]) -> None:
    mesh = frames[0].target.mesh_P2 * 0.4
    (box,) = crop_boxes(mesh[None], material.SIZE_WH)
    small = Face(np.full((box.height, box.width, 3), 90, np.uint8), box, mesh)
    wanted = Wanted(small, mesh, [(small, 1.0)], None, None)
    made = list(batches.in_batches([frames[0], wanted, frames[1]], "cpu"))
    assert [bgr.shape for bgr, _ in made] == [f.target.bgr_HWC.shape for f in (frames[0], wanted, frames[1])]
    bgr, matte = made[1]
    assert (bgr[matte > 0] == 90).all() and (matte > 0).any()


def test_pictures_are_read_as_opencv_reads_them() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (40, 50, 3)).astype(np.float32)
    x, y = rng.uniform(-9, 59, (60, 30)).astype(np.float32), rng.uniform(-9, 49, (60, 30)).astype(np.float32)
    wanted = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    there = torch.from_numpy(picture).permute(2, 0, 1)[None]
    found = read(there, torch.from_numpy(x)[None], torch.from_numpy(y)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 0.05


def test_maps_are_those_of_one_frame() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(10, 190, (2, 40, 2))
    moves = np.stack([0.05 * points[..., 0] - 3, np.sin(points[..., 1] / 40) * 4], 2)
    nodes = Nodes.of((203, 187), 5)
    for twice in (False, True):
        given = (torch.from_numpy(points), torch.from_numpy(moves))
        maps = node_maps(*given, nodes.shape, nodes.step_px, 0.5, twice=twice)
        found = enlarged(maps, nodes.step_px, (187, 203)).numpy()
        for n in range(2):
            plane = node_map(points[n], moves[n], nodes, twice=twice)[1]
            assert np.abs(found[n, 1] - nodes.enlarged(plane)).max() < 2e-3


def test_what_lies_on_the_device_is_bounded() -> None:
    assert batches.frames_at_once(Box(0, 0, 440, 400)) == batches.FRAMES
    large = Box(0, 0, 2000, 2000)
    count = batches.frames_at_once(large)
    assert 1 <= count < 4 and count * large.width * large.height * 165 < batches.MOST_BYTES, "bytes a pixel, measured"
    assert batches.frames_at_once(Box(0, 0, 8192, 4320)) == 1


def test_a_gpu_without_room_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.needs, "free_bytes", lambda device: 900_000_000)
    with pytest.raises(batches.ModelError, match=r"rewrite needs 2\.0 GB of the GPU's memory, and 0\.9 GB are free"):
        batches.require_memory("cuda:7")


def test_nothing_waits_for_the_device_but_the_patches(frames: list[Wanted], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m bench.batches --meta` tries the same with tensors that have no values."""
    back: list[tuple[int, ...]] = []
    real = torch.Tensor.numpy

    def numpy(self: torch.Tensor) -> np.ndarray:
        back.append(tuple(self.shape))
        return real(self)

    def waits(self: torch.Tensor, *args: object) -> None:
        raise AssertionError("a value was looked at before the end")

    monkeypatch.setattr(torch.Tensor, "numpy", numpy)
    for name in ("item", "tolist", "nonzero", "__bool__", "__int__", "__float__", "__index__", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    assert len(list(batches.in_batches(iter(frames), "cpu"))) == len(frames)
    height, width = frames[0].target.bgr_HWC.shape[:2]
    assert back == [(6, height, width, 3), (6, height, width)]
