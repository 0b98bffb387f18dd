"""Results that tests put in place of a stage's, and references to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from dubbing.artifact import Artifact, Ref
from dubbing.store import RESULT

A = TypeVar("A", bound=Artifact)


def ref(kind: type[A], folder: Path) -> Ref[A]:
    """The result in a folder, made by nobody in particular."""
    return Ref(kind, "", "", folder)


def put(folder: Path, result: A) -> Ref[A]:
    """Write a result into a folder, as the engine does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result.to_dict()), encoding="utf-8")
    return ref(type(result), folder)
