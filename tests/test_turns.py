"""Who says what in a dub: by stems and lines each character's own face, and nobody by guess; crosstalk is nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest

from dubbing.analysis.crosstalk import copied, gate
from dubbing.analysis.lines import SpokenLine
from dubbing.analysis.speech import CHUNK
from dubbing.artifacts.speakers import Decision, Speaking
from dubbing.artifacts.tracks import Limits
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline, mask_of
from dubbing.records import Shot, Track
from dubbing.sound import RATE_HZ
from dubbing.turns.asked import with_names
from dubbing.turns.names import known_names, spelled_as
from dubbing.turns.voices import Voices, turns_by_voices, within_lines

FILM = Timeline(np.arange(400), Fraction(1, 25), 400, Fraction(25))
SHOT = Shot(1, 100, 300)
LEFT, RIGHT = "shot_0001/face_1", "shot_0001/face_2"
NAMED = {LEFT: "ANNA", RIGHT: "BEN"}
LIMITS = Limits(96.0, 50.0)
Parts = tuple[tuple[int, int], ...]


def face(name: str, yaw: float = 0.0, height_px: float = 200.0) -> Track:
    frames = np.arange(100, 300, dtype=np.int32)
    mesh = np.zeros((200, 478, 3), np.float32)
    return Track(name, frames, mesh, np.ones(200, bool), np.full(200, yaw, np.float32), height_px)


def turns(
    spoken: Mapping[str, Parts], own: Mapping[str, Parts] | None = None, names: Mapping[str, str] | None = None,
    tracks: tuple[Track, ...] = (face(LEFT), face(RIGHT)), by: str = "stem", off_screen: tuple[str, ...] = (),
) -> ShotTurns:  # fmt: skip
    people = {LEFT: 0, RIGHT: 1}
    spoke = tuple(Speaking(track, people[track], parts) for track, parts in (own or {}).items())
    decision = Decision("shot_0001", LEFT, None, 200.0, 0.0, 0, spoke)
    voices = Voices({n: mask_of(p, 0, 400) for n, p in spoken.items()}, by, off_screen, NAMED.values())
    return turns_by_voices(SHOT, decision, tracks, people, NAMED if names is None else names, voices, FILM, LIMITS)


def faces(found: ShotTurns) -> dict[str, tuple[Parts, str, bool]]:
    return {one.track: (one.says, one.sound, one.rests) for one in found.faces}


class TestStems:
    def test_each_face_says_what_its_stem_does_at_once_and_wherever_it_is_seen(self) -> None:
        found = turns({"ANNA": ((110, 200),), "BEN": ((150, 290), (350, 380))}, {LEFT: ((100, 300),)})
        assert faces(found) == {RIGHT: (((150, 290),), "BEN", False), LEFT: (((110, 200),), "ANNA", False)}
        assert found.heard == ((110, 290),) and found.doubt is None and found.reason is None

    def test_who_is_silent_in_the_dub_rests_while_another_speaks(self) -> None:
        found = turns({"ANNA": (), "BEN": ((150, 290),)}, {LEFT: ((120, 180),)})
        assert faces(found) == {RIGHT: (((150, 290),), "BEN", False), LEFT: ((), "ANNA", True)}
        assert found.faces[1].own == ((120, 180),)
        assert faces(turns({"ANNA": (), "BEN": ((150, 290),)})).keys() == {RIGHT}, "it was at rest already"

    @pytest.mark.parametrize("off_screen", [(), ("CARL",)])
    def test_who_is_not_in_sight_moves_nobody(self, off_screen: tuple[str, ...]) -> None:
        found = turns({"CARL": ((150, 290),)}, {LEFT: ((120, 180),)}, off_screen=off_screen)
        assert not found.faces and found.heard == ((150, 290),)
        assert (found.reason, found.doubt) == ("off_screen", None)
        assert turns({"CARL": ((150, 290),)}, tracks=()).reason == "no_face"
        seen = turns({"BEN": ((150, 290),)}, off_screen=("BEN",))
        assert not seen.faces, "what the cast says of him holds against a face"

    def test_limits_hold(self) -> None:
        small = turns({"BEN": ((150, 290),)}, tracks=(face(LEFT), face(RIGHT, height_px=50)))
        assert not small.faces and small.reason == "too_small"
        assert turns({"BEN": ((150, 290),)}, tracks=(face(RIGHT, yaw=70),)).reason == "profile"
        both = turns({"ANNA": ((110, 200),), "BEN": ((150, 290),)}, tracks=(face(LEFT), face(RIGHT, height_px=50)))
        assert faces(both).keys() == {LEFT} and both.reason is None

    def test_nobody_is_guessed(self) -> None:
        found = turns({"BEN": ((150, 290),)}, {LEFT: ((120, 180),)}, {RIGHT: "BEN"})
        assert faces(found).keys() == {RIGHT} and "face 1 speaks in the original, and nobody said whose" in str(
            found.doubt
        )
        unknown = turns({"CARL": ((150, 290),)}, names={RIGHT: "BEN"})
        assert not unknown.faces and "CARL speaks 5.6 s here, and no face of the film is known to be" in str(
            unknown.doubt
        )
        assert turns({"CARL": ((150, 290),)}, names={RIGHT: "BEN"}, off_screen=("CARL",)).doubt is None


class TestNames:
    OWN = {0: mask_of(((0, 100),), 0, 400), 1: mask_of(((100, 200),), 0, 400)}  # noqa: RUF012
    PEOPLE = {"a": 0, "b": 1, "c": 0}  # noqa: RUF012

    def test_one_face_and_one_voice_belong_together(self) -> None:
        found = known_names({}, self.PEOPLE, {0: self.OWN[0]}, {"ANNA": self.OWN[1]}, 25.0)
        assert found.of_track == {"a": "ANNA", "c": "ANNA"} and "ANNA is taken for the one face" in found.joined["ANNA"]

    def test_more_are_joined_only_where_timing_makes_it_sure(self) -> None:
        spoken = {"BEN": mask_of(((110, 190),), 0, 400), "ANNA": mask_of(((10, 90),), 0, 400)}
        found = known_names({}, self.PEOPLE, self.OWN, spoken, 25.0)
        assert found.of_track == {"a": "ANNA", "c": "ANNA", "b": "BEN"}
        assert "because the two speak together for 3.2 s" in found.joined["BEN"]
        mixed = {"ANNA": mask_of(((10, 190),), 0, 400), "BEN": mask_of(((10, 190),), 0, 400)}
        assert not known_names({}, self.PEOPLE, self.OWN, mixed, 25.0).of_track
        brief = {name: mask_N & mask_of(((85, 115),), 0, 400) for name, mask_N in spoken.items()}
        assert not known_names({}, self.PEOPLE, self.OWN, brief, 25.0).of_track

    def test_the_cast_holds(self) -> None:
        spoken = {"BEN": mask_of(((110, 190),), 0, 400), "ANNA": mask_of(((10, 90),), 0, 400)}
        found = known_names({"b": "ANNA"}, self.PEOPLE, self.OWN, spoken, 25.0)
        assert found.of_track == {"b": "ANNA"}, "nobody says as much as BEN while the other face speaks"
        named = known_names({"a": "ANNA"}, self.PEOPLE, self.OWN, spoken, 25.0)
        assert named.of_track == {"a": "ANNA", "c": "ANNA", "b": "BEN"}

    def test_nobody_is_taken_for_another_while_one_to_be_left_has_no_face(self) -> None:
        spoken = {"BEN": mask_of(((110, 190),), 0, 400), "ANNA": mask_of(((10, 90),), 0, 400)}
        assert not known_names({}, self.PEOPLE, self.OWN, spoken, 25.0, ["CARL"]).of_track
        assert not known_names({}, {"a": 0}, {0: self.OWN[0]}, {"ANNA": self.OWN[1]}, 25.0, ["CARL"]).of_track
        named = known_names({"a": "ANNA"}, self.PEOPLE, self.OWN, spoken, 25.0, ["ANNA"])
        assert named.of_track["b"] == "BEN"

    def test_a_name_is_the_voice_it_differs_from_in_case_only(self) -> None:
        assert spelled_as({"a": "Anna", "b": "Ben", "c": "CARL"}, ["ANNA", "Ben", "BEN"]) == {
            "a": "ANNA", "b": "Ben", "c": "CARL",
        }  # fmt: skip
        found = turns({"ANNA": ((110, 290),)}, {RIGHT: ((120, 180),)}, {LEFT: "ANNA", RIGHT: "BENN"})
        assert "BENN speaks in the original, and no voice" in str(found.doubt)


class TestAsked:
    TWO = ShotTurns(
        "shot_0001", ((100, 300),),
        (FaceTurns(LEFT, 0, (), ((100, 200),)), FaceTurns(RIGHT, 1, ((100, 150),), (), by="stem")),
    )  # fmt: skip

    def test_what_is_left_by_name_is_left(self) -> None:
        assert [f.character for f in with_names(self.TWO, NAMED, None, ()).faces] == ["ANNA", "BEN"]
        found = with_names(self.TWO, NAMED, None, ("BEN",))
        assert [f.track for f in found.faces] == [LEFT] and found.left
        assert not with_names(self.TWO, NAMED, None, ("ANNA",)).faces, "a face does not rest where nobody speaks"
        assert [f.track for f in with_names(self.TWO, NAMED, ("ANNA",), ()).faces] == [LEFT]
        assert not with_names(self.TWO, {RIGHT: "BEN"}, ("ANNA",), ()).faces

    def test_a_face_that_may_be_one_to_be_left_is_doubted(self) -> None:
        found = with_names(self.TWO, {RIGHT: "BEN"}, None, ("ANNA",))
        assert [f.track for f in found.faces] == [LEFT, RIGHT] and "ANNA is to be left alone" in str(found.doubt)
        strange = with_names(self.TWO, {LEFT: "ANA", RIGHT: "BEN"}, None, ("ANNA",), ("ANNA", "BEN"))
        assert "ANNA is to be left alone" in str(strange.doubt)

    def test_one_actor_may_be_two_people_where_they_are_told_apart_coarsely(self) -> None:
        known = {RIGHT: "ANNA"}
        assert with_names(self.TWO, known, None, ("ANNA",)).doubt is None
        found = with_names(self.TWO, known, None, ("ANNA",), coarse=True)
        assert [f.track for f in found.faces] == [LEFT] and "`identity`" in str(found.doubt)
        assert with_names(self.TWO, NAMED, None, ("ANNA",), coarse=True).doubt is None


def test_lines_are_as_loose_as_lists_and_take_nothing_from_another() -> None:
    heard_N = mask_of(((100, 200),), 0, 400)
    lines = [SpokenLine("ANNA", Fraction(4), Fraction(6), ""), SpokenLine("BEN", Fraction(6), Fraction(38, 5), "")]
    found = within_lines(lines, heard_N, FILM)
    assert np.flatnonzero(found["ANNA"]).tolist() == list(range(100, 150))
    assert np.flatnonzero(found["BEN"]).tolist() == list(range(150, 197)), "0.25 s after its end"


# -- crosstalk -----------------------------------------------------------------------------------

SECONDS = 12


def voice(seed: int, pitch_hz: float, *spoken_s: tuple[float, float]) -> np.ndarray:
    """A made voice, float64 (T,) at 16 kHz: a gliding buzz in syllables, with some breath, where it speaks."""
    rng = np.random.default_rng(seed)
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    glide = np.interp(t, np.arange(0, 13, 0.1), pitch_hz * rng.uniform(0.8, 1.25, 130))
    phase = 2 * np.pi * np.cumsum(glide) / RATE_HZ
    buzz = sum(np.sin(k * phase + rng.uniform(0, 6)) * rng.uniform(0.3, 1) / k for k in range(1, 16))
    syllables = np.interp(t, np.arange(0, 13, 0.1), rng.uniform(0, 1, 130))
    wave = (buzz + 0.2 * rng.normal(size=len(t))) * syllables
    mask = np.zeros(len(t))
    for a, b in spoken_s:
        mask[int(a * RATE_HZ) : int(b * RATE_HZ)] = 1
    return np.asarray(0.1 * wave * mask)


def heard_through(wave: np.ndarray, gain_db: float, lag_ms: float, room: float) -> np.ndarray:
    """A voice in another's microphone: later, weaker, dull, with the reflections of a small room."""
    rng = np.random.default_rng(8)
    after = np.exp(-np.arange(960) / 160) * rng.normal(size=960)
    response = np.zeros(1200)
    start = int(lag_ms * RATE_HZ / 1000)
    response[start] = 1.0
    response[start + 40 : start + 1000] += room * after / np.sqrt((after**2).sum())
    dull = np.exp(-np.arange(12) / 2.0)
    response = np.convolve(response, dull)
    through = np.convolve(wave, response)[: len(wave)]
    return np.asarray(10 ** (gain_db / 20) * through * np.sqrt((wave**2).sum() / (through**2).sum()))


