"""Prompt files: JSON and box text round trip, and errors name the entry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import InputError, Mask, Prompt
from keepsight.formats import load_prompts, read_box_track, save_prompts, write_labels
from keepsight.formats.boxes import format_boxes, parse_boxes

number = st.floats(-1e4, 1e4, allow_nan=False)
MASK = Mask.from_array(np.eye(4))


@st.composite
def prompts(draw):
    points = draw(st.lists(st.tuples(number, number), max_size=4))
    x, y, w, h = draw(number), draw(number), draw(st.floats(1, 1e3)), draw(st.floats(1, 1e3))
    kind = draw(st.sampled_from(["points", "box", "both", "mask"]))
    if kind == "points" and not points:
        points = [(x, y)]
    points = points if kind in ("points", "both") else []
    return Prompt(
        object_id=draw(st.integers(0, 5)),
        frame=draw(st.integers(0, 9)),
        points=tuple(points),
        labels=tuple(draw(st.integers(0, 1)) for _ in points),
        box=(x, y, x + w, y + h) if kind in ("box", "both") else None,
        mask=MASK if kind == "mask" else None,
        label=draw(st.none() | st.text(max_size=6)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(prompts(), min_size=1, max_size=4))
def test_json_prompts_round_trip(tmp_path_factory, given_prompts):
    path = tmp_path_factory.mktemp("p") / "prompts.json"
    save_prompts(path, given_prompts)
    assert load_prompts(path) == given_prompts


def test_the_documented_example(tmp_path):
    labels = np.zeros((6, 6), np.uint8)
    labels[:2], labels[4:] = 3, 5
    write_labels(tmp_path / "m.png", labels)
    entries = [
        {"object": 1, "label": "rabbit", "frame": 40, "points": [[640, 300, 1], [10.5, 20]], "box": [1, 2, 3, 4]},
        {"frame": 2, "mask": "m.png"},
        {"object": 3, "mask": str(tmp_path / "m.png")},
        {"object": 9, "mask": MASK.to_coco()},
    ]
    (tmp_path / "p.json").write_text("\ufeff\n" + json.dumps({"version": 1, "prompts": entries}), encoding="utf-8")
    got = load_prompts(tmp_path / "p.json")
    assert got[0] == Prompt(1, 40, ((640.0, 300.0), (10.5, 20.0)), (1, 1), (1.0, 2.0, 3.0, 4.0), None, "rabbit")
    assert [(p.object_id, p.frame, p.mask.area) for p in got[1:]] == [(3, 2, 12), (5, 2, 12), (3, 0, 12), (9, 0, 4)]


def entry(**fields):
    return json.dumps({"version": 1, "prompts": [{"object": 1, "points": [[1, 1]]}, fields]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", 'expected {"version": 1'),
        ('{"version": 2, "prompts": [{}]}', "version: input should be 1"),
        ('{"version": 1, "prompts": []}', "neither prompts nor concepts"),
        (entry(object=2, pionts=[[1, 1]]), "entry 2, pionts: this key is not known"),
        (entry(object=2, points=[[1, 1, 2]]), "entry 2, points.0: the third number is 1"),
        (entry(object=2, points=[[1, float("nan")]]), "entry 2, points"),
        (entry(object=-1, points=[[1, 1]]), "entry 2, object: .*greater than or equal to 0"),
        (entry(object=2), "entry 2: .*at least one point"),
        (entry(points=[[1, 1]]), "entry 2: which object"),
        (entry(object=2, box=[5, 5, 1, 1]), "entry 2: .*X2 > X1"),
        (entry(object=2, mask="none.png"), "entry 2: .*none.png does not exist"),
        (entry(object=2, mask={"size": [2, 2], "counts": [1]}), "entry 2: .*do not add up"),
        ("1,2,3", "line 1: expected x,y,width,height"),
        ("\n1,2,3,4\n5 6 0 8", "box 2 has no extent"),
        ("# nothing\n\n", "holds no boxes"),
    ],
)
def test_errors_name_the_entry_and_the_field(tmp_path, text, says):
    (tmp_path / "p").write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        load_prompts(tmp_path / "p")
    assert str(tmp_path / "p") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_prompts(tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe\0\x80")
    for path, says in [(tmp_path / "none", "does not exist"), (tmp_path, "not a file"), (tmp_path / "b", "not a text")]:
        with pytest.raises(InputError, match=says):
            load_prompts(path)


side = st.floats(0.5, 1e4).map(lambda value: round(value, 3))


@given(st.lists(st.none() | st.tuples(side, side, side, side), min_size=1, max_size=5))
def test_box_text_round_trips(sizes):
    boxes = [s and (s[0], s[1], s[0] + s[2], s[1] + s[3]) for s in sizes]
    got = parse_boxes(format_boxes(boxes), "boxes")
    assert [b is None for b in got] == [b is None for b in boxes]
    for a, b in zip(got, boxes, strict=True):
        assert a is None or a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize(
    "line", ["10,20,30,40", "10\t20\t30\t40", " 10 20  30 40 ", "10, 20, 30, 40", "1e1;20;30;40\r"]
)
def test_first_frame_boxes_with_any_separator(tmp_path, line):
    (tmp_path / "b.txt").write_text(f"{line}\n1,2,3,4\n")
    assert load_prompts(tmp_path / "b.txt") == [Prompt(1, 0, box=(10, 20, 40, 60)), Prompt(2, 0, box=(1, 2, 4, 6))]


def test_lasot_folder_marks_absence(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\n1,2,3,4\nNaN,NaN,NaN,NaN\n1,2,3,4\n0,0,0,0\n")
    (tmp_path / "full_occlusion.txt").write_text("0,1,0,0,0")
    (tmp_path / "out_of_view.txt").write_text("0,0,0,0,1")
    assert [box is not None for box in read_box_track(tmp_path)] == [True, False, False, True, False]
    (tmp_path / "out_of_view.txt").write_text("0,0")
    with pytest.raises(InputError, match="2 marks for 5 boxes"):
        read_box_track(tmp_path)
