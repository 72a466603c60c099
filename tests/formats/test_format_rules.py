"""The rules of docs/formats.md, one by one: what a format cannot hold, and what other tools write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from small_projects import HEIGHT, WIDTH, block, masks_of, project_of

from keepsight.core import Mask
from keepsight.formats.exchange import LOSSES, SIDECAR
from keepsight.formats.polygons import fill_polygons
from keepsight.formats.registry import FORMATS, export_tracks, import_prompts, import_tracks

RING = block(1, 1, 6, 6) & ~block(3, 3, 5, 4)  # a hole of 2 px


def export(tmp, name, tracks, labels=None, **options):
    with project_of(tmp / f"{name}.keepsight", tracks, labels) as project:
        return dict(+export_tracks(project, 1, name, tmp / name, **options).losses)


def read(tmp, name, path=None):
    """Masks by frame and object, names by object, and the reader's ledger."""
    with project_of(tmp / f"{name}-in.keepsight", {}) as project:
        done = import_tracks(project, 1, name, path or tmp / name)
        return (
            masks_of(project),
            {item.object_id: item.label for item in project.objects(1)},
            dict(done.source.troubles),
        )


@pytest.mark.parametrize("name", FORMATS)
def test_the_ledger_names_everything_that_a_format_cannot_hold(tmp_path, name):
    """Two objects share 4 px on two frames, one of them has a hole of 2 px, and a third frame is empty."""
    tracks = {frame: {9: RING, 5: block(4, 4, 8, 8)} for frame in (2, 3)} | {4: {9: np.zeros((HEIGHT, WIDTH))}}
    lost = {
        "davis": {"overlap_px": 8, "scores": 4},
        "sav": {"scores": 4},
        "coco": {},
        "ytvis": {},
        "yolo": {"filled_holes": 2, "filled_hole_px": 4, "scores": 4},
        "labelme": {"filled_holes": 2, "filled_hole_px": 4},
        "mot": {"empty_frames": 1, "masks_as_boxes": 4},
        "mots": {"empty_frames": 1, "overlap_px": 8, "scores": 4},
        "cvat": {"empty_frames": 1, "scores": 4},
        "csv": {"empty_frames": 1, "masks_as_boxes": 4},
        "parquet": {"empty_frames": 1, "masks_as_boxes": 4},
    }
    assert export(tmp_path, name, tracks, {9: "cow", 5: "cow"}) == lost[name]
    assert json.loads((tmp_path / name / SIDECAR).read_text())["lost"] == lost[name]
    assert set(lost[name]) <= set(LOSSES)


@pytest.mark.parametrize("name", ["davis", "mots"])
def test_the_object_added_last_is_on_top_on_every_frame(tmp_path, name):
    """Order of adding, neither of numbers nor of scores."""
    tracks = {frame: {9: block(0, 0, 6, 6), 5: block(4, 4, 8, 8)} for frame in (0, 1)}
    export(tmp_path, name, tracks, {9: None, 5: None})
    found, _, _ = read(tmp_path, name)
    for frame in tracks:
        assert found[frame, 5] == Mask.from_array(block(4, 4, 8, 8))
        assert found[frame, 9] == Mask.from_array(block(0, 0, 6, 6) & ~block(4, 4, 8, 8))


