"""Voices and lips: mouths rest in silence, follow the voice at any frame rate, and an actor learns from footage."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import Speaker

from dubbing.errors import ModelError
from dubbing.face import INNER_LIPS, JAW, LOWER_FACE, OUTER_LIPS, canonical, mouth_measures
from dubbing.generators.rewrite import minutes, taught, voice
from dubbing.generators.rewrite.minutes import clearest
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace, resting

RATE_HZ = 16_000


def closed_mouth() -> np.ndarray:
    """A plausible resting lower face, (L, 3): two lip lines that touch, and a jaw."""
    angle = np.linspace(np.pi, 0, 11)
    line = np.stack([0.28 * np.cos(angle), np.full(11, 0.75), -0.1 - 0.05 * np.sin(angle)], 1)
    arch = np.stack([0, 0.08, 0] * np.sin(angle)[:, None], 0)
    where = {}
    for points, bulge in ((OUTER_LIPS, arch), (INNER_LIPS, 0 * arch)):
        where |= dict(zip(points[:11], line - bulge, strict=True))
        where |= dict(zip(points[:10:-1], (line + bulge)[1:-1], strict=True))
    around = np.linspace(0, np.pi, len(JAW))
    where |= {p: np.array([-0.7 * np.cos(a), 0.5 + 0.75 * np.sin(a), 0.0]) for p, a in zip(JAW, around, strict=True)}
    return np.array([where[p] for p in LOWER_FACE])


def speech_like(seconds: float, seed: int, pitch_hz: float = 120.0) -> tuple[np.ndarray, np.ndarray]:
    """A buzz through the resonances of a mouth that opens and shuts like syllables: (wave, how far it is open, 0..1,
    1000 times a second). The more it is open, the louder, and the higher its first resonance."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0, 1, int(seconds * 4) + 2) * (rng.uniform(size=int(seconds * 4) + 2) > 0.2)
    loudness = np.interp(np.arange(int(seconds * 1000)) / 250, np.arange(len(knots)), knots)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    loud = np.interp(t, np.arange(len(loudness)) / 1000, loudness)
    buzz = np.zeros(len(t))
    for k in range(1, 30):
        peaks = sum(1 / (1 + ((k * pitch_hz - at) / 90) ** 2) for at in (250 + 550 * loud, 1300.0, 2500.0))
        buzz += peaks * np.sin(2 * np.pi * pitch_hz * k * t)
    wave = 0.1 * buzz * 10 ** (1.5 * (loud - 1)) + 1e-4 * rng.normal(size=len(t))
    return wave.astype(np.float32), loudness


