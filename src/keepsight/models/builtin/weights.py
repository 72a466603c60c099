"""The weights file of the built-in network: float16 on disk, float32 in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from keepsight.models.builtin.affinity import PRIOR_CHANNELS, READ_CHANNELS
from keepsight.models.builtin.network import BuiltinNetwork

WEIGHTS = Path(__file__).with_name("weights.safetensors")


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes a state dict of `BuiltinNetwork` in half precision."""
    half = {
        k: v.detach().cpu().to(torch.float16 if v.is_floating_point() else v.dtype).contiguous()
        for k, v in state.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, path, metadata={"format": "keepsight-builtin", "version": "1"})


def pad_prior(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict in which weights from before the flow channel get zeros for it, so that they do what they did."""
    out = dict(state)
    for name in ("prior_embedding.conv1.weight", "prior_embedding.detail.weight"):
        if name in out and out[name].shape[1] == READ_CHANNELS:
            out[name] = F.pad(out[name], (0, 0, 0, 0, 0, PRIOR_CHANNELS - READ_CHANNELS))
    return out


def load_network(path: Path | None = None) -> BuiltinNetwork:
    """The network with the weights of `path` (default: those of the package), float32, in evaluation mode, on the CPU.

    Raises:
        RuntimeError: a tensor of the network is not in the file, or one of the file not in the network.
    """
    network = BuiltinNetwork()
    network.load_state_dict(pad_prior({k: v.float() for k, v in load_file(path or WEIGHTS).items()}), strict=True)
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
