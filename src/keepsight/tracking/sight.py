"""One frame as the model sees it: whole, or in regions, each encoded once and for all objects that look there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Region
from keepsight.models.backbone import Backbone, ImageFeatures


class Sight:
    """Image features of one frame by region.

    Args:
        backbone: encodes.
        rgb: uint8 ``(H, W, 3)``; may be let go with :meth:`forget_pixels` once everything was seen.
        at_once: regions that are encoded in one call at most. Up: fewer calls, more peak memory.
    """

    def __init__(self, backbone: Backbone, rgb: NDArray[np.uint8], at_once: int = 16) -> None:
        self._backbone = backbone
        self._at_once = at_once
        self._rgb: NDArray[np.uint8] | None = rgb
        self._size = (int(rgb.shape[0]), int(rgb.shape[1]))
        self._rows: dict[Region, int] = {}
        self._features: ImageFeatures | None = None
        self._motion: Callable[[], NDArray[np.float32] | None] | None = None
        self._flow: NDArray[np.float32] | None = None

    @classmethod
    def of_features(cls, backbone: Backbone, features: ImageFeatures, size: tuple[int, int]) -> Sight:
        """The sight of a whole frame ``(height, width)`` that was encoded already."""
        sight = cls(backbone, np.empty((*size, 0), np.uint8))
        sight._rgb = None
        sight._rows[Region.whole(*size)] = 0
        sight._features = features
        return sight

    def fork(self) -> Sight:
        """A sight that begins with what this one has seen; what it sees beyond that is its own."""
        other = copy(self)
        other._rows = dict(self._rows)
        return other

    def see_motion(self, motion: Callable[[], NDArray[np.float32] | None]) -> None:
        """Says where the flow to the frame before comes from; a frame that is visited again has another one."""
        self._motion, self._flow = motion, None

    @property
    def backbone(self) -> Backbone:
        """The model that encodes the frame."""
        return self._backbone

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in px."""
        return self._size

    @property
    def whole(self) -> Region:
        return Region.whole(*self._size)

    @property
    def features(self) -> ImageFeatures:
        """Features of all regions seen so far, a row each."""
        if self._features is None:
            raise ValueError("nothing of this frame was looked at yet")
        return self._features

    def see(self, regions: Sequence[Region]) -> list[int]:
        """Rows of :attr:`features` that hold ``regions``; what is new is encoded now."""
        fresh = [region for region in dict.fromkeys(regions) if region not in self._rows]
        if fresh:
            self._encode(fresh)
        return [self._rows[region] for region in regions]

    def has(self, region: Region) -> bool:
        """Whether a region was seen already."""
        return region in self._rows

    def pixels(self, region: Region) -> NDArray[np.uint8]:
        """A part of the frame, uint8 ``(h, w, 3)``."""
        if self._rgb is None:
            raise ValueError("the frame's pixels were let go")
        return self._rgb[region.y1 : region.y2, region.x1 : region.x2]

    def motion(self) -> NDArray[np.float32] | None:
        """See :class:`keepsight.memory.Picture`."""
        if self._motion is not None:
            self._flow, self._motion = self._motion(), None
        return self._flow

    @property
    def has_pixels(self) -> bool:
        return self._rgb is not None

    def recall_pixels(self, rgb: NDArray[np.uint8]) -> None:
        """Gives the frame back that :meth:`forget_pixels` let go."""
        self._rgb = rgb

    def forget_pixels(self) -> None:
        """Frees the frame itself; regions that were not seen before cannot be seen any more."""
        self._rgb = None

    def nbytes(self) -> int:
        """What is held, in bytes."""
        pixels = 0 if self._rgb is None else self._rgb.nbytes
        return pixels + (0 if self._features is None else self._backbone.feature_bytes(self._features))

    def _encode(self, regions: list[Region]) -> None:
        parts = []
        for start in range(0, len(regions), self._at_once):
            views = [self.pixels(region) for region in regions[start : start + self._at_once]]
            parts.append(self._backbone.encode_views(views))
        if self._features is not None:
            parts.insert(0, self._features)
        held = len(self._rows)
        self._features = parts[0] if len(parts) == 1 else self._backbone.join_features(parts)
        for offset, region in enumerate(regions):
            self._rows[region] = held + offset


SightSource: TypeAlias = Callable[[int, NDArray[np.uint8]], Sight]
"""Gives the sight of a frame by its index and its pixels."""
