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
from keepsight.models.sam3.vision import Sam3Vision, as_map, vision_of


@dataclass(eq=False)
class Sam3ImageFeatures(HFImageFeatures):
    """The tracker's features of V views, and the patch features ``(V, g * g, C)`` that the detector's neck reads."""

    patches: Tensor


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
        levels = list(self.whole.tracker_neck(as_map(patches))[0][:-1])
        heads = self.model.mask_decoder
        levels[0], levels[1] = heads.conv_s0(levels[0]), heads.conv_s1(levels[1])
        return Sam3ImageFeatures(fine=levels[:-1], top=levels[-1], patches=patches)

    @torch.inference_mode()
    def vision(self, features: Sam3ImageFeatures, view: int) -> Sam3Vision:
        """One view of a frame through the detector's neck."""
        return vision_of(self.detector, features.patches[view : view + 1])

    def join_features(self, parts: Sequence[HFImageFeatures]) -> Sam3ImageFeatures:
        joined = super().join_features(parts)
        patches = [part.patches for part in parts if isinstance(part, Sam3ImageFeatures)]
        return Sam3ImageFeatures(joined.fine, joined.top, torch.cat(patches))

    def feature_bytes(self, features: HFImageFeatures) -> int:
        patches = features.patches if isinstance(features, Sam3ImageFeatures) else features.top[:0]
        return super().feature_bytes(features) + patches.numel() * patches.element_size()
