"""The clips that shipped weights may be trained on, and the clips that only test them.

Lists them, and gives each as meshes with their times and its sound, from `.npz` files made before or
by MediaPipe on the media itself. The clips are not part of the project: `folder` is where
the caller keeps them. Knows nothing of what is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dubbing.errors import MediaError

__all__ = ["DATA", "TEST", "TRAIN", "Clip", "Source", "curves", "grid", "grid_s1", "load", "load_all", "save"]


@dataclass(frozen=True)
class Source:
    """One clip: its file under its folder, who speaks (one name, one person), and whether its sound may be late."""

    file: str
    speaker: str
    late: bool = False

    @property
    def name(self) -> str:
        return Path(self.file).stem


DAMAGED = "sgib8n"  # of GRID's first speaker, in the copy that is public
# Permissive licences (GRID: CC BY 4.0). Two GRID clips show one man, another one GRID's speaker 1.
TRAIN = (
    Source("kitchen_1080x1920.mp4", "kitchen"),
    Source("garden_1080x1920.mp4", "garden"),
    Source("webcam_glasses.mp4", "webcam"),
    Source("grid/grid_bbaf2n.mpg", "s1"),
    Source("grid/grid_brbk7n.mpg", "grid_b"),
    Source("grid/grid_id2_swwp2s.mpg", "grid_2"),
    Source("grid/grid_pwij3p.mpg", "grid_2"),
    Source("grid/grid_lbax4n.mpg", "grid_c"),
    Source("grid/grid_lbbc2a.mpg", "grid_d"),
    Source("grid/grid_lrwp9a.mpg", "grid_e"),
    Source("grid/grid_lwbsza.mpg", "grid_f"),
    Source("grid/grid_sbia1a.mpg", "grid_g"),
    Source("grid/grid_sbwe5n.mpg", "grid_h"),
    Source("grid/grid_swiz3n.mpg", "grid_i"),
)
# Works of the US government (public domain), and a clip under a permissive licence; sound 2 to 6 frames late.
DATA = (
    *(Source(f"video/address_{n:02d}.mp4", "address", late=True) for n in range(1, 10)),
    Source("video/presenter_1080x1920.mp4", "presenter", late=True),
)
# Never trained on. frontal_512's sound is about 3 frames off as recorded.
TEST = (
    Source("blue_wall.mp4", "blue_wall"),
    Source("office_vfr.mp4", "office"),
    Source("frontal_512.mp4", "frontal"),
    Source("green_glasses.mov", "green"),
)


@dataclass(frozen=True, eq=False)
class Clip:
    """One talking face with its sound.

    name, speaker: of its Source; times_s: float64 (N,), the start of each frame, 0 at the first;
    mesh_NP3: float32 (N, 478, 3) MediaPipe mesh in upright pixels; ok_N: bool, False where no face
    was found (the mesh there is bridged); wave: float32 mono 16 kHz, sample 0 at frame 0's start.
    """

    name: str
    speaker: str
    times_s: np.ndarray
    mesh_NP3: np.ndarray
    ok_N: np.ndarray
    wave: np.ndarray


def grid_s1(folder: Path, pupil: Literal["prior", "expert"]) -> tuple[Source, ...]:
    """Which sentences of GRID's first speaker (Cooke et al. 2006, CC BY 4.0) one of the two pupils may be trained on.

    The expert judges what the prior foretells, so the two never share a sentence: of the files of `folder` (`*.mpg`,
    sorted by name, counted from 0) the prior has the even ones and the expert the odd ones. What one has is unseen by
    the other, and tests it. Clips that TRAIN has, and a damaged one, are left out. `file` is the bare name, so `load`
    wants `folder` as its media. Raises MediaError where the folder holds none.
    """
    found = sorted(folder.glob("*.mpg"))
    if not found:
        raise MediaError(f"{folder}: no sentence (*.mpg) of GRID is in it. Give --grid the folder of speaker s1.")
    left = {source.name.removeprefix("grid_") for source in TRAIN} | {DAMAGED}
    mine = found[("prior", "expert").index(pupil) :: 2]
    return tuple(Source(path.name, "s1") for path in mine if path.stem not in left)


def grid(folder: Path) -> list[Source]:
    """Every clip of GRID's speaker 1 that TRAIN has not, by name. Raises MediaError where there is none."""
    had = {source.name.removeprefix("grid_") for source in TRAIN}
    found = sorted((*grid_s1(folder, "prior"), *grid_s1(folder, "expert")), key=lambda source: source.file)
    return [source for source in found if source.name not in had]


def curves(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The Mandarin recordings: float32 mono 16 kHz, and how far the jaw is open at 30 frames a second, (N,)."""
    from dubbing import media

    names = (folder / "names.txt").read_text(encoding="utf-8").split()
    jaw = names.index("mouth_stretch_c")
    return [
        (media.read_sound(path), np.load(path.with_suffix(".npy"))[:, jaw]) for path in sorted(folder.glob("*.flac"))
    ]


def load_all(sources: Sequence[Source], meshes: Path | None = None, media: Path | None = None) -> list[Clip]:
    """Every clip of `sources`, in order; `meshes` and `media` as in `load`."""
    return [load(source, meshes, media) for source in sources]


def load(source: Source, meshes: Path | None = None, media: Path | None = None) -> Clip:
    """One clip, from `meshes/<file name>.npz` where it exists, else extracted from `media/<file>`.

    An extracted clip is kept in `meshes` when that is given. Raises MediaError where neither is there.
    """
    stored = meshes / f"{Path(source.file).name}.npz" if meshes else None
    if stored and stored.exists():
        with np.load(stored) as data:
            arrays = {key: data[key] for key in ("times_s", "mesh", "ok", "wave")}
        return Clip(source.name, source.speaker, arrays["times_s"], arrays["mesh"], arrays["ok"], arrays["wave"])
    if media is None or not (media / source.file).exists():
        raise MediaError(
            f"{source.file}: no stored meshes in {meshes} and no such file in {media}. "
            "Give --media the folder of clips, or --meshes a folder with what an earlier run stored."
        )
    clip = _extract(source, media / source.file)
    if stored:
        save(clip, stored)
    return clip


def save(clip: Clip, path: Path) -> None:
    """Store a clip where `load` finds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, times_s=clip.times_s, mesh=clip.mesh_NP3, ok=clip.ok_N, wave=clip.wave)


def _extract(source: Source, path: Path) -> Clip:
    """MediaPipe's mesh of the one face on every frame, gaps bridged linearly."""
    from dubbing import media
    from dubbing.mesh import MeshTracker

    timeline = media.timeline(path)
    tracker = MeshTracker()
    try:
        found = [tracker.find(picture.bgr()) for picture in media.read(path, timeline, 0, len(timeline))]
    finally:
        tracker.close()
    ok = np.array([mesh is not None for mesh in found])
    times_s = timeline.times_s()
    if not ok.any():
        raise MediaError(f"{path}: no face was found on any frame; a training clip needs one throughout.")
    seen = np.stack([mesh for mesh in found if mesh is not None])
    place = np.interp(np.arange(len(ok)), np.flatnonzero(ok), np.arange(len(seen)))
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(seen) - 1)
    part = (place - low).astype(np.float32)[:, None, None]
    mesh = seen[low] * (1 - part) + seen[high] * part
    wave = media.read_sound(path, rate_hz=16_000, mono=True)
    return Clip(source.name, source.speaker, times_s, mesh, ok, np.asarray(wave, np.float32))
