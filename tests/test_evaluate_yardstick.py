"""The yardstick on curves whose answer is known: the truth itself, the truth shifted, the mean, and chance."""

import numpy as np
import pytest

from dubbing.errors import MediaError
from dubbing.evaluate import yardstick
from dubbing.evaluate.clips import at_lips, words_beside
from dubbing.evaluate.goals import goals
from dubbing.evaluate.measurements import row
from dubbing.evaluate.speakers import of_speakers, persons
from dubbing.evaluate.yardstick import Closures, Lips
from dubbing.metrics import RenderedShot
from dubbing.metrics.mouth import LipLeak
from dubbing.testing import material

FPS = 25
TIMES_S = (np.arange(250) + 0.5) / FPS
ALL = np.ones(len(TIMES_S), bool)
SHUT_AT = (40, 90, 140, 190)


@pytest.fixture
def talking() -> np.ndarray:
    """A mouth that stands open and moves, and is shut for three frames at SHUT_AT."""
    curve = 0.12 + 0.03 * np.sin(TIMES_S * 11) + 0.02 * np.sin(TIMES_S * 23)
    for n in SHUT_AT:
        curve[n - 1 : n + 4] = (0.05, 0.005, 0.0, 0.005, 0.05)
    return curve


def lips_of(curve: np.ndarray) -> Lips:
    found = Lips.of(np.concatenate([curve, np.zeros(20)]))
    assert found is not None
    return found


def test_blocks_share_the_speech_and_learn_from_nothing_near_them():
    speaks = ALL.copy()
    speaks[100:130] = False
    found = yardstick.blocks(TIMES_S, speaks, ALL, ALL)
    assert len(found) == yardstick.BLOCKS
    assert [b.begin for b in found[1:]] == [b.end for b in found[:-1]]
    assert found[0].begin == 0 and found[-1].end == len(TIMES_S)
    assert (sum(b.held_N.astype(int) for b in found) == 1).all()
    said = [int(speaks[b.begin : b.end].sum()) for b in found]
    assert max(said) - min(said) <= 1
    for block in found:
        assert not (block.learnt_N & ~speaks).any()
        apart = np.abs(TIMES_S[block.learnt_N][:, None] - TIMES_S[block.held_N]).min()
        assert apart >= yardstick.GUARD_S - 1e-9
    learnt = np.mean([b.learnt_N.sum() / speaks.sum() for b in found])
    assert 0.62 < learnt < 0.75, "about 70 % of the speech"


def test_a_short_performance_has_fewer_blocks_and_silence_none():
    assert len(yardstick.blocks(TIMES_S[:60], ALL[:60], ALL[:60], ALL[:60])) == 2
    assert yardstick.blocks(TIMES_S[:10], ALL[:10], ALL[:10], ALL[:10]) == []
    assert yardstick.blocks(TIMES_S, ~ALL, ~ALL, ALL) == []
    begins = ALL.copy()
    begins[20:] = False  # half a block away from all that it says there is nothing else
    assert yardstick.blocks(TIMES_S, begins, ALL, ALL) == []


def test_the_truth_shuts_where_the_lips_shut_and_nowhere_else(talking):
    lips = lips_of(talking)
    assert yardstick.closures(talking, talking, TIMES_S, ALL, lips) == Closures(4, 4, 4, 0)
    for shift, met in ((1, 4), (3, 4), (5, 0)):  # three shut frames and one of grace
        late = np.roll(talking, shift)
        assert yardstick.closures(talking, late, TIMES_S, ALL, lips).met == met


def test_a_mouth_at_its_mean_meets_no_closure_and_one_made_up_is_false(talking):
    lips = lips_of(talking)
    assert yardstick.closures(talking, np.full(250, talking.mean()), TIMES_S, ALL, lips) == Closures(4, 0, 0, 0)
    made = talking.copy()
    made[115:118] = 0
    assert yardstick.closures(talking, made, TIMES_S, ALL, lips) == Closures(4, 4, 5, 1)
    rests = talking.copy()
    rests[110:130] = 0  # a pause is no closure of a p, b or m
    assert yardstick.closures(rests, rests, TIMES_S, ALL, lips) == Closures(4, 4, 5, 0)


def test_only_closures_where_p_b_or_m_are_said_count_if_that_is_known(talking):
    words = [("map", 1.55, 1.85), ("to", 3.5, 3.8), ("be", 7.6, 7.9)]  # frames 40 and 190; 90 is no p, b or m
    at = at_lips(words, TIMES_S)
    assert not at[85:100].any()
    assert yardstick.closures(talking, talking, TIMES_S, ALL, lips_of(talking), at).true == 2


def test_a_mouth_that_hardly_opens_has_no_lips_to_judge():
    assert Lips.of(np.full(50, 0.02)) is None and Lips.of(np.zeros(3)) is None


def test_the_lag_of_a_shifted_curve_is_found(talking):
    assert yardstick.best_lag(talking, talking, TIMES_S, ALL) == (0.0, pytest.approx(1))
    lag_s, best = yardstick.best_lag(np.roll(talking, 3), talking, TIMES_S, ALL)
    assert lag_s == pytest.approx(0.12) and best > 0.98
    lag_s, _ = yardstick.best_lag(np.roll(talking, -2), talking, TIMES_S, ALL)
    assert lag_s == pytest.approx(-0.08)


def test_a_frame_by_lot_is_the_same_face_elsewhere_and_worth_nothing(talking):
    frames = yardstick.by_lot(np.arange(250.0), TIMES_S, ALL).astype(int)
    assert np.abs(TIMES_S[frames] - TIMES_S).min() >= yardstick.GUARD_S
    lot = yardstick.by_lot(talking, TIMES_S, ALL)
    assert abs(yardstick.correlation(lot, talking)) < 0.2
    assert np.abs(lot - talking).mean() > np.abs(talking.mean() - talking).mean()
    assert (lot == yardstick.by_lot(talking, TIMES_S, ALL)).all()


