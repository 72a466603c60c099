"""What the report of a batch says about time and memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.report import inner_times, stage_rows, write_batch_report


def unit(number: int, stage: str, seconds: float, **results: Any) -> Unit:
    return Unit(number, "v", "v.mp4", number, stage, "done", 1, None, "", seconds, {}, results, {}, 1, number)


UNITS = [
    unit(1, "clip", 2.0, peak_mib=90.5, peak_since_start=True),
    unit(2, "segment", 6.0, times_s={"decode": 1.0, "track": 4.0}, beside_s={"patches": 0.5}, peak_mib=900.0),
    unit(
        3,
        "segment",
        4.0,
        times_s={"track": 3.0},
        peak_mib=800.0,
        peak_gpu_mib=5000.0,
        tried=["all"],
        settled="less <1>",
    ),
    unit(4, "crop", 5.0, objects=[], decoded_again=3),
]


def test_time_and_memory_are_summed_by_stage() -> None:
    rows = {row["stage"]: row for row in stage_rows(UNITS)}
    assert [(name, row["seconds"], row["share"]) for name, row in rows.items()] == [
        ("plan", 0, 0.0),
        ("clip", 2.0, 0.2),
        ("segment", 10.0, 1.0),
        ("crop", 5.0, 0.5),
        ("link", 0, 0.0),
    ]
    assert (rows["segment"]["peak_mib"], rows["segment"]["peak_gpu_mib"]) == (900.0, 5000.0)
    assert (rows["clip"]["since_start"], rows["segment"]["since_start"]) == (True, False)
    assert rows["plan"]["peak_mib"] is None
    inner = [(row["name"], row["seconds"], row["share"], row["beside"]) for row in inner_times(UNITS)]
    assert inner == [("track", 7.0, 0.875, False), ("decode", 1.0, 0.125, False), ("patches", 0.5, 0.0625, True)]


def test_the_page_shows_them(tmp_path: Path) -> None:
    write_batch_report(tmp_path / "r.html", BatchConfig(input_folder=tmp_path), UNITS)
    page = " ".join((tmp_path / "r.html").read_text().split())
    assert "900 MiB, GPU 5000 MiB" in page
    assert "90 MiB (of its process so far)" in page
    assert re.search(r'<td>track</td><td>7.0</td> <td class="bar"><div style="width:87.5%">', page)
    assert "less &lt;1&gt;" in page
    assert "3 frames were decoded a second time" in page
    write_batch_report(tmp_path / "empty.html", BatchConfig(input_folder=tmp_path), [])
