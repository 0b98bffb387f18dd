"""`dub report`: tables over finished runs. Thin: `dubbing.api` compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import PLACE, json_option
from dubbing.cli.say import echo
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing.api.by_language import LanguageScores

__all__ = ["report"]

_NOTE = (
    "means over faces; offset: the median without its sign, in 25ths of a second; within 1: part of the faces; "
    "LipLeak: motion of the mouth while the dub is silent, over the original's in speech; sharp: 1 = the original's"
)


@click.group(
    short_help="Compare what runs have made, in tables.",
    epilog="""\b
Examples:
  dub report languages out
  dub report languages out-hi out-ta --markdown""",
)
def report() -> None:
    """Compare what runs have made, in tables for a terminal, a program or a paper."""


@report.command(
    short_help="Compare languages, for films and photographs.",
    epilog="""\b
Examples:
  dub report languages out
  dub report languages out-hi out-ta out-te --markdown > table.md
  dub report languages out --csv > languages.csv
  dub report languages out --json | jq '.languages[] | {language, source, lse_d, lip_leak}'

Numbers of other generators or sync experts have lines of their own. docs/cli.md says what each column is.""",
)
@click.argument("outs", nargs=-1, required=True, type=PLACE, metavar="OUT...")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="The table as CSV on stdout, every column.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table as Markdown on stdout.")
@click.option("--latex", "as_latex", is_flag=True, help="The table as LaTeX (booktabs) on stdout.")
def languages(
    outs: tuple[Path | Uri, ...], as_json: bool, as_csv: bool, as_markdown: bool, as_latex: bool
) -> None:  # fmt: skip
    """LSE-D, LSE-C, offset, lip leakage and sharpness by language, of films and of photographs apart. OUT is a run's
    --out; several are taken together."""
    from dubbing.api.by_language import by_language
    from dubbing.cli import show

    if as_json + as_csv + as_markdown + as_latex > 1:
        raise click.UsageError("--json, --csv, --markdown and --latex exclude each other; give one.")
    found = by_language([str(out) for out in outs])
    plain = [asdict(line) for line in found]
    if as_json:
        return show.as_json({"schema": "dub.languages.1", "languages": plain})
    if as_csv:
        return show.as_csv(list(plain[0]), [[*line.values()] for line in plain])
    head, body = _columns(found)
    models = ", ".join(dict.fromkeys(line.model or "not scored" for line in found))
    if as_latex:
        echo(show.latex(head, [["--" if v is None else v for v in row] for row in body], f"by {models}; {_NOTE}"))
    elif as_markdown:
        echo(show.markdown(head, body))
    else:
        echo(f"{show.table(head, body)}\n\nby {models}; {_NOTE}")


def _columns(found: Sequence[LanguageScores]) -> tuple[list[str], list[list[Any]]]:
    """The table for people: what rendered and what measured stand in it where there are several."""
    from dubbing.cli.show import number

    named: dict[str, Callable[[LanguageScores], Any]] = {"language": lambda x: x.language, "source": lambda x: x.source}
    if len({x.generator for x in found}) > 1:
        named["generator"] = lambda x: x.generator
    if len({x.model for x in found}) > 1:
        named["by"] = lambda x: x.model
    named |= {
        "shots": lambda x: x.shots, "faces": lambda x: x.faces, "seconds": lambda x: number(x.seconds, 1),
        "LSE-D": lambda x: number(x.lse_d), "original": lambda x: number(x.source_lse_d),
        "LSE-C": lambda x: number(x.lse_c), "its original": lambda x: number(x.source_lse_c),
        "offset": lambda x: number(x.offset_frames, 1),
        "within 1": lambda x: None if x.within_one is None else f"{100 * x.within_one:.0f} %",
        "LipLeak": lambda x: number(x.lip_leak), "sharp": lambda x: number(x.sharpness),
    }  # fmt: skip
    return list(named), [[value(line) for value in named.values()] for line in found]
