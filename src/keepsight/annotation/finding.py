"""Words on one frame: what they name becomes objects, several concepts at once, as one step of undo."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from keepsight.annotation.case import Case
from keepsight.annotation.clicks import TrackerSide
from keepsight.annotation.live import LiveSession
from keepsight.annotation.trouble import TooMuch
from keepsight.annotation.values import DeskSettings, Found
from keepsight.concepts import ConceptRules, Detector, checked
from keepsight.concepts.detector import LooksBeforehand, as_concepts
from keepsight.core import Concept, Mask, Prompt, Source, TrackedObject
from keepsight.core.errors import InputError
from keepsight.core.mask import mask_ious
from keepsight.store import Project
from keepsight.tracking import Sight
from keepsight.tracking.masks import masks_at_size

KNOWN_IOU = 0.5
"""An instance that overlaps an object on the frame by this (IoU) is that object, and two finds that do are one."""

KNOWN_SHARE = 0.7
"""So is one of the object's own label, when one of the two holds this share of the other: the tracker has but a part, or more."""

_BETWEEN = re.compile(r"[,;.\n]+")


def split_words(text: str, longest: int) -> list[Concept]:
    """Concepts out of what a person typed, separated by commas, semicolons, full stops or lines.

    Raises:
        InputError: nothing, or too much.
    """
    if len(text) > longest:
        raise TooMuch(f"The text has {len(text)} characters; {longest} are allowed.")
    return as_concepts([part.strip() for part in _BETWEEN.split(text) if part.strip()])


def check_threshold(threshold: float | None) -> None:
    """Raises :class:`InputError` for a score outside [0, 1]."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"The threshold is a score from 0 to 1, not {threshold}.")


class Finder:
    """Looks for concepts on frames; for the worker's thread only."""

    def __init__(self, case: Case, side: TrackerSide) -> None:
        self._case, self._side = case, side

    def find(
        self,
        project: Project,
        settings: DeskSettings,
        frame: int,
        text: str,
        detector: str | None,
        threshold: float | None,
        by: str | None,
    ) -> Found:
        """Adds what the words name on a frame; instances that an object covers already are left out."""
        case = self._case
        case.check_frame(frame)
        check_threshold(threshold)
        concepts = split_words(text, case.limits.text_length)
        agreement = self._side.agreement(settings)
        tracker = self._side.bench.tracker(settings.model, settings.policy)
        finder = self._side.bench.detector(detector, settings.model, tracker)
        if isinstance(finder, LooksBeforehand):
            finder.prepare_from(case.video)
        spare = project.next_object_id(case.video_id)
        items, dropped = instances_on(agreement.session, finder, frame, concepts, threshold, spare)
        result = project.result(case.video_id, frame)
        there = {item.object_id: item.mask for item in (result.objects if result else ()) if item.present}
        texts = {concept.number: concept.text for concept in concepts}
        labels = {item.id: (item.label or "").casefold() for item in case.objects(project)}
        wanted = {number: text.casefold() for number, text in texts.items()}
        fresh, known = _unknown(items, there, lambda number, one: labels.get(one) == wanted[number])
        if len(project.objects(case.video_id)) + len(fresh) > case.limits.objects:
            raise TooMuch(f"{len(fresh)} were found, but a video may have {case.limits.objects} objects.")
        made: list[tuple[int, TrackedObject]] = []
        if fresh:
            with project.operation(f"find '{', '.join(texts.values())}' on frame {frame}"):
                for number, score, mask in fresh:
                    object_id = project.next_object_id(case.video_id)
                    project.add_object(case.video_id, object_id, texts[number])
                    project.set_mask(case.video_id, object_id, frame, mask, Source.DETECTED, score)
                    made.append((object_id, TrackedObject(object_id, mask, score, 1.0, Source.DETECTED)))
        revision = case.bulletin.revision
        if made:
            revision = case.note("objects", "masks", frames=(frame, frame + 1), by=by)
        shown = tuple((case.object(project, object_id), item) for object_id, item in made)
        known_as = tuple((object_id, texts[number]) for object_id, number in known)
        return Found(shown, len(known_as), tuple(_remarks(finder, dropped)), revision, known_as)


def instances_on(
    session: LiveSession,
    finder: Detector,
    frame: int,
    concepts: list[Concept],
    threshold: float | None,
    spare_id: int,
) -> tuple[list[tuple[int, float, Mask]], int]:
    """Looks for concepts on a frame of the session's video; the tracker makes masks of boxes.

    Args:
        threshold: score from which an instance counts; ``None``: the rule's.
        spare_id: an id that no object of the session has.

    Returns:
        ``(concept, score, mask)`` of each instance, the surest first, and how many could not be used.

    Raises:
        InputError: several concepts for a detector that cannot tell them apart.
    """
    if not finder.understands_words and len(concepts) > 1:
        raise InputError(
            f"The detector '{finder.name}' does not understand words and cannot tell {len(concepts)} concepts apart; "
            "give one."
        )
    height, width = session.video.height, session.video.width
    sight = Sight(session.backbone, session.video.read(frame).rgb)
    [found] = finder.detect([sight], concepts)
    least = ConceptRules().score_threshold if threshold is None else threshold
    found, dropped = checked(found, height, width, concepts)
    found = found.only(found.scores >= least)
    found = found.only(np.argsort(-found.scores, kind="stable"))
    if found.masks is not None:
        masks = masks_at_size(list(found.masks.float()), height, width) if len(found) else []
    else:
        masks = [
            session.preview(Prompt(spare_id, frame, box=(x1, y1, x2, y2)), clear=True).mask
            for x1, y1, x2, y2 in found.boxes.tolist()
        ]
    rows = zip(found.concepts.tolist(), found.scores.tolist(), masks, strict=True)
    return [(number, score, mask) for number, score, mask in rows if mask.area], sum(dropped.values())


def _unknown(
    items: list[tuple[int, float, Mask]], there: dict[int, Mask], alike: Callable[[int, int], bool]
) -> tuple[list[tuple[int, float, Mask]], list[tuple[int, int]]]:
    """Instances that nothing covers yet, and the others as ``(object of the frame, concept)``.

    Args:
        alike: whether a concept is what an object is called.
    """
    fresh: list[tuple[int, float, Mask]] = []
    known: list[tuple[int, int]] = []
    ids, areas = list(there), np.array([mask.area for mask in there.values()], float)
    for item in items:
        number, _, mask = item
        overlaps = mask_ious([mask], list(there.values()))[0] if there else np.zeros(0)
        shares = overlaps / (1 + overlaps) * (mask.area + areas) / np.minimum(mask.area, areas)
        own = [alike(number, one) for one in ids]
        covered = (overlaps >= KNOWN_IOU) | ((shares >= KNOWN_SHARE) & np.array(own, bool))
        if covered.any():
            known.append((ids[int(np.where(covered, shares, -1.0).argmax())], number))
        elif not fresh or mask_ious([mask], [other[2] for other in fresh]).max() < KNOWN_IOU:
            fresh.append(item)
    return fresh, known


def _remarks(finder: Detector, dropped: int) -> list[str]:
    lines = list(getattr(finder, "remarks", ()))
    if dropped:
        lines.append(f"{dropped} of what the detector gave could not be used.")
    return lines
