"""Look at what a run has changed: the patches of every delivered take, as arrays.

python examples/api/patches.py OUT [PICTURE]      PICTURE: a PNG file for the patch that covers the most
"""

import sys

import cv2
import numpy as np

import dubbing


def main(out: str, picture: str | None = None) -> None:
    """Prints one line for every shot that has new lips: frames, size, and how much of the patch is new."""
    largest: dubbing.Patch | None = None
    for dub in dubbing.open_results(out).dubs:
        for shot in dub.shots.to_pylist():
            take = dub.take(shot["shot"])
            if take is None:
                continue
            covered = []
            for patch in take.patches():  # decoded one at a time: a film never lies in memory
                covered.append(float(np.mean(patch.alpha)) / 255)
                if largest is None or patch.alpha.sum() > largest.alpha.sum():
                    largest = patch
            print(
                f"{dub.title}/{dub.language}/{take.shot} take {take.id}: {len(covered)} patches of "
                f"{', '.join(take.faces)}, {np.mean(covered):.0%} of their pixels new"
            )
    if picture is not None and largest is not None:
        cv2.imwrite(picture, np.dstack([largest.bgr, largest.alpha]))  # uint8 (H, W, 4)


if __name__ == "__main__":
    main(*sys.argv[1:])
