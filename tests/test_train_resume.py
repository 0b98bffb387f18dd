"""A training that is killed goes on as if nothing had happened; several processes share what one would do alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import code_of
from lessons import Line, data_folder
from waiting import until

from dubbing import models
from dubbing.errors import ModelError, OutputError
from dubbing.store import alone
from dubbing.train import checkpoints, processes, recipes
from dubbing.train.logs import LOSSES, read_losses
from dubbing.train.loop import TrainingPlan, train
from dubbing.train.stopping import STOP, until_ended

pytestmark = pytest.mark.training
ROOT = Path(__file__).resolve().parents[1]
GAN = {"batch": 2, "size": 12, "width": 0.05, "sync_weight": 0, "quality_weight": 0.07, "held_out_steps": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lessons") / "data", train=7, val=2, size=16)


@pytest.fixture(autouse=True)
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(recipes.RECIPES, "line", ("lessons", "Line"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def asked(data: Path, out: Path, steps: int) -> list[str]:
    """The words of `dub train`."""
    options = [f"--set={key}={value}" for key, value in (GAN | {"checkpoint_steps": 3}).items()]
    return ["train", "wav2lip", f"--data={data}", f"--out={out}", f"--steps={steps}", *options]


def begin(data: Path, out: Path, steps: int) -> subprocess.Popen[bytes]:
    """`dub train` in a process of its own, on one thread."""
    command = [sys.executable, "-m", "dubbing", *asked(data, out, steps)]
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_losses(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    disturbed = begin(data, killed, 9)
    # five steps and a look; four steps an epoch; the last checkpoint is at 3
    until(lambda: len(read_losses(killed)) >= 6, lambda: disturbed.communicate()[1] if disturbed.poll() else None)
    disturbed.send_signal(signal.SIGKILL)
    disturbed.communicate()
    train(TrainingPlan("wav2lip", data, whole, GAN | {"checkpoint_steps": 3}, steps=9, boards=False))
    position = torch.load(killed / checkpoints.FILE, weights_only=True)["position"]
    assert 0 < position["step"] < 9 and not (killed / "wav2lip.pth").exists()
    with (killed / LOSSES).open("a") as f:
        f.write('{"step": 8, "ep')  # as a kill may leave it
    assert code_of(*asked(data, killed, 9)) == 0
    assert f"goes on at step {position['step']}" in capsys.readouterr().err
    wanted, found = read_losses(whole), read_losses(killed)
    assert [line["step"] for line in found] == [line["step"] for line in wanted] and len(wanted) == 9 + 2
    for a, b in zip(wanted, found, strict=True):
        assert flat(b) == pytest.approx(flat(a), rel=1e-6, abs=1e-6)
    one, other = (models.load_state(out / "wav2lip.pth") for out in (whole, killed))
    assert all(torch.allclose(one[key], other[key], atol=1e-6) for key in one)


def flat(line: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in line.items() if k != "held_out"} | line.get("held_out", {})


@pytest.mark.parametrize("at", [1, 4, 6])
def test_a_run_in_two_parts_is_the_run_in_one(data: Path, tmp_path: Path, at: int) -> None:
    settings = {"held_out_steps": 3, "patience": 9}
    train(TrainingPlan("line", data, tmp_path / "one", settings, steps=11, boards=False))
    train(TrainingPlan("line", data, tmp_path / "two", settings, steps=at, boards=False))
    train(TrainingPlan("line", data, tmp_path / "two", settings, steps=11, boards=False))
    wanted = read_losses(tmp_path / "one")
    looks = (3, 6, 9, 11)  # the first part also looked where it ended
    found = [line for line in read_losses(tmp_path / "two") if "held_out" not in line or line["step"] in looks]
    assert found == wanted
    one, two = (torch.load(tmp_path / d / checkpoints.FILE, weights_only=True) for d in ("one", "two"))
    assert one["memory"] == two["memory"] and one["schedules"] == two["schedules"]
    assert one["position"]["worse"] == two["position"]["worse"]


def test_an_interrupt_keeps_every_step(data: Path, tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 5 and progress.losses:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(TrainingPlan("line", data, tmp_path, steps=50, boards=False), stop)
    assert torch.load(tmp_path / checkpoints.FILE, weights_only=True)["position"]["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_stops_the_processes_and_waits_for_them(tmp_path: Path) -> None:
    stop, seen = tmp_path / STOP, []

    def fit() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        until(stop.exists)
        time.sleep(0.2)
        seen.append("kept")

    with pytest.raises(KeyboardInterrupt):
        until_ended(fit, stop)
    assert seen == ["kept"] and not stop.exists()
    with pytest.raises(ModelError, match="mine"):
        until_ended(fail_with(ModelError("mine")), stop)


def fail_with(error: Exception) -> Callable[[], None]:
    def fit() -> None:
        raise error

    return fit


def test_a_checkpoint_is_whole_or_not_there(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TrainingPlan("line", data, tmp_path, steps=2, boards=False))
    before = (tmp_path / checkpoints.FILE).read_bytes()

    def fail(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", fail)
    with pytest.raises(OutputError, match="is full"):
        train(TrainingPlan("line", data, tmp_path, steps=4, boards=False))
    assert (tmp_path / checkpoints.FILE).read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if ".part-" in p.name]


def test_a_checkpoint_holds_no_code(data: Path, tmp_path: Path) -> None:
    train(TrainingPlan("line", data, tmp_path, steps=1, boards=False))
    content = torch.load(tmp_path / checkpoints.FILE, weights_only=True)
    torch.save(content | {"memory": Line()}, tmp_path / checkpoints.FILE)
    with pytest.raises(ModelError, match="damaged or no checkpoint"):
        train(TrainingPlan("line", data, tmp_path, steps=2, boards=False))


def test_two_runs_do_not_share_a_folder(data: Path, tmp_path: Path) -> None:
    with alone(tmp_path / ".lock", "x"), pytest.raises(OutputError, match="Another training writes to"):
        processes.run(TrainingPlan("line", data, tmp_path, steps=1, boards=False))


@pytest.mark.ray
def test_two_workers_see_every_clip_once_and_learn_as_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")  # Ray Train cannot do without pandas
    settings = {"record_items": True, "batch": 8, "size": 12, "width": 0.05, "sync_weight": 0, "held_out_steps": 2}
    plan = TrainingPlan("wav2lip", data, tmp_path / "two", settings, epochs=2, boards=False, device="cpu")
    result = processes.run(plan, workers=2)
    taken: dict[int, list[str]] = {0: [], 1: []}
    for rank in (0, 1):
        for line in (tmp_path / "two" / f"items-{rank}.jsonl").read_text().splitlines():
            taken[json.loads(line)["epoch"]] += json.loads(line)["clips"]
    assert sorted(taken[0]) == sorted(taken[1]) == [f"train_{n}" for n in range(7)]
    assert (result.step, result.epoch) == (2, 2) and len(models.load_state(result.file)) > 100
    alone_losses = train(
        TrainingPlan("wav2lip", data, tmp_path / "one", settings, epochs=2, boards=False, device="cpu")
    )
    one, two = (read_losses(tmp_path / d) for d in ("one", "two"))
    assert alone_losses.step == 2 and [line["step"] for line in one] == [line["step"] for line in two]
    assert two[0]["l1"] == pytest.approx(one[0]["l1"], rel=0.1)  # batch norm sees half as much in each process
