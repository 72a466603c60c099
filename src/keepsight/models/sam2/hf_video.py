"""SAM 2 / 2.1, SAM 3's tracker and EdgeTAM behind one adapter over transformers' modules.

The vision encoder, prompt encoder, mask decoder and memory encoder are called as they are; memory attention is arranged
anew (see :mod:`keepsight.models.sam2.memory_attention`). transformers' sessions and generators are not used: they loop
over objects, keep every frame, and have one memory rule wired in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from keepsight.models.backbone import (
    Backbone,
    BackboneInfo,
    Decoded,
    PointerToken,
    PromptBatch,
    UnitReads,
    unless_learning,
)
from keepsight.models.preprocess import resize_and_normalise
from keepsight.models.sam2.memory_attention import MemoryAttention, SpatialMemory

FAMILIES = {
    "Sam2VideoModel": "sam2",
    "Sam3TrackerVideoModel": "sam3-tracker",
    "EdgeTamVideoModel": "edgetam",
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(eq=False)
class HFImageFeatures:
    """Features of V views of a frame: two fine levels ``(V, C, h, w)`` and the memory level ``(V, C, g, g)``."""

    fine: list[Tensor]
    top: Tensor

    def of(self, views: Sequence[int]) -> HFImageFeatures:
        """Rows for units: one row, to be shared, when all of them see the same view."""
        if len(set(views)) == 1:
            row = slice(views[0], views[0] + 1)
            return HFImageFeatures([level[row] for level in self.fine], self.top[row])
        rows = list(views)
        return HFImageFeatures([level[rows] for level in self.fine], self.top[rows])


class _ConstantPositions(nn.Module):
    """Position codes made once: the neck asks for four levels on every frame and its own cache holds one."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.original = original
        self._made: dict[tuple[Any, ...], Tensor] = {}

    def forward(
        self, shape: torch.Size, device: torch.device, dtype: torch.dtype, mask: Tensor | None = None
    ) -> Tensor:
        if mask is not None:
            return self.original(shape, device, dtype, mask)
        key = (tuple(shape), str(device), dtype)
        if key not in self._made:
            self._made[key] = self.original(shape, device, dtype).clone()
        return self._made[key]

    def forget(self) -> None:
        """Lets go of codes that were made in inference mode."""
        self._made.clear()


