"""The life of what was found: trial, confirmation, duplicates, how long it is believed without being detected.

Source of the rules: the released SAM 3 (hot-start, keep-alive, duplicates, recent occlusion), in our own words. All state is
a handful of numbers an object, so nothing grows with the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.concepts.association import Matches
from keepsight.concepts.settings import ConceptRules

NEVER = -1


@dataclass
class Life:
    """What is known about one object beside its masks.

    Attributes:
        concept: number of its concept, 0 when a person did not say one.
        born: step at which it was found.
        score: detection score with which it was found.
        by_person: a person pointed at it, so it is never on trial.
        dismissed: a person said that it is none; followed on unseen, so that it is not found again.
        unmatched: steps at which it was visible and nothing detected it, while on trial.
        doubles: how often one detection was both it and the older object, while on trial.
        keep_alive: see :class:`ConceptRules`.
        last_lost: last step at which it had no mask.
        absent: steps in a row without a mask.
        in_a_row: detections in a row.
        confirmed: may be shown.
    """

    concept: int
    born: int
    score: float
    by_person: bool = False
    dismissed: bool = False
    unmatched: int = 0
    doubles: dict[int, int] = field(default_factory=dict)
    keep_alive: int = 0
    last_lost: int = NEVER
    absent: int = 0
    in_a_row: int = 0
    confirmed: bool = True


class Lives:
    """All objects of a run, by id. Ids count up from 1 and are never given out twice."""

    def __init__(self, rules: ConceptRules) -> None:
        self.rules = rules
        self.of: dict[int, Life] = {}
        self.next_id = 1
        self.step = 0
        self.reconditioned = 0

    def __contains__(self, object_id: int) -> bool:
        return object_id in self.of

    def __getitem__(self, object_id: int) -> Life:
        return self.of[object_id]

    def concepts(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Concept numbers ``(M,)``."""
        return np.array([self.of[one].concept for one in ids], np.int64)

    def last_lost(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Steps ``(M,)``."""
        return np.array([self.of[one].last_lost for one in ids], np.int64)

    # -- coming and going --------------------------------------------------------------------------------------------
    def bear(self, concept: int, score: float) -> int:
        """A detection becomes an object; gives its id."""
        object_id = self.next_id
        self.next_id += 1
        confirmed = self.rules.confirm_frames <= 1
        start = self.rules.keep_alive_start
        self.of[object_id] = Life(concept, self.step, score, keep_alive=start, in_a_row=1, confirmed=confirmed)
        return object_id

    def welcome(self, object_id: int, concept: int) -> None:
        """A person points at an object, new or known: it is not on trial any more."""
        self.next_id = max(self.next_id, object_id + 1)
        life = self.of.get(object_id)
        if life is None:
            life = self.of[object_id] = Life(concept, self.step, 1.0, keep_alive=self.rules.keep_alive_start)
        life.concept = concept
        life.by_person, life.dismissed, life.confirmed = True, False, True

    def dismiss(self, object_id: int) -> None:
        """A person says that an object is none."""
        self.of[object_id].dismissed = True

    def forget(self, object_id: int) -> None:
        self.of.pop(object_id, None)
        for life in self.of.values():
            life.doubles.pop(object_id, None)

    def settle(self) -> None:
        """Ends all trials: what was found in an earlier pass over the video is no news."""
        for life in self.of.values():
            life.born = min(life.born, self.step - self.rules.trial_frames)
            life.unmatched, life.doubles = 0, {}

    # -- a step ------------------------------------------------------------------------------------------------------
    def on_trial(self, life: Life) -> bool:
        """Whether the object may still be found to be none."""
        young = self.step - life.born < self.rules.trial_frames
        return young and not life.by_person and not life.dismissed

    def judge(self, ids: Sequence[int], matches: Matches) -> list[int]:
        """Takes in what the detector saw on this step; gives the ids of objects that are found to be none.

        Args:
            ids: of the objects in ``matches``, in their order.
        """
        rules = self.rules
        for one, matched, unmatched, empty in zip(ids, matches.matched, matches.unmatched, matches.empty, strict=True):
            life = self.of[one]
            change = int(matched) - int(unmatched or (bool(empty) and rules.keep_alive_absent))
            if matched:
                life.keep_alive = min(rules.keep_alive_most, life.keep_alive + 1)
            if change < int(matched):
                life.keep_alive = max(rules.keep_alive_least, life.keep_alive - 1)
            life.unmatched += int(unmatched)
            life.in_a_row = life.in_a_row + 1 if matched else 0
            life.confirmed = life.confirmed or life.in_a_row >= rules.confirm_frames
        self._count_doubles(ids, matches.pairs)
        return [one for one in ids if self._is_none(self.of[one])]

    def _count_doubles(self, ids: Sequence[int], pairs: NDArray[np.bool_]) -> None:
        for row in pairs[pairs.sum(axis=1) > 1]:
            together = [one for one, there in zip(ids, row, strict=True) if there]
            oldest = min(together, key=lambda one: self.of[one].born)
            for one in together:
                if one != oldest:
                    doubles = self.of[one].doubles
                    doubles[oldest] = doubles.get(oldest, 0) + 1

    def _is_none(self, life: Life) -> bool:
        if not self.on_trial(life):
            # Counted for the trial only.
            life.unmatched, life.doubles = 0, {}
            return False
        rules, doubles = self.rules, max(life.doubles.values(), default=0)
        return life.unmatched >= rules.looks(rules.hotstart_unmatched) or doubles >= rules.looks(
            rules.hotstart_duplicates
        )

    def note_lost(self, ids: Iterable[int], lost: Iterable[bool]) -> None:
        """Remembers who had no mask on this step."""
        for one, gone in zip(ids, lost, strict=True):
            life = self.of[one]
            life.absent = life.absent + 1 if gone else 0
            if gone:
                life.last_lost = self.step

    def given_up(self) -> list[int]:
        """Ids of objects that were away for too long."""
        limit = self.rules.give_up_absent
        if limit == 0:
            return []
        return [one for one, life in self.of.items() if life.absent >= limit and not (life.by_person or life.dismissed)]

    def recondition_due(self) -> bool:
        """Whether confident objects give a conditioning frame on this step; asked on steps with detections only.

        When the detector skips the very step, the next one it sees takes its place.
        """
        every = self.rules.recondition_every
        if every == 0 or self.step // every == self.reconditioned:
            return False
        self.reconditioned = self.step // every
        return True

    def shows(self, object_id: int) -> bool:
        """Whether the object belongs into the results."""
        life = self.of[object_id]
        if life.dismissed or not life.confirmed:
            return False
        return life.by_person or not self.rules.hide_unmatched or life.keep_alive > 0

    # -- checkpoints -------------------------------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "next_id": self.next_id,
            "step": self.step,
            "reconditioned": self.reconditioned,
            "lives": [[one, asdict(life)] for one, life in self.of.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.next_id, self.step = state["next_id"], state["step"]
        self.reconditioned = state["reconditioned"]
        self.of = {}
        for one, values in state["lives"]:
            doubles = {int(other): count for other, count in values.pop("doubles").items()}
            self.of[int(one)] = Life(**values, doubles=doubles)
