"""Auto Run: ranges, ticks, and that nothing that was tracked is lost or tracked twice."""

from __future__ import annotations

import time

import pytest
from remote_client import FRAMES, Desktop, Gate, clip_of, data_uris, frames_tracked, jobs, understand_colours

from keepsight.annotation.values import Lane, Timeline
from keepsight.server.anylabeling.following import Leg, missing

ONCE = {"look_every": 0}
"""The tiny model follows nothing well, so that what it lost would be found again."""


@pytest.fixture
def words(monkeypatch):
    return understand_colours(monkeypatch)


def test_both_ends_of_a_range_are_in_it_and_frames_before_the_prompt_are_tracked_backward(start, words):
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red, blue", frame=7)
    shapes = desktop.run(4, 9)
    assert list(shapes) == [4, 5, 6, 7, 8, 9]
    assert all({shape["label"] for shape in frame} == {"red", "blue"} for frame in shapes.values())
    assert sorted(job["direction"] for job in jobs(desktop.http)) == ["backward", "forward"]
    assert frames_tracked(desktop.http) == 5
    assert list(desktop.run(8)) == list(range(8, FRAMES))
    assert frames_tracked(desktop.http) == 5 + 2
    assert list(desktop.run(1, 2)) == [1, 2]  # 3 lies on the way
    assert frames_tracked(desktop.http) == 7 + 3


def test_an_end_beyond_the_clip_is_its_last_frame(start, words):
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red", frame=9)
    assert list(desktop.run(9, 500)) == [9, 10, 11]


def test_ticks_come_while_nothing_moves_and_progress_never_goes_back(start, words, monkeypatch):
    gate = Gate(monkeypatch)
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red")
    ticks = []

    def wait(event):
        ticks.append(event)
        if len(ticks) == 5:
            gate.open()
        return False

    events = desktop.events(0, leave=wait)
    assert events[0] == {"type": "started", "total_frames": FRAMES, "start_frame_index": 0}
    assert {event["type"] for event in events[1:-1]} == {"progress"}
    assert [event["current_frame"] for event in events[1:5]] == [events[1]["current_frame"]] * 4
    shares = [event["progress"] for event in events[1:-1]]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert events[-1]["type"] == "completed"


@pytest.mark.parametrize("by", ["text", "point"])
def test_what_was_tracked_before_a_cancel_is_there_when_the_client_comes_again(start, words, monkeypatch, by):
    gate = Gate(monkeypatch, permits=4)
    desktop = Desktop(start(anylabeling=ONCE))

    def say():
        desktop.init()
        return desktop.text("red") if by == "text" else desktop.point((30, 25, 1))

    say()
    # The fifth frame is in hand when the client goes.
    desktop.events(0, leave=lambda event: event.get("current_frame", 0) >= 5)
    desktop.cleanup()
    gate.open()
    end = time.monotonic() + 20
    while jobs(desktop.http)[0]["state"] in ("queued", "running") and time.monotonic() < end:
        time.sleep(0.01)
    (job,) = jobs(desktop.http)
    assert job["state"] == "cancelled"
    assert job["done"] <= 5
    say()
    shapes = desktop.run(0)
    assert len(shapes) == FRAMES
    assert frames_tracked(desktop.http) == FRAMES - 1
    before = len(jobs(desktop.http))
    assert desktop.run(0) == shapes
    assert len(jobs(desktop.http)) == before


def test_a_restart_loses_the_session_and_nothing_else(start, words):
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red, blue", frame=3)
    shapes = desktop.run(3, 8)
    desktop.http = start(anylabeling=ONCE)
    about = {"session_id": desktop.session, "model": desktop.model}
    assert desktop.call("POST", "/v1/video/propagate/stream", **about).status_code == 404
    desktop.init()
    assert [shape["group_id"] for shape in desktop.text("red, blue", frame=3)] == [1, 2]
    assert desktop.run(3, 8) == shapes
    assert frames_tracked(desktop.http) == 5


def test_a_job_of_the_page_is_waited_for_and_what_it_did_is_not_done_again(start, words, monkeypatch):
    gate = Gate(monkeypatch, permits=2)
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red")
    http = desktop.http
    http.post(f"{clip_of(http)}/jobs", json={"start": 0, "stop": 6}).raise_for_status()
    seen = []

    def go_on(event):
        seen.append(event)
        if len(seen) == 3:
            gate.open()
        return False

    assert len(desktop.events(0, leave=go_on)[-1]["results"]) == FRAMES
    assert frames_tracked(http) == FRAMES - 1


