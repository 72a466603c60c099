"""The built-in network behind the engine's `Backbone` interface.

What the engine offers and this model has no use for: slot codes (recent frames are alike to it) and object pointers. A
memory is the frame's keys, shared by all objects of the frame, and the object's mask in 2x2 sub-cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from keepsight.core.errors import ModelError
from keepsight.models.backbone import Backbone, BackboneInfo, Decoded, MemoryRead, PromptBatch, UnitReads
from keepsight.models.builtin.affinity import gate_prior, values_from_logits
from keepsight.models.builtin.network import BuiltinNetwork, Features
from keepsight.models.builtin.refine import Guide, prepare, refine
from keepsight.models.builtin.weights import WEIGHTS, load_network

SLOTS = 4
"""One conditioning class and three recent frames: what training showed it."""

MAX_CONDITIONING = 2


@dataclass(frozen=True, eq=False)
class BuiltinMemory:
    """Memory of one object on one frame.

    Attributes:
        keys: (64, S/8, S/8) unit-length keys of the frame; one tensor shared by all objects of the frame.
        value: (4, S/8, S/8) mask in 2x2 sub-cells, in [0, 1].
    """

    keys: Tensor
    value: Tensor


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """One frame's maps, and what pulls its masks to the edges of the picture (None: leave them as decoded)."""

    maps: Features
    guide: Guide | None


@dataclass(frozen=True, eq=False)
class Conditioned:
    """What `BuiltinBackbone.condition` gives: the propagated prior (B, 5, S/4, S/4), None without memory."""

    units: int
    prior: Tensor | None


