"""When lips are re-rendered: while the dub speaks, where the original spoke, and nowhere else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, speech_mask
from dubbing.artifacts.speakers import Decision, Speaking
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import FaceTracks
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline
from dubbing.generators import Rendered, RenderRequest
from dubbing.records import OCCLUDED, Line, Patch, Shot, Track
from dubbing.stages import lipsync
from dubbing.stages.lipsync import lines_of
from dubbing.stages.turns import share_of

LINE = Timeline(np.arange(400), Fraction(1, 25), 400, Fraction(25))
SHOT = Shot(1, 100, 300)
SPEAKS = FaceTurns("shot_0001/face_1", 0, ((120, 200),), ((120, 200),))


def track(yaw: float = 0.0, start: int = 100, count: int = 200) -> Track:
    return Track(
        id="shot_0001/face_1",
        frames_N=np.arange(start, start + count, dtype=np.int32),
        mesh_NP3=np.zeros((count, 478, 3), np.float32),
        seen_N=np.ones(count, bool),
        yaw_N=np.full(count, yaw, np.float32),
        height_px=200.0,
    )


def mask(*stretches: tuple[int, int]) -> np.ndarray:
    out = np.zeros(len(SHOT), bool)
    for a, b in stretches:
        out[a - SHOT.start_frame : b - SHOT.start_frame] = True
    return out


def ranges(speech: np.ndarray, own: list[list[int]], one: Track | None = None) -> list[tuple[int, int]]:
    one = one or track()
    says_N = speech[one.start_frame - SHOT.start_frame : one.end_frame - SHOT.start_frame]
    return [(x.start_frame, x.end_frame) for x in lines_of(one, says_N, own, LINE, 50.0)]


def test_speech_in_samples_is_shown_by_the_frames_that_overlap_it() -> None:
    found = speech_mask(np.array([[640 * 100 + 639, 640 * 102 + 1]]), LINE, 98, 106)
    assert found.tolist() == [False, False, True, True, True, False, False, False]


def test_a_face_that_says_nothing_is_left_alone() -> None:
    assert ranges(mask(), [[120, 160]]) == []


@pytest.mark.parametrize(("asked", "reason"), [(((100, 101),), "excluded"), (None, "occluded")])
def test_a_doubt_stays_where_nothing_could_be_rendered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: tuple[tuple[int, int], ...] | None, reason: str
) -> None:
    take = rendered(monkeypatch, tmp_path, [track()], lambda work: iter(()), asked)
    assert (take.status, take.reason, take.doubt) == ("untouched", reason, "ANNA may be meant")


def test_speech_behind_a_microphone_is_not_rendered_and_asks_for_review(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = replace(track(), hidden_N=np.zeros(200, np.uint8))
    one.hidden[50:64] = OCCLUDED
    one.seen_N[50:64] = False
    picture, matte = np.zeros((16, 16, 3), np.uint8), np.full((16, 16), 255, np.uint8)

    def render(work: RenderRequest) -> Iterator[Rendered]:
        for line in work.lines:
            for frame in range(line.start_frame, line.end_frame):
                yield Rendered(Patch(frame, 0, 0, picture, matte), 0.1)

    take = rendered(monkeypatch, tmp_path, [one], render)
    assert take.status == "dubbed" and take.occluded_frames == 14
    first, second = take.faces[0].lines
    assert first[1] == 150 and second[0] == 164
    assert take.doubt == (
        "ANNA may be meant; of 80 frames that are spoken something lies before the mouth in 14: these keep the "
        "original's mouth"
    )


def test_who_says_its_words_only_when_out_of_sight_rests_beside_another_who_speaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone, after = track(count=60), replace(track(start=180, count=120), id="shot_0001/face_2")
    first = FaceTurns(gone.id, 0, ((120, 150),), ((165, 175),))
    then = FaceTurns(after.id, 1, ((200, 220),), ((190, 200),))
    lines: list[Line] = []

    def render(work: RenderRequest) -> Iterator[Rendered]:
        lines.extend(work.lines)
        return iter(())

    rendered(monkeypatch, tmp_path, [gone, after], render, faces=(first, then))
    (rest,) = [x for x in lines if x.track == gone.id]
    assert rest.start_frame < 120 and rest.end_frame > 150
    lines.clear()
    rendered(monkeypatch, tmp_path, [gone], render, faces=(first,))
    assert lines == [], "a shot in which nobody is seen to speak the dub is not the dub's"


def rendered(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    tracks: Sequence[Track],
    render: Callable[[RenderRequest], Iterator[Rendered]],
    asked: tuple[tuple[int, int], ...] | None = None,
    faces: tuple[FaceTurns, ...] = (SPEAKS,),
) -> Take:
    """The take of a shot with these faces by a generator that does this; the dub speaks in frames 120 to 200."""
    about = SimpleNamespace(upright_size=(640, 360), video=None)
    monkeypatch.setattr(lipsync.media, "load_timeline", lambda folder: LINE)
    monkeypatch.setattr(lipsync.media, "probe", lambda path: about)
    monkeypatch.setattr(lipsync, "load_tracks", lambda folder: tracks)
    monkeypatch.setattr(lipsync, "load_wave", lambda folder, first, last: np.zeros(last - first, np.float32))
    made = SimpleNamespace(render=render, name="rewrite", hash="0")
    monkeypatch.setattr(lipsync, "create", lambda *about: made)
    turns = ShotTurns("shot_0001", ((120, 200),), faces, "ANNA may be meant")
    ref = Ref(FaceTracks, "faces reel/shot_0001", "0", folder)
    inputs = lipsync.LipsyncInputs(
        100, 300, File(folder, "0"), ref, Decision("shot_0001", None, None, 200.0, 0.0, 0), turns, "0", "rewrite",
        "0", 45.0, 1, asked=asked, settings={}, sound=Ref(DubSound, "", "", folder),
        timeline=Ref(ShotList, "", "", folder), unmeasured=True,
    )  # fmt: skip
    return lipsync.Lipsync().process(inputs, folder, lambda frames: None)


def test_patches_begin_before_the_speech_and_end_after_it() -> None:
    [(start, end)] = ranges(mask((160, 200)), [])
    assert 150 <= start < 160 and 200 < end <= 210


def test_the_mouth_is_brought_to_rest_where_only_the_original_spoke() -> None:
    [(start, end)] = ranges(mask((160, 200)), [[190, 240]])
    assert start < 160 and end > 240


def test_pauses_are_bridged_and_long_silences_are_not() -> None:
    assert len(ranges(mask((140, 160), (172, 190)), [])) == 1
    assert len(ranges(mask((120, 140), (220, 240)), [])) == 2


def test_speech_near_a_cut_is_covered_to_the_cut() -> None:
    assert ranges(mask((105, 295)), []) == [(100, 300)]


def test_a_turned_face_is_left_alone() -> None:
    assert ranges(mask((120, 280)), [], track(yaw=70.0)) == []


def test_a_face_that_comes_and_goes_is_dubbed_where_it_is_seen() -> None:
    one = track(start=150, count=60)
    assert all(150 <= a < b <= 210 for a, b in ranges(mask((100, 300)), [], one))


def test_two_speakers_share_the_dub_by_who_spoke_nearest() -> None:
    tracks = [Speaking("a", 0, ((100, 180),)), Speaking("b", 1, ((200, 300),))]
    first, second = share_of(mask((110, 170), (210, 280)), tracks, SHOT)
    assert np.flatnonzero(first).tolist() == list(range(10, 70))
    assert np.flatnonzero(second).tolist() == list(range(110, 180))


def test_new_lips_fade_in_and_out_except_where_the_track_itself_begins_or_ends() -> None:
    def fade(*lines: tuple[int, int]) -> np.ndarray:
        one = track(count=20)
        work = RenderRequest(Path("film.mp4"), LINE, (480, 270), one, tuple(Line(one.id, a, b) for a, b in lines),
                    np.zeros(0, np.float32), np.zeros(20, bool), None)  # fmt: skip
        return work.fade(3)

    assert fade((104, 112))[3:13].tolist() == [0, 0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]
    assert fade((100, 120)).tolist() == [1] * 20
    both = fade((100, 106), (114, 120))
    assert both[:7].tolist() == [1, 1, 1, 0.75, 0.5, 0.25, 0] and (both == both[::-1]).all()
    assert (fade((104, 112), (112, 116)) > 0).sum() == 12, "every frame of a line is rendered"
