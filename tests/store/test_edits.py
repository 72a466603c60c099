"""Edits of tracks and labels: what they do, that they say so beforehand, and that undo brings everything back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepsight.core import FrameResult, Mask, Prompt, Source, StoreError, TrackedObject
from keepsight.store import (
    ChangeId,
    DeleteLabel,
    DeleteRange,
    DressLabel,
    Merge,
    Project,
    Relabel,
    Split,
    Swap,
)

HEIGHT, WIDTH, FRAMES = 12, 16, 8


def square(object_id, frame, *, visible=True):
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    if visible:
        pixels[object_id : object_id + 3, frame : frame + 3] = True
    return Mask.from_array(pixels)


def make(path, tracks, labels=None):
    """A project with ``tracks``: object -> {frame: visible}."""
    project = Project.create(path, overwrite=True)
    project.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=FRAMES, fingerprint="f")
    for object_id in tracks:
        project.add_object(1, object_id, (labels or {}).get(object_id, "cow"))
    run = project.start_run(1, {})
    for frame in range(FRAMES):
        found = tuple(
            TrackedObject(object_id, square(object_id, frame, visible=track[frame]), 0.5, float(track[frame]))
            for object_id, track in tracks.items()
            if frame in track
        )
        if found:
            project.write_result(1, run, FrameResult(frame, frame / 25, HEIGHT, WIDTH, found))
    project.finish_run(run, "finished")
    return project


def dump(project):
    """Everything that a person could tell apart."""
    connection = sqlite3.connect(project.path)
    with connection:
        tables = {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table} WHERE {where}")))
            for table, where in {"masks": "1", "prompts": "1", "accepted": "1", "objects": "NOT removed"}.items()
        }
    connection.close()
    return tables


def shown(project, object_id):
    return {frame: item.mask for frame, item in project.masklet(1, object_id)}


@pytest.fixture
def two(tmp_path):
    """Objects 1 and 2 on frames 0 to 7; 2 is absent on 6."""
    everywhere = dict.fromkeys(range(FRAMES), True)
    with make(tmp_path / "two.keepsight", {1: everywhere, 2: everywhere | {6: False}}) as project:
        project.add_prompt(1, Prompt(1, 0, points=((2.0, 2.0),), labels=(1,)))
        project.add_prompt(1, Prompt(2, 5, box=(5.0, 2.0, 8.0, 5.0)))
        project.accept(1, 5)
        yield project


def test_swap_takes_masks_prompts_and_acceptance_from_a_frame_on(two):
    one, other = shown(two, 1), shown(two, 2)
    effect = two.edit(1, Swap(1, 2, start=4))
    assert effect.frames == 8
    assert shown(two, 1) == {f: (one if f < 4 else other)[f] for f in range(FRAMES)}
    assert shown(two, 2) == {f: (other if f < 4 else one)[f] for f in range(FRAMES)}
    assert [(p.prompt.object_id, p.prompt.frame) for p in two.prompts(1)] == [(1, 0), (1, 5)]
    assert two.accepted(1) == [(5, 1), (5, 2)]


def test_split_makes_a_new_object_with_the_same_name(two):
    before = shown(two, 2)
    made = two.edit(1, Split(2, 5)).made
    assert made == 3
    assert set(shown(two, 2)) == set(range(5))
    assert shown(two, 3) == {f: before[f] for f in range(5, FRAMES)}
    assert {o.object_id: o.label for o in two.objects(1)}[3] == "cow"
    assert two.accepted(1) == [(5, 1), (5, 3)]
    with pytest.raises(StoreError, match="no mask before frame 0"):
        two.edit(1, Split(1, 0))


@pytest.mark.parametrize("keep", ["into", "from", "union"])
def test_merge_says_where_both_are_visible_and_keeps_what_was_asked(two, keep):
    one, other = shown(two, 1), shown(two, 2)
    effect = two.edit_effect(1, Merge(2, into=1, keep=keep))
    assert effect.conflicts == FRAMES - 1
    assert "7 frames" in effect.warning
    two.edit(1, Merge(2, into=1, keep=keep))
    assert [o.object_id for o in two.objects(1)] == [1]
    for frame, mask in shown(two, 1).items():
        both = one[frame].to_array() | other[frame].to_array()
        wanted = {"into": one[frame].to_array(), "from": other[frame].to_array(), "union": both}[keep]
        if frame == 6:
            wanted = one[6].to_array()  # the other is absent there
        assert (mask.to_array() == wanted).all()
    kept = {"into": [(1, 0)], "from": [(1, 5)], "union": []}[keep]
    assert [(p.prompt.object_id, p.prompt.frame) for p in two.prompts(1)] == kept
    with pytest.raises(StoreError, match="removed"):
        two.add_object(1, 2)


def test_deleting_a_range_leaves_accepted_frames(two):
    effect = two.edit_effect(1, DeleteRange(1, 4, 7))
    assert (effect.frames, effect.warning) == (2, "1 accepted masks stay.")
    two.edit(1, DeleteRange(1, 4, 7))
    assert set(shown(two, 1)) == {0, 1, 2, 3, 5, 7}


def test_a_run_leaves_accepted_and_locked_masks_alone(two):
    run = two.start_run(1, {})
    two.lock_object(1, 2, True)
    before = {i: shown(two, i) for i in (1, 2)}
    for frame in (4, 5):
        items = tuple(TrackedObject(i, Mask.empty(HEIGHT, WIDTH), 0.1, 0.1) for i in (1, 2))
        two.write_result(1, run, FrameResult(frame, 0.0, HEIGHT, WIDTH, items))
    assert shown(two, 1) == before[1] | {4: Mask.empty(HEIGHT, WIDTH)}
    assert shown(two, 2) == before[2]
    two.forget_results(1, run, [4, 5])
    assert 5 in shown(two, 1)
    for edit in (Merge(2, 1), Swap(1, 2), Split(2, 4), DeleteRange(2, 0), ChangeId(2, 9), DeleteLabel("cow")):
        with pytest.raises(StoreError, match="Object 2 is locked"):
            two.edit(1, edit)


def test_labels_are_renamed_dressed_and_deleted_in_a_range_or_everywhere(tmp_path):
    tracks = {1: dict.fromkeys(range(8), True), 2: dict.fromkeys(range(2, 4), True), 3: dict.fromkeys(range(8), True)}
    with make(tmp_path / "l.keepsight", tracks, {3: "pig"}) as project:
        effect = project.edit(1, Relabel("cow", "calf", 2, 4))
        assert "object 1 go on outside" in effect.warning
        assert {o.object_id: o.label for o in project.objects(1)} == {1: "cow", 2: "calf", 3: "pig", 4: "calf"}
        assert set(shown(project, 4)) == {2, 3}
        project.edit(1, DressLabel("calf", colour="#102030", hidden=True))
        dressed = [o for o in project.objects(1) if o.hidden]
        assert [(o.object_id, o.colour) for o in dressed] == [(2, "#102030"), (4, "#102030")]
        project.edit(1, DeleteLabel("calf"))
        assert [o.object_id for o in project.objects(1)] == [1, 3]
        project.edit(1, DeleteLabel("pig", 0, 4))
        assert set(shown(project, 3)) == {4, 5, 6, 7}
        for _ in range(4):
            project.undo()
        assert {o.object_id: o.label for o in project.objects(1)} == {1: "cow", 2: "cow", 3: "pig"}
        assert {i: set(shown(project, i)) for i in tracks} == {i: set(track) for i, track in tracks.items()}
        with pytest.raises(StoreError, match="No object is called 'horse'"):
            project.edit(1, DeleteLabel("horse"))


def test_an_id_that_was_given_is_not_given_again(two):
    two.edit(1, ChangeId(1, 40))
    assert [o.object_id for o in two.objects(1)] == [2, 40]
    with pytest.raises(StoreError, match="is or was another"):
        two.edit(1, ChangeId(2, 1))
    two.undo()
    assert [o.object_id for o in two.objects(1)] == [1, 2]
    two.edit(1, ChangeId(1, 40))  # undone, so free again


ids = st.integers(1, 3)
track = st.dictionaries(st.integers(0, FRAMES - 1), st.booleans(), min_size=1)
edits = st.one_of(
    st.builds(Merge, ids, ids, st.sampled_from(["into", "from", "union"])),
    st.builds(Split, ids, st.integers(0, FRAMES)),
    st.builds(Swap, ids, ids, st.integers(0, FRAMES), st.none() | st.integers(0, FRAMES)),
    st.builds(ChangeId, ids, st.integers(1, 6)),
    st.builds(DeleteRange, ids, st.integers(0, FRAMES), st.none() | st.integers(0, FRAMES)),
    st.builds(Relabel, st.just("cow"), st.just("calf"), st.none() | st.integers(0, FRAMES)),
    st.builds(DeleteLabel, st.just("cow"), st.none() | st.integers(0, FRAMES)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tracks=st.fixed_dictionaries({1: track, 2: track, 3: track}),
    accepted=st.sets(st.tuples(st.integers(0, FRAMES - 1), ids), max_size=4),
    prompted=st.sets(st.tuples(st.integers(0, FRAMES - 1), ids), max_size=4),
    chain=st.lists(edits, min_size=1, max_size=4),
)
def test_undo_brings_everything_back_and_redo_does_it_again(tmp_path, tracks, accepted, prompted, chain):
    with make(tmp_path / "p.keepsight", tracks) as project:
        for frame, object_id in prompted:
            project.add_prompt(1, Prompt(object_id, frame, points=((1.0, 1.0),), labels=(1,)))
        for frame, object_id in accepted:
            if frame in tracks[object_id]:
                project.accept(1, frame, [object_id])
        states = [dump(project)]
        for edit in chain:
            try:
                expected = project.edit_effect(1, edit)
            except StoreError:
                assert dump(project) == states[-1]
                continue
            assert dump(project) == states[-1], "asking changes nothing"
            assert project.edit(1, edit) == expected
            if dump(project) != states[-1]:
                states.append(dump(project))
        done = len(states) - 1
        for state in reversed(states[:-1]):
            while dump(project) != state:
                assert project.undo() is not None
        for state in states[1 : done + 1]:
            while dump(project) != state:
                assert project.redo() is not None
        assert all(Source(row) for row in (item.source for r in project.results(1) for item in r.objects))


def test_a_file_of_the_first_version_is_brought_up_to_date(two):
    path = Path(two.path)
    before = {i: shown(two, i) for i in (1, 2)}
    two.close()
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE accepted; DROP TABLE preferences; "
        "ALTER TABLE objects DROP COLUMN hidden; ALTER TABLE objects DROP COLUMN locked; "
        "DROP TABLE replaced; DROP TABLE visits; ALTER TABLE operations DROP COLUMN run_id; "
        "ALTER TABLE operations DROP COLUMN run_row; ALTER TABLE operations DROP COLUMN bytes; "
        "DELETE FROM operations; PRAGMA user_version = 1;"
    )
    connection.close()
    with Project.open(path) as project:
        assert {i: shown(project, i) for i in (1, 2)} == before
        project.accept(1, 3)
        project.lock_object(1, 1, True)
        assert project.accepted(1) == [(3, 1), (3, 2)]
        assert project.objects(1)[0].locked
        found = FrameResult(9, 0.4, HEIGHT, WIDTH, (TrackedObject(5, square(5, 5), 0.5, 1.0),))
        project.write_result(1, project.start_run(1, {}), found, undo_name="track")
        assert project.undo() == "track 1 frame"
        assert project.result(1, 9) is None
