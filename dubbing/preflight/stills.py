"""What of a photograph will not move, before a run."""

from __future__ import annotations

from dubbing.errors import PluginError
from dubbing.generators import performs
from dubbing.manifest import Manifest, Title

__all__ = ["said_of_standing"]


def said_of_standing(manifest: Manifest, title: Title) -> list[str]:
    """A note where a photograph's generator moves the mouth alone, and head and lids would be moved by another."""
    name = manifest.generator.name
    try:
        alone = not performs(name)
    except PluginError:  # which is said where generators are looked at
        return []
    said = title.still
    wanted = said is None or said.blinks or said.motion != "none"
    if not (alone and wanted):
        return []
    return [
        f"{title.id}: {name} moves a photograph's mouth alone: its head and lids stand still. `generator: rewrite` "
        "moves them too."
    ]
