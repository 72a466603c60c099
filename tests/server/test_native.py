"""The native API over a real socket: what people do in the page, done by a program."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import zipfile

import cv2
import httpx2
import numpy as np
import pytest
from small_desks import FRAMES, HEIGHT, WIDTH, square

from keepsight.core import Mask

RED = {"frame": 8, "points": [[30, 25, 1]], "label": "red"}
BLUE = {"frame": 12, "box": [58, 48, 82, 64], "label": "blue"}


def video_of(client):
    (line,) = client.get("/api/videos").json()
    return f"/api/videos/{line['id']}"


def done(client, at, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = client.get(f"{at}/jobs").json()[0]
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.02)
    raise TimeoutError(job)


def masks(client, at, object_id):
    frames = client.get(f"{at}/masks", params={"start": 0, "stop": FRAMES}).json()["frames"]
    return {frame["frame"]: item["counts"] for frame in frames for item in frame["objects"] if item["id"] == object_id}


class Watch:
    """Reads a desk's events in a thread."""

    def __init__(self, server, at, **params):
        self.events, self._client, self._at, self._params = [], server, at, params
        self._stop = threading.Event()
        self.open = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.open.wait(10)

    def _read(self):
        with contextlib.suppress(httpx2.TransportError):  # the server was stopped
            self._follow()

    def _follow(self):
        with self._client.stream("GET", f"{self._at}/events", params=self._params) as answer:
            kind = None
            for line in answer.iter_lines():
                self.open.set()
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    self.events.append((kind, json.loads(line[6:])))
                if self._stop.is_set():
                    return

    def until(self, test, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for event in list(self.events):
                if test(*event):
                    return event
            time.sleep(0.01)
        raise TimeoutError(self.events)


def test_from_a_click_to_an_export(start):
    client = start()
    at = video_of(client)
    assert client.get(at).json()["frame_count"] == FRAMES
    assert client.post(f"{at}/look", json={"frame": 8}).status_code == 202
    closely = {"frame": 8, "points": [[30, 25, 1]]}
    assert client.post(f"{at}/look", json=closely).status_code == 202
    assert client.post(f"{at}/look", json={"frame": FRAMES}).status_code == 404
    quick = client.post(f"{at}/preview", json=RED | {"quick": True}).json()[
        "mask"
    ]  # this model looks at whole frames only
    assert quick is None
    answer = client.post(f"{at}/prompts", json=RED).json()
    assert answer["object"] == {
        **answer["object"],
        "id": 1,
        "label": "red",
        "hidden": False,
        "locked": False,
    }
    assert Mask.from_coco({"size": [HEIGHT, WIDTH], "counts": answer["mask"]["counts"]}).area == answer["mask"]["area"]
    assert client.post(f"{at}/prompts", json=BLUE).json()["object"]["id"] == 2
    watch = Watch(client, at, client="page")
    job = client.post(f"{at}/jobs", json={"start": 8, "direction": "both"}).json()
    watch.until(lambda kind, data: kind == "job" and data["state"] == "finished")
    assert done(client, at)["done"] == job["total"]
    seen = {data["frame"] for kind, data in watch.events if kind == "frame"}
    assert len(seen) >= FRAMES - 1
    red = masks(client, at, 1)
    assert set(red) == set(range(FRAMES))
    lanes = client.get(f"{at}/timeline").json()["lanes"]
    assert [lane["id"] for lane in lanes] == [1, 2]
    assert lanes[0]["prompted"] == [8]
    packed = client.get(f"{at}/export", params={"format": "davis"})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == FRAMES
        index = cv2.imdecode(np.frombuffer(archive.read(pictures[8]), np.uint8), cv2.IMREAD_UNCHANGED)
        assert index.shape[:2] == (HEIGHT, WIDTH)
        assert "losses.txt" in archive.namelist()
    # Everything survives a new server.
    client = start()
    assert masks(client, at, 1) == red
    assert [item["label"] for item in client.get(at).json()["objects"]] == ["red", "blue"]


def test_two_people_see_each_others_changes(start):
    client = start()
    at = video_of(client)
    one, other = Watch(client, at, client="one"), Watch(client, at, client="other")
    one.until(lambda kind, data: kind == "people" and data["count"] == 2)
    client.post(f"{at}/prompts", json=RED, headers={"X-Keepsight-Client": "one"})
    for watch in (one, other):
        _, change = watch.until(lambda kind, data: kind == "changed" and "prompts" in data["what"])
        assert (change["by"], change["frames"]) == ("one", [8, 9])
    revision = client.get(at).json()["revision"]
    client.patch(f"{at}/objects/1", json={"label": "crimson"})
    late = Watch(client, at, since=revision)
    late.until(lambda kind, data: kind == "changed" and "objects" in data["what"])


def test_edits_accepting_and_undo(start):
    client = start()
    at = video_of(client)
    for object_id, x in ((1, 10), (2, 40)):
        client.post(f"{at}/objects", json={"label": "cow"})
        for frame in range(6):
            drawn = square(x, 20).counts.decode()
            assert client.put(f"{at}/masks/{frame}/{object_id}", json={"counts": drawn}).status_code == 200
    merge = {"kind": "merge", "object_id": 2, "into": 1, "keep": "union"}
    preview = client.post(f"{at}/edits", json=merge | {"preview": True}).json()
    assert preview["conflicts"] == 6
    assert client.post(f"{at}/edits", json=merge).status_code == 409
    before = masks(client, at, 1)
    assert client.post(f"{at}/edits", json=merge | {"confirm": True}).status_code == 200
    assert [item["id"] for item in client.get(at).json()["objects"]] == [1]
    assert client.post(f"{at}/undo").json()["name"].startswith("Object 2 becomes part")
    assert masks(client, at, 1) == before
    assert client.post(f"{at}/accepted", json={"frame": 3}).json()["accepted"] == [
        {"frame": 3, "object_id": 1},
        {"frame": 3, "object_id": 2},
    ]
    assert client.put(f"{at}/masks/3/1", json={"counts": drawn}).status_code == 423
    assert client.request("DELETE", f"{at}/accepted", json={"frame": 3, "object_ids": [1]}).json()["accepted"] == [
        {"frame": 3, "object_id": 2}
    ]
    assert client.post(f"{at}/edits", json={"kind": "split", "object_id": 1, "frame": 3}).json()["made"] == 3
    assert client.request("DELETE", f"{at}/objects/3").status_code == 200
    while (name := client.post(f"{at}/undo").json()["name"]) is not None:
        assert name
    assert client.get(at).json()["objects"] == []


def test_pictures_are_cached_by_the_browser(start):
    client = start()
    at = video_of(client)
    picture = client.get(f"{at}/frames/3.jpg", params={"width": 48})
    assert cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR).shape == (36, 48, 3)
    again = client.get(f"{at}/frames/3.jpg", params={"width": 48}, headers={"If-None-Match": picture.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


BAD = [
    ("POST", "prompts", {"frame": 99, "points": [[1, 1, 1]]}, {404, 422}),
    ("POST", "prompts", {"frame": 1}, {422}),
    ("POST", "prompts", {"frame": 1, "points": [[5000, 1, 1]]}, {422}),
    ("POST", "prompts", {"frame": 1, "points": [[1, 1, 2]]}, {422}),
    ("POST", "prompts", {"frame": 1, "box": [5, 5, 1, 1]}, {422}),
    ("POST", "prompts", {"frame": 1, "mask": "not run lengths"}, {422}),
    ("POST", "prompts", {"frame": 1, "points": [[1, 1, 1]] * 5000}, {413, 422}),
    ("POST", "text", {"frame": 1, "text": "cow"}, {422, 503}),
    ("PUT", "masks/1/1", {"counts": square(0, 0).counts.decode() + "0"}, {422}),
    ("POST", "jobs", {"start": 3}, {409, 422}),
    ("POST", "jobs", {"start": 3, "stop": 2}, {409, 422}),
    ("POST", "jobs/77/cancel", None, {404}),
    ("POST", "edits", {"kind": "swap", "a": 1, "b": 2, "start": 0}, {404, 409, 422}),
    ("POST", "edits", {"kind": "fly"}, {422}),
    ("PATCH", "objects/9", {"label": "x"}, {404}),
    ("PATCH", "settings", {"model": "../../etc"}, {422}),
    ("GET", "masks?start=0&stop=100000", None, {413, 422}),
    ("GET", "masks?start=0&stop=5&objects=a", None, {422}),
    ("GET", "frames/99.jpg", None, {404}),
    ("GET", "frames/1.jpg?width=0", None, {422}),
    ("GET", "export?format=../x", None, {404, 422}),
]


def test_what_cannot_be_is_refused_in_one_line(start):
    client = start()
    at = video_of(client)
    for method, path, body, statuses in BAD:
        answer = client.request(method, f"{at}/{path}", json=body)
        assert answer.status_code in statuses, (path, body, answer.status_code, answer.text)
        assert set(answer.json()["error"]) == {"code", "message"}
    assert client.get("/api/videos/nothing").status_code == 404
    assert client.post("/api/videos", json={"path": "/etc/passwd"}).status_code == 422
    assert client.get("/api/videos/..%2f..%2fetc").status_code == 404
    assert client.get(at).json()["objects"] == []


def test_uploads_are_kept_only_when_they_are_videos(start, tmp_path):
    client = start()
    clip = (tmp_path / "videos" / "clip.mp4").read_bytes()
    taken = client.post("/api/uploads", params={"name": "../../my clip.mp4"}, content=clip)
    assert taken.json()["frame_count"] == FRAMES
    for name, content in (("a.mp4", b"rubbish"), ("a.exe", clip), ("cut.mp4", clip[:200])):
        assert client.post("/api/uploads", params={"name": name}, content=content).status_code == 422
    kept = [path.name for path in (tmp_path / "projects" / "uploads").iterdir()]
    assert kept == ["my_clip.mp4"]
    client = start(limits={"upload_mb": 0.0001})
    assert client.post("/api/uploads", params={"name": "a.mp4"}, content=clip).status_code == 413
    client = start(limits={"frames": 5})
    refused = client.get(f"{video_of_named(client, 'clip.mp4')}")
    assert refused.status_code == 413
    assert "keepsight clip" in refused.json()["error"]["message"]


def video_of_named(client, name):
    return next(f"/api/videos/{line['id']}" for line in client.get("/api/videos").json() if line["name"] == name)


def test_health_answers_while_eight_clients_work(start):
    client = start()
    at = video_of(client)
    client.post(f"{at}/prompts", json=RED)
    client.post(f"{at}/jobs", json={"start": 8, "direction": "both"})
    failures: list[object] = []
    waits: list[float] = []

    def click(number):
        try:
            for _ in range(4):
                body = {"frame": number, "points": [[20 + number, 25, 1]]}
                assert client.post(f"{at}/preview", json=body, headers={"X-Keepsight-Client": str(number)}).is_success
                assert client.get(f"{at}/frames/{number}.jpg").is_success
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=click, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        begin = time.perf_counter()
        assert client.get("/health").json()["status"] == "healthy"
        waits.append(time.perf_counter() - begin)
    assert not failures
    assert done(client, at)["state"] == "finished"
    assert waits, "asked while they worked"


@pytest.mark.parametrize("with_key", [True, False])
def test_the_login_cookie_opens_pictures_and_events(start, with_key):
    key = "a long enough key"
    client = start(api_key=key)
    assert client.get("/api/videos").status_code == 401
    assert client.get("/health").status_code == 200
    answer = client.post("/api/login", json={"key": key if with_key else "wrong key given"})
    assert answer.status_code == (200 if with_key else 401)
    assert client.get("/api/videos").status_code == (200 if with_key else 401)
