"""Light-ASD: its published numbers, and what it says of a face that speaks."""

import numpy as np
import pytest
import torch
from people import meshes_of

from dubbing import media
from dubbing.errors import ModelError
from dubbing.experts import crop
from dubbing.experts import light_asd as light_asd_module
from dubbing.experts.light_asd import LightASD
from dubbing.models import load_state


@pytest.fixture(scope="module")
def file(shared):
    path = shared / "models" / "light_asd_ava.model"
    if not path.exists():
        pytest.skip("needs Light-ASD's published weights in ../shared/models")
    return path


@pytest.fixture(scope="module")
def judge(file):
    return LightASD(file)


def test_network_is_the_published_one(golden, judge):
    reference = golden("light_asd")
    logits = judge.logits(reference["mfcc"][0], reference["faces"][0])
    assert np.abs(logits - reference["logits"]).max() < 1e-3


def test_weights_are_named_and_checked(judge, file, tmp_path):
    assert judge.hash12 == "d44bc3ea7baa"
    state = load_state(file)
    state["lossAV.FC.weight"] = torch.zeros(2, 256)
    torch.save(state, tmp_path / "w")
    with pytest.raises(ModelError, match=r"lossAV\.FC\.weight.*\(2, 256\).*\(2, 128\)"):
        LightASD(tmp_path / "w")


@pytest.fixture(scope="module")
def speaker(shared, judge):
    """Two seconds of a woman who speaks: what Light-ASD sees of her, when, and the sound."""
    clip = shared / "media" / "blue_wall.mp4"
    line = media.timeline(clip)
    pictures = [crop.published_bgr(picture) for picture in media.read(clip, line, 0, 60)]
    times_s = line.times_s(0, 60)
    places = judge.crops(meshes_of(pictures), times_s)
    faces = np.stack([judge.grey(crop.cut(p, at, judge.crop_px)) for p, at in zip(pictures, places, strict=True)])
    return faces, times_s, media.read_sound(clip)


@pytest.mark.long
def test_a_speaking_face_speaks_and_a_silent_sound_is_nobodys(judge, speaker):
    faces, times_s, wave = speaker
    own = judge.speaking(faces, times_s, wave)
    assert own.shape == (60,) and own.dtype == np.float32  # one a frame, at 30 a second
    assert (own > 0).mean() > 0.7
    assert (judge.speaking(faces, times_s, np.zeros_like(wave)) < 0).all()
    assert (judge.speaking(np.repeat(faces[:1], 60, 0), times_s, wave) > 0).mean() < 0.3


@pytest.mark.long
def test_the_clock_is_the_sounds(judge, speaker):
    faces, times_s, wave = speaker
    late = np.concatenate([np.zeros(48_000, np.float32), wave])
    np.testing.assert_allclose(
        judge.speaking(faces, times_s + 3.0, late), judge.speaking(faces, times_s, wave), atol=1e-3
    )


@pytest.mark.long
def test_blocks_join_without_a_seam(judge, speaker, monkeypatch):
    faces, times_s, wave = speaker
    whole = judge.speaking(faces, times_s, wave)
    monkeypatch.setattr(light_asd_module, "BLOCK", 25)
    parts = judge.speaking(faces, times_s, wave)
    assert np.abs(parts - whole).max() < 0.5 * whole.std()
    assert judge.speaking(faces[:1], times_s[:1], wave).shape == (1,)
    assert judge.speaking(faces[:0], times_s[:0], wave).shape == (0,)
