"""The contract with the X-AnyLabeling desktop client over a real socket, line by line."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import httpx2
import pytest
import small_desks
from remote_client import FRAMES, Desktop, Gate, area, clip_of, data_uris, pictures, understand_colours
from small_desks import HEIGHT, WIDTH


@pytest.fixture
def words(monkeypatch):
    return understand_colours(monkeypatch)


# -- the menu --------------------------------------------------------------------------------------------------------------
def test_every_model_is_offered_for_video_and_pictures_as_masks_and_boxes(start, tiny_model):
    http = start(models=("builtin", str(tiny_model)))
    menu = Desktop(http).data("GET", "/v1/models")
    assert [id.removeprefix("keepsight_") for id in menu] == [
        f"{model}_{what}"
        for model in ("builtin", tiny_model.name)
        for what in ("video_masks", "video_boxes", "image_masks", "image_boxes")
    ]
    for id, entry in menu.items():
        widgets = {item["name"]: item["value"] for item in entry["widgets"]}
        # The client sends 0.0 for every slider that is not there.
        assert 0 < widgets["edit_conf"] < 1
        assert 1 <= widgets["mask_fineness_slider"] <= 100
        assert widgets["toggle_preserve_existing_annotations"] is False
        assert {"edit_text", "button_send", "button_add_point", "button_finish_object", "button_clear"} <= set(widgets)
        assert (entry["batch_processing_mode"] == "video") is ("video" in id)
        info = http.get(f"/v1/models/{id}/info").json()["data"]
        assert info == {"model_id": id} | entry
    assert str(tiny_model.parent) not in json.dumps(menu)
    assert http.get("/v1/models/other/info").status_code == 404


def test_the_text_field_says_what_can_be_typed_where_nothing_understands_words(start):
    menu = Desktop(start()).data("GET", "/v1/models")
    (hint,) = {w["placeholder"] for entry in menu.values() for w in entry["widgets"] if w["name"] == "edit_text"}
    assert "everything" in hint
    assert "keepsight models download grounding-dino" in hint


# -- clips -----------------------------------------------------------------------------------------------------------------
def test_frames_come_as_data_uris_or_bare_and_are_the_same_clip(start, words):
    http = start()
    desktop = Desktop(http)
    made = desktop.init()
    assert made == {"session_id": desktop.session, "num_frames": FRAMES, "start_frame_index": 0}
    bare = [base64.b64encode(file).decode() for file in pictures()]
    assert desktop.init(bare, something_else=[1, 2])["session_id"] != made["session_id"]
    line = http.get(clip_of(http)).json()
    assert (line["frame_count"], line["width"], line["height"]) == (FRAMES, WIDTH, HEIGHT)
    desktop.init(data_uris(pictures(3)))
    assert len(http.get("/api/videos").json()) == 3  # with the one of the fixture


def test_indices_may_begin_elsewhere(start, words):
    desktop = Desktop(start())
    assert desktop.init(start_frame_index=100)["start_frame_index"] == 100
    assert desktop.text("red", frame=104)
    events = desktop.events(103, 105)
    assert events[0] == {"type": "started", "total_frames": 3, "start_frame_index": 103}
    assert list(events[-1]["results"]) == ["103", "104", "105"]


# -- words -----------------------------------------------------------------------------------------------------------------
def test_several_concepts_in_one_text_each_shape_with_its_own(start, words):
    desktop = Desktop(start())
    desktop.init()
    red, blue = desktop.text("red, blue; green.", frame=4)
    assert (red["label"], blue["label"]) == ("red", "blue")
    assert (red["group_id"], blue["group_id"]) == (1, 2)
    assert red["shape_type"] == "polygon"
    assert red["points"][0] == red["points"][-1]
    assert red["score"] == 0.9
    assert (area([red]), area([blue])) == (25 * 23, 24 * 16)
    boxes = Desktop(desktop.http, "video_boxes")
    boxes.session = desktop.session
    assert [shape["points"] for shape in boxes.text("red", frame=4)] == [[[14, 15], [39, 15], [39, 38], [14, 38]]]


def test_a_known_thing_gets_the_name_that_is_asked_for_and_keeps_its_id(start, words, monkeypatch):
    desktop = Desktop(start())
    desktop.init()
    (first,) = desktop.text("red", frame=4)
    monkeypatch.setitem(__import__("remote_client").COLOURS, "crimson", (220, 60, 40))
    (second,) = desktop.text("crimson", frame=4)
    assert (second["label"], second["group_id"]) == ("crimson", first["group_id"])
    assert {shape["label"] for shapes in desktop.run(4, 6).values() for shape in shapes} == {"crimson"}


def test_words_without_a_detector_say_what_to_install_and_everything_needs_none(start):
    desktop = Desktop(start())
    desktop.init()
    about = {"session_id": desktop.session, "model": desktop.model}
    answer = desktop.call("POST", "/v1/video/prompt", **about, text_prompt="cow", params={})
    assert answer.status_code == 503
    assert "keepsight models download grounding-dino" in answer.json()["error"]["message"]
    # The tiny model sees nothing in particular; that it was asked is what counts.
    answer = desktop.call("POST", "/v1/video/prompt", **about, text_prompt="everything", params={})
    assert answer.status_code == 200, answer.text


# -- points ----------------------------------------------------------------------------------------------------------------
def test_points_add_up_to_one_object_whose_id_the_client_can_manage(start):
    desktop = Desktop(start())
    http = desktop.http
    desktop.init()
    first = desktop.point((30, 25, 1), frame=3)
    second = desktop.point((30, 25, 1), (50, 60, 0), frame=3)
    assert {(shape["label"], shape["group_id"]) for shape in first + second} == {("AUTOLABEL_OBJECT", 1)}
    view = http.get(clip_of(http)).json()
    assert [item["points"] for item in view["prompts"]] == [[[30, 25, 1]], [[50, 60, 0]]]
    # Auto Run says all of it again before it asks for the range.
    assert desktop.point((30, 25, 1), (50, 60, 0), frame=3) == second
    assert len(http.get(clip_of(http)).json()["prompts"]) == 2
    # Cleared, and begun again.
    desktop.point((20, 20, 1), frame=3)
    view = http.get(clip_of(http)).json()
    assert [(item["object_id"], item["points"]) for item in view["prompts"]] == [(1, [[20, 20, 1]])]


def test_points_of_the_prompted_frame_that_are_sent_for_another_one_are_no_prompt(start):
    desktop = Desktop(start())
    desktop.init()
    desktop.point((30, 25, 1), frame=5)
    assert desktop.point((30, 25, 1), frame=2) == []
    shapes = desktop.run(2, 8)
    assert list(shapes) == list(range(2, 9))
    assert all(shapes[frame] for frame in shapes)
    view = desktop.http.get(clip_of(desktop.http)).json()
    assert [item["frame"] for item in view["prompts"]] == [5]


def test_other_points_begin_another_object_where_the_settings_say_so(start):
    desktop = Desktop(start(anylabeling={"new_objects": True}))
    desktop.init()
    desktop.point((30, 25, 1), frame=3)
    desktop.point((70, 55, 1), frame=3)
    assert {shape["group_id"] for shape in desktop.run(3, 4)[4]} == {1, 2}
    # The client gives one label to all that comes: what it has had by then stays away.
    desktop.point((50, 10, 1), frame=3)
    assert {shape["group_id"] for shape in desktop.run(3, 4)[4]} == {3}


def test_a_corrected_object_is_tracked_anew_from_there_and_earlier_frames_stay(start):
    desktop = Desktop(start())
    desktop.init()
    desktop.point((30, 25, 1), frame=0)
    before = desktop.run(0)
    desktop.point((35, 30, 1), frame=6)
    after = desktop.run(6)
    assert all(desktop.run(0)[frame] == before[frame] for frame in range(6))
    assert after[6] != before[6]
    assert list(after) == list(range(6, FRAMES))


# -- refusals --------------------------------------------------------------------------------------------------------------
def test_refusals_have_codes_of_http_and_the_envelope(start, words):
    http = start()
    desktop = Desktop(http)
    desktop.init()
    about = {"session_id": desktop.session, "model": desktop.model}
    lost = about | {"session_id": "gone"}
    picture = Desktop(http, "image_masks").model
    for path, body, status, code in [
        ("/v1/video/prompt", lost | {"text_prompt": "red"}, 404, "SESSION_NOT_FOUND"),
        ("/v1/video/propagate/stream", lost, 404, "SESSION_NOT_FOUND"),
        ("/v1/video/propagate", lost, 404, "SESSION_NOT_FOUND"),
        (f"/v1/video/cleanup/gone?model={desktop.model}", {}, 404, "SESSION_NOT_FOUND"),
        ("/v1/video/prompt", about | {"model": "gone", "text_prompt": "red"}, 404, "MODEL_NOT_FOUND"),
        ("/v1/video/prompt", about | {"model": picture, "text_prompt": "red"}, 422, "INVALID_MODEL"),
        ("/v1/video/propagate/stream", about, 409, "PROPAGATION_ERROR"),
        ("/v1/video/prompt", about, 422, "MISSING_PROMPT"),
        ("/v1/video/prompt", about | {"text_prompt": "red", "frame_index": FRAMES}, 422, "PROMPT_ERROR"),
        ("/v1/video/prompt", about | {"points": [[2, 0.5]], "point_labels": [1]}, 422, "PROMPT_ERROR"),
        ("/v1/video/prompt", about | {"points": [[0.5, 0.5]], "point_labels": [1, 1]}, 422, "PROMPT_ERROR"),
        ("/v1/video/init", {"model": desktop.model}, 422, "MISSING_FRAMES"),
        ("/v1/video/init", {"model": desktop.model, "frames": []}, 422, "MISSING_FRAMES"),
        ("/v1/video/init", {"frames": data_uris(pictures(1))}, 422, "MISSING_MODEL"),
        ("/v1/video/init", {"model": "gone", "frames": data_uris(pictures(1))}, 404, "MODEL_NOT_FOUND"),
    ]:
        answer = desktop.call("POST", path, **body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (path, body)
        assert answer.json()["success"] is False
        assert answer.json()["error"]["message"]
    desktop.text("red")
    answer = desktop.call("POST", "/v1/video/propagate/stream", **about, start_frame=5, end_frame=4)
    assert answer.status_code == 422


def test_limits_of_frames_and_what_is_no_picture(start):
    http = start(limits={"remote_frames": 3, "pixels": 10_000, "remote_body_mb": 1})
    desktop = Desktop(http)
    import cv2
    import numpy as np

    large = cv2.imencode(".png", np.zeros((200, 100, 3), np.uint8))[1].tobytes()
    small = cv2.imencode(".png", np.zeros((20, 100, 3), np.uint8))[1].tobytes()
    for frames, status in [
        (data_uris(pictures(4)), 413),
        (data_uris([large]), 413),
        (data_uris([*pictures(1), small]), 422),
        (data_uris([b"no picture, but long enough to be set aside " * 10]), 422),
        (data_uris([b"no"]), 422),
        (["data:image/png;base64,!!!"], 422),
        (["secret " * 100], 422),
        ([1], 422),
    ]:
        answer = desktop.call("POST", "/v1/video/init", model=desktop.model, frames=frames)
        assert answer.status_code == status, (answer.text, frames[0])
        assert "secret" not in answer.text
    assert http.post("/v1/video/init", content=b"x" * 2**21).status_code == 413
    for rubbish in (b"", b"{", b"[]", b'"' + b"a" * 1000, b"\xff" * 300, b"[" * 100_000):
        assert http.post("/v1/video/init", content=rubbish).status_code == 422, rubbish[:10]
    assert [line["name"] for line in http.get("/api/videos").json()] == ["clip.mp4"]
    assert desktop.init(data_uris(pictures(3)))["num_frames"] == 3


def test_a_key_is_asked_for_in_the_header_that_the_client_sends(start):
    http = start(api_key="a long key")
    assert http.get("/v1/models").status_code == 401
    assert http.get("/v1/models").json()["success"] is False
    assert http.get("/v1/models", headers={"Token": "wrong"}).status_code == 401
    assert http.get("/health").json()["status"] == "healthy"
    assert Desktop(http, Token="a long key").init()["num_frames"] == FRAMES


def test_a_server_that_takes_no_uploads_takes_no_frames(start):
    desktop = Desktop(start(allow_upload=False))
    answer = desktop.call("POST", "/v1/video/init", model=desktop.model, frames=data_uris(pictures(1)))
    assert answer.status_code == 403


def test_health_answers_while_a_frame_is_being_looked_at(start, words, monkeypatch):
    gate = Gate(monkeypatch)
    desktop = Desktop(start())
    desktop.init()
    desktop.text("red")
    seen = []

    def look(event):
        seen.append(desktop.http.get("/health").status_code)
        if len(seen) == 4:
            gate.open()
        return False

    assert desktop.events(0, leave=look)[-1]["type"] == "completed"
    assert set(seen) == {200}


def folder_of(number: int, count: int) -> list[str]:
    """The clip with a mark of its own, as another person has another one."""
    files = []
    for index in range(count):
        picture = small_desks.picture(index)
        picture[:4, :4] = 25 * number
        files.append(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    return data_uris(files)


def test_eight_desktops_are_served_at_once_and_health_answers_meanwhile(start, monkeypatch):
    address = str(start().base_url)
    gate = Gate(monkeypatch)
    together, under_way = threading.Barrier(8, timeout=60), threading.Barrier(9, timeout=60)

    def work(number: int) -> tuple[int, list[dict[str, Any]]]:
        def meet(event: dict[str, Any]) -> bool:
            if event["type"] == "started":
                under_way.wait()
            return False

        with httpx2.Client(base_url=address, timeout=120) as http:
            desktop = Desktop(http)
            desktop.init(folder_of(number, 8))
            together.wait()
            prompted = area(desktop.point((30, 25, 1)))
            events = desktop.events(0, leave=meet)
            desktop.cleanup()
            return prompted, events

    def healthy() -> bool:
        return http.get("/health").json()["status"] == "healthy"

    with ThreadPoolExecutor(8) as pool, httpx2.Client(base_url=address, timeout=60) as http:
        futures = [pool.submit(work, number) for number in range(8)]
        under_way.wait()
        assert all(healthy() for _ in range(8))
        assert not any(future.done() for future in futures)
        gate.open()
        while not all(future.done() for future in futures):
            assert healthy()
    for future in futures:
        prompted, events = future.result()
        assert prompted > 0
        assert events[-1]["type"] == "completed"
        assert events[-1]["results"]["0"]["masks"]
        # How many ticks there are is the machine's pace; that they say how far it is, is not.
        assert {event["type"] for event in events[1:-1]} == {"progress"}
        told = [event["current_frame"] for event in events[1:-1]]
        assert told == sorted(told)
        assert told[-1] == 8
    with httpx2.Client(base_url=address) as http:
        clips = [line for line in http.get("/api/videos").json() if line["id"].startswith("anylabeling-")]
    assert [line["frames_done"] for line in clips] == [8] * 8
