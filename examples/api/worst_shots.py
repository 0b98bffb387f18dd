"""Build a manifest in Python, run it, and print the shots that fit worst.

python examples/api/worst_shots.py FILM SOUND LANGUAGE OUT [ENGINE]

FILM: the locked picture with its own sound; SOUND: the mix in LANGUAGE (fr, pt-BR), as long as the film.
"""

import sys

import dubbing
from dubbing.config import Review


def main(film: str, sound: str, language: str, out: str, engine: str = "ray") -> None:
    """Prints at most five shots, with LSE-D (lower is better) of the dub and of the original."""
    title = dubbing.Title(id="film", video=film, dubs=[dubbing.Dub(language=language, audio=sound)])
    manifest = dubbing.Manifest.of([title], generator="rewrite")
    config = dubbing.Config(review=Review(offset_frames=2.0))
    dubbing.run(manifest, out, config=config, engine=engine)
    dub = dubbing.open_results(out).dub("film", language)
    print("shot        from         LSE-D  original  why a person should look")
    for shot in dub.worst.to_pylist()[:5]:
        numbers = f"{number(shot['lse_d'])}  {number(shot['source_lse_d']):>8}"
        print(f"{shot['shot']}  {shot['start_tc']}  {numbers}  {shot['review_reason'] or '-'}")


def number(value: float | None) -> str:
    """Two digits, or a dash where it was not measured."""
    return "    -" if value is None else f"{value:5.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
