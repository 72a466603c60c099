"""What a run that finds its objects has beside one that is told them: a detector, concepts, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from keepsight.core import Concept, InputError, Prompt
from keepsight.models.download import missing_weights
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.loaded import LoadedModels
from keepsight.pipeline.prompts import check_prompts
from keepsight.pipeline.settings import Settings, weights_fingerprint
from keepsight.pipeline.words import ANYTHING, check_concepts
from keepsight.store import Project

if TYPE_CHECKING:
    from keepsight.concepts import ConceptSession, ConceptStream, CorrectedSession, Detector
    from keepsight.memory import PolicyFactory
    from keepsight.tracking import Session, Tracker
    from keepsight.tracking.sight import SightSource
    from keepsight.video import VideoSource

_VISUAL = "visual"  # what SAM 3 was trained with where an example says it all


def check_asked(settings: Settings, height: int, width: int, frame_count: int | None) -> None:
    """Refuses what does not fit the video, or nothing to follow at all.

    Raises:
        InputError: which it is.
    """
    if settings.prompts or not settings.concepts:
        check_prompts(settings.prompts, height, width, frame_count)
    check_concepts(settings.concepts, height, width, frame_count)


def settle_finding(settings: Settings) -> Settings:
    """The settings with the detector that is used, before anything is loaded.

    A detector that needs no word is content without one.

    Raises:
        InputError: no such detector, rules that are refused, or options that belong to concepts without any.
        ModelError: no detector at hand that could be used; the ways on.
    """
    finds = settings.concepts or settings.detector
    if not finds:
        if settings.rules or settings.removed:
            raise InputError(
                "--rule, --detect-every and --remove are about what is found; say what to find with --text."
            )
        return settings
    from keepsight.concepts import ConceptRules, choosing

    if settings.direction == "both":
        raise InputError("With --text the direction is forward or backward, one at a time.")
    ConceptRules.of(settings.rules)
    tracker = resolve(settings.model)
    if local_dir(tracker) is None:
        raise missing_weights(tracker)  # before speaking of detectors
    name = choosing.choose(settings.detector, settings.model)
    entry = choosing.entry_of(name)
    if entry is choosing.LIKE:
        return _settle_likeness(replace(settings, detector=name))
    wordless = entry is not None and not entry.understands_words
    concepts = settings.concepts
    if not concepts:
        if not wordless:
            raise InputError(f"--detector {name} finds what words name; say what with --text.")
        concepts = (Concept(1, ANYTHING),)
    if wordless and len(concepts) > 1:
        raise InputError(
            f"The detector '{name}' does not understand words and cannot tell {len(concepts)} concepts apart; "
            "give one --text, or use a detector that does, such as grounding-dino."
        )
    model = name if entry is None else entry.model
    weights = "" if model is None else weights_fingerprint(local_dir(resolve(model)))
    return replace(settings, concepts=concepts, detector=name, detector_weights=weights)


def _settle_likeness(settings: Settings) -> Settings:
    """SAM 3 has a word of its own for "what looks like this"; elsewhere the word is a label."""
    without = [concept.text for concept in settings.concepts if not concept.exemplars]
    if without or not settings.concepts:
        text = (without or [ANYTHING])[0]
        raise InputError(
            f"The detector '{settings.detector}' needs an example of '{text}': add --like FRAME:X1,Y1,X2,Y2."
        )
    if resolve(settings.model).family == "sam3":
        concepts = [replace(item, text=_VISUAL) if item.text == ANYTHING else item for item in settings.concepts]
        return replace(settings, concepts=tuple(concepts))
    return settings


def open_session(
    tracker: Tracker,
    video: VideoSource,
    settings: Settings,
    visited: Collection[int],
    models: LoadedModels | None = None,
) -> tuple[Session, list[Prompt]]:
    """The session of a run, and the prompts to begin it with.

    Beside concepts these are the objects that nobody gave a number, and what was said about frames that are not visited. All
    else is said when the run gets there, because it may be about an object that was found.

    Args:
        visited: frames of the run.
        models: what is loaded already, and keeps what is loaded now.
    """
    if not settings.concepts:
        return tracker.open(video), list(settings.prompts)
    detector = (models or LoadedModels()).detector(tracker, settings, lambda: load_detector(tracker, settings))
    make, first = session_maker(tracker, settings, visited, detector)
    return make(tracker.policy, video, None), first


def session_maker(
    tracker: Tracker, settings: Settings, visited: Collection[int], detector: Detector
) -> tuple[Callable[[PolicyFactory, VideoSource, SightSource | None], CorrectedSession], list[Prompt]]:
    """What makes a session of any policy with these concepts, and the prompts to begin it with; see :func:`open_session`."""
    from keepsight.concepts import ConceptRules, CorrectedSession
    from keepsight.tracking import Tracker

    later = [item for item in settings.prompts if item.frame in visited and item.object_id not in settings.dealt]
    first = [item for item in settings.prompts if item not in later]

    def make(policy: PolicyFactory, video: VideoSource, sights: SightSource | None) -> CorrectedSession:
        return CorrectedSession(
            Tracker(tracker.backbone, policy, tracker.options),
            video,
            settings.concepts,
            detector,
            ConceptRules.of(settings.rules),
            sights,
            corrections=later,
            removed=settings.removed,
        )

    # Ids are given out upwards.
    return make, sorted(first, key=lambda item: (item.object_id, item.frame))


def open_stream(tracker: Tracker, settings: Settings) -> Tracker | ConceptStream:
    """What follows the frames of a live run as they come."""
    if not settings.concepts:
        return tracker
    from keepsight.concepts import ConceptRules, ConceptStream

    return ConceptStream(tracker, settings.concepts, load_detector(tracker, settings), ConceptRules.of(settings.rules))


def load_detector(tracker: Tracker, settings: Settings) -> Detector:
    """The detector of settled settings."""
    from keepsight.concepts import choosing

    return choosing.pick(settings.detector, tracker, model=settings.model)


def detector_line(settings: Settings, *, by_default: bool) -> str | None:
    """What finds the objects of a run, in a line."""
    if settings.detector is None:
        return None
    from keepsight.concepts import choosing

    entry = choosing.entry_of(settings.detector)
    if entry is None or entry.understands_words:
        return f"Detector: {settings.detector}{', the best one at hand' if by_default else ''}."
    if entry is choosing.LIKE:
        own = resolve(settings.model).family == "sam3"
        return f"Detector: {'sam3, by example' if own else f'{entry.name}, which finds {entry.finds}'}."
    return f"Detector: {entry.name}, which finds {entry.finds}; '{settings.concepts[0].text}' only labels it."


def count_found(project: Project, video_id: int, concepts: Sequence[Concept]) -> dict[str, int]:
    """Objects of each concept that the project shows, by text."""
    labels = [(item.label or "").casefold() for item in project.objects(video_id)]
    return {concept.text: labels.count(concept.text.casefold()) for concept in concepts}


def remarks_of(session: Session | ConceptSession | Tracker | ConceptStream) -> list[str]:
    """What a person should know about how things were found."""
    dropped: dict[str, int] = getattr(session, "dropped", {})
    lines = list(getattr(session, "remarks", ()))
    if dropped:
        left = "was" if sum(dropped.values()) == 1 else "were"
        reasons = ", ".join(f"{count} {_REASONS.get(reason, reason)}" for reason, count in dropped.items())
        lines.append(
            f"Of what the detector gave, {sum(dropped.values())} could not be used and {left} left out: {reasons}."
        )
    return [*lines, *getattr(session, "refused", ())]


_REASONS = {
    "not finite": "with numbers that are not finite",
    "score": "with a score outside 0 to 1",
    "box": "with a box that is inside out or outside the frame",
    "empty mask": "with an empty mask",
    "concept": "of something that was not asked for",
}
