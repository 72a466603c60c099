"""The passes run by ONNX Runtime: on one core half to two thirds of torch's time, and there without importing transformers.

It joins the convolutions of a small model with what follows them, and asks for little around small operations. The graphs in the
package, written by :mod:`keepsight.models.builtin.export`, hold operations and no weights; those come from a weights file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from keepsight.models.builtin.affinity import PRIOR_CHANNELS, READ_CHANNELS, AffinityMemory, with_flow
from keepsight.models.builtin.passes import IMAGE_SIZE, Decoded, Features, joined

ENCODER, FOLLOWER, DECODER = (Path(__file__).with_name(f"{name}.onnx") for name in ("encoder", "follower", "decoder"))

_ENCODER_WEIGHTS = ("backbone.", "neck.")
"""How the names of the encoder's weights begin."""

_MEMORY_WEIGHTS = "affinity."

_ANSWERS_ONLY = ("no_prior", "logits_detail.", "prompt_encoder.mask_embed.")
"""How the names of those of the decoder's weights begin that are not needed where nobody said anything."""


class Graphs:
    """The built-in network in float32 on the CPU, each pass on the thread that calls it; safe to call from several.

    Args:
        weights: state dict of :class:`keepsight.models.builtin.network.BuiltinNetwork`, complete.
    """

    image_size, device, dtype = IMAGE_SIZE, torch.device("cpu"), torch.float32

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        weights = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
        memory = {name[len(_MEMORY_WEIGHTS) :]: x for name, x in weights.items() if name.startswith(_MEMORY_WEIGHTS)}
        self.affinity = AffinityMemory()
        self.affinity.load_state_dict(memory, strict=True)
        self.affinity.eval().requires_grad_(False)
        encoder = {name: x for name, x in weights.items() if name.startswith(_ENCODER_WEIGHTS)}
        decoder = {name: x for name, x in weights.items() if not name.startswith((*_ENCODER_WEIGHTS, _MEMORY_WEIGHTS))}
        self._encoder, self._decoder = _Graph(ENCODER, encoder), _Graph(DECODER, decoder)
        self._follower = _Graph(FOLLOWER, {k: x for k, x in decoder.items() if not k.startswith(_ANSWERS_ONLY)})

    def encode_image(self, pixels: Tensor) -> Features:
        """See :class:`Passes`."""
        return joined([Features(*self._encoder.run({"pixels": image})) for image in pixels.split(1)])

    def follow_all(self, features: Features, prior: Tensor) -> Decoded:
        """See :class:`Passes`."""
        parts = []
        for unit, read in enumerate(prior.split(1)):
            maps = _row(features, unit)
            parts.append(Decoded(*self._follower.run({"s4": maps.s4, "s8": maps.s8, "s16": maps.s16, "prior": read})))
        return joined(parts)

    def decode_all(
        self, features: Features, points: Tensor, labels: Tensor, prior: Tensor | None, logits: Tensor | None
    ) -> Decoded:
        """See :class:`Passes`."""
        cells = self.image_size // 4
        if prior is not None and prior.shape[1] == READ_CHANNELS:
            prior = with_flow(prior)
        parts = []
        for unit in range(len(points)):
            said = {
                "points": points[unit : unit + 1],
                "labels": labels[unit : unit + 1].long(),
                # What is not there is multiplied by zero.
                "prior": torch.zeros(1, PRIOR_CHANNELS, cells, cells) if prior is None else prior[unit : unit + 1],
                "remembers": torch.tensor(float(prior is not None)),
                "mask": torch.zeros(1, 1, cells, cells) if logits is None else logits[unit : unit + 1],
                "corrects": torch.tensor(float(logits is not None)),
            }
            parts.append(Decoded(*self._decoder.run({**_row(features, unit)._asdict(), **said})))
        return joined(parts)


class _Graph:
    def __init__(self, path: Path, weights: Mapping[str, Tensor]) -> None:
        options = onnxruntime.SessionOptions()
        # Pieces of work are shared out over the cores, not operations.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # what is wrong is raised as well
        # Kept: the session reads them where they are.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(tensor.numpy()) for tensor in weights.values()]
        options.add_external_initializers(list(weights), self._weights)
        self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        answers = self._session.run(None, {name: tensor.contiguous().numpy() for name, tensor in inputs.items()})
        return [torch.from_numpy(answer) for answer in answers]


def _row(features: Features, unit: int) -> Features:
    """What a unit sees, of features shared by all units or one a unit."""
    return features if len(features.keys) == 1 else Features(*(level[unit : unit + 1] for level in features))
