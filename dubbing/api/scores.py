"""Measure from Python how well the lips of any film fit its sound: what `dub score` does, without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dubbing import experts, media
from dubbing.api.jobs import settings_of
from dubbing.api.tables import to_pandas
from dubbing.config import Config
from dubbing.errors import DubError, InputError, several
from dubbing.scoring import SCHEMA, Watch, draw, find_films, means, score_films, speakers, writable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Scores", "Watch", "score"]


@dataclass(frozen=True)
class Scores:
    """What was measured, one row per face of every shot, schema `dub.score.1`.

    model: of the sync expert, `name@hash12`; films: how many were asked for; rows: column -> value, with lse_d (lower
    is better), lse_c (higher is better), lse_offset_frames (25ths of a second, positive when the sound is early) and
    the curves; where nothing was measured `reason` says why; errors: film -> why it could not be scored, of many films
    only.
    """

    model: str
    films: int
    rows: tuple[Mapping[str, Any], ...]
    errors: Mapping[str, DubError] = field(default_factory=dict)

    @property
    def table(self) -> pa.Table:
        """The rows as an Arrow table."""
        return pa.Table.from_pylist([dict(r) for r in self.rows], SCHEMA)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a DataFrame. Raises InputError where pandas is not installed."""
        return to_pandas(self.table)

    @property
    def by_speaker(self) -> list[dict[str, Any]]:
        """Mean and sample standard deviation of LSE-D and LSE-C over each speaker's faces, and over all.

        A speaker is the first folder below the one that all films share, or the film where they share one. Keys:
        speaker (the last is `all`), count, lse_d_mean, lse_d_std, lse_c_mean, lse_c_std; a deviation is None of fewer
        than two faces.
        """
        whose = speakers(r["video"] for r in self.rows)
        return means([{**r, "speaker": whose[r["video"]]} for r in self.rows], ("lse_d", "lse_c"))

    @property
    def exit_code(self) -> int:
        """What `dub score` ends with: 0; 1 where some films could not be scored; 2 where none could."""
        if not self.errors:
            return 0
        return InputError.exit_code if len(self.errors) == self.films else DubError.exit_code


def score(
    videos: Path | str | Sequence[Path | str], *, audio: Path | str | None = None, model: str = "lips",
    config: Config | Path | str | None = None, out: Path | str | None = None, plot: Path | str | None = None,
    watch: Watch | None = None,
) -> Scores:  # fmt: skip
    """Measure lips against sound for every face of every shot of any film, whoever made it.

    videos: a film, a folder of films, or several of either; of several films one that cannot be scored costs its own
    row only. audio: another sound instead of the film's own, of one film; model: the sync expert; config: settings or a
    file of them, of which only the models' folder counts; out: a Parquet file that gets the rows, film by film; what is
    in it already is not measured again; plot: a PNG file that gets the curves; watch: told what happens meanwhile.

    Raises MediaError (no such file, no picture, no sound, nothing loud enough), ModelError (the expert's weights are
    not here), OutputError (out or plot cannot be written), InputError (audio with several films).
    """
    given = [Path(v) for v in ([videos] if isinstance(videos, str | Path) else videos)]
    sound, table, picture = (None if p is None else Path(p) for p in (audio, out, plot))
    watch = watch or Watch()
    films = list(find_films(given))
    many = len(films) > 1 or any(v.is_dir() for v in given)
    if sound is not None and many:
        raise InputError(f"Another sound goes with one film; found {several(len(films), 'film')}.")
    if sound is not None:
        media.probe(sound)
    for path in (picture, table):
        writable(path)
    expert = experts.load(model, settings_of(config).models.folder)
    rows, errors = score_films(films, sound, expert, table, watch, keep_going=many)
    if picture is not None:
        drawn, scored = draw(picture, rows), sum(r["distance"] is not None for r in rows)
        if drawn < scored:
            watch.note(f"{picture} shows the {drawn} longest of {scored} tracks.")
    return Scores(experts.model_name(expert), len(films), tuple(rows), errors)
