"""The measures of VOTS beside vot-toolkit's own run over the same files.

Wants the Python of a virtual environment that holds it (GPL; a tool of the tests and no part of Keepsight), and is left out
otherwise; ``.ci/vot-toolkit`` makes one:

    KEEPSIGHT_VOT=.../bin/python pytest tests/evaluation/test_box_vot_toolkit.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from box_tracks import HEIGHT, WIDTH, track, vot_set

from keepsight.core import Mask
from keepsight.evaluation.box.layouts import open_layout
from keepsight.evaluation.box.regions import Nothing, Polygon, Rectangle, write_region
from keepsight.evaluation.box.scoring import score
from keepsight.evaluation.box.sequences import Prediction

PYTHON = os.environ.get("KEEPSIGHT_VOT")
SCRIPT = Path(__file__).parent / "vot_toolkit" / "measure.py"

pytestmark = pytest.mark.skipif(not PYTHON, reason="KEEPSIGHT_VOT does not name a Python with vot-toolkit")


def toolkit(sequences, predictions):
    done = subprocess.run(
        [str(PYTHON), str(SCRIPT), str(sequences), str(predictions)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def ellipse(box):
    """Pixels of a filled ellipse in a box, at least two px wide and tall; nothing for no box."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    if np.isfinite(box).all():
        x, y, w, h = box.tolist()
        middle, axes = (round(x + w / 2), round(y + h / 2)), (max(2, round(w / 2)), max(2, round(h / 2)))
        cv2.ellipse(pixels, middle, axes, 20, 0, 360, 1, -1)
    return Mask.from_array(pixels)


def turned(box):
    """A box turned by ten degrees, as the sequences of VOT2015 and later have it."""
    x, y, w, h = box.tolist()
    return Polygon(tuple(map(tuple, cv2.boxPoints(((x + w / 2, y + h / 2), (w, h), 10.0)).tolist())))


def both_files(root, kinds):
    """Sequences of masks, rectangles and polygons with their predictions, written by the layout."""
    truths, found = {}, {}
    for place, (kind, objects) in enumerate(kinds):
        name = f"{kind}{place}"
        truths[name], found[name] = {}, []
        for number in range(objects):
            item = track(100 * place + number, 50 + 8 * place, whole=kind == "rectangles")
            make = {"masks": ellipse, "polygons": turned, "rectangles": lambda box: Rectangle(*box.tolist())}[kind]
            lines = [
                write_region(make(box)) if seen else str(int(Nothing.ABSENT))
                for box, seen in zip(item.truth, item.visible, strict=True)
            ]
            lines[-3] = "0"  # nobody knows
            truths[name][str(number) if objects > 1 else ""] = lines
            said = [Nothing.ABSENT]
            for box in item.found[1:]:
                wanted = ellipse(box) if kind == "masks" else Rectangle(*box.tolist())
                said.append(Nothing.UNKNOWN if np.isnan(box).any() else wanted)
            found[name].append(Prediction(item.found, tuple(said)))
    vot_set(root / "sequences", truths)
    layout = open_layout("vot", root / "sequences")
    for name, predictions in found.items():
        layout.write(root / "found", layout.read(name), predictions)
    return layout


def test_masks_and_rectangles_as_the_toolkit_says(tmp_path):
    layout = both_files(tmp_path, [("masks", 3), ("rectangles", 2), ("masks", 1), ("rectangles", 1)])
    theirs = toolkit(layout.root, tmp_path / "found")
    ours = score(layout, tmp_path / "found", {}, as_toolkit=True)
    assert ours.summary == pytest.approx(theirs["measures"], abs=1e-6)
    assert set(ours.summary) == {"quality", "accuracy", "robustness", "NRE", "DRE", "ADQ"}
    assert ours.curves[0].y == pytest.approx(theirs["curve"], abs=1e-6)
    # The whole of every measure is in use.
    assert all(0.02 < value < 0.98 for value in ours.summary.values())
    # Without the frame that is given, which a tracker cannot miss, the shares of frames are higher.
    assert score(layout, tmp_path / "found", {}).summary["robustness"] > ours.summary["robustness"]


def test_binary_results_of_the_toolkit(tmp_path):
    layout = both_files(tmp_path, [("masks", 2), ("rectangles", 1), ("polygons", 1)])
    before = score(layout, tmp_path / "found", {}).summary
    turn = (
        "import sys; from vot.region.io import read_trajectory, write_trajectory\n"
        "for path in sys.argv[1:]: write_trajectory(path[:-3] + 'bin', read_trajectory(path))"
    )
    texts = list((tmp_path / "found").rglob("*_001.txt"))
    subprocess.run([str(PYTHON), "-c", turn, *map(str, texts)], check=True)
    for path in texts:
        path.unlink()
    # Rectangles lose digits in 32 bits.
    assert score(layout, tmp_path / "found", {}).summary == pytest.approx(before, abs=1e-3)


def test_polygons_within_their_outline(tmp_path):
    layout = both_files(tmp_path, [("polygons", 1), ("polygons", 2)])
    theirs = toolkit(layout.root, tmp_path / "found")
    ours = score(layout, tmp_path / "found", {}, as_toolkit=True)
    # Both fill polygons of whole corners with the outline; pixels of slanted sides are rounded one way or the other.
    assert ours.summary == pytest.approx(theirs["measures"], abs=0.01)


def test_where_we_differ_and_why(tmp_path):
    full = Rectangle(10, 10, 20, 20)
    empty_elsewhere = Rectangle(30, 30, 0, 0)
    sliver = Rectangle(-8, 10, 9, 20)  # one pixel of its width is inside
    column = write_region(Mask.from_box(HEIGHT, WIDTH, 40, 10, 41, 30))
    lines = [write_region(full), "1", write_region(sliver), column]
    vot_set(tmp_path / "sequences", {"odd": {"": lines}})
    found = tmp_path / "found" / "odd"
    found.mkdir(parents=True)
    said = ["1", write_region(empty_elsewhere), write_region(sliver), column]
    (found / "odd_001.txt").write_text("\n".join(said) + "\n")
    layout = open_layout("vot", tmp_path / "sequences")
    theirs = toolkit(layout.root, tmp_path / "found")["overlaps"]["odd/object"]
    [row] = score(layout, tmp_path / "found", {}).rows
    # A box without a size is nothing wherever it lies, and nothing against nothing is right; the toolkit wants it at 0,0.
    assert theirs[1] == 0
    assert row.values["quality"] == 1
    # What is one pixel wide inside the frame is compared like the rest; the toolkit says 0.
    assert theirs[2] == 0
    assert row.series["IoU"][1] == 1
    assert (theirs[3], row.series["IoU"][2]) == (1, 1)