class HFVideoBackbone(Backbone):
    """Adapter over a loaded ``Sam2VideoModel``, ``Sam3TrackerVideoModel`` or ``EdgeTamVideoModel``.

    Args:
        model: the transformers model, in evaluation mode, on its device and in its dtype.
        name: what to call it.
        units_per_call: units a memory-attention call; default 1 on a CPU, 64 elsewhere.
        dynamic_multimask: where a single mask is unstable take the best of three (SAM 2's rule for clicks); ``None``
            keeps the configuration of the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str = "custom",
        *,
        units_per_call: int | None = None,
        dynamic_multimask: bool | None = None,
    ) -> None:
        self.model = cast(Any, model.eval())
        config = self.model.config
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        family = FAMILIES[type(model).__name__]
        self.grid = tuple(self.model.backbone_feature_sizes[-1])
        self.sizes = [tuple(size) for size in self.model.backbone_feature_sizes]
        self.info = BackboneInfo(
            name=name,
            family=family,
            image_size=int(self.model.image_size),
            mask_size=int(self.model.prompt_encoder.mask_input_size[0]),
            slots=int(config.num_maskmem),
            pointers=int(config.max_object_pointers_in_encoder),
            max_conditioning=int(config.max_cond_frame_num),
            multimask_points=(int(config.multimask_min_pt_num), int(config.multimask_max_pt_num))
            if config.multimask_output_in_sam
            else (1, 0),
            multimask_tracking=bool(config.multimask_output_for_tracking),
        )
        if dynamic_multimask is not None:
            self.model.mask_decoder.dynamic_multimask_via_stability = dynamic_multimask
        self._mean, self._std = HALF if family == "sam3-tracker" else IMAGENET
        self._units_per_call = units_per_call or (1 if self.device.type == "cpu" else 64)
        self._cache_positions()
        with torch.inference_mode():
            self._image_position_for_decoder = self.model.get_image_wide_positional_embeddings()
            self._reader = self._make_reader()

    # -- training ----------------------------------------------------------------------------------------------------
    def learn(self) -> None:
        """Lets gradients flow through all calls from now on; call :meth:`refresh` whenever weights have changed."""
        self.learning = True
        self._units_per_call = 64
        self._image_sine.forget()
        with torch.no_grad():
            self._image_position_for_decoder = self.model.get_image_wide_positional_embeddings()
        self.refresh()

    def refresh(self) -> None:
        """Takes changed weights over into what is made of them in advance."""
        self._reader = self._make_reader()

    # -- constants ---------------------------------------------------------------------------------------------------
    def _cache_positions(self) -> None:
        neck = getattr(self.model.vision_encoder, "neck", None)
        if neck is not None and hasattr(neck, "position_encoding"):
            if not isinstance(neck.position_encoding, _ConstantPositions):
                neck.position_encoding = _ConstantPositions(neck.position_encoding)
            self._image_sine = cast(Any, neck.position_encoding)
        else:  # pragma: no cover - no released family lacks it
            raise ValueError("the vision encoder has no position code of its own")

    def _make_reader(self) -> MemoryAttention:
        model, (height, width) = self.model, self.grid
        channels = model.hidden_dim
        image_position = self._image_sine(torch.Size((1, channels, height, width)), self.device, self.dtype)
        encoder = model.memory_encoder
        memory_shape = torch.Size((1, model.mem_dim, height, width))
        # Cloned: the module remembers what it made, perhaps in inference mode, and training cannot use that.
        memory_position = encoder.position_encoding(memory_shape, self.device, self.dtype).clone()
        attention = model.memory_attention
        if self.info.family == "edgetam":
            self._map_position = memory_position
            memory_position = model.spatial_perceiver(torch.zeros_like(memory_position), memory_position)[1][0]
            cos, sin = (part.squeeze(0) for part in attention.rotary_emb(memory_position, attention.position_ids_k))
            plain = memory_position.shape[0] - cos.shape[0]
            cos = torch.cat([torch.ones_like(cos[:1]).expand(plain, -1), cos])
            sin = torch.cat([torch.zeros_like(sin[:1]).expand(plain, -1), sin])
        else:
            memory_position = memory_position.flatten(2).squeeze(0).T
            cos, sin = (part.squeeze(0) for part in attention.rotary_emb(memory_position, attention.position_ids))
        return MemoryAttention(
            attention,
            image_position=image_position.flatten(2).squeeze(0).T,
            memory_position=memory_position,
            temporal_table=model.memory_temporal_positional_encoding[:, 0, 0],
            key_rotation=(cos, sin),
            units_per_call=self._units_per_call,
        )

    # -- Backbone ----------------------------------------------------------------------------------------------------
    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        return resize_and_normalise(
            rgb, self.info.image_size, mean=self._mean, std=self._std, device=self.device, dtype=self.dtype
        )

    @unless_learning
    def encode_image(self, pixels: Tensor) -> HFImageFeatures:
        maps = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        images = [
            level.permute(1, 2, 0).reshape(level.shape[1], level.shape[2], *size)
            for level, size in zip(maps, self.sizes, strict=True)
        ]
        return HFImageFeatures(fine=images[:-1], top=images[-1])

    def join_features(self, parts: Sequence[HFImageFeatures]) -> HFImageFeatures:
        fine = [torch.cat(levels) for levels in zip(*(part.fine for part in parts), strict=True)]
        return HFImageFeatures(fine, torch.cat([part.top for part in parts]))

    def feature_bytes(self, features: HFImageFeatures) -> int:
        return sum(level.numel() * level.element_size() for level in [*features.fine, features.top])

    @unless_learning
    def condition(self, features: HFImageFeatures, reads: Sequence[UnitReads], views: Sequence[int]) -> Tensor:
        """``(B, C, g, g)``.

        Memories of another view are read as if it had been this one: a region that follows its object is to these weights
        what a moving camera is.
        """
        tokens = features.of(views).top.flatten(2).transpose(1, 2)
        if not any(unit.spatial for unit in reads):
            seen = (tokens + self.model.no_memory_embedding).expand(len(reads), -1, -1)
        else:
            seen = self._reader(tokens, reads, [self._pointer_tokens(unit.pointers) for unit in reads])
        return seen.transpose(1, 2).reshape(len(reads), -1, *self.grid)

    def _pointer_tokens(self, pointers: Sequence[PointerToken]) -> tuple[Tensor, Tensor, Tensor] | None:
        """Pointers cut into memory-sized tokens: tokens, position codes ``(n, 64)`` and key scales ``(n, 1)``."""
        if not pointers:
            return None
        model = self.model
        pieces = model.hidden_dim // model.mem_dim
        tokens = torch.cat([pointer.pointer for pointer in pointers]).reshape(-1, model.mem_dim)
        scales = torch.tensor([[p.key_scale] for p in pointers], device=self.device, dtype=tokens.dtype)
        if model.config.enable_temporal_pos_encoding_for_object_pointers:
            positions = torch.tensor([p.position for p in pointers], device=self.device, dtype=torch.float32)
            sine = sine_code(positions, model.hidden_dim).to(tokens.dtype)
            codes = model.temporal_positional_encoding_projection_layer(sine)
        else:
            codes = tokens.new_zeros(len(pointers), model.mem_dim)
        return tokens, codes.repeat_interleave(pieces, dim=0), scales.repeat_interleave(pieces, dim=0)

    def select_units(self, conditioned: Tensor, units: Sequence[int]) -> Tensor:
        return conditioned if list(units) == list(range(conditioned.shape[0])) else conditioned[list(units)]

    @unless_learning
    def decode(
        self,
        features: HFImageFeatures,
        conditioned: Tensor,
        prompts: PromptBatch | None,
        multimask: bool,
        views: Sequence[int],
    ) -> Decoded:
        batch = conditioned.shape[0]
        if prompts is None or prompts.points.shape[1] == 0:
            points = torch.zeros(batch, 1, 1, 2, device=self.device, dtype=self.dtype)
            labels = -torch.ones(batch, 1, 1, device=self.device, dtype=torch.int32)
        else:
            points = prompts.points[:, None].to(self.device, self.dtype)
            labels = prompts.labels[:, None].to(self.device, torch.int32)
        logits = None if prompts is None or prompts.logits is None else prompts.logits.to(self.device, self.dtype)
        return self._decode(features.of(views), conditioned, points, labels, logits, multimask)

    def _decode(
        self,
        features: HFImageFeatures,
        conditioned: Tensor,
        points: Tensor,
        labels: Tensor,
        dense: Tensor | None,
        multimask: bool,
    ) -> Decoded:
        model = self.model
        sparse, dense_codes = model.prompt_encoder(points, labels, None, dense)
        masks, ious, tokens, scores = model.mask_decoder(
            image_embeddings=conditioned,
            image_positional_embeddings=self._image_position_for_decoder,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense_codes,
            multimask_output=multimask,
            high_resolution_features=features.fine,
        )
        return Decoded(
            logits=masks[:, 0],
            ious=ious[:, 0],
            object_scores=scores.reshape(conditioned.shape[0]),
            pointers=model.object_pointer_proj(tokens[:, 0]),
        )

    @unless_learning
    def mask_prompt_pointer(
        self, features: HFImageFeatures, masks: Tensor, multimask: bool, views: Sequence[int]
    ) -> Tensor:
        features = features.of(views)
        model, batch = self.model, masks.shape[0]
        dense = model.mask_downsample(masks.to(self.device, self.dtype))
        size = model.prompt_encoder.mask_input_size
        if tuple(dense.shape[-2:]) != tuple(size):
            dense = F.interpolate(dense.float(), size=size, mode="bilinear", align_corners=False, antialias=True).to(
                dense.dtype
            )
        points = torch.zeros(batch, 1, 1, 2, device=self.device, dtype=self.dtype)
        labels = -torch.ones(batch, 1, 1, device=self.device, dtype=torch.int32)
        top = features.top.expand(batch, -1, -1, -1)
        decoded = self._decode(features, top, points, labels, dense, multimask)
        assert decoded.pointers is not None
        best = decoded.ious.argmax(dim=1)
        pointer = decoded.pointers[torch.arange(batch, device=self.device), best]
        seen = (decoded.object_scores > 0).to(pointer.dtype)[:, None]
        return seen * pointer + (1 - seen) * model.no_object_pointer

    @unless_learning
    def encode_memory(
        self,
        features: HFImageFeatures,
        mask_logits: Tensor,
        object_scores: Tensor,
        binarize: bool,
        views: Sequence[int],
    ) -> list[SpatialMemory]:
        features = features.of(views)
        model, size = self.model, self.info.image_size
        masks = mask_logits.to(self.device)
        encoder_size = 4 * self.info.mask_size
        if masks.shape[-1] not in (size, encoder_size):
            masks = F.interpolate(masks.float(), size=(size, size), mode="bilinear", align_corners=False).to(self.dtype)
        if masks.shape[-1] != encoder_size and self.info.family != "edgetam":
            masks = F.interpolate(
                masks.float(), size=(encoder_size,) * 2, mode="bilinear", align_corners=False, antialias=True
            ).to(self.dtype)
        masks = (masks > 0).to(self.dtype) if binarize else masks.to(self.dtype).sigmoid()
        masks = masks * model.config.sigmoid_scale_for_mem_enc + model.config.sigmoid_bias_for_mem_enc
        encoder = model.memory_encoder
        fused = encoder.feature_projection(features.top) + encoder.mask_downsampler(masks)
        memory = encoder.projection(encoder.memory_fuser(fused))
        absent = model.occlusion_spatial_embedding_parameter
        if absent is not None:
            gone = (object_scores <= 0).to(memory.dtype).to(self.device)
            memory = memory + gone[:, None, None, None] * absent[..., None, None]
        if self.info.family == "edgetam":
            # The perceiver's window step is written for one sample; it is 0.2 M parameters, so a loop costs little.
            return [
                SpatialMemory(model.spatial_perceiver(row[None], self._map_position)[0][0].to(self.dtype))
                for row in memory
            ]
        tokens = memory.to(torch.bfloat16).flatten(2).transpose(1, 2).contiguous()
        return [SpatialMemory(row.clone()) for row in tokens]

    def absent_pointer(self) -> Tensor:
        return self.model.no_object_pointer

    def pack_memory(self, memory: SpatialMemory) -> dict[str, Tensor]:
        return {"tokens": memory.tokens}

    def unpack_memory(self, tensors: dict[str, Tensor]) -> SpatialMemory:
        return SpatialMemory(tensors["tokens"].to(self.device))


def sine_code(positions: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Sine code ``(n, channels)`` of scalar positions ``(n,)`` (Vaswani et al. 2017, halves not interleaved)."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=positions.device)
    angles = positions[:, None] / temperature ** (2 * (steps // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
