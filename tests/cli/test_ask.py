"""`keepsight` without arguments: questions in a terminal, the help elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keepsight.cli.main import run
from keepsight.core import InputError
from keepsight.pipeline.asking import read_video, read_wish

PROGRAM = [sys.executable, "-c", "import sys; from keepsight.cli.main import run; sys.exit(run(sys.argv[1:]))"]


def converse(folder: Path, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Runs `keepsight` on a pseudo-terminal; gives each answer when its question has come."""
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "COLUMNS": "400",
        "TERM": "dumb",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder / "hub"),
    }
    child = subprocess.Popen(
        PROGRAM, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment, start_new_session=True
    )
    os.close(theirs)
    watch = threading.Timer(240, child.kill)
    watch.start()
    said, since, waiting = "", 0, list(answers)
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part.decode(errors="replace")
        while waiting and waiting[0][0] in said[since:]:
            since = len(said)
            os.write(ours, waiting.pop(0)[1].encode())
    code = child.wait()
    watch.cancel()
    os.close(ours)
    assert not waiting, said
    return code, said.replace("\r\n", "\n")


def test_a_click_is_asked_for_run_and_said_as_a_command(studio: Path, tmp_path: Path) -> None:
    video = tmp_path / "my clip.mp4"
    video.write_bytes((studio / "clip.mp4").read_bytes())
    code, said = converse(
        tmp_path,
        [
            ("Video file", "nothing.mp4\n"),
            ("Video file", f"'{video}'\n"),
            ("What to follow", "1 2 3\n"),
            ("What to follow", "46, 25\n"),
            ("On which frame (0 to 35)", "36\n"),
            ("On which frame", "24\n"),
        ],
    )
    assert code == 0, said
    assert "nothing.mp4" in said
    assert f"keepsight segment '{video}' --point 24:46,25" in said
    assert "Followed 1 object through 12 frames" in said
    assert (tmp_path / "out" / "my clip" / "project.keepsight").exists()
    # The second time there are results already; Ctrl-D at the question leaves them.
    code, said = converse(
        tmp_path, [("Video file", f"{video}\n"), ("What to follow", "46,25\n"), ("On which", "\n"), ("replace", "\x04")]
    )
    assert code == 130
    assert "keepsight: stopped." in said


def test_a_word_that_nothing_understands_is_offered_what_finds_without_words(studio: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes((studio / "clip.mp4").read_bytes())
    code, said = converse(
        tmp_path, [("Video file", "clip.mp4\n"), ("What to follow", "a red box\n"), ("Find without words", "motion\n")]
    )
    assert code == 0, said
    assert "keepsight models download grounding-dino" in said
    assert "keepsight segment clip.mp4 --text 'a red box' --detector motion" in said
    assert "'a red box':" in said


def test_elsewhere_the_help_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    printed = capfd.readouterr()
    assert "Usage: keepsight" in printed.out + printed.err


def test_what_is_answered_is_read_kindly(studio: Path) -> None:
    assert read_wish(" person in blue ") == ("--text", "person in blue")
    assert read_wish("10.5 20") == ("--point", "10.5,20")
    assert read_wish("1,2, 3 ,4") == ("--box", "1,2,3,4")
    assert read_video(f' "{studio / "clip.mp4"}" ') == (str(studio / "clip.mp4"), 36)
    for refused in ("", "1 2 3"):
        with pytest.raises(InputError):
            read_wish(refused)
    with pytest.raises(InputError):
        read_video("  ")
