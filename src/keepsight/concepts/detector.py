"""What the concept loop asks of a detector: instances of concepts on a frame, as boxes, scores and, if it has them, masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.core import Concept, Exemplar
from keepsight.core.errors import InputError, ModelError
from keepsight.tracking import Sight
from keepsight.video import VideoSource

__all__ = [
    "Concept",
    "Detections",
    "Detector",
    "Exemplar",
    "LearnsAlong",
    "LooksBeforehand",
    "TakesExemplars",
    "as_concepts",
    "checked",
]


@dataclass(frozen=True, eq=False)
class Detections:
    """Instances found on one frame, of all concepts together, in any order.

    Attributes:
        concepts: int64 ``(N,)``, :attr:`Concept.number` of what each one is.
        scores: float32 ``(N,)``, in [0, 1].
        boxes: float32 ``(N, 4)``, ``x1, y1, x2, y2`` in px of the frame.
        masks: logits float32 ``(N, h, w)`` over the whole frame at a low resolution of the detector's choice, positive on
            the object, on any device; ``None`` when the tracker's decoder is to make masks of the boxes.

    Raises:
        ModelError: numbers of rows that differ: a defect of the detector.
    """

    concepts: NDArray[np.int64]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    masks: torch.Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        fits = self.concepts.shape == self.scores.shape == (count,) and self.boxes.shape == (count, 4)
        if self.masks is not None:
            fits = fits and self.masks.ndim == 3 and len(self.masks) == count
        if not fits:
            shapes = [tuple(part.shape) for part in (self.concepts, self.scores, self.boxes)]
            masks = "none" if self.masks is None else tuple(self.masks.shape)
            raise ModelError(
                f"A detector gave rows that do not belong together: concepts {shapes[0]}, scores {shapes[1]}, "
                f"boxes {shapes[2]}, masks {masks}. Use another one with --detector."
            )

    @classmethod
    def none(cls) -> Detections:
        """Nothing found."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, 4), np.float32))

    @classmethod
    def of(
        cls,
        concepts: Sequence[int],
        scores: Sequence[float],
        boxes: Sequence[Sequence[float]],
        masks: torch.Tensor | None = None,
    ) -> Detections:
        """From plain values."""
        return cls(
            np.asarray(concepts, np.int64).reshape(-1),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(boxes, np.float32).reshape(-1, 4),
            masks,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Detections:
        """The chosen rows: a boolean ``(N,)`` mask or indices."""
        masks = self.masks
        if masks is not None:
            masks = masks[torch.from_numpy(np.asarray(rows)).to(masks.device)]
        return Detections(self.concepts[rows], self.scores[rows], self.boxes[rows], masks)


class Detector(Protocol):
    """Finds all instances of concepts on frames.

    A detector keeps no state of a video, unless it says so (one that learns a background sees every frame once, in
    order). It never filters by the rules of the concept loop: what it is unsure of it gives with a low score.

    Attributes:
        name: what a person types.
        understands_words: whether :attr:`Concept.text` decides what is found; where not, the text only labels it.
        frames_per_call: frames at most that :meth:`detect` should be given at once; 1 where batches gain nothing.
    """

    @property
    def name(self) -> str: ...

    @property
    def understands_words(self) -> bool: ...

    @property
    def frames_per_call(self) -> int: ...

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """Looks for all ``concepts`` on each frame.

        Args:
            sights: the frames, in order of time; each holds the frame's pixels (``sight.pixels(sight.whole)``) and the image
                features that the tracker has, or is going to have, of it.
            concepts: one or more, numbers distinct.

        Returns:
            One item a frame.
        """
        ...


@runtime_checkable
class TakesExemplars(Protocol):
    """A detector that can be shown by boxes what is meant."""

    def learn(self, sight: Sight, concept: Concept, exemplar: Exemplar) -> None:
        """Is shown the frame on which an exemplar of a concept was drawn.

        Args:
            concept: with all of its exemplars, this one among them.
        """
        ...


@runtime_checkable
class LooksBeforehand(Protocol):
    """A detector that begins a video better when it has seen some of it."""

    def prepare_from(self, video: VideoSource) -> None:
        """Takes in what it wants of a video that can be rewound; called before each run."""
        ...


@runtime_checkable
class LearnsAlong(Protocol):
    """A detector that learns from every frame it looks at, in order. A run that goes on shows it the frames of before once more,
    so that it finds what it would have found."""

    def watch(self, sight: Sight) -> None:
        """Learns from a frame, and finds nothing on it."""
        ...


def as_concepts(concepts: str | Concept | Sequence[str | Concept]) -> list[Concept]:
    """Concepts with numbers from 1; texts that differ in case only are one concept.

    Raises:
        InputError: none at all, or one that is not accepted (:class:`Concept`).
    """
    given = [concepts] if isinstance(concepts, (str, Concept)) else list(concepts)
    made: list[Concept] = []
    for item in given:
        concept = Concept(len(made) + 1, item) if isinstance(item, str) else replace(item, number=len(made) + 1)
        if concept.text.casefold() not in [other.text.casefold() for other in made]:
            made.append(concept)
    if not made:
        raise InputError('Say what to look for: a word or a short phrase, such as "cow" or "person in blue".')
    return made


def checked(
    detections: Detections, height: int, width: int, concepts: Sequence[Concept] | None = None
) -> tuple[Detections, Counter[str]]:
    """Detections that can be used: boxes clipped to the frame, rubbish dropped.

    Args:
        height, width: of the frame, px.
        concepts: those that were asked for; a row of any other is rubbish too.

    Returns:
        What is left, and how many rows were dropped by reason: ``"not finite"``, ``"score"`` (outside [0, 1]), ``"box"``
        (inside-out or outside the frame), ``"empty mask"``, ``"concept"`` (not asked for). Each dropped row counts once.
    """
    boxes = detections.boxes.copy()
    finite = np.isfinite(detections.scores) & np.isfinite(boxes).all(axis=1)
    boxes[~finite] = 0
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    full = np.ones(len(detections), bool)
    if detections.masks is not None and len(detections):
        flat = detections.masks.flatten(1)
        finite &= torch.isfinite(flat).all(dim=1).cpu().numpy()
        full = (flat > 0).any(dim=1).cpu().numpy()
    with np.errstate(invalid="ignore"):
        scored = (detections.scores >= 0) & (detections.scores <= 1)
    asked = np.ones(len(detections), bool)
    if concepts is not None:
        asked = np.isin(detections.concepts, [concept.number for concept in concepts])
    tests = {
        "not finite": finite,
        "score": scored,
        "box": (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]),
        "empty mask": full,
        "concept": asked,
    }
    kept = np.ones(len(detections), bool)
    dropped: Counter[str] = Counter()
    for reason, passed in tests.items():
        failed = int((kept & ~passed).sum())
        if failed:
            dropped[reason] = failed
        kept &= passed
    clean = Detections(detections.concepts, detections.scores, boxes, detections.masks)
    return (clean if kept.all() else clean.only(kept)), dropped
