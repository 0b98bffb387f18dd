"""Published models that other packages add: what their generators and sync experts say they need.

A model of this project that they use too does not count as added. A package is imported only to ask it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dubbing import plugins
from dubbing.errors import PluginError
from dubbing.models.entries import Model

__all__ = ["Added", "added"]


class Added(NamedTuple):
    """models: in the order of their packages' names; problems: one error for each package that could not be asked."""

    models: tuple[Model, ...]
    problems: tuple[PluginError, ...]


def added(known: Sequence[Model]) -> Added:
    """The models of all other packages' generators and experts. known: models that nobody may replace.

    A package that names another model or file by a name that is taken is a problem, and its model is left out.
    """
    found: dict[str, tuple[Model, str]] = {m.name: (m, plugins.OWN) for m in known}
    problems: list[PluginError] = []
    for group in (plugins.GENERATORS, plugins.EXPERTS):
        classes, broken = plugins.loaded(group, plugins.others(group))
        problems += broken
        for name, kind in classes.items():
            package = plugins.find(group, name).package
            for model in getattr(kind, "published", ()):
                taken = next((o for o in found.values() if model.name == o[0].name or model.file == o[0].file), None)
                if taken is None:
                    found[model.name] = (model, package)
                elif taken[0] != model:
                    problems.append(PluginError(
                        f"The package {package} names a model {model.name!r} ({model.file}), but {taken[0].name!r} "
                        f"({taken[0].file}) of the package {taken[1]} is another; rename one of them."
                    ))  # fmt: skip
    ours = {m.name for m in known}
    return Added(tuple(m for m, _ in found.values() if m.name not in ours), tuple(problems))
