"""The built-in network: EfficientNet-Lite0, affinity memory, SAM 2 prompt encoder and mask decoder, 256 px.

Of `transformers` it uses the prompt encoder and the mask decoder classes of SAM 2 Video with a small configuration. The
memory is label propagation (`affinity.py`) in place of SAM 2's memory attention: correspondence comes from features
that were pretrained on ImageNet, so it need not be learned from little data. No state is kept on the module.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoPromptEncoder

from keepsight.models.builtin.affinity import (
    PRIOR_CHANNELS,
    READ_CHANNELS,
    AffinityMemory,
    Spread,
    serial,
    with_flow,
)
from keepsight.models.builtin.decoder import MaskDecoder, PriorEmbedding
from keepsight.models.builtin.efficientnet import TAP_CHANNELS, EfficientNetLite0, Taps
from keepsight.models.builtin.passes import HIDDEN, IMAGE_SIZE, KEY_CHANNELS, Decoded, Features
from keepsight.models.builtin.prompt_maps import MAP_CHANNELS, PromptMaps, render_prompts


class _Depthwise(nn.Module):
    """Residual depth-wise separable 3x3: smooths a summed pyramid level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.relu(self.depthwise(x)))


class Neck(nn.Module):
    """Feature pyramid over the standardised taps, the decoder's high-resolution maps, and the affinity keys."""

    def __init__(self) -> None:
        super().__init__()
        for name, c in zip(("s4", "s8", "s16", "s32"), TAP_CHANNELS, strict=True):
            self.register_buffer(f"mean_{name}", torch.zeros(c))
            self.register_buffer(f"scale_{name}", torch.ones(c))
        self.lateral8 = nn.Conv2d(TAP_CHANNELS[1], HIDDEN, 1)
        self.lateral16 = nn.Conv2d(TAP_CHANNELS[2], HIDDEN, 1)
        self.lateral32 = nn.Conv2d(TAP_CHANNELS[3], HIDDEN, 1)
        self.smooth8 = _Depthwise(HIDDEN)
        self.smooth16 = _Depthwise(HIDDEN)
        self.smooth32 = _Depthwise(HIDDEN)
        # SAM 2 would build a 128-channel stride-4 level and shrink it to 16 at once; by linearity 16 are enough.
        self.high4_tap = nn.Conv2d(TAP_CHANNELS[0], HIDDEN // 8, 3, 1, 1)
        self.high4_up = nn.Conv2d(HIDDEN, HIDDEN // 8, 1)
        self.high8 = nn.Conv2d(HIDDEN, HIDDEN // 4, 1)
        self.key = nn.Conv2d(sum(TAP_CHANNELS[:3]), KEY_CHANNELS, 1)

    def standardise(self, taps: Taps) -> Taps:
        """Taps with each channel at mean 0 and deviation 1 over the training images."""

        def norm(x: Tensor, name: str) -> Tensor:
            mean, scale = getattr(self, f"mean_{name}"), getattr(self, f"scale_{name}")
            return (x - mean[:, None, None]) * scale[:, None, None]

        return Taps(norm(taps.s4, "s4"), norm(taps.s8, "s8"), norm(taps.s16, "s16"), norm(taps.s32, "s32"))

    def key_input(self, t: Taps) -> Tensor:
        """Standardised taps -> (N, 176, S/8, S/8), what the key projection sees."""
        coarse = F.interpolate(t.s16, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.cat((0.5 * F.avg_pool2d(t.s4, 2), t.s8, coarse), 1)

    def forward(self, taps: Taps) -> Features:
        t = self.standardise(taps)
        p32 = self.smooth32(self.lateral32(t.s32))
        p16 = self.smooth16(self.lateral16(t.s16) + F.interpolate(p32, scale_factor=2.0))
        p8 = self.smooth8(self.lateral8(t.s8) + F.interpolate(p16, scale_factor=2.0))
        s4 = self.high4_tap(t.s4) + F.interpolate(self.high4_up(p8), scale_factor=2.0)
        keys = F.normalize(self.key(self.key_input(t)), dim=1)
        return Features(s4, self.high8(p8), p16, keys)


class BuiltinNetwork(nn.Module):
    """Encode a frame once, propagate masks of remembered frames, decode candidates for every object."""

    def __init__(self, image_size: int = IMAGE_SIZE) -> None:
        super().__init__()
        self.image_size = image_size
        self.backbone = EfficientNetLite0()
        self.neck = Neck()
        self.affinity = AffinityMemory()
        prompt_config = Sam2VideoPromptEncoderConfig(hidden_size=HIDDEN, image_size=image_size, patch_size=16)
        decoder_config = Sam2VideoMaskDecoderConfig(
            hidden_size=HIDDEN,
            mlp_dim=256,
            num_attention_heads=4,
            iou_head_hidden_dim=HIDDEN,
            dynamic_multimask_via_stability=False,
        )
        # Attention over a handful of tokens: the plain product is faster than fused kernels on a CPU, and its backward
        # much faster.
        decoder_config._attn_implementation = "eager"
        self.prompt_encoder = Sam2VideoPromptEncoder(prompt_config)
        self.prompt_maps = PromptMaps(HIDDEN)
        self.prior_embedding = PriorEmbedding(PRIOR_CHANNELS, HIDDEN)
        self.logits_detail = nn.Conv2d(1, HIDDEN // 8, 1)
        self.no_prior = nn.Parameter(torch.zeros(HIDDEN))
        self.decoder = MaskDecoder(decoder_config)
        self._initialise()

    @property
    def device(self) -> torch.device:
        return self.no_prior.device

    @property
    def dtype(self) -> torch.dtype:
        return self.no_prior.dtype

    def encode_image(self, pixels: Tensor) -> Features:
        """Pixels (N, 3, S, S) RGB 0..255 -> `Features`, shared by every object of the frame."""
        return self.neck(self.backbone(pixels))

    def propagate(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        conditioning: Tensor,
        token_keep: Tensor | None = None,
        key_scale: Tensor | None = None,
        placement: Tensor | None = None,
        spread: Spread = serial,
    ) -> Tensor:
        """Prior (G, K, 5, S/4, S/4) of K objects from F remembered frames; see `AffinityMemory.forward`.

        `affinity.with_flow` adds the sixth channel, before `affinity.gate_prior` if that is used.
        """
        return self.affinity(query, keys, values, conditioning, token_keep, key_scale, placement, spread)

    def decode(
        self,
        features: Features,
        points: Tensor,
        labels: Tensor,
        prior: Tensor | None = None,
        logits: Tensor | None = None,
        multimask: bool = True,
    ) -> Decoded:
        """Mask candidates of B units.

        Args:
            features: of one frame (N = 1, shared) or one per unit (N = B).
            points: (B, P, 2) px of the model input; P may be 0.
            labels: (B, P) 1 / 0 / 2 / 3 / -1 as in SAM 2 (2 and 3: corners of a box; -1: padding).
            prior: (B, 6, S/4, S/4) from `propagate` and `with_flow`, (B, 5, S/4, S/4) where there is no flow, or None
                for a frame without memory.
            logits: (B, 1, S/4, S/4) previous mask logits of the same frame to correct, or None.
            multimask: three candidates instead of the single one.

        Returns:
            `Decoded` with M = 3 or 1 candidates.
        """
        return self.decode_all(features, points, labels, prior, logits).offered(multimask)

    def decode_all(
        self, features: Features, points: Tensor, labels: Tensor, prior: Tensor | None, logits: Tensor | None
    ) -> Decoded:
        """See `Passes.decode_all`."""
        sparse, dense = self.prompt_encoder(points[:, None], labels[:, None], None, logits)
        maps = render_prompts(points, labels, features.keys, self.image_size)
        return self._decode_said(features, sparse[:, 0], dense + self.prompt_maps(maps), prior, logits)

    def follow_all(self, features: Features, prior: Tensor) -> Decoded:
        """See `Passes.follow_all`."""
        b, cells = prior.shape[0], self.image_size // 8
        labels = torch.full((b, 1), -1, device=prior.device)
        sparse, dense = self.prompt_encoder(prior.new_zeros(b, 1, 1, 2), labels[:, None], None, None)
        empty = self.prompt_maps(prior.new_zeros(1, MAP_CHANNELS, cells, cells))
        return self._decode_said(features, sparse[:, 0], dense + empty, prior, None)

    def _decode_said(
        self, features: Features, sparse: Tensor, dense: Tensor, prior: Tensor | None, logits: Tensor | None
    ) -> Decoded:
        """Decodes what was said of B units, as tokens (B, P, hidden) and as maps (B, hidden, S/16, S/16)."""
        b = sparse.shape[0]
        s4 = features.s4.expand(b, -1, -1, -1)
        if prior is None:
            dense = dense + self.no_prior[:, None, None]
        else:
            embedded, detail = self.prior_embedding(with_flow(prior) if prior.shape[1] == READ_CHANNELS else prior)
            dense, s4 = dense + embedded, s4 + detail
        if logits is not None:
            s4 = s4 + self.logits_detail(torch.tanh(logits / 4))
        return Decoded(
            *self.decoder(
                features.s16.expand(b, -1, -1, -1) + dense,
                self._image_positions(features.s16),
                sparse,
                features.s8.expand(b, -1, -1, -1),
                s4,
            )
        )

    def _image_positions(self, like: Tensor) -> Tensor:
        """Positional code of the stride-16 grid, (1, h*w, hidden)."""
        h, w = like.shape[-2:]
        y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
        x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        return self.prompt_encoder.shared_embedding(grid).reshape(1, h * w, -1)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Starts the new layers at a scale at which a short training gets going (the classes' own 0.02 is too small)."""
        for module in (self.neck, self.prompt_maps, self.prior_embedding, self.prompt_encoder, self.decoder):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
                elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
                elif isinstance(layer, nn.Embedding):
                    nn.init.normal_(layer.weight, std=0.5)
        nn.init.zeros_(self.prompt_encoder.no_mask_embed.weight)
        for attention in self.decoder.cross_attentions():
            # Queries and keys start with the same projection: attention begins as a match of positions.
            query, key = attention.get_submodule("q_proj"), attention.get_submodule("k_proj")
            assert isinstance(query, nn.Linear)
            assert isinstance(key, nn.Linear)
            nn.init.orthogonal_(query.weight, gain=math.sqrt(2))
            key.weight.copy_(query.weight)
