"""From a model's name to a backbone that is ready, with every weight accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from keepsight.core.errors import InputError, ModelError
from keepsight.models.backbone import Backbone
from keepsight.models.devices import resolve_device, resolve_dtype
from keepsight.models.download import missing_weights
from keepsight.models.registry import ModelEntry, local_dir, read_config, resolve

if TYPE_CHECKING:
    from keepsight.models.sam3.detector import Sam3Eyes

_CLASSES = {"sam2": "Sam2VideoModel", "sam3": "Sam3TrackerVideoModel", "edgetam": "EdgeTamVideoModel"}
SAM3_WITH_DETECTOR = ("sam3_video", "sam3")
"""``model_type`` of the checkpoints that hold SAM 3's detector."""
_UNUSED_BY_DESIGN = {
    # The text detector of a SAM 3 checkpoint; only the tracker is used here.
    "sam3": re.compile(r"^(detector_model|tracker_neck)\."),
    # And the tracker, where only the detector is.
    "sam3-detector": re.compile(r"^(tracker_model|tracker_neck)\."),
    # Tables that are computed; old checkpoints hold them.
    "grounding-dino": re.compile(r"\.position_ids$"),
    "owlv2": re.compile(r"\.position_ids$|^box_bias$"),
}


def load_backbone(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    image_size: int | None = None,
    dynamic_multimask: bool | None = None,
    with_detector: bool = False,
) -> Backbone:
    """Loads a model by name, hub id (already downloaded) or local folder.

    Args:
        name: "builtin", "sam2.1-tiny", "facebook/sam2.1-hiera-tiny", a folder with config.json and safetensors, ...
        device, dtype: see :mod:`keepsight.models.devices`.
        image_size: side of the model input in px, where the family allows another than its own (SAM 2: any multiple of
            32 that its windows divide). Down: faster, coarser.
        dynamic_multimask: see :class:`keepsight.models.sam2.hf_video.HFVideoBackbone`.
        with_detector: of SAM 3, load the detector of words as well
            (:class:`keepsight.models.sam3.whole.Sam3Backbone`); other models have none, and nothing changes for them.

    Raises:
        ModelError: unknown, not downloaded, gated, damaged, or with weights missing or left over.
        InputError: a device, dtype or image size that cannot be used.
    """
    entry = resolve(str(name))
    if entry.detects:
        raise ModelError(
            f"{entry.title} finds objects and cannot follow them; give it as --detector {entry.name}, beside a --model that can."
        )
    target = resolve_device(device)
    precision = resolve_dtype(dtype, target, family=entry.family)
    if entry.family == "builtin":
        if image_size is not None:
            raise ModelError("The built-in model has one input size; leave image_size out.")
        from keepsight.models.builtin.backbone import load_builtin

        return load_builtin(entry.folder, name=entry.name, device=target)
    folder = local_dir(entry)
    if folder is None:
        raise missing_weights(entry)
    if with_detector and read_config(folder).get("model_type") == "sam3_video":
        return _load_whole_sam3(folder, entry, target, precision, image_size, dynamic_multimask)
    return load_transformers(folder, entry, target, precision, image_size, dynamic_multimask)


def _load_whole_sam3(
    folder: Path,
    entry: ModelEntry,
    device: torch.device,
    dtype: torch.dtype,
    image_size: int | None,
    dynamic_multimask: bool | None,
) -> Backbone:
    import transformers

    from keepsight.models.sam3.whole import Sam3Backbone

    if image_size is not None:
        raise InputError(f"{entry.title} with its detector has one input size; leave image_size out.")
    cls: Any = transformers.Sam3VideoModel
    model = from_folder(cls, folder, replace(entry, family="sam3-whole"), dtype)
    return Sam3Backbone(model.to(device), entry.name, folder=folder, dynamic_multimask=dynamic_multimask)


def load_sam3_detector(name: str | Path, *, device: str = "auto", dtype: str = "auto") -> Sam3Eyes:
    """SAM 3's detector by itself, from a checkpoint of the whole or of the detector alone.

    Raises:
        ModelError: unknown, not downloaded, gated, damaged, or a checkpoint without the detector.
        InputError: a device or dtype that cannot be used.
    """
    import transformers

    from keepsight.models.sam3.detector import Sam3Eyes

    entry = resolve(str(name))
    folder = sam3_detector_folder(entry)
    target = resolve_device(device)
    cls: Any = transformers.Sam3Model
    precision = resolve_dtype(dtype, target, family="sam3")
    model = from_folder(cls, folder, replace(entry, family="sam3-detector"), precision)
    return Sam3Eyes(model.to(target), entry.name, folder=folder)


