"""Who hears what, desks side by side, and what a workshop gives out and takes back."""

from __future__ import annotations

import threading
import time

import pytest
from small_desks import BLUE, FRAMES, HEIGHT, RED, WIDTH, Diary, clip, counts, square, track, wait, workshop

from keepsight.annotation import (
    Busy,
    Change,
    Conflict,
    DeskSettings,
    FrameDone,
    Job,
    NotFound,
    People,
    Said,
    TrackRequest,
    Workshop,
)
from keepsight.annotation.worker import Urgency, Worker
from keepsight.core import InputError, ModelError, StoreError


def test_two_people_at_one_desk_hear_of_each_other(desk):
    first, second = Diary(), Diary()
    desk.subscribe(first)
    leave = desk.subscribe(second)
    answer = desk.prompt(RED, by="ann").result()
    track(desk, 8, stop=12)
    leave()
    leave()
    heard = [event for event in first.events if event.kind in ("changed", "frame")]
    assert heard == [event for event in second.events if event.kind in ("changed", "frame")]
    assert heard[0].what == Change(answer.revision, ("objects", "prompts", "masks"), (8, 9), "ann")
    assert [event.what.frame for event in heard if isinstance(event.what, FrameDone)] == [9, 10, 11]
    revisions = [event.revision for event in heard]
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    done = [event.what for event in heard if isinstance(event.what, FrameDone)]
    assert [item.objects[0].mask.counts for item in done] == [counts(desk, 1)[frame] for frame in (9, 10, 11)]
    states = [event.what.state for event in first.events if isinstance(event.what, Job)]
    assert states[0] == "queued"
    assert states[-1] == "finished"
    assert [event.what.count for event in first.events if isinstance(event.what, People)] == [1, 2, 1]

    late = Diary()
    desk.subscribe(late, since=answer.revision)
    assert [event.revision for event in late.events if event.kind in ("changed", "frame")] == revisions[1:]
    lost = Diary()
    desk.subscribe(lost, since=5)
    assert "masks" in lost.events[0].what.what
    assert lost.events[0].revision == desk.revision


def test_revisions_rise_through_a_restart(desk, shop, reopened):
    desk.prompt(RED).result()
    before = desk.revision
    shop.shut()
    assert reopened().revision > before


def test_a_click_goes_before_the_next_tracked_frame(desk):
    desk.prompt(RED).result()
    diary = Diary()
    order: list[str] = []
    desk.subscribe(diary)
    desk.subscribe(lambda event: order.append("frame" if event.kind == "frame" else event.kind))
    desk.track(TrackRequest(8)).result()
    diary.wait_for_frames(2)
    seen = len(diary.frames)
    answer = desk.prompt(BLUE).result()
    assert answer.mask.present is not None
    heard = len(diary.frames)
    # The frame in hand when it came, and the one that was stored before this thread looked.
    assert heard - seen <= 3 < FRAMES - 9 - seen
    assert wait(desk).state == "finished"


def test_desks_side_by_side_share_one_model_and_mix_nothing_up(shop, tmp_path):
    desks = [shop.open(str(n), clip(name=f"clip{n}"), tmp_path / f"{n}.keepsight").result() for n in range(2)]
    for desk, said in zip(desks, (RED, BLUE), strict=True):
        desk.prompt(said).result()
        desk.track(TrackRequest(said.frame)).result()
    assert [wait(desk).state for desk in desks] == ["finished", "finished"]
    assert shop.models_loaded == 1
    alone = shop.open("alone", clip(), tmp_path / "alone.keepsight").result()
    alone.prompt(BLUE).result()
    track(alone, BLUE.frame)
    assert counts(desks[1], 1) == counts(alone, 1)
    assert counts(desks[0], 1) != counts(alone, 1)


def test_many_threads_at_once(desk):
    desk.prompt(RED).result()
    desk.track(TrackRequest(8, "both")).result()
    failures = []

    def visitor(number: int) -> None:
        try:
            for turn in range(4):
                desk.picture((number + turn) % FRAMES, 48).result()
                desk.look_at(number).result()
                desk.timeline().result()
                desk.preview(Said(turn, points=((30.0, 25.0),), labels=(1,)), who=str(number)).result()
                desk.masks(0, FRAMES).result()
                desk.set_mask(desk.add_object().result().id, turn, square(number, turn)).result()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert wait(desk).state == "finished"
    view = desk.view().result()
    assert len(view.objects) == 1 + 8 * 4
    assert list(counts(desk, 1)) == list(range(FRAMES))


