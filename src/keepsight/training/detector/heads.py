"""The detector's head with what a loss needs: every layer of its decoder, and masks of chosen queries only.

transformers' ``Sam3Model`` answers with the last layer and a mask for every query. Its modules are called here one by one, in
its order; the last layer is the same as the model's own answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from keepsight.models.sam3.vision import Sam3Vision


@dataclass(frozen=True, eq=False)
class Layers:
    """What L layers of the decoder say about B pairs of picture and phrase.

    Attributes:
        logits: ``(L, B, Q)``, that a query is an object of the phrase, given that there is one.
        boxes: ``(L, B, Q, 4)``, centre and size as shares of the picture.
        presence: ``(L, B)``, logits that the phrase is in the picture at all.
        queries: ``(B, Q, C)`` after the last layer; what masks are made from.
    """

    logits: Tensor
    boxes: Tensor
    presence: Tensor
    queries: Tensor

    def at(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, boxes and presence of one layer."""
        return self.logits[layer], self.boxes[layer], self.presence[layer]


class Head:
    """One batch of pairs in front of the head.

    Args:
        detector: a ``Sam3Model``.
        vision: of the B pictures, see :class:`~keepsight.models.sam3.vision.Sam3Vision`.
        text: ``(B, n, C)`` text features.
        counts: bool ``(B, n)``, which of them are words.
    """

    def __init__(self, detector: nn.Module, vision: Sam3Vision, text: Tensor, counts: Tensor) -> None:
        self.detector = cast(Any, detector)
        self.text, self.counts = text, counts
        # The coarsest level is not used, in the model either.
        self.levels, positions = vision.fpn_hidden_states[:-1], vision.fpn_position_encoding[:-1]
        self.encoded = self.detector.detr_encoder(
            vision_features=[self.levels[-1]],
            text_features=text,
            vision_pos_embeds=[positions[-1]],
            text_mask=counts,
        )

    def decode(self, *, together: bool = True) -> Layers:
        """Runs the decoder.

        Args:
            together: queries see each other, and one of them takes an object. Without, each looks for itself and several find
                the same one: what one-to-many matching teaches (Hu et al., DAC-DETR, NeurIPS 2023, section 3.2).
        """
        detector, encoded = self.detector, self.encoded
        with nullcontext() if together else _each_for_itself(detector.detr_decoder):
            decoded = detector.detr_decoder(
                vision_features=encoded.last_hidden_state,
                text_features=encoded.text_features,
                vision_pos_encoding=encoded.pos_embeds_flattened,
                text_mask=self.counts,
                spatial_shapes=encoded.spatial_shapes,
            )
        hidden = decoded.intermediate_hidden_states
        moved = detector.detr_decoder.box_head(hidden).float() + _logit(decoded.reference_boxes.float())
        logits = detector.dot_product_scoring(
            decoder_hidden_states=hidden, text_features=encoded.text_features, text_mask=self.counts
        )
        return Layers(
            logits.squeeze(-1).float(), moved.sigmoid(), decoded.presence_logits.squeeze(-1).float(), hidden[-1]
        )

    def masks(self, queries: Tensor) -> Tensor:
        """Mask logits ``(B, K, h, w)`` of queries ``(B, K, C)``: what is not asked for is not computed."""
        made = self.detector.mask_decoder(
            decoder_queries=queries,
            backbone_features=list(self.levels),
            encoder_hidden_states=self.encoded.last_hidden_state,
            prompt_features=self.text,
            prompt_mask=self.counts,
        )
        return cast(Tensor, made.pred_masks)


def _logit(share: Tensor) -> Tensor:
    """Inverse of the sigmoid, as far from 0 and 1 as transformers keeps it."""
    share = share.clamp(0, 1)
    return torch.log(share.clamp(min=1e-3) / (1 - share).clamp(min=1e-3))


class _Silent(nn.Module):
    """Attention that hears nothing."""

    def forward(self, query: Tensor, **_: Any) -> tuple[Tensor, None]:
        return torch.zeros_like(query), None


@contextmanager
def _each_for_itself(decoder: nn.Module) -> Iterator[None]:
    layers = list(cast(Any, decoder).layers)
    attentions = [layer.self_attn for layer in layers]
    try:
        for layer in layers:
            layer.self_attn = _Silent()
        yield
    finally:
        for layer, attention in zip(layers, attentions, strict=True):
            layer.self_attn = attention
