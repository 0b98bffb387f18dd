"""The evaluation of generators: how good their mouths are on footage with its own sound, in numbers and pictures.

    with Evaluation(out, Options(...)) as evaluation:
        rows = evaluation.run(clips, ...)        every clip and measure; what is done already is read
    write_table(store, path, rows)               schema dub.eval.1, one row per number
    page(rows, ...)                              one self-contained HTML page

`docs/eval.md` says what each number is. It makes no master and knows no command line.
"""

from dubbing.evaluate.clips import Clip, find_clips, voices_named
from dubbing.evaluate.evaluation import MEASURES, Evaluation, Options, measures_named
from dubbing.evaluate.measurements import SCHEMA, read_table, summary, write_table
from dubbing.evaluate.page import page

__all__ = [
    "MEASURES", "SCHEMA", "Clip", "Evaluation", "Options", "find_clips", "measures_named", "page", "read_table",
    "summary", "voices_named", "write_table",
]  # fmt: skip
