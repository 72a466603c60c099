"""Memory attention over ragged memories, batched where the device gains by it.

The weights are those of the transformers module (SAM 2, SAM 3's tracker and EdgeTAM share the layer; EdgeTAM compresses a
frame into latents of which only the second half carries a position). The computation is arranged anew, with the same
result:

* What does not depend on the object is done once a frame: the first layer up to its cross-attention query.
* A memory's keys are projected and rotated once, when it is first read, not on every frame; projection and rotation are
  linear, so slot code, position and key scale are added afterwards from a table made once a model.
* Values are 64 numbers a token and are weighted *before* they are projected to the hidden size: with one attention head
  ``softmax(qk) (M W) = (softmax(qk) M) W``, a quarter of the multiplications of that product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepsight.models.backbone import UnitReads

KEY_CACHE_LIMIT_BYTES = 12 * 2**20
"""Keys of one record are kept between frames only below this size; above it attention itself dwarfs the projection."""

CPU_SCORE_BLOCK = 4 * 2**20
"""Scores of a block of query rows on a CPU, in numbers: about the last-level cache (best of 64 to 512 rows, measured at
7,232 and 28,736 keys)."""


CPU_KEY_TILE = 2048
"""Keys of a tile where there are more than four of them: 256 rows of its scores stay in the cache while they are
exponentiated and weighted (at 28,736 keys 16 % faster than whole rows, one thread)."""


@dataclass(eq=False)
class SpatialMemory:
    """Spatial memory of one unit on one frame.

    Attributes:
        tokens: ``(L, 64)``; bf16 for SAM 2 and SAM 3 as the references round it.
        keys: rotated key projections ``(L, C)`` a layer, made when first read.
    """

    tokens: Tensor
    keys: list[Tensor] | None = field(default=None, repr=False)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Axial rotary embedding on pairs of channels; ``x`` ``(..., L, C)``, ``cos``/``sin`` ``(L, C)``."""
    x32 = x.float()
    pairs = x32.unflatten(-1, (-1, 2))
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return (x32 * cos + turned * sin).to(x.dtype)


