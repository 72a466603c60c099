"""What happens to the project file when things go wrong: kills, full disks, second writers, files that are not ours."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from keepsight.core import FrameResult, Mask, StoreError, TrackedObject
from keepsight.store import Project

HEIGHT, WIDTH, OBJECTS = 90, 160, 4


def make(path, frames=0):
    project = Project.create(path)
    project.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=None, fingerprint="")
    run = project.start_run(1, {})
    for frame in range(frames):
        project.write_result(1, run, noisy(frame))
    return project, run


def noisy(frame):
    """Ragged masks, so that a frame's rows span several pages of the file; the same for the same frame."""
    rng = np.random.default_rng(frame)
    items = tuple(
        TrackedObject(i, Mask.from_array(rng.random((HEIGHT, WIDTH)) < 0.2), 0.5, 0.9) for i in range(OBJECTS)
    )
    return FrameResult(frame, frame / 25, HEIGHT, WIDTH, items)


WRITER = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[2])
    from test_safety import noisy
    from keepsight.store import Project
    project = Project.open(sys.argv[1])
    run = project.start_run(1, {})
    frame = 0
    while True:
        project.write_result(1, run, noisy(frame))
        print(frame, flush=True)
        if frame % 5 == 4:
            project.save_checkpoint(run, frame, str(frame).encode() * 20_000)
        frame += 1
    """
)


def test_sigkill_at_any_moment_keeps_every_committed_frame(tmp_path):
    rng = random.Random(1)
    file = tmp_path / "a.keepsight"
    make(file)[0].close()
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(file), os.path.dirname(__file__)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = [int(writer.stdout.readline()) for _ in range(rng.randint(1, 60))]
        time.sleep(rng.random() * 0.02)
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.communicate()[0].split("\n") if line.strip()]
        with Project.open(file) as project:
            assert project._db.rows("PRAGMA integrity_check")[0][0] == "ok"
            run = project.runs(1)[-1]
            assert run.state == "interrupted"
            done = project.frames_done(1, run.id)
            # Every frame that was reported is there; at most the one after it was committed but not yet reported.
            assert done == set(range(len(done)))
            assert len(said) <= len(done) <= len(said) + 1
            for frame in (0, len(done) // 2, len(done) - 1):
                assert project.result(1, frame) == noisy(frame)
            checkpoint = project.latest_checkpoint(run.id)
            if len(said) > 5:
                assert checkpoint[0] in (said[-1] // 5 * 5 - 1, said[-1] // 5 * 5 + 4)
                assert checkpoint[1] == str(checkpoint[0]).encode() * 20_000


def write_until_full(project, run):
    for frame in range(3, 50):
        project.write_result(1, run, noisy(frame))


def test_a_full_disk_costs_the_frame_in_flight_only(tmp_path):
    project, run = make(tmp_path / "a.keepsight", frames=3)
    pages = project._db.rows("PRAGMA page_count")[0][0]
    project._db.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(
        StoreError, match=r"The disk is full: .*a\.keepsight.*while frame \d+ was written.*earlier frames are safe"
    ):
        write_until_full(project, run)
    done = project.frames_done(1, run)
    assert list(project.results(1)) == [noisy(frame) for frame in sorted(done)]
    project._db.rows("PRAGMA max_page_count = 1000000")  # room again: the run goes on
    project.write_result(1, run, noisy(max(done) + 1))
    project.close()
    with Project.open(tmp_path / "a.keepsight") as again:
        assert again.frames_done(1, run) == set(range(len(done) + 1))


def test_a_second_writer_waits_and_then_says_so(tmp_path):
    first, run = make(tmp_path / "a.keepsight", frames=1)
    with Project.open(tmp_path / "a.keepsight", busy_timeout_s=0.05) as second:
        with first.transaction():
            first.write_result(1, run, noisy(1))
            with pytest.raises(StoreError, match=r"Another process is writing to .*a\.keepsight"):
                second.write_result(1, run, noisy(2))
            assert [r.frame for r in second.results(1)] == [0]  # reading goes on, and sees whole frames only
        second.write_result(1, run, noisy(2))
    assert first.frames_done(1, run) == {0, 1, 2}


def test_files_that_are_not_ours(tmp_path):
    text = tmp_path / "text.keepsight"
    text.write_text("hello")
    foreign = tmp_path / "foreign.keepsight"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    for file in (text, foreign):
        before = file.read_bytes()
        with pytest.raises(StoreError, match="not a Keepsight project"):
            Project.open(file)
        with pytest.raises(StoreError, match="not overwritten"):
            Project.create(file, overwrite=True)
        assert file.read_bytes() == before
    with pytest.raises(StoreError, match="does not exist"):
        Project.open(tmp_path / "none.keepsight")
    with pytest.raises(StoreError, match="is a folder"):
        Project.open(tmp_path)


def test_newer_and_damaged_projects(tmp_path):
    project, _ = make(tmp_path / "a.keepsight", frames=20)
    project._db.execute("PRAGMA user_version = 99")
    project.close()
    with pytest.raises(StoreError, match=r"newer Keepsight .*99.*upgrade"):
        Project.open(tmp_path / "a.keepsight")
    make(tmp_path / "b.keepsight", frames=20)[0].close()
    whole = (tmp_path / "b.keepsight").read_bytes()
    (tmp_path / "b.keepsight").write_bytes(whole[:5000])
    with pytest.raises(StoreError, match="damaged"):
        Project.open(tmp_path / "b.keepsight")


def test_creating_never_harms_what_is_there(tmp_path):
    file = tmp_path / "a.keepsight"
    project, run = make(file, frames=1)
    with pytest.raises(StoreError, match="already exists"):
        Project.create(file)
    with pytest.raises(StoreError, match="in use by a run"):
        Project.create(file, overwrite=True)
    project.finish_run(run, "cancelled")
    with Project.create(file, overwrite=True) as fresh:
        assert fresh.videos() == []
    with pytest.raises(StoreError, match="cannot be opened or created"):
        Project.create(tmp_path / "missing" / "a.keepsight")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keepsight"]


def test_a_stale_log_is_not_replayed_into_a_new_file(tmp_path):
    project, _ = make(tmp_path / "a.keepsight", frames=5)
    log = (tmp_path / "a.keepsight-wal").read_bytes()
    project.close()
    (tmp_path / "a.keepsight").unlink()
    (tmp_path / "a.keepsight-wal").write_bytes(log)
    with Project.create(tmp_path / "a.keepsight") as fresh:
        assert fresh.videos() == []


def test_reading_only(tmp_path):
    make(tmp_path / "a.keepsight", frames=2)[0].close()
    with Project.open(tmp_path / "a.keepsight", read_only=True) as project:
        assert len(list(project.results(1))) == 2
        with pytest.raises(StoreError, match="reading only"):
            project.write_result(1, 1, noisy(0))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_still_readable(tmp_path):
    make(tmp_path / "a.keepsight", frames=2)[0].close()
    tmp_path.chmod(0o555)
    try:
        with Project.open(tmp_path / "a.keepsight") as project:
            assert project.read_only
            assert len(list(project.results(1))) == 2
        with pytest.raises(StoreError, match="cannot be"):
            Project.create(tmp_path / "b.keepsight")
    finally:
        tmp_path.chmod(0o755)
