"""Writes the graphs of :mod:`keepsight.models.builtin.graphs`; needed only after a change of what the network does.

    python -m keepsight.models.builtin.export

It needs `onnx` and `onnxscript`, which running the graphs does not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepsight.models.builtin.efficientnet import _Block, _SameConv
from keepsight.models.builtin.graphs import DECODER, ENCODER
from keepsight.models.builtin.network import IMAGE_SIZE, BuiltinNetwork, Decoded, Features
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


def export(folder: Path) -> None:
    """Writes both graphs into a folder, under the names that they have in the package."""
    network = load_network()
    with torch.no_grad():
        features = network.encode_image(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    maps = tuple(level.expand(2, -1, -1, -1).contiguous() for level in features[:3])
    prior = torch.rand(2, network.prior_embedding.conv1.in_channels, IMAGE_SIZE // 4, IMAGE_SIZE // 4)
    for module in network.modules():
        if isinstance(module, _SameConv) and module.stride[0] == 2:
            module.__class__ = _PaddedConv
        elif isinstance(module, _Block):
            module.__class__ = _PlainBlock
    pixels = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    _write(folder / ENCODER.name, _Pass(network, _encode), {"pixels": pixels}, Features._fields)
    units = {"s4": maps[0], "s8": maps[1], "s16": maps[2], "prior": prior}
    _write(folder / DECODER.name, _Pass(network, _follow), units, Decoded._fields, torch.export.Dim("units", min=1))


def _encode(network: BuiltinNetwork, pixels: Tensor) -> tuple[Tensor, ...]:
    return tuple(network.encode_image(pixels))


def _follow(network: BuiltinNetwork, s4: Tensor, s8: Tensor, s16: Tensor, prior: Tensor) -> tuple[Tensor, ...]:
    return tuple(network.follow_all(Features(s4, s8, s16, s16), prior))  # no map of what was said asks for the keys


def _write(
    path: Path, module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], units: Any = None
) -> None:
    shapes = None if units is None else (tuple({0: units} for _ in inputs),)
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
