"""A concept session that knows beforehand what a person says about frames that it has yet to reach.

A person who looks at the results of one run says of them: object 3 is wrong on frame 40, object 5 is none, here one is missing.
The next run finds the same objects in the same order, so their ids mean the same, and is told each of these when it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keepsight.concepts.association import ANY_CONCEPT
from keepsight.concepts.session import ConceptSession
from keepsight.core import Frame, FrameResult, InputError, Prompt, TrackedObject
from keepsight.memory import Step
from keepsight.tracking import Sight
from keepsight.tracking.track import Track


class CorrectedSession(ConceptSession):
    """Uses each correction once its frame was followed: an object that is there is refined, any other id is a new object.

    Args:
        arguments: of :class:`~keepsight.concepts.ConceptSession`.
        corrections: what is said; frames that are not followed are not reached.
        removed: ids of objects that are none: they never show, and what is there is not found anew.

    Attributes:
        refused: corrections that could not be used, one line each.
    """

    def __init__(
        self, *arguments: Any, corrections: Sequence[Prompt] = (), removed: Sequence[int] = (), **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.refused: list[str] = []
        self._removed = set(removed)
        self._corrections: dict[int, list[Prompt]] = {}
        for prompt in corrections:
            self._corrections.setdefault(prompt.frame, []).append(prompt)

    def _prompted_frames(self) -> list[int]:
        return sorted({*super()._prompted_frames(), *self._corrections})

    def _visit(self, frame: Frame, sight: Sight, step: Step, tracks: Sequence[Track]) -> FrameResult:
        before = set(self.object_ids)
        result = super()._visit(frame, sight, step, tracks)
        for object_id in self._removed.intersection(self.object_ids):
            self.remove(object_id)
            result = _without(result, {object_id})
        for prompt in self._corrections.get(frame.index, ()):
            known = prompt.object_id in self.object_ids
            try:
                answer = self.add_prompt(prompt)
            except InputError as error:
                self.refused.append(
                    f"What was said about object {prompt.object_id} on frame {frame.index} was left out: {error}"
                )
                continue
            twins = set() if known else self._twins(answer, result, before)
            for object_id in twins:
                self.remove(object_id, for_good=False)
            result = _with(_without(result, twins), answer)
        return result

    def _twins(self, added: TrackedObject, result: FrameResult, before: set[int]) -> set[int]:
        """Objects found on this very frame that are what a person has just added."""
        lives = self._loop.lives
        concept = lives[added.object_id].concept
        fresh = [
            item for item in result.objects if item.object_id not in before and not lives[item.object_id].by_person
        ]
        return {
            item.object_id
            for item in fresh
            if concept in (ANY_CONCEPT, lives[item.object_id].concept)
            and item.mask.iou(added.mask) > self.rules.match_iou
        }


def _without(result: FrameResult, ids: set[int]) -> FrameResult:
    return replace(result, objects=tuple(item for item in result.objects if item.object_id not in ids))


def _with(result: FrameResult, item: TrackedObject) -> FrameResult:
    if all(other.object_id != item.object_id for other in result.objects):
        return replace(result, objects=(*result.objects, item))
    return replace(result, objects=tuple(item if o.object_id == item.object_id else o for o in result.objects))
