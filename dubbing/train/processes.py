"""A run in this process, or in several that Ray starts: here, or in the cluster this process is a part of.

The only file of `dubbing.train` that knows Ray. Several processes share a batch between them and average their
gradients (`world`); the first one writes. Several machines need OUT and the data on storage that all of them see. A
run with one number of processes may go on with another.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dubbing.errors import DubError, InputError
from dubbing.store import alone, temporary
from dubbing.train.logs import read_losses
from dubbing.train.loop import Progress, Result, TrainingPlan, Watch, check, train
from dubbing.train.stopping import STOP, until_ended
from dubbing.train.world import World

__all__ = ["run"]

_LOOK_S = 0.5


def run(plan: TrainingPlan, workers: int = 1, watch: Watch = lambda progress: None) -> Result:
    """Do a run, or go on with it, with so many processes.

    Raises what `train` and `connect` raise; OutputError where another run writes to the same folder; InputError where
    several processes are asked for and the extra `train` is not installed.
    """
    busy = f"Another training writes to {str(plan.out)!r}; wait for it to end, or choose another --out."
    with alone(plan.out / ".lock", busy):
        if workers == 1:
            return train(plan, watch)
        check(plan, workers)
        return _many(plan, workers, watch)


def _many(plan: TrainingPlan, workers: int, watch: Watch) -> Result:
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as e:
        raise InputError("Several processes need Ray Train: pip install 'dubbing[train]', or --workers 1.") from e
    from dubbing.config import Engine
    from dubbing.engine.connection import connect

    connection = connect(Engine(workers=workers))
    if connection.alone:  # nobody takes this machine away: no process has to look out for that
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    try:
        on_gpu = ray.cluster_resources().get("GPU", 0) >= workers and plan.device != "cpu"
        with temporary("train") as folder, _followed(plan.out, watch):
            trainer = TorchTrainer(
                _one_of_many,
                train_loop_config={"plan": plan},
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
                torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
                run_config=RunConfig(name="run", storage_path=str(folder)),
            )
            try:
                until_ended(trainer.fit, plan.out / STOP)
            except TrainingFailedError as e:
                raise _cause(e) from e
    finally:
        connection.close()
    return Result.read(plan.out)


def _one_of_many(config: dict[str, Any]) -> None:
    """One process's part, in a worker of Ray's."""
    from ray import train as ray_train

    context = ray_train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    with contextlib.suppress(KeyboardInterrupt):  # everything is kept; the process that was interrupted says so
        train(config["plan"], world=world)


def _cause(error: Any) -> Exception:
    """The error of ours that ended a worker, where there is one."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        e: Any = failure
        for _ in range(8):
            if isinstance(e, DubError):
                return type(e)(*e.args)
            e = getattr(e, "cause", None) or getattr(e, "__cause__", None)
            if e is None:
                break
    text = str(failures[0] if failures else error).strip().splitlines()
    return DubError(
        f"A process of the training ended ({text[-1][:200] if text else 'without a word'}); run the same command to go "
        "on from the last checkpoint."
    )


@contextlib.contextmanager
def _followed(out: Path, watch: Callable[[Progress], None]) -> Iterator[None]:
    """Report the steps that the first process logs."""
    stop = threading.Event()
    told = max(((line["step"], "held_out" in line) for line in read_losses(out)), default=(0, True))

    def look() -> None:
        nonlocal told
        for line in read_losses(out):
            at = (line["step"], "held_out" in line)
            if at > told:
                told = at
                held_out, step, epoch = line.pop("held_out", {}), line.pop("step"), line.pop("epoch")
                losses = {k: v for k, v in line.items() if not k.startswith("grad_norm/")}
                watch(Progress(step, None, epoch, losses, held_out=held_out))

    def follow() -> None:
        while not stop.wait(_LOOK_S):
            look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()
