"""What the project file promises: it gives back what it was given, tells done from absent, and undoes edits."""

from __future__ import annotations

import sqlite3
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import FrameResult, InputError, Mask, Prompt, Source, StoreError, TrackedObject
from keepsight.store import Project
from keepsight.store import frames as frames_module

HEIGHT, WIDTH = 24, 32


def rectangle(x1, y1, x2, y2):
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[y1:y2, x1:x2] = True
    return Mask.from_array(pixels)


def tracked(object_id, frame, *, absent=False):
    mask = Mask.empty(HEIGHT, WIDTH) if absent else rectangle(frame % 20, object_id, frame % 20 + 5, object_id + 4)
    return TrackedObject(object_id, mask, 0.9, 0.1 if absent else 0.8)


def frame_result(frame, ids=(1, 2)):
    return FrameResult(frame, frame / 25, HEIGHT, WIDTH, tuple(tracked(i, frame) for i in ids))


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "a.keepsight") as made:
        made.add_video(
            path="clip.mp4", name="clip", height=HEIGHT, width=WIDTH, fps=25, frame_count=50, fingerprint="f"
        )
        yield made


def test_results_come_back_in_order_a_page_at_a_time(project, monkeypatch):
    monkeypatch.setattr(frames_module, "_PAGE_FRAMES", 4)
    run = project.start_run(1, {"policy": "sam2"})
    order = [30, *range(20, 29), 3, 31]  # a run may go backwards, and skip
    for frame in order:
        project.write_result(1, run, frame_result(frame))
    project.set_mask(1, 7, 25, rectangle(0, 0, 3, 3))
    project.set_mask(1, 7, 40, rectangle(0, 0, 3, 3))  # a frame where only a person has been
    got = list(project.results(1))
    assert [r.frame for r in got] == sorted([*order, 40])
    assert got[0] == frame_result(3)
    assert [o.object_id for o in project.result(1, 25).objects] == [1, 2, 7]
    assert project.result(1, 40).time_s == 40 / 25
    assert [r.frame for r in project.results(1, 21, 24)] == [21, 22, 23]
    assert project.result(1, 4) is None
    assert project.frames_done(1, run) == set(order)
    assert project.frames_done(1) == {*order, 40}


def test_writing_while_reading_is_seen_and_safe(project):
    run = project.start_run(1, {})
    for frame in range(100):
        project.write_result(1, run, frame_result(frame))
    seen = []
    for result in project.results(1):
        seen.append(result.frame)
        project.write_result(1, run, frame_result(result.frame + 100, ids=(1,)) if result.frame < 50 else result)
    assert seen == list(range(150))


def test_done_and_absent_differ(project):
    run = project.start_run(1, {})
    project.write_result(1, run, FrameResult(0, 0.0, HEIGHT, WIDTH))
    project.write_result(1, run, FrameResult(1, 0.04, HEIGHT, WIDTH, (tracked(1, 1, absent=True),)))
    assert project.result(1, 0).objects == ()
    assert not project.result(1, 1)[1].present
    assert project.result(1, 2) is None
    assert [(p.frame, p.area, p.box) for p in project.track(1, 1)] == [(1, 0, None)]


def test_track_reads_no_masks(project, monkeypatch):
    monkeypatch.setattr(frames_module, "_PAGE_POINTS", 3)
    run = project.start_run(1, {})
    for frame in range(7):
        project.write_result(1, run, frame_result(frame))
    points = list(project.track(1, 2))
    assert [p.frame for p in points] == list(range(7))
    assert points[3].box == (3.0, 2.0, 8.0, 6.0)
    assert points[3].area == 20
    assert list(project.masklet(1, 2)) == [(frame, frame_result(frame)[2]) for frame in range(7)]
    plan = project._db.rows(
        "EXPLAIN QUERY PLAN SELECT frame, area FROM masks INDEXED BY masks_by_object WHERE video_id = 1 AND object_id = 2"
    )
    assert "COVERING INDEX" in plan[0]["detail"]


def test_a_run_leaves_drawn_masks_alone_unless_told(project):
    run = project.start_run(1, {})
    drawn = rectangle(0, 0, 2, 2)
    project.set_mask(1, 1, 5, drawn)
    project.write_result(1, run, frame_result(5))
    assert project.result(1, 5)[1].mask == drawn
    assert project.result(1, 5)[1].source is Source.EDITED
    project.write_result(1, run, frame_result(5), keep_edited=False)
    assert project.result(1, 5) == FrameResult(5, 0.2, HEIGHT, WIDTH, frame_result(5).objects)


