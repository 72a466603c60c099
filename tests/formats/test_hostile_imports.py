"""Damaged and hostile files: one clear line, nothing imported, nothing of the claimed size ever made."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keepsight.cli.main import run
from keepsight.core import FrameResult, InputError, Mask, TrackedObject
from keepsight.formats.registry import FORMATS, export_tracks, import_tracks
from keepsight.store import Project

HEIGHT, WIDTH = 6, 8
RLE = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH - 4, 4]}
GIANT = {"size": [2**31, 2**31], "counts": [2**62]}


def coco(**changes):
    image = {"id": 1, "file_name": "0.jpg", "width": WIDTH, "height": HEIGHT}
    entry = {"id": 7, "image_id": 1, "category_id": 1, "track_id": 1, "segmentation": RLE}
    for key, value in changes.items():
        (image if key in image and key != "id" else entry)[key] = value
    return json.dumps({"images": [image], "annotations": [entry], "categories": [{"id": 1, "name": "cow"}]})


def labelme(points, **changes):
    shape = {"label": "cow", "points": points, "group_id": 1, "shape_type": "polygon"} | changes
    return json.dumps({"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [shape]})


def cvat(inside, head=""):
    return f'<?xml version="1.0"?>{head}<annotations><track id="1" label="cow">{inside}</track></annotations>'


def cvat_mask(rle="44,4", left=0, top=0, width=WIDTH, height=HEIGHT, frame=0):
    return cvat(f'<mask frame="{frame}" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}"/>')


BOMB = '<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;&b;&b;">]>'
LEAK = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
FILES = [
    ("coco", "{", "not JSON"),
    ("coco", "[" * 100_000, "not JSON"),
    ("coco", coco(segmentation=GIANT), "is for 2147483648x2147483648 px but the video is 8x6"),
    ("coco", coco(segmentation=RLE | {"counts": [1, 2]}), "annotation 7.*do not add up"),
    ("coco", coco(segmentation=RLE | {"counts": "~~~~"}), "annotation 7.*run-length"),
    ("coco", coco(segmentation=[[0, 0, 5, 5, 1]]), "annotation 7"),
    ("coco", coco(segmentation=[[0, 0, 1e300, 5, 1, 1]]), "coordinates"),
    ("coco", coco(segmentation=[], bbox=[3, 3, -1, 2]), "is no box"),
    ("coco", coco(segmentation=[], bbox=[1, 1, float("nan"), 2]), "NaN is not a JSON number"),
    ("coco", coco(height=99), "8x99 px but the video is 8x6"),
    ("coco", coco(image_id=5), "there is no image 5"),
    ("coco", coco(file_name="../../etc/passwd"), "no frame number"),
    ("coco", coco(track_id=-3), "-3 is no object id"),
    ("coco", coco(file_name="900.jpg"), "frame 900, but the video has 20 frames"),
    ("ytvis", json.dumps([{"video_id": 1, "category_id": 1, "segmentations": [GIANT | {"counts": "0"}]}]), "add up"),
    ("ytvis", json.dumps([{"video_id": 1, "category_id": 1, "segmentations": [{"size": [1, 4], "counts": [4]}]}]), "4x1"),
    ("mot", "1,1,2,2,-3,4,1,1,1\n", "line 1: .* is no box"),
    ("mot", "1,1,2,2,nan,4,1,1,1\n", "line 1: .* is no box"),
    ("mot", "1,1,2,2,3,4,1\n1,1,2,2,3,4,1\n", "line 2: object 1 is on this frame already"),
    ("mot", "0,1,2,2,3,4,1\n", "frames count from 1"),
    ("mot", "1,x,2,2,3,4\n", "line 1: expected frame,id"),
    ("mots", f"1 2001 2 {2**40} {2**40} 0\n", "px but the video is 8x6"),
    ("mots", "1 2001 2 6 8 ~~~\n", "line 1.*run-length"),
    ("mots", "1 2001 2 6 8\n", "line 1: expected frame id class"),
    ("csv", "a,b\n1,2\n", "has no column 'frame'"),
    ("csv", "frame,object_id,x1,y1,x2,y2\n0,1,5,5,1,1\n", "row 1: .* is no box"),
    ("csv", "frame,object_id,x1,y1,x2,y2\n0,1,inf,5,1,1\n", "row 1: .* is no box"),
    ("csv", "frame,object_id,x1,y1,x2,y2\n99999999999999,1,1,1,2,2\n", "row 1: .* is no frame number"),
    ("csv", "frame,object_id,x1,y1,x2,y2\n0,99999999999999999999,1,1,2,2\n", "is no object id"),
    ("cvat", cvat("", BOMB), "document type declaration"),
    ("cvat", cvat("", LEAK), "document type declaration"),
    ("cvat", "<annotations><track", "not XML"),
    ("cvat", "<svg/>", "not CVAT"),
    ("cvat", cvat_mask(width=2**40), "not inside the 8x6 px video"),
    ("cvat", cvat_mask(left=-1), "not inside the 8x6 px video"),
    ("cvat", cvat_mask(rle="44,5"), "do not add up"),
    ("cvat", cvat_mask(rle=f"{2**62},{2**62},{2**63 - 1}"), "do not add up"),
    ("cvat", cvat_mask(frame=-1), "-1 is no frame number"),
    ("cvat", cvat('<box frame="0" xtl="3" ytl="0" xbr="1" ybr="2"/>'), "line 1.* is no box"),
    ("cvat", cvat('<polygon frame="0" points="1,1;2,nan"/>'), "not finite"),
    ("labelme", labelme([[0, 0], [1, float("nan")]]), "NaN is not a JSON number"),
    ("labelme", labelme([[0, 0], [1]]), "shape 1: a polygon is a list of x, y"),
    ("labelme", labelme([[0, 0], [1e9, 0], [1, 1]]), "shape 1.*not finite numbers of px"),
    ("labelme", labelme([[0, 0]], shape_type="rectangle"), "needs its corners"),
    ("labelme", labelme([[0, 0], [3, 3]], score="high"), "'high' is no score"),
    ("labelme", '{"shapes": 3}', "no list of shapes"),
    ("yolo", "0 0.1 0.1 nan 0.2 0.3 0.3\n", "line 1: coordinates are parts of the frame"),
    ("yolo", "0 0.1 0.1 0.2\n", "line 1: expected a class and 4"),
    ("yolo", "0 0.5 0.5 -0.1 0.2\n", "line 1: .* is no box"),
    ("davis", b"\x89PNG\r\n", "cannot be read as a picture"),
]  # fmt: skip
SUFFIX = {"coco": "json", "ytvis": "json", "labelme": "json", "cvat": "xml", "csv": "csv", "davis": "png"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with Project.create(tmp_path_factory.mktemp("p") / "p.keepsight") as made:
        made.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=20, fingerprint="")
        yield made


@pytest.mark.parametrize(("name", "content", "says"), FILES)
def test_a_bad_file_is_one_line_and_leaves_nothing(project, tmp_path, capfd, name, content, says):
    path = tmp_path / f"00000.{SUFFIX.get(name, 'txt')}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path = tmp_path if name == "davis" else path
    with pytest.raises(InputError, match=f"(?s){says}"):
        import_tracks(project, 1, name, path)
    assert (list(project.results(1)), project.objects(1), project.runs(1)) == ([], [], [])
    assert run(["import", str(path), "--format", name, "--project", str(project.path)]) == 2
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith("keepsight: ")


def test_a_giant_picture_is_refused_by_its_header(project, tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2**30, 2**30, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (tmp_path / "00000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "00001.png")
    for name in ("00000.png", "00001.png"):
        folder = tmp_path / name[:5]
        folder.mkdir()
        (tmp_path / name).rename(folder / name)
        with pytest.raises(InputError, match=r"cannot be read as a picture|50x50 px but the video is 8x6"):
            import_tracks(project, 1, "davis", folder)


def test_an_error_late_in_the_file_takes_everything_back(project, tmp_path):
    (tmp_path / "gt.txt").write_text("1,1,0,0,3,3\n2,1,0,0,3,3\n9,1,0,0,3,3\n44,1,0,0,3,3\n")
    with pytest.raises(InputError, match="frame 43"):
        import_tracks(project, 1, "mot", tmp_path / "gt.txt")
    assert (list(project.results(1)), project.objects(1)) == ([], [])


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_in_the_project_never_becomes_a_path(tmp_path, name):
    """Labels and the video's name go into files, not into file names; every file lies in the folder."""
    evil = "../../evil\n<x a='1'>&\x00\x1b"
    with Project.create(tmp_path / "p.keepsight") as made:
        made.add_video(path="c", name=evil, height=HEIGHT, width=WIDTH, fps=25, frame_count=2, fingerprint="")
        made.add_object(1, 3, evil)
        item = TrackedObject(3, Mask.from_array(np.ones((HEIGHT, WIDTH))), 1.0, 1.0)
        made.write_result(1, made.start_run(1, {}), FrameResult(0, 0.0, HEIGHT, WIDTH, (item,)))
        export_tracks(made, 1, name, tmp_path / "out")
        assert import_tracks(made, 1, name, tmp_path / "out", new_ids=True).masks == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "p.keepsight"]