@pytest.mark.parametrize(("name", "room"), [("davis", 254), ("mots", 999)])
def test_of_more_objects_than_ids_those_added_first_are_kept(tmp_path, name, room):
    ids = [5000 - number for number in range(room + 3)]
    places = {i: (n % WIDTH, n // WIDTH % HEIGHT, n // WIDTH // HEIGHT) for n, i in enumerate(ids)}
    tracks = {
        frame: {i: block(x, y, x + 1, y + 1) for i, (x, y, at) in places.items() if at == frame} for frame in range(11)
    }
    lost = export(tmp_path, name, tracks, dict.fromkeys(ids))
    assert (lost["left_out_objects"], lost["renumbered_ids"]) == (3, room)
    found, names, _ = read(tmp_path, name)
    assert sorted(i for _, i in found) == sorted(ids[:room])
    assert set(names) == set(ids)


def test_ids_that_all_fit_stay(tmp_path):
    for name, most in (("davis", 254), ("mots", 999), ("mot", 2**31 - 1)):
        assert "renumbered_ids" not in export(tmp_path, name, {0: {1: RING, most: block(7, 7, 9, 9)}})
    with Image.open(tmp_path / "davis" / "00000.png") as image:
        assert np.unique(np.asarray(image)).tolist() == [0, 1, 254]


def test_simplified_outlines_have_fewer_points_and_the_changed_pixels_are_counted(tmp_path):
    comb = block(1, 1, 10, 8)
    comb[0, 2:9:2] = True  # teeth of one pixel
    points = []
    for simplify_px in (0, 1):
        folder = tmp_path / str(simplify_px)
        folder.mkdir()
        lost = export(folder, "labelme", {0: {1: comb}}, simplify_px=simplify_px)
        points.append(len(json.loads((folder / "labelme" / "00000.json").read_text())["shapes"][0]["points"]))
        found, _, _ = read(folder, "labelme")
        changed = np.count_nonzero(found[0, 1].to_array() != comb)
        assert lost.get("simplified_px", 0) == changed
        assert (changed > 0) == (simplify_px > 0)
    assert points[1] < points[0]


def test_what_is_in_the_text_files(tmp_path):
    labels = {1: "cow", 2: "Car", 3: "person", 4: "dog"}
    tracks = {2: {i: block(2 * i, 1, 2 * i + 2, 4) for i in labels}}
    export(tmp_path, "mots", tracks, labels)
    rows = [line.split()[:3] for line in (tmp_path / "mots/gt/gt.txt").read_text().splitlines()]
    assert rows == [["3", "11001", "11"], ["3", "1002", "1"], ["3", "2003", "2"], ["3", "12004", "12"]]
    export(tmp_path, "mot", tracks, labels)
    assert (tmp_path / "mot/gt/gt.txt").read_text().splitlines()[1] == "3,2,4,1,2,3,1,2,1"
    assert (tmp_path / "mot/results.txt").read_text().splitlines()[1] == "3,2,4,1,2,3,0.4,-1,-1,-1"
    assert (tmp_path / "mot/labels.txt").read_text().split() == list(labels.values())
    export(tmp_path, "yolo", tracks, labels)
    data = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    assert data["names"] == dict(enumerate(labels.values()))
    assert (tmp_path / "yolo/tracks/00002.txt").read_text().split() == ["1", "2", "3", "4"]


def test_cvat_is_told_where_an_object_leaves(tmp_path):
    """It is there on frames 2, 3 and 6, and to the end of a second object's track nothing may be carried on."""
    export(tmp_path, "cvat", {f: {1: RING, 2: RING} if f in (2, 3, 6) else {2: RING} for f in range(2, 12)})
    text = (tmp_path / "cvat/annotations.xml").read_text()
    first, second = (
        [(line.split('"')[1], line.split('"')[5]) for line in track.splitlines() if line.startswith("<mask")]
        for track in text.split("<track")[1:]
    )
    assert first == [("2", "0"), ("3", "0"), ("4", "1"), ("6", "0"), ("7", "1")]
    assert second == [(str(frame), "0") for frame in range(2, 12)]
    assert {key for key in read(tmp_path, "cvat")[0] if key[1] == 1} == {(2, 1), (3, 1), (6, 1)}


POLYGON = [1.5, 1.5, 5.5, 1.5, 5.5, 5.5, 1.5, 5.5]
PAIRS = [[1.5, 1.5], [5.5, 1.5], [5.5, 5.5], [1.5, 5.5]]
SQUARE = block(1, 1, 6, 6)
IMAGE = {"id": 7, "file_name": "cam_00003.jpg", "width": WIDTH, "height": HEIGHT}
SHAPE = {"label": "cow", "group_id": 4}


def coco(**entry):
    entry = {"id": 1, "image_id": 7, "category_id": 2, "track_id": 4} | entry
    return json.dumps({"images": [IMAGE], "annotations": [entry], "categories": [{"id": 2, "name": "cow"}]})


def labelme(**shape):
    return json.dumps({"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [SHAPE | shape]})


def cvat(inside):
    return f'<annotations><track id="4" label="cow">{inside}</track></annotations>'


@pytest.mark.parametrize(
    ("name", "file", "text", "pixels"),
    [
        ("coco", "a.json", coco(segmentation=[POLYGON]), SQUARE),
        ("coco", "a.json", coco(segmentation=[POLYGON, [8.5, 8.5]]), SQUARE | block(8, 8, 9, 9)),
        ("coco", "a.json", coco(bbox=[1, 1, 5, 5]), SQUARE),
        ("coco", "a.json", coco(bbox=[1.9, 1.1, 4, 4]), SQUARE),  # every pixel that it touches
        ("coco", "a.json", coco(track_id=None, attributes={"track_id": 4}, bbox=[1, 1, 5, 5]), SQUARE),
        ("cvat", "a.xml", cvat('<polygon frame="3" points="1.5,1.5;5.5,1.5;5.5,5.5;1.5,5.5"/>'), SQUARE),
        ("cvat", "a.xml", cvat('<box frame="3" xtl="1" ytl="1" xbr="6" ybr="6"/><points frame="3"/>'), SQUARE),
        ("labelme", "3.json", labelme(points=PAIRS), SQUARE),
        ("labelme", "3.json", labelme(points=[[1, 1], [6, 6]], shape_type="rectangle"), SQUARE),
        ("labelme", "3.json", labelme(points=[[1, 1], [6, 1], [6, 6], [1, 6]], shape_type="rectangle"), SQUARE),
        ("labelme", "3.json", labelme(points=PAIRS, shape_type="rotation", direction=0.0), SQUARE),
        ("labelme", "3.json", labelme(points=[[4.5, 4.5], [4.5, 6.7]], shape_type="circle"), None),
        ("yolo", "3.txt", f"0 {3.5 / WIDTH} {3.5 / HEIGHT} {5 / WIDTH} {5 / HEIGHT}\n", SQUARE),
        ("mot", "gt.txt", "4,4,1,1,5,5,-1,-1,-1,-1\n", SQUARE),
        ("mot", "gt.txt", "4.0 4 1 1 5 5\n", SQUARE),
        ("csv", "a.csv", "y2,x2,y1,x1,object_id,frame\n6,6,1,1,4,3\n", SQUARE),
        ("ytvis", "a.json", json.dumps([{"video_id": 1, "category_id": 2, "id": 4, "segmentations": [None] * 3 + [
            {"size": [HEIGHT, WIDTH], "counts": [HEIGHT + 1] + [5, HEIGHT - 5] * 4 + [5, HEIGHT * 5 + 3]}]}]), SQUARE),
    ],
)  # fmt: skip
def test_what_other_tools_write_is_read(tmp_path, name, file, text, pixels):
    (tmp_path / file).write_text(text)
    found, names, troubles = read(tmp_path, name, tmp_path / file)
    object_id = 1 if name == "yolo" else 4  # a line of YOLO has no object
    assert list(found) == [(3, object_id)]
    if pixels is None:
        rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
        pixels = np.hypot(rows - 4.5, columns - 4.5) < 2.2
    np.testing.assert_array_equal(found[3, object_id].to_array(), pixels)
    if name not in ("yolo", "mot", "csv", "ytvis"):
        assert names == {4: "cow"}
    assert troubles.get("guessed_objects", 0) == (name == "yolo")
    assert troubles.get("unknown_shapes", 0) == ("points frame" in text)


def test_boxes_at_the_edge_are_clipped_or_left_out_and_counted_and_prompts_keep_the_box(tmp_path):
    rows = ["1,1,-2,-2,5,5", "1,2,50,50,5,5", "1,3,2.5,1,3,3", "1,4,1,1,2,2,0"]
    (tmp_path / "gt.txt").write_text("\n".join(rows))
    found, names, troubles = read(tmp_path, "mot", tmp_path / "gt.txt")
    assert {key: mask.box for key, mask in found.items()} == {(0, 1): (0, 0, 3, 3), (0, 3): (2, 1, 6, 4)}
    assert troubles == {"clipped_boxes": 1, "boxes_outside": 1, "boxes_as_masks": 2, "ignored_lines": 1}
    assert set(names) == {1, 2, 3}
    prompts, _ = import_prompts("mot", tmp_path / "gt.txt", HEIGHT, WIDTH)
    assert {prompt.object_id: prompt.box for prompt in prompts}[3] == (2.5, 1, 5.5, 4)


def test_shapes_without_an_id_are_numbered_by_their_place_among_their_label(tmp_path):
    dots = [[[x, 1.5]] for x in (1.5, 3.5, 5.5)]
    for frame, labels in enumerate((["cow", "dog", "cow"], ["dog", "cow", "cow"])):
        shapes = [{"label": label, "points": dot} for label, dot in zip(labels, dots, strict=True)]
        text = json.dumps({"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": shapes})
        (tmp_path / f"{frame}.json").write_text(text)
    found, names, troubles = read(tmp_path, "labelme", tmp_path)
    assert names == {1: "cow", 2: "dog", 3: "cow"}
    columns = {key: int(mask.box[0]) for key, mask in found.items()}
    assert columns == {(0, 1): 1, (0, 2): 3, (0, 3): 5, (1, 2): 1, (1, 1): 3, (1, 3): 5}
    assert troubles == {"guessed_objects": 6}


def test_a_pixel_belongs_to_a_polygon_when_its_centre_lies_in_or_on_it():
    assert fill_polygons([PAIRS], HEIGHT, WIDTH) == Mask.from_array(SQUARE)
    outward = [[1.01, 1.01], [5.99, 1.01], [5.99, 5.99], [1.01, 5.99]]
    assert fill_polygons([outward], HEIGHT, WIDTH) == Mask.from_array(SQUARE)
    inward = [[1.51, 1.51], [5.49, 1.51], [5.49, 5.49], [1.51, 5.49]]
    assert fill_polygons([inward], HEIGHT, WIDTH) == Mask.from_array(block(2, 2, 5, 5))