coordinate = st.floats(0, 20, allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(
    points=st.lists(st.tuples(coordinate, coordinate, st.integers(0, 1)), min_size=1, max_size=4),
    box=st.none() | st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(10.5, 30), st.floats(10.5, 22)),
    label=st.none() | st.text(max_size=8),
)
def test_prompts_round_trip(tmp_path_factory, points, box, label):
    prompt = Prompt(3, 4, tuple(p[:2] for p in points), tuple(p[2] for p in points), box, None, label)
    with Project.create(tmp_path_factory.mktemp("p") / "a.keepsight") as project:
        project.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=9, fingerprint="")
        project.add_prompt(1, prompt)
        project.add_prompt(1, Prompt(4, 0, mask=rectangle(1, 1, 3, 3)))
        assert [stored.prompt for stored in project.prompts(1)] == [prompt, Prompt(4, 0, mask=rectangle(1, 1, 3, 3))]
        assert [(o.object_id, o.label) for o in project.objects(1)] == [(3, label), (4, None)]


def test_undo_outlives_the_process_and_redo_restores(project):
    project.add_object(1, 1, "rabbit")
    project.rename_object(1, 1, "hare")
    project.close()
    with Project.open(project.path) as again:
        assert again.undo_names() == ("rename object 1", None)
        assert again.undo() == "rename object 1"
        assert again.objects(1)[0].label == "rabbit"
        assert again.undo() == "add object 1"
        assert again.objects(1) == []
        assert again.undo() is None
        assert (again.redo(), again.redo(), again.redo()) == ("add object 1", "rename object 1", None)
        assert again.objects(1)[0].label == "hare"
        again.undo()
        again.rename_object(1, 1, "bunny")  # a new branch
        assert again.redo() is None


def test_random_edits_undo_to_every_state_they_passed_through(project):
    run = project.start_run(1, {})
    for frame in range(6):
        project.write_result(1, run, frame_result(frame))
    rng = np.random.default_rng(0)

    def state():
        return (list(project.results(1)), project.objects(1), project.prompts(1))

    def edit():
        alive = [o.object_id for o in project.objects(1)]
        kind = rng.integers(6)
        if kind == 0 or len(alive) < 2:
            project.add_object(1, project.next_object_id(1), "new")
        elif kind == 1:
            project.remove_object(1, int(rng.choice(alive)))
        elif kind == 2:
            project.set_mask(1, int(rng.choice(alive)), int(rng.integers(8)), rectangle(0, 0, *rng.integers(1, 20, 2)))
        elif kind == 3:
            project.delete_masks(1, int(rng.choice(alive)), int(rng.integers(4)), 5)
        elif kind == 4:
            with project.operation("two at once"):
                project.add_prompt(1, Prompt(int(alive[0]), 2, ((3.0, 3.0),), (1,)))
                project.rename_object(1, int(alive[-1]), f"n{rng.integers(99)}")
        elif project.prompts(1):
            project.remove_prompt(project.prompts(1)[0].id)

    # An edit that changes nothing is no step, so states are noted by the number of steps.
    steps = project._db.rows("SELECT COUNT(*) FROM operations")[0][0]
    states = [state()]
    for _ in range(40):
        edit()
        now = project._db.rows("SELECT COUNT(*) FROM operations")[0][0]
        if now != steps:
            states.append(state())
            steps = now
    for expected in reversed(states[:-1]):
        assert project.undo()
        assert state() == expected
    for expected in states[1:]:
        assert project.redo()
        assert state() == expected


def test_undo_keeps_what_a_run_wrote_since(project):
    run = project.start_run(1, {})
    project.write_result(1, run, frame_result(0))
    project.write_result(1, run, frame_result(1))
    assert project.delete_masks(1, 1) == 2
    newer = FrameResult(0, 0.0, HEIGHT, WIDTH, (TrackedObject(1, rectangle(9, 9, 12, 12), 0.5, 0.9),))
    project.write_result(1, project.start_run(1, {}), newer)
    project.undo()
    assert project.result(1, 0)[1] == newer[1]
    assert project.result(1, 1) == frame_result(1)


def test_a_group_is_all_or_nothing(project):

    def fails_half_way(group, object_id):
        with group:
            project.add_object(1, object_id)
            project.rename_object(1, 9, "x")

    with pytest.raises(StoreError, match="no object 9"):
        fails_half_way(project.operation("group"), 1)
    assert project.objects(1) == []
    assert project.undo() is None
    with project.transaction():
        with pytest.raises(StoreError):
            fails_half_way(project.transaction(), 5)
        project.add_object(1, 6)
    assert [o.object_id for o in project.objects(1)] == [6]


