"""Mask decoder: SAM 2's modules, called so that all candidates come out of one pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMaskDecoder


class PriorEmbedding(nn.Module):
    """Propagated prior -> dense embedding at stride 16, and detail at stride 4 for the upscaled mask features."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 2, 2)
        self.conv2 = nn.Conv2d(16, 64, 2, 2)
        self.conv3 = nn.Conv2d(64, hidden, 1)
        self.detail = nn.Conv2d(channels, hidden // 8, 3, 1, 1)

    def forward(self, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Prior (B, channels, S/4, S/4) -> (B, hidden, S/16, S/16), (B, hidden/8, S/4, S/4)."""
        x = F.relu(self.conv2(F.relu(self.conv1(prior))))
        return self.conv3(x), self.detail(prior)


class MaskDecoder(Sam2VideoMaskDecoder):
    """SAM 2's two-way mask decoder with ReLU upscaling.

    The base class picks candidates inside its forward pass; training wants all of them, and the picking belongs to the
    caller. Its `conv_s0` and `conv_s1` run once per frame in the neck instead.
    """

    def __init__(self, config: Sam2VideoMaskDecoderConfig) -> None:
        super().__init__(config)
        del self.conv_s0, self.conv_s1
        self.activation = nn.ReLU()

    def cross_attentions(self) -> Iterator[nn.Module]:
        """The attention layers between tokens and image."""
        for layer in self.transformer.layers:
            yield layer.cross_attn_token_to_image
            yield layer.cross_attn_image_to_token
        yield self.transformer.final_attn_token_to_image

    def forward(  # type: ignore[override]
        self, image: Tensor, positions: Tensor, sparse: Tensor, s8: Tensor, s4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decodes all four masks.

        Args:
            image: (B, C, h, w) image embedding with the dense prompt embedding added.
            positions: (1, h*w, C) positional code of the image tokens.
            sparse: (B, P, C) prompt tokens.
            s8: (B, C/4, 2h, 2w), s4: (B, C/8, 4h, 4w): high-resolution features.

        Returns:
            Logits (B, 4, 4h, 4w), predicted IoU (B, 4) in [0, 1], presence logit (B,).
        """
        b, _, h, w = image.shape
        tokens = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((tokens[None].expand(b, -1, -1), sparse), 1)
        keys = image.flatten(2).transpose(1, 2)
        # The layers carry a second batch axis for several prompts per image; here it is always 1.
        hs, x = self._two_way(tokens[:, None], keys[:, None], positions[:, None])
        hs, x = hs[:, 0], x[:, 0].transpose(1, 2).reshape(b, -1, h, w)
        x = self.activation(self.upscale_layer_norm(self.upscale_conv1(x) + s8))
        x = self.activation(self.upscale_conv2(x) + s4)
        hyper = torch.stack([mlp(hs[:, 2 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        logits = (hyper @ x.flatten(2)).unflatten(-1, x.shape[-2:])
        return logits, self.iou_prediction_head(hs[:, 1]), self.pred_obj_score_head(hs[:, 0])[:, 0]

    def _two_way(self, tokens: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        t = self.transformer
        queries = tokens
        for layer in t.layers:
            queries, keys, _ = layer(
                queries=queries,
                keys=keys,
                query_point_embedding=tokens,
                key_point_embedding=positions,
                attention_similarity=None,
            )
        attended, _ = t.final_attn_token_to_image(query=queries + tokens, key=keys + positions, value=keys)
        return t.layer_norm_final_attn(queries + attended), keys
