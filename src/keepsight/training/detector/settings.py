"""Everything that decides a run, as values that are written beside its results."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from keepsight.core import InputError


@dataclass(frozen=True)
class Weights:
    """How much each loss counts, as in the published fine-tuning of SAM 3; masks, which it leaves out, are taught.

    Attributes:
        box, giou: distance of a box's centre and size, and 1 - generalised IoU.
        score: of queries, see :func:`~keepsight.training.detector.losses.score_loss`.
        presence: of the phrase in the picture.
        focal, dice: of masks; both 0 leaves masks as they were.
        many: of all that the decoder is taught when several queries may find one object, relative to the rest; 0 saves the
            second pass of the decoder.
    """

    box: float = 5.0
    giou: float = 2.0
    score: float = 20.0
    presence: float = 20.0
    focal: float = 200.0
    dice: float = 10.0
    many: float = 1.0


@dataclass(frozen=True)
class Matching:
    """What it costs that a query finds an object, and who may find it as well.

    Attributes:
        score, box, giou: weights of the focal cost, the distance and the generalised IoU (Zhu et al., Deformable DETR, 2021).
        alpha, gamma: of the focal cost.
        many: queries at most that learn from one object in one-to-many matching.
        many_least: how well they must do, in [0, 1]; up: fewer and better ones. The best one always learns.
        many_score: share of the score, beside the IoU, in how well a query does.
    """

    score: float = 2.0
    box: float = 5.0
    giou: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0
    many: int = 4
    many_least: float = 0.4
    many_score: float = 0.3


@dataclass(frozen=True)
class DetectorSettings:
    """A run.

    Attributes:
        base: model that is trained on: a name or a folder.
        steps: updates of the weights; ``None`` goes ``epochs`` times through the pictures.
        epochs: see ``steps``.
        batch: pictures that go through the model together. Up: steadier, more memory.
        accumulate: batches an update. Up: steadier, slower, no more memory.
        phrases: phrases a picture at most that are asked of it, those that are not in it included.
        negatives: share of these that are not in the picture, where there are such.
        rate: peak learning rate of the detection transformer and its heads.
        vision_rate: of the image encoder; 0 freezes it and keeps the features of every picture.
        text_rate: of the text encoder; 0 freezes it.
        layer_decay: factor from a layer of the image encoder to the one before it.
        lora: rank of low-rank updates of the image encoder's attention in place of all its weights; 0 for none.
        schedule: how the rate falls after ``warmup`` steps.
        average: decay of the moving average of the weights, which is what comes out.
        decay, clip: weight decay, and the norm above which gradients are scaled down.
        flip: show every picture mirrored half of the time; not where phrases say left and right.
        held_out: share of the pictures that is kept for the measurement where no pictures are given for it.
        frame_step: of a project every n-th frame is a picture; neighbours are almost the same.
        seed: of everything drawn.
        weights, matching: see there.
        rounds: resamplings of the pictures behind an interval.
    """

    base: str = "sam3"
    steps: int | None = None
    epochs: float = 20.0
    batch: int = 1
    accumulate: int = 2
    phrases: int = 4
    negatives: float = 0.5
    rate: float = 8e-5
    vision_rate: float = 0.0
    text_rate: float = 0.0
    layer_decay: float = 0.9
    lora: int = 0
    schedule: Literal["inverse-sqrt", "cosine"] = "inverse-sqrt"
    warmup: int = 20
    average: float = 0.99
    decay: float = 0.1
    clip: float = 0.1
    flip: bool = False
    held_out: float = 0.2
    frame_step: int = 10
    seed: int = 0
    weights: Weights = field(default_factory=Weights)
    matching: Matching = field(default_factory=Matching)
    rounds: int = 1000

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            InputError: which setting, and its range.
        """
        at_least_one = {name: getattr(self, name) for name in ("batch", "accumulate", "phrases", "frame_step")}
        for name, value in at_least_one.items():
            if value < 1:
                raise InputError(f"{name} is 1 or more, not {value}.")
        if self.rate <= 0:
            raise InputError(f"rate is more than 0, not {self.rate}.")
        for name in ("vision_rate", "text_rate", "decay", "lora", "warmup"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is 0 or more, not {getattr(self, name)}.")
        for name, low, high in (("negatives", 0, 0.9), ("layer_decay", 0, 1), ("held_out", 0, 0.9)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {low} to {high}, not {getattr(self, name)}.")
        if self.lora and self.vision_rate:
            raise InputError("Low-rank updates take the place of training the image encoder; give one of the two.")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is 1 or more, not {self.steps}.")

    @property
    def sees_anew(self) -> bool:
        """Whether the image encoder changes, so that features cannot be kept."""
        return self.vision_rate > 0 or self.lora > 0

    def resolved(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
