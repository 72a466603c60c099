"""What moves before a still camera is found, what stands still is not; a camera that moves is noticed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keepsight.concepts import Concept
from keepsight.concepts.moving import MotionDetector, MotionRules
from keepsight.core import InputError
from keepsight.models.builtin.backbone import load_builtin
from keepsight.tracking import Sight, Zoom
from keepsight.tracking.masks import masks_at_size
from keepsight.video import ArrayVideo

HEIGHT, WIDTH, LENGTH = 180, 320, 40
CONCEPTS = [Concept(7, "car")]


def scenery():
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(40, 200, (18, 32, 3), dtype=np.uint8), (WIDTH + 200, HEIGHT))
    cv2.rectangle(picture, (150, 30), (190, 60), (240, 240, 20), -1)  # bright, and no mover
    return picture


def place(t):
    return 20 + 6 * t, 100 + t // 2


def clip(*, pan=0.0, movers=1, noise=2.0, present_from=0):
    """Red discs that drive to the right over noisy scenery."""
    rng = np.random.default_rng(1)
    world, frames = scenery(), []
    for t in range(LENGTH):
        shift = np.float64([[1, 0, -pan * t], [0, 1, 0]])
        frame = cv2.warpAffine(world, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        for k in range(movers if t >= present_from else 0):
            x, y = place(t)
            cv2.circle(frame, (x, y - 50 * k), 12, (230, 20, 20), -1)
        frames.append(np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8))
    return ArrayVideo(np.stack(frames))


def found(detector, video, upto=LENGTH):
    return [detector.detect([Sight(None, video.read(t).rgb)], CONCEPTS)[0] for t in range(upto)]


def truth(t):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, place(t), 12, 1, -1)
    return mask.astype(bool)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("model", ["knn", "mog2"])
def test_the_mover_and_nothing_else_from_the_first_frame_on(model):
    video = clip()
    detector = MotionDetector(rules=MotionRules(model=model))
    detector.prepare_from(video, 20)
    for t, detections in enumerate(found(detector, video)):
        assert detections.concepts.tolist() == [7]
        [mask] = masks_at_size(list(detections.masks), HEIGHT, WIDTH)
        assert iou(mask.to_array(), truth(t)) > 0.7
        x, y = place(t)
        np.testing.assert_allclose(detections.boxes[0], (x - 12, y - 12, x + 13, y + 13), atol=4)
        assert detections.scores[0] > 0.7
    assert not detector.remarks


def test_without_a_look_ahead_the_first_frames_teach():
    detector = MotionDetector(rules=MotionRules(warm_up_frames=10))
    results = found(detector, clip(present_from=12))
    assert [len(r) for r in results[:12]] == [0] * 12
    assert [len(r) for r in results[13:]] == [1] * (LENGTH - 13)


def test_two_things_are_two_and_near_pieces_are_one():
    video = clip(movers=2)
    apart, joined = (MotionDetector(rules=MotionRules(merge_share=share)) for share in (0.01, 0.15))
    for detector, count in ((apart, 2), (joined, 1)):
        detector.prepare_from(video)
        assert [len(r) for r in found(detector, video, 5)] == [count] * 5


def test_noise_and_small_things_are_left_out():
    video = clip(movers=0, noise=6.0)
    detector = MotionDetector()
    detector.prepare_from(video)
    assert sum(len(r) for r in found(detector, video)) == 0
    video = clip()
    picky = MotionDetector(rules=MotionRules(least_share=0.02))
    picky.prepare_from(video)
    assert sum(len(r) for r in found(picky, video)) == 0


@pytest.mark.parametrize("pan", [0.6, 4.0])
def test_a_camera_that_moves_is_said_and_finds_nothing(pan):
    detector = MotionDetector()
    video = clip(pan=pan)
    detector.prepare_from(video)
    results = found(detector, video)
    assert sum(len(r) for r in results[5:]) == 0
    [remark] = [text for text in detector.remarks if "camera moves" in text]
    assert "--detector" in remark


def test_when_the_light_is_switched_the_background_is_learnt_anew():
    frames = np.stack([clip().read(t).rgb for t in range(LENGTH)])
    frames[10:] = (frames[10:] * 0.4).astype(np.uint8)
    video = ArrayVideo(frames)
    detector = MotionDetector(rules=MotionRules(warm_up_frames=5))
    detector.prepare([video.read(t).rgb for t in range(10)])
    results = found(detector, video)
    assert [len(r) for r in results[:10]] == [1] * 10
    assert [len(r) for r in results[10:15]] == [0] * 5
    assert all(len(r) >= 1 for r in results[20:])
    assert any("changed at once" in remark for remark in detector.remarks)


def test_the_decoder_may_draw_the_outlines():
    backbone, video = load_builtin(), clip()
    detector = MotionDetector(backbone, Zoom(), MotionRules(edges="decoder"))
    detector.prepare_from(video)
    [detections] = detector.detect([Sight(backbone, video.read(5).rgb)], CONCEPTS)
    assert detections.masks.shape == (1, 256, 256)
    # Taken over: the decoder is not of two minds, blobs are.
    assert len(detections.masks.unique()) > 100
    [mask] = masks_at_size(list(detections.masks), HEIGHT, WIDTH)
    assert iou(mask.to_array(), truth(5)) > 0.6


def test_rules_and_videos_are_checked():
    with pytest.raises(InputError, match="motion: model must be mog2 or knn"):
        MotionRules(model="gmm")
    with pytest.raises(InputError, match="most_share"):
        MotionRules(most_share=0)

    class Endless(ArrayVideo):
        frame_count = None

    with pytest.raises(InputError, match="length is not known"):
        MotionDetector().prepare_from(Endless(np.zeros((1, 8, 8, 3), np.uint8)))


def test_shown_the_frames_of_before_it_finds_what_it_would_have_found():
    video = clip(noise=12.0)
    whole, again = MotionDetector(), MotionDetector()
    cv2.setRNGSeed(1)
    expected = found(whole, video)[20:]
    cv2.setRNGSeed(2)  # whatever else has drawn from the library's dice
    for t in range(20):
        again.watch(Sight(None, video.read(t).rgb))
    got = [again.detect([Sight(None, video.read(t).rgb)], CONCEPTS)[0] for t in range(20, LENGTH)]
    assert sum(len(one) for one in expected) >= 20
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one.scores, other.scores)
        assert (one.masks is None) == (other.masks is None)
        assert one.masks is None or bool((one.masks == other.masks).all())
