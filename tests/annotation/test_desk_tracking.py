"""Pointing and tracking at a desk: the tracker's own answers, stored; ways, barriers, and nothing that is done twice."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from small_desks import BLUE, FRAMES, RED, Diary, clip, counts, square, stored, track, wait

import keepsight
from keepsight.annotation import Conflict, Desk, FrameDone, Locked, Said, TrackRequest
from keepsight.core import InputError, Source, StoreError
from keepsight.memory import POLICIES
from keepsight.store import Project


def test_clicks_and_ways_give_what_a_plain_session_gives(desk, model):
    answer = desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    assert desk.preview(RED).result().mask == answer.mask.mask
    job = track(desk, 8, "forward")
    assert (job.state, job.done, job.total, job.objects) == ("finished", 15, 15, (1, 2))

    session = keepsight.load(str(model), device="cpu", dtype="float32").open(clip())
    for number, said in ((1, RED), (2, BLUE)):
        session.add(object_id=number, frame=said.frame, points=said.points, box=said.box)
    expected = {result.frame: result for result in session.propagate(8)}
    for number in (1, 2):
        masks = {
            frame: item.mask.counts
            for frame, result in expected.items()
            for item in result.objects
            if item.object_id == number
        }
        assert counts(desk, number) == masks
    assert [stored(desk, 1)[frame].source for frame in (8, 9)] == [Source.PROMPT, Source.TRACKED]


def test_a_click_refines_and_a_preview_leaves_no_trace(desk, model):
    shown = desk.prompt(RED).result().mask.mask.to_array()
    y, x = np.argwhere(shown)[-1]  # said of a place that the mask covers: elsewhere "not here" is no news
    more = Said(8, 1, points=((float(x), float(y)),), labels=(0,))
    seen = desk.preview(more).result()
    before = desk.view().result()
    assert desk.preview(more).result() == seen
    after = desk.view().result()
    assert (after.prompts, after.undo, after.revision) == (before.prompts, before.undo, before.revision)
    # On another frame too: the memory of the click, still to be written, is not lost on the stand-in.
    desk.preview(replace(more, frame=11)).result()
    assert desk.prompt(more).result().mask.mask == seen.mask

    session = keepsight.load(str(model), device="cpu", dtype="float32").open(clip())
    session.add(object_id=1, frame=8, points=RED.points)
    assert session.add(object_id=1, frame=8, points=more.points, labels=[0]).mask == seen.mask
    anew = Said(8, 1, points=more.points, labels=(1,), replace=True)
    assert desk.prompt(anew).result().mask.mask != seen.mask
    assert len(desk.view().result().prompts) == 1


def test_both_ways_cover_the_video_from_any_frame(desk):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    diary = Diary()
    desk.subscribe(diary)
    assert track(desk, 8, "both").state == "finished"
    assert list(stored(desk, 1)) == list(stored(desk, 2)) == list(range(FRAMES))
    # Object 2 begins after the start; its way back begins there, and frames with both are visited once.
    assert diary.frames == [*range(9, FRAMES), *range(11, -1, -1)]
    lanes = desk.timeline().result().lanes
    assert [lane.prompted for lane in lanes] == [(8,), (12,)]
    for lane in lanes:
        seen = sorted(frame for start, stop in (*lane.present, *lane.absent) for frame in range(start, stop))
        assert seen == list(range(FRAMES))


def test_ranges_and_objects_are_kept_to(desk):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    assert track(desk, 8, "both", stop=14, first=5, objects=(1,)).done == 8
    assert list(stored(desk, 1)) == list(range(5, 14))
    assert list(stored(desk, 2)) == [12]
    assert track(desk, 13, "forward", stop=20).objects == (1, 2)
    assert list(stored(desk, 1)) == list(range(5, 20))
    assert list(stored(desk, 2)) == [12, *range(13, 20)]


def test_accepted_frames_are_barriers_and_are_never_written(desk):
    desk.prompt(RED).result()
    track(desk, 8, "both")
    desk.accept(16).result()
    desk.accept(3).result()
    before = counts(desk, 1)
    # A correction is followed to the next accepted frame only.
    desk.prompt(Said(11, 1, box=(40.0, 40.0, 80.0, 70.0), replace=True)).result()
    job = track(desk, 11, "forward")
    assert (job.state, job.done) == ("finished", 4)
    after = counts(desk, 1)
    assert {frame for frame in before if before[frame] != after[frame]} <= set(range(11, 16))
    assert any(before[frame] != after[frame] for frame in range(12, 16))
    track(desk, 11, "backward")
    assert {frame for frame in before if before[frame] != counts(desk, 1)[frame]} <= set(range(4, 16))
    with pytest.raises(Locked, match="accepted"):
        desk.prompt(Said(16, 1, points=((30.0, 25.0),), labels=(1,))).result()
    with pytest.raises(InputError, match="Nothing to track"):
        track(desk, 15, "forward")
    # Accepted while the job is on its way: it ends there all the same.
    desk.unaccept(16).result()
    diary = Diary()
    desk.subscribe(diary)
    ends_early(desk, diary)


def ends_early(desk: Desk, diary: Diary) -> None:
    desk.track(TrackRequest(11)).result()
    desk.accept(20).result()
    kept = counts(desk, 1)[20]
    job = wait(desk)
    assert job.state == "finished"
    assert max(diary.frames) <= 19
    assert counts(desk, 1)[20] == kept


def test_what_a_person_drew_or_locked_stays(desk):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    desk.set_mask(1, 14, square(50, 20)).result()
    desk.change_object(2, locked=True).result()
    job = track(desk, 8, "forward")
    assert job.objects == (1,)
    assert stored(desk, 1)[14].mask == square(50, 20)
    assert stored(desk, 1)[14].source == Source.EDITED
    assert list(stored(desk, 2)) == [12]
    with pytest.raises(Locked, match="locked"):
        desk.prompt(Said(3, 2, points=((30.0, 25.0),), labels=(1,))).result()
    # The drawn mask is what the frames after it are followed from.
    desk.set_mask(1, 14, square(10, 50)).result()
    before = counts(desk, 1)
    track(desk, 14, "forward")
    assert counts(desk, 1)[15] != before[15]


def test_masks_that_are_there_are_kept_when_asked(desk):
    desk.prompt(RED).result()
    track(desk, 8, "forward", stop=16)
    desk.prompt(Said(10, 1, box=(40.0, 40.0, 80.0, 70.0), replace=True)).result()
    before = counts(desk, 1)
    desk.change_settings(replace(desk.settings, non_overwrite=True)).result()
    assert track(desk, 8, "forward").state == "finished"
    after = counts(desk, 1)
    visible = [frame for frame, item in stored(desk, 1).items() if item.present]
    assert {frame: before[frame] for frame in before if frame in visible} == {
        frame: after[frame] for frame in before if frame in visible
    }
    assert list(after) == list(range(8, FRAMES))


def test_pause_cancel_and_resume_do_nothing_twice(desk, shop, tmp_path):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    whole = shop.open("two", clip(), tmp_path / "two.keepsight").result()
    whole.prompt(RED).result()
    whole.prompt(BLUE).result()
    track(whole, 8, "both")

    diary = Diary()
    desk.subscribe(diary)
    job = desk.track(TrackRequest(8, "both")).result()
    with pytest.raises(Conflict):
        desk.track(TrackRequest(8)).result()
    diary.wait_for_frames(4)
    desk.pause(job.id).result()
    paused = wait(desk)
    assert paused.state == "paused"
    at_pause = len(diary.frames)
    time.sleep(0.05)
    assert len(diary.frames) == at_pause
    desk.resume(job.id).result()
    diary.wait_for_frames(at_pause + 3)
    desk.cancel(job.id).result()
    cancelled = wait(desk)
    assert (cancelled.state, cancelled.resumable) == ("cancelled", True)
    kept = counts(desk, 1)
    desk.resume(job.id).result()
    done = wait(desk)
    assert (done.state, done.done, done.total) == ("finished", done.total, done.total)
    assert len(diary.frames) == len(set(diary.frames)) + len(overlap(diary.frames))
    assert desk.units_decoded == whole.units_decoded
    assert {frame: counts(desk, 1)[frame] for frame in kept} == kept
    for number in (1, 2):
        assert counts(desk, number) == counts(whole, number)


def overlap(frames: list[int]) -> set[int]:
    """Frames that both ways of the job visit, each for another object."""
    return {frame for frame in frames if frames.count(frame) == 2 and 8 < frame < 12}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_goes_on_from_what_is_stored(shop, tmp_path, policy):
    desk = shop.open("one", clip(), tmp_path / "one.keepsight").result()
    desk.change_settings(replace(desk.settings, policy=policy)).result()
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    assert track(desk, 8, "both", stop=18, first=4).state == "finished"
    shop.close("one")
    again = shop.open("again", clip(), tmp_path / "one.keepsight").result()
    assert again.settings.policy == policy
    before = counts(again, 1)
    for start, direction in ((17, "forward"), (4, "backward")):
        job = track(again, start, direction)
        assert job.state == "finished", job.message
        # What is tried out where it was tracked is what a click gives, and does not disturb what is remembered.
        said = Said(start + (2 if direction == "forward" else -2), 1, points=((30.0, 25.0),), labels=(1,))
        tried = again.preview(said).result()
        assert again.preview(said).result() == tried == again.prompt(said).result().mask
        again.undo().result()
    assert list(stored(again, 1)) == list(stored(again, 2)) == list(range(FRAMES))
    assert {frame: counts(again, 1)[frame] for frame in range(5, 17)} == {f: before[f] for f in range(5, 17)}


def test_what_people_do_while_a_job_is_going_is_heeded_at_the_next_frame(desk):
    diary = Diary()
    desk.prompt(RED).result()
    desk.prompt(replace(BLUE, frame=8)).result()
    third = desk.prompt(replace(RED, frame=8, label="third")).result().object.id
    desk.subscribe(diary)
    desk.track(TrackRequest(8)).result()
    diary.wait_for_frames(1)
    desk.remove_object(1).result()
    desk.change_object(2, locked=True).result()
    drawn = max(diary.frames) + 5
    desk.set_mask(third, drawn, square(3, 3)).result()
    done = set(diary.frames)
    job = wait(desk)
    assert job.state == "finished", job.message
    assert drawn not in done, "the job was quicker than this test"
    after = {event.what.frame: event.what.objects for event in diary.events if isinstance(event.what, FrameDone)}
    late = [frame for frame in after if frame > max(done) + 1]
    assert late
    assert {item.object_id for frame in late for item in after[frame]} == {third}
    assert stored(desk, third)[drawn].mask == square(3, 3)
    assert max(stored(desk, 2)) <= max(done) + 1
    assert list(stored(desk, third)) == list(range(8, FRAMES))
    people: list[str] = []
    while len(people) < 2:  # between them, what the job did in the meantime
        people += [name for name in [desk.undo().result()[0]] if not name.startswith("track")]
    assert [name.split()[0] for name in people] == ["edit", "change"]
    assert [item.locked for item in desk.view().result().objects if item.id == 2] == [False]


def test_a_full_disk_ends_the_job_and_loses_nothing(desk, monkeypatch):
    desk.prompt(RED).result()
    note, calls = Project.note_run, []

    def full(self, run_id, facts):
        calls.append(facts)
        if len(calls) == 5:
            raise StoreError("The disk is full.")
        note(self, run_id, facts)

    monkeypatch.setattr(Project, "note_run", full)
    failed = track(desk, 8)
    assert (failed.state, failed.message, failed.done, failed.resumable) == ("failed", "The disk is full.", 4, True)
    assert list(stored(desk, 1)) == list(range(8, 13))
    desk.resume(failed.id).result()
    job = wait(desk)
    assert (job.state, job.done) == ("finished", FRAMES - 9)
    assert list(stored(desk, 1)) == list(range(8, FRAMES))
