"""Another expression: the face shows it, the rest of the picture does not know, and the lips still close on p, b and m.

Of the demo's photograph (NASA, public domain), a smile with teeth. The StyleGAN is a tiny one of made weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from people import meshes_of

from dubbing import manifest, media
from dubbing.clock import Timeline
from dubbing.errors import InputError, ManifestError, ModelError
from dubbing.expression import Look, create
from dubbing.expression.bend import region
from dubbing.expression.film import Expressed
from dubbing.expression.latent import ByLatent
from dubbing.expression.units import EMOTIONS, Units
from dubbing.face import mouth_measures
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.rewrite.photograph import WantedMouth
from dubbing.manifest.expression import EMOTIONS as NAMES
from dubbing.networks.stylegan import InStyle, Plan, plan_of
from dubbing.preflight.expression import look_at_expressions
from dubbing.records import FilmLook, Line, Patch, Track
from dubbing.store import open_store
from dubbing.testing import material

Portrait = tuple[np.ndarray, np.ndarray]
TINY = Plan(6, 16, ((8, 8), (8, 12), (12, 14), (14, 16)), (1, 1, 1, 2), 1, (16, 12, 8))


@pytest.fixture(scope="module")
def smile(demo_extra: None) -> Portrait:
    """A public-domain portrait, uint8 (520, 520, 3), smiling with teeth, and its mesh (478, 3)."""
    from dubbing.demo.portrait import photograph

    picture = cv2.resize(photograph("astronaut.png")[:260, 96:356], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return picture, meshes_of([picture] * 4)[-1].astype(np.float64)


@pytest.fixture(scope="module")
def calm(smile: Portrait) -> Portrait:
    """The same face neutralised."""
    made = create(Look(True)).edit(*smile)
    return made.bgr_HWC, meshes_of([made.bgr_HWC] * 4)[-1].astype(np.float64)


def found_in(picture: np.ndarray) -> np.ndarray:
    return meshes_of([picture] * 4)[-1].astype(np.float64)


def mouth(mesh: np.ndarray) -> dict[str, float]:
    shape, _ = Units.load().pose(mesh)
    return {name: float(value[0]) for name, value in mouth_measures(shape[None]).items()}


def test_a_smile_is_taken_away(smile: Portrait, calm: Portrait) -> None:
    units = Units.load()
    assert units.read(smile[1]).amount[12] > 0.4 > 2 * units.read(calm[1]).amount[12]
    before, after = mouth(smile[1]), mouth(calm[1])
    assert after["opening"] < 0.5 * before["opening"] and after["width"] < before["width"] - 0.04


@pytest.mark.parametrize(
    ("emotion", "more", "less"),
    [("happy", 12, 15), ("sad", 15, 12), ("surprised", 26, 4), ("surprised", 2, 4), ("angry", 7, 12), ("afraid", 5, 7)],
)
def test_the_face_shows_what_it_is_asked_to(calm: Portrait, emotion: str, more: int, less: int) -> None:
    """As seen by the mesh network in the edited picture, which knows nothing of what was asked."""
    made = create(Look(False, emotion)).edit(*calm)
    change = Units.load().change(calm[1], found_in(made.bgr_HWC))
    assert change[more] > 0.2 and change[more] > change[less] + 0.2, change


def test_half_the_strength_moves_half_as_far(calm: Portrait) -> None:
    whole, half = (create(Look(False, "happy", much)).edit(*calm).mesh_P3 - calm[1] for much in (1.0, 0.5))
    assert np.abs(whole).max() > 5
    assert np.allclose(whole, 2 * half, atol=0.5)


@pytest.mark.parametrize("emotion", ["happy", "surprised", "afraid"])
def test_only_the_face_changes_and_eyes_look_where_they_looked(calm: Portrait, emotion: str) -> None:
    picture, mesh = calm
    made = create(Look(False, emotion)).edit(picture, mesh)
    x, y, width, height = region(np.stack([mesh, made.mesh_P3]), (520, 520))
    outside = np.ones(picture.shape[:2], bool)
    outside[y : y + height, x : x + width] = False
    assert (made.bgr_HWC[outside] == picture[outside]).all()
    for centre, edge in ((468, 469), (473, 474)):
        radius = float(np.linalg.norm(mesh[centre, :2] - mesh[edge, :2]))
        disc = np.zeros(picture.shape[:2], np.uint8)
        cv2.circle(disc, np.rint(mesh[centre, :2]).astype(int).tolist(), max(1, round(0.4 * radius)), 1, -1)
        apart = np.abs(made.bgr_HWC[disc > 0].astype(int) - picture[disc > 0])
        assert np.median(apart) <= 1, "the pupil stays, pixel by pixel"


def test_a_face_that_will_speak_keeps_its_lips_for_the_words(calm: Portrait) -> None:
    alone, speaks = (create(Look(False, "surprised"), speaks=s).edit(*calm).mesh_P3 for s in (False, True))
    assert mouth(alone)["opening"] > mouth(speaks)["opening"] + 0.05
    assert np.allclose(alone[[105, 334]], speaks[[105, 334]], atol=0.5), "the brows rise all the same"


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_close_for_p_b_and_m_at_any_emotion(calm: Portrait, emotion: str) -> None:
    """The wanted mouth, frame by frame, on the edited photograph: shut where it is shut on the neutral one."""
    count = 75
    wave = material.voice(material.openings(count))
    found = []
    for wanted in ("neutral", emotion):
        edited = create(Look(False, wanted)).edit(*calm).bgr_HWC if wanted != "neutral" else calm[0]
        meshes = np.repeat(found_in(edited)[None].astype(np.float32), count, 0)
        track = Track("shot_0001/face_1", np.arange(count, dtype=np.int32), meshes, np.ones(count, bool),
                      np.zeros(count, np.float32), 300.0)  # fmt: skip
        line = Timeline(np.arange(count), Fraction(1, 25), count, Fraction(25))
        work = RenderRequest(Path("none.mp4"), line, (520, 520), track, (Line(track.id, 0, count),), wave,
                             np.ones(count, bool), None, still=True)  # fmt: skip
        mouth = WantedMouth(work, 0.0, 1.0, 4)
        found.append(np.array([mouth.shape(n)[1] for n in range(count)]))
    neutral, shown = found
    assert (neutral < 0.01).sum() > 3, "the sentence has closures"
    assert (shown[neutral < 0.01] < 0.01).all()
    assert np.corrcoef(neutral, shown)[0, 1] > 0.9, "an expression does not bias what is said"


def test_the_manifest_knows_the_emotions_and_names_them(tmp_path: Path) -> None:
    assert NAMES == tuple(EMOTIONS)
    dub = manifest.Dub(language="fr", audio="a.flac")
    still = manifest.Still(expression=manifest.Expression(emotion="happy"))
    one = manifest.Title(id="a", video="a.png", still=still, dubs=[dub])
    (read,) = manifest.Manifest.of([one]).titles
    assert read.still is not None and read.still.expression is not None and read.still.expression.emotion is not None
    assert (read.still.expression.emotion.name, read.still.expression.emotion.strength) == ("happy", 1.0)
    with pytest.raises(ManifestError, match=r"no emotion 'smug'; there are: neutral, happy, sad, angry, surprised"):
        manifest.Emotion(name="smug")
    with pytest.raises(ManifestError, match="goes from 0"):
        manifest.Emotion(name="sad", strength=2)
    with pytest.raises(ManifestError, match="says nothing"):
        manifest.Expression(neutralise=False)
    with pytest.raises(ManifestError, match="wants 'model', a file"):
        manifest.Expression(by="latent")


@pytest.fixture(scope="module")
def made_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny encoder and generator as pSp's files hold them, and directions."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    net = InStyle(TINY).eval()
    state = net.state_dict()
    latent = state.pop("latent_avg")
    state["decoder.style.1.weight"] = torch.zeros(2, 2)  # the mapping network, which nothing here asks
    torch.save({"state_dict": state, "latent_avg": latent, "opts": {"stylegan_size": 16}}, folder / "e4e.pt")
    torch.save({"happy": torch.randn(6, 16), "sad": torch.randn(16)}, folder / "directions.pt")
    return folder / "e4e.pt", folder / "directions.pt"


def test_styles_are_moved_and_only_the_face_is_drawn_anew(smile: Portrait, made_weights: tuple[Path, Path]) -> None:
    picture, mesh = smile
    editor = ByLatent(Look(False, "happy"), *made_weights)
    assert editor.plan == TINY
    made = editor.edit(picture, mesh)
    changed = (made.bgr_HWC != picture).any(-1)
    oval = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(oval, cv2.convexHull(np.rint(mesh[:, :2]).astype(np.int32)), 1)
    assert changed.sum() > 0.2 * oval.sum() and not changed[oval == 0].any()
    again = ByLatent(Look(False, "happy"), *made_weights).edit(picture, mesh)
    assert (again.bgr_HWC == made.bgr_HWC).all()
    still = ByLatent(Look(False, "happy", 0.0), *made_weights).edit(picture, mesh)
    assert (still.bgr_HWC == picture).all(), "no strength, no change"
    calmed = ByLatent(Look(True, "neutral"), *made_weights).edit(made.bgr_HWC, mesh)
    assert calmed.mesh_P3.shape == (478, 3)


def test_networks_are_named_as_they_were_published() -> None:
    named = {
        "encoder.input_layer.0.weight", "encoder.body.0.res_layer.5.fc1.weight",
        "encoder.body.1.shortcut_layer.0.weight",
        "encoder.styles.5.convs.2.bias", "encoder.styles.0.linear.weight", "encoder.latlayer1.bias", "latent_avg",
        "decoder.input.input", "decoder.conv1.conv.modulation.weight", "decoder.convs.0.conv.blur.kernel",
        "decoder.convs.3.activate.bias", "decoder.to_rgbs.1.upsample.kernel", "decoder.noises.noise_4",
    }  # fmt: skip
    assert named <= set(InStyle(TINY).state_dict())


def test_weights_of_another_kind_are_refused_in_a_sentence(made_weights: tuple[Path, Path], tmp_path: Path) -> None:
    model, directions = made_weights
    with pytest.raises(ModelError, match="no direction for 'angry'; it has: happy, sad"):
        ByLatent(Look(False, "angry"), model, directions)
    with pytest.raises(ModelError, match="no checkpoint of encoder and generator"):
        plan_of(torch.load(directions), "directions.pt")
    torch.save({"happy": torch.zeros(3)}, tmp_path / "short.pt")
    with pytest.raises(ModelError, match=r"'happy' is \(3,\), but a direction of e4e.pt is \(16,\)"):
        ByLatent(Look(False, "happy"), model, tmp_path / "short.pt")


def test_a_check_says_how_faces_will_look_and_what_of_it_cannot_be(tmp_path: Path) -> None:
    with media.ClipWriter(tmp_path / "film.mp4", 64, 64, Fraction(25)) as clip:
        for _ in range(10):
            clip.frame(np.zeros((64, 64, 3), np.uint8))
    wanted = [
        manifest.FilmExpression(
            only=manifest.Parts(frames=["2-8"]), emotion=manifest.Emotion(name="sad", strength=0.5)
        ),
        manifest.FilmExpression(only=manifest.Parts(frames=["2-80"])),
        manifest.FilmExpression(only=manifest.Parts(characters=["ANNA"])),
    ]
    dub = manifest.Dub(language="fr", audio=tmp_path / "a.flac")
    one = manifest.Title(id="a", video=tmp_path / "film.mp4", dubs=[dub], expression=wanted)
    problems: dict[object, str] = {}

    def attempt(key: object, call: Callable[..., object], *args: object) -> None:
        try:
            call(*args)
        except InputError as e:
            problems[key] = str(e)

    info = media.probe(tmp_path / "film.mp4")
    notes = look_at_expressions(one, info, open_store(tmp_path / "out"), tuple, attempt)
    assert notes[0] == "a: who speaks is neutralised and made sad (0.5) in 2-8."
    assert set(problems) == {("expression", 1, "only"), ("expression", 2, "only")}
    assert "frames 2-80 is outside the film" in problems["expression", 1, "only"]
    assert "'ANNA' is no character of the title" in problems["expression", 2, "only"]


def test_an_actor_of_a_film_changes_in_the_part_and_under_the_mouth_that_speaks(calm: Portrait, tmp_path: Path) -> None:
    """Twenty frames of one face: happy in frames 8 to 16, a mouth painted green in frames 10 to 12."""
    picture, mesh = calm
    path, count = tmp_path / "film.mp4", 20
    with media.ClipWriter(path, 520, 520, Fraction(25), crf=0.0) as clip:
        for _ in range(count):
            clip.frame(picture)
    meshes = np.repeat(mesh[None].astype(np.float32), count, 0)
    track = Track("shot_0001/face_1", np.arange(count, dtype=np.int32), meshes, np.ones(count, bool),
                  np.zeros(count, np.float32), 300.0)  # fmt: skip
    work = RenderRequest(path, media.timeline(path), (520, 520), track, (Line(track.id, 10, 12),),
                         np.zeros(count * 640, np.float32), np.ones(count, bool), None)  # fmt: skip
    x, y = (int(v) // 2 * 2 for v in mesh[13, :2])
    green = np.full((8, 8, 3), (0, 255, 0), np.uint8)

    def patches(window: tuple[int, int] | None) -> list[Rendered]:
        asked = replace(work, window=window)
        spoken = (Rendered(Patch(f, x - 4, y - 4, green, np.full((8, 8), 255, np.uint8)), 0.1)
                  for _, a, b in asked.spans for f in range(a, b))  # fmt: skip
        looks = [FilmLook(Look(False, "happy"), ((8, 16),))]
        return list(Expressed(looks, asked, np.ones(count, bool)).over(asked, spoken))

    whole = patches(None)
    frames = [one.patch.frame for one in whole]
    assert frames == list(range(8, 16)) and len({one.patch.bgr_HWC.shape for one in whole}) == 1
    moved = [float((one.patch.matte_HW > 0).mean()) for one in whole]
    assert min(moved) > 0.2
    spoken = [one for one in whole if not np.isnan(one.wanted_opening)]
    assert [one.patch.frame for one in spoken] == [10, 11] and spoken == [one for one in whole if one.mouth]
    for one in whole:
        green_px = (one.patch.bgr_HWC.astype(int) @ (-1, 2, -1) > 200).sum()
        assert (green_px > 20) == (one in spoken)
    parts = [*patches((0, 11)), *patches((11, 20))]
    assert [one.patch.frame for one in parts] == frames
    assert all((a.patch.bgr_HWC == b.patch.bgr_HWC).all() for a, b in zip(parts, whole, strict=True))
