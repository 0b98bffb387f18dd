"""What a result depends on: every field of every stage's inputs counts, or says why it does not."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from films import Finished
from pydantic import BaseModel

from dubbing import config, manifest
from dubbing.artifact import Artifact, File, Ref
from dubbing.artifacts.sound import SourceSound
from dubbing.dataset.clip import CutClip
from dubbing.dataset.titles import CutTitle
from dubbing.errors import OutputError
from dubbing.job import Job
from dubbing.master_choice import MasterChoice
from dubbing.pipeline import PIPELINE
from dubbing.stage import Stage
from dubbing.stages.sync import SyncInputs
from dubbing.task import Inputs, Task, Windowed

STAGES: list[type[Stage[Any, Any]]] = [*PIPELINE, CutClip, CutTitle]
FIELDS = [(stage, f.name) for stage in STAGES for f in fields(stage.Inputs)]


def sample(hint: Any, n: int) -> Any:
    """A value of a type; another for another n."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return sample(next(a for a in args if a is not NoneType), n)
    if hint is File:
        return File(Path(f"/film-{n}.mp4"), f"content {n}")
    if origin is Ref or hint is Ref:
        kind = args[0] if args and isinstance(args[0], type) else Artifact
        return Ref(kind, f"task {n}", f"key {n}", Path(f"/result-{n}"))
    if origin is Literal:
        return args[n % len(args)]
    if origin is tuple:
        return tuple(sample(a, n) for a in args if a is not Ellipsis)
    if origin is not None and issubclass(origin, Mapping):
        return {sample(args[0], n): sample(args[1], n)}
    if hint in (bool, int, float, str):
        return {bool: bool(n % 2), int: n, float: n + 0.5, str: f"text {n}"}[hint]
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{f.name: sample(hints[f.name], n) for f in fields(hint)})
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return MasterChoice(crf=n)
    if hint is Any:
        return n
    raise AssertionError(f"no sample of {hint}")


def inputs_of(stage: type[Stage[Any, Any]]) -> Inputs:
    made: Inputs = sample(stage.Inputs, 1)
    return made


@pytest.mark.parametrize(("stage", "name"), FIELDS, ids=lambda v: v if isinstance(v, str) else v.name)
def test_a_changed_input_changes_the_key_unless_it_says_why_not(stage: type[Stage[Any, Any]], name: str) -> None:
    before = inputs_of(stage)
    field = next(f for f in fields(before) if f.name == name)
    after = replace(before, **{name: sample(get_type_hints(stage.Inputs)[name], 2)})
    assert getattr(after, name) != getattr(before, name)
    why = field.metadata.get("uncounted")
    assert (stage.key(after) == stage.key(before)) == (why is not None)
    assert why is None or len(why.split()) >= 4, "the reason is a sentence"


def test_a_new_optional_input_changes_no_key() -> None:
    for stage in STAGES:
        for f in fields(stage.Inputs):
            if f.default is None:
                assert f.name not in replace(inputs_of(stage), **{f.name: None}).counted()


def test_a_version_and_another_stage_change_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {stage.key(inputs_of(stage)) for stage in STAGES}
    assert len(keys) == len(STAGES)
    monkeypatch.setattr(PIPELINE[0], "version", PIPELINE[0].version + 1)
    assert PIPELINE[0].key(inputs_of(PIPELINE[0])) not in keys


def test_paths_change_no_key() -> None:
    for stage in STAGES:
        before = inputs_of(stage)
        moved = {
            f.name: replace(v, path=Path("/elsewhere"))
            for f in fields(before)
            if isinstance(v := getattr(before, f.name), File)
        }
        assert stage.key(replace(before, **moved)) == stage.key(before)


def test_a_task_waits_for_what_its_inputs_refer_to() -> None:
    for stage in STAGES:
        made = inputs_of(stage)
        refs = {f.name for f in fields(made) if "Ref[" in str(f.type)}
        assert bool(refs) == bool({*made.needs, *made.after})
        assert not isinstance(made, Windowed) or made.parts is None or made.needs


