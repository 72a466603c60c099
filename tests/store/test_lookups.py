"""Timelines and what a tracker asks, against the same said frame by frame."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from keepsight.core import FrameResult, Mask, Prompt, Source, TrackedObject
from keepsight.store import Project

HEIGHT, WIDTH, FRAMES = 12, 16, 40


def mask(visible: bool) -> Mask:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[2:5, 3:9] = visible
    return Mask.from_array(pixels)


@pytest.fixture
def project(tmp_path):
    """Three objects, here and there, with gaps; a person's word on some frames."""
    dice = random.Random(5)
    with Project.create(tmp_path / "p.keepsight") as project:
        project.add_video(path="c", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=FRAMES, fingerprint="f")
        for number in (1, 2, 3):
            project.add_object(1, number)
        run = project.start_run(1, {})
        for frame in range(FRAMES):
            items = tuple(
                TrackedObject(number, mask(dice.random() < 0.7), dice.choice((0.2, 0.9)), 0.9)
                for number in (1, 2, 3)
                if dice.random() < 0.8
            )
            if items or dice.random() < 0.5:
                project.write_result(1, run, FrameResult(frame, frame / 25, HEIGHT, WIDTH, items))
        for number, frame in ((1, 9), (1, 3), (1, 20), (2, 30)):
            project.add_prompt(1, Prompt(number, frame, points=((4.0, 3.0),), labels=(1,)))
            project.set_mask(1, number, frame, mask(True), Source.PROMPT)
        project.set_mask(1, 1, 25, mask(True))
        project.set_mask(1, 1, 26, mask(False))
        project.set_mask(1, 2, 12, mask(True), Source.TRACKED)
        project.accept(1, 12, [2])
        yield project


def frames(ranges) -> list[int]:
    assert all(a < b for a, b in ranges)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(ranges)), "ranges that touch"
    return [frame for start, stop in ranges for frame in range(start, stop)]


def test_lanes_say_what_the_tracks_say(project):
    project.remove_object(1, 3)
    lanes = {lane.object_id: lane for lane in project.lanes(1, 0.5)}
    assert list(lanes) == [1, 2]
    for number, lane in lanes.items():
        track = list(project.track(1, number))
        assert frames(lane.present) == [point.frame for point in track if point.area]
        assert frames(lane.absent) == [point.frame for point in track if not point.area]
        assert frames(lane.low) == [point.frame for point in track if point.area and point.score < 0.5]
    # The first word about object 1 was on frame 9; the others put it right.
    assert (lanes[1].prompted, lanes[1].corrected, lanes[1].edited) == ((3, 9, 20), (3, 20), (25, 26))
    assert (lanes[2].prompted, lanes[2].corrected, lanes[2].accepted) == ((30,), (), (12,))
    assert frames(project.done_ranges(1)) == sorted(project.frames_done(1))


def test_a_persons_word_is_found_by_nearness(project):
    assert project.given_frames(1, 1, 10, 9) == [3, 9, 20, 25]
    assert project.given_frames(1, 1, 10, 2) == [3, 9]
    assert project.given_frames(1, 1, 24, 2) == [20, 25]
    assert project.given_frames(1, 2, 0, 9) == [12, 30]
    visible = [point.frame for point in project.track(1, 2) if point.area]
    assert project.nearest_visible(1, 2, 12) == 12
    assert project.nearest_visible(1, 2, 39, 0, 12) == max(frame for frame in visible if frame < 12)
    assert project.nearest_visible(1, 2, 0, FRAMES) is None
    assert set(project.masks_of(1, 2, [12, 30, 999])) == {12, 30}
    assert project.masks_of(1, 2, [12])[12].mask == mask(True)


def test_preferences_outlive_the_program_and_undo(project):
    project.set_preferences(1, {"model": "builtin", "non_overwrite": False})
    project.set_preferences(1, {"model": "sam2.1-tiny"})
    project.undo()
    path = project.path
    project.close()
    with Project.open(path) as again:
        assert again.preferences(1) == {"model": "sam2.1-tiny", "non_overwrite": False}
