"""LSE of any film, whether this project made it or not: shots, faces, sound, and every face's score.

    with Scorer(experts.load("lips")) as scorer:
        film = scorer.score("film.mp4")           every face track's LSE-D, LSE-C, offset and curves
    rows(film, ...), write_table(path, rows)      as a table, schema dub.score.1
    draw(path, rows)                              as a picture

`docs/lse.md` says what the numbers are. It knows no manifest and leaves nothing behind but what it is asked for.
"""

from dubbing.score.film import FilmScore, Scorer, TrackScore
from dubbing.score.plot import draw
from dubbing.score.track_table import SCHEMA, failed_row, key, read_table, rows, write_table

__all__ = [
    "SCHEMA", "FilmScore", "Scorer", "TrackScore", "draw", "failed_row", "key", "read_table", "rows",
    "write_table",
]  # fmt: skip
