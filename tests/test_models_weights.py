"""Checkpoints: what is read, what is refused with one sentence, and that nothing in a file is executed."""

import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dubbing.errors import ModelError
from dubbing.models import fit, load_state

OLD = {"_use_new_zipfile_serialization": False}


def net(width: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


class Creates:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def safetensors(header: dict[str, object], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


# -- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_published_layouts_load(how: dict[str, bool], wrapped: bool, tmp_path: Path) -> None:
    state = net().state_dict()
    content = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {"step": 3}, "global_epoch": 7}
    torch.save(content if wrapped else state, tmp_path / "x.pth", **how)
    found = load_state(tmp_path / "x.pth")
    assert list(found) == list(state) and all(torch.equal(found[k], state[k]) for k in state)
    network = net(4)
    nn.init.zeros_(network[0].weight)
    assert fit(network, found, "x") is network and torch.equal(network[0].weight, state["0.weight"])


def test_a_real_checkpoint_loads(shared: Path) -> None:
    file = shared / "models" / "light_asd_ava.model"
    state = load_state(file, sha256="d44bc3ea7baa8e0946fa3921311714a630ed8b90a1928fab0dbe30d918909317")
    assert len(state) == 192 and state["lossAV.FC.weight"].shape == (2, 128)


def test_safetensors_load(tmp_path: Path) -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    body = a.numpy().tobytes() + b.view(torch.int16).numpy().tobytes()
    header = {
        "__metadata__": {"format": "pt"},
        "module.b": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
        "module.a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "module.none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [28, 28]},
        "module.n": {"dtype": "I64", "shape": [], "data_offsets": [28, 36]},
    }
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors(header, body + struct.pack("<q", 9)))
    state = load_state(file)
    assert torch.equal(state["a"], a) and torch.equal(state["b"], b) and state["n"].item() == 9
    assert state["none"].shape == (0, 3)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "before torch 1.6", "pickle 2", "pickle 4"])
def test_code_in_a_file_does_not_run(kind: str, tmp_path: Path) -> None:
    made, file = tmp_path / "made", tmp_path / "x.pth"
    content = {"state_dict": net().state_dict(), "args": Creates(made)}
    if kind.startswith("pickle"):
        file.write_bytes(pickle.dumps(Creates(made), protocol=int(kind[-1])))
        pickle.loads(file.read_bytes()).close()
    else:
        torch.save(content, file, **({} if kind == "zip" else OLD))
        torch.load(file, weights_only=False)["args"].close()
    assert made.exists(), "the file is harmless: the test shows nothing"
    made.unlink()
    with pytest.raises(ModelError, match=r"holds more than tensors \((_?io|builtins)\.open\): loading that could run"):
        load_state(file)
    assert not made.exists()


def test_a_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(b"\x80\x02cos\n\x1b[2Jsystem\n.")
    with pytest.raises(ModelError, match=r"\(os\.\?\[2Jsystem\)"):
        load_state(file)


def test_what_torch_alone_refuses_is_one_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, file = tmp_path / "made", tmp_path / "x.pth"
    torch.save({"args": Creates(made)}, file)
    monkeypatch.setattr("dubbing.models.weights.look_into_pickle", lambda *_: b"")
    with pytest.raises(ModelError, match="damaged, cut short or no checkpoint"):
        load_state(file)
    assert not made.exists()


