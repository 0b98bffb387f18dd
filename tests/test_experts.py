"""Sync experts: LSE by its definition, and that the built-in expert hears what a viewer sees."""

import hashlib

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dubbing import experts
from dubbing.errors import MediaError, ModelError, PluginError
from dubbing.experts import lse
from dubbing.experts.lips import WEIGHTS, Lips
from dubbing.face import EYE_OUTER, INNER_LIPS, JAW, OUTER_LIPS, RIGID
from dubbing.sound import RATE_HZ


def related(windows, early, seed=0, width=16):
    """Embeddings whose sound is `early` frames early: a_(v - early) belongs to l_v."""
    made = np.random.default_rng(seed).standard_normal((windows + 40, width)).astype(np.float32)
    return made[20 : 20 + windows], made[20 + early : 20 + early + windows].copy()


# LSE by its definition


@pytest.mark.parametrize("early", [-7, -2, 0, 3, 11])
def test_lse_agrees_with_the_published_curve(golden, early):
    reference = golden("lse_lag")
    found = lse.lse(reference[f"lip_{early}"], reference[f"audio_{early}"])
    assert found.offset == early
    np.testing.assert_allclose([found.d, found.c], reference[f"result_{early}"][1:], rtol=1e-4)


def test_lse_agrees_with_the_published_code_on_its_own_embeddings(golden):
    reference = golden("lse")
    found = lse.lse(reference["lip_embeddings"], reference["audio_embeddings"])
    np.testing.assert_allclose(found.distance_SV, reference["dists"], rtol=1e-3)
    np.testing.assert_allclose([found.d, found.c], [reference["lse_d"], reference["lse_c"]], rtol=1e-3)
    assert found.offset == int(reference["offset"])
    assert len(found.distance_SV[0]) == lse.windows_in(np.arange(int(reference["n_frames"])) / 25)


@pytest.mark.parametrize("early", [-15, -4, 0, 4, 15])
def test_a_positive_offset_means_that_the_sound_is_early(early):
    video, audio = related(120, early)
    found = lse.lse(video, audio)
    assert found.offset == early
    assert found.c > 1


def test_zeros_stand_beyond_the_ends_of_the_stretch():
    video, audio = np.full((3, 2), 2.0), np.full((3, 2), 2.0)
    found = lse.lse(video, audio)
    assert found.distance_SV[0] == pytest.approx([8**0.5] * 3, rel=1e-5)
    assert found.distance_SV[16] == pytest.approx([2**0.5 * 1e-6] * 2 + [8**0.5], rel=1e-5)
    assert lse.lse(video, audio[:1]).distance_SV[15] == pytest.approx([2**0.5 * 1e-6, 8**0.5, 8**0.5], rel=1e-5)