def test_a_failing_job_is_an_error_event_with_its_reason(start, words, monkeypatch):
    from keepsight.annotation.live import LiveSession
    from keepsight.core import ModelError

    def fails(*_, **__):
        raise ModelError("The tracker has no more memory.")

    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red")
    monkeypatch.setattr(LiveSession, "follow", fails)
    assert desktop.events(0)[-1] == {"type": "error", "message": "The tracker has no more memory."}


def test_a_range_can_be_asked_for_and_looked_after_later(start, words, monkeypatch):
    gate = Gate(monkeypatch, permits=3)
    desktop = Desktop(start(anylabeling=ONCE))
    desktop.init()
    desktop.text("red")
    about = {"session_id": desktop.session, "model": desktop.model}

    def status(task, until):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = desktop.data("GET", f"/v1/video/status/{task}")
            if until(found):
                return found
            time.sleep(0.01)
        raise TimeoutError(found)

    task = desktop.data("POST", "/v1/video/propagate", **about)["task_id"]
    halfway = status(task, lambda found: found["current_frame"] == 4)
    assert halfway == {"status": "processing", "progress": 0.3333, "current_frame": 4, "total_frames": FRAMES}
    gate.open(1)  # the frame in hand
    desktop.data("POST", f"/v1/video/cancel/{task}")
    assert status(task, lambda _: True)["status"] == "cancelled"
    gate.open()
    task = desktop.data("POST", "/v1/video/propagate", **about)["task_id"]
    results = status(task, lambda found: found["status"] == "completed")["results"]
    assert len(results) == FRAMES
    assert frames_tracked(desktop.http) == FRAMES - 1
    assert desktop.call("GET", "/v1/video/status/gone").status_code == 404
    assert desktop.call("POST", "/v1/video/cancel/gone").status_code == 404


@pytest.mark.parametrize(
    ("present", "absent", "low", "high", "legs"),
    [
        ([(5, 6)], [], 5, 9, [Leg(5, 6, 9)]),
        ([(5, 6)], [], 2, 9, [Leg(5, 6, 9), Leg(5, 2, 4)]),
        ([(5, 8)], [(8, 10)], 5, 9, []),
        ([(5, 8)], [(9, 10)], 0, 12, [Leg(7, 8, 8), Leg(9, 10, 12), Leg(5, 0, 4)]),
        ([(5, 6)], [], 8, 9, [Leg(5, 8, 9)]),
        ([(5, 6)], [], 0, 2, [Leg(5, 0, 2)]),
        ([], [(5, 6)], 0, 9, []),
    ],
)
def test_only_what_is_missing_is_to_be_tracked(present, absent, low, high, legs):
    timeline = Timeline(1, (), (Lane(1, tuple(present), tuple(absent)), Lane(2, ((0, 1),))))
    assert missing(timeline, [1], low, high) == {leg: [1] for leg in legs}


# -- what comes in later ---------------------------------------------------------------------------------------------------
def newcomer_clip():
    """Red is there all the time; blue comes in on frame 5."""
    import cv2
    from small_desks import picture

    files = []
    for index in range(FRAMES):
        frame = picture(index)
        if index < 5:
            frame[48:64, 70 - index : 94 - index] = 40
        files.append(cv2.imencode(".png", frame[..., ::-1])[1].tobytes())
    return data_uris(files)


def test_what_comes_in_later_is_found_and_followed_and_each_frame_is_looked_at_once(start, words):
    frames = newcomer_clip()
    desktop = Desktop(start(anylabeling={"look_every": 3}))
    desktop.init(frames)
    assert [shape["label"] for shape in desktop.text("red, blue")] == ["red"]
    shapes = desktop.run(0)
    seen = [frame for frame, items in shapes.items() if "blue" in {shape["label"] for shape in items}]
    # Not there on the look on frame 3, there on that of frame 6.
    assert set(range(6, FRAMES)) <= set(seen) <= set(range(4, FRAMES))
    looks, tracked = words.looks, frames_tracked(desktop.http)
    assert looks == 1 + 3
    desktop.cleanup()
    desktop.http = start(anylabeling={"look_every": 3})
    desktop.init(frames)
    desktop.text("red, blue")
    assert desktop.run(0) == shapes
    assert words.looks == looks + 1  # for the prompt
    assert frames_tracked(desktop.http) == tracked


def test_it_is_looked_on_the_prompted_frame_only_where_the_settings_say_so(start, words):
    desktop = Desktop(start(anylabeling={"look_every": 0}))
    desktop.init(newcomer_clip())
    desktop.text("red, blue")
    assert {shape["label"] for items in desktop.run(0).values() for shape in items} == {"red"}
    assert words.looks == 1
