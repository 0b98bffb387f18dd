"""What is heard in a voice: free of gain, in its place, the same however it is cut, and as whisper itself hears it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import Speaker

from dubbing.errors import ModelError
from dubbing.generators.rewrite import hearing, voice
from dubbing.generators.rewrite.hearing import EARS, Prior, front
from dubbing.networks import whisper_front
from dubbing.networks.whisper_front import CORE, MARGIN, STEP_HZ, WIDTH

RATE_HZ = 16_000
WHISPER = Path(__file__).parents[2] / "shared/models/whisper_base.pt"


def buzz(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    loud = np.sin(2 * np.pi * 2 * t) ** 2
    return np.asarray(0.2 * loud * sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20)), np.float32)


def hear(wave: np.ndarray) -> np.ndarray:
    return front(hearing.ear_hash()).hear(wave)


def off(a: np.ndarray, b: np.ndarray) -> float:
    """The root of the mean square difference, in parts of the spread of `b`."""
    return float(np.sqrt(((a - b) ** 2).mean() / b.var(0).mean()))


def test_the_ear_is_free_of_gain_and_gives_one_step_for_every_50th_of_a_second() -> None:
    wave = buzz(2.0)
    code = hear(wave)
    assert code.shape == (101, WIDTH) and np.isfinite(code).all()
    assert off(hear(0.01 * wave), code) < 1e-3
    assert hear(wave[:0]).shape == (1, WIDTH) and np.isfinite(hear(0 * wave)).all()


def test_what_comes_later_is_heard_later(woman: Speaker) -> None:
    wave, prior = woman.wave[: 4 * RATE_HZ], Prior.load()
    here, later = prior.hear(wave), prior.hear(np.pad(wave, (RATE_HZ, 0)))
    steps = len(here.coef_TK) - 10
    for k in range(2):
        assert np.corrcoef(here.coef_TK[10:steps, k], later.coef_TK[60 : steps + 50, k])[0, 1] > 0.9


def test_windows_meet_without_a_seam() -> None:
    """What a step says depends little on where the windows lie: their borders are no worse than other places."""
    long = buzz(2 * CORE / STEP_HZ)
    prior = Prior.load()
    here = prior.hear(long).ear_TE
    cut = CORE // 2 * (RATE_HZ // STEP_HZ)
    moved = prior.hear(long[cut:]).ear_TE
    apart = np.abs(here[CORE // 2 + MARGIN :] - moved[MARGIN:]).mean(1)
    border = apart[CORE // 2 - MARGIN - 3 : CORE // 2 - MARGIN + 3]
    assert border.mean() < 2 * apart.mean()


def test_what_is_beyond_a_windows_margin_changes_nothing() -> None:
    long = buzz(3 * CORE / STEP_HZ)
    other = long.copy()
    other[(CORE + MARGIN + 2) * RATE_HZ // STEP_HZ :] *= 0.5  # the loudest stays
    np.testing.assert_array_equal(hear(other)[:CORE], hear(long)[:CORE])


@pytest.mark.skipif(not WHISPER.exists(), reason=f"needs the published weights of whisper base as {WHISPER}")
def test_eight_bits_hear_what_whisper_hears() -> None:
    import torch

    model = pytest.importorskip("whisper.model", reason="needs the extra whisper")
    state = torch.load(WHISPER, weights_only=True)["model_state_dict"]
    whole = model.AudioEncoder(80, 1500, WIDTH, 8, 6)
    whole.load_state_dict({k.removeprefix("encoder."): v.float() for k, v in state.items() if k.startswith("encoder.")})
    wave = buzz(4.0)
    silent = np.full((2 * MARGIN, 80), (whisper_front.PEAK - 4) / 4, np.float32)
    mel = torch.from_numpy(np.concatenate([silent, whisper_front.log_mel(wave), silent]).T)[None]
    with torch.no_grad():
        x = torch.nn.functional.gelu(whole.conv1(mel))
        x = torch.nn.functional.gelu(whole.conv2(x)).permute(0, 2, 1)
        place = whole.positional_embedding[: x.shape[1]]
        x = x + place
        for block in whole.blocks[:3]:
            x = block(x)
        true = (x - place)[0, MARGIN:-MARGIN].numpy()
    assert off(hear(wave), true) < 0.1
    packed = whisper_front.pack(state, 3)
    np.testing.assert_allclose(whisper_front.Front(packed).hear(wave), hear(wave), atol=1e-3)


def test_another_ear_is_refused() -> None:
    prior = Prior.load()
    here = prior.hear(buzz(1.0))
    assert here.ear_TE.shape == (51, EARS) and 0 <= here.shut_T.min() and here.shut_T.max() <= 1
    with pytest.raises(ModelError, match="install the package again"):
        replace(prior, ear="0123456789abcdef").hear(buzz(1.1))


def test_a_sound_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, wave = Prior.load(), buzz(1.2)
    first = prior.hear(wave)
    monkeypatch.setattr(hearing, "front", lambda _: pytest.fail("the ear listened again"))
    np.testing.assert_array_equal(prior.hear(wave.copy()).coef_TK, first.coef_TK)


def test_nothing_is_said_beyond_what_mouths_do() -> None:
    prior = Prior.load()
    wild = np.random.default_rng(0).normal(0, 0.3, 3 * RATE_HZ).astype(np.float32)
    assert (np.abs(prior.hear(wild).coef_TK) <= prior.limit_K).all()


def test_lips_shut_where_it_is_sure() -> None:
    row = np.zeros((3, 8 + EARS + 1))
    row[:, -1] = [0.1, 0.5, 0.9]
    shut = voice.closing(row)
    assert shut[0] == 0 and 0.3 < shut[1] < 0.7 and shut[2] == 1
