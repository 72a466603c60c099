"""Single pictures, without a project: pointed at or looked through, and forgotten again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from keepsight.annotation.bench import Bench
from keepsight.annotation.finding import check_threshold, instances_on, split_words
from keepsight.annotation.live import LiveSession
from keepsight.concepts.detector import LooksBeforehand
from keepsight.core import Prompt, Source, TrackedObject
from keepsight.core.errors import InputError
from keepsight.video import ArrayVideo

Pixels: TypeAlias = NDArray[np.uint8]

_KEPT = 3  # pictures whose features stay for the next click


@dataclass(frozen=True)
class Glance:
    """A picture and how it is looked at.

    Attributes:
        key: tells pictures apart.
        read: decodes it, uint8 ``(H, W, 3)`` RGB; called once for as long as the picture is remembered.
    """

    key: str
    read: Callable[[], Pixels] = field(compare=False)
    model: str = "builtin"
    policy: str = "sam2"


class Glances:
    """Answers about pictures; for the worker's thread only."""

    def __init__(self, bench: Bench, most_text: int) -> None:
        self._bench, self._most_text = bench, most_text
        self._kept: OrderedDict[tuple[str, str], LiveSession] = OrderedDict()

    def point(self, glance: Glance, prompts: Sequence[Prompt]) -> list[TrackedObject]:
        """The masks of objects that are pointed at, all on frame 0.

        Raises:
            InputError: a prompt that does not lie in the picture.
        """
        session = self._session(glance)
        return [session.preview(prompt, clear=True) for prompt in prompts]

    def find(
        self, glance: Glance, text: str, detector: str | None, threshold: float | None
    ) -> list[tuple[str, TrackedObject]]:
        """What words name in a picture, each with its concept, the surest first.

        Raises:
            InputError, ModelError: nothing to look for, or nothing that could; what to do.
        """
        check_threshold(threshold)
        concepts = split_words(text, self._most_text)
        session = self._session(glance)
        tracker = self._bench.tracker(glance.model, glance.policy)
        finder = self._bench.detector(detector, glance.model, tracker)
        if isinstance(finder, LooksBeforehand):
            raise InputError(f"The detector '{finder.name}' needs a video; a single picture does not move.")
        found, _ = instances_on(session, finder, 0, concepts, threshold, spare_id=1)
        texts = {concept.number: concept.text for concept in concepts}
        return [
            (texts[number], TrackedObject(place, mask, score, 1.0, Source.DETECTED))
            for place, (number, score, mask) in enumerate(found, start=1)
        ]

    def _session(self, glance: Glance) -> LiveSession:
        key = (glance.key, glance.model)
        session = self._kept.pop(key, None)
        if session is None:
            tracker = self._bench.tracker(glance.model, glance.policy)
            video = ArrayVideo(glance.read()[None], name="picture")
            session = LiveSession(tracker.backbone, tracker.policy, tracker.options, video)
        self._kept[key] = session
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return session
