"""Between lips that no frame has parted: teeth and shade are drawn there, nowhere else, and stay where the skull is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from people import meshes_of

from dubbing.clock import Timeline
from dubbing.face import INNER_LIPS, OUTER_LIPS
from dubbing.generators import RenderRequest
from dubbing.generators.rewrite.generator import RewriteSettings, ShotPlan
from dubbing.generators.rewrite.interior import Inside, draw, shut, tones
from dubbing.records import Line, Track

UPPER, LOWER = INNER_LIPS[:11], (INNER_LIPS[0], *INNER_LIPS[:9:-1])
Portrait = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def portrait(demo_extra: None) -> Portrait:
    """A public-domain portrait (NASA), three times as large, smiling with teeth, and its mesh (478, 2)."""
    from dubbing.demo.portrait import photograph

    picture = cv2.resize(photograph("astronaut.png")[:260, 96:356], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    return picture, meshes_of([picture] * 3)[-1][:, :2].astype(np.float64)


def eye_of(mesh: np.ndarray) -> float:
    return float(np.linalg.norm(mesh[33] - mesh[263]))


def closed(mesh: np.ndarray) -> np.ndarray:
    """Both lips meet halfway."""
    out = mesh.copy()
    middle = (mesh[list(UPPER)] + mesh[list(LOWER)]) / 2
    out[list(UPPER)], out[list(LOWER)] = middle, middle
    return out


def opened(mesh: np.ndarray, by: float) -> np.ndarray:
    """The lower lip so far below closed lips, in eye distances."""
    out = closed(mesh)
    out[list(LOWER[1:-1]), 1] += by * eye_of(mesh) * np.sin(np.linspace(0, np.pi, 11))[1:-1]
    return out


def gap_of(goal: np.ndarray, shape: tuple[int, ...], inset: float) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(goal[list(INNER_LIPS)]).astype(np.int32)], 1)
    size = max(1, round(abs(inset)))
    kernel = np.ones((2 * size + 1, 2 * size + 1), np.uint8)
    return (cv2.erode(mask, kernel) if inset > 0 else cv2.dilate(mask, kernel)).astype(bool)


def drawn(portrait: Portrait, by: float, own: bool = False, share: float = 1.0) -> np.ndarray:
    picture, mesh = portrait
    out = shut(picture, mesh)
    inside = Inside(tones(picture, mesh), closed(mesh), own, share)
    draw(out, picture, mesh, opened(mesh, by), inside, (0, 0))
    return out


def test_the_inside_is_drawn_between_the_lips_only(portrait: Portrait) -> None:
    picture, mesh = portrait
    eye = eye_of(mesh)
    goal = opened(mesh, 0.2)
    before, after = shut(picture, mesh).astype(int), drawn(portrait, 0.2).astype(int)
    outside = ~gap_of(goal, picture.shape, -0.02 * eye)
    assert (after[outside] == before[outside]).all()
    inside = gap_of(goal, picture.shape, 0.02 * eye)
    assert inside.sum() > 1000 and np.abs(after[inside] - before[inside]).mean() > 25


def test_teeth_are_above_and_dark_is_below(portrait: Portrait) -> None:
    picture, mesh = portrait
    eye = eye_of(mesh)
    after = cv2.cvtColor(drawn(portrait, 0.2), cv2.COLOR_BGR2GRAY).astype(float)
    x, y = (int(round(v)) for v in closed(mesh)[13])
    column = after[y : y + round(0.18 * eye), x - 3 : x + 4].mean(1)
    teeth, dark = column[round(0.012 * eye) : round(0.03 * eye)].mean(), column[round(0.06 * eye) : round(0.08 * eye)]
    skin = after[np.rint(mesh[50, 1]).astype(int), np.rint(mesh[50, 0]).astype(int)]
    assert 0.5 * skin < teeth < skin, "lit, and no lighter than the skin"
    assert dark.mean() < 0.35 * teeth


def test_teeth_stay_where_they_are_when_the_jaw_drops(portrait: Portrait) -> None:
    picture, mesh = portrait
    eye = eye_of(mesh)
    edges = []
    for by in (0.14, 0.18, 0.22):
        after = cv2.cvtColor(drawn(portrait, by), cv2.COLOR_BGR2GRAY).astype(float)
        x, y = (int(round(v)) for v in closed(mesh)[13])
        column = after[y + round(0.012 * eye) : y + round(0.08 * eye), x - 3 : x + 4].mean(1)
        edges.append(int(np.argmin(np.diff(column))))
    assert np.ptp(edges) <= 1, edges


def test_a_small_gap_is_dark_and_a_closed_one_is_not_drawn(portrait: Portrait) -> None:
    picture, mesh = portrait
    assert (drawn(portrait, 0.0) == shut(picture, mesh)).all()
    assert (drawn(portrait, 0.2, share=0.0) == shut(picture, mesh)).all()
    inside = gap_of(opened(mesh, 0.03), picture.shape, 2)
    lips = drawn(portrait, 0.0)[inside].mean()
    assert drawn(portrait, 0.03)[inside].mean() < 0.8 * lips


def test_what_the_photograph_shows_between_its_lips_is_kept_unbent(portrait: Portrait) -> None:
    picture, mesh = portrait
    eye = eye_of(mesh)
    both = gap_of(mesh, picture.shape, 0.02 * eye) & gap_of(opened(mesh, 0.25), picture.shape, 0.02 * eye)
    assert both.sum() > 60
    assert np.abs(drawn(portrait, 0.25, own=True)[both].astype(int) - picture[both]).mean() < 4
    assert np.abs(drawn(portrait, 0.25)[both].astype(int) - picture[both]).mean() > 12


def test_lips_grow_over_the_teeth_and_nothing_else_changes(portrait: Portrait) -> None:
    picture, mesh = portrait
    eye = eye_of(mesh)
    after = shut(picture, mesh)
    around = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(around, [np.rint(mesh[list(OUTER_LIPS)]).astype(np.int32)], 1)
    around = cv2.dilate(around, np.ones((5, 5), np.uint8))  # the lip's edge, to which the mesh does not fit exactly
    assert (after[around == 0] == picture[around == 0]).all()
    inside = gap_of(mesh, picture.shape, 0.02 * eye)
    light = [float(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)[inside].mean()) for p in (picture, after)]
    assert light[1] < 0.8 * light[0], "teeth are lighter than lips"


def plan(openings: np.ndarray, wave: np.ndarray) -> ShotPlan:
    """A speaking track without a film: a face in the air whose mouth opens so far."""
    data = pytest.importorskip("skimage.data", reason="the extra `demo` brings the portrait")
    picture = np.ascontiguousarray(data.astronaut()[..., ::-1])
    mesh = meshes_of([picture])[0]
    eye = eye_of(mesh[:, :2])
    meshes = np.repeat(mesh[None], len(openings), 0)
    rest = meshes[0, [13, 82, 312], 1]
    for n, opening in enumerate(openings):
        meshes[n, list(UPPER), 1] = np.interp(np.arange(11), [0, 5, 10], [mesh[78, 1], rest[0], mesh[308, 1]])
        lower = meshes[n, list(UPPER)].copy()
        lower[1:-1, 1] += opening * eye
        meshes[n, list(LOWER)[1:-1]] = lower[1:-1]
    count = len(openings)
    line = Timeline(np.arange(count), Fraction(1, 25), count, Fraction(25))
    track = Track("shot_0001/face_1", np.arange(count, dtype=np.int32), meshes.astype(np.float32),
                  np.ones(count, bool), np.zeros(count, np.float32), 200.0)  # fmt: skip
    work = RenderRequest(Path("none.mp4"), line, (512, 512), track, (Line(track.id, 0, count),), wave,
                np.ones(count, bool), None)  # fmt: skip
    return ShotPlan(work, RewriteSettings())


def speech(frames: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    t = np.arange(frames * 640) / 16000
    return (0.3 * rng.standard_normal(len(t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def test_a_silent_film_lends_its_own_open_mouths_and_the_rest_is_drawn() -> None:
    openings = 0.06 + 0.06 * np.sin(np.arange(100) / 4)
    found = plan(openings, speech(100))
    assert found.alone
    lent_by = found.lent(0, 100)
    colours = tones(np.full((512, 512, 3), 128, np.uint8), found.mesh_NP2[0])
    for n in range(100):
        inside = found.inside(0, n, lent_by, colours)
        wanted, lent = found.want_N3[n, 0], found.have_N3[int(lent_by.path_T[n]), 0]
        if wanted <= 1.15 * lent:
            assert inside is None, "the donor's own mouth is shown"
        else:
            assert inside is not None and not inside.own
            assert inside.share == pytest.approx(min(1.0, (wanted - 1.15 * lent) / 0.03))
    mute = plan(np.zeros(100), speech(100))
    wide = mute.want_N3[:, 0] > 0.05
    assert wide.any()
    inside = mute.inside(0, int(np.flatnonzero(wide)[0]), mute.lent(0, 100), colours)
    assert inside is not None and inside.share == 1.0
