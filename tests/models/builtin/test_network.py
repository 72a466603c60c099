"""The built-in network: shapes, independence of the batch, affinity against a plain loop, the weights file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from keepsight.models.builtin.affinity import AffinityMemory, Reader, gate_prior, values_from_logits
from keepsight.models.builtin.efficientnet import _SameConv
from keepsight.models.builtin.network import BuiltinNetwork, Features
from keepsight.models.builtin.weights import WEIGHTS, load_network


@pytest.fixture(scope="module")
def network() -> BuiltinNetwork:
    return load_network()


@pytest.fixture(scope="module")
def frame() -> torch.Tensor:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(0, 255, (1, 3, 9, 9)).astype(np.float32)
    return F.interpolate(torch.from_numpy(coarse), (256, 256), mode="bicubic").clamp(0, 255)


def units() -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.tensor([[[80.0, 90.0], [0, 0]], [[30.0, 40.0], [140.0, 200.0]], [[9.0, 9.0], [200.0, 100.0]]])
    return points, torch.tensor([[1, -1], [2, 3], [1, 0]])


@torch.inference_mode()
def test_shapes_and_ranges(network: BuiltinNetwork, frame: torch.Tensor) -> None:
    features = network.encode_image(frame)
    assert [tuple(x.shape[1:]) for x in features] == [(16, 64, 64), (32, 32, 32), (128, 16, 16), (64, 32, 32)]
    assert torch.allclose(features.keys.norm(dim=1), torch.ones(1, 32, 32), atol=1e-4)
    points, labels = units()
    for multimask, candidates in ((True, 3), (False, 1)):
        out = network.decode(features, points, labels, multimask=multimask)
        assert out.logits.shape == (3, candidates, 64, 64)
        assert out.ious.shape == (3, candidates)
        assert float(out.ious.min()) >= 0
        assert float(out.ious.max()) <= 1
        assert out.object_scores.shape == (3,)


@pytest.mark.parametrize(("kernel", "padding"), [(3, (0, 1)), (5, (1, 2))])
def test_strided_convolutions_pad_as_tensorflow_does(kernel: int, padding: tuple[int, int]) -> None:
    conv = _SameConv(6, 6, kernel, stride=2, groups=6)
    x = torch.randn(1, 6, 12, 8, generator=torch.Generator().manual_seed(0))
    expected = F.conv2d(F.pad(x, padding * 2), conv.weight, conv.bias, stride=2, groups=6)
    assert torch.allclose(conv(x), expected, atol=1e-5)


@torch.inference_mode()
def test_a_batch_is_its_units_one_by_one(network: BuiltinNetwork, frame: torch.Tensor) -> None:
    features = network.encode_image(frame)
    points, labels = units()
    generator = torch.Generator().manual_seed(3)
    prior = torch.rand(3, 5, 64, 64, generator=generator)
    logits = torch.randn(3, 1, 64, 64, generator=generator) * 5
    together = network.decode(features, points, labels, prior, logits)
    for i in range(3):
        one = slice(i, i + 1)
        alone = network.decode(features, points[one], labels[one], prior[one], logits[one])
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[one], b, atol=1e-3, rtol=1e-4)
    two = network.encode_image(torch.cat((frame.flip(3), frame)))
    for a, b in zip(two, features, strict=True):
        assert torch.allclose(a[1:], b, atol=1e-3)


@torch.inference_mode()
def test_affinity_is_a_softmax_over_all_remembered_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    memory = AffinityMemory()
    memory.bias.copy_(torch.tensor([0.3, -0.2]))
    h = w = 4
    query = F.normalize(torch.randn(1, 8, h, w, generator=generator), dim=1)
    keys = F.normalize(torch.randn(1, 3, 8, h, w, generator=generator), dim=2)
    values = torch.rand(1, 2, 3, 4, h, w, generator=generator)
    conditioning = torch.tensor([False, True, False])
    keep = torch.rand(1, 3, h, w, generator=generator) > 0.3
    scale = torch.tensor([[1.0, 0.95, 1.05]])
    out = memory(query, keys, values, conditioning, keep, scale)
    assert out.shape == (1, 2, 5, 8, 8)
    expected = np.zeros((2, 8, 8))
    share = np.zeros((4, 4))
    for y in range(h):
        for x in range(w):
            weight = np.zeros((3, h, w))
            for f in range(3):
                kind, count = (0, 1) if conditioning[f] else (1, 2)
                for v in range(h):
                    for u in range(w):
                        if not keep[0, f, v, u]:
                            continue
                        cosine = float(query[0, :, y, x] @ keys[0, f, :, v, u]) * float(scale[0, f])
                        distance = ((y - v) / h) ** 2 + ((x - u) / w) ** 2
                        logit = float(memory.log_scale.exp()) * cosine - float(memory.locality[kind]) * distance
                        weight[f, v, u] = np.exp(logit + float(memory.bias[kind])) / count
            weight /= weight.sum()
            share[y, x] = weight[1].sum()
            for k in range(2):
                for part in range(4):
                    dy, dx = divmod(part, 2)
                    expected[k, 2 * y + dy, 2 * x + dx] = (weight * values[0, k, :, part].numpy()).sum()
    assert np.allclose(out[0, :, 0].numpy(), expected, atol=1e-5)
    assert np.allclose(out[0, 0, 4, ::2, ::2].numpy(), share, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("hides", [False, True])
def test_reading_together_is_reading_alone(moved: bool, hides: bool) -> None:
    """Readers with frames in common, each with its own masks, scales and number of frames of a class."""
    generator = torch.Generator().manual_seed(1)
    memory = AffinityMemory()
    memory.bias.copy_(torch.tensor([0.3, -0.2]))
    h = w = 20  # more cells than are worked out in one block
    query = F.normalize(torch.randn(8, h, w, generator=generator), dim=0)
    keys = F.normalize(torch.randn(4, 8, h, w, generator=generator), dim=1)
    conditioning = torch.tensor([True, False, False, True])
    keep = torch.rand(4, h, w, generator=generator) > 0.3 if hides else None
    placement = torch.rand(4, 4, generator=generator) * 0.2 + torch.tensor([0.9, 0.9, 0.0, 0.0]) if moved else None
    who = [([0, 1, 2], [1.0, 0.95, 1.05]), ([1, 0], [1.05, 1.0]), ([2], [1.05]), ([3, 0], [1.0, 1.0])]
    readers = [
        Reader(frames, scales, torch.rand(count, len(frames), 4, h, w, generator=generator))
        for count, (frames, scales) in enumerate(who, 1)
    ]
    together = memory.forward_together(query, keys, conditioning, readers, keep, placement)
    for reader, prior in zip(readers, together, strict=True):
        own = list(reader.frames)
        alone = memory(
            query[None],
            keys[own][None],
            reader.values[None],
            conditioning[own],
            None if keep is None else keep[own][None],
            torch.tensor([reader.scales]),
            None if placement is None else placement[own][None],
        )[0]
        assert prior.shape == alone.shape == (len(reader.values), 5, 2 * h, 2 * w)
        assert torch.allclose(prior, alone, atol=1e-5)


def test_every_weight_is_in_the_file_and_every_tensor_of_the_file_is_used(frame: torch.Tensor) -> None:
    network = load_network()  # strict: nothing missing, nothing left over
    assert set(load_file(WEIGHTS)) == set(network.state_dict())
    assert all(bool(torch.isfinite(v).all()) for v in network.state_dict().values())
    network.requires_grad_(True)
    features = network.encode_image(frame)
    points, labels = units()
    padding = torch.full_like(labels, -1)
    value = values_from_logits(torch.randn(3, 64, 64))
    flags = torch.tensor([True, False])
    keys = features.keys[None].repeat(1, 2, 1, 1, 1)
    prior = network.propagate(features.keys, keys, value[None, :, None].repeat(1, 1, 2, 1, 1, 1), flags)[0]
    first = network.decode_all(features, points, labels, None, None)
    later = network.decode_all(features, points, padding, prior, first.logits[:, :1])
    total = sum(x.sum() for out in (first, later) for x in out)
    assert isinstance(total, torch.Tensor)
    total.backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert unused == []


def test_the_gate_lets_the_object_through_and_nothing_far_away() -> None:
    values = torch.zeros(1, 2, 4, 32, 32)
    values[:, 0, :, 8:12, 8:12] = 1
    values[:, 1, :, 8:12, 7:11] = 1
    prior = torch.full((1, 5, 64, 64), 0.9)
    gated = gate_prior(prior, values)
    assert float(gated[0, 0, 18:24, 18:26].min()) > 0.85
    assert float(gated[0, 0, :, 50:].max()) < 0.01
    assert torch.equal(gate_prior(prior, torch.zeros_like(values))[:, 0], prior[:, 0])


def test_an_absent_object_leaves_an_empty_memory() -> None:
    logits = torch.full((2, 64, 64), 4.0)
    values = values_from_logits(logits, torch.tensor([1.0, -1.0]))
    assert float(values[0].min()) > 0.9
    assert float(values[1].abs().max()) == 0


def test_features_are_shared_between_units_without_copies(network: BuiltinNetwork, frame: torch.Tensor) -> None:
    with torch.inference_mode():
        features = network.encode_image(frame)
        points, labels = units()
        shared = network.decode(features, points, labels)
        copied = network.decode(Features(*(x.repeat(3, 1, 1, 1) for x in features)), points, labels)
    assert torch.allclose(shared.logits, copied.logits, atol=1e-3)
