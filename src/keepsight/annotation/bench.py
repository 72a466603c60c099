"""The models of a device: loaded once, when they are first needed, and shared by all desks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keepsight.annotation.values import Offer
from keepsight.annotation.worker import Worker
from keepsight.concepts import choosing
from keepsight.memory import POLICIES, policy_factory
from keepsight.models.download import missing_weights
from keepsight.models.registry import ENTRIES, is_cached, local_dir, resolve

if TYPE_CHECKING:
    from keepsight.concepts import Detector
    from keepsight.tracking import Tracker


class Bench:
    """A device's worker and what it has loaded; everything but :attr:`worker` is for the worker's own thread.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N", "mps".
        dtype: "auto" or a torch dtype's name.
        feature_bytes: image features that one desk may keep.
    """

    def __init__(self, device: str, dtype: str, feature_bytes: int) -> None:
        self.device, self.dtype = device, dtype
        self.worker = Worker(f"keepsight-{device}")
        self._feature_bytes = feature_bytes
        self._loaded: dict[str, Tracker] = {}
        self._detectors: dict[tuple[str, str], Detector] = {}

    @property
    def models_loaded(self) -> int:
        """How many models are in memory."""
        return len(self._loaded)

    def tracker(self, model: str, policy: str) -> Tracker:
        """A model with a policy.

        Raises:
            ModelError: its weights are not on this machine; what to do.
            InputError: no such policy.
        """
        from keepsight.tracking import EngineOptions, Tracker, load

        factory = policy_factory(policy)
        entry = resolve(model)
        if entry.name not in self._loaded:
            if local_dir(entry) is None:
                raise missing_weights(entry)
            options = EngineOptions(feature_cache_bytes=self._feature_bytes)
            whole = entry.family == "sam3" and "sam3" in choosing.available(model)
            self._loaded[entry.name] = load(
                model, device=self.device, dtype=self.dtype, options=options, with_detector=whole
            )
        loaded = self._loaded[entry.name]
        return Tracker(loaded.backbone, factory, replace(loaded.options))

    def detector(self, name: str | None, model: str, tracker: Tracker) -> Detector:
        """A detector by name, or the best one that understands words.

        Raises:
            InputError, ModelError: there is none such; what to do.
        """
        chosen = choosing.choose(name, model)
        key = (chosen, model)
        if chosen == "motion":
            # It learns the background of one video.
            return choosing.pick(chosen, tracker, model=model)
        if key not in self._detectors:
            self._detectors[key] = choosing.pick(chosen, tracker, model=model)
        return self._detectors[key]


def offered_models() -> list[Offer]:
    """Trackers by name."""
    return [Offer(entry.name, entry.note or entry.title, is_cached(entry)) for entry in ENTRIES if not entry.detects]


def offered_policies() -> list[Offer]:
    """Memory policies by name."""
    return [Offer(name, settings.summary.idea) for name, settings in POLICIES.items()]


def offered_detectors(model: str) -> list[Offer]:
    """Detectors by name, and whether they could be used beside a model."""
    here = choosing.available(model)
    return [
        Offer(entry.name, f"Finds {entry.finds}.", entry.name in here, entry.understands_words)
        for entry in choosing.ENTRIES
    ]
