"""What `dub run --preview` says at its end: what it shows, why, and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dubbing.cli.show import number, table
from dubbing.errors import DubError, several

if TYPE_CHECKING:
    from dubbing.api.previewing import Preview

__all__ = ["ended", "told"]


def ended(made: Preview) -> int:
    """The exit code: 0, or 1 where something could not be shown."""
    return DubError.exit_code if any(one.errors for one in made.dubs) else 0


def told(made: Preview) -> str:
    """A table of all that is shown, and a line for every dub."""
    rows = [
        (d.title, d.language, s.kind, s.by, s.shot, s.start_tc, f"{s.start_frame}-{s.end_frame}", number(s.lse_d),
         number(s.source_lse_d), s.reason or s.known)
        for d in made.dubs for s in d.stretches
    ]  # fmt: skip
    head = ("title", "language", "which", "by", "shot", "at", "frames", "LSE-D", "original", "")
    parts = [table(head, rows)] if rows else []
    for one in made.dubs:
        name = f"{one.title}/{one.language}"
        parts.append("\n".join([
            f"{name}: {one.file or 'nothing to show' + ('' if one.errors else ': nobody would be re-rendered')}",
            f"  {one.rendered} of {several(one.frames, 'frame')} rendered for it now",
            *(f"  failed: {error}" for error in one.errors),
        ]))  # fmt: skip
    kept = len({(d.title, d.language, s.take) for d in made.dubs for s in d.stretches if s.kept})
    parts.append(
        f"analysis {made.analysis_s:.1f} s, rendering and scores {made.rendering_s:.1f} s, videos {made.videos_s:.1f} s"
    )
    parts.append(
        "No master was made; `dub run` without --preview goes on from here, with the analysis"
        + (f" and {several(kept, 'take')} of whole shots." if kept else ".")
    )
    return "\n\n".join(parts)
