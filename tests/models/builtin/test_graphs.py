"""The graphs that ONNX Runtime runs against the network they stand for, and the command that writes them."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from keepsight.models.backbone import MemoryRead, UnitReads
from keepsight.models.builtin import export
from keepsight.models.builtin.backbone import BuiltinBackbone
from keepsight.models.builtin.graphs import ENCODER, Graphs
from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.passes import Features
from keepsight.models.builtin.weights import load_network


@pytest.fixture(scope="module")
def network() -> BuiltinNetwork:
    """With weights that no file has: what is in the graphs must come from outside of them."""
    network, generator = load_network(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor += 0.1 * tensor.abs().mean() * torch.randn(tensor.shape, generator=generator)
    return network


@pytest.fixture(scope="module")
def graphs(network: BuiltinNetwork) -> Graphs:
    return Graphs(network.state_dict())


def pixels(images: int = 1) -> torch.Tensor:
    return torch.rand(images, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("images", [1, 2])
@torch.inference_mode()
def test_images_are_encoded_as_the_network_does(network: BuiltinNetwork, graphs: Graphs, images: int) -> None:
    shipped = load_network().encode_image(pixels(images))
    wanted, found = network.encode_image(pixels(images)), graphs.encode_image(pixels(images))
    for one, other, others in zip(found, wanted, shipped, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
        assert (other - others).abs().max() > 1e-2  # other weights are seen


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("corrects", [True, False])
@pytest.mark.parametrize("channels", [0, 5, 6])
@pytest.mark.parametrize(("units", "points"), [(1, 1), (2, 4)])
@torch.inference_mode()
def test_units_are_decoded_as_the_network_does(
    network: BuiltinNetwork, graphs: Graphs, units: int, points: int, channels: int, corrects: bool, shared: bool
) -> None:
    generator = torch.Generator().manual_seed(2)
    features = network.encode_image(pixels())
    if not shared:
        features = Features(*(x + 0.1 * torch.randn(units, *x.shape[1:], generator=generator) for x in features))
    where = torch.rand(units, points, 2, generator=generator) * 256
    labels = torch.randint(-1, 4, (units, points), generator=generator, dtype=torch.int32)
    prior = torch.rand(units, channels, 64, 64, generator=generator) if channels else None
    mask = 8 * torch.randn(units, 1, 64, 64, generator=generator) if corrects else None
    wanted = network.decode_all(features, where, labels, prior, mask)
    for one, other in zip(graphs.decode_all(features, where, labels, prior, mask), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("units", "views"), [(1, 1), (3, 3), (3, 1)])
@torch.inference_mode()
def test_units_are_followed_as_the_network_does(
    network: BuiltinNetwork, graphs: Graphs, units: int, views: int
) -> None:
    generator = torch.Generator().manual_seed(3)
    frame = network.encode_image(pixels())
    features = Features(*(level + 0.1 * torch.randn(views, *level.shape[1:], generator=generator) for level in frame))
    prior = torch.rand(units, 6, 64, 64, generator=generator)
    found = graphs.follow_all(features, prior)
    # What was never said is what padding says.
    padding = torch.zeros(units, 1, 2), torch.full((units, 1), -1)
    for wanted in (network.follow_all(features, prior), network.decode_all(features, *padding, prior, None)):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_unit_is_the_same_whoever_is_beside_it(graphs: Graphs) -> None:
    backbone = BuiltinBackbone(graphs)
    views = [(pixels()[0].permute(1, 2, 0) / scale).to(torch.uint8).numpy() for scale in (1, 2, 3)]
    together = backbone.encode_views(views)
    masks = torch.full((3, 1, 256, 256), -10.0)
    masks[:, :, 60:180, 80:200] = 10
    memories = backbone.encode_memory(together, masks, torch.full((3,), 10.0), True, [0, 1, 2])
    reads = [UnitReads((MemoryRead(memory, 3, True),)) for memory in memories]
    all_of_them = backbone.decode(together, backbone.condition(together, reads, [0, 1, 2]), None, True, [0, 1, 2])
    for i, view in enumerate(views):
        features = backbone.encode_views([view])
        alone = backbone.decode(features, backbone.condition(features, reads[i : i + 1], [0]), None, True, [0])
        assert torch.equal(alone.logits[0], all_of_them.logits[i])
        assert torch.equal(alone.ious[0], all_of_them.ious[i])


def test_following_on_a_cpu_needs_no_transformers() -> None:
    # Importing it takes longer than all else that happens until the first mask.
    code = """
import numpy as np, sys, keepsight
from keepsight.video.source import ArrayVideo
frames = ArrayVideo(list(np.zeros((3, 64, 96, 3), np.uint8)))
session = keepsight.load("builtin", device="cpu").open(frames)
session.add(object_id=1, frame=0, box=(10, 10, 40, 40))
assert sum(1 for _ in session.propagate()) == 3
assert "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore")  # torch's own, of torch
def test_what_ships_is_what_the_command_writes(tmp_path: Path) -> None:
    export.export(
        tmp_path, [ENCODER]
    )  # the others take half a minute; that they do what the network does is seen above
    shipped, written = (onnx.load(path, load_external_data=False) for path in (ENCODER, tmp_path / ENCODER.name))
    assert [node.SerializeToString() for node in written.graph.node] == [
        node.SerializeToString() for node in shipped.graph.node
    ]
    assert [tensor.name for tensor in written.graph.initializer] == [x.name for x in shipped.graph.initializer]


@pytest.mark.parametrize("path", export.GRAPHS)
def test_graphs_hold_no_weights_and_name_no_place(path: Path) -> None:
    graph = onnx.load(path, load_external_data=False).graph
    assert not any(tensor.raw_data or tensor.float_data for tensor in graph.initializer)
    assert not any(node.doc_string or node.metadata_props for node in graph.node)
