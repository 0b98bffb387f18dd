"""`dub models convert`: a pickle's tensors as safetensors, and nothing else of it."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from command import Dub

from dubbing.models import load_state


class Creates:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_tensor_comes_through_and_a_shared_one_is_written_once(dub: Dub, tmp_path: Path) -> None:
    one = torch.arange(12.0).reshape(3, 4)
    state = {
        "b.weight": one, "a.weight": one.t(), "c.weight": one, "half": one.half()[1], "brain": one.bfloat16(),
        "count": torch.tensor(7), "mask": one > 5, "none": torch.zeros(0, 3),
    }  # fmt: skip
    file, to, again = tmp_path / "x.pth", tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "step": 3}, file)
    before = sha256(file)
    code, out, _ = dub("models", "convert", file, "--to", to)
    assert code == 0 and f"{file}: sha256 {before}" in out and f"{to}: sha256 {sha256(to)}" in out
    assert "8 tensors, 1 of them shared with another and written once" in out and sha256(file) == before
    found = load_state(to)
    assert set(found) == set(state) and all(
        torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in state.items()
    )
    assert found["b.weight"].data_ptr() == found["c.weight"].data_ptr()
    (length,) = struct.unpack("<Q", to.read_bytes()[:8])
    header = json.loads(to.read_bytes()[8 : 8 + length])
    assert header["__metadata__"] == {"c.weight": "b.weight"} and "c.weight" not in header and length % 8 == 0
    assert dub("models", "convert", file, "--to", again, "--json")[0] == 0 and again.read_bytes() == to.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pth", "x.safetensors", "y.safetensors"]


def test_others_read_what_was_written(dub: Dub, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    torch.save({"net": {"w": torch.ones(2, 2), "v": torch.zeros(3)}, "other": {"w": torch.ones(1)}}, tmp_path / "x.pt")
    assert dub("models", "convert", tmp_path / "x.pt", "--to", tmp_path / "x.safetensors", "--part", "net")[0] == 0
    found = library.load_file(tmp_path / "x.safetensors")
    assert set(found) == {"w", "v"} and torch.equal(found["w"], torch.ones(2, 2))


def test_what_is_refused(dub: Dub, tmp_path: Path) -> None:
    good, code = tmp_path / "good.pth", tmp_path / "code.pth"
    torch.save({"w": torch.ones(2)}, good)
    torch.save({"w": torch.ones(2), "x": Creates(tmp_path / "created")}, code)
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "program.pt"))
    torch.save({"w": torch.ones(2, dtype=torch.complex64)}, tmp_path / "complex.pth")
    out = tmp_path / "new.safetensors"
    (tmp_path / "old.safetensors").write_bytes(b"mine")
    for file, to, said in (
        (code, out, "could run code, so it was refused"),
        (tmp_path / "program.pt", out, "is a TorchScript program"),
        (tmp_path / "complex.pth", out, "torch.complex64, which the format lacks"),
        (tmp_path / "absent.pth", out, "absent.pth"),
        (good, tmp_path / "new.pth", "does not end in .safetensors"),
        (good, tmp_path / "old.safetensors", "is there already"),
    ):
        exit_code, _, err = dub("models", "convert", file, "--to", to)
        assert exit_code == 2 and said in err and err.count("\n") == 1 and "Traceback" not in err
    torch.save({"net": {"w": torch.ones(2)}}, tmp_path / "net.pth")
    for file, said in (
        (good, "has no part 'nte'; it holds one network alone"),
        (tmp_path / "net.pth", "it holds net."),
    ):
        exit_code, _, err = dub("models", "convert", file, "--to", out, "--part", "nte")
        assert exit_code == 2 and said in err
    assert not (tmp_path / "created").exists() and not out.exists()
    assert (tmp_path / "old.safetensors").read_bytes() == b"mine"
    assert dub("models", "convert", good, "--to", out)[0] == 0
    assert "is safetensors already" in dub("models", "convert", out, "--to", tmp_path / "twice.safetensors")[2]
