"""What the engine asks of a model, whatever its family.

A backbone holds weights and nothing else: no session state, no memory rule. Everything that belongs to one object travels
in and out as opaque values (:data:`SpatialMemory`, pointers), which only the backbone that made them reads.

A batch is over *units*, one unit being one hypothesis of one object. Image features are of one frame: a row for each *view*
of it (the whole frame, or a region that is looked at closely), and every unit says which view is its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box, Placement

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Model = TypeVar("_Model", bound="Backbone")

ABSENT_LOGIT = -1024.0
"""Mask logit of an absent object everywhere (the references' value)."""

ImageFeatures: TypeAlias = Any
"""Features of one or several views of a frame, made by :meth:`Backbone.encode_image`."""

SpatialMemory: TypeAlias = Any
"""One unit's spatial memory of one frame, made by :meth:`Backbone.encode_memory`."""


@dataclass(frozen=True)
class BackboneInfo:
    """What the engine and the policies have to know about the weights.

    Attributes:
        name: model name as the user gave it.
        family: "sam2", "sam3-tracker", "edgetam", "builtin".
        image_size: side of the square model input in px.
        mask_size: side of the low-resolution mask logits.
        slots, pointers, max_conditioning: see :class:`keepsight.memory.MemoryLimits`; plain numbers here because
            ``models`` and ``memory`` do not know each other.
        multimask_points: (least, most) number of points for which several candidates are decoded; tracking counts as 0.
        zoom: whether these weights gain by looking at small objects closely (:class:`keepsight.tracking.Zoom`) when nothing
            else is said.
        whole_bonus: what is added to the IoU estimates of a click's candidates to choose among them under zoom, for weights
            whose later candidates are the larger wholes and are underrated; empty: nothing.
        multimask_tracking: whether several candidates are decoded on frames without a prompt.
        feeds_back_logits: whether the previous mask may be given along with further clicks.
    """

    name: str
    family: str
    image_size: int
    mask_size: int
    slots: int
    pointers: int
    max_conditioning: int = -1
    multimask_points: tuple[int, int] = (0, 1)
    multimask_tracking: bool = True
    feeds_back_logits: bool = True
    zoom: bool = False
    whole_bonus: tuple[float, ...] = ()

    def multimask(self, points: int, *, prompted: bool) -> bool:
        """Whether several candidates are decoded for a frame with this many points (a box counts as two)."""
        least, most = self.multimask_points
        return (prompted or self.multimask_tracking) and least <= points <= most


@dataclass(frozen=True)
class MemoryRead:
    """One record to be attended by one unit.

    Attributes:
        memory: what :meth:`Backbone.encode_memory` gave.
        slot_code: index into the temporal table; ``slots - 1`` is the conditioning class, 0 the newest recent frame.
        conditioning: whether the record is of a conditioning frame.
        token_keep: bool ``(grid, grid)`` positions that may be attended, ``None`` for all.
        key_scale: factor on the keys before projection.
        age: steps between the memory's frame and the present one; 1 is the frame before.
        placement: where the view in which the memory was written lies in the unit's present view, ``None`` when they are
            the same.
    """

    memory: SpatialMemory
    slot_code: int
    conditioning: bool
    token_keep: NDArray[np.bool_] | None = None
    key_scale: float = 1.0
    age: int = 0
    placement: Placement | None = None


@dataclass(frozen=True)
class PointerToken:
    """One object pointer to be attended; ``position`` is already divided by the pointer budget less one."""

    pointer: Tensor
    position: float
    key_scale: float = 1.0


@dataclass(frozen=True)
class UnitReads:
    """Everything one unit attends to; nothing at all means that the frame is seen without memory."""

    spatial: tuple[MemoryRead, ...] = ()
    pointers: tuple[PointerToken, ...] = ()


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of a batch of units that all have the same number of points.

    Attributes:
        points: ``(B, P, 2)`` float, px of the model input (``image_size`` square).
        labels: ``(B, P)`` int: 1 on the object, 0 not on it, 2 / 3 top-left / bottom-right box corner, -1 padding.
        logits: ``(B, 1, mask_size, mask_size)`` previous mask logits, or ``None``.
    """

    points: Tensor
    labels: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class Decoded:
    """Mask candidates of a batch of units, before any presence gate.

    Attributes:
        logits: ``(B, M, mask_size, mask_size)``.
        ious: ``(B, M)`` in [0, 1].
        object_scores: ``(B,)`` presence logits.
        pointers: ``(B, M, C)`` or ``None`` when the backbone has no pointers.
    """

    logits: Tensor
    ious: Tensor
    object_scores: Tensor
    pointers: Tensor | None


def unless_learning(
    method: Callable[Concatenate[_Model, _Arguments], _Answer],
) -> Callable[Concatenate[_Model, _Arguments], _Answer]:
    """Runs a method of a backbone in inference mode, unless the backbone is being trained."""

    @wraps(method)
    def run(self: _Model, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        if self.learning:
            return method(self, *args, **kwargs)
        with torch.inference_mode():
            return method(self, *args, **kwargs)

    return run


class Backbone(ABC):
    """Adapter over the neural modules of one model family; see the module docstring.

    Attributes:
        learning: gradients flow through the calls; only training turns it on.
    """

    info: BackboneInfo
    device: torch.device
    dtype: torch.dtype
    learning: bool = False

    def leading(self) -> AbstractContextManager[None]:
        """Held by the engine while it works; a backbone may set up the calling thread here."""
        return nullcontext()

    @property
    def views_at_once(self) -> int:
        """How many views :meth:`encode_views` encodes in about the time of one, as it is led now."""
        return 1

    @abstractmethod
    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Turns an upright uint8 ``(H, W, 3)`` frame, or a part of one, into ``(1, 3, image_size, image_size)`` on the device."""

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Features of views ``(V, 3, image_size, image_size)`` of one frame, a row each."""

    def encode_views(self, views: Sequence[NDArray[np.uint8]]) -> ImageFeatures:
        """:meth:`encode_image` of parts of one frame, upright uint8 ``(h, w, 3)`` each."""
        pixels = [self.preprocess(view) for view in views]
        if self.device.type == "cpu":
            # Batches gain nothing here, and they round in other ways: what an object sees must not hang on who else looks.
            parts = [self.encode_image(view) for view in pixels]
            return parts[0] if len(parts) == 1 else self.join_features(parts)
        return self.encode_image(pixels[0] if len(pixels) == 1 else torch.cat(pixels))

    @abstractmethod
    def join_features(self, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """The rows of several features one after the other."""

    @abstractmethod
    def feature_bytes(self, features: ImageFeatures) -> int:
        """Size of cached features in bytes."""

    @abstractmethod
    def condition(self, features: ImageFeatures, reads: Sequence[UnitReads], views: Sequence[int]) -> Any:
        """Image features as each unit sees them through its memory; a batch of ``len(reads)``, opaque.

        All units of a call either have memory or have none.

        Args:
            views: row of ``features`` that each unit sees.
        """

    @abstractmethod
    def decode(
        self,
        features: ImageFeatures,
        conditioned: Any,
        prompts: PromptBatch | None,
        multimask: bool,
        views: Sequence[int],
    ) -> Decoded:
        """Mask candidates; several (the ambiguity of a click) with ``multimask``, else one."""

    @abstractmethod
    def select_units(self, conditioned: Any, units: Sequence[int]) -> Any:
        """The given rows of what :meth:`condition` returned."""

    @abstractmethod
    def mask_prompt_pointer(
        self, features: ImageFeatures, masks: Tensor, multimask: bool, views: Sequence[int]
    ) -> Tensor | None:
        """Pointers ``(B, C)`` for binary masks ``(B, 1, image_size, image_size)`` that were given, not predicted.

        Args:
            multimask: take the pointer of the best of several candidates instead of the single one.
        """

    @abstractmethod
    def encode_memory(
        self,
        features: ImageFeatures,
        mask_logits: Tensor,
        object_scores: Tensor,
        binarize: bool,
        views: Sequence[int],
    ) -> list[SpatialMemory]:
        """Spatial memories of a batch.

        Args:
            mask_logits: ``(B, 1, image_size, image_size)`` or ``(B, 1, mask_size, mask_size)``, absent gate applied; the
                memory encoder's own size does as well, where a backbone has one.
            object_scores: ``(B,)``; <= 0 adds the absent embedding where the weights have one.
            binarize: write the mask as 0/1 (prompted frames) instead of soft.
        """

    def absent_pointer(self) -> Tensor | None:
        """The pointer ``(1, C)`` of an object that is not there."""
        return None

    def coarse(self, features: ImageFeatures) -> ImageFeatures:
        """The same features, with which :meth:`decode` leaves out what makes edges sharp, where that is a step of its own.

        For many candidates of which few are kept; those go through :meth:`sharpen`. Logits may be of a smaller size.
        """
        return features

    def sharpen(self, features: ImageFeatures, logits: Tensor, view: int) -> Tensor:
        """Logits ``(B, mask_size, mask_size)`` with sharp edges, of coarse ones ``(B, h, w)`` that see the row ``view``."""
        return logits

    def sharpen_each(self, features: ImageFeatures, logits: Tensor, views: Sequence[int]) -> Tensor:
        """:meth:`sharpen` of masks ``(B, h, w)`` that see a row each."""
        parts = [self.sharpen(features, mask[None], view) for mask, view in zip(logits, views, strict=True)]
        return torch.cat(parts)

    def outline(self, logits: Tensor, rgb: NDArray[np.uint8], box: Box) -> Tensor:
        """The answer to nothing but a box, its outline decided anew where this model does not see it well; unchanged otherwise.

        Args:
            logits: ``(mask_size, mask_size)``, what it was answered with.
            rgb: uint8 ``(h, w, 3)``, the part of the frame that the mask lies on, at the frame's size.
            box: what was drawn, in cells of the mask.
        """
        return logits

    def dense(self, features: ImageFeatures) -> Tensor | None:
        """Unit-length feature vectors ``(V, C, h, w)`` that are alike where views look alike; ``None`` where there are none."""
        return None

    @abstractmethod
    def pack_memory(self, memory: SpatialMemory) -> dict[str, Tensor]:
        """Tensors from which :meth:`unpack_memory` makes an equal memory; for checkpoints."""

    @abstractmethod
    def unpack_memory(self, tensors: dict[str, Tensor]) -> SpatialMemory:
        """Inverse of :meth:`pack_memory`."""
