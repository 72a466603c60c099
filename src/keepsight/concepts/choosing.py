"""Which detector to use: by name, or the best one that is at hand for a model; and what to say about it.

Names are settled before anything is loaded, so that a missing download is said at once.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from keepsight.concepts.detector import Detector
from keepsight.core.errors import InputError, ModelError
from keepsight.models.registry import ModelEntry, is_cached, local_dir, read_config, resolve
from keepsight.tracking import Tracker


@dataclass(frozen=True)
class DetectorEntry:
    """A detector as people see it.

    Attributes:
        name: what a person types.
        finds: what it finds, as the end of "finds ...".
        understands_words: whether a word decides what is found, or only labels it.
        model: name of its weights in the table of models; ``None`` when it needs none of its own.
    """

    name: str
    finds: str
    understands_words: bool
    model: str | None = None


#: Every detector, those that understand words first, better ones before lesser ones.
ENTRIES: tuple[DetectorEntry, ...] = (
    DetectorEntry("sam3", "what a word names, with masks of its own", True, "sam3"),
    DetectorEntry("grounding-dino-base", "what a word names", True, "grounding-dino-base"),
    DetectorEntry("grounding-dino", "what a word names", True, "grounding-dino"),
    DetectorEntry("owlv2-large", "what a word names", True, "owlv2-large"),
    DetectorEntry("owlv2", "what a word names", True, "owlv2"),
    DetectorEntry("motion", "whatever moves, before a camera that stands still", False),
    DetectorEntry("everything", "everything there is", False),
)

LIKE = DetectorEntry("like", "what looks like the example", False)
"""Is shown an example instead of being told a word; so it is named, and never taken for want of another."""


def names() -> list[str]:
    """Names of all detectors, best first."""
    return [entry.name for entry in ENTRIES]


def entry_of(name: str) -> DetectorEntry | None:
    """The entry of a detector; ``None`` for one that is named by its folder or hub id."""
    return next((entry for entry in (*ENTRIES, LIKE) if entry.name == name), None)


def available(model: str | Path) -> list[str]:
    """Names of the detectors that could be used now beside a model, best first. No network.

    SAM 3's is the best one for SAM 3, whose image features it shares; beside any other model it is the last one that
    understands words, for it is by far the slowest.

    Raises:
        ModelError: no such model.
    """
    own = resolve(model).family == "sam3"
    here = [entry for entry in ENTRIES if entry.model is None or _is_here(entry.model)]
    if own and _holds_sam3_detector(resolve(model)) and "sam3" not in [entry.name for entry in here]:
        here.insert(0, ENTRIES[0])
    if not own:
        here.sort(key=lambda entry: (not entry.understands_words, entry.name == "sam3"))
    return [entry.name for entry in here]


def choose(name: str | None, model: str | Path) -> str:
    """Settles which detector is used, before anything is loaded.

    Args:
        name: a detector's name, a downloaded hub id or a folder of one that understands words; ``None``: the best one that
            understands words and is at hand.
        model: of the tracker.

    Raises:
        InputError: no detector of that name.
        ModelError: nothing at hand that understands words, or the wanted one is not on this machine; says the ways on.
    """
    if name is None:
        reads = {entry.name for entry in ENTRIES if entry.understands_words}
        words = [other for other in available(model) if other in reads]
        if not words:
            raise ModelError(_nothing_reads(model))
        return words[0]
    wanted = name.strip()
    entry = entry_of(wanted.lower())
    if entry is not None:
        if entry.model is not None and entry.name not in available(model):
            from keepsight.models.download import missing_weights

            raise missing_weights(resolve(entry.model))
        return entry.name
    try:
        found = resolve(wanted)
    except ModelError:
        found = None
    if found is not None and found.detects:
        return found.name
    if found is not None and _holds_sam3_detector(found):
        # The model's own detector shares its image features.
        return "sam3" if local_dir(found) == local_dir(resolve(model)) else found.name
    close = difflib.get_close_matches(wanted.lower(), names(), n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise InputError(f"There is no detector '{name}'.{hint} Detectors: {', '.join(names())}.")


def pick(name: str | None, tracker: Tracker, *, model: str | Path | None = None) -> Detector:
    """The detector, loaded and ready.

    ``like`` finds the others of what it is shown with ``learn`` (:class:`keepsight.concepts.TakesExemplars`): SAM 3's own
    where the whole of it is loaded, else by likeness.

    Args:
        name: see :func:`choose`.
        tracker: that follows what is found; its decoder and its device are used.
        model: of the tracker, where it is called by another name.

    Raises:
        InputError, ModelError: see :func:`choose`; weights that cannot be loaded, or a model that can do neither for ``like``.
    """
    chosen = choose(name, tracker.backbone.info.name if model is None else model)
    device = str(tracker.backbone.device)
    if chosen == "everything":
        from keepsight.concepts.everything import EverythingDetector

        return EverythingDetector(tracker.backbone)
    if chosen == "motion":
        from keepsight.concepts.moving import MotionDetector

        return MotionDetector(tracker.backbone, tracker.options.closely)
    if chosen in ("sam3", LIKE.name):
        from keepsight.concepts.sam3 import Sam3Detector
        from keepsight.models.sam3.whole import Sam3Backbone

        if isinstance(tracker.backbone, Sam3Backbone):
            return Sam3Detector(tracker.backbone)
        if chosen == "sam3":
            return Sam3Detector.load(device=device)
        from keepsight.concepts.likeness import LikenessDetector

        return LikenessDetector(tracker.backbone)
    if resolve(chosen).family.startswith("sam3"):
        from keepsight.concepts.sam3 import Sam3Detector

        return Sam3Detector.load(chosen, device=device)
    from keepsight.concepts.grounding import load_grounding

    return load_grounding(chosen, device=device)


def _is_here(model: str) -> bool:
    entry = resolve(model)
    return is_cached(entry) and (entry.family != "sam3" or _holds_sam3_detector(entry))


def _holds_sam3_detector(entry: ModelEntry) -> bool:
    """Whether a checkpoint is the whole of SAM 3: its tracker is published by itself, too."""
    folder = None if entry.family == "builtin" else local_dir(entry)
    return folder is not None and read_config(folder).get("model_type") == "sam3_video"


def _nothing_reads(model: str | Path) -> str:
    dino, sam3 = resolve("grounding-dino"), resolve("sam3")
    return (
        f"Nothing on this machine understands words beside {resolve(model).name}. Three ways on: "
        f"run `keepsight models download grounding-dino` (about {dino.download_mb:.0f} MB, {dino.licence}); "
        f"or use --model sam3 ({sam3.access_steps}, then `keepsight models download sam3`); "
        "or find things without words: --detector motion (a fixed camera: whatever moves) or --detector everything."
    )
