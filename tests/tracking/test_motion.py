"""Dense motion: its sign and units, which frames it is between, and when there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keepsight.tracking.motion import LONGEST_SIDE, MotionEstimator, backward_flow


def texture(height, width, seed=0, grain=12):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // grain + 2, width // grain + 2, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def grey(rgb):
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (480, 854), (1080, 1920), (854, 480)])
def test_flow_points_back_to_where_things_were(height, width):
    before = texture(height, width, grain=max(height, width) // 24)
    scale = max(1.0, max(height, width) / LONGEST_SIDE)
    shift = round(4 * scale), round(2 * scale)
    now = np.roll(before, shift[::-1], (0, 1))
    estimator = MotionEstimator()
    assert estimator.estimate(0, before, -1) is None
    flow = estimator.estimate(1, now, 0)
    assert max(flow.shape[:2]) == min(max(height, width), LONGEST_SIDE)
    assert flow.shape[0] / flow.shape[1] == pytest.approx(height / width, rel=0.01)
    assert flow.dtype == np.float32
    # What moved right and down came from the left and above; in cells of the flow's own grid.
    expected = [-shift[0] * flow.shape[1] / width, -shift[1] * flow.shape[0] / height]
    assert np.median(flow, (0, 1)) == pytest.approx(expected, abs=0.25)


def test_an_object_moves_and_its_surroundings_do_not():
    ground, thing = texture(120, 160, 1), texture(40, 40, 2, grain=6)
    frames = []
    for x in (40, 46):
        frame = ground.copy()
        frame[40:80, x : x + 40] = thing
        frames.append(frame)
    flow = backward_flow(grey(frames[1]), grey(frames[0]))
    assert np.median(flow[48:72, 54:78], (0, 1)) == pytest.approx([-6, 0], abs=1)
    assert np.abs(np.median(flow[:24], (0, 1))).max() < 0.2


def test_motion_is_between_frames_that_follow_each_other():
    first, second = texture(64, 96, 1), np.roll(texture(64, 96, 1), 3, 1)
    estimator = MotionEstimator()
    estimator.hold(10, first)
    assert estimator.estimate(11, second, 9) is None, "another frame was before"
    assert estimator.estimate(12, first, 11) is not None
    # Backward, and with a stride.
    assert estimator.estimate(11, second, 12) is not None
    assert estimator.estimate(7, first, 11) is not None
    # The same frame again, as the start of a new run, has no motion.
    assert estimator.estimate(7, first, 7) is None
    assert estimator.estimate(8, second, 7) is not None
    estimator.forget()
    assert estimator.estimate(9, first, 8) is None


def test_motion_is_computed_when_asked_and_once(monkeypatch):
    calls = []

    def counted(current, previous):
        calls.append(current.shape)
        return backward_flow(current, previous)

    monkeypatch.setattr("keepsight.tracking.motion.backward_flow", counted)
    estimator = MotionEstimator()
    frames = [np.roll(texture(64, 96), 2 * i, 1) for i in range(4)]
    looks = [estimator.look(index, frame, index - 1) for index, frame in enumerate(frames)]
    assert calls == []
    # Asked late, it still is the motion of its own frame.
    assert looks[2]() is looks[2]()
    assert np.median(looks[2](), (0, 1)) == pytest.approx([-2, 0], abs=0.3)
    assert looks[0]() is None
    assert len(calls) == 1


def test_a_resumed_run_has_the_same_motion():
    frames = [np.roll(texture(64, 96), 2 * i, 1) for i in range(3)]
    whole, resumed = MotionEstimator(), MotionEstimator()
    for index, frame in enumerate(frames[:2]):
        whole.look(index, frame, index - 1)
    resumed.hold(1, frames[1])
    assert np.array_equal(whole.estimate(2, frames[2], 1), resumed.estimate(2, frames[2], 1))


def test_no_motion_across_a_cut():
    estimator = MotionEstimator()
    estimator.hold(0, texture(480, 854, 1))
    assert estimator.estimate(1, texture(480, 854, 2), 0) is None
    # A dark room and a still picture are no cuts.
    dark = np.full((64, 96, 3), 7, np.uint8)
    estimator.hold(1, dark)
    assert not estimator.estimate(2, dark, 1).any()
    noisy = texture(480, 854, 1).astype(int) + np.random.default_rng(0).integers(-20, 21, (480, 854, 3))
    estimator.hold(0, texture(480, 854, 1))
    assert estimator.estimate(1, noisy.clip(0, 255).astype(np.uint8), 0) is not None


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (300, 15), (15, 15)])
def test_no_motion_in_pictures_that_are_too_small(size):
    estimator = MotionEstimator()
    frame = np.zeros((*size, 3), np.uint8)
    estimator.hold(0, frame)
    assert estimator.estimate(1, frame, 0) is None


def test_no_motion_when_the_shape_changes_and_any_layout_of_pixels():
    estimator = MotionEstimator()
    estimator.hold(0, texture(64, 96))
    assert estimator.estimate(1, texture(96, 64), 0) is None
    turned = np.ascontiguousarray(texture(64, 96).transpose(1, 0, 2)).transpose(1, 0, 2)
    estimator.hold(0, texture(64, 96))
    assert np.abs(estimator.estimate(1, turned, 0)).max() < 0.1
    small = MotionEstimator(longest_side=48)
    small.hold(0, texture(64, 96))
    assert small.estimate(1, texture(64, 96), 0).shape == (32, 48, 2)
