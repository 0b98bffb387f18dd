"""A flame graph as SVG: what was called by what, as wide as the time it took, widest first.

Of sampled stacks; for `bench.cost`. What is narrower than a five-hundredth of the whole is left out.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

__all__ = ["draw"]

WIDTH, ROW, LEAST = 1200.0, 16.0, 1 / 500


def draw(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """The picture. stacks: weights (microseconds) by stack, the outermost call first."""
    whole = sum(stacks.values()) or 1
    boxes = list(_boxes(stacks, 0.0, 0, whole))
    deep = max((row for _, _, row, _ in boxes), default=0)
    height = (deep + 2) * ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="10">',
        f'<text x="4" y="11">{escape(title)}: {whole / 1e6:.0f} s</text>',
    ]
    for name, left, row, weight in boxes:
        wide = WIDTH * weight / whole
        red, green = 205 + zlib.crc32(name.encode()) % 50, 90 + zlib.crc32(name[::-1].encode()) % 120
        told = f"{name}: {weight / 1e6:.2f} s, {weight / whole:.1%}"
        shown = name.rpartition(":")[2] or name
        letters = int(wide / 5.6)
        lines.append(
            f'<g><title>{escape(told)}</title><rect x="{left * WIDTH:.1f}" y="{(row + 1) * ROW:.0f}" '
            f'width="{wide:.1f}" height="{ROW - 1:.0f}" fill="rgb({red},{green},60)"/>'
        )
        if letters > 2:
            lines.append(
                f'<text x="{left * WIDTH + 2:.1f}" y="{(row + 1) * ROW + 11:.0f}">{escape(shown[:letters])}</text>'
            )
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _boxes(
    stacks: Mapping[tuple[str, ...], int], left: float, row: int, whole: int
) -> Iterator[tuple[str, float, int, int]]:
    """Name, left edge 0..1, row and weight of every call, those inside it after it."""
    weights: Counter[str] = Counter()
    for stack, weight in stacks.items():
        if len(stack) > row:
            weights[stack[row]] += weight
    for name, weight in weights.most_common():
        if weight < LEAST * whole:
            continue
        yield name, left, row, weight
        inner = {stack: n for stack, n in stacks.items() if len(stack) > row and stack[row] == name}
        yield from _boxes(inner, left, row + 1, whole)
        left += weight / whole
