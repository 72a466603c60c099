"""Crops from patches: the pictures of the whole frames, whatever of these was kept; a file of patches that survives kills."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_samples import FRAMES, HEIGHT, WIDTH, make, result, square, video

from keepsight.render import CropStyle, render_all
from keepsight.render.crops import cut, cut_from, likely_rect, needed_rect
from keepsight.render.from_patches import render_from_patches
from keepsight.render.patches import DamagedPatchesError, Patch, PatchFile, covers
from keepsight.video import VideoWriter

STYLES = [
    CropStyle(background=background, window=window, size_px=48)
    for background in ("black", "blur", "keep")
    for window in ("smoothed", "per_frame")
]
WHOLE = (0, 0, WIDTH, HEIGHT)


@pytest.fixture
def pictures(monkeypatch):
    """What is given to encoders, by file name."""
    given_: dict[str, list[np.ndarray]] = {}
    write = VideoWriter.write

    def note(self, rgb, time_s=None):
        given_.setdefault(self.path.name, []).append(rgb)
        write(self, rgb, time_s)

    monkeypatch.setattr(VideoWriter, "write", note)
    return given_


def keep(patches, style, frames=range(FRAMES)):
    source = video()
    for frame in frames:
        for item in result(frame).objects:
            if item.mask.box is not None:
                rect = likely_rect(item.mask.box, style, (HEIGHT, WIDTH))
                assert patches.add(frame, item.object_id, Patch.of(source.read(frame).rgb, rect))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 80), st.integers(0, 60), st.integers(1, 16)),
    st.tuples(st.floats(-10, 110), st.floats(-10, 90), st.floats(4, 90)),
    st.sampled_from(["black", "blur", "keep"]),
)
def test_the_needed_part_gives_the_picture_of_the_whole(place, window, background):
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = square(*place)
    rect = needed_rect(mask.box, window, (HEIGHT, WIDTH), background)
    patch = Patch(0, 0, rgb[:0, :0]) if rect is None else Patch.of(rgb, rect)
    expected = cut(rgb, mask, window, 32, background=background)
    np.testing.assert_array_equal(cut_from(patch, (HEIGHT, WIDTH), mask, window, 32, background=background), expected)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: f"{style.background}-{style.window}")
@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_the_pictures_are_those_of_decoded_frames(tmp_path, pictures, style, kept):
    project = make(tmp_path / "p.keepsight")
    expected = render_all(video(), project, 1, tmp_path / "a", overlay=False, crop_style=style)
    wanted = {name: list(shown) for name, shown in pictures.items()}
    pictures.clear()
    source = video()
    with PatchFile(tmp_path / "patches.bin", "f") as patches:
        keep(patches, style, {"all": range(FRAMES), "some": range(5, 9), "none": []}[kept])
        made = render_from_patches(source, project, 1, tmp_path / "b", patches, style, threads=2)
    assert made.crops.keys() == expected.crops.keys()
    assert wanted.keys() == pictures.keys() == {"1.mp4", "2.mp4"}
    for name, shown in wanted.items():
        np.testing.assert_array_equal(shown, pictures[name])
        assert (tmp_path / "a/objects" / name).read_bytes() == (tmp_path / "b/objects" / name).read_bytes()
    if kept == "all" and (style.background == "black" or style.window == "per_frame"):
        assert (made.decoded, source.passes) == (0, 0)
    assert made.decoded == FRAMES - 4 or kept != "some" or style.background != "black"
    assert source.passes <= 1


def test_a_mask_that_was_changed_since_is_cut_from_the_frame(tmp_path, pictures):
    project = make(tmp_path / "p.keepsight")
    with PatchFile(tmp_path / "patches.bin", "f") as patches:
        keep(patches, CropStyle())
        changed = result(15)
        moved = replace(changed.objects[0], mask=square(50, 5, 30))
        project.write_result(1, 1, replace(changed, objects=(moved,)))
        expected = render_all(video(), project, 1, tmp_path / "a", overlay=False)
        wanted = {name: list(shown) for name, shown in pictures.items()}
        pictures.clear()
        assert render_from_patches(video(), project, 1, tmp_path / "b", patches).decoded == 1
    assert expected.crops
    for name, shown in wanted.items():
        np.testing.assert_array_equal(shown, pictures[name])


def test_where_patches_have_no_room_the_video_is_decoded(tmp_path):
    project, source = make(tmp_path / "p.keepsight"), video()
    with PatchFile(tmp_path / "patches.bin", "f", limit_bytes=3000) as patches:
        assert patches.add(0, 1, Patch.of(source.read(0).rgb, (0, 0, 20, 20)))
        assert not patches.add(1, 1, Patch.of(source.read(1).rgb, (0, 0, 40, 40)))
        made = render_from_patches(source, project, 1, tmp_path / "a", patches)
    assert (made.decoded, source.passes) == (FRAMES, 1)
    assert (tmp_path / "patches.bin").stat().st_size <= 3000


def test_few_objects_are_open_at_a_time(tmp_path, monkeypatch):
    project = make(tmp_path / "p.keepsight")
    for frame in range(FRAMES):
        other = result(frame).objects[1]
        project.write_result(
            1, 1, replace(result(frame), objects=tuple(replace(other, object_id=n) for n in range(4, 24)))
        )
    open_now, most, lock = set(), [0], threading.Lock()
    begin, close = VideoWriter.__init__, VideoWriter.close

    def opened(self, *args, **named):
        begin(self, *args, **named)
        with lock:
            open_now.add(self)
            most[0] = max(most[0], len(open_now))

    def closed(self):
        close(self)
        with lock:
            open_now.discard(self)

    monkeypatch.setattr(VideoWriter, "__init__", opened)
    monkeypatch.setattr(VideoWriter, "close", closed)
    source = video()
    with PatchFile(tmp_path / "patches.bin", "f") as patches:
        made = render_from_patches(source, project, 1, tmp_path / "out", patches, threads=3)
    assert len(made.crops) == 22
    assert most[0] <= 3
    assert source.passes == 1


def test_a_file_of_patches_goes_on_after_a_kill(tmp_path):
    rgb = video().read(3).rgb
    path = tmp_path / "patches.bin"
    big = 2**62 + 3
    with PatchFile(path, "f") as patches:
        patches.add(3, big, Patch.of(rgb, (10, 20, 40, 50)))
        patches.add(4, 1, Patch.of(rgb, WHOLE))
    whole = path.read_bytes()
    for lost in (1, 100, 3 * WIDTH * HEIGHT + 20):
        path.write_bytes(whole[:-lost])
        with PatchFile(path, "f") as patches:
            assert len(patches) == 1
            assert patches.holds(3, big, (10, 20, 40, 50))
            assert not patches.holds(3, big, (9, 20, 40, 50))
            assert not patches.holds(4, 1, (0, 0, 1, 1))
            patches.add(4, 1, Patch.of(rgb, WHOLE))
        with PatchFile(path, "f") as patches:
            np.testing.assert_array_equal(patches.get(3, big).rgb, rgb[20:50, 10:40])
            np.testing.assert_array_equal(patches.get(4, 1).part((1, 2, 3, 4)), rgb[2:4, 1:3])
    damaged = bytearray(whole)
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with PatchFile(path, "f") as patches, pytest.raises(DamagedPatchesError):
        patches.get(4, 1)
    with PatchFile(path, "another video") as patches:
        assert len(patches) == 0
    assert covers(WHOLE, (0, 0, 1, 1))
