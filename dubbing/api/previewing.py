"""A preview from Python: what `dub run --preview` does, without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dubbing import manifest as manifests
from dubbing import preflight
from dubbing.api.jobs import known_engine, settings_of, steadfast
from dubbing.config import Config
from dubbing.engine import Event
from dubbing.manifest import Manifest
from dubbing.preflight import Findings
from dubbing.review.preview import Preview, PreviewedDub, ShownStretch
from dubbing.review.preview import preview as shown
from dubbing.store import open_store

__all__ = ["Preview", "PreviewedDub", "ShownStretch", "preview"]


def preview(
    manifest: Manifest | Path | str, out: Path | str = "out", *, config: Config | Path | str | None = None,
    engine: str = "ray", on_event: Callable[[Event], None] | None = None,
    on_check: Callable[[Findings], None] | None = None,
) -> Preview:  # fmt: skip
    """Show a few seconds of every dub's likely worst and likely best shots, original beside dub, in
    OUT/preview/TITLE.LANG.mp4; no master is made. What it analyses and renders is kept for a full run, but takes of
    parts of long shots, which that could not use.

    All as of `dubbing.run`, and it raises the same.
    """
    job = manifest if isinstance(manifest, Manifest) else manifests.load(manifest)
    settings = settings_of(config)
    known_engine(engine)
    store = open_store(out)
    found = preflight.look(job, settings, store)
    found.raise_first()
    if on_check is not None:
        on_check(found)
    return shown(job, store, settings, engine, steadfast(*([on_event] if on_event else [])))
