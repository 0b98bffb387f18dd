"""A preview from Python: what `dub run --preview` does, without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dubbing.api.jobs import ready, steadfast
from dubbing.config import Config
from dubbing.engine import Event
from dubbing.manifest import Manifest
from dubbing.preflight import Findings
from dubbing.review.preview import Preview, PreviewedDub, ShownStretch
from dubbing.review.preview import preview as shown

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
    job, settings, store, _ = ready(manifest, out, config, engine, on_check)
    return shown(job, store, settings, engine, steadfast(*([on_event] if on_event else [])))
