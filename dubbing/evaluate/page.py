"""The page of an evaluation: tables, plots and contact sheets, in one file that needs nothing else.

It reads rows, and the pictures that measures left beside their results. It knows no measure.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing.errors import several
from dubbing.evaluate.goals import goals
from dubbing.evaluate.measurements import (
    COLUMNS,
    LANGUAGE_NAMES,
    absent,
    by_clip,
    by_generator,
    languages,
    measured_beside,
    median_of,
    side_by_side,
)
from dubbing.evaluate.speakers import of_speakers
from dubbing.evaluate.yardstick import confidence
from dubbing.review.look import style

__all__ = ["page"]

_DPI = 80
_MOST_SHEETS = 3  # of one clip and kind
_SHEET_PX, _SHEET_QUALITY = 1440, 82
_SHEETS = {
    "rendering": "true shapes, from frames half a second away",
    "resynthesis": "its own sound",
    "dub": "another sound",
    "languages": "a still, another sound",
}


def page(rows: Sequence[Mapping[str, Any]], root: Path, title: str = "dub eval") -> str:
    """HTML of one evaluation. root: its folder, in which the pictures lie under <clip>/eval/<group>-<key>/."""
    clips = list(dict.fromkeys(r["clip"] for r in rows))
    hashes = sorted({f"{r['generator']}@{r['generator_hash']}" for r in rows if r.get("generator")})
    parts = [
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(', '.join(hashes))}; {several(len(clips), 'clip')}. "
        "docs/eval.md says what the numbers are.</p>"
    ]
    generators = by_generator(rows)
    if len(generators) > 1:
        parts.append(_side_by_side(rows))
    for name, held in generators.items():
        parts += [f"<h2>{escape(name)}</h2>"] if len(generators) > 1 else []
        parts += [_goals(held), _clips(held, clips), _languages(held), _speakers(held), _bars(held, clips)]
    if missing := absent(rows):
        parts.append("<h2>Not measured</h2><ul>" + "".join(f"<li>{escape(m)}</li>" for m in missing) + "</ul>")
    keys = {r["key"] for r in rows if r.get("key")}
    for clip in clips:
        parts.append(f"<h2>{escape(clip)}</h2>")
        folders = sorted(f for f in (root / clip / "eval").glob("*-*") if f.name.rsplit("-", 1)[-1] in keys)
        parts += [_curves(p) for f in folders for p in sorted(f.glob("curves_*.npz"))]
        for group, caption in _SHEETS.items():
            sheets = [p for f in folders if f.name.startswith(group) for p in sorted(f.rglob("sheet*.jpg"))]
            parts += [_sheet(p, caption) for p in sheets[: max(_MOST_SHEETS, len(generators))]]
        hard = [p for f in folders for p in sorted(f.rglob("hard_*.jpg"))]
        parts += [_sheet(p, "the moments in which mouths most often look wrong") for p in hard[:_MOST_SHEETS]]
    body = "\n".join(p for p in parts if p)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style()}</style></head><body><main>{body}</main></body></html>\n"
    )


def _table(head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
    """The first column is what a line is about, and stands at the left."""
    top = "".join(f"<th{' class=n' * bool(n)}>{escape(h)}</th>" for n, h in enumerate(head))
    lines = (
        f'<tr><th scope="row">{line[0]}</th>' + "".join(f'<td class="n">{cell}</td>' for cell in line[1:]) + "</tr>"
        for line in body
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _number(value: float | None, digits: int = 2) -> str:
    return "&ndash;" if value is None else f"{value:.{digits}f}"


def _between(low_high: tuple[float, float] | None, digits: int) -> str:
    return "" if low_high is None else f"{low_high[0]:.{digits}f} to {low_high[1]:.{digits}f}"


def _goals(rows: Sequence[Mapping[str, Any]]) -> str:
    body = []
    for g in goals(rows):
        if g.value is not None:
            word, css = ("yes", "good") if g.met else ("no", "bad")
            cells = (
                escape(g.what),
                escape(g.measured),
                escape(g.wanted),
                f'<span class="tag {css}">{word}</span>',
            )
            body.append((*cells, escape(g.over)))
    return _table(("", "measured [95 %]", "goal", "met", "over"), body) if body else ""


def _side_by_side(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = side_by_side(rows)
    columns = measured_beside(lines)
    body = [
        (escape(line["generator"]), str(line["clips"]), *(_number(line[label], digits) for label, digits in columns))
        for line in lines
    ]
    return _table(("generator", "clips", *(label for label, _ in columns)), body)


def _clips(rows: Sequence[Mapping[str, Any]], clips: Sequence[str]) -> str:
    columns = [(label, by_clip(rows, measure, name), digits) for label, measure, name, digits in COLUMNS]
    columns = [c for c in columns if c[1]]
    if not columns:
        return ""
    seen = {r["clip"] for r in rows if r.get("seen")}
    body = [
        (escape(clip) + (" +" if clip in seen else ""), *(_number(values.get(clip), d) for _, values, d in columns))
        for clip in clips
    ]
    body.append(("median", *(_number(median_of(values.values()), d) for _, values, d in columns)))
    sure = [confidence(list(values.values()), median_of) for _, values, _ in columns]
    body.append(("95 %", *(_between(low_high, d) for low_high, (_, _, d) in zip(sure, columns, strict=True))))
    note = "<p class='soft'>+ the shipped prior and sync expert were trained on this clip</p>" if seen else ""
    return _table(("clip", *(label for label, _, _ in columns)), body) + note


def _languages(rows: Sequence[Mapping[str, Any]]) -> str:
    body = [
        (escape(x["language"]), x["input"], str(x["clips"]), *(_number(x[n]) for n in LANGUAGE_NAMES))
        for x in languages(rows)
    ]
    if not body:
        return ""
    head = ("language", "input", "clips", "LSE-D", "LSE-C", "offset", "recovery", "follows", "sharp", "silence")
    return "<h2>Languages</h2>" + _table(head, body)


def _speakers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every speaker's held-out correlations as dots, the median over speakers and its 95 % interval beside them."""
    series = [
        (label, list(of_speakers(rows, "hearing", name).values()))
        for label, name in (
            ("prior, opening", "prior_opening_corr"), ("fitted, opening", "fitted_opening_corr"),
            ("prior, width", "prior_width_corr"), ("fitted, width", "fitted_width_corr"),
            ("prior, protrusion", "prior_protrusion_corr"), ("fitted, protrusion", "fitted_protrusion_corr"),
        )
    ]  # fmt: skip
    if len(series[0][1]) < 2:
        return ""
    figure, axes = _figure(8.0, 2.6)
    for n, (_, values) in enumerate(series):
        axes.plot([n + 0.12] * len(values), values, "o", markersize=4, alpha=0.5, color=f"C{n % 2}")
        middle, between = median_of(values), confidence(values, median_of)
        if middle is not None and between is not None:
            low, high = between
            axes.errorbar([n - 0.12], [middle], [[middle - low], [high - middle]], fmt="s", capsize=3, color="k")
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(series)), [label for label, _ in series], fontsize="small")
    axes.set_title(f"{len(series[0][1])} speakers: correlation, median over blocks; black: median, 95 %", loc="left",
                   fontsize="small")  # fmt: skip
    return _picture(figure)


