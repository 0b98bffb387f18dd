"""Who speaks: lips that move with speech, not with noise, not while another face speaks, and nobody off screen."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made import put, ref

from dubbing import media
from dubbing.analysis.identity import Signature
from dubbing.artifact import File, Ref
from dubbing.artifacts.people import People, Person
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, save_speech
from dubbing.artifacts.speakers import Decision, Speaking
from dubbing.artifacts.tracks import FaceTracks, Limits, save_signatures, save_tracks
from dubbing.clock import Timeline
from dubbing.face import INNER_LIPS
from dubbing.records import Track
from dubbing.sound import RATE_HZ
from dubbing.stages.audio import SourceAudio, SourceAudioInputs
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.stages.people import FindPeople, FindPeopleInputs
from dubbing.stages.speakers import Speakers, SpeakersInputs, lip_activity, who_speaks

RATE = Fraction(25)
LIMITS = Limits(min_face_px=96.0, max_yaw_deg=50.0)


def head() -> np.ndarray:
    """A made-up mesh (478, 3), 200 px high, that keeps the places that matter: eyes, nose, lips, chin, forehead."""
    rng = np.random.default_rng(5)
    mesh = np.stack([rng.uniform(-70, 70, 478), rng.uniform(-100, 100, 478), rng.uniform(-20, 20, 478)], 1)
    mesh[33], mesh[263] = (-45, -30, 10), (45, -30, 10)
    mesh[10], mesh[152] = (0, -100, 0), (0, 100, 5)
    angle = np.linspace(np.pi, -np.pi, len(INNER_LIPS), endpoint=False)
    mesh[list(INNER_LIPS)] = np.stack([25 * np.cos(angle), 55 - 2 * np.sin(angle), np.full(len(angle), -25.0)], 1)
    return mesh


def track(number: int, opening_N: np.ndarray, size: float = 1.0, yaw_deg: float = 0.0, noise: float = 0.3) -> Track:
    """A face whose inner lips open by `opening_N` (pixels at size 1), with mesh noise, looking `yaw_deg` aside."""
    rng = np.random.default_rng(number)
    count = len(opening_N)
    mesh = np.repeat(head()[None], count, 0)
    half = len(INNER_LIPS) // 2
    mesh[:, list(INNER_LIPS[:half]), 1] -= opening_N[:, None] / 2
    mesh[:, list(INNER_LIPS[half:]), 1] += opening_N[:, None] / 2
    mesh = mesh * size + rng.normal(0, noise, mesh.shape)
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    mesh = mesh @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + [300 * number, 300, 0]
    return Track(
        f"shot_0001/face_{number}",
        np.arange(count, dtype=np.int32),
        mesh.astype(np.float32),
        np.ones(count, bool),
        np.full(count, yaw_deg, np.float32),
        200.0 * size,
    )


def talk(count: int, seed: int = 0) -> np.ndarray:
    """Opening of a speaking mouth: syllables, four or five a second."""
    n = np.arange(count)
    return 9 * (1 + np.sin(2 * np.pi * n / 5.7 + seed)) * (1 + 0.3 * np.sin(n / 11))


def still(count: int) -> np.ndarray:
    return np.zeros(count)


def everybody(folder: Path, tracks: list[str]) -> Ref[People]:
    """Each track is a person of its own."""
    return put(folder / "people", People(tuple(Person(n, (track,), 1) for n, track in enumerate(tracks))))


def decide(folder: Path, tracks: list[Track], speech_s: list[list[float]] | None, frames: int = 100) -> Decision:
    """What is decided of a film of one shot."""
    media.save_timeline(folder, Timeline(np.arange(frames, dtype=np.int64), 1 / RATE, frames, RATE))
    shots = put(folder, ShotList(frames, ((0, frames),)))
    sound = None
    if speech_s is not None:
        ranges = [[round(a * RATE_HZ), round(b * RATE_HZ)] for a, b in speech_s]
        save_speech(folder, round(frames / RATE * RATE_HZ), np.array(ranges))
        sound = ref(SourceSound, folder)
    save_tracks(folder, tracks)
    blank = Signature(np.zeros((64, 64, 3), np.float32), np.zeros((478, 3), np.float32), 0)
    save_signatures(folder, [blank] * len(tracks))
    people = everybody(folder, [t.id for t in tracks])
    inputs = SpeakersInputs(sound, LIMITS, people, (ref(FaceTracks, folder),), (None,), shots)
    (decision,) = Speakers().process(inputs, folder, lambda n: None).decisions
    return decision


class TestActivity:
    def test_speech_stands_out_of_noise(self) -> None:
        times = np.arange(100) / 25
        assert lip_activity(track(1, talk(100)).mesh_NP3, times).mean() > 0.1
        for noise in (0.1, 0.5, 1.0):
            assert lip_activity(track(1, still(100), noise=noise).mesh_NP3, times).mean() < 0.03

    def test_head_movement_is_not_speech(self) -> None:
        moved = track(1, still(100)).mesh_NP3
        moved[..., :2] += (40 * np.sin(np.arange(100) / 6))[:, None, None]
        moved *= np.linspace(1, 1.5, 100, dtype=np.float32)[:, None, None]
        assert lip_activity(moved, np.arange(100) / 25).mean() < 0.03


class TestSequence:
    def test_the_speaker_changes_once(self) -> None:
        activity = np.zeros((2, 100))
        activity[0, :50], activity[1, 50:] = 0.15, 0.15
        activity[1, 20:24] = 0.3  # a smile
        path = who_speaks(activity, np.ones(100, bool), 0.04)
        assert list(path[:45]) == [0] * 45 and list(path[55:]) == [1] * 45

    def test_nobody_where_there_is_no_speech_or_no_movement(self) -> None:
        speaks = np.zeros(100, bool)
        speaks[30:60] = True
        assert (who_speaks(np.full((1, 100), 0.2), speaks, 0.04) == np.where(speaks, 0, -1)).all()
        assert (who_speaks(np.full((2, 100), 0.02), speaks, 0.04) == -1).all()


class TestDecision:
    def test_a_face_that_speaks(self, tmp_path: Path) -> None:
        row = decide(tmp_path, [track(1, talk(100))], [[0.4, 1.6], [2.0, 3.6]])
        assert (row.track, row.reason, row.face_px) == ("shot_0001/face_1", None, 200.0)
        assert row.tracks == (Speaking("shot_0001/face_1", 0, ((10, 40), (50, 90))),)
        assert row.source_speech == ((10, 40), (50, 90))

    def test_a_listener_is_never_chosen(self, tmp_path: Path) -> None:
        quiet, speaker = track(1, still(100), size=1.5), track(2, talk(100))
        row = decide(tmp_path, [quiet, speaker], [[0, 4]])
        assert [t.track for t in row.tracks] == ["shot_0001/face_2"]
        assert row.face_px == 200.0

    def test_two_who_take_turns(self, tmp_path: Path) -> None:
        first = track(1, np.concatenate([talk(60), still(40)]))
        second = track(2, np.concatenate([still(60), talk(40)]))
        row = decide(tmp_path, [first, second], [[0, 4]])
        assert [t.track[-1] for t in row.tracks] == ["1", "2"]
        assert [t.actor for t in row.tracks] == [0, 1]
        (a, b), (c, d) = row.tracks[0].stretches[0], row.tracks[1].stretches[0]
        assert a == 0 and d == 100 and b == c and abs(b - 60) <= 6

    @pytest.mark.parametrize(
        ("tracks", "speech_s", "reason"),
        [
            ([], [[0, 4]], "no_face"),
            ([track(1, still(100))], [[0, 4]], "off_screen"),
            ([track(1, np.concatenate([talk(40), still(60)]))], [[0, 0.3]], "off_screen"),
            ([track(1, talk(100), size=0.3, noise=0.1)], [[0, 4]], "too_small"),
            ([track(1, still(100), size=0.3, noise=0.1)], [[0, 4]], "too_small"),
            ([track(1, talk(100), yaw_deg=60)], [[0, 4]], "profile"),
        ],
    )
    def test_reasons(self, tmp_path: Path, tracks: list[Track], speech_s: list[list[float]], reason: str) -> None:
        row = decide(tmp_path, tracks, speech_s)
        assert (row.reason, row.tracks) == (reason, ())

    def test_hidden_while_speaking(self, tmp_path: Path) -> None:
        hidden = track(1, talk(100))
        hidden.seen_N[40:] = False
        (seen,) = decide(tmp_path, [hidden], [[0, 4]]).tracks
        assert len(seen.stretches) == 1 and 38 <= seen.stretches[0][1] <= 50
        hidden.seen_N[5:] = False
        assert decide(tmp_path, [hidden], [[0, 4]]).reason == "occluded"

    def test_without_source_sound_the_largest_face_is_driven(self, tmp_path: Path) -> None:
        both = [track(1, still(100), size=1.2), track(2, talk(100))]
        for speech in (None, []):
            row = decide(tmp_path, both, speech)
            assert row.tracks == (Speaking("shot_0001/face_1", 0, ((0, 100),)),)


@pytest.mark.long
def test_the_reels_own_sound(shared: Path, tmp_path: Path) -> None:
    """Shots 2 and 5 of the reel, as two shots of a short film: both speak, and are two actors."""
    reel = shared / "media" / "reel.mp4"
    line = media.timeline(reel)
    shots = [(100, 160), (600, 660)]
    media.save_timeline(tmp_path, line)
    every = ((0, 100), shots[0], (160, 600), shots[1], (660, 1224))
    cut = put(tmp_path, ShotList(1224, every))
    sound, found = SourceAudio(), Faces()
    sound.setup()
    found.setup()
    sound.process(SourceAudioInputs(File(reel, ""), cut), tmp_path, lambda n: None)
    faces: list[Ref[FaceTracks] | None] = []
    for number, (start, end) in enumerate(every, 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        if (start, end) in shots:
            put(folder, found.process(FacesInputs(start, end, File(reel, ""), number, cut), folder, lambda n: None))
        faces.append(ref(FaceTracks, folder) if (start, end) in shots else None)
    found.close()
    people = put(tmp_path / "people", FindPeople().process(FindPeopleInputs(tuple(faces), shots=cut), tmp_path, print))
    inputs = SpeakersInputs(ref(SourceSound, tmp_path), LIMITS, people, tuple(faces), (None,) * len(every), cut)
    rows = Speakers().process(inputs, tmp_path, lambda n: None).decisions
    assert [r.reason for r in rows] == ["no_face", None, "no_face", None, "no_face"]
    assert [(r.track, r.actor) for r in rows if r.track] == [("shot_0002/face_1", 0), ("shot_0004/face_1", 1)]


@pytest.mark.parametrize(("heard_s", "unheard"), [(0.5, True), (3.0, False)])
def test_a_film_of_music_and_effects_says_nothing_of_its_faces(tmp_path: Path, heard_s: float, unheard: bool) -> None:
    """Lips move for eight seconds. Where a shout of half a second is heard, faces are taken as in a silent film."""
    line = Timeline(np.arange(200, dtype=np.int64), 1 / RATE, 200, RATE)
    media.save_timeline(tmp_path, line)
    shots = put(tmp_path / "shots", ShotList(200, ((0, 100), (100, 200))))
    media.save_timeline(tmp_path / "shots", line)
    faces = []
    for n in (1, 2):
        folder = tmp_path / f"faces_{n}"
        folder.mkdir()
        one = track(1, talk(100))
        moved = Track(
            f"shot_000{n}/face_1", one.frames_N + 100 * (n - 1), one.mesh_NP3, one.seen_N, one.yaw_N, one.height_px
        )
        save_tracks(folder, [moved])
        save_signatures(folder, [Signature(np.zeros((64, 64, 3), np.float32), np.zeros((478, 3), np.float32), 0)])
        faces.append(ref(FaceTracks, folder))
    sound = tmp_path / "sound"
    sound.mkdir()
    save_speech(sound, 8 * RATE_HZ, np.array([[RATE_HZ, RATE_HZ + int(heard_s * RATE_HZ)]]))
    people = everybody(tmp_path, ["shot_0001/face_1", "shot_0002/face_1"])
    inputs = SpeakersInputs(ref(SourceSound, sound), LIMITS, people, tuple(faces), (None, None), shots)
    found = Speakers().process(inputs, tmp_path, lambda n: None)
    assert found.unheard is unheard
    assert [d.reason for d in found.decisions] == ([None, None] if unheard else [None, "off_screen"])
