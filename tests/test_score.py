"""`dub score`: any film measured. Films are made here: a patch of light is the mouth, and the louder the lighter."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Dub

from dubbing import experts, media
from dubbing.artifacts.tracks import save_tracks
from dubbing.experts import lse
from dubbing.experts.crop import Crop
from dubbing.records import Track
from dubbing.scoring import SCHEMA, FilmScore, Scorer, TrackScore, film
from dubbing.sound import RATE_HZ
from dubbing.stages.faces import FacesInputs

SIZE = (160, 120)
SQUARE = Crop(64, 44, 96, 76)
FPS25 = Fraction(25)
FRAME = RATE_HZ // 25


class Light:
    """A tiny expert: brightness of the crop beside loudness of the sound, five frames of each."""

    name, hash12, wants, crop_px = "light", "0123456789ab", "crop", 16

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[Crop]:
        return [Crop(*(int(v) for v in (*m[:, :2].min(0), *m[:, :2].max(0)))) for m in mesh_NP3]

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        assert len(frames_N) <= 126  # a block: never a whole film
        level = np.array([f.mean() for f in frames_N], np.float32) / 255
        return np.lib.stride_tricks.sliding_window_view(level, 5)[: lse.windows_in(times_s_N)]

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        assert start_s == 0
        wave = np.pad(wave_16k, (0, 10 * FRAME))[: (windows + 4) * FRAME]
        level = np.sqrt((wave.reshape(-1, FRAME) ** 2).mean(1, dtype=np.float64)).astype(np.float32)
        return np.lib.stride_tricks.sliding_window_view(level, 5)


def track(name: str, start: int, end: int, unseen: range = range(0)) -> Track:
    """A face that stays where the light is."""
    frames = np.arange(start, end, dtype=np.int32)
    corners = np.array([[SQUARE.left, SQUARE.top, 0], [SQUARE.right, SQUARE.bottom, 0]], np.float32)
    mesh = np.resize(corners, (len(frames), 478, 3)).astype(np.float32)
    seen = ~np.isin(frames, list(unseen))
    return Track(name, frames, mesh, seen, np.zeros(len(frames), np.float32), 32.0)


class Faces:
    """In place of the stage: one face in every shot. limit: frames after which it leaves; hidden: frames unseen."""

    limit: int | None = None
    hidden: range = range(0)
    asked: list[tuple[int, int]] = []

    def setup(self) -> None: ...
    def close(self) -> None: ...
    def process(self, inputs: FacesInputs, out: Path, progress: Callable[[int], None]) -> None:
        start, end = inputs.start, inputs.end
        self.asked.append((start, end))
        end = end if self.limit is None else min(end, start + self.limit)
        save_tracks(out, [track(f"shot_{inputs.number:04d}/face_1", start, end, self.hidden)])


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> type[Faces]:
    class Fresh(Faces):
        asked: list[tuple[int, int]] = []

    monkeypatch.setattr(film, "Faces", Fresh)
    monkeypatch.setattr(experts, "load", lambda name, folder=None: Light())
    return Fresh


def levels(length_s: float, seed: int = 1) -> np.ndarray:
    """How light and how loud it is, 0..1, in every 25th of a second."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, int(length_s * 25) + 1)


def wave_of(level: np.ndarray) -> np.ndarray:
    noise = np.sign(np.sin(np.arange(len(level) * FRAME) * 1.7))
    return (np.repeat(level, FRAME) * noise).astype(np.float32)


def make(
    path: Path, frames: int, rate: Fraction = FPS25, sound: bool = True, cut: int | None = None, seed: int = 1
) -> Path:
    """A film whose light follows its sound exactly; at `cut` everything else changes colour."""
    level = levels(frames / float(rate) + 1, seed)
    with media.ClipWriter(
        path, *SIZE, rate, crf=4, sample_rate_hz=RATE_HZ if sound else None, channels=1, sound_codec="flac"
    ) as clip:
        for n in range(frames):
            shade = (40, 90, 130) if cut is None or n < cut else (200, 60, 20)
            picture = np.full((SIZE[1], SIZE[0], 3), shade, np.uint8)
            picture[SQUARE.top : SQUARE.bottom, SQUARE.left : SQUARE.right] = round(
                255 * level[int((n + 0.5) / rate * 25)]
            )
            clip.frame(picture)
        if sound:
            clip.sound(wave_of(level)[: int(frames / rate * RATE_HZ)])
    return path


