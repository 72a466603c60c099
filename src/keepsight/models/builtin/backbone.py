"""The built-in network behind the engine's `Backbone` interface.

What the engine offers and this model has no use for: slot codes (recent frames are alike to it) and object pointers. A
memory is the frame's keys, shared by all objects of the frame, and the object's mask in 2x2 sub-cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box
from keepsight.models.backbone import Backbone, BackboneInfo, Decoded, PromptBatch, UnitReads
from keepsight.models.builtin.affinity import values_from_logits
from keepsight.models.builtin.flow import to_grey
from keepsight.models.builtin.graphs import Graphs
from keepsight.models.builtin.outline import LEAST_MAGNIFIED, cut_outline
from keepsight.models.builtin.passes import Decoded as NetworkDecoded
from keepsight.models.builtin.passes import Features, Passes, joined
from keepsight.models.builtin.reading import BuiltinMemory, FrameFeatures, MemoryReader
from keepsight.models.builtin.refine import prepare, refine
from keepsight.models.builtin.weights import from_folder, load_network, load_weights
from keepsight.models.crew import Crew, Item

SLOTS = 4
"""One conditioning class and three recent frames: what training showed it."""

MAX_CONDITIONING = 2

UNITS_AT_ONCE = 3
"""Units a call of torch's decoder on a CPU, where calls run side by side. Up: less time a unit (7 ms alone, 3.6 of three, 3.0 of
five), fewer calls to share out. ONNX Runtime's takes 2.7 ms a unit alone or not."""

PRIOR_TRUST = 4.0
"""Logits by which a sure memory (0 or 1 from all remembered frames, and from the prompted ones alone) moves a mask. Mean J after
the first frame from a mask, eight hard objects in real clips: .63 at 0, .74 at 4. Up: steadier, slower to follow new shapes."""

CANDIDATE_BIAS = (0.0, 0.04, 0.0)
"""Added to the IoU estimates of a tracked frame's candidates, the smallest of which comes first. The model learnt from pasted
cut-outs, where a part can be the whole thing; on real clips it trusts the smallest mask too much, and an object loses its
parts one by one. Trusting the largest as well, (0, .04, .08), is as good there, but what lies beside an object leaks in: J of
the sample clip from mask / box / click .89 / .77 / .87 instead of .92 / .81 / .89."""

