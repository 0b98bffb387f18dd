"""Makes tests/kuberay_schema.json: what KubeRay's CRDs say of the fields that jobs/kuberay uses, and of no other.

    python .ci/kuberay_schema.py FOLDER RELEASE

FOLDER holds ray.io_rayclusters.yaml and ray.io_rayjobs.yaml of KubeRay at that RELEASE, from its folder
helm-chart/kuberay-operator/crds. Kept are types, what is required, enums, patterns and bounds; every object is closed,
so a field that is misspelt, or that KubeRay has not got, is refused. After a recipe asks for another field, run this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "tests" / "kuberay_schema.json"
FACTS = ("type", "enum", "pattern", "minimum", "maximum", "minItems", "minLength", "maxLength")


def kept(schema: dict[str, Any], used: list[Any], where: str) -> dict[str, Any]:
    """What a schema says of `used`, the values that recipes have at one place. Raises KeyError for an unknown field."""
    found = {fact: schema[fact] for fact in FACTS if fact in schema}
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    if isinstance(schema.get("additionalProperties"), dict):
        values = [v for u in used for v in u.values()]
        found["additionalProperties"] = kept(schema["additionalProperties"], values, where)
    elif "properties" in schema:
        names = sorted({name for value in used for name in value})
        unknown = [n for n in names if n not in schema["properties"]]
        if unknown:
            raise KeyError(f"{where}: KubeRay has no {unknown}")
        found["properties"] = {
            n: kept(schema["properties"][n], [v[n] for v in used if n in v], f"{where}.{n}") for n in names
        }
        found["required"] = sorted(schema.get("required", []))
        found["additionalProperties"] = False
    elif "items" in schema:
        found["items"] = kept(schema["items"], [v for u in used for v in u], f"{where}[]")
    return found


def main(folder: Path, release: str) -> None:
    files = sorted((ROOT / "jobs" / "kuberay").glob("*.yaml"))
    recipes = [yaml.safe_load(p.read_text(encoding="utf-8")) for p in files]
    kinds = {}
    for kind, name in (("RayCluster", "rayclusters"), ("RayJob", "rayjobs")):
        crd = yaml.safe_load((folder / f"ray.io_{name}.yaml").read_text(encoding="utf-8"))
        version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
        schema = version["schema"]["openAPIV3Schema"]
        used = [{k: v for k, v in r.items() if k != "metadata"} for r in recipes if r["kind"] == kind]
        made = kept(schema, used, kind)
        made["properties"] |= {
            "apiVersion": {"const": f"{crd['spec']['group']}/v1"}, "kind": {"const": crd["spec"]["names"]["kind"]},
            "metadata": {"type": "object"},
        }  # fmt: skip
        made["required"] = sorted({*made["required"], "apiVersion", "kind", "metadata", "spec"})
        kinds[kind] = made
    said = (
        f"Facts of KubeRay {release} about the fields that jobs/kuberay uses, from version v1 of its CRDs in "
        "ray.io_rayclusters.yaml and ray.io_rayjobs.yaml; made by .ci/kuberay_schema.py, which says what is kept. "
        "apiVersion and kind are of the CRDs' group and names; metadata is Kubernetes' own."
    )
    OUT.write_text(json.dumps({"$comment": said, **kinds}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
