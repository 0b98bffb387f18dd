"""`dub talk`: a photograph says a text in one command; which of its faces, and which photographs cannot.

Made of the demo's photograph (NASA, public domain), with espeak's voice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dubbing import config, media
from dubbing.api import jobs
from dubbing.api.talking import talk
from dubbing.errors import InputError
from dubbing.manifest import Dub, Manifest, Still, Title
from dubbing.preflight.stills import unfit_face

pytestmark = pytest.mark.usefixtures("demo_extra")


@pytest.fixture(scope="module")
def picture(demo_extra: None) -> np.ndarray:
    """A public-domain portrait, uint8 (274, 300, 3)."""
    from dubbing.demo.portrait import photograph

    return np.ascontiguousarray(photograph("astronaut.png")[:274, 80:380])


def written(path: Path, bgr: np.ndarray) -> Path:
    cv2.imwrite(str(path), bgr)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: np.full_like(p, 90), "no face is found in a.png; crop it closer"),
        (lambda p: np.hstack([p, cv2.resize(p, None, fx=1.2, fy=1.2)[: len(p)]]),
         "a.png has 2 faces, of which the largest is face 2 from the left; crop it to one, or choose one by --face N"),
        (lambda p: cv2.resize(p, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), "pixels high, and from 96 on"),
    ],
)  # fmt: skip
def test_a_photograph_that_cannot_speak_is_refused_at_once(
    change: Callable[[np.ndarray], np.ndarray], said: str, picture: np.ndarray, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.png", change(picture))
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        talk(path, tmp_path / "talk.mp4", text="Hi.", language="en")
    assert not (tmp_path / "talk.mp4").exists()


def test_a_profile_is_refused(picture: np.ndarray, tmp_path: Path) -> None:
    settings = config.load().model_copy(
        update={"speakers": config.load().speakers.model_copy(update={"max_yaw_deg": 0.001})}
    )
    path = written(tmp_path / "a.png", picture)
    said = unfit_face(path, None, settings, "--face N")
    assert said is not None and "is turned by" in said and "give a picture more from the front" in said


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "give either --text or --audio"),
        ({"text": "Hi.", "audio": Path("a.wav")}, "give either --text or --audio"),
        ({"text": "Hi."}, "which language is the text in"),
        ({"text": "Hi.", "language": "en", "emotion": "glad"}, "there is no emotion 'glad'; there are: neutral, happy"),
        ({"text": "Hi.", "language": "en", "emotion": "happy:much"}, "'much' is no strength"),
        ({"text": "Hi.", "language": "en", "seed": 3}, "the generator rewrite has no seed"),
        ({"text": "Hi.", "language": "en", "face": 2}, "face 2 is asked for and a.png has 1 face"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_what_is_asked(how: dict[str, Any], said: str, picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        talk(written(tmp_path / "a.png", picture), tmp_path / "talk.mp4", **how)


def test_the_second_face_says_a_text_and_one_film_is_written(picture: np.ndarray, tmp_path: Path) -> None:
    small = cv2.resize(picture, None, fx=0.92, fy=0.92, interpolation=cv2.INTER_AREA)
    both = np.zeros((len(picture), picture.shape[1] + small.shape[1], 3), np.uint8)
    both[:, : picture.shape[1]], both[-len(small) :, picture.shape[1] :] = picture, small
    quick = config.load().model_copy(update={"proof": False})
    quick = quick.model_copy(update={"sync": quick.sync.model_copy(update={"score": False})})
    made = talk(
        written(tmp_path / "a.png", both), tmp_path / "talk.mp4", text="Pam!", language="en", face=2, config=quick,
        voice="en-us",
    )  # fmt: skip
    assert made.report.exit_code == 0 and sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "talk.mp4"]
    frames = np.stack([p.bgr().astype(np.int16) for p in media.read(made.file, media.timeline(made.file))])
    moved = np.abs(np.diff(frames, axis=0)).max((0, 3))
    left, right = moved[:, : picture.shape[1] - 20], moved[:, picture.shape[1] :]
    assert np.quantile(left, 0.999) < 12 < np.quantile(right, 0.98)
    assert media.probe(made.file).audio[0].codec == "flac"


def test_check_says_of_a_manifest_that_two_faces_are_there(picture: np.ndarray, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", np.hstack([picture, picture]))

    def found(face: int | None) -> Any:
        title = Title(id="p", video=path, dubs=[Dub(language="en", text="Pam.", voice="en-us")], still=Still(face=face))
        return jobs.check(Manifest.of([title]), tmp_path / "out", listen=False)

    assert any("a.png has 2 faces" in note and "`still: {face: 2}`" in note for note in found(None).notes)
    assert not any("has 2 faces" in note for note in found(2).notes) and not found(2).problems
    assert "face 3 is asked for and a.png has 2 faces" in str(found(3).problems[0])
