"""Manifests, configurations, paths, URIs, options and records, bent by chance from a seed: 2,400 commands, none of
which decodes anything. Each ends in one of the documented exit codes with at most one sentence, and leaves nothing
behind.

`DUB_FUZZ_SEED` and `DUB_FUZZ_COUNT` try others, or more.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from command import Dub

from dubbing import media

SEED = int(os.environ.get("DUB_FUZZ_SEED", "20261129"))
COUNT = int(os.environ.get("DUB_FUZZ_COUNT", "2400"))
PARTS = 8
LONGEST_S = 10

MANIFEST = """\
version: 1
titles:
- id: reel
  video: absent/reel.mp4
  shots: absent/reel.edl
  dubs:
  - language: fr
    audio: absent/fr.wav
  - {language: pt-BR, audio: absent/pt.wav, dialogue: absent/voice.wav}
generator: {name: rewrite, jump_cost: 1.0}
"""
CONFIG = """\
shots: {threshold: 3.0, min_frames: 6}
review: {lse_d_over_source: 1.5}
length_difference: allow
engine:
  workers: 2
  stages: {faces: {cpus: 1}}
"""
RUN = json.dumps({
    "dub": "0", "state": "finished", "started": "2026-01-01", "exit_status": 0, "seconds": 1.5, "config": {},
    "manifest": {"version": 1, "titles": [{"id": "reel", "video": "a", "dubs": [{"language": "fr", "audio": "b"}]}]},
    "dubs": [{"title": "reel", "language": "fr", "error": None, "counts": {"dubbed": 1}}],
}, indent=1)  # fmt: skip
PIECES = [
    "", " ", "\n", "\t", "-", ":", "'", '"', "[", "]", "{", "}", "#", "&a ", "*a", "!!int abc", "!!float .inf",
    "!!python/name:os.system ", "null", "~", "true", "no", ".nan", ".inf", "1e999", "-1", "0", "9" * 30, "1" * 5000,
    "0x1f", "1:30", "2001-01-01", "con", "aux", "../../x", "/", "/dev/null/x", "a\\0b", r'"\ud800"', r'"\x1b[31m"',
    "\x1b", "\x07", "\x85", "\u2028", "\u202e", "é", "日本", "🎬", "\ufeff", "x" * 300, "[" * 200, "- " * 200,
    "{a: " * 60, "jp", "xx", "en-UK", "x-y", "qaa", "version: 2", "s3://[", "gs://b/a", "webhdfs://h/a",
    "file:///%00", "file://other/a", "http://u:p@h/a", "s4::s3://a", "memory://", "titles: []", "id: reel", "<<: *a",
    "? ", "|", ">", "%YAML 1.1\n---\n", "---\n", "...\n",
]  # fmt: skip
PLACES = [
    "absent", "absent.yaml", "", " ", ".", "..", "/", "/dev/null", "/dev/zero", "/dev/stdin", "/proc/self/mem", "-",
    "--", "-x", "a" * 300, "a/" * 3000, "a\nb", "\x1b[31mred", "🎬.yaml",
    b"caf\xe9.yaml".decode("utf-8", "surrogateescape"), "pipe", "socket", "loop", "folder", "file", "file/below",
    "s3://", "s3://[", "gs://b/a", "abfs://b/a", "sftp://h/a", "ftp://h/a", "github://a:b@c/d", "zip://a",
    "webhdfs://h/a", "hf://a/b", "file:///absent", "file://host/a", "file:///%00", "http://u:p@h/a",
    "https://h/a?sig=1", "memory://nothing/a", "simplecache::s3://a/b", "x" * 200 + "://a", "data:,x", "$HOME", "~",
]  # fmt: skip
VALUES = [
    "nan", "inf", "-1", "0", "1e999", "9" * 5000, "", " ", "\x1b", "é", "{", "[" * 5000, "{name: " * 200,
    "name: &a [*a]", "!!int abc", "null", "[]", "1", "rewrite", "{name: rewrite, seed: .nan}", '{"name": NaN}',
    "\udcff",
]  # fmt: skip
OPTIONS: dict[str, list[str]] = {
    "check": ["--config", "--out"], "plan": ["--workers", "--gpus", "--engine", "--config"],
    "run": ["--workers", "--config", "--out"], "status": [], "export": ["--since", "--to", "--reviewer"],
    "rerun": ["--shots", "--generator", "--engine"], "review": ["--cache-gb", "--port", "--host"],
    "score": ["--audio", "--model", "--config", "--plot"],
}  # fmt: skip


def bent(rng: random.Random, text: str) -> str:
    """A text with a few things in it changed: pieces put in, taken out, doubled, or put in the place of a value."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        lines = text.split("\n")
        n = rng.randrange(len(lines))
        kind, piece = rng.randrange(7), rng.choice(PIECES)
        if kind == 0:
            lines.insert(n, piece)
        elif kind == 1:
            del lines[n]
        elif kind == 2:
            lines[n] += piece
        elif kind == 3 and ":" in lines[n]:
            lines[n] = lines[n].partition(":")[0] + ": " + piece
        elif kind == 4:
            lines[n:n] = [lines[n]] * rng.choice((1, 2, 50))
        else:
            at, line = rng.randrange(len(lines[n]) + 1), lines[n]
            lines[n] = line[:at] + piece + line[at + rng.choice((0, 1, 4)) :]
        text = "\n".join(lines) or piece
    return text