WHOLE_BONUS = (0.0, 0.1, 0.2)
"""People click on a part and mean the whole; of the three candidates the last one reaches furthest, and its IoU estimate is the
most modest. Measured on clicks on real frames: J of the first mask .60 -> .65."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """What `BuiltinBackbone.condition` gives: the propagated prior (B, 6, S/4, S/4), None without memory."""

    units: int
    prior: Tensor | None


class BuiltinBackbone(Backbone):
    """Adapter over the built-in network.

    Args:
        passes: the network, in evaluation mode, or its graphs.
        name: what to call it.
        motion_gate: take away what the memory proposes further from the last mask than its motion allows; against
            look-alikes. It expects that the newest recent memory is of the frame before, as all policies here have it.
        edges: pull masks to the edges of the picture (`refine.py`); off: smoother masks, some 10 % faster.
    """

    def __init__(self, passes: Passes, name: str = "builtin", *, motion_gate: bool = True, edges: bool = True) -> None:
        self._passes = passes
        self.device, self.dtype = passes.device, passes.dtype
        self.edges = edges
        self.cells = passes.image_size // 4
        self._crew = Crew()
        # One at a time does the same with an object whoever is beside it.
        self._units_at_once = 1 if isinstance(passes, Graphs) else UNITS_AT_ONCE
        self._memory = MemoryReader(passes.affinity, self._crew, motion_gate)
        self.info = BackboneInfo(
            name=name,
            family="builtin",
            image_size=passes.image_size,
            mask_size=passes.image_size if edges else self.cells,
            slots=SLOTS,
            pointers=0,
            max_conditioning=MAX_CONDITIONING,
            zoom=True,
            whole_bonus=WHOLE_BONUS,
        )

    def leading(self) -> AbstractContextManager[None]:
        # An accelerator takes batches; pieces would only wait for it.
        return self._crew.lead() if self.device.type == "cpu" else nullcontext()

    @property
    def views_at_once(self) -> int:
        return self._crew.size

    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        size = self.info.image_size
        if rgb.shape[:2] != (size, size):
            shrinks = min(rgb.shape[:2]) > size
            rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[assignment]
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device).permute(2, 0, 1)[None].to(self.dtype)
        return pixels.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> FrameFeatures:
        if self.device.type != "cpu":
            return self._encode(pixels)
        return self._side_by_side(self._encode, pixels.split(1))

    @torch.inference_mode()
    def encode_views(self, views: Sequence[NDArray[np.uint8]]) -> FrameFeatures:
        if self.device.type != "cpu":
            return self._encode(torch.cat([self.preprocess(view) for view in views]))
        return self._side_by_side(lambda view: self._encode(self.preprocess(view)), views)

    def _side_by_side(self, encode: Callable[[Item], FrameFeatures], views: Sequence[Item]) -> FrameFeatures:
        """Features of views, one at a time on each core: batches leave the processor's cache, and they round in other ways."""
        parts = self._crew.map(encode, views)
        return parts[0] if len(parts) == 1 else self.join_features(parts)

    def _encode(self, pixels: Tensor) -> FrameFeatures:
        maps = self._passes.encode_image(pixels)
        keys = [view.clone(memory_format=torch.contiguous_format) for view in maps.keys]
        colours = [x.permute(1, 2, 0).to(torch.uint8).cpu().numpy() for x in pixels]
        guides = [prepare(view[None]) for view in pixels] if self.edges else None
        return FrameFeatures(maps, keys, [torch.from_numpy(to_grey(rgb)) for rgb in colours], guides)

    def join_features(self, parts: Sequence[FrameFeatures]) -> FrameFeatures:
        guides = [guide for part in parts for guide in part.guides or ()] if self.edges else None
        keys = [view for part in parts for view in part.keys]
        greys = [grey for part in parts for grey in part.greys]
        return FrameFeatures(joined([part.maps for part in parts]), keys, greys, guides)

    def feature_bytes(self, features: FrameFeatures) -> int:
        guides = sum(x.nbytes for guide in features.guides or () for x in guide)
        greys = sum(grey.nbytes for grey in features.greys)
        return guides + greys + sum(x.numel() * x.element_size() for x in features.maps)

    @torch.inference_mode()
    def condition(self, features: FrameFeatures, reads: Sequence[UnitReads], views: Sequence[int]) -> Conditioned:
        if not any(unit.spatial for unit in reads):
            return Conditioned(len(reads), None)
        return Conditioned(len(reads), self._memory.read(features, reads, views))

    def select_units(self, conditioned: Conditioned, units: Sequence[int]) -> Conditioned:
        if conditioned.prior is None or list(units) == list(range(conditioned.units)):
            return Conditioned(len(units), conditioned.prior)
        return Conditioned(len(units), conditioned.prior[list(units)])

    @torch.inference_mode()
    def decode(
        self,
        features: FrameFeatures,
        conditioned: Conditioned,
        prompts: PromptBatch | None,
        multimask: bool,
        views: Sequence[int],
    ) -> Decoded:
        if prompts is None and conditioned.prior is not None:
            parts = self._follow(features, conditioned.prior, multimask, views)
        else:
            parts = self._answer(features, conditioned, prompts, multimask, views)
        masks = torch.cat([part.logits for part in parts])
        if features.guides is not None:
            guides = [features.guides[view] for view in views]
            pairs = zip(masks.split(1), guides, strict=True)
            masks = torch.cat(self._crew.map(lambda pair: refine(*pair), pairs))
        ious, presences = torch.cat([part.ious for part in parts]), torch.cat([part.object_scores for part in parts])
        return Decoded(masks, ious, presences, None)

    def _follow(
        self, features: FrameFeatures, prior: Tensor, multimask: bool, views: Sequence[int]
    ) -> list[NetworkDecoded]:
        """Decodes units about which nobody said anything on this frame."""

        def follow(units: slice) -> NetworkDecoded:
            read = prior[units]
            out = self._passes.follow_all(_maps_of(features, views[units]), read)
            masks, ious, presences = out.offered(multimask)
            if ious.shape[1] == len(CANDIDATE_BIAS):
                ious = (ious + ious.new_tensor(CANDIDATE_BIAS)).clamp(max=1.0)
            return NetworkDecoded(_trust_prior(masks, read), ious, presences)

        return self._crew.map(follow, self._shares(len(prior)))

    def _answer(
        self,
        features: FrameFeatures,
        conditioned: Conditioned,
        prompts: PromptBatch | None,
        multimask: bool,
        views: Sequence[int],
    ) -> list[NetworkDecoded]:
        """Decodes units about which something was said, or which remember nothing."""
        if prompts is None or prompts.points.shape[1] == 0:
            points = torch.zeros(conditioned.units, 1, 2, device=self.device, dtype=self.dtype)
            labels = torch.full((conditioned.units, 1), -1, device=self.device)
        else:
            points = prompts.points.to(self.device, self.dtype)
            labels = prompts.labels.to(self.device)
        logits = None if prompts is None or prompts.logits is None else prompts.logits.to(self.device, self.dtype)
        if logits is not None and logits.shape[-1] != self.cells:
            logits = F.avg_pool2d(logits, logits.shape[-1] // self.cells)
        prior = conditioned.prior

        def answer(units: slice) -> NetworkDecoded:
            fed_back = None if logits is None else logits[units]
            read = None if prior is None else prior[units]
            maps = _maps_of(features, views[units])
            return self._passes.decode_all(maps, points[units], labels[units], read, fed_back).offered(multimask)

        return self._crew.map(answer, self._shares(len(points)))

    def _shares(self, count: int) -> list[slice]:
        """Units by call; an accelerator takes all at once."""
        each = self._units_at_once if self.device.type == "cpu" else count
        return [slice(start, start + each) for start in range(0, count, each)]

    def coarse(self, features: FrameFeatures) -> FrameFeatures:
        return replace(features, guides=None)

    @torch.inference_mode()
    def sharpen(self, features: FrameFeatures, logits: Tensor, view: int) -> Tensor:
        return logits if features.guides is None else refine(logits[:, None], features.guides[view])[:, 0]

    @torch.inference_mode()
    def sharpen_each(self, features: FrameFeatures, logits: Tensor, views: Sequence[int]) -> Tensor:
        parts = self._crew.map(lambda seen: self.sharpen(features, *seen), zip(logits.split(1), views, strict=True))
        return torch.cat(parts)

    def outline(self, logits: Tensor, rgb: NDArray[np.uint8], box: Box) -> Tensor:
        magnified = self.info.image_size / max(rgb.shape[:2])
        return cut_outline(logits, rgb, box) if self.edges and magnified >= LEAST_MAGNIFIED else logits

    def dense(self, features: FrameFeatures) -> Tensor:
        return features.maps.keys

    def mask_prompt_pointer(
        self, features: FrameFeatures, masks: Tensor, multimask: bool, views: Sequence[int]
    ) -> None:
        return None

    @torch.inference_mode()
    def encode_memory(
        self,
        features: FrameFeatures,
        mask_logits: Tensor,
        object_scores: Tensor,
        binarize: bool,
        views: Sequence[int],
    ) -> list[BuiltinMemory]:
        logits = mask_logits.to(self.device, self.dtype)
        if binarize:
            # The share of each cell that the mask covers: as training writes true masks.
            size = self.info.image_size
            if logits.shape[-1] != size:
                logits = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
            logits = (logits > 0).to(self.dtype) * 40 - 20
        values = values_from_logits(logits[:, 0], object_scores.to(self.device), self.cells)
        return [
            BuiltinMemory(features.keys[view], value.clone(), features.greys[view])
            for view, value in zip(views, values, strict=True)
        ]

    def pack_memory(self, memory: BuiltinMemory) -> dict[str, Tensor]:
        return {"keys": memory.keys, "value": memory.value, "grey": memory.grey}

    def unpack_memory(self, tensors: dict[str, Tensor]) -> BuiltinMemory:
        return BuiltinMemory(tensors["keys"].to(self.device), tensors["value"].to(self.device), tensors["grey"].cpu())


def _trust_prior(logits: Tensor, prior: Tensor) -> Tensor:
    """Decoded logits (B, M, h, w), moved towards the masks that the memory proposes (B, 6, h, w).

    The decoder drops parts that look unlike the rest of the object, and what it has dropped once is not remembered; the
    prompted frames still know. Where the object was not seen on the frame before, nothing is moved, for then the memory says
    "nothing here" everywhere.
    """
    p, p_cond, last = prior[:, 0:1], prior[:, 2:3], prior[:, 5:6]
    seen = (last.amax((1, 2, 3), keepdim=True) > 0.5).to(logits.dtype)
    return logits + seen * PRIOR_TRUST * (p + p_cond - 1)


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
    device = device or torch.device("cpu")

    def load(path: Path) -> Passes:
        return Graphs(load_weights(path)) if device.type == "cpu" else load_network(path).to(device)

    return BuiltinBackbone(from_folder(folder, load), name, motion_gate=motion_gate)


def _maps_of(features: FrameFeatures, views: Sequence[int]) -> Features:
    """Maps of units' views, a row a unit; one for all of them where they see the same."""
    seen = list(views) if len(set(views)) > 1 else list(views[:1])
    return Features(*(level[seen] for level in features.maps))
