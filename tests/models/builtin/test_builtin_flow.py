"""Optical flow as a prior channel, and memory seen through other views."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from keepsight.models.builtin.affinity import (
    PRIOR_CHANNELS,
    READ_CHANNELS,
    AffinityMemory,
    gate_prior,
    values_from_logits,
    with_flow,
)
from keepsight.models.builtin.flow import backward_flow, to_grey, warp_previous
from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import load_network, pad_prior

SIZE = 256


def picture(seed: int) -> np.ndarray:
    """Smooth grey texture, (512, 512) uint8."""
    noise = np.random.default_rng(seed).standard_normal((512, 512)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def square(x: int, y: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, SIZE, SIZE)
    mask[0, y : y + side, x : x + side] = 1
    return mask


def values(mask: torch.Tensor) -> torch.Tensor:
    return values_from_logits(mask * 40 - 20)


def test_flow_carries_a_mask_with_the_picture() -> None:
    whole = picture(0)
    before, now = whole[100:356, 100:356], whole[100:356, 92:348]  # everything moves 8 px to the right
    flow = backward_flow(now, before)
    assert flow.shape == (64, 64, 2)
    assert np.median(flow[..., 0]) == pytest.approx(-2, abs=0.1)
    warped = warp_previous(now, before, values(square(80, 96, 64)))
    expected = F.avg_pool2d(square(88, 96, 64)[:, None], 4)[:, 0]
    assert float((warped - expected).abs().mean()) < 0.01
    rgb = np.repeat(before[..., None], 3, 2)
    assert np.abs(to_grey(rgb).astype(int) - before).max() <= 1


def test_flow_between_different_views_of_a_still_scene() -> None:
    whole = picture(1)
    before = whole[:, :]  # the previous view is twice as wide: 512 px of the scene
    now = whole[120:376, 90:346]
    before = cv2.resize(before, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    place = (2.0, 2.0, -90 / 256, -120 / 256)
    truth = np.zeros((512, 512), np.float32)
    truth[200:280, 180:260] = 1
    old = torch.from_numpy(cv2.resize(truth, (SIZE, SIZE), interpolation=cv2.INTER_AREA))[None]
    new = torch.from_numpy(truth[120:376, 90:346])[None]
    warped = warp_previous(now, before, values(old), place)[0] > 0.5
    expected = F.avg_pool2d(new[:, None], 4)[0, 0] > 0.5
    assert float((warped & expected).sum() / (warped | expected).sum()) > 0.9


@torch.inference_mode()
def test_identity_placement_changes_nothing_and_a_shift_moves_what_is_near() -> None:
    generator = torch.Generator().manual_seed(0)
    memory = AffinityMemory()
    h = w = 8
    query = F.normalize(torch.randn(2, 8, h, w, generator=generator), dim=1)
    keys = F.normalize(torch.randn(2, 3, 8, h, w, generator=generator), dim=2)
    remembered = torch.rand(2, 2, 3, 4, h, w, generator=generator)
    conditioning = torch.tensor([True, False, False])
    plain = memory(query, keys, remembered, conditioning)
    same = torch.tensor([1.0, 1, 0, 0]).expand(2, 3, 4)
    assert torch.allclose(memory(query, keys, remembered, conditioning, placement=same), plain, atol=1e-5)
    # All keys alike: only distance counts, and the mask of a view half as wide lands in its quarter of the current one.
    memory.locality.fill_(400.0)
    flat = torch.ones(1, 8, h, w) / 8**0.5
    value = torch.zeros(1, 1, 1, 4, h, w)
    value[..., 2:6, 2:6] = 1
    place = torch.tensor([[[0.5, 0.5, 0.5, 0.25]]])
    out = memory(flat, flat[:, None], value, torch.tensor([False]), placement=place)[0, 0, 0] > 0.5
    ys, xs = torch.nonzero(out, as_tuple=True)
    assert float(xs.float().mean() + 0.5) / 16 == pytest.approx(0.75, abs=0.04)
    assert float(ys.float().mean() + 0.5) / 16 == pytest.approx(0.5, abs=0.04)


def test_the_gate_follows_the_views() -> None:
    last = torch.zeros(1, 1, 4, 32, 32)
    last[..., 14:18, 14:18] = 1
    prior = torch.full((1, PRIOR_CHANNELS, 64, 64), 0.9)
    moved = gate_prior(prior, last, placement=torch.tensor([[[1.0, 1.0, 0.3, 0.0]]]))
    assert float(moved[0, 0, 32, 51]) > 0.85
    assert float(moved[0, 0, 32, 12]) < 0.01
    assert float(moved[0, 5, 32, 12]) < 0.01
    assert float(moved[0, 4, 32, 12]) == pytest.approx(0.9)


@torch.inference_mode()
def test_without_flow_the_prior_itself_takes_its_place_and_old_weights_go_on_as_they_were() -> None:
    network = load_network()
    generator = torch.Generator().manual_seed(2)
    features = network.encode_image(torch.rand(1, 3, SIZE, SIZE, generator=generator) * 255)
    none, padding = torch.zeros(1, 1, 2), torch.full((1, 1), -1)
    prior = torch.rand(1, READ_CHANNELS, 64, 64, generator=generator)
    short = network.decode(features, none, padding, prior)
    full = network.decode(features, none, padding, with_flow(prior))
    assert torch.equal(short.logits, full.logits)
    state = network.state_dict()
    old = {k: v[:, :READ_CHANNELS] if k.startswith("prior_embedding.") and v.ndim == 4 and v.shape[1] == 6 else v
           for k, v in state.items()}  # fmt: skip
    restored = BuiltinNetwork()
    restored.load_state_dict(pad_prior(old))
    assert float(restored.prior_embedding.conv1.weight[:, READ_CHANNELS:].abs().max()) == 0
    assert torch.equal(restored.prior_embedding.conv1.weight[:, :READ_CHANNELS], old["prior_embedding.conv1.weight"])