def word(rng: random.Random, here: Path) -> str:
    """A path or URI; some lie in the folder of odd things."""
    place = rng.choice(PLACES)
    return str(here / place) if place in ("pipe", "socket", "loop", "folder", "file", "file/below") else place


def case(rng: random.Random, here: Path, n: int) -> list[str]:
    """One command line; what it names is written first."""
    kind = rng.choice(("manifest", "manifest", "config", "records", "places", "options"))
    if kind in ("manifest", "config"):
        manifest, config = MANIFEST, CONFIG
        if kind == "manifest":
            manifest = bent(rng, manifest)
        else:
            config = bent(rng, config)
        (here / "job.yaml").write_bytes(manifest.encode("utf-8", "surrogatepass"))
        (here / "config.yaml").write_bytes(config.encode("utf-8", "surrogatepass"))
        command = rng.choice(("check", "run"))
        return [command, str(here / "job.yaml"), "--config", str(here / "config.yaml"), "--out", str(here / "out")]
    if kind == "records":
        (here / "done" / "run.json").write_bytes(bent(rng, RUN).encode("utf-8", "surrogatepass"))
        command = rng.choice(("status", "export", "rerun", "review"))
        return [command, str(here / "done"), *(["--shots", "1"] if command == "rerun" else [])]
    (here / "job.yaml").write_text(MANIFEST, encoding="utf-8")
    if kind == "places":
        command = rng.choice(("check", "run", "status", "score", "export", "review"))
        out = ["--out", word(rng, here)] if command in ("check", "run") and rng.random() < 0.5 else []
        first = str(here / "job.yaml") if out else word(rng, here)
        return [command, "absent" if command == "score" and first == "/" else first, *out]  # all films of this machine
    command = rng.choice([name for name in OPTIONS if OPTIONS[name]])
    option, value = rng.choice(OPTIONS[command]), rng.choice(VALUES + PLACES)
    first = str(here / ("absent" if command in ("export", "rerun", "review", "score") else "job.yaml"))
    return [command, first, f"{option}={value}"]


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fails what hangs, instead of hanging with it."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still at work after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with odd things in it, and no keys, no network and no home."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    kept = {
        "HOME": str(tmp_path / "work"), "DUB_SCRATCH": str(tmp_path.parent / "scratch"), "NO_PROXY": "*",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize("part", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, PARTS))])
