"""Export, import, export again: identical where the format can hold it, and counted where it cannot."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from small_projects import FRAMES, HEIGHT, WIDTH, again, block, files_of, masks_of, project_of, scenes

from keepsight.core import InputError, Mask, Source, StoreError
from keepsight.formats import load_prompts, save_prompts
from keepsight.formats.exchange import SIDECAR
from keepsight.formats.registry import FORMATS, export_tracks, import_prompts, import_tracks


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=8, deadline=None)
@given(scene=scenes())
def test_export_import_export_is_identical(tmp_path_factory, name, scene):
    tmp = tmp_path_factory.mktemp(name)
    labels, tracks = scene
    with project_of(tmp / "a.keepsight", tracks, labels) as first:
        done = export_tracks(first, 1, name, tmp / "a")
        truth = masks_of(first)
    if not truth and name not in ("davis", "coco", "yolo", "labelme"):
        return  # only these hold frames that are empty
    second, _, _ = again(tmp, name)
    a, b = files_of(tmp / "a"), files_of(tmp / "b")
    ledger = json.loads(a.pop(SIDECAR)), json.loads(b.pop(SIDECAR))
    assert a == b
    assert ledger[0]["objects"] == ledger[1]["objects"]
    found = masks_of(second)
    second.close()
    lossless = name in ("sav", "coco", "ytvis", "cvat") or not {
        key for key, count in done.losses.items() if count and key not in ("empty_frames", "renumbered_ids", "scores")
    }
    if lossless:
        assert found == truth
    elif name in ("yolo", "labelme"):
        # Only holes were lost, and as many pixels as the ledger says.
        assert found.keys() == truth.keys()
        assert all((found[key].to_array() | truth[key].to_array() == found[key].to_array()).all() for key in truth)
        assert (
            sum(m.area for m in found.values()) - sum(m.area for m in truth.values()) == done.losses["filled_hole_px"]
        )
    elif name in ("davis", "mots"):
        lost = sum(m.area for m in truth.values()) - sum(m.area for m in found.values())
        assert lost == done.losses["overlap_px"]
    else:
        assert {key: mask.box for key, mask in found.items()} == {key: mask.box for key, mask in truth.items()}
        assert done.losses["masks_as_boxes"] == len(truth)


def test_pycocotools_and_pil_read_what_is_written(tmp_path):
    ring = block(1, 1, 6, 6) & ~block(3, 3, 4, 4)
    project = project_of(tmp_path / "p.keepsight", {2: {5: ring, 9: block(4, 4, 8, 8)}, 3: {}}, {5: "cow", 9: "dog"})
    export_tracks(project, 1, "coco", tmp_path / "coco")
    coco = COCO(tmp_path / "coco" / "annotations.json")
    assert sorted(coco.imgs) == [3, 4]
    by_track = {entry["track_id"]: entry for entry in coco.anns.values()}
    np.testing.assert_array_equal(coco.annToMask(by_track[5]), ring)
    assert [coco.cats[by_track[i]["category_id"]]["name"] for i in (5, 9)] == ["cow", "dog"]
    export_tracks(project, 1, "ytvis", tmp_path / "ytvis")
    data = json.loads((tmp_path / "ytvis" / "annotations.json").read_text())
    first, second = (entry["segmentations"] for entry in data["annotations"])
    np.testing.assert_array_equal(coco_mask.decode(first[2]), ring)
    np.testing.assert_array_equal(coco_mask.decode(second[2]), block(4, 4, 8, 8))
    assert [rle for entry in (first, second) for rle in entry[:2] + entry[3:]] == [None] * 2 * (FRAMES - 1)
    export_tracks(project, 1, "sav", tmp_path / "sav")
    with Image.open(tmp_path / "sav" / "005" / "00002.png") as image:
        np.testing.assert_array_equal(np.asarray(image), ring)
    done = export_tracks(project, 1, "davis", tmp_path / "davis")
    with Image.open(tmp_path / "davis" / "00002.png") as image:
        assert image.mode == "P"
        pixels = np.asarray(image)
    assert (pixels[4:6, 4:6] == 9).all()
    assert (pixels[3, 3], pixels[1, 1]) == (0, 5)
    assert done.losses["overlap_px"] == 4
    export_tracks(project, 1, "mots", tmp_path / "mots")
    (line, _) = (tmp_path / "mots" / "gt" / "gt.txt").read_text().splitlines()
    frame, object_id, kind, height, width, counts = line.split(" ")
    assert (frame, object_id, kind, height, width) == ("3", "11005", "11", str(HEIGHT), str(WIDTH))
    assert Mask(HEIGHT, WIDTH, counts.encode()).area == 24 - 4


def test_csv_and_parquet_have_the_same_rows_and_types(tmp_path):
    """More rows than a batch of Parquet has, read by pyarrow itself."""
    parquet = pytest.importorskip("pyarrow.parquet")
    box = block(2, 1, 5, 8)
    tracks = {frame: dict.fromkeys((3, 70000), box) for frame in range(2600)}
    with project_of(tmp_path / "p.keepsight", tracks, {3: "été", 70000: None}, None) as project:
        for name in ("csv", "parquet"):
            export_tracks(project, 1, name, tmp_path / name)
    table = parquet.read_table(tmp_path / "parquet" / "boxes.parquet")
    kinds = {"frame": int, "object_id": int, "label": str}
    with (tmp_path / "csv" / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{key: kinds.get(key, float)(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    assert table.to_pylist() == rows
    assert rows[5000] == {
        "frame": 2500, "time_s": 100.0, "object_id": 3, "label": "été", "x1": 2, "y1": 1, "x2": 5, "y2": 8, "score": 0.6
    }  # fmt: skip
    for name in ("csv", "parquet"):
        with project_of(tmp_path / f"{name}.keepsight", {}, None, None) as other:
            import_tracks(other, 1, name, tmp_path / name)
            assert len(masks_of(other)) == len(rows)


def test_labelme_keeps_what_it_does_not_know(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    cow = {
        "label": "cow",
        "points": [[1, 1], [5, 1], [5, 5], [1, 5]],
        "group_id": 4,
        "shape_type": "polygon",
        "mood": "calm",
    }
    calf = {"label": "calf", "points": [[6, 6], [8, 8]], "group_id": None, "shape_type": "rectangle", "age": 2}
    eye = {"label": "eye", "points": [[2, 2]], "shape_type": "point", "flags": {"left": True}}
    head = {
        "version": "4.2.1",
        "imagePath": "cam 00003.png",
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        "tags": ["rain"],
    }
    (folder / "cam_00003.json").write_text(json.dumps(head | {"shapes": [cow, calf, eye]}))
    (folder / "cam_00004.json").write_text(json.dumps(head | {"shapes": [eye], "weather": {"wind": 3}}))
    with project_of(tmp_path / "p.keepsight", {}) as project:
        imported = import_tracks(project, 1, "labelme", folder)
        assert imported.source.troubles == {"unknown_shapes": 2, "guessed_objects": 1}
        assert [(item.object_id, item.label) for item in project.objects(1)] == [(4, "cow"), (5, "calf")]
        assert project.result(1, 3)[5].mask == Mask.from_array(block(6, 6, 8, 8))
        done = export_tracks(project, 1, "labelme", tmp_path / "b", base=folder)
        assert done.losses["kept_shapes"] == 2
        data = json.loads((tmp_path / "b" / "cam_00003.json").read_text())
        shapes = {shape["label"]: shape for shape in data.pop("shapes")}
        assert data == head
        assert (shapes["cow"]["mood"], shapes["calf"]["age"], shapes["eye"]) == ("calm", 2, eye)
        assert (shapes["calf"]["group_id"], shapes["calf"]["shape_type"], len(shapes)) == (5, "polygon", 3)
        assert json.loads((tmp_path / "b" / "cam_00004.json").read_text())["weather"] == {"wind": 3}
        import_tracks(project, 1, "labelme", tmp_path / "b", replace=True)
        export_tracks(project, 1, "labelme", tmp_path / "c", base=tmp_path / "b")
    b, c = files_of(tmp_path / "b"), files_of(tmp_path / "c")
    b.pop(SIDECAR), c.pop(SIDECAR)
    assert b == c


def test_ranges_and_folders_that_are_taken(tmp_path):
    project = project_of(tmp_path / "p.keepsight", {f: {1: block(0, 0, 3, 3)} for f in range(6)})
    for name in FORMATS:
        out = tmp_path / name
        assert export_tracks(project, 1, name, out, start=2, stop=4).frames == 2
        with project_of(tmp_path / f"{name}.keepsight", {}) as other:
            import_tracks(other, 1, name, out)
            assert {frame for frame, _ in masks_of(other)} == {2, 3}
        before = files_of(out)
        with pytest.raises(StoreError, match="already exists"):
            export_tracks(project, 1, name, out)
        assert files_of(out) == before
        export_tracks(project, 1, name, out, start=2, stop=4, overwrite=True)
        assert files_of(out) == before
        (out / "thesis.doc").write_text("mine")
        with pytest.raises(StoreError, match=r"thesis\.doc, which is not ours"):
            export_tracks(project, 1, name, out, overwrite=True)
        assert files_of(out) == before | {"thesis.doc": b"mine"}


def test_an_import_meets_objects_that_are_there(tmp_path):
    tracks = {2: {1: block(0, 0, 3, 3)}}
    with project_of(tmp_path / "p.keepsight", tracks, {1: "cow"}) as project:
        export_tracks(project, 1, "coco", tmp_path / "a")
    here = {2: {1: block(5, 5, 7, 7)}, 3: {1: block(5, 5, 7, 7)}}
    with project_of(tmp_path / "q.keepsight", here) as project:
        with pytest.raises(InputError, match=r"object 1 already; .*--new-ids.*--replace"):
            import_tracks(project, 1, "coco", tmp_path / "a")
        import_tracks(project, 1, "coco", tmp_path / "a", new_ids=True)
        assert [(item.object_id, item.label) for item in project.objects(1)] == [(1, None), (2, "cow")]
        import_tracks(project, 1, "coco", tmp_path / "a", replace=True)
        assert project.result(1, 2)[1].mask == Mask.from_array(block(0, 0, 3, 3))
        assert project.result(1, 2)[1].source == Source.IMPORTED
        assert project.result(1, 3)[1].mask == Mask.from_array(block(5, 5, 7, 7))


@pytest.mark.parametrize("name", FORMATS)
def test_prompts_of_chosen_frames(tmp_path, name):
    first = block(0, 0, 3, 3)
    with project_of(tmp_path / "p.keepsight", {f: {1: first, 2: block(5, f, 7, f + 2)} for f in (1, 4)}) as project:
        export_tracks(project, 1, name, tmp_path / "a")
    prompts, _ = import_prompts(name, tmp_path / "a", HEIGHT, WIDTH)
    assert {(prompt.object_id, prompt.frame) for prompt in prompts} == {(1, 1), (2, 1)}
    prompts, _ = import_prompts(name, tmp_path / "a", HEIGHT, WIDTH, frames={4}, as_boxes=True)
    assert {prompt.object_id: prompt.box for prompt in prompts} == {1: (0, 0, 3, 3), 2: (5, 4, 7, 6)}
    save_prompts(tmp_path / "prompts.json", prompts)
    assert load_prompts(tmp_path / "prompts.json") == prompts
    with pytest.raises(InputError, match="no object on frames 7"):
        import_prompts(name, tmp_path / "a", HEIGHT, WIDTH, frames={7})
