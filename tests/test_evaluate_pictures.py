"""Pictures compared with pictures: equal ones get the best number, made differences get the number they must."""

import cv2
import numpy as np
import pytest

from dubbing.evaluate import pictures
from dubbing.evaluate.rendering import flicker, lay, lmd, matte_in, similarity
from dubbing.face import LIPS
from dubbing.records import Patch


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    """Blocks and strokes with sharp edges, uint8 (192, 192, 3)."""
    rng = np.random.default_rng(4)
    picture = np.full((192, 192, 3), 90, np.uint8)
    for _ in range(60):
        x, y, w, h = rng.integers(0, 180, 2).tolist() + rng.integers(6, 40, 2).tolist()
        cv2.rectangle(picture, (x, y), (x + w, y + h), rng.integers(0, 256, 3).tolist(), -1)
    return picture


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def test_equal_pictures_get_the_best_numbers(texture):
    assert pictures.psnr_db(texture, texture) == pictures.MOST_DB
    assert pictures.ssim(texture, texture) == pytest.approx(1.0)
    assert pictures.seam(texture, texture, ring(192)) == pytest.approx(1.0)


def test_psnr_is_the_definition():
    grey = np.full((20, 30, 3), 100, np.uint8)
    assert pictures.psnr_db(grey, grey + 10) == pytest.approx(20 * np.log10(255 / 10))
    half = grey.copy()
    half[:10] += 20
    assert pictures.psnr_db(grey, half) == pytest.approx(10 * np.log10(255**2 / 200))


def test_ssim_is_that_of_another_implementation(texture):
    metrics = pytest.importorskip("skimage.metrics", reason="the extra `demo` brings scikit-image")
    rng = np.random.default_rng(5)
    noisy = np.clip(texture + rng.normal(0, 20, texture.shape), 0, 255).astype(np.uint8)
    a, b = (pictures.luma(p) for p in (texture, noisy))
    theirs = metrics.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert pictures.ssim(texture, noisy) == pytest.approx(theirs, abs=2e-3)
    assert pictures.ssim(texture, noisy) < 0.9


def test_cpbd_falls_with_blur(texture):
    values = [pictures.cpbd(texture), *(pictures.cpbd(blurred(texture, s)) for s in (0.8, 1.6, 3.0))]
    assert all(v is not None and 0 <= v <= 1 for v in values[:3])
    assert values[0] > 0.9
    known = [v or 0.0 for v in values]
    assert known == sorted(known, reverse=True) and known[0] - known[2] > 0.5


def test_cpbd_knows_the_just_noticeable_blur():
    """A ramp over w pixels has width w: under 5 pixels at low contrast no blur is seen, above it is."""

    def ramp(width: int, contrast: int) -> np.ndarray:
        row = np.interp(np.arange(64), [32 - width / 2, 32 + width / 2], [100, 100 + contrast])
        return np.repeat(np.tile(np.rint(row), (64, 1)).astype(np.uint8)[..., None], 3, 2)

    assert pictures.cpbd(ramp(2, 120)) == 1.0
    assert pictures.cpbd(ramp(6, 120)) == 0.0  # over 3 pixels at high contrast
    assert pictures.cpbd(np.full((64, 64, 3), 80, np.uint8)) is None


def ring(side: int) -> np.ndarray:
    matte = np.zeros((side, side), np.uint8)
    cv2.circle(matte, (side // 2, side // 2), side // 4, 255, -1)
    return cv2.GaussianBlur(matte, (0, 0), 2)


def test_a_step_at_the_mattes_edge_is_a_seam_and_one_inside_is_none():
    rng = np.random.default_rng(6)
    before = np.clip(rng.normal(120, 6, (160, 160, 3)), 0, 255).astype(np.uint8)
    matte = ring(160)
    brighter = np.where(matte[..., None] > 127, before + 40, before)
    assert pictures.seam(before, brighter, matte) > 2
    inside = before.copy()
    inside[75:85, 75:85] = 255
    assert pictures.seam(before, inside, matte) == pytest.approx(1.0)
    assert pictures.seam(before, brighter, np.zeros((160, 160), np.uint8)) is None


def test_a_gradient_along_the_edge_does_not_count():
    matte = np.zeros((100, 100), np.uint8)
    matte[:, 50:] = 255
    along = np.repeat(np.tile(np.arange(0, 200, 2, dtype=np.uint8)[:, None], (1, 100))[..., None], 3, 2)
    assert pictures.across(along, matte) == pytest.approx(0.0, abs=0.01)
    assert pictures.across(np.ascontiguousarray(along.transpose(1, 0, 2)), matte) == pytest.approx(2.0, rel=0.05)


def test_second_difference_is_the_definition():
    ones, mask = np.ones((4, 4), np.float32), np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    assert pictures.second_difference(ones, 2 * ones, 3 * ones, mask) == 0
    assert pictures.second_difference(ones, 4 * ones, ones, mask) == 6


def test_similarity_finds_what_was_done():
    rng = np.random.default_rng(7)
    points = rng.uniform(0, 100, (30, 2))
    angle = 0.3
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points @ turn.T + (5, -8)
    found = similarity(points, moved)
    assert np.allclose(found[:, :2], turn) and np.allclose(found[:, 2], (5, -8))


def test_landmark_distance_is_in_inter_ocular_distances():
    rng = np.random.default_rng(8)
    mesh = rng.uniform(0, 100, (478, 3))
    mesh[33, :2], mesh[263, :2] = (20, 20), (70, 20)
    assert lmd(mesh, mesh) == (0, 0)
    moved = mesh.copy()
    moved[list(LIPS), 0] += 5
    mouth, face = lmd(moved, mesh)
    assert mouth == pytest.approx(5 / 50)
    assert face == pytest.approx(5 / 50 * len(LIPS) / 468)


def test_flicker_knows_a_still_mouth_from_a_trembling_one():
    rng = np.random.default_rng(9)
    face = rng.uniform(0, 200, (478, 3))
    still = {n: face + (n, 2 * n, 0) for n in range(10)}  # the head moves, the mouth does not
    assert flicker(still) < 1e-6
    trembling = {n: m.copy() for n, m in still.items()}
    for n, mesh in trembling.items():
        mesh[list(LIPS), 1] += 3 * (n % 2)
    assert flicker(trembling) > 0.01
    apart = {3 * n: m for n, m in trembling.items()}  # no three frames follow each other
    assert flicker(apart) == 0


def test_a_matte_and_a_face_are_laid_where_they_belong():
    patch = Patch(0, 12, 14, np.zeros((8, 10, 3), np.uint8), np.full((8, 10), 255, np.uint8))
    alpha = matte_in(patch, (10, 10, 30, 20))
    assert alpha.shape == (20, 30) and alpha[4:12, 2:12].min() == 1 and alpha.sum() == 80
    before, other = np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 200, np.uint8)
    laid = lay(before, (other, np.array([[1.0, 0, 0], [0, 1, 0]])), alpha)
    assert (laid[4:12, 2:12] == 200).all() and laid.sum() == 80 * 3 * 200
