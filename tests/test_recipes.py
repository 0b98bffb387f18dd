"""jobs/, docker/ and docs/cluster.md: what cannot be run on every machine is at least what it should be."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dubbing import config, pipeline
from dubbing.cli.app import dub

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "jobs").glob("*.sh"))
KUBERAY = sorted((ROOT / "jobs" / "kuberay").glob("*.yaml"))
DOCKERFILES = [ROOT / "docker" / "Dockerfile"]
RECIPES = [*SCRIPTS, *KUBERAY]
GUIDE = ROOT / "docs" / "cluster.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def head_of(path: Path) -> str:
    """The comment that a file begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = lines[1:] if lines[0].startswith("#!") else lines
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line[1:].strip() for line in lines[:end])


def test_the_recipes_are_there() -> None:
    assert {p.name for p in RECIPES} >= {"local.sh", "ray_jobs.sh", "rayjob.yaml", "raycluster.yaml"}
    assert all(p.is_file() for p in DOCKERFILES)


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_says_machine_hours_and_cost(path: Path) -> None:
    head = head_of(path)
    assert all(f"{word}:" in head for word in ("Machine", "Hours", "Cost")) and "assumed" in head
    first, further = 1.03, 0.77  # as README and LOG.md have them
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{first:.2f} times" in readme and f"{further:.2f} times" in readme
    hours = 100 / 60 * (first + 9 * further)
    assert f"{2 * hours:.1f} core-hours" in head and "100 minutes in 10 languages" in head
    for cores, said in re.findall(r"on (\d\d+) cores (\d\.\d\d) h", " ".join(head.split())):
        assert said == f"{2 * hours / int(cores):.2f}"
    for core_hours, usd in re.findall(r"([\d.]+) core-hours(?: a feature)?; .*?: ([\d.]+) USD", " ".join(head.split())):
        assert abs(float(usd) - float(core_hours) * 0.05) < 0.006


def commands_in(text: str) -> list[list[str]]:
    """Every `dub ...` in a script, a recipe's comment, or between backquotes."""
    text = re.sub(r"\\\n\s*#?\s*", " ", text)
    found = []
    for match in re.finditer(rf"(?<![\w./:-])dub ({'|'.join(dub.commands)})\b([^\n`]*)", text):
        rest = re.split(r"\s(?:\|\|?|&&|&|\d?>|#)|[;)]\s|\s{3,}", match[2])[0]
        rest = re.sub(r'"\$\(\(.*?\)\)"', "2", rest).replace('"$@"', "").replace(" >/dev/null", "")
        if rest.strip():  # a name alone is prose
            found.append([match[1], *shlex.split(rest)])
    return found


@pytest.mark.parametrize(
    ("path", "least"),
    [(ROOT / "jobs" / "local.sh", 2), (ROOT / "jobs" / "ray_jobs.sh", 1),
     (ROOT / "jobs" / "kuberay" / "rayjob.yaml", 1),
     (ROOT / "jobs" / "kuberay" / "raycluster.yaml", 2), (GUIDE, 5), *((p, 1) for p in DOCKERFILES)],
    ids=lambda v: name_of(v) if isinstance(v, Path) else "",
)  # fmt: skip
def test_every_command_line_is_one(path: Path, least: int) -> None:
    found = commands_in(path.read_text(encoding="utf-8"))
    assert len(found) >= least
    for name, *words in found:
        dub.commands[name].make_context(name, words)


