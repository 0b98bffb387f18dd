"""rewrite's pictures: what is bent goes where it was wanted, what is not stays as it was."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from people import meshes_of

from dubbing.face import INNER_LIPS, JAW, LOWER_FACE, apply_pose, canonical, mouth_measures
from dubbing.generators.rewrite import crops
from dubbing.generators.rewrite.geometry import Face, Wanted, crop_boxes
from dubbing.generators.rewrite.render import render
from dubbing.generators.rewrite.select import choose
from dubbing.generators.rewrite.warp import Nodes, dense_map, moved, node_map, warp, warp_around
from dubbing.media.colour import Colour
from dubbing.media.planes import Planes


def test_dense_map_meets_its_points_and_is_smooth_between():
    rng = np.random.default_rng(1)
    points = rng.uniform(10, 190, (40, 2))
    moves = np.stack([0.05 * points[:, 0] - 3, np.sin(points[:, 1] / 40) * 4], 1)
    field = dense_map(points, moves, (200, 200), 5, smooth=0.0)
    x, y = np.rint(points).astype(int).T
    assert np.abs(field[:, y, x].T - moves).max() < 0.4
    assert np.abs(np.diff(field, axis=1)).max() < 0.5


def test_a_map_from_every_other_node_is_the_map():
    rng = np.random.default_rng(1)
    points = rng.uniform(10, 190, (40, 2))
    moves = np.stack([0.05 * points[:, 0] - 3, np.sin(points[:, 1] / 40) * 4], 1)
    for size in ((200, 180), (203, 187)):
        nodes = Nodes.of(size, 3)
        whole, less = (node_map(points, np.hstack([moves, -moves]), nodes, twice=twice) for twice in (False, True))
        apart = np.abs(nodes.enlarged(whole[1]) - nodes.enlarged(less[1]))
        assert np.percentile(apart, 99) < 0.1 and np.abs(whole[2:] + whole[:2]).max() < 1e-3
        y, x = nodes.at
        assert np.abs(nodes.enlarged(x + 0 * y)[0] - np.arange(size[0])).max() < 1e-3, "nodes stand on pixels"


def test_a_part_is_read_as_the_whole_and_the_rest_is_left():
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (90, 120, 3), np.uint8)
    nodes = Nodes.of((120, 90), 5)
    places = nodes.reading(rng.uniform(-4, 4, (2, *nodes.shape)).astype(np.float32))
    where = np.zeros(nodes.shape, bool)
    where[4:9, 3:6] = where[6:12, 18:22] = True
    whole, part = warp(picture, places), np.zeros_like(picture)
    warp_around([picture], places, where, nodes, [part])
    wanted = nodes.enlarged(where.astype(np.float32)) > 0
    assert (part[wanted] == whole[wanted]).all() and not part[:, 50:70].any() and not part[80:].any()


def test_no_move_is_no_change():
    picture = np.random.default_rng(2).integers(0, 256, (60, 80, 3), np.uint8)
    assert (moved(picture, np.zeros((2, 60, 80), np.float32)) == picture).all()


def test_choose_takes_the_frames_that_fit():
    have = np.linspace(0, 4, 50)[:, None]
    wanted = have[[3, 4, 5, 6, 30, 31, 32]]
    turn = np.zeros((50, 3))
    path = choose(wanted, have, turn[:7], turn, np.ones(50, bool), np.ones(1) * 10, jump=0.1)
    assert path.tolist() == [3, 4, 5, 6, 30, 31, 32]


def test_choose_prefers_runs_over_small_gains():
    rng = np.random.default_rng(3)
    have = np.tile([[0.0], [0.1]], (20, 1)) + rng.normal(0, 0.01, (40, 1))
    turn = np.zeros((40, 3))
    path = choose(np.zeros((10, 1)), have, turn[:10], turn, np.ones(40, bool), np.ones(1))
    assert (np.diff(path) == 1).all() or (np.diff(path) == 0).all()


def test_choose_never_takes_a_frame_that_may_not_lend():
    have, turn = np.arange(10.0)[:, None], np.zeros((10, 3))
    usable = np.arange(10) % 2 == 0
    path = choose(have, have, turn, turn, usable, np.ones(1))
    assert (path % 2 == 0).all()
    with pytest.raises(ValueError, match="no usable"):
        choose(have, have, turn, turn, np.zeros(10, bool), np.ones(1))


@pytest.fixture(scope="module")
def portrait():
    """A public-domain portrait (NASA) at 512x512 and its mesh."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[..., ::-1])
    return picture, meshes_of([picture])[0].astype(np.float64)


def _face(picture, mesh):
    box = crop_boxes(mesh[None, :, :2], (picture.shape[1], picture.shape[0]))[0]
    crop = picture[box.y : box.y + box.height, box.x : box.x + box.width]
    return Face(crop, box, mesh[:, :2])


