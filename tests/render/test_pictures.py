"""Overlays, tags, colours and contact sheets."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_samples import HEIGHT, WIDTH, make, result, square, video

from keepsight.core import FrameResult, InputError, Mask, TrackedObject
from keepsight.render import OverlayStyle, contact_sheet, draw_overlay, object_colour, render_overlay, save_sheet
from keepsight.render.palette import text_colour
from keepsight.render.regions import pixels_in_box
from keepsight.render.tags import place, tag_bitmap
from keepsight.video import ArrayVideo, open_video

# Machado et al. 2009, severity 1.0: what people without the long- or medium-wave cones see, in linear light.
PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


def lab(colours, matrix=None):
    linear = (np.array(colours, float) / 255) ** 2.2
    seen = linear if matrix is None else np.clip(linear @ np.array(matrix).T, 0, 1)
    return cv2.cvtColor((seen[None] ** (1 / 2.2)).astype(np.float32), cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize("matrix", [None, PROTAN, DEUTAN], ids=["normal", "protan", "deutan"])
def test_the_first_ten_colours_can_be_told_apart(matrix):
    seen = lab([object_colour(i) for i in range(1, 11)], matrix)
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 25


def test_colours_belong_to_ids_and_can_be_chosen():
    assert len({object_colour(i) for i in range(300)}) > 290
    assert object_colour(3, "#0a0B0c") == (10, 11, 12)
    assert text_colour((250, 250, 100)) == (0, 0, 0)
    with pytest.raises(InputError, match="#rrggbb"):
        object_colour(3, "red")


def test_an_overlay_changes_only_what_it_should():
    rgb = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    frame = FrameResult(0, 0.0, HEIGHT, WIDTH, (TrackedObject(2, square(30, 30, 10), 0.9, 1.0),))
    out = draw_overlay(rgb, frame, style=OverlayStyle(fill=0.5, contour_px=1, tags=False))
    assert (rgb == 128).all()
    assert np.abs(out[32:38, 32:38].astype(int) - (np.array(object_colour(2)) + 128) / 2).max() <= 1
    # The outline is the colour itself, on the object's own edge.
    np.testing.assert_allclose(out[30, 35].astype(int), object_colour(2), atol=8)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[29:41, 29:41] = False
    assert (out[outside] == 128).all()
    with_tag = draw_overlay(rgb, frame, {2: "rock"})
    assert (with_tag[outside] != 128).any()
    absent = FrameResult(0, 0.0, HEIGHT, WIDTH, (TrackedObject(2, Mask.empty(HEIGHT, WIDTH), 0.9, 0.1),))
    assert (draw_overlay(rgb, absent) == 128).all()
    with pytest.raises(InputError, match="48x36 px but its masks are 96x72"):
        draw_overlay(rgb[::2, ::2], frame)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60), st.floats(0, 1), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_pixels_in_the_box_are_those_of_the_mask(height, width, density, grain, seed):
    coarse = np.random.default_rng(seed).random((-(-height // grain), -(-width // grain))) < density**3
    pixels = np.kron(coarse, np.ones((grain, grain), bool))[:height, :width]
    mask = Mask.from_array(pixels)
    x, y, found = pixels_in_box(mask)
    rebuilt = np.zeros_like(pixels)
    rebuilt[y : y + found.shape[0], x : x + found.shape[1]] = found
    np.testing.assert_array_equal(rebuilt, pixels)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_frame_and_mask_can_be_drawn(height, width, seed):
    rng = np.random.default_rng(seed)
    items = tuple(
        TrackedObject(i, Mask.from_array(rng.random((height, width)) < rng.random()), 0.5, 1.0) for i in range(3)
    )
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = draw_overlay(rgb, FrameResult(0, 0.0, height, width, items), {0: "long name " * 20, 1: "兔"})
    assert out.shape == rgb.shape


@given(
    x=st.integers(0, 180), y=st.integers(0, 90), w=st.integers(1, 200), h=st.integers(1, 100),
    taken=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 80)), max_size=3),
)  # fmt: skip
def test_tags_never_leave_the_frame(x, y, w, h, taken):
    left, top = place(
        (x, y, min(x + w, 200), min(y + h, 100)), 50, 14, 200, 100, [(a, b, a + 50, b + 14) for a, b in taken]
    )
    assert 0 <= left <= 150
    assert 0 <= top <= 86


def test_tags_avoid_each_other_and_shorten_long_names():
    first = place((20, 50, 60, 80), 50, 14, 200, 100, [])
    second = place((22, 50, 60, 80), 50, 14, 200, 100, [(*first, first[0] + 50, first[1] + 14)])
    assert abs(first[1] - second[1]) >= 14 or abs(first[0] - second[0]) >= 50
    assert tag_bitmap("a very long name indeed", (0, 0, 0), 14, 80)[0].shape[1] <= 80


def test_the_overlay_video_has_the_frames_that_were_tracked(tmp_path):
    project = make(tmp_path / "p.keepsight", frames=range(4, 16, 2))
    assert render_overlay(video(), project, 1, tmp_path / "o.mp4") == 6
    with open_video(tmp_path / "o.mp4") as written:
        assert (written.frame_count, written.height, written.width) == (6, HEIGHT, WIDTH)
        np.testing.assert_allclose(written.times_s, np.arange(6) * 2 / 25, atol=1e-3)
    small = ArrayVideo(np.zeros((3, 10, 10, 3), np.uint8), fps=25)
    with pytest.raises(InputError, match="10x10 px but the project was made from 96x72"):
        render_overlay(small, project, 1, tmp_path / "o.mp4")


def test_contact_sheets(tmp_path):
    project = make(tmp_path / "p.keepsight")
    sheet = contact_sheet(video(), project, 1, count=6, columns=3, width_px=308)
    assert sheet.shape == (2 * 75 + 4, 308, 3)
    assert contact_sheet(video(), project, 1, count=50, columns=50).shape[1] == 1600  # more than there are frames
    save_sheet(sheet, tmp_path / "s.png")
    assert (cv2.imread(str(tmp_path / "s.png"))[..., ::-1] == sheet).all()
    with pytest.raises(InputError, match="Frame 99 has no result"):
        contact_sheet(video(), project, 1, frames=[99])
    assert result(0)[1].present
