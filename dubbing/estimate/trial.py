"""A trial: the whole pipeline on a few seconds of the first title, in a temporary folder, to see what it costs.

Excerpts come from a quarter, the half and three quarters of the film, because one place says little about how
often a face is seen. Only the numbers are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from dubbing import media
from dubbing.config import Config
from dubbing.engine import Event, run_job
from dubbing.errors import MediaError
from dubbing.estimate.costs import Measured, measure
from dubbing.job import Job
from dubbing.manifest import Dub, Manifest, Title
from dubbing.remote import Uri
from dubbing.store import open_store, temporary

__all__ = ["PLACES", "SECONDS", "trial"]

PLACES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
SECONDS = Fraction(3)


def trial(manifest: Manifest, config: Config, on_event: Callable[[Event], None] = lambda event: None) -> Measured:
    """Run `PLACES` of the first title's first dub in this process, and say what they cost.

    Raises InputError where the film cannot be cut or the pipeline refuses it.
    """
    first = manifest.titles[0]
    local = open_store(tempfile.gettempdir()).local  # brings what lies elsewhere
    still = media.is_photograph(local(first.video))  # its length is its dub's
    length = media.probe(local(first.dubs[0].audio if still else first.video)).duration_s
    if not length:
        raise MediaError(
            f"{first.video} does not say how long it is, so no excerpt can be taken; plan without --trial."
        )
    settings = config.model_copy(update={"length_difference": "allow"})
    with temporary("trial") as folder:
        titles = [_cut(first, local, folder, n, length * place) for n, place in enumerate(PLACES)]
        small = Manifest(version=1, titles=titles, generator=manifest.generator)
        job = Job(small, folder / "out", settings)
        report = run_job(job, "local", on_event)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return measure(job, "local", run_s=float(report.run_json["seconds"]), at=at, trial=True)


def _cut(title: Title, local: Callable[[Path | Uri], Path], folder: Path, number: int, start_s: Fraction) -> Title:
    """One excerpt as a title of its own; its cuts are looked for, whatever cut list the film has."""
    film, begins_s, lasts_s = local(title.video), start_s, SECONDS
    if not media.is_photograph(film):
        film = folder / f"{number}{title.video.suffix}"
        begins_s = media.excerpt(local(title.video), film, start_s, SECONDS)
        lasts_s = media.probe(film).duration_s or SECONDS
    dub = title.dubs[0]
    mix = folder / f"{number}.flac"
    media.sound_excerpt(local(dub.audio), mix, begins_s, lasts_s)
    spoken = None
    if dub.dialogue is not None:
        spoken = folder / f"{number}-dialogue.flac"
        media.sound_excerpt(local(dub.dialogue), spoken, begins_s, lasts_s)
    return Title(
        id=f"trial-{number}", video=film, dubs=[Dub(language=dub.language, audio=mix, dialogue=spoken, stems=None)],
        shots=None, cast=None, still=title.still,
    )  # fmt: skip