def opening_to(loudness: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """The made actor's rule: lips open with loudness, up to 0.2."""
    return 0.2 * np.interp(times_s, np.arange(len(loudness)) / 1000, loudness)


def performance(seconds: float, seed: int, rate: float = 25.0) -> voice.Example:
    wave, loudness = speech_like(seconds, seed)
    times_s = (np.arange(int(seconds * rate)) + 0.5) / rate
    coef = np.zeros((len(times_s), COEFS))
    coef[:, 0] = opening_to(loudness, times_s)
    coef[:, 1] = 0.1 * coef[:, 0]
    return voice.Example(ShapeSpace.load().decode(coef, closed_mouth()), times_s, wave, np.ones(len(times_s), bool))


@pytest.fixture(scope="module")
def actor() -> voice.Actor:
    return voice.fit_actor([performance(20.0, seed=1), performance(10.0, seed=2)])


def test_shape_round_trip_and_closed_lips() -> None:
    space, rest = ShapeSpace.load(), closed_mouth()
    rng = np.random.default_rng(0)
    coef = rng.normal(0, 0.03, (50, COEFS))
    coef[:, 0] = rng.uniform(0.05, 0.2, 50)
    coef[:, 2:] *= 0.3
    assert np.abs(space.encode(space.decode(coef, rest), rest)[:, :2] - coef[:, :2]).max() < 0.02
    shut = space.decode(coef * np.append(0, np.ones(COEFS - 1)), rest)
    mesh = np.zeros((50, 478, 3))
    mesh[:, list(LOWER_FACE)] = shut
    assert mouth_measures(mesh)["opening"].max() < 1e-9
    crossed = space.decode(np.tile(np.append(-0.1, np.zeros(COEFS - 1)), (1, 1)), rest)
    mesh[:1, list(LOWER_FACE)] = crossed
    assert mesh[0, 14, 1] >= mesh[0, 13, 1]
    open_coef = np.zeros((3, COEFS))
    open_coef[:, 0] = [0.05, 0.1, 0.2]
    np.testing.assert_allclose(voice.opening_of(open_coef, rest), [0.05, 0.1, 0.2], rtol=0.3)


def test_resting_finds_the_closed_mouth() -> None:
    example = performance(8.0, seed=3)
    assert np.abs(resting(example.shape_NP3) - closed_mouth()).max() < 0.02


def test_mouth_rests_in_silence(actor: voice.Actor) -> None:
    wave, _ = speech_like(4.0, seed=4)
    times_s = (np.arange(100) + 0.5) / 25
    speech = (times_s > 1.0) & (times_s < 2.5)
    coef = voice.predict(actor, wave, times_s, speech)
    assert coef.shape == (100, COEFS)
    far = (times_s < 1.0 - voice.RISE_S) | (times_s > 2.5 + voice.FALL_S)
    assert not coef[far].any()
    assert coef[speech, 0].max() > 0.05
    assert coef[~speech & (times_s > 0.92) & (times_s < 1.0), 0].max() > 0  # it opens a little before the voice
    assert not voice.predict(actor, wave, times_s, np.zeros(100, bool)).any()
    assert voice.predict(actor, wave[:0], times_s, speech).shape == (100, COEFS)


def test_fitted_actor_follows_its_own_rule(actor: voice.Actor) -> None:
    wave, loudness = speech_like(10.0, seed=5)
    times_s = (np.arange(250) + 0.5) / 25
    true = opening_to(loudness, times_s)
    said = voice.predict(actor, wave, times_s, np.ones(250, bool))[:, 0]
    assert np.corrcoef(said, true)[0, 1] > 0.75
    assert np.mean((said - true) ** 2) < 0.6 * true.var()  # a constant's error is the variance
    assert 0.7 < said.std() / true.std() < 1.3
    assert actor.score > 0.6 and abs(actor.seconds - 30) < 0.1 and abs(actor.lag_s) < 0.05


def test_late_sound_is_noticed_and_undone() -> None:
    late = performance(20.0, seed=1)
    shift = int(0.12 * RATE_HZ)
    late = voice.Example(late.shape_NP3, late.times_s, np.pad(late.wave, (shift, 0)), late.speaking_N)
    found = voice.fit_actor([late]).lag_s
    assert found == 0 or 0.05 <= found <= 0.17  # in doubt it says 0


def test_volume_and_voice_do_not_change_the_mouth(actor: voice.Actor) -> None:
    wave, _ = speech_like(8.0, seed=6)
    times_s = (np.arange(200) + 0.5) / 25
    always = np.ones(200, bool)
    said = voice.predict(actor, wave, times_s, always)[:, 0]
    quiet = voice.predict(actor, 0.1 * wave, times_s, always)[:, 0]
    assert np.corrcoef(said, quiet)[0, 1] > 0.95
    other = voice.predict(actor, speech_like(8.0, seed=6, pitch_hz=210.0)[0], times_s, always)[:, 0]
    assert 0.6 < other.std() / said.std() < 1.6
    assert abs(other.mean() - said.mean()) < 0.03


@pytest.mark.parametrize("rate", [24000 / 1001, 30.0, 59.94, "variable"])
def test_frame_rate_does_not_matter(actor: voice.Actor, rate: float | str) -> None:
    wave, _ = speech_like(6.0, seed=7)
    base_s = (np.arange(150) + 0.5) / 25
    base = voice.predict(actor, wave, base_s, np.ones(150, bool))[:, 0]
    if rate == "variable":
        times_s = np.cumsum(np.random.default_rng(0).choice([1 / 30, 2 / 30, 3 / 30], 110))
        times_s = times_s[times_s < 6]
    else:
        times_s = (np.arange(int(6 * float(rate))) + 0.5) / float(rate)
    said = voice.predict(actor, wave, times_s, np.ones(len(times_s), bool))[:, 0]
    expected = np.interp(times_s, base_s, base)
    inside = (times_s > base_s[0]) & (times_s < base_s[-1])
    assert np.abs(said - expected)[inside].mean() < 0.1 * base.std()


def test_same_input_same_actor_and_file_round_trip(actor: voice.Actor, tmp_path: Path) -> None:
    again = voice.fit_actor([performance(20.0, seed=1), performance(10.0, seed=2)])
    assert again.hash == actor.hash and len(actor.hash) == 64
    voice.save(actor, tmp_path / "actor.npz")
    loaded = voice.load(tmp_path / "actor.npz")
    assert loaded.hash == actor.hash
    wave, _ = speech_like(2.0, seed=8)
    times_s = (np.arange(50) + 0.5) / 25
    always = np.ones(50, bool)
    np.testing.assert_array_equal(
        voice.predict(loaded, wave, times_s, always), voice.predict(actor, wave, times_s, always)
    )
    assert voice.fit_actor([performance(5.0, seed=1)]).hash != actor.hash
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="fit the actor again"):
        voice.load(tmp_path / "bad.npz")


