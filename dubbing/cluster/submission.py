"""A run as it is sent to a cluster: a resolved manifest, the settings that differ, one command line, a name.

Two submissions of the same work have the same name, so that the second can find the first. Media never
travel: their paths come out absolute, and must mean the same on the cluster. It knows no Ray.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dubbing import __version__, config
from dubbing import manifest as manifests
from dubbing.errors import InputError
from dubbing.speaking.spoken import any_written, speak
from dubbing.store import key_of, open_store

if TYPE_CHECKING:
    from dubbing.manifest import Manifest

__all__ = ["Submission", "attempt_of", "is_job_id", "prepare"]

MANIFEST, CONFIG = "manifest.yaml", "config.yaml"
_ID = re.compile(r"dub-(?P<title>[a-z0-9_-]{1,64})-(?P<key>[0-9a-f]{12})(?:-(?P<attempt>[2-9]|[1-9][0-9]{1,4}))?")
_UNREADABLE = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Submission:
    """Everything that is sent to a cluster for one run.

    name: id of the first attempt; files: file name -> text, in the job's working folder; entrypoint: one
    line for a POSIX shell; out: the run's output place; metadata: kept with the job; absent: media that are
    not on this machine.
    """

    name: str
    files: dict[str, str]
    entrypoint: str
    out: str
    metadata: dict[str, str]
    absent: tuple[str, ...]


def prepare(manifest: str, config_file: Path | None, out: str, workers: int | None = None) -> Submission:
    """Read and check a manifest and settings here, and make of them what travels.

    manifest, out: a path or a URI; dubs that are given as text are spoken into `out` first. Raises ManifestError,
    InputError.
    """
    job = manifests.load(manifest if _is_uri(manifest) else Path(manifest))
    settings = config.load(config_file)
    differences = settings.model_dump(mode="json", exclude_defaults=True)
    place = _place(out, "--out")
    if any_written(job):  # words do not travel: their sound does, which the cluster finds in the output folder
        said = speak(job, open_store(place), settings)
        if said.problems:
            raise said.problems[0]
        job = said.manifest
    resolved = job.model_dump(mode="json")
    key = key_of(resolved, differences, place)[:12]
    words = ["python", "-m", "dubbing", "run", MANIFEST, f"--out={place}", "--engine=ray"]
    files = {MANIFEST: _as_yaml(resolved)}
    if differences:
        files[CONFIG] = _as_yaml(differences)
        words.append(f"--config={CONFIG}")
    if workers is not None:
        words.append(f"--workers={workers}")
    return Submission(
        name=f"dub-{job.titles[0].id}-{key}",
        files=files,
        entrypoint=shlex.join(words),
        out=place,
        metadata={"dub": __version__, "manifest": _place(manifest, "the manifest"), "out": place},
        absent=tuple(p for p in _media(job) if not _is_uri(p) and not os.path.exists(p)),
    )


def is_job_id(text: str) -> bool:
    """Whether this is the id of a job that dub made."""
    return _ID.fullmatch(text) is not None


def attempt_of(name: str, job_id: str) -> int | None:
    """1 for the job `name` itself, 2 for `name-2`, ...; None for another job."""
    if job_id == name:
        return 1
    found = _ID.fullmatch(job_id)
    if found is None or not found["attempt"] or job_id != f"{name}-{found['attempt']}":
        return None
    return int(found["attempt"])


def _is_uri(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def _place(text: str, name: str) -> str:
    """A URI as it is, a path from / on. Raises InputError for what no shell line can carry."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as e:
        raise InputError(f"{name} is {text!r}, which is not UTF-8; a cluster cannot be told such a name.") from e
    if not text or "\0" in text:
        raise InputError(f"{name} is {text!r}; give a folder, or a URI.")
    return text if _is_uri(text) else os.path.abspath(text)


def _media(job: Manifest) -> list[str]:
    found: list[Any] = []
    for title in job.titles:
        found += [title.video, title.shots]
        for member in (title.cast or {}).values():
            found += [*member.pictures, member.voice]
        for dub in title.dubs:
            found += [dub.audio, *dub.drivers, dub.lines, dub.phones]
    return list(dict.fromkeys(str(p) for p in found if p is not None))


def _as_yaml(value: Any) -> str:
    """JSON that is YAML too: what a YAML reader refuses or folds is written as an escape."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return _UNREADABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", text) + "\n"