def test_ids_are_never_reused(project):
    run = project.start_run(1, {})
    project.write_result(1, run, frame_result(0))
    project.remove_object(1, 2)
    assert [o.object_id for o in project.result(1, 0).objects] == [1]
    with pytest.raises(StoreError, match=r"was removed.*never reused.*3"):
        project.add_object(1, 2)
    with pytest.raises(StoreError, match="exists already"):
        project.add_object(1, 1)
    with pytest.raises(StoreError, match="no object 2"):
        project.add_prompt(1, Prompt(2, 0, ((1.0, 1.0),), (1,)))


def test_runs_and_checkpoints(project):
    run = project.start_run(1, {"policy": "sam2", "frames": 3})
    assert project.latest_checkpoint(run) is None
    for frame in (9, 6, 3):  # backwards
        project.save_checkpoint(run, frame, bytes([frame]) * 4)
    assert project.latest_checkpoint(run) == (3, b"\3\3\3\3")
    assert project._db.rows("SELECT COUNT(*) FROM checkpoints")[0][0] == 2
    assert project.runs(1)[0].state == "running"
    project.finish_run(run, "cancelled", "stopped by Ctrl-C", {"fps": 3.5})
    stored = project.runs(1)[0]
    assert (stored.state, stored.note, stored.settings["policy"], stored.facts) == (
        "cancelled",
        "stopped by Ctrl-C",
        "sam2",
        {"fps": 3.5},
    )
    project.resume_run(run)
    assert project.runs(1)[0].state == "running"
    project.finish_run(run, "finished")
    assert project.latest_checkpoint(run) is None
    with pytest.raises(InputError, match="finished, cancelled or failed"):
        project.finish_run(run, "done")


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (TrackedObject(1, Mask.empty(5, 5), 0.5, 0.5), "5x5 px but the video is 32x24"),
        (TrackedObject(1, Mask.empty(HEIGHT, WIDTH), float("nan"), 0.5), "finite"),
    ],
)
def test_bad_results_are_named_and_nothing_is_written(project, item, says):
    run = project.start_run(1, {})
    with pytest.raises(StoreError, match=f"Frame 4, object 1.*{says}"):
        project.write_result(1, run, FrameResult(4, 0.1, HEIGHT, WIDTH, (tracked(2, 4), item)))
    assert project.result(1, 4) is None
    with pytest.raises(StoreError, match="no video 8"):
        project.write_result(8, run, frame_result(0))
    with pytest.raises(StoreError, match="refused"):
        project.write_result(1, 99, frame_result(0))


def test_other_threads_and_closed_files_get_a_clear_line(project):
    lines = []

    def read():
        try:
            project.videos()
        except StoreError as error:
            lines.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    project.close()
    project.close()
    read()
    assert "another thread" in lines[0]
    assert "closed" in lines[1]


def test_the_file_is_plain_sqlite(project):
    project.write_result(1, project.start_run(1, {}), frame_result(0))
    other = sqlite3.connect(project.path)
    assert other.execute("SELECT object_id, area FROM masks ORDER BY object_id").fetchall() == [(1, 20), (2, 20)]
    assert other.execute("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"KEEP", "big")
    other.close()


def test_what_a_run_finds_is_called_what_it_is(project):
    run = project.start_run(1, {})
    project.add_prompt(1, Prompt(2, 0, points=((5.0, 5.0),), labels=(1,)))
    project.add_object(1, 3, "Bessie")
    project.write_result(1, run, frame_result(0, ids=(1, 2, 3, 4)), labels={1: "cow", 2: "cow", 3: "cow"})
    assert {item.object_id: item.label for item in project.objects(1)} == {1: "cow", 2: "cow", 3: "Bessie", 4: None}


def test_results_are_taken_back_with_objects_that_are_nowhere_else(project):
    run, other = project.start_run(1, {}), project.start_run(1, {})
    project.add_prompt(1, Prompt(5, 0, points=((5.0, 5.0),), labels=(1,)))
    project.add_object(1, 6, "named by a person")
    project.write_result(1, run, frame_result(0, ids=(1, 2, 5)))
    project.write_result(1, run, frame_result(1, ids=(1, 2, 3, 4, 5)))
    project.write_result(1, other, frame_result(2, ids=(4,)))
    project.set_mask(1, 2, 1, rectangle(0, 0, 3, 3))
    project.forget_results(1, run, {1, 40})
    assert project.frames_done(1, run) == {0}
    assert {item.object_id for item in project.result(1, 1).objects} == {2}
    assert [item.object_id for item in project.objects(1)] == [5, 6, 1, 2, 4]