def test_wanting_what_is_there_changes_nothing(portrait):
    face = _face(*portrait)
    result, matte = render(Wanted(face, face.mesh_P2, [(face, 1.0)]))
    assert np.abs(result.astype(int) - face.bgr_HWC)[matte > 0].max() <= 2
    assert 0.05 < (matte > 0).mean() < 0.5, "a patch ends where nothing is moved: a still jaw is no part of it"


def test_matte_ends_inside_the_crop_and_is_soft(portrait):
    face = _face(*portrait)
    _, matte = render(Wanted(face, face.mesh_P2, [(face, 1.0)]))
    assert matte[0].max() == matte[-1].max() == matte[:, 0].max() == matte[:, -1].max() == 0
    assert matte.max() == 255
    assert ((matte > 0) & (matte < 255)).sum() > 0.05 * (matte == 255).sum()


def test_a_wanted_jaw_is_found_where_it_was_wanted(portrait):
    """Open the mouth by a known amount and find the mesh again in the result."""
    picture, mesh = portrait
    shape, pose = canonical(mesh[None])
    wanted = shape.copy()
    lower = [
        p for p in LOWER_FACE if p in JAW or p in INNER_LIPS[10:] or p in (375, 321, 405, 314, 17, 84, 181, 91, 146)
    ]
    wanted[:, lower, 1] += 0.12
    goal = apply_pose(wanted, *pose)[0, :, :2]
    face = _face(picture, mesh)
    result, matte = render(Wanted(face, goal, [(face, 1.0)]))
    out = picture.copy()
    alpha = matte[..., None] / 255.0
    place = out[face.box.y :, face.box.x :][: face.box.height, : face.box.width]
    place[:] = np.rint(place * (1 - alpha) + result * alpha).astype(np.uint8)
    seen = meshes_of([out])[0]
    before, after = (mouth_measures(canonical(m[None])[0])["opening"][0] for m in (mesh, seen.astype(np.float64)))
    asked = mouth_measures(wanted)["opening"][0]
    assert after - before > 0.5 * (asked - before)
    outside = np.ones(out.shape[:2], bool)
    outside[face.box.y : face.box.y + face.box.height, face.box.x : face.box.x + face.box.width] = False
    assert (out[outside] == picture[outside]).all()


def test_colour_of_a_darker_donor_is_matched(portrait):
    """A mouth lent by a frame 20 code values darker leaves no darker mouth."""
    picture, mesh = portrait
    face, dark = _face(picture, mesh), _face(cv2.subtract(picture, (20, 20, 20, 0)), mesh)
    result, matte = render(Wanted(face, face.mesh_P2, [(dark, 1.0)]))
    gap = (result.astype(float) - face.bgr_HWC)[matte == 255]
    assert abs(gap.mean()) < 2


@pytest.mark.parametrize("lent", [False, True])
def test_a_mouth_is_rendered_in_samples_as_it_is_in_bgr(portrait, lent):
    """Of a film of 4:2:0 pixels are never BGR; its mouths are the same, but for rounding."""
    picture, mesh = portrait
    colour = Colour.of(1, 1, 720, "yuv420p")
    goal = mesh[:, :2].copy()
    goal[list(LOWER_FACE), 1] += 4
    planes = Planes.of_bgr(np.ascontiguousarray(_face(picture, mesh).bgr_HWC), colour)
    made = []
    for pixels in (planes.bgr, planes):
        face = replace(_face(picture, mesh), pixels=pixels)
        lender = planes.bgr.astype(np.float32) * np.float32(0.9)
        lender = Planes.of_bgr(lender, colour) if isinstance(pixels, Planes) else lender
        donor = replace(face, pixels=lender, lent=True) if lent else face
        made.append(render(Wanted(face, goal, [(donor, 1.0)], grain_of=3)))
    (bgr, matte), (own, same) = made
    assert isinstance(own, Planes) and (matte == same).all()
    inside = cv2.erode(matte, np.ones((5, 5), np.uint8)) > 0
    apart, moved_by = (np.abs(bgr.astype(int) - other)[inside] for other in (own.bgr, planes.bgr))
    assert np.percentile(apart, 99) <= 8 and apart.mean() < 1.5 < moved_by.mean() / 2
    assert not own.bgr[cv2.dilate(matte, np.ones((3, 3), np.uint8)) == 0].any(), "black where nothing shows"


def test_crops_come_back_as_they_were_and_beyond_a_size_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "MEMORY_BYTES", 5_000_000)
    made = np.random.default_rng(1).integers(0, 65536, (40, 500, 400, 3), dtype=np.uint16)  # 48 MB
    tracemalloc.start()
    with crops.Crops(tmp_path) as kept:
        for n, crop in enumerate(made):
            kept.keep(2 * n, crop)
        for n in (39, 0, 17):
            np.testing.assert_array_equal(kept[2 * n], made[n] * np.float32(1 / 257))
        assert tracemalloc.get_traced_memory()[1] < 25e6
    tracemalloc.stop()
