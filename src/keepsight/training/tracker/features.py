"""Image features on the disk: while the encoder is frozen they never change, and they are most of a step's work."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from keepsight.models.sam2.hf_video import HFImageFeatures, HFVideoBackbone
from keepsight.training.tracker.footage import Footage


class FeatureStore:
    """Features of frames as the model would see them now, from the disk where they are there.

    They are kept in half precision, also in memory, so that a frame is the same whether it was kept or not.

    Args:
        root: folder of the cache; may be shared by runs. Each model, with its settings, has a folder of its own.
        limit_bytes: no more is written once so much is there; what did not fit is encoded every time.
    """

    def __init__(self, backbone: HFVideoBackbone, root: Path, limit_bytes: int) -> None:
        self._backbone, self._limit = backbone, limit_bytes
        mark = fingerprint(backbone)
        self.folder = root / mark[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        note = {"model": backbone.info.name, "image_size": backbone.info.image_size, "fingerprint": mark}
        (self.folder / "settings.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        self.held_bytes = sum(file.stat().st_size for file in self.folder.glob("*/*.safetensors"))
        self.made = 0

    def __call__(self, footage: Footage, frame: int) -> HFImageFeatures:
        """Features of one frame, float32 on the model's device."""
        file = self.folder / footage.key / f"{frame:07d}.safetensors"
        try:
            tensors = load_file(file)
        except (FileNotFoundError, OSError):
            tensors = self._make(footage, frame)
            self._keep(file, tensors)
        device = self._backbone.device
        levels = [tensors[name].to(device, torch.float32) for name in sorted(tensors)]
        return HFImageFeatures(fine=levels[:-1], top=levels[-1])

    @torch.no_grad()
    def _make(self, footage: Footage, frame: int) -> dict[str, Tensor]:
        self.made += 1
        seen = self._backbone.encode_image(self._backbone.preprocess(footage.rgb(frame)))
        levels = [*seen.fine, seen.top]
        return {f"level{i}": level.half().cpu().contiguous() for i, level in enumerate(levels)}

    def _keep(self, file: Path, tensors: dict[str, Tensor]) -> None:
        size = sum(x.numel() * x.element_size() for x in tensors.values())
        if self.held_bytes + size > self._limit:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        try:
            save_file(tensors, part)
            size = part.stat().st_size
            os.replace(part, file)
        except OSError:  # a full disk costs time, not the run
            part.unlink(missing_ok=True)
            self._limit = 0
            return
        self.held_bytes += size


PROJECTIONS = ("mask_decoder.conv_s0.", "mask_decoder.conv_s1.")
"""Of the decoder, but applied to the encoder's maps once a frame."""


def encoder_parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights that make image features."""
    return {
        name: value for name, value in model.state_dict().items() if name.startswith(("vision_encoder.", *PROJECTIONS))
    }


def fingerprint(backbone: HFVideoBackbone) -> str:
    """What decides how features come out: the encoder's weights and the size of its input."""
    told = hashlib.sha256(f"{backbone.info.family} {backbone.info.image_size} half".encode())
    for name, value in sorted(encoder_parameters(backbone.model).items()):
        told.update(name.encode())
        told.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()
