"""New takes and deliveries of a finished run, from Python: what `dub rerun`, `dub export` and `dub review` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dubbing.api.jobs import known_engine, steadfast
from dubbing.api.log import RunLog
from dubbing.api.progress import FiguresFile
from dubbing.api.results import Take, open_results
from dubbing.decisions import ShotKey
from dubbing.engine import Event
from dubbing.errors import InputError
from dubbing.manifest import GeneratorChoice
from dubbing.media import LAYERS
from dubbing.review.export import Exported, Layers
from dubbing.review.export import export as deliver
from dubbing.review.library import Library
from dubbing.review.rerun import rerun as render
from dubbing.review.rerun import shots_named
from dubbing.review.serve import ReviewServer, open_server
from dubbing.run_file import account
from dubbing.store import Store
from dubbing.yaml_text import value_of

__all__ = ["Rerun", "ReviewServer", "export", "generator_of", "rerun", "serve_review"]

GIB = 1 << 30


@dataclass(frozen=True)
class Rerun:
    """What became of one shot. before: the take that held until then, take: the new one; either None where there is
    none; known: whether the same take was there already; error: why there is no new one; ended: the decision of
    somebody else that choosing the take ended, None where there was none."""

    title: str
    language: str
    shot: str
    before: Take | None
    take: Take | None
    known: bool
    error: str | None
    ended: str | None = None


def rerun(
    out: Path | str, shots: str | Sequence[str], *, generator: str | Mapping[str, Any] | GeneratorChoice | None = None,
    choose: bool = False, engine: str | None = None, reviewer: str | None = None,
    on_part: Callable[[float, str], None] | None = None,
) -> tuple[Rerun, ...]:  # fmt: skip
    """Render some shots of a finished run again, as new takes beside the old. Masters stay as they are.

    out: a run's output folder on this machine; shots: `shot_0004` or `4` (in every dub), `fr/4`, `reel/fr/4`, `review`
    (all that need review), `rejected`, one or several; generator: as in a manifest, None for the manifest's own;
    choose: deliver the new takes from the next `export` or `run` on; engine: ray, local, or None: local for few;
    reviewer: who asks, for the records, None for the account's name; on_part: told how much is done, 0..1, and the
    stage at work.

    Raises InputError: no such shot, or the generator cannot be used; OutputError: no finished run there, it lies at a
    URI, another run writes there.
    """
    if engine is not None:
        known_engine(engine)
    library, who = Library(out), _name(reviewer)
    keys = shots_named(library, [shots] if isinstance(shots, str) else shots)
    choice = None if generator is None else library.choice(_plain(generator))
    before = {key: next((t.id for t in library.find(*key).takes if t.current), None) for key in keys}
    made = render(library, keys, choice, who, on_part or (lambda part, stage: None), engine)
    ended: dict[ShotKey, str] = {}
    if choose:
        for one in made:
            if one.take is not None:
                was = library.log.of(one.key)
                if was.verdict is not None and was.by != who:
                    ended[one.key] = f"{was.verdict} by {was.by}"
                take = library.find(*one.key).take(one.take)
                library.log.append(one.key, "choose", who, take=take.id, generator=take.generator)
    results, found = open_results(out), []
    for one in made:
        title, language, shot = one.key
        takes = {t.id: t for t in results.dub(title, language).takes(shot)}
        old, new = takes.get(before[one.key] or ""), takes.get(one.take or "")
        found.append(Rerun(title, language, shot, old, new, one.known, one.error, ended.get(one.key)))
    return tuple(found)


def export(
    out: Path | str, *, to: Path | str | None = None, since: int | None = None, reviewer: str | None = None,
    engine: str = "ray", layers: str | None = None, crop: bool = False, plate: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Exported:  # fmt: skip
    """Deliver what reviewers decided: master again what changed, and write the lists and the report.

    `Exported` has delivery (its number), folder, files, dubs (each with its changes and its master) and exit_code.
    out: a run's output folder on this machine; to: the folder of the lists, None for out/review/export; since: the
    number of the delivery against which changes are named, 0 for the run, None for the last; reviewer: who delivers,
    None for the account's name; layers: the new pixels with their matte too, for compositing: `exr`, `tiff`, `png` or
    `prores4444`, in TITLE.LANGUAGE.KIND beside the lists; crop: no larger than a shot's patches, with their place;
    plate: the source's own pictures beside them (not of a movie); engine, on_event: as of `run`.

    Raises InputError: no such delivery, no such kind of layers; OutputError: no finished run there, it lies at a URI,
    another run writes there, a file cannot be written. What on_event raises comes out here; the same call goes on.
    """
    known_engine(engine)
    if layers is not None and layers not in LAYERS:
        raise InputError(f"There are no layers of the kind {layers!r}; give one of {', '.join(LAYERS)}.")
    if layers is None and (crop or plate):
        raise InputError("A crop and a plate belong to layers; say which kind: exr, tiff, png or prores4444.")
    asked = None if layers is None else Layers(layers, crop, plate)
    library = Library(out)
    dubs = Counter(title.id for title, _ in library.dubs())
    films = [
        (max((r["end_frame"] for r in library.rows() if r["title"] == t), default=0), count)
        for t, count in dubs.items()
    ]
    with FiguresFile(films, library.out) as figures, RunLog(Store(library.out), f"export with {engine}") as log:
        tell = steadfast(figures, log, *([on_event] if on_event else []))
        return deliver(library, _name(reviewer), tell, engine, None if to is None else Path(to), since, asked)


def serve_review(
    out: Path | str, *, port: int = 0, host: str = "127.0.0.1", cache_bytes: int = 4 * GIB
) -> ReviewServer:
    """Listen for the review page of a finished run; `ReviewServer.serve` answers until it is interrupted.

    out: a run's output folder on this machine; port: 0 for any that is free; host: others than loopback are open to the
    network; cache_bytes: most disk for proxies.

    Raises InputError: no dub is finished, or the port cannot be had; OutputError: no run there, it lies at a URI.
    """
    return open_server(out, port=port, host=host, cache_bytes=cache_bytes)


def generator_of(text: str) -> Any:
    """What a person wrote for a generator on a command line: a name, or a mapping. Raises ManifestError: no YAML."""
    return value_of(text, "generator")


def _name(reviewer: str | None) -> str:
    """Whose name goes into the records: the one given, else the account's."""
    return account() if reviewer is None else reviewer


def _plain(generator: str | Mapping[str, Any] | GeneratorChoice) -> Mapping[str, Any]:
    if isinstance(generator, str):
        return {"name": generator}
    if isinstance(generator, GeneratorChoice):
        return {"name": generator.name, **generator.settings}
    return generator
