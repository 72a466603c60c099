"""Single pictures over the X-AnyLabeling API: words, marks, everything."""

from __future__ import annotations

import pytest
from remote_client import Desktop, area, data_uris, pictures, understand_colours

PICTURE = data_uris(pictures(5))[4]
BOX = {"type": "rectangle", "data": [14, 15, 39, 38], "label": 1}


@pytest.fixture
def predict(start):
    desktop = Desktop(start(), "image_masks")

    def call(image=PICTURE, model=desktop.model, **params):
        return desktop.call("POST", "/v1/predict", model=model, image=image, params=params)

    call.boxes = Desktop(desktop.http, "image_boxes").model
    call.videos = lambda: desktop.http.get("/api/videos").json()
    return call


def shapes(answer):
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert set(data) == {"shapes", "description", "replace"}
    return data["shapes"]


def test_words_find_things_each_with_its_label(predict, monkeypatch):
    understand_colours(monkeypatch)
    red, blue = shapes(predict(text_prompt="red, blue", conf_threshold=0.5))
    assert (red["label"], blue["label"], area([red])) == ("red", "blue", 25 * 23)
    (box,) = shapes(predict(model=predict.boxes, text_prompt="red"))
    assert (box["shape_type"], box["points"][0], box["points"][2]) == ("rectangle", [14, 15], [39, 38])
    assert shapes(predict(text_prompt="red", conf_threshold=0.95)) == []


def test_marks_are_objects_of_their_own_and_points_belong_to_the_box_around_them(predict):
    point = {"type": "point", "data": [30, 25], "label": 1}
    far = {"type": "point", "data": [80, 55], "label": 1}
    no = {"type": "point", "data": [15, 16], "label": 0}
    assert {shape["group_id"] for shape in shapes(predict(marks=[BOX, point, no, far]))} <= {1, 2}
    one = shapes(predict(marks=[point]))
    assert {shape["label"] for shape in one} == {"AUTOLABEL_OBJECT"}
    assert shapes(predict(marks=[point])) == one
    assert len(predict.videos()) == 1  # nothing is stored


def test_without_words_for_words_the_line_says_what_to_do_and_everything_needs_none(predict):
    answer = predict(text_prompt="cow")
    assert answer.status_code == 503
    assert "keepsight models download" in answer.json()["error"]["message"]
    shapes(predict(text_prompt="everything"))
    shapes(predict())
    assert predict(text_prompt="motion").status_code == 422


@pytest.mark.parametrize(
    ("image", "params", "status"),
    [
        ("secret", {}, 422),
        ("", {}, 422),
        (PICTURE[:600], {"marks": [BOX]}, 422),
        (PICTURE, {"marks": [{"type": "point", "data": [5000, 1], "label": 1}]}, 422),
        (PICTURE, {"marks": [{"type": "point", "data": [5, 5], "label": 0}]}, 422),
        (PICTURE, {"marks": [{"type": "rectangle", "data": [5, 5, 5, 5], "label": 1}]}, 422),
        (PICTURE, {"marks": [{"type": "circle", "data": [5], "label": 1}]}, 422),
        (PICTURE, {"conf_threshold": 7}, 422),
    ],
)
def test_what_cannot_be_looked_at_is_refused(predict, image, params, status):
    answer = predict(image, **params)
    assert answer.status_code == status, answer.text
    assert "secret" not in answer.text


def test_an_unknown_model_is_not_found(predict):
    assert predict(model="gone").status_code == 404