@pytest.mark.parametrize("gain_db", [-12.0, -20.0, -30.0])
@pytest.mark.parametrize("lag_ms", [1.5, 6.0])
def test_crosstalk_is_silenced_and_a_soft_reply_under_a_loud_voice_survives(gain_db: float, lag_ms: float) -> None:
    loud = voice(1, 110, (1, 10))
    reply = 0.25 * voice(2, 190, (5, 7))  # 12 dB softer, while the other speaks
    stem = reply + heard_through(loud, gain_db, lag_ms, 0.4) + np.random.default_rng(3).normal(0, 1e-5, len(loud))
    waves = [np.rint(w * 32767).astype(np.int16) for w in (loud, stem)]
    chances = [np.ones(SECONDS * RATE_HZ // CHUNK, np.float32) for _ in waves]
    of_loud, of_stem = copied(waves, chances)
    assert not of_loud.any(), "the louder one is its own"
    at_s = (np.arange(len(of_stem)) + 0.5) * CHUNK / RATE_HZ
    bleed = (at_s > 1.2) & (at_s < 4.7) | (at_s > 7.3) & (at_s < 9.8)
    own = (at_s > 5.1) & (at_s < 6.9)
    assert of_stem[bleed].mean() > 0.95
    assert of_stem[own].mean() < (0.25 if gain_db == -12.0 else 0.02)
    before = waves[1].copy()
    taken_s = gate(waves[1], chances[1], of_stem)
    assert 5.5 < taken_s < 8.0
    quiet = waves[1][int(1.5 * RATE_HZ) : int(4.5 * RATE_HZ)]
    assert np.abs(quiet).max() == 0
    kept = waves[1][int(5.1 * RATE_HZ) : int(6.9 * RATE_HZ)] == before[int(5.1 * RATE_HZ) : int(6.9 * RATE_HZ)]
    assert kept.mean() > (0.7 if gain_db == -12.0 else 0.97)


def test_two_voices_that_have_nothing_to_do_with_each_other_stay() -> None:
    waves = [np.rint(w * 32767).astype(np.int16) for w in (voice(1, 110, (1, 10)), 0.1 * voice(5, 118, (1, 10)))]
    found = copied(waves, [np.ones(SECONDS * RATE_HZ // CHUNK, np.float32)] * 2)
    assert not found[0].any() and not found[1].any()
    short = [w[: 5 * RATE_HZ] for w in waves]
    with np.errstate(all="raise"):
        (_, of_soft) = copied([short[0], short[0] // 10], [np.ones(SECONDS * RATE_HZ // CHUNK, np.float32)] * 2)
    assert of_soft[: 4 * RATE_HZ // CHUNK].any() and not of_soft[5 * RATE_HZ // CHUNK + 1 :].any()
