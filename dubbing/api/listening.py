"""Listen to a job's sounds from Python: what `dub listen` does, without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dubbing import listening
from dubbing.api.jobs import known_engine, manifest_of, settings_of, spoken
from dubbing.config import Config
from dubbing.engine import Event
from dubbing.listening import Listened
from dubbing.manifest import Manifest
from dubbing.store import open_store

__all__ = ["listen"]


def listen(
    manifest: Manifest | Path | str, out: Path | str = "out", *, config: Config | Path | str | None = None,
    model: str | None = None, engine: str = "ray", on_event: Callable[[Event], None] | None = None,
) -> Listened:  # fmt: skip
    """Hear the original, each dub and each stem of a job: its language, its words and when each is said.

    Words and subtitles are written into the output folder (`words.parquet`, `words.vtt`); what was heard before is not
    heard again. `Listened` has sounds, problems (a dub in another language than its tag), notes, lines (where a script
    and its dub differ) and tables (the files).

    manifest, out, config: as of `check`; model: a published model's name or the path of a file, None for the settings'
    own; engine, on_event: as of `run`. Raises InputError: openai-whisper is not installed, a sound cannot be read;
    ModelError: the model is not here.
    """
    known_engine(engine)
    settings = settings_of(config)
    if model is not None:
        settings = settings.model_copy(update={"listen": settings.listen.model_copy(update={"model": model})})
    job, _ = spoken(manifest_of(manifest), settings, open_store(out))
    return listening.listen(job, out, settings, engine=engine, on_event=on_event or (lambda event: None))
