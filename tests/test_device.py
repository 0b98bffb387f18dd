"""Where networks run: the device that was said reaches every tensor, and by default it is a GPU where there is one.

There need be no GPU: torch's `to` is watched, and what is sent to one stays on the processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from dubbing import device, experts, generators, models
from dubbing.experts.light_asd import LightASD, LightASDNet
from dubbing.experts.lips import WEIGHTS, Lips
from dubbing.experts.stable_syncnet import StableSyncNetExpert
from dubbing.experts.syncnet import SyncNet, SyncNetNet
from dubbing.experts.wav2lip_color import Wav2LipColor, Wav2LipColorNet
from dubbing.networks.lipgan import LipGANNet
from dubbing.networks.speech_gan.nets import NetworkShape, SpeechGANNet
from dubbing.networks.spt import SptWav2LipNet
from dubbing.networks.wav2lip import Wav2LipNet
from dubbing.testing import material

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.long]
NETS = {
    "wav2lip": Wav2LipNet,
    "spt_wav2lip": SptWav2LipNet,
    "lipgan": lambda: LipGANNet("basic"),
    "speech_gan": lambda: SpeechGANNet(NetworkShape(width=8, audio=16)),
    "sadtalker": tiny.sadtalker,
    "musetalk": tiny.musetalk,
    "latentsync": tiny.latentsync,
}
PUBLISHED = {
    "syncnet_v2": (SyncNet, SyncNetNet), "wav2lip_color": (Wav2LipColor, Wav2LipColorNet),
    "stable_syncnet": (StableSyncNetExpert, tiny.stable_syncnet),
}  # fmt: skip


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the tensors that are sent to a GPU."""
    kept: list[tuple[int, ...]] = []
    real = torch.Tensor.to

    def to(self: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        def here(one: Any) -> Any:
            gpu = (isinstance(one, torch.device) and one.type == "cuda") or (isinstance(one, str) and one == "cuda")
            if gpu:
                kept.append(tuple(self.shape))
            return torch.device("cpu") if gpu else one

        return real(self, *map(here, args), **{k: here(v) for k, v in more.items()})

    monkeypatch.setattr(torch.Tensor, "to", to)
    yield kept


def saved(net: torch.nn.Module, path: Any) -> Any:
    torch.manual_seed(5)
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("name", NETS)
def test_a_generator_runs_where_it_is_told_to(name: str, sent: list[tuple[int, ...]], tmp_path: Any) -> None:
    if name in ("musetalk", "latentsync"):
        pytest.importorskip("diffusers", reason=f"the extra `{name}` brings it")
    net = NETS[name]()
    settings: dict[str, Any] = {"model": str(tmp_path / "own.pth")}
    if name == "musetalk":
        settings = {**tiny.musetalk_files(tmp_path), "size": 64, "batch": 2}
    elif name == "latentsync":
        settings = {**tiny.latentsync_files(tmp_path), "steps": 1, "batch": 8}
    else:
        saved(net, tmp_path / "own.pth")
    generator = generators.create(name, settings, device="cuda")
    work = material.request(tmp_path, 24)
    first = work.track.start_frame
    window = (first + 2, first + 4)
    patches = list(generator.render(type(work)(**{**vars(work), "window": window})))
    assert len(patches) == 2 and generator.check() is None
    weights = sum(p.numel() for p in net.parameters())
    assert sum(int(np.prod(shape)) for shape in sent) > 0.9 * weights, "its weights are there"


def test_rewrite_on_another_device_gives_the_same(sent: list[tuple[int, ...]], tmp_path: Any) -> None:
    work = material.request(tmp_path, 24)
    work = replace(work, window=(work.track.start_frame + 2, work.track.start_frame + 8))
    plain, there = (generators.create("rewrite", {"gpu": gpu}, device=d) for gpu, d in ((False, "cpu"), (True, "cuda")))
    assert plain.hash == there.hash, "where a take was rendered is no part of its key"
    wanted = list(plain.render(work))
    assert not sent and len(wanted) == 6
    for one, other in zip(there.render(work), wanted, strict=True):
        a, b = one.patch, other.patch
        assert (a.frame, a.x, a.y, one.wanted_opening) == (b.frame, b.x, b.y, other.wanted_opening)
        assert np.abs(a.matte_HW.astype(int) - b.matte_HW).max() <= 1
        assert (np.abs(a.bgr_HWC.astype(int) - b.bgr_HWC) > 1)[(a.matte_HW > 0) & (b.matte_HW > 0)].mean() < 1e-3
    assert (6, *wanted[0].patch.bgr_HWC.shape) in sent, "all frames of a batch are sent at once"
    sent.clear()
    list(there.render(replace(work, draft=True)))
    assert not sent, "drafts are rendered on the processor"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_expert_runs_where_it_is_told_to(name: str, sent: list[tuple[int, ...]], tmp_path: Any) -> None:
    kind, make = PUBLISHED[name]
    net = make()
    file = saved(net, tmp_path / "w")
    plain = kind(file)
    assert not sent
    there = kind(file, "cuda")
    weights = sum(p.numel() for p in net.parameters())
    assert sum(int(np.prod(shape)) for shape in sent) > 0.9 * weights
    sent.clear()
    crops = np.random.default_rng(1).integers(0, 256, (8, plain.crop_px, plain.crop_px, 3), np.uint8)
    wave, times_s = material.voice(material.openings(8)), np.arange(8) / 25
    for found, wanted in ((there.embed_video(crops, times_s), plain.embed_video(crops, times_s)),
                          (there.embed_sound(wave, 0.0, 3), plain.embed_sound(wave, 0.0, 3))):  # fmt: skip
        assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert sent, "what it looks at is sent too"


def test_light_asd_runs_where_it_is_told_to(sent: list[tuple[int, ...]], tmp_path: Any) -> None:
    file = saved(LightASDNet(), tmp_path / "w")
    there, plain = LightASD(file, "cuda"), LightASD(file, "cpu")
    count = len(sent)
    assert count > 100
    faces = np.random.default_rng(1).integers(0, 256, (10, 112, 112), np.uint8)
    heard = np.random.default_rng(2).normal(0, 1, (40, 13)).astype(np.float32)
    np.testing.assert_allclose(there.logits(heard, faces), plain.logits(heard, faces), atol=1e-5)
    assert len(sent) == count + 2


def test_lips_on_another_device_says_the_same(sent: list[tuple[int, ...]]) -> None:
    there, plain = Lips(device="cuda"), Lips()
    mesh, wave = material.face(material.openings(40)), material.voice(material.openings(40))
    times_s = np.arange(40) / 25
    with np.load(WEIGHTS) as weights:
        assert len(sent) == sum(k.endswith(("_weight", "_bias")) for k in weights.files)
    np.testing.assert_allclose(there.embed_video(mesh, times_s), plain.embed_video(mesh, times_s), atol=1e-3)
    np.testing.assert_allclose(there.embed_sound(wave, 0.0, 35), plain.embed_sound(wave, 0.0, 35), atol=1e-3)


def test_a_gpu_is_the_default_of_those_who_profit(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    model = str(saved(NETS["speech_gan"](), tmp_path / "own.pth"))
    assert device.default(False) == "cpu"
    for there_is, name in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there_is=there_is: there_is)
        assert device.default() == name
        assert generators.create("speech_gan", {"model": model}).device == name  # type: ignore[attr-defined]
        assert generators.create("rewrite", {}).device == "cpu"  # type: ignore[attr-defined]
        assert generators.create("rewrite", {"gpu": True}).device == name  # type: ignore[attr-defined]
        assert experts.load("lips").device == "cpu"  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "Fast One")
    assert device.described("cuda") == "cuda (Fast One)" and device.described("cpu") == "cpu"
    profit = {n for n in generators.names() if generators.find(n).profits_from_gpu}
    assert profit == set(NETS)
    assert {n for n in experts.names() if experts.find(n).profits_from_gpu} == set(PUBLISHED)
    assert LightASD.profits_from_gpu and generators.find("rewrite").wants == {"actors", "donors"}
    assert all(not generators.find(n).wants for n in NETS)


def test_check_says_where_it_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from dubbing import config, manifest, preflight
    from dubbing.manifest import GeneratorChoice, Title

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "Fast One")
    title = Title(id="a", video="/a.mp4", dubs=[{"language": "fr", "audio": "/a.wav"}])
    job = manifest.Manifest(version=1, titles=[title], generator=GeneratorChoice(name="wav2lip"))
    settings = config.Config(sync=config.Sync(expert="syncnet_v2"))
    assert preflight.devices(job, settings) == {
        "generator": "wav2lip on cuda (Fast One)", "sync expert": "syncnet_v2 on cuda (Fast One)",
    }  # fmt: skip
    job = job.model_copy(update={"generator": GeneratorChoice(name="rewrite", gpu=True)})
    assert preflight.devices(job, settings)["generator"] == "rewrite on cuda (Fast One)"
    draft = settings.model_copy(update={"quality": "draft"})
    assert preflight.devices(job, draft)["generator"].startswith("rewrite on cpu")
    assert models.find("wav2lip") in generators.find("wav2lip").published
