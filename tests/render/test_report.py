"""The report: right numbers, nothing from outside, nothing unescaped."""

from __future__ import annotations

import re

import pytest
from render_samples import FRAMES, make, video

from keepsight.core import InputError, Source
from keepsight.render import write_report
from keepsight.render.curves import make_lane, ticks
from keepsight.store import Project, TrackPoint


def points(areas, step=1, scores=None):
    return [
        TrackPoint(i * step, scores[i] if scores else 0.9, 1.0, area, (0, 0, 1, 1) if area else None, Source.TRACKED)
        for i, area in enumerate(areas)
    ]


def test_the_page_is_self_contained_and_escaped(tmp_path):
    evil = '<script>alert("1")</script>'
    project = make(tmp_path / "p.keepsight", label=evil)
    write_report(
        project, 1, tmp_path / "r.html", video=video(), title="A & <b>", credits="© <i>me</i>", warnings=[evil]
    )
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "A &amp; &lt;b&gt;" in page
    assert "three &amp; &lt;four&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|https?://|@import""", page)
    assert "data:image/jpeg;base64," in page
    assert f"16 of {FRAMES}" in page  # the moving square is away for four frames
    assert "never seen" in page


def test_an_unfinished_run_says_so(tmp_path):
    project = make(tmp_path / "p.keepsight")
    project.resume_run(1)
    project.finish_run(1, "failed", "the disk was full")
    write_report(project, 1, tmp_path / "r.html")
    assert "the disk was full" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_project_without_results_is_refused(tmp_path):
    with Project.create(tmp_path / "p.keepsight") as project:
        project.add_video(path="c", name="c", height=9, width=9, fps=25, frame_count=3, fingerprint="")
        with pytest.raises(InputError, match="no results for c yet"):
            write_report(project, 1, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_lanes_count_and_merge():
    lane = make_lane(
        points([5, 5, 0, 0, 0, 5, 5, 5], scores=[0.9, 0.2, 0, 0, 0, 0.9, 0.9, 0.9]),
        {0, 50},
        span=(0, 9),
        frame_px=10,
        low_score=0.5,
    )
    assert [(x, w, s) for x, w, s in lane.bars] == [
        (0, 100, "present"), (100, 100, "low"), (200, 300, "absent"), (500, 300, "present"),
    ]  # fmt: skip
    assert (lane.present, lane.low, lane.frames, lane.first, lane.last, lane.longest_gap) == (5, 1, 8, 0, 7, 3)
    assert lane.mean_area == pytest.approx(0.5)
    assert lane.marks == [50.0]
    assert lane.area.count("M") == 2


def test_lanes_of_sparse_empty_and_long_tracks():
    sparse = make_lane(points([5] * 4, step=5), set(), span=(0, 15), frame_px=10, low_score=0.5)
    assert len(sparse.bars) == 1
    assert sparse.area.count("M") == 1
    assert make_lane([], {1}, span=(0, 9), frame_px=10, low_score=0.5).bars == []
    areas = [5] * 20_000
    areas[11_111] = 9
    long = make_lane(points(areas), set(), span=(0, 19_999), frame_px=10, low_score=0.5)
    assert "0.90000" in long.area  # a spike of one frame survives thinning
    assert long.area.count("M") == 1
    assert len(long.area) < 20_000


@pytest.mark.parametrize("span", [(0, 0), (0, 131), (500, 40_000), (7, 9)])
def test_ticks_are_few_round_and_inside(span):
    found = ticks(span)
    assert 1 <= len(found) <= 10
    assert all(0 <= x <= 1000 and span[0] <= frame <= span[1] for x, frame in found)
