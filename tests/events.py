"""Events as an engine tells them, made of a task's id."""

from __future__ import annotations

from typing import Any, Literal

from dubbing.engine import Event


def of(kind: Literal["started", "frames", "finished", "failed"], task_id: str, frames: int = 0, **more: Any) -> Event:
    """An event of the task `lipsync reel/fr/shot_0002`; more: further fields of `Event`."""
    stage, _, where = task_id.partition(" ")
    title, language, shot = (*where.split("/"), None, None)[:3]
    return Event(kind, task_id, stage, frames, title=title or "", language=language, shot=shot, **more)