def documented(cls: type) -> set[str]:
    """The fields of a class that are followed by a docstring, those of its bases included."""
    found: set[str] = set()
    for one in cls.__mro__:
        if not is_dataclass(one) or one.__module__ == "builtins":
            continue
        (node,) = ast.parse(inspect.cleandoc(inspect.getsource(one))).body
        assert isinstance(node, ast.ClassDef)
        for statement, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
                found |= {ast.unparse(statement.target)} if isinstance(after.value, ast.Constant) else set()
    return found


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s.name)
def test_every_field_says_what_it_is(stage: type[Stage[Any, Any]]) -> None:
    for cls in (stage.Inputs, stage.Result):
        assert {f.name for f in fields(cls)} <= documented(cls), cls.__name__
        assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s.name)
def test_a_result_is_read_back_as_it_was_written(stage: type[Stage[Any, Any]]) -> None:
    made: Artifact = sample(stage.Result, 3)
    kept_beside = {"schema", "seconds", "cpu_s", "key", "files"}  # `execute` and a store at a URI write these
    assert not kept_beside & {f.name for f in fields(made)}
    assert stage.Result.of(made.to_dict()) == made
    with pytest.raises(OutputError, match="another version"):
        stage.Result.of({**made.to_dict(), "schema": "dub.other.9"})
    name = fields(made)[0].name
    with pytest.raises(OutputError, match=f"damaged at '{name}"):
        stage.Result.of({**made.to_dict(), name: {"no": ["such"]}})


def test_stages_import_no_stage() -> None:
    for path in Path(inspect.getfile(PIPELINE[0])).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not [n for n in names if n.startswith("dubbing.stages")], path.name


def test_a_stage_needs_only_results_of_those_before_it() -> None:
    made: list[type] = []
    for stage in PIPELINE:
        for name, hint in get_type_hints(stage.Inputs).items():
            for kind in refs_in(hint):
                assert name == "parts" or kind in made, f"{stage.name} needs {kind.__name__} before it is made"
        made.append(stage.Result)


def refs_in(hint: Any) -> list[type]:
    if get_origin(hint) is Ref:
        return [a for a in get_args(hint) if isinstance(a, type)]
    return [kind for a in get_args(hint) for kind in refs_in(a)]


def planned(finished: Finished) -> dict[str, Task]:
    job = Job(manifest.load(finished.film), finished.out, config.Config())
    return {t.id: t for t in job.tasks() if t.language is None or t.language == "hi"}


def test_scores_depend_on_the_originals_sound_near_the_shot(finished: Finished) -> None:
    tasks = planned(finished)
    (sound,) = (t for t in tasks.values() if t.kind.Result is SourceSound)
    keys = SourceSound.read(sound.folder).shot_keys
    inputs = [t.inputs for t in tasks.values() if isinstance(t.inputs, SyncInputs)]
    assert inputs and [i.source_key for i in inputs] == [*keys.values()]


def test_a_new_prior_redoes_takes_of_rewrite_and_nothing_else(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(manifest.load(finished.film), finished.out, config.Config())
    before = planned(finished)
    assert all(job.done(t) for t in before.values())
    monkeypatch.setattr("dubbing.generators.rewrite.hearing.prior_hash", lambda: "another prior")
    after = planned(finished)
    assert [t.stage for name, t in after.items() if t.key != before[name].key] == ["actors"]
    assert {t.stage for name, t in before.items() if name not in after} == {"lipsync", "sync", "master", "proof"}

    # a generator that uses no fitted actors: nothing but the actors is made anew
    other = SimpleNamespace(hash="0" * 12, wants=frozenset())
    monkeypatch.setattr("dubbing.generators.create", lambda *args, **kwargs: other)
    third = planned(finished)
    monkeypatch.setattr("dubbing.generators.rewrite.hearing.prior_hash", lambda: "a third prior")
    fourth = planned(finished)
    assert third.keys() == fourth.keys() == before.keys()
    assert [t.stage for name, t in fourth.items() if t.key != third[name].key] == ["actors"]
