"""rewrite's steadiness: what trembles is smoothed, what moves stays, donors change softly, shapes are bounded."""

import numpy as np
import pytest

from dubbing.face import LIPS, LOWER_FACE, apply_pose
from dubbing.generators.rewrite.bounds import Cloud
from dubbing.generators.rewrite.select import choose
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace, parted
from dubbing.generators.rewrite.steady import carried, settled, steady
from dubbing.generators.rewrite.transitions import ALIKE, dissolves, own_lips

FRAMES = 60


def head(frames: int = FRAMES) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A face of points that does not move, 100 px wide, and its pose."""
    face = np.random.default_rng(1).uniform(-1, 1, (478, 3))
    turns = np.repeat(np.eye(3)[None], frames, 0)
    return np.repeat(face[None], frames, 0), (np.full(frames, 100.0), turns, np.zeros((frames, 3)))


def trembling(size: float) -> np.ndarray:
    return np.random.default_rng(2).normal(0, size, (FRAMES, 478, 3))


def jitter(points: np.ndarray) -> float:
    return float(np.abs(np.diff(points, 2, axis=0)).mean())


def test_a_still_mouth_is_stiller_than_its_mesh() -> None:
    full, pose = head()
    mesh = full + trembling(0.002)
    smooth, _ = steady(mesh, pose)
    assert jitter(smooth[:, list(LIPS)]) < 0.5 * jitter(mesh[:, list(LIPS)])


def test_a_head_that_jerks_keeps_its_mouth() -> None:
    full, (scale, turns, shift) = head()
    shift[30:, 1] = 12.0  # pixels, from one frame to the next, as where a frame is missing
    mesh = full + trembling(0.001)
    smooth, kept = steady(mesh, (scale, turns, shift))
    apart = apply_pose(smooth, *kept) - apply_pose(full, scale, turns, shift)
    assert np.abs(apart[28:32].mean(1)).max() < 0.5  # pixels


def test_a_mouth_that_opens_at_once_opens() -> None:
    full, pose = head()
    full[30:, list(LOWER_FACE), 1] += 0.1
    smooth, _ = steady(full + trembling(0.001), pose)
    assert np.abs(smooth[:, list(LOWER_FACE)] - full[:, list(LOWER_FACE)]).mean(axis=(1, 2)).max() < 0.003


def test_an_expression_is_slow_and_leaves_the_opening_alone() -> None:
    words = np.random.default_rng(3).normal(0, 0.02, (200, COEFS))
    words[100:, 1] += 0.2  # from here on the face smiles
    mood = carried(words, 25.0)
    assert (mood[:, 0] == 0).all()
    assert mood[150, 1] - mood[50, 1] > 0.05
    assert jitter(mood) < 0.02 * jitter(words)
    left = np.random.default_rng(4).normal(0, 0.01, (200, len(LOWER_FACE), 3))
    assert jitter(settled(left, 25.0)) < 0.2 * jitter(left)


def mouths(count: int = 300) -> np.ndarray:
    """Shapes of one actor whose lips purse as they narrow."""
    rng = np.random.default_rng(5)
    coef = rng.normal(0, 1, (count, COEFS)) * 0.03
    coef[:, 0] = np.abs(coef[:, 0]) * 2
    coef[:, 2] = -0.8 * coef[:, 1] + 0.005 * rng.normal(0, 1, count)
    return coef


def cloud(have: np.ndarray) -> Cloud:
    return Cloud.of(have, np.ones(len(have), bool), have.mean(0), have.std(0), 0.1)


def test_wanted_shapes_lie_within_what_the_face_shows() -> None:
    have = mouths()
    bounds = cloud(have)
    wanted = np.random.default_rng(6).normal(0, 0.15, (200, COEFS))
    got = bounds.within(wanted)
    assert (bounds.distance(wanted) > bounds.reach).mean() > 0.5
    assert (bounds.distance(got) <= bounds.reach * (1 + 1e-9)).all()
    assert got[:, 0].max() <= bounds.opening
    # wide and pursed at once was never shown, though each was
    both = np.zeros((1, COEFS))
    both[0, 1:3] = np.quantile(have[:, 1], 0.95), np.quantile(have[:, 2], 0.95)
    assert np.linalg.norm(bounds.within(both) - both) > 0.01


def test_what_was_shown_and_the_closed_mouth_stay_as_they_are() -> None:
    have = mouths()
    bounds = cloud(have)
    near = have[bounds.distance(have) < 0.7 * bounds.reach]
    near = near[near[:, 0] < 0.7 * bounds.opening]
    assert len(near) > 100
    np.testing.assert_allclose(bounds.within(near), near)
    rest = np.zeros((1, COEFS))
    np.testing.assert_allclose(bounds.within(rest), rest)


def test_closures_survive_bounds_and_borrowed_lips() -> None:
    have = mouths()
    wanted = np.random.default_rng(7).normal(0, 0.15, (50, COEFS))
    wanted[:, 0] = 0
    got = cloud(have).within(wanted)
    assert (got[:, 0] == 0).all()
    rest = np.random.default_rng(8).normal(0, 0.3, (len(LOWER_FACE), 3))
    lower = ShapeSpace.load().decode(got, parted(rest[None].copy(), np.zeros(1))[0])
    lower += np.random.default_rng(9).normal(0, 0.01, lower.shape)
    shut = parted(lower, np.zeros(50))
    upper, under = LOWER_FACE.index(13), LOWER_FACE.index(14)
    assert np.abs(shut[:, upper] - shut[:, under]).max() < 1e-9


def test_a_mouth_goes_slower_and_back_rather_than_to_another_take() -> None:
    there = np.linspace(0, 3, 30)
    have = np.concatenate([there, there[::-1] + 0.3])[:, None]
    wanted = np.concatenate([there[:20:2], there[19:16:-1]])[:, None]
    turn = np.zeros((len(have), 3))
    path = choose(wanted, have, turn[: len(wanted)], turn, np.ones(len(have), bool), np.ones(1) * 3)
    assert np.abs(np.diff(path)).max() <= 3


def changes(have: np.ndarray) -> list[list[tuple[int, float]]]:
    path = np.concatenate([np.arange(0, 8), np.arange(40, 48)])
    run, usable = np.zeros(len(have), int), np.ones(len(have), bool)
    return dissolves(path, have[path], have, run, usable)


def share(lent: list[list[tuple[int, float]]]) -> np.ndarray:
    """How much of each frame comes from the second run."""
    return np.array([sum(w for d, w in lenders if d > 20) for lenders in lent])


def test_one_mouth_dissolves_into_another_that_is_like_it() -> None:
    lent = changes(np.full((60, 3), 0.1))
    assert all(sum(w for _, w in lenders) == pytest.approx(1) for lenders in lent)
    from_second = share(lent)
    assert (np.diff(from_second) >= -1e-9).all() and np.diff(from_second).max() < 0.25
    assert from_second[:5].max() == 0 and from_second[11:].min() == 1


def test_an_open_mouth_is_not_laid_over_a_closed_one() -> None:
    have = np.full((60, 3), 0.1)
    have[30:, 0] += 2 * ALIKE
    assert all(len(lenders) == 1 for lenders in changes(have))


def test_lips_look_like_the_lent_ones_and_stay_in_their_place() -> None:
    wanted, lent = np.zeros((20, len(LOWER_FACE), 3)), np.zeros((20, len(LOWER_FACE), 3))
    lower_lip = LOWER_FACE.index(17)
    lent[:, lower_lip, 1] = -0.05  # thinner
    lent += 0.3  # elsewhere on the face
    added = own_lips(lent, wanted, [[(n, 1.0)] for n in range(20)])
    lips = [LOWER_FACE.index(p) for p in LIPS]
    assert added[:, lower_lip, 1].max() < -0.02
    assert np.abs(added[:, lips].mean(1)).max() < 1e-9
    assert (np.delete(added, lips, axis=1) == 0).all()