def _bars(rows: Sequence[Mapping[str, Any]], clips: Sequence[str]) -> str:
    """Correlations of every clip, and PSNR of the result beside the mean face and a random frame."""
    groups = (
        ("opening, held-out correlation", [("fitted", "hearing", "fitted_opening_corr"),
                                           ("prior", "hearing", "prior_opening_corr"),
                                           ("ridge", "hearing", "ridge_opening_corr")]),
        ("mouth, PSNR in dB", [("result", "rendering", "psnr_db"), ("mean face", "rendering", "mean_psnr_db"),
                               ("frame by lot", "rendering", "random_psnr_db")]),
    )  # fmt: skip
    made = []
    for title, series in groups:
        values = {label: by_clip(rows, measure, name) for label, measure, name in series}
        if not any(values.values()):
            continue
        figure, axes = _figure(max(5.0, 1.1 * len(clips)), 3.0)
        for n, (label, found) in enumerate(values.items()):
            at = np.arange(len(clips)) + (n - 1) * 0.27
            axes.bar(at, [found.get(c, 0.0) for c in clips], 0.25, label=label)
        axes.set_xticks(range(len(clips)), [c[:16] for c in clips], rotation=30, ha="right", fontsize="small")
        axes.set_title(title, loc="left", fontsize="small")
        axes.legend(fontsize="x-small")
        made.append(_picture(figure))
    return "".join(made)


def _curves(path: Path) -> str:
    """Predicted and true opening over time; a line stands where a block begins."""
    with np.load(path) as data:
        times_s = data["times_s"]
        figure, axes = _figure(11.0, 2.4)
        for name, style in (("true", "k-"), ("fitted", "C0-"), ("prior", "C1:")):
            axes.plot(times_s, data[name], style, linewidth=1.1, label=name)
        for edge_s in data["edges_s"]:
            axes.axvline(float(edge_s), color="0.85", zorder=0)
        told = f"{data['track']}: opening in inter-ocular distances, each block by a fit on the others"
        axes.set_title(told, loc="left", fontsize="small", parse_math=False)
        axes.legend(fontsize="x-small")
        axes.set_xlabel("s", fontsize="small")
    return _picture(figure)


def _figure(width_in: float, height_in: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _picture(figure: Any) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure class="chart"><img class="plot" alt="" src="data:image/png;base64,{data}"></figure>'


def _sheet(path: Path, caption: str) -> str:
    picture = cv2.imread(str(path))
    if picture is None:
        return ""
    scale = min(1.0, _SHEET_PX / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _SHEET_QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    return (
        f'<figure class="chart"><img alt="" loading="lazy" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{escape(caption)}: source, result, and both mouths enlarged</figcaption></figure>"
    )
