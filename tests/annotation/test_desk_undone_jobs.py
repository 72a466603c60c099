"""What a job tracked is undone and redone like everything else; the job, the tracker and the events know of it."""

from __future__ import annotations

import pytest
from small_desks import BLUE, FRAMES, RED, Diary, counts, square, stored, track, wait

from keepsight.annotation import Conflict, Said, TrackRequest
from keepsight.core import Direction


def undo_name(desk):
    return desk.view().result().undo


def test_a_run_is_taken_back_and_done_again_also_after_a_restart(desk, shop, reopened):
    desk.prompt(RED).result()
    first = track(desk, 8, "both", first=4)
    before = counts(desk, 1)
    desk.prompt(Said(8, 1, points=((34.0, 30.0),), labels=(0,))).result()
    clicked = counts(desk, 1)
    second = track(desk, 8, "forward", stop=15)
    after = counts(desk, 1)
    assert after != clicked
    diary = Diary()
    desk.subscribe(diary)
    assert undo_name(desk) == "track 6 frames"
    desk.undo().result()
    assert counts(desk, 1) == clicked
    undone = desk.get_job(second.id).result()
    assert (undone.state, undone.done, undone.resumable) == ("cancelled", 0, False)
    assert [event.what for event in diary.events if event.kind == "job"][-1] == undone
    with pytest.raises(Conflict, match="undone"):
        desk.resume(second.id).result()
    desk.undo().result()
    assert counts(desk, 1) == before
    assert undo_name(desk) == "track 19 frames"
    desk.undo().result()
    assert list(counts(desk, 1)) == [8]
    assert [(a, b) for a, b in desk.timeline().result().done] == [(8, 9)]
    shop.shut()
    again = reopened()
    for expected in (before, clicked, after):
        again.redo().result()
        assert counts(again, 1) == expected
    assert [(job.id, job.state, job.done) for job in again.jobs().result()] == [
        (job.id, "finished", job.total) for job in (second, first)
    ]
    # The tracker goes on from what is stored now, not from what it had written before.
    results = []
    for _ in range(2):
        again.undo().result()
        assert counts(again, 1) == clicked
        assert track(again, 8, "forward", stop=15).state == "finished"
        results.append(counts(again, 1))
    assert results[0] == results[1] != clicked


def test_a_step_ends_where_somebody_edits_and_accepted_frames_and_edits_stay(desk):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    diary = Diary()
    desk.subscribe(diary)
    job = desk.track(TrackRequest(12, Direction.FORWARD, objects=(1, 2))).result()
    diary.wait_for_frames(2)
    desk.pause(job.id).result()
    assert wait(desk).state == "paused"
    done = set(diary.frames)
    desk.set_mask(2, min(done), square(5, 5)).result()
    desk.accept(min(done), [1]).result()
    half = counts(desk, 1)
    desk.resume(job.id).result()
    assert wait(desk).state == "finished"
    whole = counts(desk, 1)
    assert undo_name(desk) == f"track {FRAMES - 1 - max(done)} frames"
    desk.undo().result()
    assert counts(desk, 1) == half
    assert stored(desk, 2)[min(done)].mask == square(5, 5)
    assert desk.view().result().accepted == ((min(done), 1),)
    partly = desk.get_job(job.id).result()
    assert (partly.state, partly.done, partly.resumable) == ("cancelled", len(done), True)
    # Gone on with, it does those frames again: a new branch, so that nothing is left to redo.
    desk.resume(job.id).result()
    assert wait(desk).state == "finished"
    assert list(counts(desk, 1)) == list(whole)
    assert desk.redo().result()[0] is None
    names = [desk.undo().result()[0] for _ in range(4)]
    assert [name.split()[0] for name in names] == ["track", "accept", "edit", "track"]
    assert list(counts(desk, 1)) == [8]


def test_undo_during_a_job_takes_back_what_people_did_since_and_refuses_the_rest(desk):
    desk.prompt(RED).result()
    diary = Diary()
    desk.subscribe(diary)
    job = desk.track(TrackRequest(0)).result()
    diary.wait_for_frames(1)
    with pytest.raises(Conflict, match="pause or cancel"):
        desk.undo().result()
    desk.add_object("second").result()
    assert undo_name(desk) == "add object 2"
    diary.wait_for_frames(3)
    assert desk.undo().result()[0] == "add object 2"
    assert undo_name(desk) is None
    desk.pause(job.id).result()
    assert wait(desk).state == "paused"
    tracked = len(counts(desk, 1)) - 1
    assert tracked < FRAMES - 9, "the job was quicker than this test"
    names = [desk.undo().result()[0] for _ in range(2)]
    assert all(name.startswith("track") for name in names)
    assert list(counts(desk, 1)) == [8]
    assert desk.job is None
    assert desk.undo().result()[0].startswith("point at")
