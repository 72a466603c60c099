"""A detector for several sessions that go in step: looks at each frame once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keepsight.concepts.detector import Concept, Detections, Detector, LooksBeforehand, TakesExemplars
from keepsight.tracking import Sight
from keepsight.video import VideoSource


class OnceDetector:
    """Gives the same detections to all that ask about the same sight; holds those of the frame asked for last.

    Args:
        inner: finds.
    """

    frames_per_call = 1

    def __init__(self, inner: Detector) -> None:
        self.inner, self.name, self.understands_words = inner, inner.name, inner.understands_words
        self._latest: tuple[Sight, Detections] | None = None
        self._prepared = False
        if isinstance(inner, TakesExemplars):
            # Where it does not, neither does this one.
            self.learn = inner.learn

    @property
    def remarks(self) -> list[str]:
        """See the detector's own."""
        return list(getattr(self.inner, "remarks", ()))

    def prepare_from(self, video: VideoSource) -> None:
        """See :class:`~keepsight.concepts.LooksBeforehand`; for the first session that asks."""
        if isinstance(self.inner, LooksBeforehand) and not self._prepared:
            self.inner.prepare_from(video)
        self._prepared = True

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`~keepsight.concepts.Detector`."""
        return [self._one(sight, concepts) for sight in sights]

    def _one(self, sight: Sight, concepts: Sequence[Concept]) -> Detections:
        if self._latest is None or self._latest[0] is not sight:
            [found] = self.inner.detect([sight], concepts)
            self._latest = sight, found
        found = self._latest[1]
        # Whoever gets it may do with it what it likes.
        masks = None if found.masks is None else found.masks.clone()
        return replace(found, scores=found.scores.copy(), boxes=found.boxes.copy(), masks=masks)