def test_little_dialogue_and_much() -> None:
    short = performance(1.0, seed=9)
    little = voice.fit_actor([short])
    assert little.score == 0 and little.fit.weight_WK is None
    none = voice.Example(short.shape_NP3, short.times_s, short.wave, np.zeros(len(short.times_s), bool))
    with pytest.raises(ValueError, match="default_actor"):
        voice.fit_actor([none])
    many = [performance(3.0, seed=n) for n in range(8)]
    assert 6.0 <= voice.fit_actor(many, max_seconds=6.0).seconds <= 6.2


def test_a_mouth_that_was_hardly_seen_counts_little() -> None:
    """One half of the dialogue is said by another rule: the mouth stands open where the voice is quiet."""
    right = [performance(6.0, seed=n) for n in range(4)]
    wrong = [upside_down(performance(6.0, seed=n)) for n in range(4, 8)]
    wave, loudness = speech_like(6.0, seed=20)
    times_s = (np.arange(150) + 0.5) / 25
    true = opening_to(loudness, times_s)

    def follows(clear: float) -> float:
        blurred = [replace(e, weight_N=np.full(len(e.times_s), clear)) for e in wrong]
        learnt = voice.fit_actor([*right, *blurred])
        return float(np.corrcoef(voice.predict(learnt, wave, times_s, np.ones(150, bool))[:, 0], true)[0, 1])

    assert follows(0.02) > max(0.6, follows(1.0) + 0.05)


def upside_down(example: voice.Example) -> voice.Example:
    space, rest = ShapeSpace.load(), closed_mouth()
    coef = space.encode(example.shape_NP3, rest)
    coef[:, 0] = 0.2 - coef[:, 0]
    return replace(example, shape_NP3=space.decode(coef, rest))


def test_of_much_dialogue_the_clearest_of_every_part_is_used() -> None:
    seconds, clear = [4.0] * 48, [(n * 7 % 10) / 10 for n in range(48)]
    assert clearest(seconds, clear, 200.0) == list(range(48))
    used = clearest(seconds, clear, 96.0)
    assert len(used) == 24 and used == sorted(set(used))
    assert all(any(a <= n < a + 4 for n in used) for a in range(0, 48, 4)), "a part of the title is left out"
    assert np.mean([clear[n] for n in used]) > np.mean(clear) + 0.1


