"""What changed expressions are worth: units found again, who it still is, and how alike two expressions then speak.

    python -m bench.expression MEDIA [--sheet FILE]
    python -m bench.expression --picture FILE

MEDIA: the folder of test media. Of each photograph in `stills` and each emotion at full strength, onto the neutralised
face: how much of the asked units is found when the mesh is looked for anew in the edited picture (1: all), and how much
of others, on average and at worst, and the same as the optical flow between the two pictures has it (DIS, Kroeger et
al. 2016), read at the mesh's points, which sees brows, cheeks and nose too; the same for what units are read off
(corners, brows, lids): slope and correlation of what is found on what was asked, and what is found where nothing was
asked, in thousandths of the distance between the eyes. How far the face descriptor moves (extra `identity`), as a part
of the mean distance between different people of the same photographs: `same` is 1 less that part. Then the bias of an
expression on speech: one sentence said by two photographs of one face, both as they are and both neutralised, and how
their openings, found anew in the rendered frames, correlate. --sheet: a PNG of all faces. --picture: instead of
measuring, the picture of docs/expression.md, of the demo's photograph (extra `demo`).
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.identity import chip
from dubbing.errors import ModelError
from dubbing.expression import Look, create
from dubbing.expression.units import EMOTIONS, UNITS, Units, of_emotion
from dubbing.face import canonical, mouth_measures, yaw_deg
from dubbing.generators import RenderRequest
from dubbing.generators.rewrite.generator import Rewrite, RewriteSettings
from dubbing.mesh import Detector, Meshes, MeshTracker, face_boxes
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.records import Line, Track
from dubbing.stages.still import find_faces

__all__ = ["main", "openings"]

Face = tuple[np.ndarray, np.ndarray]
_RATE, _SECONDS = Fraction(25), 5
_HEIGHT = 300  # px of a face on the sheet


def openings(face: Face, wave: np.ndarray) -> np.ndarray:
    """How far the mouth of a photograph stands open in each frame of a sentence, found in the rendered pictures."""
    picture, mesh = face
    height, width = (n // 2 * 2 for n in picture.shape[:2])
    picture, count = picture[:height, :width], _SECONDS * int(_RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.mp4"
        with media.ClipWriter(path, width, height, _RATE, crf=0.0) as clip:
            for _ in range(count):
                clip.frame(picture)
        meshes = np.repeat(mesh[None].astype(np.float32), count, 0)
        track = Track("shot_0001/face_1", np.arange(count, dtype=np.int32), meshes, np.ones(count, bool),
                      yaw_deg(meshes), float(np.ptp(mesh[:, 1])))  # fmt: skip
        work = RenderRequest(path, media.timeline(path), (width, height), track, (Line(track.id, 0, count),), wave,
                             np.ones(count, bool), None, still=True)  # fmt: skip
        (x, y, w, h), *_ = face_boxes(meshes[:1], (width, height))
        tracker = MeshTracker()
        found: list[np.ndarray] = []
        for one in Rewrite(RewriteSettings()).render(work):
            patch, frame = one.patch, picture.astype(np.float32)
            part = frame[patch.y : patch.y + patch.matte_HW.shape[0], patch.x : patch.x + patch.matte_HW.shape[1]]
            part += (patch.bgr_HWC - part) * (patch.matte_HW[..., None] / np.float32(255))
            mesh_found = tracker.find(np.ascontiguousarray(frame[y : y + h, x : x + w].round().astype(np.uint8)))
            found.append(found[-1] if mesh_found is None else mesh_found)
        tracker.close()
    return mouth_measures(canonical(np.stack(found))[0])["opening"]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure changed expressions.")
    parser.add_argument("media", type=Path, nargs="?")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args(arguments)
    networks, units = (Detector(), Meshes()), Units.load()
    if given.picture:
        _picture(given.picture, networks)
        return
    if given.media is None:
        parser.error("give the folder of test media, or --picture")
    faces: dict[str, Face] = {}
    for path in sorted((given.media / "stills").glob("*.png")):
        picture = media.read_photograph(path).bgr_HWC
        faces[path.stem] = picture, find_faces(picture, *networks)[0]

    def again(picture: np.ndarray) -> np.ndarray:
        return find_faces(picture, *networks)[0]

    neutral = {name: create(Look(True)).edit(*face) for name, face in faces.items()}
    found: dict[str, list[tuple[float, ...]]] = {}
    edited: dict[tuple[str, str], Face] = {}
    moves: list[tuple[dict[str, float], dict[str, float], dict[str, float]]] = []
    for name, face in neutral.items():
        start = face.bgr_HWC, again(face.bgr_HWC)
        edited[name, "neutral"] = start
        for emotion in EMOTIONS:
            if emotion == "neutral":
                continue
            whole = create(Look(False, emotion)).edit(*start)
            made, mesh = whole.bgr_HWC, again(whole.bgr_HWC)
            moves.append((units.gauges(start[1]), units.gauges(whole.mesh_P3), units.gauges(mesh)))
            edited[name, emotion] = made, mesh
            change, wanted = units.change(start[1], mesh), of_emotion(emotion, 1.0)
            along = sum(change[u] * much for u, much in wanted.items()) / sum(m * m for m in wanted.values())
            beside = [abs(change[u]) for u in UNITS if u not in wanted]
            seen = _by_flow(start, made, units)
            flown = sum(seen[u] * much for u, much in wanted.items()) / sum(m * m for m in wanted.values())
            idle = [abs(seen[u]) for u in UNITS if u not in wanted]
            found.setdefault(emotion, []).append(
                (along, float(np.mean(beside)), max(beside), flown, float(np.mean(idle)), max(idle))
            )
    print("emotion    by the mesh: asked, others mean, worst   by flow: asked, others mean, worst")
    for emotion, rows in found.items():
        mesh_mean, flow_mean = np.split(np.mean(rows, axis=0), 2)
        print(f"{emotion:10} {'':13}" + "".join(f"{v:8.2f}" for v in mesh_mean) + f"{'':13}" +
              "".join(f"{v:8.2f}" for v in flow_mean))  # fmt: skip
    print("read off    slope  correlation  where nothing was asked")
    for gauge in moves[0][0]:
        meant, shown = (np.array([row[k][gauge] - row[0][gauge] for row in moves]) for k in (1, 2))
        still_N = np.abs(meant) < 0.004
        stray = 1000 * float(np.abs(shown[still_N]).mean()) if still_N.any() else float("nan")
        print(f"{gauge:11} {meant @ shown / (meant @ meant):5.2f} {np.corrcoef(meant, shown)[0, 1]:12.2f} {stray:9.1f}")
    for name in neutral:
        for emotion in ("happy", "sad", "angry"):
            half = create(Look(False, emotion, 0.5)).edit(*edited[name, "neutral"])
            edited[name, f"{emotion} 0.5"] = half.bgr_HWC, again(half.bgr_HWC)
    _identity(faces, edited)
    _bias(faces, given.media)
    if given.sheet:
        _sheet(faces, edited, given.sheet)


def _by_flow(before: Face, after_HWC: np.ndarray, units: Units) -> dict[int, float]:
    """How much more of each unit a second picture shows, by how its pixels have moved at the mesh's points."""
    picture, mesh = before
    grey = [cv2.cvtColor(cv2.resize(p, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2GRAY)
            for p in (picture, after_HWC)]  # fmt: skip
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[0], grey[1], None) / 3
    _, (scale, turn, _) = units.pose(mesh)
    skin = np.arange(468)
    at = np.rint(3 * mesh[skin, :2]).astype(int)
    inside = ((at >= 0) & (at < flow.shape[1::-1])).all(1)
    moved = flow[at[inside, 1], at[inside, 0]]
    fields = np.stack([(scale * units.moves[u] @ turn.T)[skin[inside], :2].ravel() for u in UNITS], 1)
    system = np.concatenate([fields, np.eye(len(UNITS))])
    values, *_ = np.linalg.lstsq(system, np.concatenate([moved.ravel(), np.zeros(len(UNITS))]), rcond=None)
    return dict(zip(UNITS, values.tolist(), strict=True))


