"""The commands a person starts with, the exit codes, and how long they wait for help."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keepsight.cli.main import run


def test_help_does_not_wait_for_heavy_packages() -> None:
    code = (
        "import sys, keepsight.cli.main as m; m.run(['segment', '--help']); "
        "print(sorted({'torch', 'transformers', 'numpy', 'av', 'cv2', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in (
        "--point",
        "--box",
        "--mask",
        "--prompts",
        "--policy-option",
        "--stride",
        "--resume",
        "--no-overlay",
        "--camera",
    ):
        assert option in done.stdout


def test_models_lists_and_explains(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    printed = capfd.readouterr().out
    assert re.search(r"sam2\.1-tiny +156 MB +38\.9 M +Apache-2\.0 +facebook/sam2\.1-hiera-tiny", printed)
    assert "sam3 is gated" in printed or re.search(r"sam3 .*yes", printed)
    assert run(["models", "download", "sam2.1-tinny"]) == 2
    assert capfd.readouterr().err.startswith("keepsight: There is no model 'sam2.1-tinny'. Did you mean sam2.1-tiny")


def test_policies_and_doctor_speak(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["policies"]) == 0
    assert "sam2" in capfd.readouterr().out
    assert run(["doctor"]) == 0
    printed = capfd.readouterr().out
    for topic in (
        "torch",
        "PyAV",
        "device",
        "bfloat16",
        "threads",
        "memory",
        "disk here",
        "reads",
        "writes",
        "models here",
        "hub",
    ):
        assert re.search(rf"^[+!x] {topic} ", printed, re.MULTILINE), topic


def test_usage_errors_and_defects_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["segment"]) == 2
    assert run(["segment", "x.mp4", "--stride", "0"]) == 2
    assert run(["nonsense"]) == 2
    capfd.readouterr()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("keepsight.pipeline.segment.run_segment", broken)
    assert run(["segment", "x.mp4", "--point", "0:1,1"]) == 1
    plain = capfd.readouterr().err
    assert "ZeroDivisionError: oh" in plain
    assert "please report it; run with --debug" in plain
    assert "Traceback" not in plain
    assert run(["segment", "x.mp4", "--point", "0:1,1", "--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err
    assert run(["--version"]) == 0


def test_ctrl_c_in_a_real_process_and_the_line_it_prints_goes_on(studio: Path, tmp_path: Path) -> None:
    """The command as a person runs it: interrupted, exit code 130, and the printed command finishes the job."""
    out = tmp_path / "my out"
    command = [
        "segment",
        str(studio / "clip.mp4"),
        "--model",
        str(studio / "model"),
        "--point",
        "0:20,20",
        "--out",
        str(out),
    ]
    quick = ["--no-overlay", "--no-crops", "--no-report"]
    # Slowed down from outside, so that there is a moment to interrupt.
    slow = (
        "import sys, time; from keepsight.store import Project; write = Project.write_result\n"
        "def slowly(*a, **k): time.sleep(0.05); write(*a, **k)\n"
        "Project.write_result = slowly; from keepsight.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", slow, *command, *quick], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    project = out / "project.keepsight"
    deadline = time.monotonic() + 60
    while not project.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(child.pid, signal.SIGINT)
    printed, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert errors == ""
    assert "Stopped. Followed 1 object through" in printed
    line = next(line.strip() for line in printed.splitlines() if "--resume" in line)
    assert line == f"keepsight segment {studio / 'clip.mp4'} --out '{out}' --resume"
    assert run(["segment", str(studio / "clip.mp4"), "--out", str(out), "--resume", *quick]) == 0
    assert len(list((out / "masks").glob("*.png"))) == 36


def test_policies_are_explained_with_their_options(capfd: pytest.CaptureFixture[str]) -> None:
    from keepsight.memory import POLICIES

    assert run(["policies"]) == 0
    printed = capfd.readouterr().out
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 100
    for name, settings in POLICIES.items():
        section = printed[printed.index(f"{name}  ({settings.title})") :].split("\n\n")[0]
        words = " ".join(section.split())
        for text in (settings.summary.idea, settings.summary.choose, settings.summary.cost, settings.summary.paper):
            assert " ".join(text.split()) in words
        for option in settings.describe():
            assert re.search(
                rf"^  {option.name} +{re.escape(option.default)} +{re.escape(option.range)} ", section, re.M
            )
    assert run(["policies", "sam2"]) == 0
    assert capfd.readouterr().out.startswith("sam2  (SAM 2)\n")
    assert run(["policies", "sam3000"]) == 2
    assert "There is no memory policy 'sam3000'. There are: sam2" in capfd.readouterr().err
