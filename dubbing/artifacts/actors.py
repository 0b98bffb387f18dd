"""How each person of a title moves the mouth with sound, fitted on the title's own dialogue, and that of other runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing.analysis.casting import Looks
from dubbing.artifact import Artifact, File
from dubbing.errors import DamagedResult
from dubbing.inputs import json_value
from dubbing.remote import Uri
from dubbing.store import RESULT, Store

__all__ = ["FittedActors", "LentActors", "lent_files", "lent_folder", "recorded", "save_looks", "write_record"]

LOOKS, RECORD = "looks.npz", "lent.json"


@dataclass(frozen=True)
class FittedActors(Artifact):
    """The models of a title's people, as files in its folder; they are never copied elsewhere."""

    schema: ClassVar[str] = "dub.actors.2"
    model_files: Mapping[int, str]
    """Name of the model's file by the person's number (`Speaking.actor`); with too little dialogue there is none."""
    dialogue_s: Mapping[int, float]
    """Seconds of dialogue of each person in this title, in which the mouth is seen."""
    minutes_files: Mapping[int, str] = field(default_factory=dict)
    """Name of the file with what of that was used, in numbers (`generators.rewrite.minutes`)."""
    used_s: Mapping[int, float] = field(default_factory=dict)
    """Seconds of it that were used."""
    lent_s: Mapping[int, float] = field(default_factory=dict)
    """Seconds of dialogue of other runs that were used, for each person of whom there are any."""
    doubts: tuple[str, ...] = ()
    """What of other runs was not used and why, as clauses without a stop."""


@dataclass(frozen=True)
class LentActors(Artifact):
    """The dialogue of the people of a title of another run, in numbers; no picture and no sound of it."""

    schema: ClassVar[str] = "dub.lent.1"
    where: str
    """The run and its title, for people."""
    characters: Mapping[int, tuple[str, ...]]
    """Names of the characters that a person is known to play, by the person's number there."""
    minutes_files: Mapping[int, str]
    """Name of the file with the person's dialogue in numbers."""
    seconds: Mapping[int, float]
    """Seconds of that."""

    def looks(self, folder: Path) -> Mapping[int, Looks]:
        """By which each of them may be known."""
        with np.load(folder / LOOKS, allow_pickle=False) as stored:
            return {n: Looks(tuple(self.characters.get(n, ())), stored[str(n)]) for n in self.minutes_files}


def save_looks(folder: Path, looks: Mapping[int, Looks]) -> None:
    """Write the descriptors by which people may be known."""
    np.savez(folder / LOOKS, **{str(n): one.described for n, one in looks.items()})


def lent_folder(store: Store, title: str, key: str) -> Path:
    """Where what another run's title lends lies in a title's own analysis."""
    return store.analysis(title) / "lent" / key[:12]


def write_record(store: Store, title: str, taken: Mapping[str, Sequence[str]]) -> None:
    """Write down what was taken for a title: by output folder, the keys of what its titles lend."""
    store.write_json(store.analysis(title) / RECORD, {"schema": LentActors.schema, "taken": dict(taken)})


def recorded(store: Store, title: str) -> dict[str, list[str]]:
    """What `write_record` wrote; nothing where nothing was. Raises DamagedResult."""
    path = store.analysis(title) / RECORD
    try:
        value: Any = json_value(store.read_bytes(path))
        taken = value["taken"] if value["schema"] == LentActors.schema else {}
        return {str(out): [str(key) for key in keys] for out, keys in taken.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise DamagedResult(f"{store.shown(path)!r} is damaged; remove it and run the job again.", path) from e


def lent_files(store: Store, title: str, outs: Sequence[Path | Uri]) -> tuple[File, ...]:
    """What was taken for a title from these output folders, each the result.json of its folder, for a task's inputs."""
    taken = recorded(store, title)
    keys = dict.fromkeys(key for out in outs for key in taken.get(str(out), ()))
    return tuple(File(lent_folder(store, title, key) / RESULT, key) for key in keys)
