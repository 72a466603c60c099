"""Data sets of boxes as they lie on disk; whatever is wrong with them in one line."""

from __future__ import annotations

import numpy as np
import pytest
from box_tracks import HEIGHT, WIDTH, flags, got10k_set, lasot_set, pictures, rows, track, vot_set

from keepsight.core import InputError, Mask
from keepsight.evaluation.box.layouts import open_layout
from keepsight.evaluation.box.layouts.lasot import ATTRIBUTES
from keepsight.evaluation.box.layouts.lasot_testing import TESTING
from keepsight.evaluation.box.regions import write_region
from keepsight.evaluation.box.sequences import Prediction


def test_lasot(tmp_path):
    tracks = {name: track(seed, 20) for seed, name in enumerate(["airplane-2", "airplane-10", "airplane-9", "zebra-1"])}
    lasot_set(tmp_path, tracks)
    layout = open_layout("lasot", tmp_path)
    assert layout.names == ("airplane-9",)  # the one of the testing set
    assert "1 of the 280 sequences" in layout.remarks[0]
    everything = open_layout("lasot", tmp_path, split="all")
    assert everything.names == ("airplane-2", "airplane-9", "airplane-10", "zebra-1")
    assert open_layout("lasot-ext", tmp_path).names == everything.names
    (tmp_path / "testing_set.txt").write_text("zebra-1\n\nairplane-2\n")
    assert open_layout("lasot", tmp_path).names == ("zebra-1", "airplane-2")

    (tmp_path / "att").mkdir()
    (tmp_path / "att" / "zebra-1.txt").write_text(
        ",".join("1" if name == "fast motion" else "0" for name in ATTRIBUTES)
    )
    sequence = everything.read("zebra-1")
    item = tracks["zebra-1"]
    [target] = sequence.targets
    assert target.boxes == pytest.approx(item.truth, abs=1e-3)
    assert (target.visible == item.visible).all()
    assert sequence.all_attributes() == ("zebra", "fast motion", "full occlusion")


def test_the_testing_set_is_that_of_the_paper():
    kinds = {name.rpartition("-")[0] for name in TESTING}
    assert (len(TESTING), len(kinds)) == (280, 70)
    assert all(sum(name.rpartition("-")[0] == kind for name in TESTING) == 4 for kind in kinds)


def test_got10k(tmp_path):
    tracks = {f"GOT-10k_Val_{number:06d}": track(number, 15) for number in (2, 1)}
    got10k_set(tmp_path, tracks)
    for root in (tmp_path, tmp_path / "val"):
        layout = open_layout("got10k", root)
        assert layout.names == tuple(tracks)
        assert not layout.withheld
    sequence = layout.read("GOT-10k_Val_000001")
    assert sequence.size == (HEIGHT, WIDTH)
    assert sequence.all_attributes() == ("running", "absent")
    assert (sequence.targets[0].visible == tracks["GOT-10k_Val_000001"].visible).all()


def test_a_withheld_truth(tmp_path):
    folder = tmp_path / "test" / "GOT-10k_Test_000001"
    pictures(folder, 8)
    (folder / "groundtruth.txt").write_text("3,4,20,10\n")
    layout = open_layout("got10k", tmp_path, split="test")
    assert layout.withheld
    assert layout.read("GOT-10k_Test_000001").frame_count == 8


def test_vot(tmp_path):
    mask = write_region(Mask.from_box(HEIGHT, WIDTH, 5, 6, 15, 26))
    vot_set(
        tmp_path, {"cows": {"2": ["0", "1", mask], "10": ["1,2,3,4", "nan,nan,nan,nan", "1"]}, "one": {"": ["1,2,3,4"]}}
    )
    (tmp_path / "cows" / "fast_motion.tag").write_text("0\n1\n")
    layout = open_layout("vot", tmp_path)
    sequence = layout.read("cows")
    assert [target.name for target in sequence.targets] == ["10", "2"]
    ten, two = sequence.targets
    assert (two.first, ten.first) == (2, 0)
    assert two.boxes[2].tolist() == [5, 6, 10, 20]
    assert (two.known.tolist(), two.visible.tolist()) == ([False, True, True], [False, False, True])
    assert (ten.known.tolist(), ten.visible.tolist()) == ([True, False, True], [True, False, False])
    assert sequence.moments["fast motion"].tolist() == [False, True, False]
    assert sequence.frames == tmp_path / "cows" / "color"
    files = [path.name for path in layout.prediction_files(tmp_path, "cows")]
    assert files == ["cows_10_001.txt", "cows_2_001.txt"]
    assert layout.prediction_files(tmp_path, "one") == [tmp_path / "one" / "one_001.txt"]


def test_vot_without_a_file_of_properties(tmp_path):
    pictures(tmp_path / "old", 4)
    corners = "10,10,30,12,28,40,8,38"
    (tmp_path / "old" / "groundtruth.txt").write_text(f"{corners}\n" * 3)
    sequence = open_layout("vot", tmp_path).read("old")
    assert sequence.targets[0].boxes[0].tolist() == [8, 10, 22, 30]
    assert sequence.targets[0].known.tolist() == [True, True, True, False]


