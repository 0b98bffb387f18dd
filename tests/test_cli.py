"""The command line as a person meets it: help, answers, refusals in one sentence, exit codes."""

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from command import Dub
from events import of
from waiting import NET_S

from dubbing import manifest
from dubbing.api.progress import PROGRESS, FiguresFile, Tally
from dubbing.cli import app
from dubbing.cli.show import table
from dubbing.cli.watch import Lines, format_text
from dubbing.engine import Event
from dubbing.errors import StageError


def refusal(answer: tuple[int, str, str]) -> str:
    """The one sentence of an exit with code 2."""
    code, out, err = answer
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("dub: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_help_teaches(dub: Dub) -> None:
    code, out, _ = dub("--help")
    assert code == 0
    for word in ("Examples:", "dub run reel.yaml", "titles:", "130 interrupted", *app.dub.commands):
        assert word in out


@pytest.mark.parametrize("name", sorted(app.dub.commands))
def test_every_command_has_help(dub: Dub, name: str) -> None:
    code, out, _ = dub(name, "--help")
    assert code == 0 and "Examples:" in out and f"dub {name}" in out


def test_version(dub: Dub) -> None:
    assert dub("--version")[1].startswith("dub, version ")


def test_without_a_command_it_shows_help(dub: Dub) -> None:
    code, out, err = dub()
    assert code == 2 and "Examples:" in out + err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument 'MANIFEST'. See `dub run --help`."),
        (["run", "x.yaml", "--engin", "ray"], "No such option"),
        (["run", "x.yaml", "--engine", "slurm"], "'slurm' is not one of"),
        (["run", "x.yaml", "--workers", "0"], "0 is not in the range"),
        (["run", "absent.yaml"], "No such manifest: 'absent.yaml'"),
        (["check", "absent.yaml"], "No such manifest"),
        (["plan", "absent.yaml"], "No such manifest"),
        (["status", "absent"], "There is no run.json in 'absent'"),
        (["run", "--", "-odd.yaml"], "No such manifest: '-odd.yaml'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(dub: Dub, args: list[str], said: str) -> None:
    assert said in refusal(dub(*args))


def test_a_bad_manifest_or_config_writes_nothing(dub: Dub, tmp_path: Path) -> None:
    job, out = tmp_path / "job.yaml", tmp_path / "out"
    job.write_text("version: 1\ntitels: []\n")
    for command in ("check", "plan", "run"):
        assert f"{job}, line 2: unknown key 'titels'" in refusal(dub(command, job, "--out", out))
    settings = tmp_path / "c.yaml"
    settings.write_text("mastre: {}\n")
    job.write_text("version: 1\ntitles: [{id: a, video: b, dubs: [{language: fr, audio: c}]}]\n")
    assert f"{settings}, line 1: unknown key 'mastre'" in refusal(dub("run", job, "--out", out, "--config", settings))
    assert not out.exists()


def test_debug_adds_a_traceback(dub: Dub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUB_DEBUG", "1")
    monkeypatch.chdir(tmp_path)
    code, _, err = dub("run", "absent.yaml")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("dub: No such manifest")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "dub: interrupted; run the same command again to go on.\n"),
        (StageError("shot 3"), 1, "dub: shot 3\n"),
        (
            ZeroDivisionError("x"),
            1,
            "dub: ZeroDivisionError: x; this is a defect of dub. DUB_DEBUG=1 writes a report that you can send.\n",
        ),
    ],
)
def test_exit_codes(dub: Dub, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(manifest, "load", fail)
    answer = dub("run", "x.yaml")
    assert (answer[0], answer[1], answer[2].lstrip("\n")) == (code, "", said)


def test_schema(dub: Dub) -> None:
    assert "titles" in json.loads(dub("schema")[1])["properties"]
    assert "master" in json.loads(dub("schema", "--config")[1])["properties"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_with_130_and_say_how_to_go_on(number: signal.Signals) -> None:
    code = (
        "import signal; from dubbing import cli, manifest\n"
        "def work(*_): print('up', flush=True); signal.pause()\n"
        "manifest.load = work\n"
        "cli.main(['run', 'x.yaml'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=NET_S)
    assert (process.returncode, err.lstrip("\n")) == (130, "dub: interrupted; run the same command again to go on.\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dubbing", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_no_command_reads_standard_input() -> None:
    for command in app.dub.commands.values():
        assert not any(isinstance(p.type, click.File) for p in command.params)


# -- progress --------------------------------------------------------------------------------


def play(show: Callable[[Event], None], shots: int = 4, frames: int = 25) -> None:
    """A title of 4 shots and 100 frames in one language, from nothing to the master."""
    stages = {"shots": 1, "faces": shots, "lipsync": shots, "sync": shots, "master": 1}
    show(Event("planned", totals={"shots": (1, 0, 100, 0)}))
    done: dict[str, tuple[int, int, int, int]] = {}
    for stage, tasks in stages.items():
        size = shots * frames // tasks
        for n in range(tasks):
            name = f"{stage} reel/fr" if tasks == 1 else f"{stage} reel/fr/shot_{n + 1:04d}"
            show(of("started", name))
            show(of("frames", name, size // 2))
            show(of("frames", name, size - size // 2))
            show(of("finished", name))
        done[stage] = (tasks, tasks, 100, 100)
        if stage == "shots":
            ahead = {s: (n, 0, 100, 0) for s, n in stages.items() if s not in done}
            show(Event("planned", totals={**ahead, **done}))


def test_progress_counts_to_the_end_and_never_back() -> None:
    now = [0.0]
    tally = Tally([(100, 1)], clock=lambda: now[0])
    parts: list[float] = []
    shots: list[tuple[int, int | None]] = []

    def show(event: Event) -> None:
        now[0] += 1.0
        tally(event)
        figures = tally.figures()
        parts.append(figures.part)
        shots.append((figures.shots_done, figures.shots_total))
        assert figures.frames_per_s >= 0 and (figures.left_s is None or figures.left_s >= 0)

    assert format_text(tally.figures()) == " 0%  starting"  # no task is at work yet
    play(show)
    assert parts == sorted(parts) and parts[0] == 0.0 and parts[-1] == 1.0
    assert shots[0] == (0, None) and shots[-1] == (4, 4)
    assert tally.figures().left_s == 0
    assert format_text(tally.figures()).startswith("100%  shots 4/4  mastering of reel/fr")


def test_time_left_is_about_right() -> None:
    now = [0.0]
    tally = Tally([(1000, 2)], clock=lambda: now[0])
    every = {s: (1, 0, 1000 * (1 if s in ("shots", "faces") else 2), 0) for s in ("shots", "faces", "lipsync")}
    tally(Event("planned", totals={**every, "sync": (20, 0, 2000, 0), "master": (2, 0, 2000, 0)}))
    for _ in range(20):
        now[0] += 1.0
        tally(of("frames", "lipsync reel/fr/shot_0001", 50))
    assert tally.figures().frames_per_s == pytest.approx(50, rel=0.1)
    assert tally.figures().left_s is None, "nothing of a task that was never started counts"


def test_lines_are_plain_and_few() -> None:
    stream = io.StringIO()
    with Lines(Tally([(100, 1)]), stream) as lines:
        play(lines)
        lines(of("failed", "lipsync reel/fr/shot_0002", text="boom\ntrace"))
    text = stream.getvalue().splitlines()
    assert "reel/fr is rendered" in text
    assert "rendering mouths of reel/fr/shot_0002 failed: boom" in text
    assert len(text) == 3 and not any("\x1b" in line for line in text)


def test_figures_lie_in_the_folder_while_a_run_goes_on(tmp_path: Path) -> None:
    with FiguresFile([(100, 1)], tmp_path) as figures:
        play(figures)  # type: ignore[arg-type]
        assert json.loads((tmp_path / PROGRESS).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_terminal_gets_a_bar() -> None:
    from dubbing.cli.watch import Bar, watcher

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with watcher([(100, 1)], stream) as bar:
        assert isinstance(bar, Bar)
        play(bar)
        bar.refresh()
    assert "reel/fr is rendered" in stream.getvalue()


def test_table() -> None:
    text = table(("name", "n"), [("映画", 1), ("a", 12), ("b", None)])
    assert text.splitlines() == ["name   n", "----  --", "映画   1", "a     12", "b      -"]


# -- status ----------------------------------------------------------------------------------


MANIFEST = {
    "version": 1, "titles": [{"id": "reel", "video": "reel.mp4", "dubs": [{"language": "fr", "audio": "fr.wav"}]}],
}  # fmt: skip


def folder_of_a_run(out: Path, state: str = "finished") -> None:
    """What a run of one title in one language leaves: run.json and a table of three shots."""
    from dubbing.shot_table import write_rows
    from dubbing.store import Store

    store = Store(out)
    common = {"title": "reel", "language": "fr", "needs_review": False}
    rows = [
        {**common, "shot": "shot_0001", "status": "untouched", "reason": "no_face", "start_tc": "01:00:00:00"},
        {**common, "shot": "shot_0002", "status": "dubbed", "start_tc": "01:00:03:00", "lse_d": 1.5, "lse_c": 3.0,
         "source_lse_d": 1.4, "source_lse_c": 3.1, "lse_offset_frames": -1.0, "sharpness": 0.9},
        {**common, "shot": "shot_0003", "status": "dubbed", "start_tc": "01:00:09:00", "lse_d": 3.5, "lse_c": 1.0,
         "source_lse_d": 1.4, "needs_review": True, "review_reason": "LSE-D 3.50 is over the original's 1.40"},
    ]  # fmt: skip
    write_rows(store, out / "reel" / "fr" / "shots.parquet", rows)
    (out / "reel" / "fr" / "reel.fr.mp4").write_bytes(b"x")
    store.write_json(
        out / "run.json",
        {"state": state, "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:35+00:00",
         "seconds": 95.0, "exit_status": 3,
         "manifest": MANIFEST},
    )  # fmt: skip


def test_status_names_the_worst_shots_and_where_things_are(dub: Dub, tmp_path: Path) -> None:
    folder_of_a_run(tmp_path)
    code, out, _ = dub("status", tmp_path)
    assert code == 0
    assert "finished 2026-01-01" in out and "exit status 3" in out
    assert "1 untouched, 2 dubbed" in out and "1 no_face" in out
    assert str(tmp_path / "reel/fr/reel.fr.mp4") in out and str(tmp_path / "reel/fr/shots.parquet") in out
    worst = out[out.index("worst shots") :].splitlines()
    assert "shot_0003" in worst[3] and "3.50" in worst[3] and "1.40" in worst[3] and "shot_0002" in worst[4]
    found = json.loads(dub("status", tmp_path, "--json")[1])
    assert found["state"] == "finished"
    assert [w["shot"] for w in found["dubs"][0]["worst"]] == ["shot_0003", "shot_0002"]
    assert found["dubs"][0]["lse_d"] == 2.5


def test_status_during_a_run_and_after_a_kill(dub: Dub, tmp_path: Path) -> None:
    folder_of_a_run(tmp_path, "running")
    assert "was killed; run the same command again" in dub("status", tmp_path)[1]
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        figures = {"part": 0.37, "shots_done": 4, "shots_total": 30, "frames_per_s": 85.0, "left_s": 80.0,
                   "stage": "lipsync", "running": 2, "failed": 0, "pid": 1, "at": time.time()}  # fmt: skip
        (tmp_path / PROGRESS).write_text(json.dumps(figures))
        out = dub("status", tmp_path)[1]
        assert "running since" in out and "37%  shots 4/30  rendering mouths  85 frames/s  about 1:20 left" in out
        assert json.loads(dub("status", tmp_path, "--json")[1])["progress"]["shots_done"] == 4
    folder_of_a_run(tmp_path, "stopped")
    assert "stopped (interrupted)" in dub("status", tmp_path)[1]


def test_status_of_a_folder_before_any_table(dub: Dub, tmp_path: Path) -> None:
    run = {"state": "stopped", "manifest": MANIFEST, "error": "x"}
    (tmp_path / "run.json").write_text(json.dumps(run))
    code, out, _ = dub("status", tmp_path)
    assert code == 0 and "stopped (x)" in out and "nothing" in out
    (tmp_path / "run.json").write_text("{")
    assert "run.json' is damaged" in refusal(dub("status", tmp_path))


def test_status_loads_little(dub: Dub, tmp_path: Path) -> None:
    """What it takes is what it loads: no networks, no Ray, no data frames, nothing that finds faces or cuts."""
    folder_of_a_run(tmp_path)
    code = (
        "import sys\nfrom dubbing.cli import main\ncode = None\n"
        f"try:\n    main(['status', {str(tmp_path)!r}])\nexcept SystemExit as e:\n    code = e.code\n"
        "heavy = {'torch', 'ray', 'pandas', 'mediapipe', 'scipy', 'librosa', 'scenedetect', 'fastapi', 'matplotlib'}\n"
        "sys.exit(f'{code} {sorted(heavy & sys.modules.keys())}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0 []" and "shot_0003" in done.stdout


def test_what_is_left_begins_with_what_earlier_runs_say() -> None:
    now = [0.0]
    tally = Tally([(1000, 1)], clock=lambda: now[0])
    tally(Event("expected", seconds=100.0))
    tally(Event("planned", totals=dict.fromkeys(("shots", "faces", "lipsync", "sync", "master"), (1, 0, 1000, 0))))
    assert tally.figures().left_s == 100.0
    now[0] = 20.0  # loading networks: by the pace alone the first frames say over an hour
    tally(of("started", "shots reel"))
    tally(of("frames", "shots reel", 300))
    left = tally.figures().left_s
    assert left is not None and 90 < left < 125
    for n, stage in enumerate(("shots", "faces", "lipsync", "sync"), 1):
        tally(of("finished", f"{stage} reel/fr/shot_0001", 1000))
        now[0] = 20.0 + 30 * n  # slower than earlier runs
    left = tally.figures().left_s
    work = 2 + 7 + 10 + 9 + 22
    assert left is not None and left > 100 * 22 / work, "its own pace counts more and more"


def test_without_earlier_runs_the_first_minutes_say_nothing_of_the_rest() -> None:
    now = [0.0]
    tally = Tally([(100_000, 1)], clock=lambda: now[0])
    tally(Event("planned", totals=dict.fromkeys(("shots", "faces", "lipsync", "sync", "master"), (1, 0, 100000, 0))))
    tally(of("started", "faces reel/shot_0001"))
    for _ in range(5):
        now[0] += 10.0
        tally(of("frames", "faces reel/shot_0001", 2000))
    assert tally.figures().left_s is None
    now[0] = 130.0
    assert tally.figures().left_s is not None
