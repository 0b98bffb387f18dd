"""What was delivered, and when: an appended record per export, against which the next one finds what changed.

`OUT/review/deliveries.jsonl`, one JSON object a line. Before any, what was delivered is the run's own choice: the take
of the manifest's generator for every shot, no decision. Knows no list, no page and no encoder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dubbing.artifacts.takes import Scores, Take
from dubbing.decisions import Decision, Standing, standing_of
from dubbing.errors import OutputError
from dubbing.inputs import json_value, not_a_file
from dubbing.job import Job
from dubbing.manifest import Dub, Title
from dubbing.store import alone, output_error

__all__ = ["FILE", "Change", "Delivered", "Deliveries", "Delivery", "by_the_run", "changes", "dub_name"]

FILE = "review/deliveries.jsonl"
_SCHEMA = "dub.delivery.1"


@dataclass(frozen=True)
class Delivered:
    """One dub as it was delivered. master: its task's key; pictures: shot id -> take id, None for the source's own."""

    master: str
    pictures: Mapping[str, str | None]


@dataclass(frozen=True)
class Delivery:
    """One record. seq: from 1; time: UTC, ISO 8601; decisions: how many records the log of decisions held;
    dubs: `reel/fr` -> what was delivered of it."""

    seq: int
    time: str
    reviewer: str
    decisions: int
    dubs: Mapping[str, Delivered]


@dataclass(frozen=True)
class Change:
    """A shot whose picture is another than in the delivery before. was, now: take ids, None for the source's own
    picture; decided: the record that brought it about, None where a run did (it rendered what had failed, say)."""

    shot: str
    was: str | None
    now: str | None
    decided: Decision | None


@cache
def _adapter() -> TypeAdapter[Delivery]:
    return TypeAdapter(Delivery)


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
    return str(error)


class Deliveries:
    """The log of one output folder."""

    def __init__(self, out: Path) -> None:
        self.path = out / FILE

    def all(self) -> list[Delivery]:
        """All of them, oldest first; a line cut off by a crash was never finished, and is left out.

        Raises OutputError where a line was not written by this project.
        """
        if kind := not_a_file(self.path):
            raise OutputError(f"{str(self.path)!r} is {kind}, and not a file; move it away.")
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            try:
                plain = json_value(line)
                if not isinstance(plain, dict) or plain.pop("schema", None) != _SCHEMA:
                    raise ValueError("another schema")
                found.append(_adapter().validate_json(json.dumps(plain), strict=True))
            except ValueError as e:
                raise OutputError(
                    f"Line {len(found) + 1} of {str(self.path)!r} is not a delivery ({_first(e)}); restore the file "
                    "from a copy, or take that line out."
                ) from e
        return found

    def append(self, reviewer: str, decisions: int, dubs: Mapping[str, Delivered]) -> Delivery:
        """Add a record; on disk when this returns. Call under `alone`. Raises OutputError."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        made = Delivery(len(self.all()) + 1, time, reviewer, decisions, dubs)
        plain = {"schema": _SCHEMA, **made.__dict__, "dubs": {k: d.__dict__ for k, d in dubs.items()}}
        try:
            with self.path.open("r+b") as f:
                f.seek(f.read().rfind(b"\n") + 1)
                f.truncate()
                f.write((json.dumps(plain, ensure_ascii=False) + "\n").encode())
                f.flush()
                os.fsync(f.fileno())
        except OSError as e:
            raise output_error(self.path, e) from e
        return made

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the log, so that one export runs at a time. Raises OutputError where another does."""
        busy = f"Another export of {str(self.path.parent.parent)!r} is under way; wait for it to end."
        with alone(self.path, busy):
            yield


def dub_name(title: Title, dub: Dub) -> str:
    """`reel/fr`."""
    return f"{title.id}/{dub.language}"


def by_the_run(job: Job, title: Title, dub: Dub) -> Delivered | None:
    """What a run delivers that nobody has decided about: the manifest's generator everywhere. None where the analysis
    of that run is not there (any more)."""
    plain = Job(job.manifest, job.store, job.config)
    plain.decisions = {}
    plain.recall(title)
    tasks = plain.dub(title, dub, {})
    if tasks.master is None:
        return None
    plain.know(t for step in tasks.steps for t in (step.take, step.score))
    pictures: dict[str, str | None] = {}
    for step in tasks.steps:
        take: Take | None = plain.result(step.take)
        score: Scores | None = plain.result(step.score)
        dubbed = take is not None and take.status == "dubbed" and score is not None
        pictures[step.shot.id] = step.take.key[:12] if dubbed else None
    return Delivered(tasks.master.key, pictures)


def changes(
    was: Delivered, now: Delivered, standing: Mapping[str, Standing], own: Mapping[str, str | None]
) -> list[Change]:
    """Shots whose picture is another, in the film's order.

    standing: what holds, by shot id; own: the take of the run's own choice, by shot id.
    """
    return [
        Change(shot, was.pictures.get(shot), take, _decider(standing.get(shot, Standing()).history, own.get(shot)))
        for shot, take in now.pictures.items()
        if take != was.pictures.get(shot)
    ]


def _decider(history: Sequence[Decision], own: str | None) -> Decision | None:
    """The last record that changed which picture a shot shows."""

    def picture(records: Sequence[Decision]) -> str | None:
        now = standing_of(records)
        take = now.take or own
        return None if take is None or now.delivers_source(take) else take

    shown, found = picture(()), None
    for n, record in enumerate(history, 1):
        if (after := picture(history[:n])) != shown:
            shown, found = after, record
    return found
