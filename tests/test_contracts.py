"""Our own generators, sync experts and metrics keep the contracts that other packages' are held to."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from dubbing import models, plugins
from dubbing.experts.syncnet import SyncNetNet
from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.generators import Generator, Rendered, RenderRequest
from dubbing.generators.rewrite import crops
from dubbing.networks.lipgan import LipGANNet
from dubbing.networks.speech_gan.nets import NetworkShape, SpeechGANNet
from dubbing.networks.spt import SptWav2LipNet
from dubbing.networks.wav2lip import Wav2LipNet, plan_for
from dubbing.testing import ExpertContract, GeneratorContract, MetricContract
from dubbing.testing.generator import assert_same

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.long]
ROOT = Path(__file__).resolve().parents[1]


class TestRewrite(GeneratorContract):
    name, frames, held_frames = "rewrite", 96, 60
    change: Mapping[str, Any] = {"opening": 1.5}

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        return {"stretch_frames": 60}

    def test_large_faces_wait_on_disk_and_give_the_same_patches(
        self, made: Callable[..., Generator], work: RenderRequest, whole: list[Rendered],
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(crops, "MEMORY_BYTES", 10_000)
        window = (work.track.start_frame, work.track.start_frame + 20)
        found = list(made().render(replace(work, window=window, scratch=tmp_path)))
        assert_same(found, [one for one in whole if one.patch.frame < window[1]])
        assert not list(tmp_path.iterdir()), "what was kept on disk is left behind"

    def test_a_stretch_is_shorter_only_of_faces_larger_than_a_picture_of_1920x1080(self) -> None:
        assert crops.most_frames(1920, 1080) >= 480 > crops.most_frames(2000, 2160) > 200
        assert crops.most_frames(8192, 4320) == 60, "fewer would leave no mouth to borrow"


class OfNetwork(GeneratorContract):
    """One whose checkpoint is a fresh network's."""

    frames, change = 28, {"ramp_frames": 2}

    @classmethod
    def net(cls) -> torch.nn.Module:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        torch.manual_seed(1)
        path = tmp_path_factory.mktemp("weights") / "own.pth"
        torch.save({"state_dict": cls.net().state_dict()}, path)
        return {"model": str(path)}


class TestWav2Lip(OfNetwork):
    name = "wav2lip"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return Wav2LipNet(plan_for(96, 0.1))


class TestSptWav2Lip(OfNetwork):
    name = "spt_wav2lip"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return SptWav2LipNet(plan_for(96, 0.1))


class TestLipGAN(OfNetwork):
    name = "lipgan"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return LipGANNet("basic")


class TestSpeechGAN(OfNetwork):
    name, change = "speech_gan", {"seed": 3}

    @classmethod
    def net(cls) -> torch.nn.Module:
        return SpeechGANNet(NetworkShape(width=8, audio=16))


class TestSadTalker(OfNetwork):
    name, change, frames, held_frames = "sadtalker", {"seed": 3}, 24, 8

    @classmethod
    def net(cls) -> torch.nn.Module:
        return tiny.sadtalker()


class TestMuseTalk(GeneratorContract):
    name, change, frames = "musetalk", {"mask": "raw"}, 28

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        pytest.importorskip("diffusers", reason="the extra `musetalk` brings it")
        torch.manual_seed(1)
        return {**tiny.musetalk_files(tmp_path_factory.mktemp("weights")), "size": 64}


class TestLatentSync(GeneratorContract):
    name, frames, held_frames = "latentsync", 48, 30
    change: Mapping[str, Any] = {"seed": 3}

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        pytest.importorskip("diffusers", reason="the extra `latentsync` brings it")
        torch.manual_seed(1)
        return {**tiny.latentsync_files(tmp_path_factory.mktemp("weights")), "steps": 1, "guidance": 1.0}


class TestLips(ExpertContract):
    name = "lips"


class Published(ExpertContract):
    """One whose published file is a fresh network's, of which the entry knows size and hash."""

    @classmethod
    def net(cls) -> torch.nn.Module:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def models_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        folder = tmp_path_factory.mktemp("models")
        entry = models.find(cls.name)
        torch.manual_seed(7)
        torch.save(cls.net().state_dict(), folder / entry.file)
        data = (folder / entry.file).read_bytes()
        held = replace(entry, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        known = tuple(held if m.name == cls.name else m for m in models.MODELS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models.store, "MODELS", known)
            patch.delenv(models.store.ENVIRONMENT, raising=False)
            yield str(folder)


class TestSyncNet(Published):
    name = "syncnet_v2"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return SyncNetNet()


class TestWav2LipColor(Published):
    name = "wav2lip_color"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return Wav2LipColorNet()


class TestStableSyncNet(Published):
    name = "stable_syncnet"

    @classmethod
    def net(cls) -> torch.nn.Module:
        return tiny.stable_syncnet()


class TestFollowing(MetricContract):
    name = "following"


class TestRestOpening(MetricContract):
    name = "rest_opening"


class TestSilenceMotion(MetricContract):
    name = "silence_motion"


class TestLipLeak(MetricContract):
    name = "lip_leak"


class TestSharpness(MetricContract):
    name = "sharpness"


def test_every_one_of_ours_is_held_to_its_contract() -> None:
    def kinds(contract: type) -> Iterator[type]:
        for kind in contract.__subclasses__():
            yield kind
            yield from kinds(kind)

    for group, contract in (
        (plugins.GENERATORS, GeneratorContract), (plugins.EXPERTS, ExpertContract), (plugins.METRICS, MetricContract),
    ):  # fmt: skip
        tried = {k.name for k in kinds(contract) if k.__module__ == __name__ and hasattr(k, "name")}
        assert tried == set(plugins.BUILT_IN[group])


def test_the_table_is_what_the_package_registers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == plugins.BUILT_IN
