"""The demo film: what truth.json says is what the files hold."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from dubbing.demo import SCENES, SHORT, make_demo, talking_face
from dubbing.demo.voice import RATE_HZ, Speech, Utterance, lips, say
from dubbing.errors import InputError, OutputError
from dubbing.face import canonical, mouth_measures
from dubbing.media import audio_length, probe, read, read_sound, timeline

pytestmark = pytest.mark.usefixtures("demo_extra")
SIZE = (640, 360)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The 3.5 s film: 12 frames of a rocket, then 72 of a speaking face."""
    folder = make_demo(tmp_path_factory.mktemp("demo film"), scenes=SHORT, size=SIZE).parent
    return folder, json.loads((folder / "truth.json").read_text("utf-8"))


def opening(frames: list[np.ndarray]) -> np.ndarray:
    """Mouth opening as MediaPipe sees it, inter-ocular distances (N,)."""
    import mediapipe as mp

    meshes = []
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=False, refine_landmarks=True) as net:
        for bgr in frames:
            face = net.process(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).multi_face_landmarks[0]
            h, w = bgr.shape[:2]
            meshes.append([[p.x * w, p.y * h, p.z * w] for p in face.landmark])
    return mouth_measures(canonical(np.array(meshes))[0])["opening"]


def pictures(path: Path, start: int, end: int) -> list[np.ndarray]:
    return [p.bgr() for p in read(path, timeline(path), start, end)]


def test_film_is_what_the_truth_says(made: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = made
    info = probe(folder / "film.mp4")
    assert info.video is not None and info.upright_size == SIZE
    assert info.video.codec == "h264" and info.video.start_tc == "01:00:00:00"
    assert info.video.rate == Fraction(truth["rate"]) == Fraction(24000, 1001)
    line = timeline(folder / "film.mp4")
    assert len(line) == truth["frames"] == sum(s.frames for s in SHORT)
    assert line.sample(len(line), RATE_HZ) == truth["samples"]
    (sound,) = info.audio
    assert (sound.codec, sound.rate_hz, sound.channels) == ("aac", 48_000, 2)


def test_manifest_names_the_files(made: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = made
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text("utf-8"))
    (title,) = manifest["titles"]
    assert manifest["version"] == 1 and (folder / title["video"]).is_file()
    assert [d["language"] for d in title["dubs"]] == ["hi", "ta"]
    assert all((folder / d["audio"]).is_file() for d in title["dubs"])


def test_cut_is_exactly_where_the_pictures_change(made: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = made
    (cut,) = truth["cuts"]
    around = pictures(folder / "film.mp4", cut - 6, cut + 6)
    change = [float(np.abs(b.astype(int) - a).mean()) for a, b in zip(around, around[1:], strict=False)]
    assert int(np.argmax(change)) == 5
    assert change[5] > 5 * sorted(change)[-2]


def test_mouth_opens_as_the_truth_says(made: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = made
    shot = truth["shots"][1]
    seen = opening(pictures(folder / "film.mp4", shot["start_frame"], shot["end_frame"]))
    known = np.array(shot["opening_iod"])
    assert np.corrcoef(seen, known)[0, 1] > 0.9
    assert known.max() > 0.1 and np.median(seen[known == 0]) < 0.02
    assert np.allclose(known * shot["eye_distance_px"], shot["opening_px"], atol=0.01)


@pytest.mark.parametrize("language", ["hi", "ta"])
def test_dub_has_the_films_length_and_speaks_where_the_truth_says(
    made: tuple[Path, dict[str, Any]], language: str
) -> None:
    folder, truth = made
    path = folder / truth["files"][language]
    assert audio_length(path) == (truth["samples"], RATE_HZ)
    wave = read_sound(path, RATE_HZ, mono=False)
    assert wave.shape == (truth["samples"], 2)
    speech = np.zeros(len(wave), bool)
    for shot in truth["shots"]:
        for first, end in shot["speech_samples"][language]:
            shot_start, shot_end = (n * 1001 * 2 for n in (shot["start_frame"], shot["end_frame"]))
            assert first - shot_start >= 0.2 * RATE_HZ and shot_end - end >= 0.2 * RATE_HZ
            speech[first:end] = True
            loud = np.abs(wave[first:end]).max(axis=1) > 0.01
            assert loud[:2400].any() and loud[-2400:].any() and np.abs(wave[first:end]).max() > 0.3
    assert speech.any() and not wave[~speech].any()


def test_sound_of_the_film_is_in_its_place(made: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = made
    ((first, end),) = truth["shots"][1]["speech_samples"]["en"]
    room_s = SHORT[1].frames * 1001 / 24000 - 0.55  # the shot less its silent margins, as the film gave it
    (said,) = say([Utterance(SHORT[1].says["en"], "en-us+f3", room_s)])
    assert len(said.samples) == end - first
    film = read_sound(folder / "film.mp4", RATE_HZ)
    room = 480
    match = np.correlate(film[first - room : first + len(said.samples) + room], said.samples, "valid")
    assert abs(int(np.argmax(match)) - room) <= 2
    rest = np.concatenate([film[: first - room], film[end + room : truth["samples"]]])
    assert 0 < np.abs(rest).max() < 0.02


def test_making_again_gives_the_same(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, truth = made
    again = make_demo(tmp_path / "नया चलचित्र", scenes=SHORT, size=SIZE).parent
    for name in ("film.mp4", "film.hi.flac", "film.ta.flac", "manifest.yaml", "truth.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_made_demo_is_left_alone(made: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = made
    before = (folder / "film.mp4").stat().st_mtime_ns
    assert make_demo(folder, scenes=SHORT, size=SIZE) == folder / "manifest.yaml"
    assert (folder / "film.mp4").stat().st_mtime_ns == before


def test_the_full_demo_has_every_kind_of_shot() -> None:
    kinds = [(s.has_face, bool(s.says)) for s in SCENES]
    assert kinds == [(False, False), (True, True), (True, True), (False, True), (True, False)]
    assert SCENES[2].start.mirror and not SCENES[1].start.mirror
    assert all(set(s.says) == {"en", "hi", "ta"} for s in SCENES if s.says)
    assert 16 < sum(s.frames for s in SCENES) * 1001 / 24000 < 20


def test_talking_face_opens_as_asked() -> None:
    wanted = 0.11 - 0.11 * np.cos(np.linspace(0, 4 * np.pi, 25))
    frames = list(talking_face(wanted, (256, 320)))
    assert all(f.shape == (320, 256, 3) and f.dtype == np.uint8 for f in frames)
    assert np.array_equal(frames[0], next(talking_face([0.0], (256, 320))))
    assert np.corrcoef(opening(frames), wanted)[0, 1] > 0.95


def test_lips_close_for_bilabials_and_rest_outside_speech() -> None:
    speech = Speech(np.zeros(int(0.6 * RATE_HZ), np.float32), ((0.0, 0.2, "'A:"), (0.2, 0.3, "m"), (0.3, 0.6, "u:")))
    gap, spread = lips(speech, np.array([-0.4, 0.1, 0.25, 0.45, 1.0]))
    assert gap[0] == gap[4] == 0 and gap[1] > 0.6
    assert gap[2] < 0.05 and 0.1 < gap[3] < 0.4 and spread[3] < -0.5


def test_missing_extra_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dubbing\[demo\]'"):
        make_demo(tmp_path, scenes=SHORT)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Choose another folder"):
        make_demo(tmp_path / "file" / "demo", scenes=SHORT)
