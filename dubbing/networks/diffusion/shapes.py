"""Sizes of networks, read off the tensors of their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

__all__ = ["groups_of", "widths"]

_GROUPS, _FEWER = 32, 8


def widths(state: Mapping[str, Tensor], key: str) -> list[int]:
    """First sizes of the tensors that `key`, with 0, 1, ... for its {}, names, as far as there are any."""
    found: list[int] = []
    while (value := state.get(key.format(len(found)))) is not None and value.ndim:
        found.append(int(value.shape[0]))
    return found


def groups_of(channels: Sequence[int]) -> int:
    """How many groups a norm has, which no tensor says: 32, as published, or 8 where that does not divide them."""
    return _FEWER if any(c % _GROUPS for c in channels) else _GROUPS