@pytest.mark.parametrize("video, audio", [((0, 4), (3, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_embeddings_of_wrong_shape_are_refused(video, audio):
    with pytest.raises(ValueError, match="embeddings are"):
        lse.lse(np.zeros(video), np.zeros(audio))


def test_confidence_falls_where_lips_and_sound_part():
    video, audio = related(200, 2)
    audio[80:120] = related(200, 0, seed=5)[1][80:120]
    curve = lse.confidence(lse.lse(video, audio))
    assert curve.shape == (200,)
    assert np.median(curve[90:110]) < 0.5 < np.median(curve[20:60])


@pytest.mark.parametrize("rate", [24000 / 1001, 24, 25, 30000 / 1001, 30])
def test_a_stretch_of_six_frames_has_a_window_and_five_have_none(rate):
    assert lse.windows_in(100 + np.arange(6) / rate) == 1
    assert lse.windows_in(np.arange(5) / rate) == 0


def test_windows_are_counted_at_25_frames_a_second():
    assert lse.windows_in(np.arange(100) / 25) == 95
    assert lse.windows_in(np.arange(240) / 60) == 95
    assert lse.windows_in(np.round(np.arange(240) / 60, 3)) == 95
    assert lse.windows_in(np.arange(12) / 60) == 1
    assert lse.windows_in(np.arange(7) / 60) == 0
    assert lse.windows_in(np.zeros(1)) == 0


# The built-in expert


def test_the_expert_names_its_weights_by_their_hash():
    expert = experts.load("lips")
    assert isinstance(expert, experts.Expert)
    assert experts.model_name(expert) == "lips@" + hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:12]
    assert WEIGHTS.stat().st_size < 3_000_000
    assert WEIGHTS.with_suffix(".md").exists()


def test_an_unknown_expert_or_broken_weights_are_refused(tmp_path):
    with pytest.raises(PluginError, match="There is no sync expert 'nose'. There is: lips, syncnet_v2"):
        experts.load("nose")
    broken = tmp_path / "lips.npz"
    broken.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(ModelError, match="lips.npz"):
        Lips(broken)


def talker(length_s=8.0, seed=3):
    """A made talker: opening at 1000 Hz, 0..1, and 16 kHz sound that is as loud and as open-vowelled as the mouth."""
    rng = np.random.default_rng(seed)
    opening = np.zeros(int(length_s * 1000))
    at = 200
    while at < len(opening) - 400:
        length = int(rng.integers(120, 320))
        opening[at : at + length] = np.sin(np.pi * np.arange(length) / length) ** 1.5 * rng.uniform(0.4, 1)
        at += length + int(rng.choice([20, 60, 350]))
    envelope = np.interp(np.arange(int(length_s * RATE_HZ)) / RATE_HZ, np.arange(len(opening)) / 1000, opening)
    clock = np.arange(len(envelope)) / RATE_HZ
    first = 300 + 500 * envelope
    voice = sum(np.exp(-(((k * 120 - first) / 200) ** 2)) * np.sin(2 * np.pi * k * 120 * clock) for k in range(1, 40))
    voice += 0.3 * sum(np.exp(-(((k * 120 - 1500) / 300) ** 2)) * np.sin(2 * np.pi * k * 120 * clock + k)
                       for k in range(5, 30))  # fmt: skip
    wave = 0.2 * envelope * voice + 0.0005 * rng.standard_normal(len(clock))
    return opening, wave.astype(np.float32)


def face(opening_N):
    """Toy meshes (N, 478, 3) of a face whose mouth opens: an ellipse of lips, a chin that follows, a still head."""
    rng = np.random.default_rng(0)
    still = np.zeros((478, 3))
    still[list(RIGID)] = rng.uniform(-1, 1, (len(RIGID), 3)) * (0.9, 0.5, 0.2) - (0, 0.3, 0)
    still[EYE_OUTER[0]], still[EYE_OUTER[1]], still[10] = (-0.5, 0, 0), (0.5, 0, 0), (0, -0.8, 0)
    mesh = np.repeat(still[None], len(opening_N), 0)
    gap = 0.2 * np.asarray(opening_N)
    for ring, wide, thick in ((OUTER_LIPS, 0.3, 0.09), (INNER_LIPS, 0.25, 0.0)):
        angle = np.pi * np.concatenate([1 - np.arange(11) / 10, -(np.arange(1, 10)) / 10])
        up = np.sin(angle)
        mesh[:, ring, 0] = wide * np.cos(angle) * (1 - 0.1 * gap[:, None])
        mesh[:, ring, 1] = 0.75 - up * thick + np.where(up < 0, -up * gap[:, None], -up * 0.15 * gap[:, None])
    for place, point in enumerate(JAW):
        across = np.cos(np.pi * place / 16) if place < 17 else 0.1 * np.sin(place)
        mesh[:, point] = (-0.6 * across, 1.2 - 0.7 * abs(across), 0.1)
        mesh[:, point, 1] += 0.7 * gap * (1 - abs(across))
    return (mesh * 200 + 500).astype(np.float32)


def seen(opening, times_s):
    return face(np.interp(times_s, np.arange(len(opening)) / 1000, opening))


@pytest.fixture(scope="module")
def expert():
    return experts.load("lips")


@pytest.mark.parametrize("early", [-6, 0, 5])
def test_the_offset_follows_the_sound(expert, early):
    opening, wave = talker()
    times = np.arange(180) / 25
    shift = early * RATE_HZ // 25
    moved = np.concatenate([np.zeros(max(-shift, 0), np.float32), wave[max(shift, 0) :]])
    found = experts.score(expert, seen(opening, times), times, moved)
    assert abs(found.offset_frames - early) <= 1
    assert found.windows == 175
    assert found.d == pytest.approx(found.distance_S.min())
    assert found.at_zero == pytest.approx(found.distance_S[15])
    assert found.model == experts.model_name(expert)


def test_own_sound_is_nearer_than_anothers(expert):
    opening, wave = talker()
    times = np.arange(180) / 25
    mesh = seen(opening, times)
    own = experts.score(expert, mesh, times, wave)
    for seed in (11, 12, 13):
        other = experts.score(expert, mesh, times, talker(seed=seed)[1])
        assert own.at_zero < other.at_zero - 0.5
        assert own.c > other.c


@pytest.mark.parametrize("rate", [24000 / 1001, 30, 50, "variable"])
def test_the_frame_rate_hardly_matters(expert, rate):
    opening, wave = talker()
    reference = np.arange(0, 7.2, 1 / 25)
    times = np.arange(0, 7.2, 1 / 30) if rate == "variable" else np.arange(0, 7.2, 1 / rate)
    if rate == "variable":
        times = np.delete(times, np.arange(2, len(times) - 1, 5))
    at_25 = experts.score(expert, seen(opening, reference), reference, wave)
    found = experts.score(expert, seen(opening, times), times, wave)
    assert abs(found.windows - at_25.windows) <= 1
    assert found.offset_frames == at_25.offset_frames
    assert found.d == pytest.approx(at_25.d, abs=0.5)
    assert found.c == pytest.approx(at_25.c, abs=0.5)


def test_a_stretch_inside_a_film_scores_as_if_cut_out(expert):
    opening, wave = talker()
    times = 2.0 + np.arange(100) / 25
    mesh = seen(opening, times)
    inside = experts.score(expert, mesh, times, wave)
    cut = experts.score(expert, mesh, times - 2.0, wave[2 * RATE_HZ :][: 4 * RATE_HZ])
    np.testing.assert_allclose(inside.distance_S, cut.distance_S, atol=1e-4)


def test_level_place_and_size_of_the_face_do_not_matter(expert):
    opening, wave = talker()
    times = np.arange(150) / 25
    mesh = seen(opening, times)
    near = experts.score(expert, mesh, times, wave)
    far = experts.score(expert, mesh * 0.3 + (400, 100, 0), times, wave * 0.2)
    assert far.offset_frames == near.offset_frames
    assert far.d == pytest.approx(near.d, abs=0.3)


def test_short_silent_and_still_stretches(expert):
    opening, wave = talker()
    times = np.arange(6) / 25
    mesh = seen(opening, times)
    assert experts.score(expert, mesh[:5], times[:5], wave) is None
    assert experts.score(expert, mesh, times, wave).windows == 1
    long = np.arange(100) / 25
    for picture, sound in ((seen(opening, long), np.zeros(64000, np.float32)), (seen(opening * 0, long), wave),
                           (seen(opening, long), wave[:100]), (seen(opening, long), wave[:0])):  # fmt: skip
        found = experts.score(expert, picture, long, sound)
        assert np.isfinite(found.distance_S).all()
        assert found.c < 2.5


def test_zeros_beyond_the_ends_favour_no_shift(expert):
    opening, _ = talker()
    times = np.arange(40) / 25
    offsets, beyond = [], []
    for seed in range(20, 40):
        found = experts.score(expert, seen(opening, times + 0.2 * (seed - 20)), times, talker(seed=seed)[1])
        offsets.append(found.offset_frames)
        beyond.append(found.distance_S[[0, -1]].mean() / np.median(found.distance_S))
    assert np.mean(beyond) == pytest.approx(1.0, abs=0.12)
    assert np.mean(np.abs(offsets) >= 14) < 0.4


# A held-out person


def test_a_person_never_met_is_in_sync_with_her_own_sound(woman, shared, expert):
    from dubbing import media

    mesh, times, wave = woman.mesh_NP3, woman.timeline.times_s(), woman.wave
    own = experts.score(expert, mesh, times, wave)
    assert abs(own.offset_frames) <= 1
    dub = np.asarray(media.read_sound(shared / "media" / "reel.fr.flac", rate_hz=RATE_HZ), np.float32)
    foreign = [experts.score(expert, mesh, times, dub[at * RATE_HZ :]) for at in (4, 10, 16, 25)]
    assert own.at_zero < min(f.at_zero for f in foreign)
    assert own.c > max(f.c for f in foreign)


@pytest.mark.parametrize("early", [-5, 4])
def test_her_sound_moved_is_found_where_it_went(woman, expert, early):
    mesh, times, wave = woman.mesh_NP3, woman.timeline.times_s(), woman.wave
    shift = early * RATE_HZ // 25
    moved = np.concatenate([np.zeros(max(-shift, 0), np.float32), wave[max(shift, 0) :]])
    assert abs(experts.score(expert, mesh, times, moved).offset_frames - early) <= 1


def test_dropped_frames_do_not_move_her_sound(woman, expert):
    mesh, times, wave = woman.mesh_NP3, woman.timeline.times_s(), woman.wave
    kept = np.delete(np.arange(len(times)), np.arange(3, len(times) - 1, 4))
    whole = experts.score(expert, mesh, times, wave)
    thinned = experts.score(expert, mesh[kept], times[kept], wave)
    assert abs(thinned.offset_frames) <= 1
    assert thinned.at_zero == pytest.approx(whole.at_zero, abs=0.5)


def test_windows_that_do_not_count_change_nothing_but_their_sound_is_still_shifted() -> None:
    rng = np.random.default_rng(5)
    sound = rng.normal(size=(90, 8)).astype(np.float32)
    lips = np.concatenate([sound[3:63], rng.normal(size=(30, 8))]).astype(np.float32)  # three late, then another's
    counted_V = np.arange(90) < 50
    found = lse.lse(lips, sound, counted_V=counted_V)
    assert (found.offset, found.distance_SV.shape) == (-3, (31, 50)) and found.d < 1e-4 < lse.lse(lips, sound).d
    lips[60:] = 0
    assert np.array_equal(lse.lse(lips, sound, counted_V=counted_V).distance_S, found.distance_S)
    assert np.array_equal(lse.lse(lips, sound, counted_V=np.ones(90, bool)).distance_S, lse.lse(lips, sound).distance_S)
    with pytest.raises(ValueError, match="none of 90 windows"):
        lse.lse(lips, sound, counted_V=np.zeros(90, bool))


def test_a_mouth_without_its_quick_motion_or_out_of_step_is_no_nearer_than_the_true_one(woman, expert):
    mesh, times, wave = woman.mesh_NP3, woman.timeline.times_s(), woman.wave
    true = experts.score(expert, mesh, times, wave)
    careful = gaussian_filter1d(mesh, 3, axis=0, mode="nearest")
    assert true.at_zero < experts.score(expert, careful, times, wave).at_zero
    late = np.clip(np.arange(len(mesh)) + np.round(5 * np.sin(np.arange(len(mesh)) / 8)).astype(int), 0, len(mesh) - 1)
    assert true.at_zero < experts.score(expert, mesh[late], times, wave).at_zero - 0.3


def test_the_expert_and_the_prior_are_taught_by_different_sentences(tmp_path):
    from shipped_weights.clips import grid_s1

    for name in ("b", "a", "d", "c", "e"):
        (tmp_path / f"{name}.mpg").touch()
    names = {pupil: [source.name for source in grid_s1(tmp_path, pupil)] for pupil in ("prior", "expert")}
    assert names == {"prior": ["a", "c", "e"], "expert": ["b", "d"]}
    (tmp_path / "none").mkdir()
    with pytest.raises(MediaError, match="no sentence"):
        grid_s1(tmp_path / "none", "prior")
