"""Checkpoints: everything that a run needs to go on as if it had never stopped, written to one file atomically.

    OUT/checkpoint.pt   the latest: networks, optimisers, schedules, loss scaling, position, early stopping
    OUT/best.pt         the networks alone, as they were when the held-out number was smallest

Read by torch's restricted unpickler: a checkpoint is data, never code. Randomness needs no state here: it is a
function of the seed and the position (`sampler`). It knows no design beyond its name.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dubbing.errors import ModelError
from dubbing.store import PART, output_error
from dubbing.train.state import State

__all__ = ["BEST", "FILE", "Identity", "Position", "fits", "load", "load_best", "save", "save_best", "write"]

FILE, BEST = "checkpoint.pt", "best.pt"
_FORMAT = "dub.train.1"


@dataclass(frozen=True)
class Identity:
    """The training that a checkpoint is of: design, settings (JSON), the data's hash, the hashes of named files."""

    recipe: str
    settings: str
    data: str
    files: str = ""

    def settings_differ(self, other: Identity) -> str:
        """The first setting that differs, with both values; empty where none does."""
        mine, theirs = json.loads(self.settings), json.loads(other.settings)
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                return f"{key}={theirs.get(key)} there and {key}={mine.get(key)} here"
        return "other files under the settings' names" if self.files != other.files else ""


@dataclass
class Position:
    """How far a run is. done: steps of the current epoch that are done; seconds: spent in training so far;
    best, best_step: the smallest held-out number, None before the first validation; worse: validations since then
    without a better one; stopped: whether patience has run out."""

    step: int = 0
    epoch: int = 0
    done: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    stopped: bool = False
    held_out: dict[str, float] = field(default_factory=dict)


def write(path: Path, content: Any) -> None:
    """torch.save, so that a reader sees the old file or the new one, whole, even after a power cut. OutputError."""
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as f:
            torch.save(content, f)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise output_error(path, e) from e


def save(folder: Path, identity: Identity, state: State, position: Position) -> None:
    """Write OUT/checkpoint.pt. Raises OutputError."""
    write(folder / FILE, {
        "format": _FORMAT,
        "identity": asdict(identity),
        "position": asdict(position),
        "memory": dict(state.memory),
        "networks": {name: net.state_dict() for name, net in state.networks.items()},
        "optimisers": {name: o.state_dict() for name, o in state.optimisers.items()},
        "schedules": {name: s.state_dict() for name, s in state.schedules.items()},
        "scaler": state.scaler.state_dict(),
    })  # fmt: skip


def save_best(folder: Path, identity: Identity, state: State, position: Position) -> None:
    """Write OUT/best.pt. Raises OutputError."""
    networks = {name: net.state_dict() for name, net in state.networks.items()}
    write(folder / BEST, {
        "format": _FORMAT, "identity": asdict(identity), "position": asdict(position), "networks": networks,
    })  # fmt: skip


def load(folder: Path, identity: Identity, state: State) -> Position | None:
    """Bring `state` to where the run in this folder was; None where there is none.

    Raises ModelError: damaged, or of another design, other data or other settings.
    """
    content = _read(folder / FILE, identity)
    if content is None:
        return None
    try:
        for name, net in state.networks.items():
            net.load_state_dict(content["networks"][name])
        for name, optimiser in state.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        for name, schedule in state.schedules.items():
            schedule.load_state_dict(content["schedules"][name])
        if content["scaler"]:
            state.scaler.load_state_dict(content["scaler"])
        position = Position(**content["position"])
        state.memory.update(content["memory"])
    except (KeyError, TypeError, ValueError, RuntimeError) as e:
        raise _damaged(folder / FILE) from e
    state.step = position.step
    return position


def fits(folder: Path, identity: Identity) -> None:
    """Raises ModelError where the folder holds a training of another kind, or a damaged one."""
    _read(folder / FILE, identity)


def load_best(folder: Path, identity: Identity, state: State) -> Position | None:
    """Put the best networks into `state`; None where none were kept. Raises ModelError as `load`."""
    content = _read(folder / BEST, identity)
    if content is None:
        return None
    try:
        for name, net in state.networks.items():
            net.load_state_dict(content["networks"][name])
        return Position(**content["position"])
    except (KeyError, TypeError, RuntimeError) as e:
        raise _damaged(folder / BEST) from e


def _read(path: Path, identity: Identity) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError("another format")
        theirs = Identity(**content["identity"])
        json.loads(theirs.settings)
    except Exception as e:  # whatever a damaged file provokes
        raise _damaged(path) from e
    _same(path, identity, theirs)
    return content


def _same(path: Path, ours: Identity, theirs: Identity) -> None:
    folder = str(path.parent)
    if theirs.recipe != ours.recipe:
        raise ModelError(
            f"{folder!r} holds a training of {theirs.recipe!r}, not of {ours.recipe!r}; choose another --out, or "
            f"`dub train {theirs.recipe}` to go on with it."
        )
    if theirs.data != ours.data:
        raise ModelError(
            f"{folder!r} holds a training on other data (content {theirs.data}, here {ours.data}); choose another "
            "--out, or give the --data it was begun with."
        )
    if theirs.settings != ours.settings or theirs.files != ours.files:
        raise ModelError(
            f"{folder!r} holds a training with other settings ({ours.settings_differ(theirs)}); choose another --out, "
            "or give the settings it was begun with."
        )


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{str(path)!r} is damaged or no checkpoint of `dub train`; remove it to begin anew, or choose another --out."
    )