def test_pictures_come_at_the_size_asked_for(desk):
    whole, small = desk.picture(3).result(), desk.picture(3, 48).result()
    assert (whole.width, whole.height) == (WIDTH, HEIGHT)
    assert (small.width, small.height) == (48, 36)
    assert desk.picture(3, 48).result() is small
    assert small.data[:2] == b"\xff\xd8"
    assert desk.picture(3, 10_000).result().width == WIDTH
    with pytest.raises(NotFound):
        desk.picture(FRAMES).result()


def test_a_workshop_refuses_rather_than_drops(model, tmp_path):
    shop = workshop(model, desks=2, idle_s=1000.0)
    one, two = (shop.open(name, clip(), tmp_path / f"{name}.keepsight").result() for name in ("one", "two"))
    assert shop.open("one", clip(), tmp_path / "one.keepsight").result() is one
    one.prompt(RED).result()
    job = one.track(TrackRequest(8)).result()
    leave = two.subscribe(Diary())
    with pytest.raises(Busy):
        shop.open("three", clip(), tmp_path / "three.keepsight").result()
    assert one.get_job(job.id).result().state != "cancelled"
    leave()
    three = shop.open("three", clip(), tmp_path / "three.keepsight").result()
    assert {desk.key for desk in shop.desks} == {"one", "three"}
    assert wait(one).state == "finished"
    assert shop.close_idle() == []
    assert three.line().result().objects == 0
    shop.shut()
    with pytest.raises(RuntimeError):
        shop.open("four", clip(), tmp_path / "four.keepsight").result()


def test_what_cannot_be_opened_is_said_in_a_line(shop, tmp_path):
    (tmp_path / "words.txt").write_text("no video")
    (tmp_path / "words.keepsight").write_text("no project")
    with pytest.raises(InputError):
        shop.open("a", tmp_path / "words.txt", tmp_path / "a.keepsight").result()
    with pytest.raises(StoreError):
        shop.open("b", clip(), tmp_path / "words.keepsight").result()
    assert shop.desks == []
    desk = shop.open("c", clip(), tmp_path / "deep" / "c.keepsight").result()
    assert desk.view().result().line.frame_count == FRAMES


def test_weights_that_are_not_here_are_said_at_the_click(tmp_path):
    shop = Workshop(DeskSettings(model="sam2.1-large"), devices=("cpu",))
    desk = shop.open("one", clip(), tmp_path / "one.keepsight").result()
    with pytest.raises(ModelError, match="download"):
        desk.prompt(RED).result()
    assert desk.view().result().objects == ()
    # What needs no model works all the same.
    desk.add_object("cow").result()
    desk.set_mask(1, 0, square(3, 3)).result()
    desk.track(TrackRequest(0)).result()
    job = wait(desk)
    assert job.state == "failed"
    assert "download" in job.message
    shop.shut()


def test_a_worker_does_the_urgent_first_and_drops_what_is_out_of_date():
    worker, begun, go = Worker("test"), threading.Event(), threading.Event()
    done: list[str] = []

    def block() -> None:
        begun.set()
        go.wait(10)

    worker.submit(block, Urgency.TRACK)
    begun.wait(10)
    jobs = [worker.submit(lambda name=name: done.append(name), Urgency.TRACK) for name in ("job 1", "job 2")]
    hovers = [worker.submit(lambda n=n: done.append(f"hover {n}") or n, Urgency.HOVER, "hover") for n in range(3)]
    click = worker.submit(lambda: done.append("click"), Urgency.CLICK)
    failing = worker.submit(lambda: 1 / 0, Urgency.LOOK)
    jobs[1].cancel()
    go.set()
    click.result(10)
    jobs[0].result(10)
    assert done == ["click", "hover 2", "job 1"]
    assert [hover.result(10) for hover in hovers] == [None, None, 2]
    assert isinstance(failing.exception(10), ZeroDivisionError)
    worker.close()
    assert worker.submit(lambda: None, Urgency.CLICK).cancelled()
    time.sleep(0)


def test_a_desk_is_closed_in_the_middle_of_everything_and_says_so_afterwards(shop, tmp_path):
    desk = shop.open("one", clip(), tmp_path / "one.keepsight").result()
    desk.prompt(RED).result()
    desk.track(TrackRequest(8)).result()
    asked = [desk.preview(RED, who=str(number)) for number in range(3)] + [desk.timeline() for _ in range(3)]
    shop.close("one")
    for future in asked:
        assert future.done()
    with pytest.raises(Conflict, match="open it again"):
        desk.view()
    with pytest.raises(Conflict, match="open it again"):
        desk.prompt(RED)
    again = shop.open("one", clip(), tmp_path / "one.keepsight").result()
    assert again.jobs().result()[0].state in ("cancelled", "finished")
    assert not list(tmp_path.glob("*.tmp"))