def test_lips_that_move_in_silence_leak(talking):
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.normal(0, 1, 160_000)).astype(np.float32)
    wave[64_000:112_000] *= 0.001  # 4 to 7 s
    quiet = yardstick.quiet(wave, TIMES_S)
    assert quiet[104:171].all() and not quiet[:100].any() and not quiet[176:].any()
    rests = np.where((TIMES_S > 4) & (TIMES_S < 7), 0.1, talking)
    assert yardstick.leak(rests, talking, quiet, ~quiet) == 0
    assert yardstick.leak(talking, talking, quiet, ~quiet) == pytest.approx(1, abs=0.25)
    assert yardstick.leak(talking, talking, ~ALL, ALL) is None


def test_the_interval_of_a_median_is_the_same_each_time_and_narrows_with_speakers():
    rng = np.random.default_rng(0)
    many = rng.normal(0.5, 0.1, 60).tolist()
    few, wide = yardstick.confidence(many[:6], yardstick.median), yardstick.confidence(many, yardstick.median)
    assert few is not None and wide is not None
    assert few == yardstick.confidence(many[:6], yardstick.median)
    assert few[0] < yardstick.median(many[:6]) < few[1] and wide[1] - wide[0] < few[1] - few[0]
    assert min(many[:6]) <= few[0] and few[1] <= max(many[:6])
    assert yardstick.confidence([0.5], yardstick.median) is None
    assert yardstick.confidence([0.4, 0.4, 0.4], yardstick.median) == (0.4, 0.4)


def test_a_speaker_counts_once_however_many_faces_and_clips_show_it():
    def heard(clip: str, video: str, person: str, value: float, track: str = "") -> dict:
        more = {"clip": clip, "video": video, "person": person, "track": track, "input": "moving"}
        return row("hearing", "fitted_opening_corr", value, **more)

    one_folder = [heard("a", "a.mp4", "actor_0", 0.2), heard("a", "a.mp4", "actor_1", 0.8), *(
        heard("b", "b.mp4", "actor_0", v, t) for v, t in ((0.1, "x"), (0.3, "y"), (0.9, "z")))]  # fmt: skip
    assert of_speakers(one_folder, "hearing", "fitted_opening_corr") == {
        "a actor_0": 0.2, "a actor_1": 0.8, "b actor_0": 0.3,
    }  # fmt: skip
    folders = [heard("a", "ann/a.mp4", "actor_0", 0.2), heard("b", "ann/b.mp4", "actor_0", 0.4),
               heard("c", "bob/c.mp4", "actor_0", 0.6)]  # fmt: skip
    assert persons(folders) == ["ann", "ann", "bob"]
    (fitted,) = (g for g in goals(folders) if g.what == "fitted, opening correlation")
    assert fitted.value == pytest.approx(0.45) and fitted.measured == "0.45 [0.30, 0.60]"
    assert fitted.over == "2 speakers in sync that the prior never saw"


def test_closures_are_counted_over_all_speakers():
    rows = []
    for clip, true, met in (("a", 10, 10), ("b", 30, 15)):
        for name, value in (("closures", true), ("fitted_met", met), ("fitted_closures", true), ("fitted_false", 1)):
            rows.append(row("hearing", name, value, clip=clip, video=f"{clip}.mp4", input="moving"))
    found = {g.what: g for g in goals(rows)}
    met = found["lips shut between open frames: met"]
    assert met.value == pytest.approx(25 / 40) and met.interval == (0.5, 1.0) and not met.met
    assert met.over == "40 true closures of 2 speakers"
    assert found["lips shut where they are open"].value == pytest.approx(2 / 40)


def test_word_times_lie_beside_a_clip_or_are_refused_in_a_sentence(tmp_path):
    clip = tmp_path / "bbaf2n.mpg"
    assert words_beside(clip) == []
    (tmp_path / "bbaf2n.align").write_text("0 23750 sil\n23750 29500 Bin\n\n29500 34000 blue\n")
    assert words_beside(clip) == [("sil", 0, 0.95), ("bin", 0.95, 1.18), ("blue", 1.18, 1.36)]
    (tmp_path / "bbaf2n.align").write_text("0.5 1.5 bin\n")
    with pytest.raises(MediaError, match="line 1.*25,000 a second.*found '0.5 1.5 bin'"):
        words_beside(clip)


def test_a_take_that_talks_on_in_the_dubs_silence_leaks():
    count = 100
    talks = np.abs(np.sin(np.arange(count) * 0.9))
    silent = np.arange(count) >= 50
    all_frames = np.ones(count, bool)

    def leak(opening: np.ndarray, heard: bool = True) -> float | None:
        shot = RenderedShot(
            np.arange(count), np.arange(count) / 25, material.face(talks), material.face(opening), all_frames,
            opening, silent, ~all_frames, np.zeros(64_000, np.float32), np.zeros(64_000, np.float32) if heard else None,
        )  # fmt: skip
        return LipLeak().of(shot)

    assert leak(np.where(silent, 0.3, talks)) == pytest.approx(0, abs=0.01)
    assert leak(talks) == pytest.approx(1, abs=0.15)
    assert leak(np.where(silent, talks / 2, talks)) == pytest.approx(0.5, abs=0.1)
    assert leak(np.where(silent, talks / 2, talks), heard=False) == pytest.approx(
        0.5, abs=0.1
    )  # its own speech instead
