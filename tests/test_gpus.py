"""What workers hold: a share of a GPU for stages whose networks profit, memory by the size of the film's picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dubbing import config, manifest
from dubbing.engine.ray import gpus_hold, kinds
from dubbing.errors import ManifestError
from dubbing.job import Job
from dubbing.manifest import Dub, Manifest, Title
from dubbing.stage import Resources


def job(tmp_path: Path, **settings: object) -> Job:
    title = Title(id="film", video=tmp_path / "film.mp4", dubs=[Dub(language="fr", audio=tmp_path / "fr.wav")])
    made = Manifest(version=1, titles=[title], generator=manifest.GeneratorChoice(name="rewrite"))
    return Job(made, tmp_path / "out", config.Config.model_validate(settings))


def shares(one: Job) -> dict[str, float]:
    return {stage.name: one.resources(stage).gpus_if_any for stage in one.pipeline}


def test_the_built_in_generator_and_expert_ask_for_none(tmp_path: Path) -> None:
    one = job(tmp_path)
    assert {name for name, share in shares(one).items() if share} == {"active"}
    asked = one.of_generator(manifest.GeneratorChoice(name="rewrite", gpu=True))
    assert (asked.gpus, asked.gpus_if_any) == (0.0, 0.125), "its setting asks for a share, where there is a GPU"
    draft = job(tmp_path, quality="draft").of_generator(manifest.GeneratorChoice(name="rewrite", gpu=True))
    assert draft.gpus_if_any == 0.0, "a draft is made on the processor"


def test_a_setting_that_is_meant_as_yes_is_not_taken_for_another(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="gpu"):
        job(tmp_path).of_generator(manifest.GeneratorChoice(name="rewrite", gpu="yes"))


def test_networks_that_profit_ask_for_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = SimpleNamespace(hash="0" * 12, wants=frozenset(), profits_from_gpu=True)
    monkeypatch.setattr("dubbing.generators.create", lambda *args, **kwargs: network)
    found = shares(job(tmp_path, sync={"expert": "syncnet_v2"}))
    assert {name for name, share in found.items() if share} == {"active", "lipsync", "sync"}
    assert all(0 < share <= 1 for share in found.values() if share)


def test_what_the_configuration_says_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = SimpleNamespace(hash="0" * 12, wants=frozenset(), profits_from_gpu=True)
    monkeypatch.setattr("dubbing.generators.create", lambda *args, **kwargs: network)
    one = job(tmp_path, engine={"stages": {"lipsync": {"gpus": 0.0}}})
    assert shares(one)["lipsync"] == 0.0


def test_a_cluster_without_a_gpu_gives_none_and_one_with_gives_the_share() -> None:
    asked = {"faces": Resources(1, 0, 1000), "lipsync": Resources(1, 0, 2000, gpus_if_any=0.25)}
    without = kinds(asked, {"CPU": 8, "GPU": 0})
    assert {kind.gpus for kind in without.values()} == {0.0} and without["faces"] == without["lipsync"]
    found = kinds(asked, {"CPU": 8, "GPU": 1})
    assert found["lipsync"].gpus == 0.25 and found["faces"].gpus == 0.0
    assert kinds({"faces": Resources(16, 0, 1)}, {"CPU": 2})["faces"].cpus == 2


def test_large_pictures_are_given_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(width: int, height: int, pix_fmt: str, **settings: object) -> dict[str, int]:
        video = SimpleNamespace(width=width, height=height, pix_fmt=pix_fmt)
        monkeypatch.setattr(Job, "info", lambda self, title: SimpleNamespace(video=video))
        one = job(tmp_path, **settings)
        return {stage.name: one.resources(stage).memory_mb for stage in one.pipeline}

    usual = {stage.name: stage.resources.memory_mb for stage in Job.pipeline}
    assert memory(1920, 1080, "yuv420p") == memory(720, 576, "yuv420p10le") == usual
    larger, largest = memory(3840, 2160, "yuv422p10le"), memory(8192, 4320, "gbrp16le")
    assert usual["master"] < larger["master"] < largest["master"] and usual["speakers"] == largest["speakers"]
    said = memory(3840, 2160, "yuv422p10le", engine={"stages": {"master": {"memory_mb": 1234}}})
    assert said["master"] == 1234


def test_each_generator_asks_for_its_own_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def network(name: str, *args: object, **kwargs: object) -> SimpleNamespace:
        declared = {"gpu_share": 0.5} if name == "large" else {}
        return SimpleNamespace(hash="0" * 12, wants=frozenset(), profits_from_gpu=name != "rewrite", **declared)

    monkeypatch.setattr("dubbing.generators.create", network)
    one = job(tmp_path, engine={"generators": {"given": {"gpus": 0.125, "memory_mb": 99}}})
    held = {n: one.of_generator(manifest.GeneratorChoice(name=n)) for n in ("rewrite", "usual", "large", "given")}
    assert [(h.gpus, h.gpus_if_any) for h in held.values()] == [(0.0, 0.0), (0.0, 0.25), (0.0, 0.5), (0.125, 0.0)]
    assert held["given"].memory_mb == 99 < held["usual"].memory_mb


def test_workers_on_a_gpu_keep_the_networks_of_one_generator() -> None:
    with_gpu, without = {"CPU": 8, "GPU": 1}, {"CPU": 8}
    asked = {name: Resources(1, 0, 1000, gpus_if_any=0.25, networks=name) for name in ("one", "other")}
    assert len(set(kinds(asked, with_gpu).values())) == 2 and len(set(kinds(asked, without).values())) == 1


def test_a_share_lies_on_one_gpu() -> None:
    assert gpus_hold([0.75, 0.25, 0.5, 0.5], 2) and gpus_hold([2.0, 0.5], 3) and gpus_hold([], 0)
    assert not gpus_hold([0.75, 0.75, 0.5], 2) and not gpus_hold([2.0, 0.5], 2) and not gpus_hold([0.1], 0)
