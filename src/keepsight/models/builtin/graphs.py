"""The passes that a tracked frame takes, run by ONNX Runtime: half to two thirds of torch's time on one core.

It joins the convolutions of a small model with what follows them, and asks for little around small operations. The graphs in the
package, written by :mod:`keepsight.models.builtin.export`, hold operations and no weights; those are the network's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from keepsight.models.builtin.network import IMAGE_SIZE, BuiltinNetwork, Decoded, Features

ENCODER, DECODER = (Path(__file__).with_name(f"{name}.onnx") for name in ("encoder", "decoder"))

ENCODER_WEIGHTS = ("backbone.", "neck.")
"""How the names of the encoder's weights begin."""

NOT_FOLLOWING = ("affinity.", "no_prior", "logits_detail.", "prompt_encoder.mask_embed.")
"""How the names of weights begin that are neither the encoder's nor needed where an object is followed."""


class Graphs:
    """The passes of a network for one image or one unit at a time, each on the thread that calls it; safe to call from several.

    Args:
        network: float32, on the CPU, of the size that ships. Its weights are taken as they are now.
    """

    def __init__(self, network: BuiltinNetwork) -> None:
        weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
        encoder = {name: x for name, x in weights.items() if name.startswith(ENCODER_WEIGHTS)}
        decoder = {name: x for name, x in weights.items() if not name.startswith((*ENCODER_WEIGHTS, *NOT_FOLLOWING))}
        self._encoder, self._decoder = _Graph(ENCODER, encoder), _Graph(DECODER, decoder)

    @staticmethod
    def serve(network: BuiltinNetwork) -> bool:
        """Whether there are graphs of a network, where and as precise as it is."""
        parameter = next(network.parameters())
        return network.image_size == IMAGE_SIZE and parameter.device.type == "cpu" and parameter.dtype == torch.float32

    def encode_image(self, pixels: Tensor) -> Features:
        """:meth:`BuiltinNetwork.encode_image` of one image (1, 3, S, S)."""
        return Features(*self._encoder.run({"pixels": pixels}))

    def follow_all(self, features: Features, prior: Tensor) -> Decoded:
        """:meth:`BuiltinNetwork.follow_all` of B units; features of one frame a unit (N = B)."""
        maps = {"s4": features.s4, "s8": features.s8, "s16": features.s16}
        return Decoded(*self._decoder.run({**maps, "prior": prior}))


class _Graph:
    def __init__(self, path: Path, weights: Mapping[str, Tensor]) -> None:
        options = onnxruntime.SessionOptions()
        # Pieces of work are shared out over the cores, not operations.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # shapes are written down for two units, and it warns when there are more
        # Kept: the session reads them where they are.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(tensor.numpy()) for tensor in weights.values()]
        options.add_external_initializers(list(weights), self._weights)
        self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        answers = self._session.run(None, {name: tensor.contiguous().numpy() for name, tensor in inputs.items()})
        return [torch.from_numpy(answer) for answer in answers]
