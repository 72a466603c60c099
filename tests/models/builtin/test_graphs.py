"""The graphs that ONNX Runtime runs against the network they stand for, and the command that writes them."""

from pathlib import Path

import onnx
import pytest
import torch

from keepsight.models.backbone import MemoryRead, UnitReads
from keepsight.models.builtin import export
from keepsight.models.builtin.backbone import BuiltinBackbone
from keepsight.models.builtin.graphs import DECODER, ENCODER, Graphs
from keepsight.models.builtin.network import BuiltinNetwork, Features
from keepsight.models.builtin.weights import load_network


@pytest.fixture(scope="module")
def network() -> BuiltinNetwork:
    """With weights that no file has: what is in the graphs must come from the network."""
    network, generator = load_network(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor += 0.1 * tensor.abs().mean() * torch.randn(tensor.shape, generator=generator)
    return network


@pytest.fixture(scope="module")
def graphs(network: BuiltinNetwork) -> Graphs:
    return Graphs(network)


def pixels() -> torch.Tensor:
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 255


@torch.inference_mode()
def test_an_image_is_encoded_as_the_network_does(network: BuiltinNetwork, graphs: Graphs) -> None:
    shipped = load_network().encode_image(pixels())
    for name, wanted, found, other in zip(
        Features._fields, network.encode_image(pixels()), graphs.encode_image(pixels()), shipped, strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
        assert (wanted - other).abs().max() > 1e-2  # other weights are seen


@pytest.mark.parametrize("units", [1, 3])
@torch.inference_mode()
def test_units_are_followed_as_the_network_does(network: BuiltinNetwork, graphs: Graphs, units: int) -> None:
    generator = torch.Generator().manual_seed(2)
    frame = network.encode_image(pixels())
    features = Features(*(level + 0.1 * torch.randn(units, *level.shape[1:], generator=generator) for level in frame))
    prior = torch.rand(units, 6, 64, 64, generator=generator)
    found = graphs.follow_all(features, prior)
    # What was never said is what padding says.
    padding = torch.zeros(units, 1, 2), torch.full((units, 1), -1)
    for wanted in (network.follow_all(features, prior), network.decode_all(features, *padding, prior, None)):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_unit_is_the_same_whoever_is_beside_it(graphs: Graphs, network: BuiltinNetwork) -> None:
    backbone = BuiltinBackbone(network)
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


def test_who_is_served() -> None:
    assert Graphs.serve(BuiltinNetwork())
    assert not Graphs.serve(BuiltinNetwork(128))
    assert not Graphs.serve(BuiltinNetwork().to(torch.bfloat16))


@pytest.mark.filterwarnings("ignore")  # torch's own, of torch
def test_what_ships_is_what_the_command_writes(tmp_path: Path) -> None:
    export.export(tmp_path)
    for path in (ENCODER, DECODER):
        shipped, written = (
            onnx.load(path, load_external_data=False),
            onnx.load(tmp_path / path.name, load_external_data=False),
        )
        assert [node.SerializeToString() for node in written.graph.node] == [
            node.SerializeToString() for node in shipped.graph.node
        ]
        assert [tensor.name for tensor in written.graph.initializer] == [x.name for x in shipped.graph.initializer]
        assert not any(tensor.raw_data for tensor in shipped.graph.initializer)