@pytest.mark.parametrize("text", ["dub submit x --addres y", "  exec dub run --out", "`dub status --nope`"])
def test_the_check_of_command_lines_can_fail(text: str) -> None:
    import click

    ((name, *words),) = commands_in(text)
    with pytest.raises(click.UsageError):
        dub.commands[name].make_context(name, words)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_one(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o111 and "set -euo pipefail" in path.read_text(encoding="utf-8")
    said = subprocess.run([path], capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "Usage" in said.stderr


# What KubeRay's own CRDs say of the fields that the recipes use; .ci/kuberay_schema.py made it from them.
KUBERAY_SCHEMA = json.loads((ROOT / "tests" / "kuberay_schema.json").read_text(encoding="utf-8"))
# What the CRDs leave to the operator and to Kubernetes: KubeRay's docs (RayJob, submission modes), Kubernetes' API.
WORDS = {
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
}


def said(value: Any, name: str) -> list[Any]:
    """Every value of a field of that name, at whatever depth."""
    if isinstance(value, list):
        return [found for one in value for found in said(one, name)]
    if not isinstance(value, dict):
        return []
    return [found for k, v in value.items() for found in ([v] if k == name else said(v, name))]


def changed(value: Any, path: str, to: Any) -> Any:
    """A copy of a recipe in which what lies at `path` is something else, or has another name where `to` is None."""
    made = json.loads(json.dumps(value))
    *parents, last = [int(k) if k.isdigit() else k for k in path.split("/")]
    inner = made
    for key in parents:
        inner = inner[key]
    if to is None:
        inner[f"{last}s"] = inner.pop(last)
    else:
        inner[last] = to
    return made


@pytest.mark.parametrize(
    ("file", "path", "to"),
    [
        ("rayjob.yaml", "spec/entrypoint", None), ("rayjob.yaml", "spec/backoffLimit", "2"),
        ("rayjob.yaml", "spec/rayClusterSpec/headGroupSpec", None), ("rayjob.yaml", "kind", "RayJobs"),
        ("rayjob.yaml", "apiVersion", "ray.io/v2"), ("raycluster.yaml", "spec/authOptions/mode", "tokens"),
        ("raycluster.yaml", "spec/autoscalerOptions/version", "v3"),
        ("raycluster.yaml", "spec/workerGroupSpecs/0/minReplicas", "0"),
        ("raycluster.yaml", "spec/workerGroupSpecs/1/template/spec/containers/0/image", None),
        ("raycluster.yaml", "spec/workerGroupSpecs/0/template/spec/containers/0/resources/limits/memory", "64 GB"),
        ("raycluster.yaml", "spec/headGroupSpec/rayStartParams/num-cpus", 0),
    ],
)  # fmt: skip
def test_kuberay_would_refuse_a_mistake(file: str, path: str, to: Any) -> None:
    made = yaml.safe_load((ROOT / "jobs" / "kuberay" / file).read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(made, path, to), KUBERAY_SCHEMA[made["kind"]])


@pytest.mark.parametrize("path", KUBERAY, ids=name_of)
def test_kuberay_takes_it(path: Path) -> None:
    made = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.validate(made, KUBERAY_SCHEMA[made["kind"]])
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", made["metadata"]["name"]) and len(made["metadata"]["name"]) <= 47
    for name, words in WORDS.items():
        assert set(said(made, name)) <= words
    for context in said(made, "securityContext"):
        assert context["runAsNonRoot"] is True
    cluster = made["spec"].get("rayClusterSpec", made["spec"])
    assert f"ray[default]>={cluster['rayVersion'].removesuffix('.0')}," in " ".join(PROJECT["dependencies"])
    assert cluster["authOptions"]["mode"] == "token"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {v["name"] for v in pod["volumes"]}
        for container in pod["containers"]:
            assert {m["name"] for m in container["volumeMounts"]} <= volumes
            assert container["image"] == "dub:local"
            asked, limit = container["resources"]["requests"], container["resources"]["limits"]
            assert asked["memory"] == limit["memory"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    if cluster.get("enableInTreeAutoscaling"):
        assert any(g["minReplicas"] < g["maxReplicas"] for g in cluster["workerGroupSpecs"])


def test_what_brings_the_machines_with_a_gpu_is_a_setting(tmp_path: Path) -> None:
    head = head_of(ROOT / "jobs" / "kuberay" / "raycluster.yaml")
    (said,) = re.findall(r"`(engine: [^`]*)`", head)
    (tmp_path / "config.yaml").write_text(said)
    assert 0 < (config.load(tmp_path / "config.yaml").engine.stages["lipsync"].gpus or 0) <= 1
    assert not any(stage.resources.gpus for stage in pipeline.PIPELINE), "none waits for one"


@pytest.mark.parametrize("status", [0, 1, 2, 3, 130])
def test_a_rayjob_counts_shots_to_review_as_success(status: int) -> None:
    """KubeRay tries again whatever does not end with 0."""
    job = yaml.safe_load((ROOT / "jobs" / "kuberay" / "rayjob.yaml").read_text(encoding="utf-8"))["spec"]
    assert job["submissionMode"] == "HTTPMode"  # the others pass the line through more than one shell
    line = re.sub(r"^dub run [^|]*", f"(exit {status}) ", job["entrypoint"])
    assert line != job["entrypoint"]
    assert (subprocess.run(["/bin/sh", "-c", line], check=False).returncode == 0) == (status in (0, 3))


def instructions(path: Path) -> list[tuple[str, str]]:
    text = "\n".join(x for x in path.read_text(encoding="utf-8").splitlines() if not x.lstrip().startswith("#"))
    lines = [x.strip() for x in re.sub(r"\\\n\s*", " ", text).splitlines() if x.strip()]
    return [(x.split(None, 1)[0], x.split(None, 1)[1]) for x in lines]


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_a_dockerfile_is_one(path: Path) -> None:
    steps = instructions(path)
    assert {word for word, _ in steps} <= {"FROM", "ARG", "RUN", "ENV", "COPY", "USER", "WORKDIR", "CMD"}
    ignored = path.with_name(path.name + ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [x[1:] for x in ignored if x.startswith("!")]
    assert "*" in ignored
    stages: list[str] = []
    for word, rest in steps:
        if word == "FROM":
            base, *name = rest.split(" AS ")
            assert base in stages or re.fullmatch(r"[\w./-]+:[\w.-]+", base) and not base.endswith(":latest")
            stages += name
        elif word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), f"{path.name}: COPY of {source}, which is not there"
                assert any(source == k or source.startswith(f"{k}/") for k in kept)
                assert not any(fnmatch(source, pattern) for pattern in ("*token*", "*secret*", ".*"))
        elif word == "RUN":
            subprocess.run(["/bin/sh", "-n", "-c", rest], check=True)
        elif word == "ENV":
            assert not re.search(r"TOKEN|SECRET|PASSWORD|_KEY", rest)
    assert [rest for word, rest in steps if word == "USER"][-1] not in ("root", "0")
    python = re.search(r"python:(3\.\d+)", steps[0][1])
    assert python and python[1] in ("3.11", "3.12")


@pytest.mark.parametrize("path", [*DOCKERFILES, *KUBERAY], ids=name_of)
def test_no_registry_is_named(path: Path) -> None:
    """Whose images and whose wheels is for those who build: a host that is written here is wrong for most."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"(?:image:|--tag|Dockerfile -t) (\S+)", text)
    assert named and set(named) == {"dub:local"}
    hosts = re.findall(r"https?://([\w.-]+)", text)
    assert set(hosts) <= {"127.0.0.1"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_an_image_is_built_in_layers_that_change_rarely(path: Path) -> None:
    steps = instructions(path)
    parts = ("apt-get", "requirements/uv.txt", "requirements/run.txt", "dubbing /build/dubbing", "--no-build-isolation")
    order = [next(i for i, (_, rest) in enumerate(steps) if part in rest) for part in parts]
    assert order == sorted(order)


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_an_image_holds_the_lock_and_no_other_package(path: Path) -> None:
    parts = [part for word, rest in instructions(path) if word == "RUN" for part in rest.split("&&")]
    installs = [part for part in parts if "pip" in part]
    own = [part for part in installs if part.split()[-1] == "/build"]
    assert len(own) == 1 and "--no-deps" in own[0] and "--no-build-isolation" in own[0]
    others = [part.split() for part in installs if part not in own]
    assert [words[-1] for words in others] == ["/build/requirements/uv.txt", "/build/requirements/run.txt"]
    assert all("--require-hashes" in words for words in others)