def test_whatever_it_is_given_a_command_ends_well(part: int, here: Path, dub: Callable[..., Any] | Dub) -> None:
    rng = random.Random(f"{SEED}.{part}")
    (here / "job.yaml").touch()
    (here / "config.yaml").touch()
    (here / "done" / "run.json").touch()
    before = tree(here)
    for n in range(COUNT // PARTS):
        command = case(rng, here, n)
        told = f"DUB_FUZZ_SEED={SEED}, part {part}, number {n}: {[word[:200] for word in command]}"
        try:
            with at_most(LONGEST_S):
                code, out, err = dub(*command)
        except BaseException as e:
            raise AssertionError(told) from e
        assert code in (0, 1, 2, 3, 130), (told, out, err)
        assert "Traceback" not in err and "defect of dub" not in err, (told, err)
        lines = [one for one in err.splitlines() if one.startswith("dub: ")]
        assert code == 0 or lines, (told, err)
        assert len(lines) <= 1 or command[0] == "check", (told, err)  # `check` lists everything that is wrong
        assert all(one.isprintable() and len(one) < 9000 for one in err.splitlines()), (told, err)
        assert tree(here) == before, (told, tree(here) ^ before)


MEDIA = 75
SHAPES = ("film.mp4", "film.mkv", "film.avi", "film.mov", "fr.wav", "fr.flac", "floats.wav", "cuts.edl")
LISTS = (
    "#EXTM3U\n#EXTINF:9,\nfilm.mp4\n", "ffconcat version 1.0\nfile film.mp4\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\n",
    "<?xml version='1.0'?><MPD/>", "[playlist]\nFile1=film.mp4\n",
)  # fmt: skip


def small_media(folder: Path) -> dict[str, bytes]:
    """Good files of a second, by name."""
    rate, hz = Fraction(25), 16_000
    wave = (0.2 * np.sin(np.arange(hz) / 9)).astype(np.float32)
    for name in SHAPES[:4]:
        with media.ClipWriter(folder / name, 64, 48, rate, sample_rate_hz=hz, channels=1) as clip:
            for n in range(25):
                clip.frame(np.full((48, 64, 3), 60 + 5 * n, np.uint8))
            clip.sound(wave[:, None])
    for name in ("fr.wav", "fr.flac"):
        with media.ClipWriter(folder / name, sample_rate_hz=hz, channels=1) as clip:
            clip.sound(wave[:, None])
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 4 * hz, b"WAVE", b"fmt ", 16, 3, 1, hz, hz * 4, 4, 32,
                       b"data", 4 * hz)  # fmt: skip
    (folder / "floats.wav").write_bytes(head + wave.astype("<f4").tobytes())
    (folder / "cuts.edl").write_text("TITLE: x\n001  R V C 00:00:00:00 00:00:00:10 00:00:00:00 00:00:00:10\n")
    return {name: (folder / name).read_bytes() for name in SHAPES}


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a few changed, most of them in the header; or cut off; or something else altogether."""
    kind = rng.randrange(10)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        return rng.choice(LISTS).encode()
    if kind == 2:
        return rng.randbytes(rng.choice((0, 1, 4096)))
    out = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        end = len(out) if rng.random() < 0.3 else min(len(out), 512)
        at = rng.randrange(end)
        special = rng.choice((b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\xc0\x7f", b"\x7f\x80\0\0", rng.randbytes(4)))
        out[at : at + len(special)] = special
    return bytes(out)


@pytest.mark.long
@pytest.mark.parametrize("part", [0, 1, 2])
def test_whatever_media_it_is_given_check_ends_well(part: int, here: Path, dub: Callable[..., Any] | Dub) -> None:
    rng = random.Random(f"{SEED}.media.{part}")
    good = small_media(here)
    known = (0, 2)
    title = {"id": "a", "video": "../film.mp4", "dubs": [{"language": "fr", "audio": "../fr.wav"}]}
    (here / "work" / "job.yaml").write_text(json.dumps({"version": 1, "titles": [title]}))
    assert dub("check", "job.yaml")[0] == 0  # loads what takes seconds to load
    for n in range(MEDIA // 3):
        film, sound = rng.choice(SHAPES[:4]), rng.choice(SHAPES[4:7])
        hit = rng.choice((film, film, sound, sound, "cuts.edl"))
        (here / hit).write_bytes(damaged(rng, good[hit]))
        title = {"id": "a", "video": f"../{film}", "dubs": [{"language": "fr", "audio": f"../{sound}"}]}
        title |= {"shots": "../cuts.edl"} if hit == "cuts.edl" else {}
        (here / "work" / "job.yaml").write_text(json.dumps({"version": 1, "titles": [title]}))
        told = f"DUB_FUZZ_SEED={SEED}, media, part {part}, number {n}: {hit}"
        before = tree(here)
        try:
            with at_most(LONGEST_S):
                code, _, err = dub("check", "job.yaml", *(["--deep"] if rng.random() < 0.3 else []))
        except BaseException as e:
            (here / hit).rename(Path(tempfile.gettempdir()) / f"dub_fuzz_{hit}")
            raise AssertionError(told) from e
        assert code in known, (told, err)
        assert "Traceback" not in err and "defect of dub" not in err, (told, err)
        assert code == 0 or any(line.startswith("dub: ") for line in err.splitlines()), (told, err)
        assert tree(here) == before, (told, tree(here) ^ before)
        (here / hit).write_bytes(good[hit])
