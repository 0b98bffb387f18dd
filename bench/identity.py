"""Who is who: every pair of face tracks of films whose people are known, with and without the face descriptor.

    python -m bench.identity MEDIA [--keep FOLDER]

MEDIA: the folder of test media. Faces are found as a run finds them, and people are told apart as the stage `people`
does, within each film and over all films at once, which is harder: by today's portraits and proportions, and, where the
extra `identity` is installed, by descriptors at several thresholds. Printed: pairs of tracks of one person and of two;
precision and recall over these pairs; how many wrong joins; how far apart the nearest two people are. The truth is by
hand, from the frames. --keep: a folder for what is found, which a second run starts from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.analysis import identity
from dubbing.artifact import File, Ref
from dubbing.artifacts.descriptors import load_descriptors
from dubbing.artifacts.tracks import load_signatures, load_tracks
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.stage import Stage
from dubbing.stages.descriptors import Describe, DescribeInputs
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.stages.shots import Shots, ShotsInputs
from dubbing.store import RESULT
from dubbing.task import Inputs

# Who each track shows, in the order of the tracks: the number of the shot and of the face, and a name.
PEOPLE = {
    "reel.mp4": {
        "1/1": "masked, drawn", "2/1": "garden", "3/1": "blue wall", "4/1": "webcam", "5/1": "kitchen",
        "8/1": "green screen", "10/1": "stage",
    },
    "two_faces.mp4": {"1/1": "left of two", "1/2": "right of two"},
    "five_faces.mp4": {"1/1": "bald", "1/2": "green light", "1/3": "asks", "1/4": "dark suit"},
    "stage_cuts.mp4": {"1/1": "stage", "3/1": "stage", "6/1": "stage", "7/1": "stage", "10/1": "stage"},
    "grid/grid_bbaf2n.mpg": {"1/1": "grid a"},
    "grid/grid_brbk7n.mpg": {"1/1": "grid b"},
    "grid/grid_id2_swwp2s.mpg": {"1/1": "grid c"},
    "grid/grid_lbax4n.mpg": {"1/1": "grid d"},
    "grid/grid_lbbc2a.mpg": {"1/1": "grid e"},
    "grid/grid_lrwp9a.mpg": {"1/1": "grid f"},
    "grid/grid_lwbsza.mpg": {"1/1": "grid g"},
    "grid/grid_pwij3p.mpg": {"1/1": "grid c"},
    "grid/grid_sbia1a.mpg": {"1/1": "grid h"},
    "grid/grid_sbwe5n.mpg": {"1/1": "grid i"},
    "grid/grid_swiz3n.mpg": {"1/1": "grid j"},
}  # fmt: skip
THRESHOLDS = (0.34, 0.36, 0.38, 0.40, 0.42, 0.44, 0.46, 0.48, 0.52, 0.60)


@dataclass(frozen=True, eq=False)
class Seen:
    """One track: whom it shows, its frames [start, end), its signature, its descriptors (F, 128), if there are any."""

    film: str
    who: str
    shot: int
    frames: tuple[int, int]
    signature: identity.Signature
    described: np.ndarray | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = find(args.media, args.keep or Path(folder))
    signatures = [s.signature for s in seen]
    apart = together(seen)
    print("rule                     precision  recall  wrong joins  people")
    told("portraits, proportions", seen, identity.group_actors(signatures, apart))
    if any(s.described is None for s in seen):
        print("The extra `identity` is not installed: nothing more to compare.")
        return
    for threshold in THRESHOLDS:
        numbers = identity.group_described([s.described for s in seen], apart, near=threshold)
        told(f"descriptors, {threshold:.2f}{' *' if threshold == identity.NEAR else ''}", seen, numbers)
    known = ((n, s.described) for n, s in enumerate(seen) if s.described is not None and len(s.described))
    middle = {n: np.mean(described, axis=0) for n, described in known}
    far = {(a, b): float(np.linalg.norm(middle[a] - middle[b])) for a, b in combinations(middle, 2)}
    same = {pair: d for pair, d in far.items() if seen[pair[0]].who == seen[pair[1]].who}
    print(f"pairs: {len(same)} of one person, at most {max(same.values()):.3f} apart; {len(far) - len(same)} of two;")
    print("the nearest of these:")
    for (a, b), distance in sorted((item for item in far.items() if item[0] not in same), key=lambda x: x[1])[:6]:
        print(f"  {distance:.3f}  {seen[a].film}, {seen[a].who}; {seen[b].film}, {seen[b].who}")


def told(rule: str, seen: list[Seen], numbers: list[int]) -> None:
    """One line of the table."""
    pairs = list(combinations(range(len(seen)), 2))
    one = {pair for pair in pairs if seen[pair[0]].who == seen[pair[1]].who}
    joined = {(a, b) for a, b in pairs if numbers[a] == numbers[b]}
    right = len(joined & one)
    precision = right / len(joined) if joined else 1.0
    print(f"{rule:<24} {precision:9.3f} {right / len(one):7.3f} {len(joined - one):12d} {len(set(numbers)):7d}")


def together(seen: list[Seen]) -> list[tuple[int, int]]:
    """Pairs of tracks that are in one picture."""
    return [
        (a, b) for a, b in combinations(range(len(seen)), 2)
        if (seen[a].film, seen[a].shot) == (seen[b].film, seen[b].shot)
        and seen[a].frames[0] < seen[b].frames[1] and seen[b].frames[0] < seen[a].frames[1]
    ]  # fmt: skip


def find(folder: Path, keep: Path) -> list[Seen]:
    """Every track of the films, as the stages `shots`, `faces` and `descriptors` find them."""
    model = FaceDescriptor.identity()
    faces, describe, found = Faces(), Describe(), []
    faces.setup()
    for name, people in PEOPLE.items():
        film, home = File(folder / name, ""), keep / Path(name).stem
        cuts = made(Shots(), ShotsInputs(film, None, 3.0, 6), home / "shots")
        for shot in cuts.read().shots:
            where = FacesInputs(shot.start_frame, shot.end_frame, film, shot.number, cuts)
            tracks, looks = made(faces, where, home / shot.id), {}
            if model is not None:
                asked = DescribeInputs(tracks, model, len(shot))
                looks = load_descriptors(made(describe, asked, home / f"{shot.id}-{model}").folder)
            pairs = zip(load_tracks(tracks.folder), load_signatures(tracks.folder), strict=True)
            for number, (track, signature) in enumerate(pairs, 1):
                who, frames = people[f"{shot.number}/{number}"], (track.start_frame, track.end_frame)
                found.append(Seen(name, who, shot.number, frames, signature, looks.get(track.id)))
    faces.close()
    return found


def made(stage: Stage[Any, Any], inputs: Inputs, folder: Path) -> Ref[Any]:
    """A stage's result in a folder, made there where it is not yet."""
    if not (folder / RESULT).exists():
        folder.mkdir(parents=True, exist_ok=True)
        result = stage.process(inputs, folder, lambda frames: None)
        (folder / RESULT).write_text(json.dumps(result.to_dict()), encoding="utf-8")
    return Ref(stage.Result, "", "", folder)


if __name__ == "__main__":
    main()