def test_dialogue_in_numbers_is_kept_and_lent(tmp_path: Path) -> None:
    own, elsewhere = [performance(4.0, seed=1)], [performance(8.0, seed=2), performance(8.0, seed=3)]
    kept = voice.dialogue(elsewhere).minutes
    minutes.save(kept, tmp_path / "minutes.npz")
    lent = minutes.load(tmp_path / "minutes.npz")
    assert abs(lent.film_s - 16) < 0.1 and lent.frames == kept.frames
    learnt = voice.fit_actor(own, also=[lent])
    assert abs(learnt.seconds - 20) < 0.1 and learnt.score > voice.fit_actor(own).score
    assert learnt.hash == voice.fit_actor(own, also=[minutes.load(tmp_path / "minutes.npz")]).hash
    np.testing.assert_array_equal(learnt.rest, voice.fit_actor(own).rest)  # a mouth at rest is this film's
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no dialogue in numbers"):
        minutes.load(tmp_path / "bad.npz")


def test_a_crooked_mouth_stays_crooked() -> None:
    """One corner follows the jaw and the other does not: everyone's space alone would open both alike."""
    example = performance(12.0, seed=12)
    coef = ShapeSpace.load().encode(example.shape_NP3, closed_mouth())
    lean = np.zeros((len(LOWER_FACE), 3))
    lean[[LOWER_FACE.index(p) for p in (291, 375, 321, 409)], 1] = 0.8
    crooked = example.shape_NP3 + coef[:, :1, None] * lean
    learnt = voice.fit_actor([replace(example, shape_NP3=crooked)])
    corner = LOWER_FACE.index(291)

    def off(space: ShapeSpace) -> float:
        again = space.decode(space.encode(crooked, learnt.rest), learnt.rest)
        return float(np.abs(again - crooked)[:, corner, 1].mean())

    assert off(learnt.space) < 0.4 * off(ShapeSpace.load())


def test_networks_of_an_actor_learn_what_no_line_fits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 30)).astype(np.float32)
    y = np.stack([np.abs(x[:, 0]) + 0.5 * x[:, 1], x[:, 2]], 1)
    y = (y - y.mean(0)) / y.std(0)
    line = np.linalg.lstsq(x, y, rcond=None)[0]
    test = np.arange(6000) < 1200
    weight, worth = np.full(6000, 0.04), np.ones(2)
    nets, said = taught.teach(x, y, weight, worth, held_NK=x @ line, test_N=test, train_N=~test)
    assert nets is not None
    assert ((said - y[test]) ** 2).mean() < 0.7 * ((x @ line - y)[test] ** 2).mean()
    again, _ = taught.teach(x, y, weight, worth, held_NK=x @ line, test_N=test, train_N=~test)
    kept = taught.Taught.of(nets.arrays())
    for other in (again, kept):
        assert other is not None
        np.testing.assert_array_equal(other.blended(x[:50], x[:50] @ line), nets.blended(x[:50], x[:50] @ line))
    noise = rng.normal(size=(6000, 2))
    assert taught.teach(x, noise, weight, worth, held_NK=0 * noise, test_N=test, train_N=~test)[0] is None


def test_default_actor_speaks() -> None:
    still = ShapeSpace.load().decode(np.zeros((1, COEFS)), closed_mouth())
    actor = voice.default_actor(still)
    wave, _ = speech_like(4.0, seed=10)
    times_s = (np.arange(100) + 0.5) / 25
    opening = voice.opening_of(voice.predict(actor, wave, times_s, np.ones(100, bool)), actor.rest)
    assert opening.std() > 0.02 and 0 <= opening.min() and opening.max() < 0.35
    assert actor.seconds == 0


def test_prior_on_a_speaker_it_never_saw(woman: Speaker) -> None:
    full, _ = canonical(woman.mesh_NP3)
    times_s = woman.timeline.times_s(centre=True)
    actor = voice.default_actor(full)
    said = voice.opening_of(voice.predict(actor, woman.wave, times_s, np.ones(len(times_s), bool)), actor.rest)
    assert np.corrcoef(said, mouth_measures(full)["opening"])[0, 1] > 0.4
