"""The manifest's generators, looked at before a run: that each can be used, what each will render, and that conditions
name shots and characters that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dubbing import device
from dubbing.analysis.asked import ShownFilm
from dubbing.config import Config
from dubbing.document import nearest
from dubbing.errors import ManifestError
from dubbing.manifest import BestOf, GeneratorChoice, Manifest, Rule
from dubbing.manifest.generator import located, when_of
from dubbing.preflight.characters import named_by_reviewers
from dubbing.rendered_by import needs_faces, ranges_of
from dubbing.store import Store

__all__ = ["conditions_fit", "devices_of", "look_at_generators", "said_of_generators"]


def look_at_generators(manifest: Manifest, config: Config, store: Store, attempt: Callable[..., Any]) -> str | None:
    """`rewrite@hash12`, of each generator that is named; None where one cannot be used. attempt: keeps what is wrong,
    with its place in the manifest."""
    found = []
    for at, choice in located(manifest.generator):
        found.append(attempt(("generator", *at), (), _usable, choice, config))
        if found[-1] is not None:
            attempt(("generator", *at), (), _learnt_fits, choice, manifest, config, store)
    attempt(("generator",), (), _comparable, manifest, config)
    return None if None in found else ", ".join(found)


def _usable(choice: GeneratorChoice, config: Config) -> str:
    """Raises PluginError for an unknown name, ManifestError for a setting, ModelError for missing weights."""
    from dubbing.generators import create

    generator = create(choice.name, choice.settings, config.models.folder, device="cpu")
    if config.quality == "draft" and choice.settings.get("gpu"):  # a draft asks for no GPU, and needs no room on one
        create(choice.name, {**choice.settings, "gpu": False}, config.models.folder, device="cpu").check()
    else:
        generator.check()
    return f"{generator.name}@{generator.hash}"


def _learnt_fits(choice: GeneratorChoice, manifest: Manifest, config: Config, store: Store) -> None:
    """Raises ModelError where what was fine-tuned on a title belongs to another checkpoint than is to render it."""
    from dubbing.generators import adapters, create, find

    if adapters.KEY not in find(choice.name).Settings.model_fields or not adapters.asks(choice.settings):
        return
    for title in manifest.titles:
        own = adapters.of_title(store.analysis(title.id).parent, choice.name)
        if own.is_file():
            generator: Any = create(choice.name, choice.settings, config.models.folder, device="cpu")
            adapters.pairs_of(own, generator.contents["model"])


def _comparable(manifest: Manifest, config: Config) -> None:
    """Raises ManifestError where takes are to be compared, and not measured."""
    if not config.sync.score and any(isinstance(rule, BestOf) for rule in manifest.rules):
        raise ManifestError(
            "'best_of' compares takes by their scores, and `sync: {score: false}` of the config takes none; name one "
            "generator, or have takes measured."
        )


def devices_of(manifest: Manifest, config: Config) -> str:
    """Where generators will run on this machine: `rewrite on cpu, wav2lip on cuda (NVIDIA H200)`."""
    from dubbing import generators

    draft = config.quality == "draft"
    places = (
        (one.name, generators.default_device(generators.find(one.name), one.settings, draft=draft))
        for one in manifest.generators
    )
    return ", ".join(f"{name} on {device.described(place)}" for name, place in dict.fromkeys(places))


def said_of_generators(manifest: Manifest) -> list[str]:
    """Which generator will render what, as far as that is known before the faces are; nothing where there is one."""
    rules = manifest.rules
    if not needs_faces(rules):
        return []
    found = []
    others = "all other faces" if len(rules) > 1 else "all faces"
    if len(rules) > 1:
        parts = [f"{_name(rule)} renders {when_of(rule) or 'all others'}" for rule in rules]
        found.append(f"Generators: {'; '.join(parts)}. The first that fits a face renders it.")
    for rule in rules:
        if isinstance(rule, BestOf):
            found.append(
                f"Of {', '.join(map(_told, rule.of))} each renders {when_of(rule) or others}: "
                f"{len(rule.of)} takes a shot, of which the best by {rule.by} is delivered, and the others are kept."
            )
    return found


def _name(rule: Rule) -> str:
    return f"the best of {', '.join(map(_told, rule.of))}" if isinstance(rule, BestOf) else _told(rule)


def _told(choice: GeneratorChoice) -> str:
    return " ".join([choice.name, *(f"{k}={v}" for k, v in choice.settings.items())])


def conditions_fit(manifest: Manifest, films: Sequence[ShownFilm], store: Store) -> None:
    """Raises ManifestError where a condition names a part that no film has, or a character whom nobody knows. films: of
    the titles."""
    known: set[str] | None = None
    for n, rule in enumerate(manifest.rules):
        wrong = []
        for film in films:
            try:
                ranges_of(rule, n, film, strict=True)
            except ManifestError as e:
                wrong.append(type(e)(str(e), at=e.at[1:]))
        if wrong and len(wrong) == len(films):
            raise wrong[0]
        when = when_of(rule)
        for k, name in enumerate((when and when.characters) or ()):
            known = _characters(manifest, store) if known is None else known
            if name not in known and not any(dub.lines for title in manifest.titles for dub in title.dubs):
                raise ManifestError(
                    f"{name!r} is no character of a title{nearest(name, known) or '.'} There is: "
                    f"{', '.join(sorted(known)) or 'none'}; write a name of 'cast'.",
                    at=(n, "when", "characters", k),
                )


def _characters(manifest: Manifest, store: Store) -> set[str]:
    """The characters of all titles: of the cast, of stems, and whom reviewers named."""
    found: set[str] = set()
    for title in manifest.titles:
        found |= {*(title.cast or {}), *(name for dub in title.dubs for name in dub.stems or {})}
        found |= named_by_reviewers(title, store)
    return found