def test_a_folder_of_ones_own(tmp_path):
    item = track(4, 12)
    for name in ("a", "b"):
        pictures(tmp_path / name / ("img" if name == "a" else ""), 12)
        truth = np.where(item.visible[:, None], item.truth, 0)
        (tmp_path / name / "groundtruth.txt").write_text(rows(truth).replace(",", "\t"))
    layout = open_layout("folder", tmp_path)
    assert layout.names == ("a", "b")
    for name in layout.names:
        sequence = layout.read(name)
        assert (sequence.targets[0].visible == item.visible).all()
        assert sequence.all_attributes() == ("absent",)
    assert open_layout("folder", tmp_path / "b").names == ("b",)
    sparse = (tmp_path / "b" / "groundtruth.txt").read_text().splitlines()
    sparse[1] = "nan nan nan nan"
    (tmp_path / "b" / "groundtruth.txt").write_text("\n".join(sparse))
    [target] = layout.read("b").targets
    assert (target.known[1], target.visible[1], target.known[2:].all()) == (False, False, True)
    (tmp_path / "a" / "absent.txt").write_text(flags(np.arange(12) > 8))
    assert not layout.read("a").targets[0].visible[9:].any()


@pytest.mark.parametrize("kind", ["lasot", "got10k", "vot", "folder"])
def test_predictions_come_back(kind, tmp_path):
    item = track(7, 25)
    if kind == "lasot":
        lasot_set(tmp_path / "set", {"kite-4": item})
    elif kind == "got10k":
        got10k_set(tmp_path / "set", {"kite": item})
    elif kind == "vot":
        vot_set(tmp_path / "set", {"kite": {"": rows(item.truth).splitlines()}})
    else:
        pictures(tmp_path / "set" / "kite", 25)
        (tmp_path / "set" / "kite" / "groundtruth.txt").write_text(rows(item.truth))
    layout = open_layout(kind, tmp_path / "set")
    sequence = layout.read(layout.names[0])
    assert not layout.done(tmp_path / "found", sequence.name)
    seconds = np.linspace(0.01, 0.2, 25)
    layout.write(tmp_path / "found", sequence, [Prediction(item.found, None, seconds)])
    assert layout.done(tmp_path / "found", sequence.name)
    [again] = layout.load(tmp_path / "found", sequence)
    assert again.boxes == pytest.approx(item.found, abs=1e-3, nan_ok=True)
    if layout.time_files(tmp_path, sequence.name):
        assert again.seconds == pytest.approx(seconds)


BROKEN = {
    "no such folder": (lambda root: (root / "kite").rename(root / "other"), "holds no sequence laid out as lasot"),
    "no pictures": (lambda root: (root / "kite" / "kite-4" / "img").rename(root / "img"), "img is missing"),
    "a picture too few": (
        lambda root: (root / "kite" / "kite-4" / "img" / "00000003.jpg").unlink(),
        "holds 11 pictures, but groundtruth.txt has 12 lines",
    ),
    "three numbers": (lambda root: edit(root, "groundtruth.txt", 4, "1,2,3"), "line 5: a line has four numbers"),
    "words": (lambda root: edit(root, "groundtruth.txt", 2, "a,b,c,d"), "line 3: a line has four numbers"),
    "far away": (lambda root: edit(root, "groundtruth.txt", 2, "1,2,3,1e12"), "line 3: '1,2,3,1e12' is no place"),
    "infinite": (lambda root: edit(root, "groundtruth.txt", 2, "1,2,3,inf"), "line 3: '1,2,3,inf' is no place"),
    "nothing to begin from": (
        lambda root: edit(root, "groundtruth.txt", 0, "0,0,0,0"),
        "line 1: the first frame needs a box",
    ),
    "no text": (lambda root: (root / "kite/kite-4/groundtruth.txt").write_bytes(b"\xff\xfe\x00\x81"), "is no text"),
    "flags too few": (lambda root: (root / "kite/kite-4/out_of_view.txt").write_text("0,0,1"), "has 3 values"),
    "flags that are none": (
        lambda root: (root / "kite/kite-4/out_of_view.txt").write_text(",".join(["0"] * 11 + ["7"])),
        "7 is neither 0 nor 1",
    ),
    "a list that leads away": (
        lambda root: (root / "testing_set.txt").write_text("../../etc\n"),
        "no name of a folder",
    ),
    "a list of what is not here": (
        lambda root: (root / "testing_set.txt").write_text("kite-5\n"),
        "groundtruth.txt is missing",
    ),
}


def edit(root, file, line, text):
    path = root / "kite" / "kite-4" / file
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("how", BROKEN)
def test_broken_sets_are_told_in_a_line(how, tmp_path):
    lasot_set(tmp_path, {"kite-4": track(1, 12)})
    spoil, told = BROKEN[how]
    spoil(tmp_path)

    def read():
        layout = open_layout("lasot", tmp_path)
        layout.read(layout.names[0])

    with pytest.raises(InputError, match=told) as caught:
        read()
    assert "\n" not in str(caught.value)


def test_broken_predictions_are_told_in_a_line(tmp_path):
    lasot_set(tmp_path, {"kite-4": track(1, 12)})
    layout = open_layout("lasot", tmp_path)
    sequence = layout.read("kite-4")
    (tmp_path / "kite-4.txt").write_text("1,2,3,4\n" * 11)
    with pytest.raises(InputError, match="has 11 lines, but the sequence has 12 frames"):
        layout.load(tmp_path, sequence)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("channels.color=../../%08d.jpg\n", "leads out of"),
        ("channels.color=color/%08d.jpg\nwidth=3\nheight=3\n", "says 3x3 px, the pictures are 120x90"),
        ("channels.color=depth/%08d.png\n", "depth is missing"),
        ("channels.color=color/%04d.png\n", "no pictures named as"),
    ],
)
def test_broken_properties_of_vot(text, told, tmp_path):
    vot_set(tmp_path, {"kite": {"": ["1,2,3,4", "1,2,3,4"]}})
    (tmp_path / "kite" / "sequence").write_text(text)
    with pytest.raises(InputError, match=told):
        open_layout("vot", tmp_path).read("kite")