class MemoryAttention:
    """Reads memories into image features.

    Args:
        module: the transformers memory-attention module.
        image_position: ``(HW, C)`` sine position code of the image tokens.
        memory_position: ``(L, 64)`` position code of one record's tokens.
        temporal_table: ``(slots, 64)`` learned slot codes.
        key_rotation: ``(cos, sin)`` ``(L, C)`` of one record's tokens.
        units_per_call: units attended together; 1 on a CPU, where a batch only leaves the cache.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        image_position: Tensor,
        memory_position: Tensor,
        temporal_table: Tensor,
        key_rotation: tuple[Tensor, Tensor],
        units_per_call: int,
    ) -> None:
        self.module = cast(Any, module)
        self.layers: list[Any] = list(self.module.layers)
        self.units_per_call = units_per_call
        self.image_position = 0.1 * image_position
        cos, sin = self.module.rotary_emb(image_position, self.module.position_ids)
        self.query_rotation = (cos.squeeze(0), sin.squeeze(0))
        self.key_rotation = key_rotation
        heads = {layer.cross_attn_image.num_attention_heads for layer in self.layers}
        if heads != {1}:
            raise ValueError("memory attention with several heads is not supported")
        # Key bias of a record in a slot: rotation is linear, so code and position can be added after it.
        self._slot_keys: list[list[Tensor]] = []
        self._bias_keys: list[Tensor] = []
        self._value_out: list[tuple[Tensor, Tensor]] = []
        length = memory_position.shape[0]
        for layer in self.layers:
            cross = layer.cross_attn_image
            weight, bias = cross.k_proj.weight, cross.k_proj.bias
            codes = memory_position[None] + temporal_table[:, None].to(memory_position.dtype)
            self._slot_keys.append(list(rotate(F.linear(codes, weight), *key_rotation)))
            self._bias_keys.append(rotate(bias.expand(length, -1), *key_rotation))
            out = cross.o_proj.weight @ cross.v_proj.weight
            out_bias = cross.o_proj.weight @ cross.v_proj.bias + cross.o_proj.bias
            self._value_out.append((out, out_bias))

    def __call__(
        self, image: Tensor, reads: Sequence[UnitReads], pointer_tokens: Sequence[tuple[Tensor, Tensor, Tensor] | None]
    ) -> Tensor:
        """Conditions image tokens on each unit's memory.

        Args:
            image: ``(1, HW, C)`` when all units see the same view, else ``(B, HW, C)``.
            reads: one a unit, each with at least one spatial read.
            pointer_tokens: per unit ``(tokens (n, 64), codes (n, 64), scales (n, 1))`` or ``None``.

        Returns:
            ``(B, HW, C)``.
        """
        self._project_keys(reads)
        hidden = image + self.image_position
        first = self.layers[0]
        hidden = hidden + self._self_attention(first, hidden)
        query = self._cross_query(first, hidden)
        output = image.new_empty((len(reads), *image.shape[1:]))
        for units in self._batches(reads, pointer_tokens):
            values = self._values(units, reads, pointer_tokens, image.dtype)
            bias = self._token_bias(units, reads, pointer_tokens, image)
            state, state_query = (hidden, query) if len(hidden) == 1 else (hidden[units], query[units])
            for index, layer in enumerate(self.layers):
                if index:
                    state = state + self._self_attention(layer, state)
                    state_query = self._cross_query(layer, state)
                keys = self._keys(index, units, reads, pointer_tokens, image.dtype)
                attended = attend(state_query.expand(len(units), -1, -1), keys, values, bias)
                state = state + F.linear(attended, *self._value_out[index])
                state = state + _feed_forward(layer, layer.layer_norm3(state))
            output[units] = self.module.layer_norm(state).to(output.dtype)
        return output

    # -- the parts of a layer ----------------------------------------------------------------------------------------
    def _self_attention(self, layer: Any, hidden: Tensor) -> Tensor:
        attention = layer.self_attn
        normed = layer.layer_norm1(hidden)
        heads = attention.num_attention_heads
        query, key, value = (
            projection(normed).unflatten(-1, (heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = rotate(query, *self.query_rotation), rotate(key, *self.query_rotation)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return attention.o_proj(mixed.transpose(1, 2).flatten(-2))

    def _cross_query(self, layer: Any, hidden: Tensor) -> Tensor:
        attention = layer.cross_attn_image
        query = attention.q_proj(layer.layer_norm2(hidden))
        return rotate(query, *self.query_rotation) * attention.scaling

    # -- keys and values ---------------------------------------------------------------------------------------------
    def _project_keys(self, reads: Sequence[UnitReads]) -> None:
        """Projects and rotates, in one batch, the memories that are read for the first time."""
        fresh = {id(read.memory): read.memory for unit in reads for read in unit.spatial if read.memory.keys is None}
        if not fresh or not self._cache_keys(next(iter(fresh.values()))):
            return
        memories = list(fresh.values())
        tokens = torch.stack([memory.tokens for memory in memories])
        layers = [self._rotated(tokens, layer) for layer in self.layers]
        for position, memory in enumerate(memories):
            memory.keys = [layer[position] for layer in layers]

    def _cache_keys(self, memory: SpatialMemory) -> bool:
        weight = self.layers[0].cross_attn_image.k_proj.weight
        size = len(self.layers) * memory.tokens.shape[0] * weight.shape[0] * weight.element_size()
        return size <= KEY_CACHE_LIMIT_BYTES

    def _rotated(self, tokens: Tensor, layer: Any) -> Tensor:
        weight = layer.cross_attn_image.k_proj.weight
        return rotate(F.linear(tokens.to(weight.dtype), weight), *self.key_rotation)

    def _keys(
        self,
        index: int,
        units: Sequence[int],
        reads: Sequence[UnitReads],
        pointer_tokens: Sequence[tuple[Tensor, Tensor, Tensor] | None],
        dtype: torch.dtype,
    ) -> Tensor:
        """Keys ``(b, N, C)`` of one layer: every record's tokens, then every pointer's."""
        layer = self.layers[index]
        rows = []
        for unit in units:
            parts = []
            for read in reads[unit].spatial:
                memory: SpatialMemory = read.memory
                own = memory.keys[index] if memory.keys is not None else self._rotated(memory.tokens, layer)
                key = own + self._slot_keys[index][read.slot_code]
                if read.key_scale != 1.0:
                    key = key * read.key_scale
                parts.append(key + self._bias_keys[index])
            pointers = pointer_tokens[unit]
            if pointers is not None:
                tokens, codes, scales = pointers
                parts.append(layer.cross_attn_image.k_proj(((tokens + codes) * scales).to(dtype)))
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def _values(
        self,
        units: Sequence[int],
        reads: Sequence[UnitReads],
        pointer_tokens: Sequence[tuple[Tensor, Tensor, Tensor] | None],
        dtype: torch.dtype,
    ) -> Tensor:
        """Values ``(b, N, 64)``, the same for all layers."""
        rows = []
        for unit in units:
            parts = [read.memory.tokens.to(dtype) for read in reads[unit].spatial]
            pointers = pointer_tokens[unit]
            if pointers is not None:
                parts.append(pointers[0].to(dtype))
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def _token_bias(
        self,
        units: Sequence[int],
        reads: Sequence[UnitReads],
        pointer_tokens: Sequence[tuple[Tensor, Tensor, Tensor] | None],
        image: Tensor,
    ) -> Tensor | None:
        """Additive key mask ``(b, 1, N)``, ``None`` when every token may be attended."""
        if all(read.token_keep is None for unit in units for read in reads[unit].spatial):
            return None
        rows = []
        for unit in units:
            parts = []
            for read in reads[unit].spatial:
                keep = torch.ones(read.memory.tokens.shape[0], dtype=torch.bool, device=image.device)
                if read.token_keep is not None:
                    keep = self._keep_tokens(torch.from_numpy(read.token_keep).to(image.device), keep.shape[0])
                parts.append(keep)
            pointers = pointer_tokens[unit]
            if pointers is not None:
                parts.append(torch.ones(pointers[0].shape[0], dtype=torch.bool, device=image.device))
            rows.append(torch.cat(parts))
        keep = torch.stack(rows)[:, None]
        return torch.zeros(keep.shape, dtype=image.dtype, device=image.device).masked_fill(~keep, float("-inf"))

    def _keep_tokens(self, keep: Tensor, length: int) -> Tensor:
        """A keep map over the image grid as one over a record's tokens.

        EdgeTAM's latents without a position stand for the whole frame and are always kept; those with one keep a cell of
        a coarser grid when any of its positions is kept.
        """
        if keep.numel() == length:
            return keep.flatten()
        cells = int((self.module.position_ids_k.shape[0]) ** 0.5)
        coarse = F.adaptive_max_pool2d(keep[None, None].float(), cells).flatten() > 0
        return torch.cat([torch.ones(length - coarse.numel(), dtype=torch.bool, device=keep.device), coarse])

    def _batches(
        self, reads: Sequence[UnitReads], pointer_tokens: Sequence[tuple[Tensor, Tensor, Tensor] | None]
    ) -> list[list[int]]:
        """Units that may share a call: the same number of records and pointers, at most ``units_per_call``."""
        buckets: dict[tuple[int, int], list[int]] = {}
        for unit, read in enumerate(reads):
            pointers = pointer_tokens[unit]
            buckets.setdefault((len(read.spatial), 0 if pointers is None else pointers[0].shape[0]), []).append(unit)
        size = self.units_per_call
        return [bucket[i : i + size] for bucket in buckets.values() for i in range(0, len(bucket), size)]


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of scaled queries ``(b, HW, C)`` over keys ``(b, N, C)`` and short values ``(b, N, 64)``."""
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in (query, keys, values))
    if query.device.type != "cpu" or learning or torch.is_autocast_enabled("cpu"):
        mixed = F.scaled_dot_product_attention(
            query[:, None],
            keys[:, None],
            values[:, None],
            attn_mask=None if bias is None else bias[:, None],
            scale=1.0,
        )
        return mixed[:, 0]
    if keys.shape[1] > 4 * CPU_KEY_TILE and bias is None and keys.dtype == torch.float32:
        return _attend_in_tiles(query, keys, values)
    units, length = query.shape[0], query.shape[1]
    output = query.new_empty((units, length, values.shape[2]))
    block = min(max(CPU_SCORE_BLOCK // (units * keys.shape[1]), 128), 512, length)
    # One buffer for all blocks: fresh pages for every block cost as much as the softmax itself.
    buffer = query.new_empty((units, block, keys.shape[1]))
    transposed = keys.transpose(1, 2)
    for start in range(0, length, block):
        rows = slice(start, min(start + block, length))
        scores = buffer[:, : rows.stop - start]
        torch.matmul(query[:, rows], transposed, out=scores)
        if bias is not None:
            scores += bias
        torch.softmax(scores, -1, out=scores)
        torch.matmul(scores, values, out=output[:, rows])
    return output


def _attend_in_tiles(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """:func:`attend` with the softmax built up over tiles of keys (Milakov and Gimelshein, 2018); in float32."""
    output = query.new_empty((*query.shape[:2], values.shape[2]))
    for start in range(0, query.shape[1], 256):
        rows = query[:, start : start + 256]
        highest = rows.new_full((*rows.shape[:2], 1), float("-inf"))
        total = torch.zeros_like(highest)
        mixed = rows.new_zeros((*rows.shape[:2], values.shape[2]))
        for k, v in zip(keys.split(CPU_KEY_TILE, 1), values.split(CPU_KEY_TILE, 1), strict=True):
            scores = rows @ k.transpose(1, 2)
            higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
            shrink = (highest - higher).exp_()
            scores.sub_(higher).exp_()
            total = total * shrink + scores.sum(-1, keepdim=True)
            mixed = torch.baddbmm(mixed * shrink, scores, v)
            highest = higher
        output[:, start : start + 256] = mixed / total
    return output


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    if hasattr(layer, "mlp"):
        return layer.mlp(x)
    return layer.linear2(layer.activation(layer.linear1(x)))