def measured(path: Path, audio: Path | None = None) -> FilmScore:
    with Scorer(Light()) as scorer:  # type: ignore[arg-type]
        return scorer.score(path, audio)


def only(found: FilmScore) -> TrackScore:
    assert len(found.tracks) == 1
    return found.tracks[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of one shot."""
    return make(tmp_path_factory.mktemp("film") / "a film.mkv", 300)


def moved(path: Path, early: int, length_s: float = 12, seed: int = 1) -> Path:
    """The film's own sound, `early` frames at 25 a second early."""
    wave = wave_of(levels(length_s + 1, seed))[: int(length_s * RATE_HZ)]
    shifted = np.concatenate([np.zeros(max(0, -early) * FRAME, np.float32), wave[max(0, early) * FRAME :]])
    with media.ClipWriter(path, sample_rate_hz=RATE_HZ, channels=1) as clip:
        clip.sound(shifted[: len(wave)])
    return path


# The numbers


def test_a_film_in_sync_is_in_sync(made: Path, faces: type[Faces]) -> None:
    found = measured(made)
    one = only(found)
    assert (found.frames, found.shots, found.model) == (300, 1, "light@0123456789ab")
    assert (one.id, one.start_frame, one.end_frame, one.end_tc) == ("shot_0001/face_1", 0, 300, "00:00:12:00")
    assert (one.offset_frames, one.windows, one.reason) == (0, 295, None)
    assert one.d is not None and one.c is not None and one.d < 0.2 < one.c
    assert one.distance_S is not None and one.confidence_V is not None
    assert one.distance_S.shape == (31,) and one.distance_S.min() == pytest.approx(one.d)
    assert one.confidence_V.shape == (295,) and np.median(one.confidence_V) > 0.2


@pytest.mark.parametrize("early", [-7, 1, 12])
def test_moved_sound_moves_the_offset_by_as_much(made: Path, faces: type[Faces], tmp_path: Path, early: int) -> None:
    assert only(measured(made, moved(tmp_path / "moved.wav", early))).offset_frames == early


@pytest.mark.parametrize(("rate", "late"), [(Fraction(24000, 1001), 1), (Fraction(30), 0), (Fraction(50), 0)])
def test_at_any_frame_rate(faces: type[Faces], tmp_path: Path, rate: Fraction, late: int) -> None:
    found = only(measured(make(tmp_path / "film.mkv", int(8 * rate), rate)))
    assert found.offset_frames in (0, late)  # the picture shown at an instant began up to a frame before it
    assert abs(found.windows - 195) <= 1


def test_tracks_never_cross_a_cut(faces: type[Faces], tmp_path: Path) -> None:
    found = measured(make(tmp_path / "film.mkv", 200, cut=90))
    assert [(t.id, t.start_frame, t.end_frame) for t in found.tracks] == [
        ("shot_0001/face_1", 0, 90),
        ("shot_0002/face_1", 90, 200),
    ]
    assert [(t.offset_frames, t.windows, t.start_s) for t in found.tracks] == [(0, 85, 0.0), (0, 105, 3.6)]


def test_a_long_shot_in_parts_scores_as_a_whole(
    made: Path, faces: type[Faces], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = only(measured(made))
    faces.asked.clear()
    monkeypatch.setattr(film, "PART_FRAMES", 100)
    monkeypatch.setattr(film, "PART_S", 4)
    joined = only(measured(made))
    assert faces.asked == [(0, 100), (50, 150), (100, 200), (150, 250), (200, 300)]
    assert (joined.id, joined.start_frame, joined.end_frame, joined.windows) == (whole.id, 0, 300, 295)
    np.testing.assert_allclose(joined.distance_S, whole.distance_S, atol=1e-6)
    np.testing.assert_allclose(joined.confidence_V, whole.confidence_V, atol=1e-6)


def test_parts_of_odd_rates_go_on_and_end() -> None:
    from dubbing.clock import Timeline
    from dubbing.records import Shot

    for rate in (1, 25, 60, 1000):
        line = Timeline(np.arange(20_000), Fraction(1, rate), 20_000, Fraction(rate))
        found = film.parts(Shot(1, 100, 20_000), line)
        assert (found[0][0], found[-1][1]) == (100, 20_000)
        for (a, b), (c, d) in zip(found[:-1], found[1:], strict=True):
            assert a < c < b < d and line.time(b) - line.time(c) >= 2


@pytest.mark.parametrize(("frames", "windows"), [(5, 0), (6, 1), (9, 4)])
def test_a_short_track_says_so(made: Path, faces: type[Faces], frames: int, windows: int) -> None:
    faces.limit = frames
    found = only(measured(made))
    assert found.windows == windows
    if not windows:
        assert (found.reason, found.d, found.c, found.offset_frames) == ("too_short", None, None, None)


def test_what_is_out_of_sight_does_not_count(made: Path, faces: type[Faces]) -> None:
    faces.hidden = range(100, 150)
    found = only(measured(made))
    assert found.windows == 295 - 54 and found.offset_frames == 0
    assert found.confidence_V is not None
    assert np.flatnonzero(np.isnan(found.confidence_V)).tolist() == list(range(96, 150))
    faces.hidden = range(300)
    assert only(measured(made)).reason == "out_of_sight"


# The command


def test_the_table(made: Path, faces: type[Faces], dub: Dub) -> None:
    code, out, err = dub("score", made)
    assert (code, err) == (0, "")
    row = out.splitlines()[2].split()
    assert row[0] == "shot_0001/face_1" and row[-4] == "295" and row[-1] == "+0"
    assert "light@0123456789ab" in out and "positive when the sound is early" in out
    faces.limit = 4
    assert "too short: under 6 frames" in dub("score", made)[1]


def test_json(made: Path, faces: type[Faces], dub: Dub, tmp_path: Path) -> None:
    code, out, _ = dub("score", made, "--audio", moved(tmp_path / "a.wav", 3), "--json")
    told = json.loads(out)
    assert (code, told["schema"], told["model"]) == (0, "dub.score.1", "light@0123456789ab")
    one = told["videos"][0]["tracks"][0]
    assert (one["track"], one["lse_offset_frames"], one["lse_windows"]) == ("shot_0001/face_1", 3, 295)
    assert len(one["distance"]) == 31 and len(one["confidence"]) == 295
    assert told["videos"][0]["audio"].endswith("a.wav")
    faces.hidden = range(100, 150)
    assert json.loads(dub("score", made, "--json")[1])["videos"][0]["tracks"][0]["confidence"][120] is None


def test_a_sound_of_another_length_is_noted(made: Path, faces: type[Faces], dub: Dub, tmp_path: Path) -> None:
    code, _, err = dub("score", made, "--audio", moved(tmp_path / "a.wav", 0, length_s=10.5))
    assert code == 0 and "lasts 1.50 s less than the picture" in err


def test_the_plot_is_a_picture_of_the_curves(made: Path, faces: type[Faces], dub: Dub, tmp_path: Path) -> None:
    code, _, err = dub("score", made, "--plot", tmp_path / "plots" / "$x$ y.png")
    assert (code, err) == (0, "")
    data = (tmp_path / "plots" / "$x$ y.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert picture.shape[1] > 800 and picture.shape[0] > 150
    blue = (picture[..., 0] - picture[..., 2]) > 60
    assert blue[:, : picture.shape[1] // 3].sum() > 100  # the distance
    assert blue[:, picture.shape[1] // 2 :].sum() > 300  # the confidence


def test_a_folder_becomes_a_table_and_goes_on(
    faces: type[Faces], dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "clips"
    (clips / "in").mkdir(parents=True)
    make(clips / "b.mkv", 60, seed=5)
    make(clips / "in" / "c.mkv", 80, cut=40, seed=6)
    make(clips / "mute.mkv", 30, sound=False)
    (clips / "notes.txt").write_text("no film")
    monkeypatch.chdir(tmp_path)
    code, out, err = dub("score", "clips")
    assert code == 1 and err.count("dub: ") == 1 and "mute.mkv has no sound" in err
    assert "mean of 3 tracks" in out and "\x1b" not in out + err
    table = pq.read_table("scores.parquet")
    assert table.schema.metadata[b"schema"] == b"dub.score.1" and table.schema.names == SCHEMA.names
    rows = table.to_pylist()
    films = [(r["video"], r["track"], r["lse_windows"], r["reason"]) for r in rows]
    assert films == [
        (str(Path("clips/b.mkv")), "shot_0001/face_1", 55, None),
        (str(Path("clips/in/c.mkv")), "shot_0001/face_1", 35, None),
        (str(Path("clips/in/c.mkv")), "shot_0002/face_1", 35, None),
        (str(Path("clips/mute.mkv")), None, 0, "MediaError"),
    ]
    assert len(rows[0]["distance"]) == 31 and len(rows[0]["confidence"]) == 55
    faces.asked.clear()
    assert dub("score", "clips")[1] == out and not faces.asked
    make(clips / "b.mkv", 70, seed=7)
    assert dub("score", "clips")[0] == 1 and faces.asked == [(0, 70)]
    assert not list(tmp_path.glob(".part-*"))


def test_what_cannot_be_scored_is_one_sentence(made: Path, faces: type[Faces], dub: Dub, tmp_path: Path) -> None:
    mute = make(tmp_path / "mute.mkv", 10, sound=False)
    silent = tmp_path / "silent.wav"
    with media.ClipWriter(silent, sample_rate_hz=RATE_HZ, channels=1) as clip:
        clip.sound(np.zeros(RATE_HZ, np.float32))
    text = tmp_path / "text.parquet"
    text.write_text("not a table")
    (tmp_path / "empty").mkdir()
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "shot_0001.dpx").touch()
    for args, said in (
        ([mute], "mute.mkv has no sound; give one with --audio FILE."),
        ([mute, "--audio", silent], "nothing in it is louder than -60 dBFS"),
        ([mute, "--audio", tmp_path / "absent.wav"], "absent.wav"),
        ([silent], "has no video stream"),
        ([tmp_path / "absent.mp4"], "No such file"),
        ([tmp_path / "empty"], "There is no film in"),
        ([tmp_path / "plates"], "no sequences of pictures, which are not measured"),
        ([mute, made, "--audio", silent], "--audio goes with one film"),
        ([made, "--out", text], "is no table of scores; choose another --out"),
        ([made, "--plot", tmp_path], "cannot be written"),
        ([made, "--out", text / "x.parquet"], "cannot be written"),
    ):
        code, out, err = dub("score", *args)
        assert (code, out, err.count("\n")) == (2, "", 1), (args, err)
        assert err.startswith("dub: ") and said in err
    assert text.read_text() == "not a table" and not faces.asked


def test_an_expert_that_is_not_here_says_how_to_get_it(
    made: Path, dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUB_MODELS", str(tmp_path))
    for name, said in (("syncnet_v2", "run `dub models pull syncnet_v2`"), ("nose", "There is no sync expert 'nose'")):
        code, out, err = dub("score", made, "--model", name)
        assert (code, out) == (2, "") and said in err


# Real faces, the built-in expert


@pytest.mark.usefixtures("demo_extra")
@pytest.mark.long
def test_the_demo_film(dub: Dub, tmp_path: Path) -> None:
    from dubbing.demo import SHORT, make_demo

    manifest = make_demo(tmp_path, scenes=SHORT, size=(640, 360))
    code, out, _ = dub("score", manifest.parent / "film.mp4", "--json")
    tracks = json.loads(out)["videos"][0]["tracks"]
    assert code == 0 and [t["track"] for t in tracks] == ["shot_0002/face_1"]
    assert tracks[0]["start_frame"] == 12 and tracks[0]["start_tc"] == "01:00:00:12"
    assert tracks[0]["lse_windows"] == 70 and tracks[0]["lse_d"] > 0


@pytest.mark.parametrize("early", [-5, 4])
@pytest.mark.long
def test_a_person_with_her_sound_moved(shared: Path, dub: Dub, tmp_path: Path, early: int) -> None:
    path = shared / "media" / "blue_wall.mp4"
    wave = media.read_sound(path)
    shift = early * FRAME
    with media.ClipWriter(tmp_path / "moved.wav", sample_rate_hz=RATE_HZ, channels=1) as clip:
        clip.sound(np.concatenate([np.zeros(max(0, -shift), np.float32), wave[max(0, shift) :]]))
    one = json.loads(dub("score", path, "--audio", tmp_path / "moved.wav", "--json")[1])["videos"][0]["tracks"][0]
    assert abs(one["lse_offset_frames"] - early) <= 1
    assert one["lse_windows"] == 160
