"""Distributions of scores as inline SVG: the takes' above the line, the original performance's below it.

Which is which is told by place and by words, never by colour alone. Pictures take their colours from the page
(`--take`, `--source`, `--ink`, `--faint`). Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import median

import numpy as np

__all__ = ["distribution", "edges"]

_BINS = 18
_WIDTH, _HALF = 440, 70  # px of the drawing, of one side
_LEFT, _TOP, _BOTTOM = 8, 20, 34


def edges(values: Sequence[float], bins: int = _BINS) -> np.ndarray:
    """Round edges of bins that hold all values, float (B + 1,): the same for all charts of one score."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    rough = max((high - low) / bins, 1e-3)
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(size * k for k in (1, 2, 2.5, 5, 10) if size * k >= rough * 0.999)
    first = np.floor(low / step) * step
    return np.asarray(first + step * np.arange(int(np.floor((high - first) / step)) + 2))


def distribution(name: str, take: Sequence[float], source: Sequence[float], bins: np.ndarray) -> str:
    """An SVG of how many shots have which score; name: of the score, with what is better."""
    up, down = (np.histogram(v, bins)[0] for v in (take, source))
    most = max(int(up.max(initial=0)), int(down.max(initial=0)), 1)
    step = (_WIDTH - 2 * _LEFT) / (len(bins) - 1)
    middle = _TOP + _HALF
    parts, counts = [], []
    for n, (a, b) in enumerate(zip(up, down, strict=True)):
        x, w = _LEFT + n * step + 1, step - 2
        for count, css, sign in ((a, "take", -1), (b, "source", 1)):
            if count:
                h = count / most * (_HALF - 26)
                y = middle - h if sign < 0 else middle
                span = f"{bins[n]:g} to {bins[n + 1]:g}: {count} {_shots(count)}"
                parts.append(f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="1.5">'
                             f"<title>{'take' if sign < 0 else 'original'}, {span}</title></rect>")  # fmt: skip
                at = y - 3 if sign < 0 else y + h + 10
                counts.append(
                    f'<text class="count" x="{x + w / 2:.1f}" y="{at:.1f}" text-anchor="middle">{count}</text>'
                )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{middle}" y2="{middle}"/>')
    for values, word, sign in ((take, "takes", -1), (source, "original", 1)):
        if values:
            parts.append(_median(values, word, sign, bins, step))
    parts += counts  # over the medians' lines
    every = max(1, round((len(bins) - 1) / 6))
    for n in range(0, len(bins), every):
        x, at = _LEFT + n * step, middle + _HALF + 28
        anchor = "start" if n == 0 else "end" if n == len(bins) - 1 else "middle"
        parts.append(f'<text class="tick" x="{x:.1f}" y="{at}" text-anchor="{anchor}">{bins[n]:g}</text>')
    height = _TOP + 2 * _HALF + _BOTTOM
    return (f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(_told(name, take, source))}">'
            + "".join(parts) + "</svg>")  # fmt: skip


def _median(values: Sequence[float], word: str, sign: int, bins: np.ndarray, step: float) -> str:
    value = median(values)
    x = _LEFT + (value - bins[0]) / (bins[1] - bins[0]) * step
    middle = _TOP + _HALF
    end = middle + sign * _HALF
    text_y = end + (2 if sign < 0 else 6)
    css, anchor, at = "take" if sign < 0 else "source", "start", x + 4
    if x > _WIDTH * 0.62:
        anchor, at = "end", x - 4
    return (f'<line class="median {css}" x1="{x:.1f}" x2="{x:.1f}" y1="{middle}" y2="{end}"/>'
            f'<text class="label" x="{at:.1f}" y="{text_y}" text-anchor="{anchor}">'
            f"{word}, median {value:.2f}</text>")  # fmt: skip


def _told(name: str, take: Sequence[float], source: Sequence[float]) -> str:
    """The same for those who do not see it."""
    said = []
    for values, word in ((take, "takes"), (source, "the original")):
        said.append(f"{word}: {len(values)} {_shots(len(values))}, from {min(values):.2f} to {max(values):.2f}, median "
                    f"{median(values):.2f}" if values else f"{word}: not measured")  # fmt: skip
    return f"{name}; " + "; ".join(said)


def _shots(count: int) -> str:
    return "shot" if count == 1 else "shots"