class BuiltinBackbone(Backbone):
    """Adapter over `BuiltinNetwork`.

    Args:
        network: in evaluation mode.
        name: what to call it.
        motion_gate: take away what the memory proposes further from the last mask than its motion allows; against
            look-alikes. It expects that the newest recent memory is of the frame before, as all policies here have it.
        edges: pull masks to the edges of the picture (`refine.py`); off: smoother masks, some 10 % faster.
    """

    def __init__(
        self, network: BuiltinNetwork, name: str = "builtin", *, motion_gate: bool = True, edges: bool = True
    ) -> None:
        self.network = network.eval()
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.motion_gate, self.edges = motion_gate, edges
        self.cells = network.image_size // 4
        self.info = BackboneInfo(
            name=name,
            family="builtin",
            image_size=network.image_size,
            mask_size=network.image_size if edges else self.cells,
            slots=SLOTS,
            pointers=0,
            max_conditioning=MAX_CONDITIONING,
        )

    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        size = self.info.image_size
        if rgb.shape[:2] != (size, size):
            shrinks = min(rgb.shape[:2]) > size
            rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[assignment]
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device).permute(2, 0, 1)[None].to(self.dtype)
        return pixels.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> FrameFeatures:
        return FrameFeatures(self.network.encode_image(pixels), prepare(pixels) if self.edges else None)

    def feature_bytes(self, features: FrameFeatures) -> int:
        guide = 0 if features.guide is None else sum(x.nbytes for x in features.guide)
        return guide + sum(x.numel() * x.element_size() for x in features.maps)

    @torch.inference_mode()
    def condition(self, features: FrameFeatures, reads: Sequence[UnitReads]) -> Conditioned:
        if not any(unit.spatial for unit in reads):
            return Conditioned(len(reads), None)
        # Units that read the same frames in the same way share one affinity matrix.
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, unit in enumerate(reads):
            groups.setdefault(tuple(_identity(read) for read in unit.spatial), []).append(i)
        prior = features.maps.keys.new_empty(len(reads), 5, self.cells, self.cells)
        for members in groups.values():
            prior[members] = self._propagate(features, [reads[i].spatial for i in members])
        return Conditioned(len(reads), prior)

    def _propagate(self, features: FrameFeatures, members: Sequence[Sequence[MemoryRead]]) -> Tensor:
        """Prior (K, 5, S/4, S/4) of units that read the same frames."""
        first = members[0]
        values = torch.stack([torch.stack([read.memory.value for read in reads]) for reads in members])
        keep = None
        if any(read.token_keep is not None for read in first):
            grid = features.maps.keys.shape[-2:]
            full = np.ones(grid, np.bool_)
            maps = [full if read.token_keep is None else _to_grid(read.token_keep, grid) for read in first]
            keep = torch.from_numpy(np.stack(maps)).to(self.device)[None]
        scale = None
        if any(read.key_scale != 1.0 for read in first):
            scale = torch.tensor([[read.key_scale for read in first]], device=self.device, dtype=self.dtype)
        prior = self.network.propagate(
            features.maps.keys,
            torch.stack([read.memory.keys for read in first])[None],
            values[None],
            torch.tensor([read.conditioning for read in first]),
            keep,
            scale,
        )[0]
        if self.motion_gate:
            recent = sorted((read.slot_code, i) for i, read in enumerate(first) if not read.conditioning)
            if recent:
                prior = gate_prior(prior, values[:, [i for _, i in recent]])
        return prior

    def select_units(self, conditioned: Conditioned, units: Sequence[int]) -> Conditioned:
        if conditioned.prior is None or list(units) == list(range(conditioned.units)):
            return Conditioned(len(units), conditioned.prior)
        return Conditioned(len(units), conditioned.prior[list(units)])

    @torch.inference_mode()
    def decode(
        self, features: FrameFeatures, conditioned: Conditioned, prompts: PromptBatch | None, multimask: bool
    ) -> Decoded:
        if prompts is None or prompts.points.shape[1] == 0:
            points = torch.zeros(conditioned.units, 1, 2, device=self.device, dtype=self.dtype)
            labels = torch.full((conditioned.units, 1), -1, device=self.device)
        else:
            points = prompts.points.to(self.device, self.dtype)
            labels = prompts.labels.to(self.device)
        logits = None if prompts is None or prompts.logits is None else prompts.logits.to(self.device, self.dtype)
        if logits is not None and logits.shape[-1] != self.cells:
            logits = F.avg_pool2d(logits, logits.shape[-1] // self.cells)
        out = self.network.decode(features.maps, points, labels, conditioned.prior, logits, multimask)
        masks = out.logits if features.guide is None else refine(out.logits, features.guide)
        return Decoded(masks, out.ious, out.object_scores, None)

    def mask_prompt_pointer(self, features: FrameFeatures, masks: Tensor, multimask: bool) -> None:
        return None

    @torch.inference_mode()
    def encode_memory(
        self, features: FrameFeatures, mask_logits: Tensor, object_scores: Tensor, binarize: bool
    ) -> list[BuiltinMemory]:
        logits = mask_logits.to(self.device, self.dtype)
        if binarize:
            # The share of each cell that the mask covers: as training writes true masks.
            size = self.info.image_size
            if logits.shape[-1] != size:
                logits = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
            logits = (logits > 0).to(self.dtype) * 40 - 20
        values = values_from_logits(logits[:, 0], object_scores.to(self.device), self.cells)
        keys = features.maps.keys[0].contiguous()
        return [BuiltinMemory(keys, value.clone()) for value in values]

    def pack_memory(self, memory: BuiltinMemory) -> dict[str, Tensor]:
        return {"keys": memory.keys, "value": memory.value}

    def unpack_memory(self, tensors: dict[str, Tensor]) -> BuiltinMemory:
        return BuiltinMemory(tensors["keys"].to(self.device), tensors["value"].to(self.device))


def load_builtin(
    folder: Path | None = None, name: str = "builtin", device: torch.device | None = None, *, motion_gate: bool = True
) -> BuiltinBackbone:
    """Loads the built-in model.

    Args:
        folder: with a safetensors file of weights; None for those of the package.
        name: what to call it.
        device: where to put it; None for the CPU.
        motion_gate: see `BuiltinBackbone`.

    Raises:
        ModelError: no weights, or weights of another network.
    """
    files = [WEIGHTS] if folder is None else sorted(Path(folder).glob("*.safetensors"))
    if len(files) != 1 or not files[0].is_file():
        raise ModelError(f"There is no single safetensors file of the built-in model in {folder or WEIGHTS.parent}.")
    try:
        network = load_network(files[0])
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{files[0]} does not hold weights of the built-in model: {reason}") from error
    return BuiltinBackbone(network.to(device or torch.device("cpu")), name, motion_gate=motion_gate)


def _identity(read: MemoryRead) -> tuple[object, ...]:
    keep = None if read.token_keep is None else read.token_keep.tobytes()
    # By address: views of one frame's keys are new objects each time. All reads of a step are alive together.
    return read.memory.keys.data_ptr(), read.conditioning, read.slot_code, read.key_scale, keep


def _to_grid(keep: NDArray[np.bool_], grid: torch.Size) -> NDArray[np.bool_]:
    if keep.shape == tuple(grid):
        return keep
    return cv2.resize(keep.astype(np.uint8), (grid[1], grid[0]), interpolation=cv2.INTER_NEAREST).astype(np.bool_)