@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.99])
def test_a_cut_file_is_called_cut(how: dict[str, bool], kept: float, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"a": torch.randn(200, 5), "b": torch.zeros(300)}, file, **how)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ModelError, match="cut short.*load it again"):
        load_state(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither safetensors nor torch"),
        (b"<!DOCTYPE html><html>", "looks like a web page"),
        (b"RIFF....WAVEfmt and so on", "neither safetensors nor torch"),
        (pickle.dumps({"a": 1}), "a Python pickle of something else"),
        (safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), "is cut short"),
        (safetensors({}, b"")[:-1], "is cut short"),
        (safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"), "header is wrong"),
        (safetensors({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, b"1234"), "header is wrong"),
        (safetensors({"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 4]}}, b"1234"), "header is wrong"),
        (safetensors({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1234"), "belong to no tensor"),
        (safetensors({"a": 3}, b""), "header is wrong"),
        (safetensors({}, b""), "is empty"),
        (struct.pack("<Q", 1 << 60) + b"{}", "neither safetensors nor torch"),
    ],
)
def test_what_is_no_checkpoint(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load_state(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(2)], "is of type list"),
        ({}, "is empty"),
        ({"a": torch.zeros(2), "epoch": 3}, "'epoch' is of type int"),
        ({"state_dict": {"a": [1]}}, "'a' is of type list"),
        ({"a": torch.zeros(2, device="meta")}, "where a plain tensor belongs"),
        ({"a": torch.eye(2).to_sparse()}, "refused"),
    ],
)
def test_what_holds_no_named_tensors(content: object, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=said):
        load_state(tmp_path / "x.pth")


def test_archives_of_other_kinds(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="ZIP archive of something else"):
        load_state(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/constants.pkl", b"\x80\x02).")
        archive.writestr("x/data.pkl", b"\x80\x02}.")
    with pytest.raises(ModelError, match="TorchScript program"):
        load_state(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(50_000_000))  # 50 kB here, 50 MB unpacked
    with pytest.raises(ModelError, match="its parts are compressed"):
        load_state(file)


def test_files_that_are_not_the_one_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save(net().state_dict(), file)
    with pytest.raises(ModelError, match="is not the file that was asked for: its sha256 is"):
        load_state(file, sha256="0" * 64)
    with pytest.raises(ModelError, match="No such model file"):
        load_state(tmp_path / "absent")
    with pytest.raises(ModelError, match="is a folder, and not a model file"):
        load_state(tmp_path)


# -- into a network --------------------------------------------------------------------------


def test_the_first_key_that_does_not_fit_is_named_with_both_shapes() -> None:
    with pytest.raises(ModelError) as refused:
        fit(net(4), net(8).state_dict(), "wav2lip")
    assert str(refused.value) == (
        "wav2lip is a checkpoint of another architecture: '0.weight' is (8, 3, 3, 3) in the file and (4, 3, 3, 3) "
        "in the network."
    )


def test_keys_that_one_side_lacks_are_named() -> None:
    state = net().state_dict()
    renamed = {k.replace("1.", "bn."): v for k, v in state.items()}
    with pytest.raises(ModelError) as refused:
        fit(net(), renamed, "syncnet_v2")
    assert str(refused.value) == (
        "syncnet_v2 is a checkpoint of another architecture: the file has no '1.weight' (4,) (and 3 more) and has "
        "'bn.weight' (4,) (and 4 more), which the network has not."
    )
    with pytest.raises(ModelError, match=r"the file has 'x' \(1,\), which the network has not\.$"):
        fit(net(), {**state, "x": torch.zeros(1)}, "m")


def test_checkpoints_of_the_first_torch_lack_a_counter_and_fit() -> None:
    state = {k: v.half() for k, v in net().state_dict().items() if "num_batches" not in k}
    network = fit(net(), state, "syncnet_v2")
    assert network[0].weight.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value: float) -> None:
    state = net().state_dict()
    state["1.bias"][2] = value
    with pytest.raises(ModelError, match=r"'1\.bias' holds values that are not finite"):
        fit(net(), state, "m")


def test_whole_numbers_are_no_weights() -> None:
    state = {**net().state_dict(), "0.bias": torch.zeros(4, dtype=torch.int8)}
    with pytest.raises(ModelError, match=r"'0\.bias' is \(4,\) of int8 in the file and \(4,\) in the network"):
        fit(net(), state, "m")


def test_loading_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save(net().state_dict(), file)
    before = shutil.copy(file, tmp_path / "copy").read_bytes()
    fit(net(), load_state(file), "m")[0].weight.data.zero_()
    assert file.read_bytes() == before