def sam3_detector_folder(entry: ModelEntry) -> Path:
    """Folder of a checkpoint that holds SAM 3's detector, alone or with the tracker.

    Raises:
        ModelError: not downloaded, or without the detector.
    """
    folder = local_dir(entry)
    if folder is None:
        raise missing_weights(entry)
    if entry.family == "builtin" or read_config(folder).get("model_type") not in SAM3_WITH_DETECTOR:
        raise ModelError(f"'{entry.name}' has no detector of words; sam3 has.")
    return folder


def load_transformers(
    folder: Path,
    entry: ModelEntry,
    device: torch.device,
    dtype: torch.dtype,
    image_size: int | None = None,
    dynamic_multimask: bool | None = None,
) -> Backbone:
    """Loads one of the transformers families from a folder; see :func:`load_backbone`."""
    import transformers

    from keepsight.models.sam2.hf_video import HFVideoBackbone

    if entry.family not in _CLASSES:
        raise ModelError(f"{folder} is not a tracker that Keepsight knows; see `keepsight models`.")
    cls: Any = getattr(transformers, _CLASSES[entry.family])

    def settle(config: Any) -> None:
        if image_size is not None:
            set_image_size(config, image_size)

    model = from_folder(cls, folder, entry, dtype, settle)
    try:
        backbone = HFVideoBackbone(model.to(device), entry.name, dynamic_multimask=dynamic_multimask)
        if image_size is not None:
            # Whether the windows of an encoder divide a size shows only when it runs.
            backbone.encode_image(torch.zeros(1, 3, image_size, image_size, device=device, dtype=dtype))
    except RuntimeError as error:
        if image_size is None:
            raise
        raise InputError(
            f"{entry.title} does not work at image_size {image_size}: {_first_line(error)}; leave it out, or try 512."
        ) from error
    return backbone


def from_folder(
    cls: Any, folder: Path, entry: ModelEntry, dtype: torch.dtype, settle: Callable[[Any], None] = lambda config: None
) -> Any:
    """A model of transformers' class ``cls`` from safetensors, every weight filled and every tensor used.

    Args:
        settle: may change the configuration before the model is built.

    Raises:
        ModelError: damaged, of another shape, with weights missing or left over, or in need of a package.
    """
    import transformers

    try:
        config = cls.config_class.from_pretrained(folder)
        settle(config)
        with _silent(transformers):
            model, report = cls.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                # Reported instead of raised, so that our error can name them.
                ignore_mismatched_sizes=True,
            )
    except ImportError as error:
        raise ModelError(
            f"{entry.title} needs a package that is not installed ({_first_line(error)}); "
            "install it, or choose another model with `keepsight models`."
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"{entry.title} in {folder} cannot be loaded: {_first_line(error)}") from error
    check_weights(report, entry)
    return model


def save_model(model: Any, folder: Path) -> None:
    """Writes config.json and safetensors of a model of transformers."""
    import transformers

    with _silent(transformers):
        model.save_pretrained(folder)


def set_image_size(config: Any, size: int) -> None:
    """Changes the side of the model input in every part of a configuration that states it.

    Raises:
        InputError: a side that the patches do not divide.
    """
    patch = int(config.prompt_encoder_config.patch_size)
    # Hiera halves its 16 px grid once more.
    unit = patch if config.model_type.startswith("sam3") else 2 * patch
    if size < unit or size % unit:
        raise InputError(f"image_size is a multiple of {unit} px for this model, not {size}.")
    grid = size // patch
    config.image_size = size
    config.prompt_encoder_config.image_size = size
    config.vision_config.backbone_feature_sizes = [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2]
    config.memory_attention_rope_feat_sizes = [grid, grid]


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Without the library's progress bar and report: what matters of it is said in our own line."""
    log = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()


def check_weights(report: dict[str, Any], entry: ModelEntry) -> None:
    """Refuses a checkpoint that leaves a weight unset or brings one that nothing uses.

    Args:
        report: loading information of transformers.

    Raises:
        ModelError: names the first offenders.
    """
    unused = _UNUSED_BY_DESIGN.get(entry.family)
    left_over = [key for key in report["unexpected_keys"] if not (unused and unused.match(key))]
    mismatched = [str(item[0]) if isinstance(item, tuple) else str(item) for item in report["mismatched_keys"]]
    for keys, what in (
        (report["missing_keys"], "leaves weights of the model unset"),
        (mismatched, "has weights of another shape"),
        (left_over, "has tensors that the model does not use"),
    ):
        if keys:
            raise ModelError(f"The checkpoint of {entry.title} {what}: {_some(keys)}.")


def _some(keys: Iterable[str], shown: int = 4) -> str:
    names = sorted(keys)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
