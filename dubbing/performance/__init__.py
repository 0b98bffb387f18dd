"""How a photographed face performs beside its mouth: head, lids and brows, drawn from the sound.

Rooms, one subject each: `speech` (how loud, where stressed, where phrases end), `motion` (the head's pose over time),
`blinks` (when lids fall, and how they look), `brows` (when they rise, and the bend that raises them), `head` (the
map that moves head, hair and neck), `acts` (all of these for one dub), `performed` (laid over rendered mouths). None of
them knows how a mouth is rendered, a shot or a file of a run.
"""

from __future__ import annotations

__all__: list[str] = []
