"""SAM 3's detector by itself, for use beside a tracker of another kind: no tracker is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keepsight.models.preprocess import resize_and_normalise
from keepsight.models.sam2.hf_video import HALF
from keepsight.models.sam3.vision import Sam3Vision, vision_of


class Sam3Eyes:
    """Image encoder and head of SAM 3's detector.

    Args:
        detector: a ``Sam3Model`` in evaluation mode, on its device and in its dtype.
        name: what to call it.
        folder: where its words are (the tokenizer).
    """

    def __init__(self, detector: nn.Module, name: str = "custom", *, folder: Path | None = None) -> None:
        self.detector = cast(Any, detector.eval())
        self.name, self.folder = name, folder
        parameter = next(detector.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype

    @property
    def image_size(self) -> int:
        """Side in px of what the encoder sees."""
        size = self.detector.config.vision_config.image_size
        return int(size if isinstance(size, int) else size[0])

    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        """uint8 ``(H, W, 3)`` to the model's input."""
        mean, std = HALF
        return resize_and_normalise(rgb, self.image_size, mean=mean, std=std, device=self.device, dtype=self.dtype)

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Patch features ``(N, g * g, C)``."""
        return cast(Tensor, self.detector.vision_encoder.backbone(pixels).last_hidden_state)

    @torch.inference_mode()
    def vision(self, patches: Tensor, view: int) -> Sam3Vision:
        """One of the pictures, as the head takes it."""
        return vision_of(self.detector, patches[view : view + 1])
