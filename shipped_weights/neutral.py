"""Make the neutral face that expressions are measured against: the resting faces of some people.

    python -m shipped_weights.neutral --media DIR --data DIR [--meshes DIR] [--out FILE]

--media, --data: the folders of the clips of `shipped_weights.clips`; --meshes keeps what MediaPipe finds in them. Of
each speaker the frames with the most closed lips are taken, their median is that speaker's resting face. Machine: one
CPU core, some minutes, of which nearly all is finding the meshes. Nothing is random.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dubbing.expression.units import NEUTRAL_FILE
from dubbing.face import canonical, mouth_measures
from shipped_weights import clips

__all__ = ["main", "resting_face"]

_CLOSED = 0.25  # of a speaker's frames, those with the most closed lips


def resting_face(mesh_NP3: np.ndarray) -> np.ndarray:
    """One speaker's face at rest, canonical, float64 (478, 3), from meshes (N, 478, 3) in pixels."""
    shape, _ = canonical(mesh_NP3)
    opening = mouth_measures(shape)["opening"]
    return np.asarray(np.median(shape[opening <= np.quantile(opening, _CLOSED)], axis=0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file and print how far speakers stand from their mean."""
    parser = argparse.ArgumentParser(description="Make the neutral face of dubbing/expression.")
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--meshes", type=Path)
    parser.add_argument("--out", type=Path, default=NEUTRAL_FILE)
    given = parser.parse_args(arguments)
    found = [
        *((s.speaker, clips.load(s, given.meshes, given.media)) for s in clips.TRAIN),
        *((s.speaker, clips.load(s, given.meshes, given.data)) for s in clips.DATA),
    ]
    of: dict[str, list[np.ndarray]] = defaultdict(list)
    for speaker, clip in found:
        of[speaker].append(resting_face(clip.mesh_NP3[clip.ok_N]))
    faces = np.stack([np.mean(of[name], axis=0) for name in sorted(of)])
    mean = faces.mean(0)
    print(
        f"{len(of)} speakers; spread of a point {1000 * np.sqrt(((faces - mean) ** 2).sum(-1).mean()):.1f} thousandths"
    )
    np.savez_compressed(given.out, faces=faces.astype(np.float32))
    print(f"{given.out}: {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
