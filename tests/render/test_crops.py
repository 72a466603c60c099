"""Crops: the object is whole, in place, on black; windows follow calmly; one pass makes everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_samples import FRAMES, HEIGHT, WIDTH, make, square, video

from keepsight.core import InputError, Mask, Source, StoreError
from keepsight.render import CropStyle, render_all
from keepsight.render.crops import CropPlan, cut
from keepsight.store import TrackPoint
from keepsight.video import VideoWriter, open_video


def points(boxes, start=0):
    return [
        TrackPoint(
            start + i, 0.9, 1.0, 0 if b is None else 1, None if b is None else tuple(map(float, b)), Source.TRACKED
        )
        for i, b in enumerate(boxes)
    ]


def test_a_window_of_the_output_size_copies_pixels():
    rgb = np.random.default_rng(0).integers(1, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = square(30, 20, 16)
    out = cut(rgb, mask, (38.0, 28.0, 24.0), 24)
    np.testing.assert_array_equal(out[4:20, 4:20], rgb[20:36, 30:46])
    out[4:20, 4:20] = 0
    assert not out.any()
    np.testing.assert_array_equal(cut(rgb, mask, (38.0, 28.0, 24.0), 24, background="keep"), rgb[16:40, 26:50])


@pytest.mark.parametrize("size", [12, 16, 40, 96])
def test_scaling_keeps_the_object_in_place(size):
    rgb = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    out = cut(rgb, square(30, 20, 16), (38.0, 28.0, 32.0), size)[..., 0] / 255.0
    rows, columns = np.arange(size) + 0.5, np.arange(size) + 0.5
    assert out.sum() == pytest.approx(size**2 / 4, rel=0.03)
    assert (out.sum(1) @ rows) / out.sum() == pytest.approx(size / 2, abs=0.15)
    assert (out.sum(0) @ columns) / out.sum() == pytest.approx(size / 2, abs=0.15)


def test_windows_beyond_the_frame_are_black():
    rgb = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    whole = Mask.from_array(np.ones((HEIGHT, WIDTH)))
    out = cut(rgb, whole, (0.0, 0.0, 40.0), 40)
    assert out[20:, 20:].all()
    assert not out[:19].any()
    assert not out[:, :19].any()
    assert not cut(rgb, whole, (-100.0, 0.0, 40.0), 40).any()


box = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 300), st.floats(1, 300)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | box, max_size=30), st.sampled_from(["smoothed", "per_frame", "fixed"]))
def test_the_object_stays_inside_its_window(boxes, window):
    plan = CropPlan(points(boxes), 25, CropStyle(window=window))
    assert len(plan) == sum(b is not None for b in boxes)
    for frame, b in enumerate(boxes):
        found = plan.window(frame)
        assert (found is None) == (b is None)
        if b is not None:
            x, y, side = found
            assert x - side / 2 <= b[0] + 1e-6
            assert y - side / 2 <= b[1] + 1e-6
            assert x + side / 2 >= b[2] - 1e-6
            assert y + side / 2 >= b[3] - 1e-6
    if window == "fixed" and len(plan):
        assert np.ptp(plan.windows[:, 2]) == 0


def test_smoothing_calms_jitter_and_does_not_drag_over_a_pause():
    rng = np.random.default_rng(0)
    still = [(100 + dx, 100, 150 + dx, 150) for dx in rng.normal(0, 3, 60)]
    calm, raw = (CropPlan(points(still), 25, CropStyle(window=w)).windows for w in ("smoothed", "per_frame"))
    assert np.abs(np.diff(calm[:, 0])).mean() < 0.1 * np.abs(np.diff(raw[:, 0])).mean()
    back = points(still) + points([(500, 100, 550, 150)] * 30, start=100)
    plan = CropPlan(back, 25, CropStyle())
    assert plan.window(59)[0] == pytest.approx(125, abs=4)
    assert plan.window(100)[0] == pytest.approx(525, abs=1e-6)


@pytest.mark.parametrize(("absent", "frames"), [("skip", FRAMES - 4), ("black", FRAMES)])
def test_everything_in_one_pass(tmp_path, absent, frames):
    project, source = make(tmp_path / "p.keepsight"), video()
    done = render_all(source, project, 1, tmp_path / "out", crop_style=CropStyle(absent=absent, size_px=64))
    assert source.passes == 1
    assert (done.frames, list(done.crops)) == (FRAMES, [1, 2])  # object 3 is never there
    with open_video(done.crops[1]) as crop:
        assert (crop.frame_count, crop.height, crop.width) == (frames, 64, 64)
        if absent == "black":
            assert crop.read(9).rgb.max() < 20
        assert crop.read(0).rgb[32, 32].max() > 40
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["1.mp4", "2.mp4", "objects", "overlay.mp4"]


def test_writers_are_bounded_and_parts_can_be_left_out(tmp_path):
    project, source = make(tmp_path / "p.keepsight"), video()
    done = render_all(source, project, 1, tmp_path / "out", overlay=False, max_writers=1)
    assert (source.passes, len(done.crops), done.overlay) == (2, 2, None)
    source = video()
    assert render_all(source, project, 1, tmp_path / "b", crops=False).crops == {}
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["overlay.mp4"]


def test_a_failure_leaves_earlier_videos_as_they_were(tmp_path, monkeypatch):
    project = make(tmp_path / "p.keepsight")
    render_all(video(), project, 1, tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.mp4")}
    write, written = VideoWriter.write, []

    def full(self, rgb, time_s=None):
        written.append(1)
        if len(written) > 20:
            raise StoreError("disk full")
        write(self, rgb, time_s)

    monkeypatch.setattr(VideoWriter, "write", full)
    with pytest.raises(StoreError, match="disk full"):
        render_all(video(), project, 1, tmp_path / "out")
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_options_out_of_range():
    with pytest.raises(InputError, match="margin"):
        CropStyle(margin=float("nan"))
    with pytest.raises(InputError, match="size"):
        CropStyle(size_px=5)
