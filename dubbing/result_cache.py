"""What a job knows: results that are done, what files hold, and the names of the weights that its work depends on.

Each is read once and remembered as long as the job lives. It knows no stage and no order of work.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from dubbing import media, models
from dubbing.config import Config
from dubbing.errors import InputError
from dubbing.manifest import GeneratorChoice
from dubbing.remote import Uri
from dubbing.stage import Task
from dubbing.store import Store, content_key, key_of

__all__ = ["ACTIVE", "ResultCache"]

ACTIVE = "light_asd_ava"  # the model whose presence brings in the stage `active`


class ResultCache:
    """The memory of one job over its store."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store, self.config = store, config
        self._results: dict[Path, Any] = {}
        self._hashes: dict[str, str] = {}

    def done(self, task: Task) -> bool:
        """Whether a task's result was committed."""
        return self.store.done(task.folder)

    def forget(self, task: Task) -> None:
        """A task's result has just been made: drop what was remembered of it, and the windows it was joined from."""
        self._results.pop(task.folder, None)
        self.store.note(task.folder)
        for part in task.args.get("parts", ()):
            self.store.remove(Path(part))

    def know(self, tasks: Iterable[Task]) -> None:
        """Read many results at once: where each read is a request, one after another takes long."""
        self._results |= self.store.results({t.folder for t in tasks} - self._results.keys())

    def _result(self, task: Task | None) -> Any:
        if task is None:
            return None
        if task.folder not in self._results:
            self._results |= self.store.results([task.folder])
        return self._results.get(task.folder)

    def result(self, task: Task) -> dict[str, Any] | None:
        """A finished task's result.json, or None."""
        value: dict[str, Any] | None = self._result(task)
        return value

    @cache  # noqa: B019 - a job lives as long as its process
    def _content(self, path: Path | Uri) -> str:
        memory = self.store.root / ".contents.json" if self.store.root.exists() else None
        return content_key(self.store.local(path), memory)

    @cache  # noqa: B019
    def _info(self, path: Path | Uri) -> media.MediaInfo:
        try:
            return media.probe(self.store.local(path))
        except InputError as e:
            raise type(e)(self.store.copies.named(str(e))) from e

    def _path(self, path: Path | Uri) -> str:
        """A file of the manifest, for a task's arguments."""
        return str(self.store.local(path))

    def generator_hash(self, choice: GeneratorChoice) -> str:
        """12 hex digits of a generator's weights and settings. Raises as `generators.create`."""
        key = key_of(choice.name, choice.settings)
        if key not in self._hashes:
            from dubbing.generators import create

            self._hashes[key] = create(choice.name, choice.settings, self._models).hash
        return self._hashes[key]

    @cached_property
    def _prior(self) -> str:
        """What actors are fitted on."""
        from dubbing.generators.rewrite.hearing import prior_hash

        return prior_hash()

    @cached_property
    def _expert(self) -> str:
        from dubbing import experts

        return experts.identity(self.config.sync.expert, self._models)

    @cached_property
    def _models(self) -> str:
        return str(models.folder(self.config.models.folder))

    @cached_property
    def active_speaker(self) -> str | None:
        """`name@hash12` of the detector whose evidence of who speaks is weighed, or None."""
        if self.config.speakers.active_speaker == "off" or not models.is_present(ACTIVE, configured=self._models):
            return None
        return f"{ACTIVE}@{models.digest(ACTIVE, configured=self._models)[:12]}"
