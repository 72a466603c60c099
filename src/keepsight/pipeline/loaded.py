"""Models that stay loaded from one job to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from keepsight.pipeline.settings import Settings
from keepsight.pipeline.words import LIKE

if TYPE_CHECKING:
    from keepsight.concepts import Detector
    from keepsight.models.backbone import Backbone
    from keepsight.tracking import Tracker


class LoadedModels:
    """The tracker's model and the detector that the last job used; another one takes the place of the one before.

    Nothing of a video stays here: sessions hold what they remember, and a detector that learns along is made anew for each.

    Attributes:
        loads: models read from disk so far.
    """

    def __init__(self) -> None:
        self.loads = 0
        self._backbone: tuple[object, Backbone] | None = None
        self._detector: tuple[object, Detector] | None = None

    def backbone(self, settings: Settings, weights: str, load: Callable[[], Backbone]) -> Backbone:
        """The model for settled or unsettled settings; ``load`` reads it where it is not here.

        Args:
            weights: fingerprint of its file, which may have changed since.
        """
        key = (settings.model, settings.device, settings.dtype, settings.detector in ("sam3", LIKE), weights)
        if self._backbone is None or self._backbone[0] != key:
            # Both at once may be more than the device holds.
            self._backbone = self._detector = None
            self.loads += 1
            self._backbone = (key, load())
        return self._backbone[1]

    def detector(self, tracker: Tracker, settings: Settings, load: Callable[[], Detector]) -> Detector:
        """The detector of settled settings beside a tracker."""
        from keepsight.concepts.detector import LearnsAlong

        key = (settings.detector, settings.detector_weights, id(tracker.backbone))
        if self._detector is None or self._detector[0] != key:
            self._detector = None
            detector = load()
            if settings.detector == LIKE or isinstance(detector, LearnsAlong):
                return detector
            self.loads += bool(settings.detector_weights)
            self._detector = (key, detector)
        return self._detector[1]

    def let_go(self) -> None:
        """Forgets what is here; the next job loads anew."""
        self._backbone = self._detector = None
