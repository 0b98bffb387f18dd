"""One evaluation: every measure that was asked for on every clip, with one committed result each.

Finished results are read again. What cannot be measured becomes a row with its reason and stops nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from dubbing.config import Config
from dubbing.errors import DubError, ManifestError, OutputError
from dubbing.evaluate import measures
from dubbing.evaluate.clips import Clip, Voice, voice_for, words_beside
from dubbing.evaluate.seen import was_seen
from dubbing.evaluate.session import EvaluatedFilm, Session, code_hash
from dubbing.generators import create
from dubbing.store import Store, content_key, key_of

__all__ = ["MEASURES", "VERSION", "Evaluation", "Options", "measures_named"]

MEASURES = ("hearing", "rendering", "following", "steadiness", "seam", "silence", "sync", "published", "languages",
            "expert", "resynthesis", "identity")  # fmt: skip
VERSION = 4  # raise it when numbers change: what older versions left is then made again


def measures_named(text: str | None) -> tuple[str, ...]:
    """Measures by number or name, `1,2,seam`; all of them for None. Raises ManifestError for any other."""
    if not text:
        return MEASURES
    found = []
    for word in (w.strip().lower() for w in text.split(",") if w.strip()):
        named = [m for n, m in enumerate(MEASURES, 1) if word in (str(n), m)]
        if not named:
            said = ", ".join(f"{n} {m}" for n, m in enumerate(MEASURES, 1))
            raise ManifestError(f"--only: there is no measure {word!r}; there is: {said}.")
        found += named
    return tuple(m for m in MEASURES if m in found)


@dataclass(frozen=True)
class Options:
    """generator: as a manifest names it; only: of MEASURES; voices: what clips are dubbed with (empty: the next
    clip's own sound)."""

    generator: Mapping[str, Any] = field(default_factory=lambda: {"name": "rewrite"})
    only: tuple[str, ...] = MEASURES
    voices: tuple[Voice, ...] = ()


class _At:
    """The progress of an evaluation: its step, and the pipeline's task within it."""

    def __init__(self, step: Callable[[int, int, str], None], total: int) -> None:
        self._step, self._total, self._done = step, total, 0

    def begin(self, done: int, what: str) -> None:
        self._done = done
        self._step(done, self._total, what)

    def task(self, name: str) -> None:
        self._step(self._done, self._total, name)


class Evaluation:
    """An evaluation in one output folder. say(sentence): called with notices; step(done, of, what): with progress."""

    def __init__(
        self,
        out: Path,
        options: Options,
        settings: Config,
        say: Callable[[str], None] = lambda text: None,
        step: Callable[[int, int, str], None] = lambda done, of, what: None,
    ) -> None:
        self.store, self.options, self.settings = Store(out), options, settings
        self._say, self._step = say, step

    @cached_property
    def generator_hash(self) -> str:
        """The hash of the generator's weights and settings. Raises ManifestError, ModelError."""
        choice = dict(self.options.generator)
        return create(choice.pop("name"), choice, self.settings.models.folder).hash

    def check(self) -> None:
        """Whether there is such a generator and its weights can be used. Raises ManifestError, ModelError."""
        choice = dict(self.options.generator)
        create(choice.pop("name"), choice, self.settings.models.folder).check()

    def run(self, clips: Sequence[Clip]) -> list[dict[str, Any]]:
        """The rows of all clips, in their order. Raises OutputError, and InputError for a generator there is not."""
        self.check()
        rows: list[dict[str, Any]] = []
        folder = os.path.commonpath([c.path.parent for c in clips]) if clips else ""
        groups = [g for g in measures.GROUPS if set(g.measures) & set(self.options.only)]
        total = len(clips) * len(groups)
        with self.store.lock():
            self.store.sweep()
            at = _At(self._step, total)
            with Session(self.store, self.settings, self.options.generator, at.task) as session:
                for n in range(len(clips)):
                    named = {"clip": clips[n].id, "video": Path(os.path.relpath(clips[n].path, folder)).as_posix()}
                    rows += [{**named, **r} for r in self._clip(session, clips, n, groups, at)]
        return [r for r in rows if r["measure"] in self.options.only]

    def _clip(
        self, session: Session, clips: Sequence[Clip], n: int, groups: Sequence[measures.Group], at: _At
    ) -> list[dict[str, Any]]:
        """All rows of one clip."""
        clip, began, rows, said = clips[n], time.process_time(), [], set()
        common: dict[str, Any] = {}
        film: EvaluatedFilm | None = None
        refused: DubError | None = None
        at.begin(n * len(groups), f"{clip.id}: faces, sound, speakers")
        try:
            film = session.analysed(clip)
            common["seen"] = was_seen(film.content)
        except OutputError:
            raise
        except DubError as e:
            refused = e
        for k, group in enumerate(groups):
            at.begin(n * len(groups) + k, f"{clip.id}: {', '.join(group.measures)}")
            try:
                if film is None:
                    assert refused is not None
                    raise refused
                found = self._group(session, group, film, self._voices(clips, n))
            except OutputError:
                raise
            except Exception as e:  # a defect on one clip must not cost the others
                text = str(e) if isinstance(e, DubError) else f"{clip.path.name}: {type(e).__name__}: {e}"
                found = [{"measure": m, "reason": text} for m in group.measures if m in self.options.only]
                if text not in said:
                    said.add(text)
                    self._say(text if clip.path.name in text else f"{clip.path.name}: {text}")
            rows += [{**common, **self._named(), **r} for r in found]
        self._say(f"{clip.id}: {time.process_time() - began:.0f} s of processor time")
        return rows

    def _named(self) -> dict[str, Any]:
        model = self.options.generator.get("model")
        return {"generator": self.options.generator["name"], "generator_hash": self.generator_hash,
                "model": Path(model).stem if model else None}  # fmt: skip

    def _group(
        self, session: Session, group: measures.Group, film: EvaluatedFilm, voices: Sequence[Voice]
    ) -> list[dict[str, Any]]:
        """The rows of one clip and group of measures, made now or read."""
        if film.photograph and not group.of_photographs:
            why = "a photograph shows nobody speak: there is no truth to compare with."
            return [{"measure": m, "name": "all", "input": "still", "reason": why} for m in group.measures]
        about: list[Any] = []
        if group.needs_voice:
            about = [[v.language, content_key(v.path, self.store.root / ".contents.json")] for v in voices]
        about += group.judges(self.settings)
        if group.reads_words and (words := words_beside(film.clip.path)):
            about.append(words)
        generator = str(self.options.generator["name"])
        key = key_of("eval", VERSION, group.name, film.content, self.generator_hash, code_hash(generator), about)
        folder = self.store.root / film.title.id / "eval" / f"{group.name}-{key[:12]}"

        def make(part: Path) -> dict[str, Any]:
            began = time.process_time()
            with threadpool_limits(limits=1):  # as a worker's: sums on more threads cost more than they bring here
                rows = group.measure(session, film, tuple(voices), part)
            seconds = round(time.process_time() - began, 2)
            return {"rows": [{**r, "seconds": seconds, "key": key[:12]} for r in rows], "seconds": seconds}

        made: list[dict[str, Any]] = session.made(folder, make)["rows"]
        return made

    def _voices(self, clips: Sequence[Clip], n: int) -> tuple[Voice, ...]:
        return self.options.voices or (voice_for(clips, n),)
