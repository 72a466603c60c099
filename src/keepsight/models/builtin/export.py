"""Writes the graphs of :mod:`keepsight.models.builtin.graphs`; needed only after a change of what the network does.

    python -m keepsight.models.builtin.export

It needs `onnx` and `onnxscript`, which running the graphs does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepsight.models.builtin.efficientnet import _Block, _SameConv
from keepsight.models.builtin.graphs import DECODER, ENCODER, FOLLOWER
from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.passes import IMAGE_SIZE, Decoded, Features
from keepsight.models.builtin.prompt_maps import render_prompts
from keepsight.models.builtin.weights import load_network


class _Pass(nn.Module):
    """One pass of a network."""

    def __init__(self, network: BuiltinNetwork, run: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.network, self._run = network, run

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self._run(self.network, *inputs)


class _PaddedConv(_SameConv):
    """Its padding said beforehand, from where the runtime takes it into the convolution; a cut behind it would stay a copy."""

    def forward(self, x: Tensor) -> Tensor:
        total = self.kernel_size[0] - self.stride[0]
        padded = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class _PlainBlock(_Block):
    """Nothing in place, which a graph has no word for."""

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x).clamp(0.0, 6.0)
        y = self.project(self.depthwise(y).clamp(0.0, 6.0))
        return x + y if self.residual else y


GRAPHS = (ENCODER, FOLLOWER, DECODER)


def export(folder: Path, graphs: Collection[Path] = GRAPHS) -> None:
    """Writes graphs into a folder, under the names that they have in the package."""
    network = load_network()
    pixels, cells = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE), IMAGE_SIZE // 4
    with torch.no_grad():
        features = network.encode_image(pixels)._asdict()
    for module in network.modules():
        if isinstance(module, _SameConv) and module.stride[0] == 2:
            module.__class__ = _PaddedConv
        elif isinstance(module, _Block):
            module.__class__ = _PlainBlock
    features = {name: level.contiguous() for name, level in features.items()}
    prior = {"prior": torch.rand(1, network.prior_embedding.conv1.in_channels, cells, cells)}
    said = {"points": torch.rand(1, 3, 2), "labels": torch.ones(1, 3, dtype=torch.long)}
    drawn = {"mask": torch.rand(1, 1, cells, cells), "corrects": torch.tensor(1.0)}
    seen = {name: features[name] for name in ("s4", "s8", "s16")}
    asked = {**features, **said, **prior, "remembers": torch.tensor(1.0), **drawn}
    if ENCODER in graphs:
        _write(folder / ENCODER.name, _Pass(network, _encode), {"pixels": pixels}, Features._fields)
    if FOLLOWER in graphs:
        _write(folder / FOLLOWER.name, _Pass(network, _follow), {**seen, **prior}, Decoded._fields)
    if DECODER in graphs:
        _write(folder / DECODER.name, _Pass(network, _answer), asked, Decoded._fields, ("points", "labels"))


def _encode(network: BuiltinNetwork, pixels: Tensor) -> tuple[Tensor, ...]:
    return tuple(network.encode_image(pixels))


def _follow(network: BuiltinNetwork, s4: Tensor, s8: Tensor, s16: Tensor, prior: Tensor) -> tuple[Tensor, ...]:
    return tuple(network.follow_all(Features(s4, s8, s16, s16), prior))  # no map of what was said asks for the keys


def _answer(
    network: BuiltinNetwork,
    s4: Tensor,
    s8: Tensor,
    s16: Tensor,
    keys: Tensor,
    points: Tensor,
    labels: Tensor,
    prior: Tensor,
    remembers: Tensor,
    mask: Tensor,
    corrects: Tensor,
) -> tuple[Tensor, ...]:
    """`BuiltinNetwork.decode_all`, told by factors of 0 or 1 instead of by None what is there."""
    sparse, blank = network.prompt_encoder(points[:, None], labels[:, None], None, None)
    drawn = network.prompt_encoder.mask_embed(mask)
    maps = network.prompt_maps(render_prompts(points, labels, keys, network.image_size))
    embedded, detail = network.prior_embedding(prior)
    unknown = network.no_prior[:, None, None]
    dense = corrects * drawn + (1 - corrects) * blank + maps + remembers * embedded + (1 - remembers) * unknown
    s4 = s4 + remembers * detail + corrects * network.logits_detail(torch.tanh(mask / 4))
    positions = network._image_positions(s16)
    return tuple(network.decoder(s16 + dense, positions, sparse[:, 0], s8, s4))


def _write(
    path: Path, module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], many: Container[str] = ()
) -> None:
    """Writes a graph; of the inputs in ``many`` the second side is of any length."""
    length = torch.export.Dim("length", min=1)
    shapes = (tuple({1: length} if name in many else None for name in inputs),) if many else None
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=shapes,
        dynamo=True,
        # Optimising would turn weights into other numbers, and those of another file would not come in.
        optimize=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _tidy(model.graph)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def _tidy(graph: onnx.GraphProto) -> None:
    """Leaves out the weights, named as in the network, and what says where in the code a node comes from."""
    renamed = {tensor.name: tensor.name.removeprefix("network.") for tensor in graph.initializer}
    # Bounds are float32 as what they bound is; cast to it they would be no constants, and not be joined with convolutions.
    bounds = {name for node in graph.node if node.op_type == "Clip" for name in node.input[1:]}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "CastLike"}
    renamed |= {made: source for made, source in casts.items() if made in bounds}
    kept = [node for node in graph.node if node.output[0] not in renamed]
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.node[:]
    graph.node.extend(kept)
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="the network")
    for values in (graph.input, graph.output, graph.value_info):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""
    del graph.value_info[:]


if __name__ == "__main__":
    export(ENCODER.parent)
