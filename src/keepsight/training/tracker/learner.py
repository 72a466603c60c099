"""SAM 2, SAM 2.1, EdgeTAM and SAM 3's tracker as something to train: which weights learn, a step, what is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keepsight.core import InputError
from keepsight.models.sam2.hf_video import HFImageFeatures, HFVideoBackbone
from keepsight.training.tracker.episode import ClipOptions, Episode, with_less
from keepsight.training.tracker.features import PROJECTIONS, FeatureStore
from keepsight.training.tracker.lora import add_lora, merge_lora
from keepsight.training.tracker.sampler import Drawn, Sampler
from keepsight.training.trainer import Group

PARTS: dict[str, tuple[str, ...]] = {
    "decoder": ("mask_decoder.",),
    "memory": (
        "memory_attention.",
        "memory_encoder.",
        "memory_temporal_positional_encoding",
        "no_memory_embedding",
        "no_object_pointer",
        "object_pointer_proj.",
        "occlusion_spatial_embedding_parameter",
        "temporal_positional_encoding_projection_layer.",
        "mask_downsample.",
        "spatial_perceiver.",
    ),
}
"""What may learn, by the beginnings of its weights' names."""

LORA_FACTOR = 5.0
"""Learning rate of LoRA over that of the weights: its updates begin at nothing."""


class Learner(Protocol):
    """What a run needs of a model.

    Attributes:
        module: its weights go into checkpoints.
        notes: plain values that a run must have when it goes on (a clip that was made smaller).
    """

    module: nn.Module
    notes: dict[str, Any]

    def groups(self) -> list[Group]:
        """The weights that learn, and how fast."""

    def step(self, number: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Loss of step ``number``; everything drawn depends on it and on the seed alone."""

    def dry(self, frames: int, objects: int) -> Tensor:
        """Loss of a clip of this size, with its graph, to weigh it."""

    def clip_size(self) -> tuple[int, int]:
        """Frames and objects of a clip."""

    def shrink(self) -> bool:
        """Makes clips smaller; ``False`` where they are as small as they can be."""

    def precision(self) -> AbstractContextManager[Any]:
        """Entered around a step."""

    def write(self, state: Mapping[str, Tensor], folder: Path) -> Path:
        """Writes weights and config.json so that the folder loads as a model; returns the weights' path."""


class Sam2Learner:
    """The families behind :class:`HFVideoBackbone`.

    The encoder is frozen and its features come from the disk, unless ``lora`` gives it a few numbers to learn.

    Args:
        parts: names of :data:`PARTS`.
        lora: rank, 0 for none.
        cache: folder for features.
    """

    def __init__(
        self,
        backbone: HFVideoBackbone,
        sampler: Sampler,
        options: ClipOptions,
        seed: int,
        *,
        parts: Sequence[str] = ("decoder", "memory"),
        lora: int = 0,
        cache: Path,
        cache_bytes: int,
    ) -> None:
        self.backbone, self.sampler, self.options, self.seed = backbone, sampler, options, seed
        self.module: nn.Module = backbone.model
        self.notes: dict[str, Any] = {}
        self.module.requires_grad_(False)
        # Before LoRA is there, and needless with it: then features change from step to step.
        self.features = None if lora else FeatureStore(backbone, cache, cache_bytes)
        self._plain = set(self.module.state_dict())
        self._lora = add_lora(self.module, lora) if lora else []
        beginnings = tuple(beginning for part in parts for beginning in PARTS[part])
        self._heads = [
            parameter.requires_grad_(True)
            for name, parameter in self.module.named_parameters()
            if name.startswith(beginnings) and not name.startswith(PROJECTIONS)
        ]
        backbone.learn()

    # -- a step ------------------------------------------------------------------------------------------------------
    def groups(self) -> list[Group]:
        return [Group(self._heads), *([Group(self._lora, LORA_FACTOR)] if self._lora else [])]

    def step(self, number: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.seed, number])
        options = self._now()
        clip = self.sampler.draw(rng, options.frames, options.objects)
        return self._follow(clip, options, rng)

    def dry(self, frames: int, objects: int) -> Tensor:
        # The worst case: a box, and clicks on two frames.
        options = ClipOptions(frames, objects, masks=0.0, corrected=1.0, clicks=self.options.clicks)
        rng = np.random.default_rng([self.seed, 0])
        clips = [self.sampler.draw(rng, frames, objects) for _ in range(16)]
        return self._follow(max(clips, key=lambda clip: clip.known.size), options, rng, "box")[0]

    def _follow(
        self, clip: Drawn, options: ClipOptions, rng: np.random.Generator, kind: str | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        self.backbone.refresh()
        return Episode(self.backbone, options)(clip, self._encoder(clip), rng, kind)

    def _encoder(self, clip: Drawn) -> Callable[[int], HFImageFeatures]:
        """Features of a clip's frames, each made once with gradients and once without where they are asked for both ways."""
        made: dict[tuple[int, bool], HFImageFeatures] = {}

        def encode(t: int) -> HFImageFeatures:
            key = (t, self.features is None and torch.is_grad_enabled())
            if key not in made:
                if self.features is not None:
                    made[key] = self.features(clip.footage, clip.frames[t])
                else:
                    made[key] = self.backbone.encode_image(self.backbone.preprocess(clip.footage.rgb(clip.frames[t])))
            return made[key]

        return encode

    # -- its size ----------------------------------------------------------------------------------------------------
    def _now(self) -> ClipOptions:
        frames, objects = self.clip_size()
        return replace(self.options, frames=frames, objects=objects) if self.notes else self.options

    def clip_size(self) -> tuple[int, int]:
        return int(self.notes.get("frames", self.options.frames)), int(self.notes.get("objects", self.options.objects))

    def shrink(self) -> bool:
        frames, objects = self.clip_size()
        less = with_less(ClipOptions(frames, objects))
        if less is None:
            return False
        self.notes.update(frames=less.frames, objects=less.objects)
        return True

    def precision(self) -> AbstractContextManager[Any]:
        if self.backbone.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    # -- what comes out ----------------------------------------------------------------------------------------------
    def write(self, state: Mapping[str, Tensor], folder: Path) -> Path:
        trained = copy.deepcopy(self.module).cpu()
        trained.load_state_dict(state)
        if self._lora:
            merge_lora(trained)
        tensors = {name: value.detach().float().contiguous() for name, value in trained.state_dict().items()}
        if set(tensors) != self._plain:
            raise RuntimeError(f"weights changed their names: {sorted(set(tensors) ^ self._plain)[:4]}")
        weights = folder / "model.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, weights, metadata={"format": "pt"})
        config = json.loads(self.backbone.model.config.to_json_string(use_diff=False))
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        return weights


def check_lora(rank: int, family: str) -> None:
    """Refuses LoRA where there is nothing to put it on.

    Raises:
        InputError: with one line that says what to do.
    """
    if rank and family == "builtin":
        raise InputError("The built-in model's image encoder has no attention to put LoRA on; leave --lora out.")
