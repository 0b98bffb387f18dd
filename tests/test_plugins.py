"""Generators, sync experts and metrics of other packages: found, listed, refused in one sentence, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from command import Dub
from films import Finished, started_by

from dubbing import experts, generators, manifest, media, metrics, models, plugins
from dubbing.analysis import windows
from dubbing.errors import ManifestError, PluginError
from dubbing.metrics import RenderedShot
from dubbing.shot_table import read_rows

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
Add = Callable[..., Path]
GENERATOR = """
from pydantic import Field
from dubbing.generators import Settings
from dubbing.models import Licence, Model

class NodSettings(Settings):
    grain: int = Field(3, description="how coarse")

class Nod:
    name, version, Settings, profits_from_gpu, wants = "nod", 1, NodSettings, False, frozenset()
    published = (Model("nod_net", "nod.pth", "a net", Licence("MIT", "MIT licence.", "any"), "https://nod.example",
                       "flat", 10, "ab" * 32, ("https://nod.example/nod.pth",)),)
    size_bytes = 10
    def __init__(self, settings, models_folder=None, *, device="cpu"):
        self.settings, self.device, self.hash = settings, device, "0" * 12
    def check(self): pass
    def render(self, work): return iter(())
"""
METRIC = """
class Brightest:
    name, version, unit, range = "brightest", 2, "code values", (0.0, 255.0)
    def frame(self, pair): return (float(pair.after_HWC.max()),)
    def of(self, shot): return float(shot.seen_KC.max()) if len(shot.seen_KC) else None
"""

# Its numbers of frames are larger than float32 tells apart.
FLICKER = """
import numpy as np
class Flicker:
    name, version, unit, range = "flicker", 1, "squared code values", (0.0, float("inf"))
    def frame(self, pair): return (1e9 + ((pair.after_HWC.astype(float) - pair.before_HWC) ** 2).sum(),)
    def of(self, shot): return float(np.abs(np.diff(shot.seen_KC[:, 0])).mean()) if len(shot.seen_KC) > 1 else None
"""


def put(folder: Path, package: str, group: str, name: str, value: str, code: str = "") -> Path:
    """Installs a package with one entry point in a folder: its metadata, and a module."""
    info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (folder / f"{value.partition(':')[0]}.py").write_text(code)
    return folder


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Installs a package with one entry point for this process."""

    def made(package: str, group: str, name: str, value: str, code: str = "") -> Path:
        folder = put(tmp_path / package, package, group, name, value, code)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, value.partition(":")[0], raising=False)
        return folder

    return made


def test_names_are_known_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from dubbing import plugins\n"
        "for g in plugins.BUILT_IN: plugins.names(g)\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'av', 'cv2') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_ours_are_found_whatever_metadata_are_installed(add: Add) -> None:
    before = generators.names()
    add("dubbing", plugins.GENERATORS, "of_an_older_version", "gone:Gone")
    assert generators.names() == before == tuple(plugins.BUILT_IN[plugins.GENERATORS])


def test_a_generator_of_another_package_is_one_like_ours(add: Add, dub: Dub, tmp_path: Path) -> None:
    add("dub-nod", plugins.GENERATORS, "nod", "nod_one:Nod", GENERATOR)
    assert generators.names() == (*plugins.BUILT_IN[plugins.GENERATORS], "nod")
    made = generators.create("nod", {"grain": 4})
    assert (made.settings.grain, made.device) == (4, "cpu")  # type: ignore[attr-defined]
    assert generators.create("nod", {}, device="cuda:1").device == "cuda:1"  # type: ignore[attr-defined]
    with pytest.raises(ManifestError, match="generator nod: gain: extra inputs are not permitted; it knows grain"):
        generators.create("nod", {"gain": 4})
    code, out, err = dub("schema")
    check = jsonschema.Draft202012Validator(json.loads(out))
    good = {"version": 1, "titles": [{"id": "a", "video": "a", "dubs": [{"language": "fr", "audio": "b"}]}]}
    for said, fits in (("nod", True), ({"name": "nod", "grain": 2}, True), ({"name": "nod", "gain": 2}, False),
                       ({"name": "rewrite", "grain": 2}, False), ("nodd", False)):  # fmt: skip
        assert (not list(check.iter_errors(good | {"generator": said}))) is fits, said
    listed = json.loads(dub("models", "list", "--json")[1])["models"]
    (one,) = [m for m in listed if m["name"] == "nod_net"]
    assert (one["licence"], one["sha256"], one["urls"]) == ("MIT", "ab" * 32, ["https://nod.example/nod.pth"])
    store = models.ModelStore(tmp_path / "models")
    assert store.find("nod_net").file == "nod.pth" and store.find("wav2lip") in models.MODELS
    with pytest.raises(models.store.ModelError, match="'nod_net' is not on this machine.*dub models pull nod_net"):
        store.checked("nod_net")


