"""What is left when the server is killed or stopped, or a client goes away, in the middle: over HTTP, a process of its own."""

from __future__ import annotations

import time
from collections import Counter

import httpx2
import pytest
import small_desks
from server_process import ServerProcess
from test_native import BLUE, RED, Watch, done, video_of

LENGTH, START = 60, 8


@pytest.fixture
def server(tmp_path, tiny_model):
    videos = tmp_path / "videos"
    videos.mkdir()
    small_desks.write_clip(videos / "clip.mp4", LENGTH)
    process = ServerProcess(videos, tmp_path / "projects", tiny_model)
    yield process
    process.stop()


@pytest.fixture
def client(server):
    with httpx2.Client(base_url=server.address, timeout=60) as client:
        yield client


def begin(client, at):
    """Two objects, and a job that follows them both ways."""
    for said in (RED, BLUE | {"frame": START}):
        assert client.post(f"{at}/prompts", json=said).status_code == 200
    return client.post(f"{at}/jobs", json={"start": START, "direction": "both"}).json()


def masks(client, at):
    """Run lengths by object and frame."""
    frames = client.get(f"{at}/masks", params={"start": 0, "stop": LENGTH}).json()["frames"]
    return {(item["id"], frame["frame"]): item["counts"] for frame in frames for item in frame["objects"]}


def told(watch):
    """Frames of which the events said that they are done, in order."""
    return [data["frame"] for kind, data in list(watch.events) if kind == "frame"]


def wait_for(test, seconds=60):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_killed_twice_in_a_job_the_server_tracks_at_most_the_frame_in_hand_again(server, client):
    at = video_of(client)
    job, seen, kept = None, Counter(), {}
    for life in range(3):
        watch = Watch(client, at)
        if job is None:
            job = begin(client, at)
        else:
            assert client.post(f"{at}/jobs/{job['id']}/resume").status_code == 200
        if life == 2:
            break
        wait_for(lambda watch=watch: len(told(watch)) >= 12)
        server.kill()
        server.begin()
        seen.update(told(watch))
        left, stored = client.get(f"{at}/jobs").json()[0], masks(client, at)
        assert (left["id"], left["state"], left["resumable"]) == (job["id"], "interrupted", True)
        # What was told is stored; one frame more may be, that nobody was told of any more.
        assert {frame for _, frame in stored} >= set(seen)
        assert seen.total() <= left["done"] <= seen.total() + life + 1
        assert {key: stored[key] for key in kept} == kept
        kept = stored
    ended = done(client, at)
    assert (ended["id"], ended["state"], ended["done"]) == (job["id"], "finished", LENGTH - 1)
    wait_for(lambda: any(kind == "job" and data["state"] == "finished" for kind, data in list(watch.events)))
    seen.update(told(watch))
    # No frame was tracked twice, and only frames in hand at a kill were never told of.
    assert set(seen.values()) == {1}
    assert len(seen) >= LENGTH - 1 - 2
    final = masks(client, at)
    assert {key: final[key] for key in kept} == kept
    assert set(final) == {(one, frame) for one in (1, 2) for frame in range(LENGTH)}


def test_a_job_goes_on_when_its_client_goes_away(server):
    with httpx2.Client(base_url=server.address, timeout=60) as gone:
        at = video_of(gone)
        job = begin(gone, at)
        # An answer that nobody waits for: the click counts all the same.
        with pytest.raises(httpx2.TimeoutException):
            gone.post(f"{at}/prompts", json={"frame": 4, "box": [10, 10, 40, 40], "label": "late"}, timeout=0.005)
    with httpx2.Client(base_url=server.address, timeout=60) as other:
        ended = done(other, at)
        assert (ended["id"], ended["state"], ended["done"]) == (job["id"], "finished", job["total"])
        assert {frame for one, frame in masks(other, at) if one == 1} == set(range(LENGTH))
        wait_for(lambda: (3, 4) in masks(other, at))


def test_a_server_that_is_stopped_ends_open_streams_without_a_word_and_its_job_can_be_resumed(server, client):
    at = video_of(client)
    watch = Watch(client, at)
    job = begin(client, at)
    wait_for(lambda: len(told(watch)) >= 3)
    assert server.stop() == ""
    server.begin()
    left = client.get(f"{at}/jobs").json()[0]
    assert (left["id"], left["state"], left["resumable"]) == (job["id"], "cancelled", True)
    assert {frame for _, frame in masks(client, at)} >= set(told(watch))
