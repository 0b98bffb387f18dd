"""`dub report languages` of the demo film in Hindi, Tamil, Telugu, Kannada and Malayalam, and of its portrait.

    python -m bench.languages --out FOLDER [--engine local]

The same sentences, spoken by espeak-ng, dub the film, whose actress speaks English, and the photograph that it is made
of, which nobody has seen speak. Prints the table as Markdown, and how long the run took. A second call with the same
FOLDER only prints.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2

import dubbing
from dubbing import manifest as manifests
from dubbing.cli import main as command
from dubbing.demo import SCENES, make_demo
from dubbing.demo.portrait import photograph
from dubbing.manifest import Manifest, Title

_SAYS: tuple[dict[str, str], ...] = (  # of each of the demo's scenes, what its own languages do not say
    {},
    {
        "te": "నమస్కారం. ఈ చిత్రంలో నా పెదవుల ప్రతి కదలికను ఒక యంత్రం తయారు చేసింది.",
        "kn": "ನಮಸ್ಕಾರ. ಈ ಚಿತ್ರದಲ್ಲಿ ನನ್ನ ತುಟಿಗಳ ಪ್ರತಿಯೊಂದು ಚಲನೆಯನ್ನು ಒಂದು ಯಂತ್ರ ಮಾಡಿದೆ.",
        "ml": "നമസ്കാരം. ഈ ചിത്രത്തിൽ എന്റെ ചുണ്ടുകളുടെ ഓരോ ചലനവും ഒരു യന്ത്രം ഉണ്ടാക്കിയതാണ്.",
    },
    {
        "te": "ఇప్పుడు నేను వేరే భాషల్లో మాట్లాడతాను. నా పెదవులు కొత్త గొంతుకు సరిపోతున్నాయా?",
        "kn": "ಈಗ ನಾನು ಬೇರೆ ಭಾಷೆಗಳಲ್ಲಿ ಮಾತನಾಡುತ್ತೇನೆ. ನನ್ನ ತುಟಿಗಳು ಹೊಸ ಧ್ವನಿಗೆ ಹೊಂದುತ್ತವೆಯೇ?",
        "ml": "ഇനി ഞാൻ മറ്റു ഭാഷകളിൽ സംസാരിക്കും. എന്റെ ചുണ്ടുകൾ പുതിയ ശബ്ദത്തിന് ചേരുന്നുണ്ടോ?",
    },
    {
        "te": "చాలా దూరంలో, పది వేల నక్షత్ర మండలాలు నిశ్శబ్దంగా ఉన్నాయి.",
        "kn": "ಬಹಳ ದೂರದಲ್ಲಿ, ಹತ್ತು ಸಾವಿರ ನಕ್ಷತ್ರಪುಂಜಗಳು ಮೌನವಾಗಿವೆ.",
        "ml": "വളരെ അകലെ, പതിനായിരം താരാപഥങ്ങൾ നിശ്ശബ്ദമായിരിക്കുന്നു.",
    },
    {},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", default="ray")
    args = parser.parse_args()
    scenes = [replace(s, says={**s.says, **more}) for s, more in zip(SCENES, _SAYS, strict=True)]
    film = manifests.load(make_demo(args.out / "film", scenes=scenes)).titles[0]
    picture = args.out / "film" / "portrait.png"
    cv2.imwrite(str(picture), photograph("astronaut.png"))
    portrait = Title(id="portrait", video=picture, dubs=film.dubs)
    began = time.monotonic()
    dubbing.run(Manifest.of([film, portrait]), args.out / "out", engine=args.engine)
    print(f"run: {time.monotonic() - began:.1f} s")
    command(["report", "languages", str(args.out / "out"), "--markdown"])


if __name__ == "__main__":
    main()
