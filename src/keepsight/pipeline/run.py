"""What runs over files and live runs share: loading the tracker, and the facts that are kept about a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from keepsight.models.download import missing_weights
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.loaded import LoadedModels
from keepsight.pipeline.settings import Settings, weights_fingerprint
from keepsight.pipeline.timing import StageClock
from keepsight.pipeline.words import LIKE

if TYPE_CHECKING:
    from keepsight.models.backbone import Backbone
    from keepsight.tracking import Tracker


def load_tracker(
    settings: Settings,
    times_s: dict[str, float],
    tell: Callable[[str, int, int | None], None],
    models: LoadedModels | None = None,
    units: int | None = None,
) -> tuple[Tracker, Settings]:
    """The tracker, and the settings with what ``auto`` came to.

    Args:
        models: what is loaded already, and keeps what is loaded now.
        units: objects (times hypotheses) that go through the model at a time; ``None``: as many as the engine takes.

    Raises:
        ModelError, InputError: weights that are not here, or settings that they do not allow.
    """
    folder = local_dir(resolve(settings.model))
    if folder is None:
        raise missing_weights(resolve(settings.model))  # before the wait for torch
    from huggingface_hub.utils import disable_progress_bars

    from keepsight.memory import policy_factory
    from keepsight.models.loading import load_backbone
    from keepsight.tracking import EngineOptions, Tracker

    tell("load the model", 0, None)
    disable_progress_bars()  # the hub's and transformers' own would tear ours apart
    with StageClock(times_s, "load"):
        policy = policy_factory(settings.policy, settings.policy_options or None)
        weights = weights_fingerprint(folder)

        def load() -> Backbone:
            return load_backbone(
                settings.model,
                device=settings.device,
                dtype=settings.dtype,
                with_detector=settings.detector in ("sam3", LIKE) and resolve(settings.model).family == "sam3",
            )

        backbone = (models or LoadedModels()).backbone(settings, weights, load)
        options = EngineOptions(zoom=settings.zoom)
        if units is not None:
            options = replace(options, units_per_decode=units)
        tracker = Tracker(backbone, policy, options)
    device, dtype = str(tracker.backbone.device), str(tracker.backbone.dtype).removeprefix("torch.")
    zoom = tracker.options.closely is not None
    return tracker, replace(settings, device=device, dtype=dtype, zoom=zoom, weights=weights)


def facts_of(
    times_s: Mapping[str, float],
    tracked: int,
    notes: Sequence[str],
    credit: str | None,
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the report and a later resume want to know about a run.

    Args:
        earlier: facts of the part of the run that came before; times and frames are added up.
    """
    earlier = earlier or {}
    before: Mapping[str, float] = earlier.get("times_s", {})
    stages = list(dict.fromkeys([*before, *times_s]))
    return {
        "times_s": {name: round(before.get(name, 0.0) + times_s.get(name, 0.0), 3) for name in stages},
        "tracked_frames": tracked + int(earlier.get("tracked_frames", 0)),
        "versions": {name: metadata.version(name) for name in ("keepsight", "torch", "transformers", "av")},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "warnings": list(dict.fromkeys([*earlier.get("warnings", []), *notes])),
        "credits": credit or earlier.get("credits"),
    }