def test_a_model_that_is_anothers_by_name_is_left_out(add: Add, dub: Dub) -> None:
    add("dub-nod", plugins.GENERATORS, "nod", "nod_two:Nod", GENERATOR.replace("nod_net", "wav2lip"))
    code, out, err = dub("models", "list")
    assert code == 0 and "The package dub-nod 1.2 names a model 'wav2lip'" in err and "nod.pth" not in out


def test_a_package_that_cannot_be_imported_is_named_and_costs_no_other(add: Add, dub: Dub) -> None:
    add("dub-broken", plugins.GENERATORS, "broken", "broken_one:Broken", "import no_such_package\n")
    with pytest.raises(PluginError) as caught:
        generators.create("broken", {})
    said = str(caught.value)
    assert said.count("\n") == 0
    assert "generator 'broken' of the package dub-broken 1.2 cannot be loaded (ModuleNotFoundError: No module" in said
    for command in (["schema"], ["models", "list"]):
        code, out, err = dub(*command)
        assert code == 0 and out and "dub-broken" in err
    generators.create("rewrite", {})
    with pytest.raises(PluginError, match="dub-broken"):
        models.ModelStore(Path("nowhere")).find("perhaps_its_model")


def test_two_packages_with_one_name_are_refused_naming_both(add: Add) -> None:
    add("dub-nod", plugins.GENERATORS, "nod", "nod_one:Nod", GENERATOR)
    add("dub-nodding", plugins.GENERATORS, "nod", "nod_two:Nod", GENERATOR)
    with pytest.raises(PluginError, match="more than one generator 'nod', of the packages dub-nod 1.2 and dub-nodding"):
        generators.create("nod", {})
    assert generators.names().count("nod") == 1
    add("dub-lips", plugins.EXPERTS, "lips", "other_lips:Lips")
    with pytest.raises(PluginError, match="more than one sync expert 'lips', of the packages dubbing and dub-lips 1.2"):
        experts.load("lips")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nod", GENERATOR.replace('"nod", 1', '"nick", 1'), "nod_bad:Nod calls itself 'nick', which must be"),
        ("nod", GENERATOR.replace("    def check(self): pass\n", ""), "Nod has no check; the tests of"),
        (
            "nod",
            GENERATOR.replace("frozenset()", 'frozenset({"moon"})'),
            "it wants moon; a title's analysis makes: act",
        ),
        ("Nod-1", GENERATOR, "a name has small letters"),
    ],
)
def test_a_class_that_is_no_generator_is_said_to_be_none(add: Add, name: str, code: str, said: str) -> None:
    add("dub-nod", plugins.GENERATORS, name, "nod_bad:Nod", code)
    with pytest.raises(PluginError, match=f"'{name}' of the package dub-nod 1.2 cannot be used: .*{said}"):
        generators.create(name, {})


def test_an_expert_of_another_package_may_be_named_in_a_configuration(add: Add, tmp_path: Path) -> None:
    from dubbing import config

    (tmp_path / "c.yaml").write_text("sync:\n  expert: ear\n")
    with pytest.raises(ManifestError, match="line 2: 'expert' must be one of lips, .*; found 'ear'"):
        config.load(tmp_path / "c.yaml")
    add("dub-ear", plugins.EXPERTS, "ear", "ear_one:Ear")
    assert config.load(tmp_path / "c.yaml").sync.expert == "ear"
    allowed = config.schema()["$defs"]["Sync"]["properties"]["expert"]["enum"]
    assert allowed == ["lips", "syncnet_v2", "wav2lip_color", "stable_syncnet", "ear"]


def test_a_metric_of_another_package_has_a_column_of_its_own(add: Add) -> None:
    add("dub-bright", plugins.METRICS, "brightest", "bright_one:Brightest", METRIC)
    assert metrics.others() == ("brightest",) and metrics.identities() == ["brightest@2 of dub-bright 1.2"]
    none = np.zeros(3, bool)
    shot = RenderedShot(np.arange(3), np.arange(3) / 25, np.zeros((3, 478, 3)), np.zeros((3, 478, 3)), none,
                        np.zeros(3), none, none, np.zeros(10), None)  # fmt: skip
    shot.__dict__.update(opening_N=np.zeros(3), source_opening_N=np.zeros(3))
    asked = [*metrics.built_in(), metrics.load("brightest")]
    assert metrics.measure(asked, shot, {"brightest": [(3.0,), (7.0,)]}) == {"metric_brightest": 7.0}
    assert metrics.measure(asked, shot, {}) == {}


