"""What runs wrote is undone and redone as a step, in the order in which people and runs took turns; the log is bounded."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from keepsight.core import FrameResult, Mask, Source, TrackedObject
from keepsight.store import DeleteRange, Merge, Project, Swap
from keepsight.store import history as history_module

HEIGHT, WIDTH, FRAMES = 12, 16, 10


def mask(seed):
    return Mask.from_array(np.random.default_rng(seed).random((HEIGHT, WIDTH)) > 0.5)


def write(project, run, frame, seed, ids=(1, 2), **more):
    items = tuple(TrackedObject(one, mask((seed, frame, one)), 0.5, 0.9) for one in ids)
    result = FrameResult(frame, frame / 25, HEIGHT, WIDTH, items)
    with project.transaction():
        project.write_result(1, run, result, undo_name="track", **more)
        project.note_run(run, {"frame": frame})


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "a.keepsight") as made:
        made.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=FRAMES, fingerprint="f")
        for one in (1, 2):
            made.add_object(1, one, "cow")
            made.set_mask(1, one, 0, mask(one), Source.PROMPT)
        yield made


def dump(project):
    """Everything that a person could tell apart."""
    connection = sqlite3.connect(project.path)
    wanted = {
        "masks": "SELECT * FROM masks",
        "frames": "SELECT * FROM frames",
        "accepted": "SELECT * FROM accepted",
        "objects": "SELECT object_id, label, locked FROM objects WHERE NOT removed",
    }
    found = {name: sorted(map(repr, connection.execute(sql))) for name, sql in wanted.items()}
    connection.close()
    return found


def test_a_run_is_one_step_that_gives_back_what_it_wrote_over(project):
    states = [dump(project)]
    first = project.start_run(1, {})
    for frame in range(1, 8):
        write(project, first, frame, 1)
    project.finish_run(first, "finished", facts={"frame": 7})
    states.append(dump(project))
    again = project.start_run(1, {})
    for frame in (5, 6, 6, 7, 8):  # one of them twice, as a policy that decides late does
        write(project, again, frame, 2 + frame, ids=(2, 3), labels={3: "found"})
    project.finish_run(again, "cancelled", facts={"frame": 8})
    states.append(dump(project))
    assert len(states[2]["objects"]) == 3
    for _ in range(2):
        assert project.undo_names() == ("track 4 frames", None)
        assert (project.next_run(forward=False), project.undo()) == (again, "track 4 frames")
        assert dump(project) == states[1]
        assert project.undo() == "track 7 frames"
        assert dump(project) == states[0]
        runs = project.runs(1)
        assert [(run.state, run.note, run.facts) for run in runs] == [("cancelled", "undone", {})] * 2
        assert (project.redo(), dump(project)) == ("track 7 frames", states[1])
        assert (project.redo(), dump(project)) == ("track 4 frames", states[2])
        assert [(run.state, run.facts) for run in project.runs(1)] == [
            ("finished", {"frame": 7}),
            ("cancelled", {"frame": 8}),
        ]
        project.close()
        project = Project.open(project.path)
    project.close()


def test_what_people_do_between_the_frames_of_a_run_is_a_step_of_its_own(project):
    """A random walk of runs that take turns with edits goes back through every state and forth again."""
    rng = np.random.default_rng(4)
    runs = [project.start_run(1, {}) for _ in range(2)]
    states = [(project.undo_names()[0], dump(project))]
    for turn in range(60):
        kind = int(rng.integers(9))
        frame = int(rng.integers(1, FRAMES))
        if kind < 5:
            write(project, runs[turn // 30], frame, turn)
        elif kind == 5:
            project.edit(1, Swap(1, 2, start=frame))
        elif kind == 6:
            project.edit(1, DeleteRange(1, frame))
        elif kind == 7:
            project.set_mask(1, 2, frame, mask(turn))
        elif project.masks_of(1, 1, [frame]):
            (project.accept if turn % 2 else project.unaccept)(1, frame, [1])
        now = dump(project)
        name = project.undo_names()[0]
        operations = project._db.rows("SELECT COUNT(*) FROM operations")[0][0]
        if operations == len(states) + 3:  # the fixture made four
            states[-1] = (name, now)
        else:
            states.append((name, now))
    assert sum(name.startswith("track") for name, _ in states) > 8
    for name, state in reversed(states[1:]):
        assert dump(project) == state
        assert project.undo() == name
    assert dump(project) == states[0][1]
    for name, state in states[1:]:
        assert project.redo() == name
        assert dump(project) == state


def test_while_a_run_goes_on_people_take_back_their_own_and_lose_nothing(project):
    early = project.start_run(1, {})
    for frame in range(1, 9):
        write(project, early, frame, 1)
    before = dump(project)
    run = project.start_run(1, {})
    write(project, run, 1, 2)
    assert project.undo_names(going=run) == (None, None)
    assert project.undo(going=run) is None
    project.edit(1, DeleteRange(1, 4, 7))
    for frame in range(2, 6):
        write(project, run, frame, 2)
    # The deletion lies under what the run wrote since: that stays, and what it knows to have been there before is put right.
    assert project.undo(going=run).startswith("3 masks of object 1")
    assert [mask((seed, frame, 1)) for seed, frame in ((2, 4), (2, 5), (1, 6))] == [
        item.mask for frame, item in project.masklet(1, 1) if frame in (4, 5, 6)
    ]
    project.finish_run(run, "finished")
    assert project.undo() == "track 4 frames"
    assert project.undo() == "track 1 frame"
    assert dump(project) == before


def test_what_another_program_wrote_since_is_newer_and_stays(project):
    run = project.start_run(1, {})
    for frame in (1, 2):
        write(project, run, frame, 1)
    other = project.start_run(1, {})
    newer = FrameResult(2, 0.1, HEIGHT, WIDTH, (TrackedObject(1, mask(77), 0.5, 0.9),))
    project.write_result(1, other, newer)
    assert project.undo() == "track 2 frames"
    assert {frame: item.mask for frame, item in project.masklet(1, 1)} == {0: mask(1), 2: mask(77)}
    project.write_result(1, other, FrameResult(1, 0.04, HEIGHT, WIDTH, newer.objects))
    assert project.redo() == "track 2 frames"
    assert {frame: item.mask for frame, item in project.masklet(1, 1)} == {0: mask(1), 1: mask(77), 2: mask(77)}
    assert set(dict(project.masklet(1, 2))) == {0, 1, 2}


def test_the_log_forgets_its_oldest_steps_by_size_and_never_the_latest(project, monkeypatch):
    def kept():
        return project._db.rows("SELECT SUM(LENGTH(counts)) FROM replaced")[0][0] or 0

    for seed in range(6):
        run = project.start_run(1, {})
        for frame in range(1, FRAMES):
            write(project, run, frame, seed)
        if seed == 1:
            a_run = kept()
            monkeypatch.setattr(history_module, "KEEP_BYTES", int(2.5 * a_run))
    assert 0 < kept() < 3.6 * a_run
    names = []
    while (name := project.undo()) is not None:
        names.append(name)
    assert names == [f"track {FRAMES - 1} frames"] * 3
    monkeypatch.setattr(history_module, "KEEP_BYTES", 10)
    run = project.start_run(1, {})
    for frame in range(1, FRAMES):
        write(project, run, frame, 9)
    project.finish_run(run, "finished")
    project.edit(1, Merge(2, into=1))
    assert project.undo() is not None
    assert project.undo() is None