def _identity(faces: dict[str, Face], edited: dict[tuple[str, str], Face]) -> None:
    try:
        network = FaceDescriptor()
    except ModelError as e:
        print(f"identity: not measured ({e})")
        return
    own = {name: network.describe([chip(*face)])[0] for name, face in faces.items()}
    apart = [
        float(np.linalg.norm(own[a] - own[b])) for a, b in combinations(own, 2) if {a, b} != {"smile", "sad"}
    ]  # fmt: skip
    spread = float(np.mean(apart))
    same: dict[str, list[float]] = {}
    for (name, emotion), face in edited.items():
        far = float(np.linalg.norm(network.describe([chip(*face)])[0] - own[name]))
        same.setdefault(emotion, []).append(1 - far / spread)
    print(f"identity: different people are {spread:.2f} apart")
    for emotion, values in same.items():
        print(f"  {emotion:11} same {np.mean(values):.2f}, worst {min(values):.2f}")
    if {"smile", "sad"} <= set(own):
        print(
            f"  the photographs smile and sad of one face: {1 - np.linalg.norm(own['smile'] - own['sad']) / spread:.2f}"
        )


def _bias(faces: dict[str, Face], folder: Path) -> None:
    wave = media.read_sound(folder / "speech" / "en_16k.wav")[: _SECONDS * 16_000]
    happy = create(Look(False, "happy")).edit(*faces["portrait"])
    pairs = {
        "portrait and portrait made happy": (faces["portrait"], (happy.bgr_HWC, happy.mesh_P3)),
        "smile and sad": (faces["smile"], faces["sad"]),
    }
    for what, pair in pairs.items():
        before = [openings(face, wave) for face in pair]
        calm = [create(Look(True)).edit(*face) for face in pair]
        after = [openings((one.bgr_HWC, one.mesh_P3), wave) for one in calm]
        said = []
        for a, b in (before, after):
            said.append(
                f"{np.corrcoef(a, b)[0, 1]:.3f} (apart {np.abs(a - b).mean():.4f}, least {a.min():.3f} {b.min():.3f})"
            )
        print(f"openings of {what}: correlate {said[0]} as they are, {said[1]} neutralised")


