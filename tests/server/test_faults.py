"""What no page would send: everything that the API's own description allows, rubbish, giants, and tricks with paths."""

from __future__ import annotations

import json
import random
import socket

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from small_desks import square
from test_native import RED, done, video_of


@pytest.fixture
def server(start):
    client = start()
    at = video_of(client)
    client.post(f"{at}/prompts", json=RED)
    yield client, at
    # Whatever was sent, the server still works.
    assert client.get("/health").json()["status"] == "healthy"
    for job in client.get(f"{at}/jobs").json():
        if job["state"] in ("queued", "running", "paused"):
            client.post(f"{at}/jobs/{job['id']}/cancel")
    assert client.get(at).status_code == 200


def _description(client, at):
    """The server's own, with the one video that exists, so that requests get past the front door."""
    values = json.loads(client.get("/openapi.json").text.replace("/api/videos/{video}", at))
    values["paths"] = {
        path: item for path, item in values["paths"].items() if not path.endswith("/events")
    }  # never ends
    for item in values["paths"].values():
        for operation in item.values():
            operation["parameters"] = [one for one in operation.get("parameters", []) if one["name"] != "video"]
    return values


def test_no_request_that_the_description_allows_ends_in_a_500(server):
    client, at = server
    schema = schemathesis.openapi.from_dict(_description(client, at))
    tried: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=5,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            answer = case.call(base_url=str(client.base_url))
            assert answer.status_code < 500 or answer.status_code == 503, f"{case.method} {case.path}: {answer.text}"
            tried.add(f"{case.method} {case.path}")

        check()
    assert len(tried) > 30


def test_rubbish_is_turned_away(server):
    client, at = server
    rng = random.Random(0)
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"' + b"x" * 100_000,
        b"[" * 100_000,
        b'{"frame": 1e999}',
        b'{"frame": NaN, "points": [[NaN, 1, 1]]}',
        b'{"frame": 1, "points": [[1e308, 1, 1]]}',
        b'{"frame": 1, "box": [0, 0, Infinity, 1]}',
        b'{"frame": 1, "label": "\\ud800", "points": [[30, 25, 1]]}',
        "ÿþ".encode("utf-16"),
        *(rng.randbytes(200) for _ in range(10)),
    ]
    for path in ("prompts", "preview", "edits", "jobs", "accepted", "objects", "text"):
        for body in bodies:
            answer = client.post(f"{at}/{path}", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (200, 400, 404, 409, 413, 422, 503), (path, body[:60], answer.status_code)
            assert len(answer.content) < 5000, "nothing that was sent comes back"


def test_hostile_run_lengths_never_reach_the_decoder(server):
    client, at = server
    good = square(3, 3).counts.decode()
    rng = random.Random(1)
    for _ in range(200):
        drawn = "".join(chr(rng.randrange(48, 112)) for _ in range(rng.randrange(1, 40)))
        answer = client.put(f"{at}/masks/2/1", json={"counts": drawn})
        assert answer.status_code in (200, 422)
    for counts in (good + "1", good[:-1], "", "o" * 100_000, "\u0000", "é"):
        assert client.put(f"{at}/masks/2/1", json={"counts": counts}).status_code == 422, counts[:20]
    assert client.put(f"{at}/masks/2/1", json={"counts": good}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fconfig.py",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/api/videos/..%2f..%2fetc/frames/0.jpg",
        "/api/videos/%00/frames/0.jpg",
        "/assets//etc/passwd",
        "/assets/\\..\\..\\app.py",
    ],
)
def test_paths_that_climb_find_nothing(server, path):
    client, _ = server
    host = str(client.base_url).removeprefix("http://")
    with socket.create_connection(host.split(":")) as raw:  # a client library would tidy the path up
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404, 405, 422), answer[:200]
    assert b"root:" not in answer
    assert b"import" not in answer


def test_bytes_that_are_no_http_do_not_stop_it(server):
    client, _ = server
    host, port = str(client.base_url).removeprefix("http://").split(":")
    rng = random.Random(2)
    for message in (b"\x00" * 100, rng.randbytes(5000), b"GET / HTTP/9.9\r\n\r\n", b"POST /api/info HTTP/1.1\r\n"):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(message)


def test_a_client_that_leaves_costs_nothing_that_was_computed(server):
    client, at = server
    host, port = str(client.base_url).removeprefix("http://").split(":")
    body = json.dumps({"start": 8, "direction": "both"}).encode()
    head = f"POST {at}/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(head.encode() + b"\r\n\r\n" + body)
        raw.recv(12)  # it has begun to answer; now we are gone
    assert done(client, at)["state"] == "finished"
