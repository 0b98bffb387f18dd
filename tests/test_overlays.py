"""Letters over a face in a run: masks of a manifest, what `dub check` says of them, and what lipsync leaves alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from command import Dub
from films import plain_job
from made import put, ref

from dubbing import manifest
from dubbing.analysis.burned_in import Cover
from dubbing.analysis.overlays import KeepOut
from dubbing.artifact import File
from dubbing.artifacts.overlays import Overlays, load_letters, load_overlays, save_letters, save_overlays
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound
from dubbing.artifacts.speakers import Decision
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline
from dubbing.errors import ManifestError
from dubbing.face import OUTER_LIPS
from dubbing.generators import Rendered, RenderRequest
from dubbing.records import Patch, Track
from dubbing.stages import lipsync, overlays
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.stages.overlays import FindOverlays, FindOverlaysInputs
from dubbing.stages.shots import Shots, ShotsInputs

CASES = Path(__file__).parents[2] / "shared" / "cases"
LINE = Timeline(np.arange(400), Fraction(1, 25), 400, Fraction(25))


def job(folder: Path, mask: Any) -> Path:
    """The manifest of a plain film of 128x96, 50 frames, with a mask."""
    path = plain_job(folder, {"fr": "fr.wav"}, 50)
    plain = yaml.safe_load(path.read_text())
    plain["titles"][0]["mask"] = mask
    path.write_text(yaml.safe_dump(plain))
    return path


def drawn(folder: Path, size: tuple[int, int] = (128, 96), light: int = 255, name: str = "mask.png") -> None:
    picture = np.zeros((size[1], size[0]), np.uint8)
    picture[10:20, 10:50] = light
    cv2.imwrite(str(folder / name), picture)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (7, "'mask' is a PNG, or a list of masks with a file or a box; found 7"),
        ([], "'mask' is a PNG, or a list"),
        ([{"frames": "3-9"}], "a mask has a 'file' or a 'box', one of the two"),
        ([{"box": [1, 2, 3]}], "'box' is four whole numbers"),
        ([{"box": [1, 2, 0, 3]}], "width and height at least 1"),
        ([{"box": [1, 2, 3, 4], "frames": "9"}], "no range of frames"),
        ([{"box": [1, 2, 3, 4], "frames": "1-9", "timecodes": "01:00:00:00-01:00:01:00"}], "not both"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(tmp_path: Path, mask: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=said.replace("[", r"\[")) as caught:
        manifest.load(job(tmp_path, mask))
    assert "line" in str(caught.value)


def test_check_says_what_masks_cover_and_what_is_wrong_with_them(tmp_path: Path, dub: Dub) -> None:
    drawn(tmp_path)
    drawn(tmp_path, size=(64, 48), name="small.png")
    drawn(tmp_path, light=0, name="black.png")
    (tmp_path / "text.png").write_text("no picture")
    good: list[dict[str, Any]] = [{"file": "mask.png"}, {"box": [0, 80, 64, 16], "frames": "25-50"}]
    code, out, err = dub("check", job(tmp_path, good))
    assert code == 0
    assert "mask mask.png covers 3.3 % of the picture in all frames" in out + err
    assert "mask the box [0, 80, 64, 16] covers 8.3 % of the picture in 25 frames, 25-50" in out + err
    bad = [
        {"file": "small.png"}, {"file": "black.png"}, {"file": "text.png"}, {"file": "gone.png"},
        {"box": [0, 90, 10, 10]}, {"box": [0, 0, 9, 9], "frames": "40-60"},
    ]  # fmt: skip
    code, out, err = dub("check", job(tmp_path, bad))
    said = out + err
    assert code == 2
    for part in ("64x48, and the film's upright picture is 128x96", "black everywhere", "no picture that can be read",
                 "there is no file", "reaches outside the picture", "frames 40-60 is outside the film"):  # fmt: skip
        assert part in said, part


def test_masks_come_back_as_they_were_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    covers = [Cover(3, 9, 10, 12, rng.random((7, 13)) > 0.5, 0.04), Cover(0, 50, 0, 0, np.ones((5, 3), bool), 0, True)]
    put(tmp_path, save_overlays(tmp_path, covers))
    for one, other in zip(covers, load_overlays(tmp_path), strict=True):
        assert (one.mask_HW == other.mask_HW).all()
        assert (one.start, one.end, one.x, one.y, one.given) == (other.start, other.end, other.x, other.y, other.given)
    assert save_overlays(tmp_path, []).content == ""
    assert Overlays.read(tmp_path).content
    assert load_letters(tmp_path) == {}
    for found in ({}, {"a": [], "b": covers[:1], "c": [], "d": [covers[0], replace(covers[1], given=False)]}):
        save_letters(tmp_path, found)
        back = load_letters(tmp_path)
        assert list(back) == list(found)
        for one, other in zip(sum(found.values(), []), sum(back.values(), []), strict=True):
            assert vars(one) | {"mask_HW": one.mask_HW.tolist()} == vars(other) | {"mask_HW": other.mask_HW.tolist()}


def face() -> Track:
    """A face of which the lips lie at 100 to 140 across and 100 to 120 down, eyes 80 apart."""
    count = 200
    frames_N, mesh_NP3 = np.arange(100, 300, dtype=np.int32), np.zeros((count, 478, 3), np.float32)
    one = Track("shot_0001/face_1", frames_N, mesh_NP3, np.ones(count, bool), np.zeros(count, np.float32), 200.0)
    angle = np.linspace(0, 2 * np.pi, len(OUTER_LIPS), endpoint=False)
    one.mesh_NP3[:, list(OUTER_LIPS), 0] = 120 + 20 * np.cos(angle)
    one.mesh_NP3[:, list(OUTER_LIPS), 1] = 110 + 10 * np.sin(angle)
    one.mesh_NP3[:, [33, 263], 0] = 80, 160
    return one


def taken(
    monkeypatch: pytest.MonkeyPatch, folder: Path, covers: list[Cover], asked: list[RenderRequest] | None = None,
    window: tuple[int, int] | None = None,
) -> Take:  # fmt: skip
    """The take of a face that speaks from frame 120 to 200, by a generator that makes grey patches at (80, 90)."""

    def render(work: RenderRequest) -> Iterator[Rendered]:
        if asked is not None:
            asked.append(work)
        for _, a, b in work.spans:
            for n in range(a, b):
                grey = np.full((64, 64, 3), 127, np.uint8)
                yield Rendered(Patch(n, 80, 90, grey, np.full((64, 64), 255, np.uint8)), 0.1)

    about = SimpleNamespace(upright_size=(640, 360), video=None)
    monkeypatch.setattr(lipsync.media, "load_timeline", lambda folder: LINE)
    monkeypatch.setattr(lipsync.media, "probe", lambda path: about)
    monkeypatch.setattr(lipsync, "load_tracks", lambda folder: [face()])
    monkeypatch.setattr(lipsync, "load_wave", lambda folder, first, last: np.zeros(last - first, np.float32))
    monkeypatch.setattr(lipsync, "create", lambda *about: SimpleNamespace(render=render, name="grey", hash="0"))
    says = FaceTurns("shot_0001/face_1", 0, ((120, 200),), ((120, 200),))
    found = folder / "overlays"
    found.mkdir()
    over = put(found, save_overlays(found, covers))
    inputs = lipsync.LipsyncInputs(
        100, 300, File(folder, "0"), ref(FaceTracks, folder), Decision("shot_0001", None, None, 200.0, 0.0, 0),
        ShotTurns("shot_0001", ((120, 200),), (says,)), "0", "grey", "0", 45.0, 1, over="1", settings={},
        sound=ref(DubSound, folder), timeline=ref(ShotList, folder), overlays=over, window=window, unmeasured=True,
    )  # fmt: skip
    (folder / "take").mkdir()
    return lipsync.Lipsync().process(inputs, folder / "take", lambda frames: None)


def box(start: int, end: int, y: int, edges: float = 0.1) -> Cover:
    return Cover(start, end, 110, y, np.ones((8, 20), bool), edges)


def test_letters_over_the_lips_leave_the_shot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take = taken(monkeypatch, tmp_path, [box(100, 300, 106)])
    assert (take.status, take.reason, take.doubt) == ("untouched", "burned_in", None)


def test_thin_evidence_asks_for_review(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take = taken(monkeypatch, tmp_path, [box(100, 300, 106, edges=0.015)])
    assert take.reason == "burned_in" and "thin evidence" in (take.doubt or "")


def test_frames_with_letters_over_the_lips_are_left_and_lend_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[RenderRequest] = []
    take = taken(monkeypatch, tmp_path, [box(150, 170, 106)], asked)
    assert take.status == "dubbed" and take.covered_frames == 0
    assert "letters lie over the lips in 20 of" in (take.doubt or "")
    ((first, second),) = [f.lines for f in take.faces]
    assert first[1] == 150 and second[0] == 170
    assert not asked[0].track.seen_N[50:70].any() and asked[0].track.seen_N[:50].all()


def test_letters_on_the_chin_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take = taken(monkeypatch, tmp_path, [box(150, 170, 140)])
    assert (take.status, take.doubt, take.covered_frames) == ("dubbed", None, 20)
    for patch in lipsync.media.read_patches(tmp_path / "take" / take.faces[0].folder):
        letters = patch.matte_HW[140 - 90 : 148 - 90, 110 - 80 : 130 - 80]
        assert (letters == (0 if 150 <= patch.frame < 170 else 255)).all()
        assert patch.matte_HW[10, 10] == 255


def test_a_window_leaves_the_same_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take = taken(monkeypatch, tmp_path, [box(150, 170, 106), box(120, 140, 140)], window=(130, 200))
    assert take.faces[0].frames == 200 - 130 - 20 and take.covered_frames == 10


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
def test_a_name_across_a_mouth_and_a_timecode_on_its_chin_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the faces, while their pictures are there, or by decoding the shot again: the same."""
    subprocess.run([sys.executable, "-B", "w13_burned_in.py", str(tmp_path)], cwd=CASES, check=True)
    film = File(tmp_path / "film.mp4", "")
    shots, faces, out, plain, later = (tmp_path / n for n in ("shots", "faces", "out", "plain", "later"))
    for folder in (shots, faces, out, plain, later):
        folder.mkdir()
    cuts = put(shots, Shots().process(ShotsInputs(film, None, 3.0, 6), shots, lambda n: None))
    stage = Faces()
    stage.setup()
    try:
        seen = put(faces, stage.process(FacesInputs(0, 125, film, 1, cuts, letters=True), faces, lambda n: None))
    finally:
        stage.close()
    for name in ("tracks.npz", "faces.npz"):
        shutil.copy(faces / name, plain / name)
    for found, folder in ((put(plain, seen.read()), later), (seen, out)):
        inputs = FindOverlaysInputs(found, 40.0, 0, 125, film=film, timeline=cuts)
        made = put(folder, FindOverlays().process(inputs, folder, print))
        monkeypatch.setattr(overlays.media, "read", None)  # the second time no picture is needed
    assert Overlays.read(later) == Overlays.read(out)
    keep, (man,) = KeepOut(load_overlays(made.folder)), load_tracks(faces)
    assert keep.blocked(man).mean() > 0.9 and not keep.thin(0, 125)
    for n in (0, 60, 124):  # the timecode's plate, all of it
        plate = keep.mask(n, 432, 470, 246, 40, 0)
        assert plate is not None and plate.mean() > 0.98
