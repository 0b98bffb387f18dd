"""Makes a data folder of a source folder: clips are cut on an engine, then written to shards, split by speaker.

Each clip's folder is named by a key of the file and of the settings that affect it, each shard by its content. So the
same command goes on after any interruption, a new clip costs the work of one clip, and another split costs copying.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dubbing.artifact import File
from dubbing.config import Config
from dubbing.dataset.clip import PIECES, ClipInputs, CutClip, CutLimits, Pieces
from dubbing.dataset.layouts import Splits, find
from dubbing.dataset.shards import FPS, INDEX, SHARDS, Packed, Sample, held, load_packed, write_index, write_shard
from dubbing.dataset.source import Source
from dubbing.dataset.titles import CutTitle, TitleInputs
from dubbing.engine import Event, do_tasks
from dubbing.errors import DamagedResult, InputError, OutputError
from dubbing.stage import Resources, Stage
from dubbing.store import RESULT, Store, key_of
from dubbing.task import Outcome, Task

__all__ = ["CLIPS", "Looked", "Prepared", "Preparing", "Settings", "prepare", "refusal"]

CLIPS = "clips"


@dataclass(frozen=True)
class Settings:
    """Settings of a preparation. size: side of the face pictures, px; min_face_px: least height of a face; shortest_s,
    longest_s: of a piece; max_offset_frames: pieces whose lips and sound are further apart are rejected, None: none
    is; splits; shard_clips: pieces to a shard; crop: whose boxes face pictures are, of `faces.CROPS`, None for the
    first."""

    size: int = 128
    min_face_px: float = 48.0
    shortest_s: float = 1.0
    longest_s: float = 10.0
    max_offset_frames: float | None = None
    splits: Splits = Splits()
    shard_clips: int = 256
    crop: str | None = None

    @property
    def of_a_clip(self) -> CutLimits:
        """The settings of which a change means that clips are read again."""
        return CutLimits(self.size, self.min_face_px, self.shortest_s, self.longest_s, self.crop)


@dataclass(frozen=True)
class Looked:
    """The outcome of one clip. split: of its samples; status: used, rejected, unreadable, failed; reason: a code, None
    where it was used; text: what was wrong with the file; samples: ids in the data folder; about: of these (and of
    pieces that were rejected) the numbers; left_out: seconds by reason."""

    id: str
    speaker: str
    split: str
    source: str
    status: str
    reason: str | None
    text: str
    samples: tuple[str, ...] = ()
    about: tuple[Mapping[str, Any], ...] = ()
    left_out: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Prepared:
    """The end of a preparation. looked: every clip of the source, in its order; samples: every row of the index."""

    folder: Path
    source: Path
    layout: str
    settings: Settings
    looked: tuple[Looked, ...]
    samples: tuple[Sample, ...]


class Preparing:
    """The tasks of one preparation, as an engine wants them (`engine.schedule.Workload`)."""

    def __init__(
        self, sources: Sequence[Source], layout: str, store: Store, settings: Settings, config: Config
    ) -> None:
        self.sources, self.store, self.config = sources, store, config
        self.heals: Callable[[str], None] | None = None
        self._settings = settings
        self._stage: type[Stage[Any, Any]] = CutTitle if layout == "titles" else CutClip

    @property
    def stages(self) -> list[type[Stage[Any, Any]]]:
        return [self._stage]

    def resources(self, stage: type[Stage[Any, Any]]) -> Resources:
        return stage.resources

    @cached_property
    def by_source(self) -> dict[str, Task]:
        """Every clip's task, by the clip's id."""
        return {source.id: self._task(source) for source in self.sources}

    def tasks(self, failed: Mapping[str, Outcome]) -> list[Task]:
        return list(self.by_source.values())

    def done(self, task: Task) -> bool:
        return self.store.done(task.folder)

    def forget(self, task: Task) -> None:
        self.store.note(task.folder)

    def result(self, task: Task) -> Pieces | None:
        return Pieces.read(task.folder) if (task.folder / RESULT).exists() else None

    def lose(self, task: Task, why: str) -> None:
        raise DamagedResult(f"{why}; run the same command again.", task.folder)

    def _task(self, source: Source) -> Task:
        limits = self._settings.of_a_clip
        size, changed_ns = 0, 0
        with suppress(OSError):  # what cannot be looked at is found to be unreadable when it is its turn
            stat = source.path.stat()
            size, changed_ns = stat.st_size, stat.st_mtime_ns
        file = File(source.path, f"{size} {changed_ns}")
        inputs = ClipInputs(source.id, file, limits)
        if source.known is not None:
            inputs = TitleInputs(source.id, file, limits, source.known)
        key = self._stage.key(inputs)
        folder = self.store.root / CLIPS / f"{source.id}-{key[:12]}"
        return Task(self._stage, key, folder, inputs, source.id, span=1 + size // 4000, weight=float(size))


def prepare(
    source: Path, out: Path, settings: Settings, *, layout: str = "auto", titles: Sequence[str] = (),
    engine: str = "local", config: Config | None = None, on_event: Callable[[Event], None] = lambda event: None,
    on_shard: Callable[[int, int], None] = lambda done, of: None,
) -> Prepared:  # fmt: skip
    """Make or go on with the data folder `out`.

    titles: of a finished run, only these; on_shard(done, of): shards written. Raises InputError: a source without a
    known layout, a title that is not there; OutputError: `out` holds something else, is in use, or is full.
    """
    source, out = source.absolute(), out.absolute()  # workers may stand elsewhere
    layout, sources = find(source, layout)
    sources = _only(sources, layout, titles)
    store = Store(out)
    store.check()
    work = Preparing(sources, layout, store, settings, config or Config())
    _refuse_others(out, work)
    with store.lock():
        _forget_the_lost(work, settings)
    failed = do_tasks(work, engine, on_event)
    with store.lock():
        looked, rows = _sorted_out(work, settings, failed)
        samples = _lay(out, rows, settings, on_shard)
        _clear(out, samples, work)
    return Prepared(out, source, layout, settings, tuple(looked), samples)


def _only(sources: list[Source], layout: str, titles: Sequence[str]) -> list[Source]:
    """The sources of some titles, or all. Raises InputError for a title that there is not."""
    there = [s.id for s in sources] if layout == "titles" else []
    absent = [t for t in titles if t not in there]
    if absent:
        found = f"there is: {', '.join(there)}" if there else f"it is of layout {layout}, which has none"
        raise InputError(f"The source has no title {absent[0]!r}; {found}.")
    return [s for s in sources if not titles or s.id in titles]


def _refuse_others(out: Path, work: Preparing) -> None:
    """Raises OutputError where a folder holds what was made of other clips, or what is no data folder."""
    if not out.is_dir():
        return
    made = {p.relative_to(out / CLIPS).as_posix()[:-13] for p in (r.parent for r in (out / CLIPS).rglob(RESULT))}
    if made and not made & work.by_source.keys():
        raise OutputError(
            f"{str(out)!r} holds a data folder of other clips ({sorted(made)[0]}, ...); choose another --out, or "
            "remove it."
        )
    strange = sorted(p.name for p in out.iterdir() if p.name[0] != ".")
    if strange and not made and not (out / CLIPS).is_dir() and not (out / INDEX).is_file():
        raise OutputError(
            f"{str(out)!r} holds something else ({', '.join(strange[:3])}); choose another --out: an empty or new "
            "folder."
        )


def _forget_the_lost(work: Preparing, settings: Settings) -> None:
    """Forget results whose pieces are gone because a shard was deleted, so that their clips are cut again."""
    there = held(work.store.root)
    results = {s.id: work.result(work.by_source[s.id]) for s in work.sources}
    split_of = _splits(work, results, settings)
    for source in work.sources:
        task, result = work.by_source[source.id], results[source.id]
        if result is None or _pieces(task).is_file():
            continue
        wanted = [p for p in result.pieces if refusal(p, source, split_of[_who(p, source)], settings) is None]
        if any(p["digest"] not in there for p in wanted):
            work.store.remove(task.folder)


def _who(piece: Mapping[str, Any], source: Source) -> str:
    """The speaker of a piece: a finished title has several."""
    return str(piece.get("speaker", source.speaker))


def _splits(work: Preparing, results: Mapping[str, Pieces | None], settings: Settings) -> dict[str, str]:
    people = list(work.sources)
    for source in work.sources:
        found = results[source.id]
        people += [replace(source, speaker=_who(p, source)) for p in found.pieces] if found else []
    return settings.splits.assign(people)


def _pieces(task: Task) -> Path:
    return task.folder / SHARDS / f"{PIECES}.parquet"


@dataclass(frozen=True)
class _Row:
    """A piece that is included: its sample as far as known, its digest, and where it lies now."""

    sample: Sample
    path: Path
    row: int


def _sorted_out(work: Preparing, settings: Settings, failed: Mapping[str, Outcome]) -> tuple[list[Looked], list[_Row]]:
    """The outcome of every clip, and the included pieces, in order."""
    there = held(work.store.root)
    results = {s.id: work.result(work.by_source[s.id]) for s in work.sources}
    split_of = _splits(work, results, settings)
    looked: list[Looked] = []
    rows: list[_Row] = []
    for source in work.sources:
        task, result, split = work.by_source[source.id], results[source.id], split_of[source.speaker]
        one = Looked(source.id, source.speaker, split, source.path.name, "failed", "error", "")
        if result is None:
            lost = failed.get(task.id)
            looked.append(replace(one, text=(lost.error or "") if lost else "it was not reached"))
            continue
        made, left_out = result.pieces, dict(result.left_out)
        one = replace(one, status=result.status, reason=result.reason, text=result.text, about=made)
        samples: list[Sample] = []
        for n, piece in enumerate(made):
            reason = refusal(piece, source, split_of[_who(piece, source)], settings)
            if reason is not None:
                left_out[reason] = round(left_out.get(reason, 0.0) + piece["frames"] / FPS, 3)
                continue
            name = source.id if len(made) == 1 else f"{source.id}.{n + 1:02d}"
            speaker = _who(piece, source)
            sample = Sample(name, speaker, split_of[speaker], piece["frames"], source.id, digest=piece["digest"])
            here = _pieces(task)
            path, row = (here, n) if here.is_file() else there[piece["digest"]]
            samples.append(sample)
            rows.append(_Row(sample, path, row))
        if made and not samples:
            reason = max(left_out, key=lambda r: (left_out[r], r))
            one = replace(one, status="rejected", reason=reason)
        splits = ",".join(sorted({s.split for s in samples})) or split  # a title's people may be in several
        looked.append(replace(one, split=splits, samples=tuple(s.id for s in samples), left_out=left_out))
    return looked, rows


def refusal(piece: Mapping[str, Any], source: Source, split: str, settings: Settings) -> str | None:
    """Why a piece that was cut is not wanted, or None."""
    if source.split is not None and source.split != split:
        return "other_split"  # its speaker is held out by another list
    limit, offset = settings.max_offset_frames, piece["offset_frames"]
    return "not_in_sync" if limit is not None and (offset is None or abs(offset) > limit) else None


def _lay(
    out: Path, rows: Sequence[_Row], settings: Settings, on_shard: Callable[[int, int], None]
) -> tuple[Sample, ...]:
    """Write the shards that are not there yet, and then the index."""
    most = settings.shard_clips
    groups: list[tuple[str, list[_Row]]] = []
    for split in sorted({r.sample.split for r in rows}):
        mine = [r for r in rows if r.sample.split == split]
        for n in range(0, len(mine), most):
            group = mine[n : n + most]
            key = key_of([(r.sample.id, r.sample.digest) for r in group])[:8]
            groups.append((f"{split}-{n // most:05d}-{key}", group))
    samples: list[Sample] = []
    for done, (name, group) in enumerate(groups):
        on_shard(done, len(groups))
        if not (out / SHARDS / f"{name}.parquet").is_file():
            write_shard(out, name, _packed(group))
        samples += [replace(r.sample, shard=name, row=n) for n, r in enumerate(group)]
    on_shard(len(groups), len(groups))
    write_index(out, samples, **({"crop": settings.crop} if settings.crop else {}))
    return tuple(samples)


def _packed(rows: Sequence[_Row]) -> Iterator[tuple[Sample, Packed]]:
    for row in rows:
        packed = load_packed(row.path, row.row)
        if packed.digest() != row.sample.digest:
            raise InputError(f"{row.path} is broken (its content is not what was cut); delete it, and prepare again.")
        yield row.sample, packed


def _clear(out: Path, samples: Sequence[Sample], work: Preparing) -> None:
    """Remove what the index no longer names: pieces that were copied into shards, old shards, old results."""
    named = {f"{s.shard}.parquet" for s in samples}
    for path in (out / SHARDS).glob("*.parquet"):
        if path.name not in named:
            path.unlink()
    wanted = {t.folder for t in work.by_source.values()}
    in_shards = {s.digest for s in samples}
    for path in [r.parent for r in (out / CLIPS).rglob(RESULT)]:
        if path not in wanted:
            shutil.rmtree(path)
        elif all(p["digest"] in in_shards for p in Pieces.read(path).pieces):
            shutil.rmtree(path / SHARDS, ignore_errors=True)
