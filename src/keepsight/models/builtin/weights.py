"""The weights file of the built-in network: float16 on disk, float32 in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from keepsight.core.errors import ModelError
from keepsight.models.builtin.affinity import PRIOR_CHANNELS, READ_CHANNELS

if TYPE_CHECKING:
    from keepsight.models.builtin.network import BuiltinNetwork

Loaded = TypeVar("Loaded")

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


def _read(path: Path | None) -> dict[str, Tensor]:
    return pad_prior({k: v.float() for k, v in load_file(path or WEIGHTS).items()})


def load_weights(path: Path | None = None) -> dict[str, Tensor]:
    """State dict of the network that ships, from `path` (default: from the package), float32, on the CPU.

    Raises:
        RuntimeError: a tensor of the network is not in the file, one of the file not in the network, or one of another shape.
    """
    weights = _read(path)
    # What ships is of the network by definition, and its file says so without the network being built.
    with safe_open(WEIGHTS, "pt") as shipped:
        shapes = {name: tuple(shipped.get_slice(name).get_shape()) for name in shipped.keys()}  # noqa: SIM118
    for name in sorted(shapes.keys() ^ weights.keys()):
        raise RuntimeError(f"{name} is {'missing' if name in shapes else 'not of this network'}")
    for name, tensor in weights.items():
        if tuple(tensor.shape) != shapes[name]:
            raise RuntimeError(f"{name} is {tuple(tensor.shape)} and not {shapes[name]}")
    return weights


def from_folder(folder: Path | None, load: Callable[[Path], Loaded]) -> Loaded:
    """What ``load`` makes of the weights file in a folder; of that of the package for None.

    Raises:
        ModelError: no weights, or weights of another network.
    """
    files = [WEIGHTS] if folder is None else sorted(Path(folder).glob("*.safetensors"))
    if len(files) != 1 or not files[0].is_file():
        raise ModelError(f"There is no single safetensors file of the built-in model in {folder or WEIGHTS.parent}.")
    try:
        return load(files[0])
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{files[0]} does not hold weights of the built-in model: {reason}") from error


def load_network(path: Path | None = None) -> BuiltinNetwork:
    """The network with the weights of `path` (default: those of the package), float32, in evaluation mode, on the CPU.

    Raises:
        RuntimeError: a tensor of the network is not in the file, or one of the file not in the network.
    """
    # What only follows objects on a CPU does without it, and without the seconds that importing transformers takes.
    from keepsight.models.builtin.network import BuiltinNetwork

    network = BuiltinNetwork()
    network.load_state_dict(_read(path), strict=True)  # which may differ from what ships, while it is being developed
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
