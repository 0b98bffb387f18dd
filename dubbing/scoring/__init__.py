"""LSE of any film, whether this project made it or not: shots, faces, sound, and every face's score.

    with Scorer(experts.load("lips")) as scorer:
        film = scorer.score("film.mp4")           every face track's LSE-D, LSE-C, offset and curves
    rows(film, ...), write_table(path, rows)      as a table, schema dub.score.1
    draw(path, rows)                              as a picture
    score_films(films, ...)                       many films, with a table that goes on where it was
    means(rows, names), speakers(films)           mean and deviation per speaker, as papers give them

`docs/lse.md` says what the numbers are. It knows no manifest and leaves nothing behind but what it is asked for.
"""

from dubbing.scoring.film import FilmScore, Scorer, TrackScore
from dubbing.scoring.films import Watch, find_films, score_films, writable
from dubbing.scoring.plot import draw
from dubbing.scoring.speakers import ALL, means, speakers
from dubbing.scoring.track_table import SCHEMA, failed_row, key, read_table, rows, write_table

__all__ = [
    "ALL", "SCHEMA", "FilmScore", "Scorer", "TrackScore", "Watch", "draw", "failed_row", "find_films", "key",
    "means", "read_table", "rows", "score_films", "speakers", "writable", "write_table",
]  # fmt: skip
