"""Frames to model input, against an antialiased bilinear resize written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_models
from keepsight.models.preprocess import resize_and_normalise
from keepsight.models.sam2.hf_video import HFVideoBackbone

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _weights(source: int, target: int) -> np.ndarray:
    """``(target, source)`` triangle filter, as wide as a target pixel when shrinking."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    positions = np.arange(source) + 0.5
    weights = np.clip(1 - np.abs(positions[None] - centres[:, None]) / reach, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def _naive(rgb: np.ndarray, size: int) -> np.ndarray:
    resized = np.einsum("yh,hwc,xw->cyx", _weights(rgb.shape[0], size), rgb / 255.0, _weights(rgb.shape[1], size))
    return (resized - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]


def _ours(rgb, size, dtype=torch.float32):
    return resize_and_normalise(rgb, size, mean=MEAN, std=STD, device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize("shape", [(48, 64), (135, 240), (20, 17), (32, 32), (1, 1), (200, 3)])
def test_equals_the_written_out_resize(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = _ours(rgb, 32)
    assert result.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(result[0].numpy(), _naive(rgb, 32), atol=2e-5)


def test_equals_pillow_to_its_rounding():
    rgb = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(rgb).resize((64, 64), Image.Resampling.BILINEAR)).astype(float)
    ours = (_ours(rgb, 64)[0].numpy().transpose(1, 2, 0) * STD + MEAN) * 255
    # Pillow rounds to whole values after each of its two passes.
    assert np.abs(ours - theirs).max() <= 1.01


def test_layout_dtype_and_source_stay_as_they_are():
    rgb = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    before = rgb.copy()
    assert _ours(rgb, 32, torch.bfloat16).dtype == torch.bfloat16
    # Views with negative strides come out of flipped and colour-swapped frames.
    np.testing.assert_array_equal(_ours(rgb[::-1, :, ::-1], 32), _ours(rgb[::-1, :, ::-1].copy(), 32))
    np.testing.assert_array_equal(rgb, before)


@pytest.mark.parametrize(("maker", "mean", "std"), [("sam2", MEAN, STD), ("sam3_tracker", (0.5,) * 3, (0.5,) * 3)])
def test_each_family_normalises_as_it_was_trained(maker, mean, std):
    backbone = HFVideoBackbone(getattr(tiny_models, maker)())
    rgb = np.full((30, 50, 3), 200, dtype=np.uint8)
    pixels = backbone.preprocess(rgb)
    assert pixels.shape == (1, 3, backbone.info.image_size, backbone.info.image_size)
    expected = torch.tensor([(200 / 255 - m) / s for m, s in zip(mean, std, strict=True)])
    torch.testing.assert_close(pixels[0, :, 5, 5], expected, atol=1e-5, rtol=0)
