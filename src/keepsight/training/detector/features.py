"""Features of pictures under an encoder that does not change: made once, kept on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from keepsight.core import StoreError
from keepsight.models.sam3.detector import Sam3Eyes
from keepsight.store.files import replacing_file

_KEY = "patches"


class KeptFeatures:
    """Patch features by picture.

    Args:
        folder: where they are kept, those of one model alone; processes may share it, for a file appears whole.
        dtype: in which they are kept, and used: a picture looks the same the first time and later.
        limit_bytes: no more is written once so much is there; what did not fit is encoded every time.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, limit_bytes: float = float("inf")) -> None:
        self.folder, self.dtype, self._limit = folder, dtype, limit_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self.held_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def path(self, name: str, flipped: bool) -> Path:
        return self.folder / f"{name}{'-mirrored' if flipped else ''}.safetensors"

    def has(self, name: str, flipped: bool) -> bool:
        return self.path(name, flipped).exists()

    def get(self, name: str, flipped: bool) -> Tensor:
        """``(1, g * g, C)``."""
        return load_file(self.path(name, flipped))[_KEY]

    def put(self, name: str, flipped: bool, patches: Tensor) -> Tensor:
        """Keeps features and gives them back as :meth:`get` will."""
        kept = patches.detach().to("cpu", self.dtype).contiguous()
        size = kept.numel() * kept.element_size()
        if self.held_bytes + size <= self._limit:
            try:
                with replacing_file(self.path(name, flipped)) as path:
                    save_file({_KEY: kept}, path)
                self.held_bytes += size
            except (StoreError, SafetensorError):  # a full disk costs time, not the run
                self._limit = 0
        return kept


class Looker:
    """Looks at pictures: from what is kept, or through the encoder.

    Args:
        eyes: the model that is trained.
        kept: where features are kept; ``None`` encodes every time, with gradients where they are on.
        amp: compute in bf16 where the device does.
    """

    def __init__(self, detector: nn.Module, device: torch.device, kept: KeptFeatures | None, amp: bool) -> None:
        self.eyes = Sam3Eyes(detector)
        self.device, self.kept, self.amp = device, kept, amp

    def needs_pixels(self, name: str, flipped: bool) -> bool:
        return self.kept is None or not self.kept.has(name, flipped)

    def patches(self, name: str, flipped: bool, rgb: NDArray[np.uint8] | None) -> Tensor:
        """``(1, g * g, C)`` on the device.

        Args:
            rgb: not mirrored; may lack where features are kept.
        """
        if self.kept is not None and self.kept.has(name, flipped):
            return self.kept.get(name, flipped).to(self.device, torch.float32)
        assert rgb is not None, "a picture that was not looked at yet needs its pixels"
        pixels = self.eyes.preprocess(np.ascontiguousarray(rgb[:, ::-1]) if flipped else rgb)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            if self.kept is None:
                return self.eyes.detector.vision_encoder.backbone(pixels).last_hidden_state  # type: ignore[no-any-return]
            with torch.no_grad():
                made = self.eyes.detector.vision_encoder.backbone(pixels).last_hidden_state
        return self.kept.put(name, flipped, made).to(self.device, torch.float32)