def flicker(film: Path, take: Path) -> float:
    """What `flicker` of a take must be: from the patches and the film alone."""
    video = film.parent / yaml.safe_load(film.read_text())["titles"][0]["video"]
    patches = list(media.read_patches(take / "patch" / "face_1"))
    changed = []
    pictures = media.read(video, media.timeline(video), patches[0].frame, patches[-1].frame + 1)
    for patch, picture in zip(patches, pictures, strict=True):
        assert patch.frame == picture.frame
        height, width = patch.matte_HW.shape
        below = picture.planes((patch.x, patch.y, width, height))
        before, after = below.bgr, media.laid_over(below, patch, patch.x, patch.y).bgr  # as the master has it
        changed.append(float(((after.astype(float) - before) ** 2).sum()))
    return float(np.abs(np.diff(changed)).mean())


def test_a_metric_of_another_package_says_the_same_of_a_shot_in_windows(
    finished: Finished, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("dub-flicker", plugins.METRICS, "flicker", "flicker_one:Flicker", FLICKER)
    found = []
    for frames in (1440, 30):
        monkeypatch.setattr(windows, "WINDOW_FRAMES", frames)
        out = shutil.copytree(finished.out, tmp_path / f"in {frames}")
        started = started_by(finished.film, out)
        assert "sync film/hi/shot_0002" in started, "only scores are new"
        assert not any(one.startswith(("lipsync", "master")) for one in started)
        first, row = read_rows(out / "film" / "hi" / "shots.parquet")
        assert first["metric_flicker"] is None, "nothing is rendered there"
        found.append(row["metric_flicker"])
    (take,) = (finished.out / "film" / "hi" / "takes" / "shot_0002").iterdir()
    assert found[0] == np.float32(flicker(finished.film, take))
    assert found[1] == found[0]


# -- a whole package -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that have the example installed."""
    source = shutil.copytree(ROOT / "examples" / "dim_mouth", tmp_path_factory.mktemp("example") / "dim_mouth")
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT), os.environ.get("PYTHONPATH", "")])}


def test_the_example_passes_its_own_tests(installed: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "dim_mouth" / "test_dim_mouth.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_dim_mouth.py")]
    told = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-3000:]


def test_the_example_dubs_a_film_and_another_packages_metric_measures_it(
    installed: dict[str, str], finished: Finished, tmp_path: Path
) -> None:
    film = finished.film
    shutil.copytree(finished.out / "film" / "analysis", tmp_path / "out" / "film" / "analysis")
    metric = put(tmp_path / "metric", "dub-flicker", plugins.METRICS, "flicker", "flicker_two:Flicker", FLICKER)
    installed = installed | {"PYTHONPATH": os.pathsep.join([str(metric), installed["PYTHONPATH"]])}
    job = yaml.safe_load(film.read_text()) | {"generator": {"name": "dim_mouth", "strength": 0.9}}
    title = job["titles"][0]
    title["video"] = str(film.parent / title["video"])
    title["dubs"] = [d | {k: str(film.parent / d[k]) for k in ("audio", "dialogue") if k in d} for d in title["dubs"]][
        :1
    ]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    command = [sys.executable, "-m", "dubbing", "check", "job.yaml", "--out", "out"]
    told = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "generator dim_mouth on cpu, sync expert lips on cpu" in told.stdout, told
    command = [sys.executable, "-m", "dubbing", "run", "job.yaml", "--out", "out", "--engine", "local"]
    told = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert told.returncode in (0, 3), told.stderr
    (table,) = (tmp_path / "out").glob("*/*/shots.parquet")
    rows = [r for r in read_rows(table) if r["status"] == "dubbed"]
    assert rows and all(r["generator"] == "dim_mouth" and len(r["generator_hash"]) == 12 for r in rows)
    assert all(r["following"] is None and r["sharpness"] < 1 for r in rows)  # it wants no opening, and it dims
    for row in rows:
        (take,) = (table.parent / "takes" / row["shot"]).iterdir()
        assert row["metric_flicker"] == np.float32(flicker(film, take)) > 0


def test_a_manifest_without_the_package_is_refused_in_one_sentence(film: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="There is no generator 'dim_mouth'. There is: rewrite, "):
        generators.create("dim_mouth", {})
    assert manifest.schema()["properties"]["generator"]["anyOf"][1]["additionalProperties"] is True