def _picture(path: Path, networks: tuple[Detector, Meshes]) -> None:
    """The demo's face as it is, then with each expression."""
    from dubbing.demo.portrait import photograph

    picture = cv2.resize(photograph("astronaut.png")[12:200, 142:302], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    mesh = find_faces(picture, *networks)[0]
    tiles = [picture, *(create(Look(True, emotion)).edit(picture, mesh).bgr_HWC for emotion in EMOTIONS)]
    for name, tile in zip(("photograph", *EMOTIONS), tiles, strict=True):
        for thick, colour in ((3, (255, 255, 255)), (1, (30, 30, 30))):
            cv2.putText(tile, name, (10, 550), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, thick, cv2.LINE_AA)
    rows = np.vstack([np.hstack(tiles[:4]), np.hstack(tiles[4:])])
    small = cv2.resize(rows, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, 88])


def _sheet(faces: dict[str, Face], edited: dict[tuple[str, str], Face], path: Path) -> None:
    rows = []
    for name, (picture, mesh) in faces.items():
        (x, y, w, h), *_ = face_boxes(mesh[None].astype(np.float32), (picture.shape[1], picture.shape[0]))
        tiles = [picture, *(edited[name, emotion][0] for emotion in EMOTIONS)]
        rows.append(np.hstack([
            cv2.resize(tile[y : y + h, x : x + w], (_HEIGHT, _HEIGHT), interpolation=cv2.INTER_AREA) for tile in tiles
        ]))  # fmt: skip
    cv2.imwrite(str(path), np.vstack(rows))


if __name__ == "__main__":
    main()
