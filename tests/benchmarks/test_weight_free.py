import numpy as np
import pytest

from clips import size_class
from scoring import jaccard
from weight_free import WeightFreeTracker, box_of, box_to_mask


def _scene(side: int, left: int, top: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A textured square on a textured ground of other colours, and its mask."""
    rng = np.random.default_rng(3)
    ground = np.clip(rng.normal((60, 120, 60), 14, (240, 320, 3)), 0, 255)
    own = np.clip(rng.normal((190, 70, 50), 22, (side, side, 3)), 0, 255)
    mask = np.zeros((240, 320), bool)
    if left < 320:
        mask[top : top + side, left : left + side] = True
        ground[mask] = own[:, : min(side, 320 - left)].reshape(-1, 3)
    return ground.astype(np.uint8), mask


@pytest.mark.parametrize("side", [18, 60, 110])
@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_follows_a_moving_square(side: int, prompt: str) -> None:
    tracker = WeightFreeTracker()
    rgb, mask = _scene(side, 40)
    found = tracker.start(rgb, mask=mask) if prompt == "mask" else tracker.start(rgb, box=box_of(mask))
    assert jaccard(found, mask) > 0.85
    for t in range(1, 8):
        rgb, mask = _scene(side, 40 + 4 * t)
        found = tracker.step(rgb)
        assert jaccard(found, mask) > 0.8


def test_says_gone_when_the_object_has_left_and_nothing_is_like_it() -> None:
    tracker = WeightFreeTracker()
    rgb, mask = _scene(50, 250)
    tracker.start(rgb, mask=mask)
    found = mask
    for left in range(262, 420, 12):
        rgb, mask = _scene(50, left)
        found = tracker.step(rgb)
    assert not mask.any()
    assert not found.any()


def test_an_object_without_a_difference_to_its_ground_gives_an_ellipse() -> None:
    flat = np.full((120, 160, 3), 90, np.uint8)
    found = box_to_mask(flat, (40, 30, 100, 80))
    assert found.any()
    assert box_of(found)[0] >= 39
    assert box_of(found)[2] <= 101


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        WeightFreeTracker().start(np.zeros((20, 20, 3), np.uint8), mask=np.zeros((20, 20), bool))


def test_size_classes() -> None:
    assert [size_class(side) for side in (3, 15, 29.9, 30, 60, 119, 120, 240, 399, 900)] == [
        0,
        0,
        0,
        1,
        2,
        2,
        3,
        4,
        4,
        4,
    ]
