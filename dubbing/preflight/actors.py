"""What other runs would lend to a title's actors, looked at before a run."""

from __future__ import annotations

from dubbing import lending
from dubbing.config import Config
from dubbing.job import Job
from dubbing.manifest import Manifest, Title
from dubbing.store import Store

__all__ = ["learnt_elsewhere"]


def learnt_elsewhere(manifest: Manifest, title: Title, config: Config, store: Store) -> list[str]:
    """Notes on it. Raises InputError as `lending.take`."""
    return lending.foreseen(Job(manifest, store, config), title) if title.actors else []
