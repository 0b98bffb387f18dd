"""VMAF by libvmaf, in the FFmpeg that the package `imageio-ffmpeg` brings (extra `eval`): pictures go in by two files.

The program is started without a shell, on two raw films (Y4M) that are written here into a folder of its own, and may
open nothing but files. PyAV's FFmpeg, by which everything else is read, is built without libvmaf. It knows no face.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import cv2
import numpy as np

from dubbing.errors import StageError

__all__ = ["LEAST_PX", "MODEL", "Films", "Vmaf", "identity", "missing", "program"]

MODEL = "vmaf_v0.6.1"
LEAST_PX = 64  # a side; libvmaf halves a picture four times
_SECONDS = 600
_FRAME = b"FRAME\n"


class Vmaf(NamedTuple):
    """mean, least: of the frames, 0..100; frames: how many; by: what measured it, and how."""

    mean: float
    least: float
    frames: int
    by: str


def program() -> Path | None:
    """The FFmpeg of `imageio-ffmpeg`; None where the extra is not installed, or its wheel holds no program."""
    spec = importlib.util.find_spec("imageio_ffmpeg")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted((Path(folder) / "binaries").glob("ffmpeg-*")):
            if file.is_file():
                return file
    return None


def missing() -> str | None:
    """Why there is no VMAF here, in a sentence; None where there is."""
    file = program()
    if file is None:
        return "VMAF: absent: no FFmpeg with libvmaf is installed; install dubbing[eval]."
    return _fault(file)


@lru_cache
def _fault(file: Path) -> str | None:
    said = _run([str(file), "-hide_banner", "-filters"], file.parent)
    if said is None or said.returncode != 0:
        return f"VMAF: absent: {file.name} of imageio-ffmpeg does not run here; install another dubbing[eval]."
    if not re.search(r"\slibvmaf\s", said.stdout):
        return f"VMAF: absent: {file.name} of imageio-ffmpeg has no filter libvmaf; install another dubbing[eval]."
    return None


def identity() -> str | None:
    """What a number depends on: the program's version and the model; None where there is no VMAF."""
    file = program()
    return None if file is None or _fault(file) else f"{MODEL} {_version(file)}"


@lru_cache
def _version(file: Path) -> str:
    said = _run([str(file), "-version"], file.parent)
    found = re.match(r"ffmpeg version (\S+)", said.stdout) if said else None
    return f"FFmpeg {found[1]}" if found else file.name


class Films:
    """The two films that are compared, written frame by frame; `measure` ends them. A context manager.

    folder: an empty one, for the films alone; size_wh: of every picture, at least LEAST_PX a side. Both films take 3
    bytes a pixel and frame on disk. Raises StageError where the pictures are too small.
    """

    def __init__(self, folder: Path, size_wh: tuple[int, int]) -> None:
        if min(size_wh) < LEAST_PX:
            raise StageError(
                f"VMAF: the face's pictures are {size_wh[0]}x{size_wh[1]}; it needs {LEAST_PX} pixels a side."
            )
        self._folder, self._size, self._frames = folder, (size_wh[0] // 2 * 2, size_wh[1] // 2 * 2), 0
        self._files: list[IO[bytes]] = [(folder / name).open("wb") for name in ("result.y4m", "source.y4m")]
        head = f"YUV4MPEG2 W{self._size[0]} H{self._size[1]} F25:1 Ip A1:1 C420jpeg\n".encode()
        for file in self._files:
            file.write(head)

    def __enter__(self) -> Films:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, result_HWC: np.ndarray, source_HWC: np.ndarray) -> None:
        """One frame of both, uint8 BGR."""
        for file, picture in zip(self._files, (result_HWC, source_HWC), strict=True):
            part = np.ascontiguousarray(picture[: self._size[1], : self._size[0]])
            file.write(_FRAME + cv2.cvtColor(part, cv2.COLOR_BGR2YUV_I420).tobytes())
        self._frames += 1

    def measure(self) -> Vmaf:
        """Raises StageError: no frame, no program, or one that fails."""
        for file in self._files:
            file.close()
        found = program()
        if found is None or _fault(found):
            raise StageError(missing() or "")
        if not self._frames:
            raise StageError("VMAF: there is no frame to compare.")
        inputs = [word for name in ("result.y4m", "source.y4m") for word in ("-protocol_whitelist", "file", "-i", name)]
        options = f"libvmaf=model=version={MODEL}:log_fmt=json:log_path=vmaf.json:n_threads=1"
        command = [str(found), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *inputs]
        said = _run([*command, "-lavfi", f"[0:v][1:v]{options}", "-f", "null", "-"], self._folder)
        try:
            if said is None or said.returncode != 0:
                raise ValueError("it ended too late or with an error")
            log = json.loads((self._folder / "vmaf.json").read_text(encoding="utf-8"))
            frames = [float(one["metrics"]["vmaf"]) for one in log["frames"]]
            if len(frames) != self._frames:
                raise ValueError(f"it compared {len(frames)} of {self._frames} frames")
        except (OSError, ValueError, KeyError, TypeError) as e:
            tail = " ".join(said.stderr.split())[-200:] if said else ""
            raise StageError(f"VMAF: {found.name} could not measure it ({e}{': ' if tail else ''}{tail}).") from e
        by = f"libvmaf {log.get('version', '?')}, {MODEL}, {_version(found)}, 8-bit 4:2:0, pixels unscaled"
        return Vmaf(float(np.mean(frames)), float(np.min(frames)), len(frames), by)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str] | None:
    """A program's end, or None where it cannot be started or does not end."""
    try:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
