"""The outline of what is answered to a box around something tiny: cut where the box fits, left alone elsewhere."""

import cv2
import numpy as np
import pytest
import torch

from keepsight.models.builtin.backbone import BuiltinBackbone, load_builtin
from keepsight.models.builtin.outline import cut_outline

SIDE, CELLS = 48, 256
TRUTH = (16, 14, 34, 32)  # of the part of the frame, px


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Something with a notch of its own colour on a ground that varies, 18 px, uint8 (48, 48, 3)."""
    rng = np.random.default_rng(1)
    rgb = rng.normal((90, 110, 80), 12, (SIDE, SIDE, 3))
    rgb[truth()] = rng.normal((190, 120, 60), 12, (int(truth().sum()), 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def truth() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[TRUTH[1] : TRUTH[3], TRUTH[0] : TRUTH[2]] = True
    mask[19:27, 32:34] = False
    return mask


def logits_of(mask: np.ndarray) -> torch.Tensor:
    soft = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), (CELLS, CELLS)), (0, 0), 6)
    return torch.from_numpy(12 * (soft - 0.5))


def drawn(margin: float = 0.0) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (side * CELLS / SIDE for side in TRUTH)
    by = margin * (x2 - x1)
    return x1 - by, y1 - by, x2 + by, y2 + by


def iou(logits: torch.Tensor) -> float:
    shown = cv2.resize(logits.numpy(), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0
    return float((shown & truth()).sum() / (shown | truth()).sum())


def test_an_outline_off_by_a_pixel_follows_the_edges(picture: np.ndarray) -> None:
    eaten = truth()
    eaten[31:] = False
    filled = truth()
    filled[20:26, 28:34] = True  # the notch is closed, as a network that sees a blur answers
    for wrong in (eaten, filled):
        before = logits_of(wrong)
        after = cut_outline(before, picture, drawn())
        assert iou(after) > iou(before) + 0.03
        assert torch.equal(cut_outline(before, picture, drawn()), after)  # nothing of it is left to chance


def test_what_a_box_does_not_fit_is_left_alone(picture: np.ndarray) -> None:
    before = logits_of(truth())
    assert cut_outline(before, picture, drawn()) is not before
    assert cut_outline(before, picture, drawn(0.1)) is before  # too wide by a tenth on each side
    assert cut_outline(before, picture, drawn(-0.1)) is before
    nothing = torch.full((CELLS, CELLS), -5.0)
    assert cut_outline(nothing, picture, drawn()) is nothing


def test_nothing_outside_the_box_is_of_it_and_the_inner_is_kept(picture: np.ndarray) -> None:
    before = logits_of(truth())
    after = cut_outline(before, picture, drawn()) > 0
    x1, y1, x2, y2 = (round(side) for side in drawn())
    outside = torch.ones_like(after)
    outside[y1:y2, x1:x2] = False
    assert not bool((after & outside).any())
    core = cv2.erode((before > 0).numpy().astype(np.uint8), np.ones((3, 3), np.uint8), iterations=12) > 0
    assert core.any()
    assert bool(after[torch.from_numpy(core)].all())


def test_a_mask_over_everything_is_not_cut() -> None:
    everything = torch.full((CELLS, CELLS), 5.0)
    flat = np.full((SIDE, SIDE, 3), 128, np.uint8)
    after = cut_outline(everything, flat, (0.0, 0.0, float(CELLS), float(CELLS)))
    assert bool((after > 0).all())


def test_only_what_is_tiny_is_outlined_anew(picture: np.ndarray) -> None:
    backbone = load_builtin()
    before = logits_of(truth())
    assert not torch.equal(backbone.outline(before, picture, drawn()), before)
    assert backbone.outline(before, np.asarray(cv2.resize(picture, (80, 80))), drawn()) is before
    smooth = BuiltinBackbone(backbone._passes, edges=False)
    assert smooth.outline(before, picture, drawn()) is before
