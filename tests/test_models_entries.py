"""The published models: that every entry is whole, and what a missing file of a set is called."""

import hashlib
import re
from pathlib import Path

import pytest

from dubbing.errors import ModelError
from dubbing.models import MODELS, SETS, find, path, require


def test_every_entry_is_whole_and_its_file_stays_in_the_folder() -> None:
    unseen = {"lipgan", "speech_gan"}  # nobody here has the file; nobody published one
    known_by_others = {"inception_fid", "musetalk_v15_unet", "sd_vae_ft_mse", "whisper_tiny_hf", "stable_syncnet"}
    known_by_others |= {"latentsync_15_unet", "latentsync_16_unet"}  # several repositories say one hash
    of_known_size = {"musetalk_v10_unet"}
    seen = {"wav2lip", "wav2lip_gan", "wav2lip_color", "syncnet_v2", "light_asd_ava", "yunet_n_640"}
    seen |= {f"whisper_{size}" for size in ("tiny", "base", "small", "medium", "turbo", "large")}
    seen |= known_by_others
    parts = ("256", "512", "mapping_full", "mapping_crop", "renderer", "exp", "pose", "3dmm", "mean_face")
    seen |= {f"sadtalker_{part}" for part in parts}
    free = {f"sadtalker_{part}" for part in ("mapping_full", "mapping_crop", "renderer")}
    assert unseen | seen | of_known_size == {m.name for m in MODELS}
    for one in SETS:
        assert all(find(name) for name in one.models) and one.name not in {m.name for m in MODELS}
    assert len({m.file for m in MODELS}) == len(MODELS)
    for m in MODELS:
        assert re.fullmatch(r"[a-z0-9_]+", m.name) and re.fullmatch(r"\w[\w.]*", m.file) and m.what and m.layout
        known = bool(re.fullmatch(r"[0-9a-f]{64}", m.sha256 or "")) and bool(m.size)
        assert known if m.name in seen else m.sha256 is None and bool(m.size) is (m.name in of_known_size)
        assert m.size is None or m.limit_bytes == m.size
        assert all(u.startswith("https://") for u in (*m.urls, m.source))
        assert m.licence.text.endswith(".") and m.licence.word and m.licence.use
        assert m.licence.limited == (m.name.startswith(("wav2lip", "lipgan", "sadtalker")) and m.name not in free)
    assert "prohibit any commercial use" in find("wav2lip").licence.text


def test_published_files_are_what_the_entries_say(shared: Path) -> None:
    for name in ("light_asd_ava", "yunet_n_640"):
        model = find(name)
        data = (shared / "models" / model.file).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (model.size, model.sha256)


def test_a_file_missing_of_a_set_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUB_MODELS", str(tmp_path))
    of_set = next(s.models for s in SETS if s.name == "musetalk")
    for name in of_set:
        (tmp_path / find(name).file).write_bytes(b"")
    require(of_set)
    (tmp_path / "sd_vae_ft_mse.safetensors").unlink()
    with pytest.raises(ModelError, match=r"sd_vae_ft_mse\.safetensors; run `dub models pull musetalk`\.$"):
        require(of_set)
    with pytest.raises(ModelError, match=r"run `dub models pull sd_vae_ft_mse`\.$"):
        require(["sd_vae_ft_mse", "whisper_tiny_hf"])
    with pytest.raises(ModelError, match="'musetalk' is a set of files: musetalk_v15_unet, sd_vae_ft_mse"):
        path("musetalk")
