"""Tables are read in order of frames whatever their order is, one frame at a time."""

from __future__ import annotations

import csv
import random

import pytest

from keepsight.core import Mask
from keepsight.formats.exchange import Import
from keepsight.formats.registry import FORMATS

HEIGHT, WIDTH = 6, 8
LABEL = 'a "cow",\nold été'
ROWS = [(frame, object_id) for frame in (0, 3, 4, 7) for object_id in (1, 2, 5)]


def write(folder, name, rows):
    """Every box is another one, so that a row that is taken for another shows."""
    if name == "mot":
        text = "".join(f"{f + 1},{i},{i},{f % 5},2,1\r\n\n" for f, i in rows)
        (folder / "gt.txt").write_text(text, encoding="utf-8-sig", newline="")
        return folder / "gt.txt"
    if name == "mots":
        lines = []
        for f, i in rows:
            mask = Mask.from_box(HEIGHT, WIDTH, i, f % 5, i + 2, f % 5 + 1)
            lines.append(f"{f + 1} {i} 1 {HEIGHT} {WIDTH} {mask.counts.decode()}")
        (folder / "gt.txt").write_text("\n".join(lines))
        return folder / "gt.txt"
    head = ["frame", "time_s", "object_id", "label", "x1", "y1", "x2", "y2"]
    table = [dict(zip(head, (f, f / 10, i, LABEL, i, f % 5, i + 2, f % 5 + 1), strict=True)) for f, i in rows]
    if name == "csv":
        with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, head)
            writer.writeheader()
            writer.writerows(table)
        return folder / "boxes.csv"
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(table), folder / "boxes.parquet")
    return folder / "boxes.parquet"


@pytest.mark.parametrize("order", ["by frame", "by object", "any"])
@pytest.mark.parametrize("name", ["mot", "mots", "csv", "parquet"])
def test_rows_in_any_order_come_frame_by_frame(tmp_path, name, order):
    rows = sorted(ROWS, key=(lambda row: row[::-1]) if order == "by object" else None)
    if order == "any":
        random.Random(3).shuffle(rows)
    source = Import(write(tmp_path, name, rows), HEIGHT, WIDTH)
    reader = FORMATS[name].read(source)
    found = [next(reader)]
    if name != "mots":
        assert source.troubles["boxes_as_masks"] == 3  # no more than the first frame is made
    found += reader
    assert [read.frame for read in found] == [0, 3, 4, 7]
    for read in found:
        assert {item.object_id: item.mask.box for item in read.objects} == {
            i: (i, read.frame % 5, i + 2, read.frame % 5 + 1) for i in (1, 2, 5)
        }
        assert read.time_s == (None if name in ("mot", "mots") else read.frame / 10)
    assert list(source.declared) == list(dict.fromkeys(i for _, i in rows))
    if name in ("csv", "parquet"):
        assert set(source.declared.values()) == {LABEL}


@pytest.mark.parametrize("name", ["mot", "mots", "csv"])
def test_a_table_without_rows_has_no_frames(tmp_path, name):
    source = Import(write(tmp_path, name, []), HEIGHT, WIDTH)
    assert list(FORMATS[name].read(source)) == []
