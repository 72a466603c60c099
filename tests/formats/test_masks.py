"""DAVIS folders, label pictures and YTVIS JSON: what goes in comes out, and what cannot go in is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco

from keepsight.core import FrameResult, InputError, Mask, StoreError, TrackedObject
from keepsight.formats import export_davis, export_ytvis, read_davis, read_labels, read_ytvis, write_labels
from keepsight.formats.labels import voc_palette
from keepsight.store import Project

HEIGHT, WIDTH = 12, 16


def block(x1, y1, x2, y2):
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[y1:y2, x1:x2] = True
    return Mask.from_array(pixels)


def make(path, frames, labels=(), frame_count=None):
    """A project from ``{frame: {object id: mask}}``."""
    project = Project.create(path)
    project.add_video(
        path="c.mp4", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=frame_count, fingerprint=""
    )
    for object_id, label in labels:
        project.add_object(1, object_id, label)
    run = project.start_run(1, {})
    for frame, masks in frames.items():
        items = tuple(TrackedObject(i, mask, 0.5 + i / 1000, 0.9) for i, mask in masks.items())
        project.write_result(1, run, FrameResult(frame, frame / 25, HEIGHT, WIDTH, items))
    return project


@settings(max_examples=40, deadline=None)
@given(labels=hnp.arrays(np.uint8, (7, 9), elements=st.integers(0, 254)))
def test_any_label_picture_round_trips(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("l") / "0.png"
    write_labels(path, labels)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    masks = read_labels(path)
    assert set(masks) == set(np.unique(labels)) - {0}
    for object_id, mask in masks.items():
        np.testing.assert_array_equal(mask.to_array(), labels == object_id)


LABELS = np.zeros((6, 8), np.uint8)
LABELS[1:3, 1:4], LABELS[4:, 5:] = 1, 9
ONLY_9 = np.where(LABELS == 9, 255, 0).astype(np.uint8)


def colours(labels, table):
    picture = np.zeros((*labels.shape, 3), np.uint8)
    for value, colour in table.items():
        picture[labels == value] = colour
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(LABELS), {1: 1, 9: 9}),
        (Image.fromarray((LABELS == 1).astype(np.uint8) * 255), {1: 1}),
        (Image.fromarray(np.where(LABELS == 9, 255, LABELS).astype(np.uint8)), {1: 1}),  # 255 beside ids is void
        (Image.fromarray(LABELS == 1), {1: 1}),
        (Image.fromarray(LABELS.astype(np.uint16) * 300), {300: 1, 2700: 9}),
        (Image.fromarray(voc_palette()[LABELS]), {1: 1, 9: 9}),
        (Image.fromarray(colours(LABELS, {1: (0, 0, 255), 9: (255, 0, 0)})), {1: 1, 2: 9}),
        (Image.fromarray(np.dstack([colours(LABELS, {0: (9, 9, 9), 9: (255, 0, 0)}), ONLY_9])), {1: 9}),
        (Image.fromarray(np.dstack([LABELS] * 3)), {1: 1, 9: 9}),
        (Image.fromarray(np.zeros_like(LABELS)), {}),
    ],
    ids=["grey", "binary", "void", "bits", "16 bit", "davis rgb", "any rgb", "rgba", "grey rgb", "empty"],
)  # fmt: skip
def test_every_kind_of_label_picture_is_understood(tmp_path, picture, expected):
    picture.save(tmp_path / "m.png")
    masks = read_labels(tmp_path / "m.png")
    assert set(masks) == set(expected)
    for object_id, value in expected.items():
        np.testing.assert_array_equal(masks[object_id].to_array(), value == LABELS)


def test_pictures_that_are_no_labels_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    soft = np.zeros((40, 40), np.uint8)
    soft[:20], soft[20, :] = 255, np.arange(100, 140)
    for name, image, says in [
        ("photo.png", photo, "photograph"),
        ("grey.png", photo[..., 0], "photograph"),
        ("soft.png", soft, "soft edges"),
        ("photo.jpg", photo, "JPEG.*save it as PNG"),
    ]:
        Image.fromarray(image).save(tmp_path / name)
        with pytest.raises(InputError, match=says):
            read_labels(tmp_path / name)
    (tmp_path / "text.png").write_text("hello")
    cut = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[: len(cut) // 2])
    for name in ("text.png", "cut.png"):
        with pytest.raises(InputError, match="cannot be read"):
            read_labels(tmp_path / name)
    with pytest.raises(InputError, match="not a file"):
        read_labels("/dev/null")


def test_davis_export_states_its_losses_and_reads_back(tmp_path):
    project = make(
        tmp_path / "p.keepsight",
        {0: {1: block(0, 0, 6, 6), 2: block(4, 4, 8, 8)}, 3: {1: block(0, 0, 2, 2)}, 4: {}},
    )
    export = export_davis(project, 1, tmp_path / "masks")
    assert (export.frames, export.overlap_px, export.ids) == (3, 4, {1: 1, 2: 2})
    back = dict(read_davis(tmp_path / "masks"))
    assert list(back) == [0, 3, 4]
    assert back[0][2] == block(4, 4, 8, 8)  # added last: on top
    assert back[0][1].area == 36 - 4
    assert back[4] == {}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks", "p.keepsight", "p.keepsight-shm", "p.keepsight-wal"]


def test_davis_ids_that_do_not_fit_are_renumbered_and_come_back(tmp_path):
    frames = {0: {0: block(0, 0, 2, 2), 7: block(3, 3, 5, 5), 1000: block(6, 6, 9, 9)}}
    project = make(tmp_path / "p.keepsight", frames)
    assert export_davis(project, 1, tmp_path / "m").ids == {0: 1, 7: 2, 1000: 3}
    assert dict(read_davis(tmp_path / "m")) == frames
    for object_id in range(2000, 2252):
        project.add_object(1, object_id)
    with pytest.raises(InputError, match="254 objects, the project has 255"):
        export_davis(project, 1, tmp_path / "m")
    assert dict(read_davis(tmp_path / "m")) == frames  # the earlier export is intact


def test_davis_replaces_its_own_folder_and_nobody_elses(tmp_path):
    project = make(tmp_path / "p.keepsight", {0: {1: block(0, 0, 2, 2)}})
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "00009.png").write_bytes(b"old")
    export_davis(project, 1, tmp_path / "m")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["00000.png"]
    (tmp_path / "m" / "thesis.doc").write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"thesis\.doc, which is not ours"):
        export_davis(project, 1, tmp_path / "m")
    assert len(list((tmp_path / "m").iterdir())) == 2


def test_davis_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list(read_davis(tmp_path / "none"))
    with pytest.raises(InputError, match="no PNG"):
        list(read_davis(tmp_path))
    write_labels(tmp_path / "mask.png", LABELS)
    with pytest.raises(InputError, match="no frame number"):
        list(read_davis(tmp_path))


def test_ytvis_holds_overlaps_gaps_and_names(tmp_path):
    frames = {
        1: {3: block(0, 0, 6, 6), 8: block(4, 4, 8, 8)},
        2: {3: Mask.empty(HEIGHT, WIDTH), 8: block(4, 4, 9, 9)},
        5: {3: block(1, 1, 3, 4)},
    }
    project = make(tmp_path / "p.keepsight", frames, labels=[(3, 'a "rabbit"'), (8, None)], frame_count=7)
    assert export_ytvis(project, 1, tmp_path / "a.json") == 2
    data = json.loads((tmp_path / "a.json").read_text())
    first = data["annotations"][0]
    assert [len(first[key]) for key in ("segmentations", "bboxes", "areas", "scores")] == [7] * 4
    assert [i for i, rle in enumerate(first["segmentations"]) if rle] == [1, 5]
    assert first["bboxes"][5] == [1, 1, 2, 3]
    assert first["areas"] == [None, 36, None, None, None, 6, None]
    assert coco.area(first["segmentations"][1]) == 36  # plain pycocotools reads it
    assert data["videos"][0]["length"] == len(data["videos"][0]["file_names"]) == 7
    tracks = read_ytvis(tmp_path / "a.json")
    assert [(t.object_id, t.label) for t in tracks] == [(3, 'a "rabbit"'), (8, "object")]
    assert tracks[0].masks == {1: frames[1][3], 5: frames[5][3]}
    assert tracks[1].masks == {1: frames[1][8], 2: frames[2][8]}


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(0, 40), st.dictionaries(st.integers(0, 3), st.booleans(), max_size=3), max_size=6))
def test_ytvis_round_trips_any_pattern_of_presence(tmp_path_factory, pattern):
    folder = tmp_path_factory.mktemp("y")
    frames = {
        f: {i: block(i, 0, i + 3, 5) if there else Mask.empty(HEIGHT, WIDTH) for i, there in sorted(objects.items())}
        for f, objects in sorted(pattern.items())
    }
    with make(folder / "p.keepsight", frames) as project:
        export_ytvis(project, 1, folder / "a.json")
    got = {(t.object_id, f): m for t in read_ytvis(folder / "a.json") for f, m in t.masks.items()}
    assert got == {(i, f): m for f, objects in frames.items() for i, m in objects.items() if m.area}


def test_ytvis_results_lists_and_uncompressed_counts(tmp_path):
    rle = {"size": [2, 3], "counts": [1, 2, 3]}
    (tmp_path / "r.json").write_text(
        json.dumps([{"video_id": 4, "category_id": 2, "score": 0.5, "segmentations": [None, rle]}])
    )
    (track,) = read_ytvis(tmp_path / "r.json")
    assert (track.video_id, track.score, track.masks[1].area) == (4, 0.5, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("{}", "no list of annotations"),
        ('[{"video_id": 1, "category_id": 1}]', "annotation 0.*'segmentations' is missing"),
        ('[{"video_id": 1, "category_id": 1, "segmentations": [{"size": [2, 2], "counts": [1]}]}]', "do not add up"),
        ("[3]", "annotation 0"),
    ],
)
def test_ytvis_errors_name_the_entry(tmp_path, text, says):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=says):
        read_ytvis(tmp_path / "a.json")
