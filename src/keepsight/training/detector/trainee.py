"""The model that is trained: what of it learns and how fast, and how it is saved."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from keepsight.concepts.sam3 import tokenizer_of
from keepsight.core import ModelError
from keepsight.models.loading import from_folder, sam3_detector_folder, save_model
from keepsight.models.registry import ModelEntry, read_config, resolve
from keepsight.training.detector.settings import DetectorSettings
from keepsight.training.tracker.lora import add_lora, merge_lora
from keepsight.training.trainer import Group

_HEAD = ("detr_encoder", "detr_decoder", "dot_product_scoring", "mask_decoder")
LORA_FACTOR = 5.0
"""Learning rate of low-rank updates over that of the head: they begin at nothing."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".index.json")


@dataclass(eq=False)
class Trainee:
    """SAM 3's detector on its way.

    Attributes:
        detector: a ``Sam3Model`` in fp32.
        groups: parameters that learn, with factors of the rate.
        folder: of the base; :attr:`whole` says whether its tracker lies there too.
    """

    detector: nn.Module
    tokenizer: Any
    groups: list[Group]
    entry: ModelEntry
    folder: Path
    whole: bool
    settings: DetectorSettings

    @property
    def learned(self) -> nn.ParameterDict:
        """What learns, by name: all that a checkpoint needs beside the base."""
        chosen = {id(parameter) for group in self.groups for parameter in group.parameters}
        named = [(name, parameter) for name, parameter in self.detector.named_parameters() if id(parameter) in chosen]
        return nn.ParameterDict({name.replace(".", "/"): parameter for name, parameter in named})

    @property
    def keeps_tracker(self) -> bool:
        """Whether the base's tracker is still at home on the image encoder: where that has changed it is not."""
        return self.whole and not self.settings.sees_anew

    def train(self) -> None:
        """Training mode, but for what is frozen."""
        detector: Any = self.detector.train()
        if not self.settings.sees_anew:
            detector.vision_encoder.eval()
        if self.settings.text_rate == 0:
            detector.text_encoder.eval()

    def state(self) -> dict[str, Tensor]:
        """The detector's weights under their own names, low-rank updates added in."""
        if not self.settings.lora:
            return self.detector.state_dict()
        merged = copy.deepcopy(self.detector)
        merge_lora(merged)
        return merged.state_dict()

    def save(self, out: Path) -> None:
        """Writes a folder that loads wherever a detector is named; with its tracker also wherever a model is.

        Where the image encoder stayed as it was, the base's tracker comes along unchanged. Where it learned, the detector is
        saved alone, for use beside a tracker of its own.
        """
        import transformers

        out.mkdir(parents=True, exist_ok=True)
        state = self.state()
        cls: Any = transformers.Sam3VideoModel if self.keeps_tracker else transformers.Sam3Model
        family = "sam3-whole" if self.keeps_tracker else "sam3-detector"
        model = from_folder(cls, self.folder, _of_family(self.entry, family), torch.float32)
        (model.detector_model if self.keeps_tracker else model).load_state_dict(state)
        save_model(model, out)
        for path in self.folder.iterdir():
            beside = path.is_file() and path.name != "config.json" and not path.name.endswith(_WEIGHTS)
            if beside and path.stat().st_size < 1e8:
                shutil.copyfile(path, out / path.name)


def load_trainee(settings: DetectorSettings, device: torch.device) -> Trainee:
    """Loads the base and settles what learns.

    Raises:
        ModelError: no detector of that name, not downloaded, damaged.
        InputError: low-rank updates without the package for them.
    """
    import transformers

    entry = resolve(settings.base)
    folder = sam3_detector_folder(entry)
    cls: Any = transformers.Sam3Model
    detector = from_folder(cls, folder, _of_family(entry, "sam3-detector"), torch.float32)
    detector.requires_grad_(False)
    low_rank = []
    if settings.lora:
        torch.manual_seed(settings.seed)
        low_rank = add_lora(detector, settings.lora)
    groups = list(_groups(detector, settings, low_rank))
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    if settings.sees_anew:
        _forget_inner(detector.vision_encoder.backbone)
    whole = read_config(folder).get("model_type") == "sam3_video"
    return Trainee(detector.to(device), tokenizer_of(folder), groups, entry, folder, whole, settings)


def _of_family(entry: ModelEntry, family: str) -> ModelEntry:
    from dataclasses import replace

    return replace(entry, family=family)


def _groups(detector: Any, settings: DetectorSettings, low_rank: list[nn.Parameter]) -> Iterator[Group]:
    """The released fine-tuning's: the transformer, the image encoder by depth, the text encoder."""
    masks = settings.weights.focal > 0 or settings.weights.dice > 0
    heads = [getattr(detector, name) for name in _HEAD if masks or name != "mask_decoder"]
    untaught = {"semantic_projection"}
    yield Group(
        [
            parameter
            for head in heads
            for name, parameter in head.named_parameters()
            if not untaught & set(name.split("."))
        ]
    )
    if low_rank:
        yield Group(low_rank, LORA_FACTOR)
    if settings.vision_rate:
        factor = settings.vision_rate / settings.rate
        backbone = detector.vision_encoder.backbone
        depth = len(backbone.layers)
        for place, layer in enumerate(backbone.layers):
            yield Group(list(layer.parameters()), factor * settings.layer_decay ** (depth - place))
        inner = {id(parameter) for layer in backbone.layers for parameter in layer.parameters()}
        first = [p for p in backbone.parameters() if id(p) not in inner]
        yield Group(first, factor * settings.layer_decay ** (depth + 1))
        yield Group(list(detector.vision_encoder.neck.parameters()), factor)
    if settings.text_rate:
        text = [*detector.text_encoder.parameters(), *detector.text_projection.parameters()]
        yield Group(text, settings.text_rate / settings.rate)


def _forget_inner(backbone: Any) -> None:
    """Keeps one map a layer for the way back and computes the rest again: the encoder is most of the memory."""
    for layer in backbone.layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = _again


def _again(function: Any, *inputs: Any) -> Any:
    return checkpoint(function, *inputs, use_reentrant=False)


def check_base(name: str) -> None:
    """Says early what is wrong with a base.

    Raises:
        ModelError: see :func:`load_trainee`.
    """
    try:
        sam3_detector_folder(resolve(name))
    except ModelError as error:
        raise ModelError(f"{error} The base is SAM 3, or a folder with its detector.") from error
