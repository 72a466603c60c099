"""The whole of SAM 3 behind the backbone's interface: one pass of the image encoder serves tracker and detector.

Both read the same patch features, each through a neck of its own. The tracker's part is what
:class:`~keepsight.models.sam2.hf_video.HFVideoBackbone` adapts; the detector's part is offered beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from keepsight.models.sam2.hf_video import HFImageFeatures, HFVideoBackbone, _ConstantPositions


@dataclass(eq=False)
class Sam3ImageFeatures(HFImageFeatures):
    """The tracker's features of V views, and the patch features ``(V, g * g, C)`` that the detector's neck reads."""

    patches: Tensor


@dataclass(frozen=True, eq=False)
class Sam3Vision:
    """One frame as the detector's head takes it (transformers' ``Sam3VisionEncoderOutput``, as far as that is read)."""

    last_hidden_state: Tensor
    fpn_hidden_states: tuple[Tensor, ...]
    fpn_position_encoding: tuple[Tensor, ...]
    hidden_states: None = None
    attentions: None = None

    def expand(self, batch: int) -> Sam3Vision:
        """The same frame for a batch of questions; nothing is copied."""

        def wide(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(level.expand(batch, *level.shape[1:]) for level in levels)

        hidden = self.last_hidden_state.expand(batch, -1, -1)
        return Sam3Vision(hidden, wide(self.fpn_hidden_states), wide(self.fpn_position_encoding))


class Sam3Backbone(HFVideoBackbone):
    """Adapter over a loaded ``Sam3VideoModel``.

    Args:
        whole: the transformers model, in evaluation mode, on its device and in its dtype.
        name: what to call it.
        folder: where its words are (the tokenizer), when they are needed.
        settings: see :class:`~keepsight.models.sam2.hf_video.HFVideoBackbone`.
    """

    def __init__(self, whole: nn.Module, name: str = "custom", *, folder: Path | None = None, **settings: Any) -> None:
        self.whole = cast(Any, whole.eval())
        self.folder = folder
        self.detector = self.whole.detector_model
        super().__init__(self.whole.tracker_model, name, **settings)

    def _cache_positions(self) -> None:
        for neck in (self.whole.tracker_neck, self.detector.vision_encoder.neck):
            if not isinstance(neck.position_encoding, _ConstantPositions):
                neck.position_encoding = _ConstantPositions(neck.position_encoding)
        self._image_sine = cast(Any, self.whole.tracker_neck.position_encoding)

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> Sam3ImageFeatures:
        patches = self.detector.vision_encoder.backbone(pixels).last_hidden_state
        # The last level is the detector's alone.
        levels = list(self.whole.tracker_neck(self._as_map(patches))[0][:-1])
        heads = self.model.mask_decoder
        levels[0], levels[1] = heads.conv_s0(levels[0]), heads.conv_s1(levels[1])
        return Sam3ImageFeatures(fine=levels[:-1], top=levels[-1], patches=patches)

    def _as_map(self, patches: Tensor) -> Tensor:
        return patches.transpose(1, 2).reshape(len(patches), -1, *self.grid)

    @torch.inference_mode()
    def vision(self, features: Sam3ImageFeatures, view: int) -> Sam3Vision:
        """One view of a frame through the detector's neck."""
        patches = features.patches[view : view + 1]
        levels, positions = self.detector.vision_encoder.neck(self._as_map(patches))
        return Sam3Vision(patches, tuple(levels), tuple(positions))

    def join_features(self, parts: Sequence[HFImageFeatures]) -> Sam3ImageFeatures:
        joined = super().join_features(parts)
        patches = [part.patches for part in parts if isinstance(part, Sam3ImageFeatures)]
        return Sam3ImageFeatures(joined.fine, joined.top, torch.cat(patches))

    def feature_bytes(self, features: HFImageFeatures) -> int:
        patches = features.patches if isinstance(features, Sam3ImageFeatures) else features.top[:0]
        return super().feature_bytes(features) + patches.numel() * patches.element_size()
