"""The weights and the files of tests/golden are those of the shared folder, where that is at hand."""

import importlib.util
import zlib

import formula
import numpy as np
import pytest
from conftest import GOLDEN

SHAPES = {
    "net.0.weight": (8, 3, 5, 5), "net.0.bias": (8,), "net.1.weight": (8,), "net.1.running_mean": (8,),
    "net.1.running_var": (8,), "net.1.num_batches_tracked": (), "fc.weight": (4, 32), "gain": (1, 1), "bias": (3,),
}  # fmt: skip


@pytest.fixture(scope="module")
def other(shared):
    """The shared folder's own module."""
    spec = importlib.util.spec_from_file_location("other_formula", shared / "golden" / "formula.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("key", SHAPES)
def test_a_tensor_is_the_same_to_the_bit(other, key):
    mine, theirs = formula.tensor(key, SHAPES[key]), np.asarray(other.tensor(key, SHAPES[key]))
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
    assert mine.tobytes() == theirs.tobytes()


@pytest.mark.long
def test_every_published_network_is_the_same_to_the_bit(other, published_keys):
    """Of each the largest tensor is compared whole, and of every tensor the first slices: a name gives one stream of
    noise, of which a smaller shape takes less."""
    for file in sorted(GOLDEN.glob("*.keys.json")):
        shapes = published_keys(file.name.removesuffix(".keys.json"))
        whole = max(shapes, key=lambda key: np.prod(shapes[key]))
        for key, full in shapes.items():
            few = [min(n, 1 + 2000 // int(np.prod(full[1:]))) for n in full[:1]]
            shape = tuple(full if key == whole else few + full[1:])
            assert (formula.tensor(key, shape) == other.tensor(key, shape)).all(), (file.name, key)


@pytest.mark.parametrize("key", SHAPES)
def test_a_tensor_depends_on_its_name_and_shape_alone(key):
    first = formula.tensor(key, SHAPES[key])
    np.random.seed(1)
    assert first.tobytes() == formula.tensor(key, SHAPES[key]).tobytes()
    if first.size > 1:
        assert (first != formula.tensor(f"other.{key}", SHAPES[key])).any()


def test_the_seed_is_the_keys_checksum():
    drawn = np.random.RandomState(zlib.crc32(b"fc.weight") & 0x7FFFFFFF).standard_normal((4, 32))
    np.testing.assert_allclose(formula.tensor("fc.weight", (4, 32)), drawn * np.sqrt(2 / 32), rtol=1e-6)


def test_the_files_are_the_shared_ones(shared):
    for file in GOLDEN.iterdir():
        theirs = shared / "golden" / file.name
        if file.name != "README.md" and theirs.exists():
            assert file.read_bytes() == theirs.read_bytes(), file.name


def test_the_readme_names_every_file_and_none_is_large():
    text = (GOLDEN / "README.md").read_text(encoding="utf-8")
    for file in GOLDEN.iterdir():
        assert f"`{file.name}`" in text or file.name == "README.md", (
            f"tests/golden/README.md does not tell of {file.name}"
        )
        assert file.stat().st_size < 1_000_000, file.name
