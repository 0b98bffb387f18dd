"""Every error this project raises on purpose, in one tree.

    DubError
      InputError            exit code 2: what the user gave is wrong; nothing was changed
        ManifestError       the manifest, a configuration or a cut list
        MediaError          a picture or sound file
          DamagedMedia      damage inside a file, named by its timecode
          UnsupportedMedia  a kind of file this version cannot deliver whole
        OutputError         the output folder: not writable, full, in use by another run
          StorageError      a place named by a URI: no library, no access, unreachable
          DamagedResult     a finished result that is no longer what was written
        ModelError          a model file: missing, wrong hash, wrong architecture
        PluginError         a generator, sync expert or metric by name: none, two of it, or its package is broken
        ClusterError        a cluster: no answer, no token, no such job
      StageError            exit code 1: one shot failed; the rest of the film goes on
      EngineError           exit code 4: the workers did not start; nothing is wrong with what was given

A message is one sentence or two: what was found, what is allowed, what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "ClusterError", "DamagedMedia", "DamagedResult", "DubError", "EngineError", "InputError", "ManifestError",
    "MediaError", "ModelError", "OutputError", "PluginError", "StageError", "StorageError", "UnsupportedMedia",
    "blaming", "during", "several",
]  # fmt: skip


class DubError(Exception):
    """Root of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(DubError):
    """What the user gave is wrong; nothing was changed. at: which key of a title is at fault (`("still",)`), where that
    is not plain from what was being looked at."""

    exit_code = 2

    def __init__(self, *text: object, at: tuple[int | str, ...] = ()) -> None:
        super().__init__(*text)
        self.at = at


class ManifestError(InputError):
    """The manifest, a configuration file or a cut list is wrong."""


class MediaError(InputError):
    """A picture or sound file cannot be used."""


class DamagedMedia(MediaError):
    """A file is damaged part of the way through; the message names the timecode."""


class UnsupportedMedia(MediaError):
    """The file is sound, but this version cannot deliver it whole, so it refuses to start."""


class OutputError(InputError):
    """The output folder cannot be written, is full, or is in use by another run."""


class StorageError(OutputError):
    """A place named by a URI cannot be used: no library, no access, or unreachable for too long."""


class DamagedResult(OutputError):
    """A finished result is no longer what was written. A run makes it again, once. folder: where it lies."""

    def __init__(self, text: str, folder: Path | None = None) -> None:
        super().__init__(text)
        self.folder = folder


class ModelError(InputError):
    """A model file is missing, has the wrong hash, or holds another architecture."""


class PluginError(InputError):
    """A generator, sync expert or metric: none of that name, two packages with it, or its package cannot be used."""


class ClusterError(InputError):
    """A cluster does not answer, refuses, or knows no such job."""


class StageError(DubError):
    """One shot failed. It becomes a `failed` row; the rest of the film is delivered."""


class EngineError(DubError):
    """The workers did not start. The same command may well succeed when the machine is less busy."""

    exit_code = 4


def several(count: int, word: str, words: str | None = None) -> str:
    """For messages: `1 frame`, `4 frames`. words: what more than one are called, where that is not
    an s more."""
    return f"{count} {word if count == 1 else words or word + 's'}"


@contextmanager
def blaming(*key: int | str) -> Iterator[None]:
    """An InputError on its way through says that this key of a title is at fault, unless it names another."""
    try:
        yield
    except InputError as e:
        e.at = e.at or key
        raise


@contextmanager
def during(what: str) -> Iterator[None]:
    """An error that nobody foresaw, on its way through, is told what was being done (a stage, a title, a file), for
    whoever reads it at the end. A DubError says so itself."""
    try:
        yield
    except DubError:
        raise
    except Exception as e:
        e.add_note(what)
        raise
