"""The values that flow through the house: frames in, prompts beside them, results out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core.errors import InputError
from keepsight.core.geometry import Box, as_box, box_area, clip_box
from keepsight.core.mask import Mask


class Source(StrEnum):
    """Where a mask came from."""

    PROMPT = "prompt"
    TRACKED = "tracked"
    REVISED = "revised"  # tracked, and changed once the end was known
    DETECTED = "detected"
    EDITED = "edited"
    IMPORTED = "imported"


class Direction(StrEnum):
    """Which way a range of frames is followed."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    Attributes:
        index: position in display order, from 0; stable for a given source.
        time_s: presentation time in seconds from the first frame.
        rgb: uint8 ``(H, W, 3)``, upright (rotation metadata applied).
    """

    index: int
    time_s: float
    rgb: NDArray[np.uint8]

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


@dataclass(frozen=True)
class Prompt:
    """What a person says about one object on one frame: clicks and/or a box, or a mask.

    Attributes:
        object_id: the object, >= 0; chosen by the user.
        frame: frame index.
        points: ``((x, y), ...)`` in px of the displayed frame.
        labels: 1 (on the object) or 0 (not on it), one a point.
        box: ``(x1, y1, x2, y2)`` in px.
        mask: the object's pixels; excludes points and box.
        label: a name such as "rabbit".

    Raises:
        InputError: nothing given, lengths that differ, NaN, an inside-out box, a mask together with clicks.
    """

    object_id: int
    frame: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    mask: Mask | None = None
    label: str | None = None

    @classmethod
    def of(
        cls,
        object_id: int,
        frame: int,
        *,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: Any | None = None,
        label: str | None = None,
    ) -> Prompt:
        """A prompt of what callers have at hand: lists, numbers of any kind.

        Args:
            labels: default: every point is on the object.
            mask: :class:`Mask` or ``(H, W)`` array.

        Raises:
            InputError: see :class:`Prompt`.
        """
        corners = None if box is None else as_box(box)
        pixels = mask if mask is None or isinstance(mask, Mask) else Mask.from_array(mask)
        marks = tuple((float(x), float(y)) for x, y in points)
        signs = (1,) * len(marks) if labels is None else tuple(int(value) for value in labels)
        return cls(object_id, frame, marks, signs, corners, pixels, label)

    def __post_init__(self) -> None:
        where = f"Prompt for object {self.object_id} on frame {self.frame}"
        if self.object_id < 0:
            raise InputError(f"{where}: object ids are 0 or more.")
        if len(self.points) != len(self.labels):
            raise InputError(f"{where}: {len(self.points)} points but {len(self.labels)} point labels.")
        if any(label not in (0, 1) for label in self.labels):
            raise InputError(f"{where}: a point label is 1 (on the object) or 0 (not on it).")
        if any(len(point) != 2 for point in self.points):
            raise InputError(f"{where}: a point is x,y.")
        if self.box is not None and len(self.box) != 4:
            raise InputError(f"{where}: a box is X1,Y1,X2,Y2, got {len(self.box)} numbers.")
        numbers = [value for point in self.points for value in point] + list(self.box or ())
        if not all(np.isfinite(numbers)):
            raise InputError(f"{where}: coordinates must be finite numbers.")
        if self.box is not None and not (self.box[2] > self.box[0] and self.box[3] > self.box[1]):
            raise InputError(f"{where}: a box is X1,Y1,X2,Y2 with X2 > X1 and Y2 > Y1, got {self.box}.")
        if self.mask is not None and (self.points or self.box is not None):
            raise InputError(f"{where}: give a mask, or points and a box, not both.")
        if self.mask is None and not self.points and self.box is None:
            raise InputError(f"{where}: give at least one point, a box or a mask.")

    def check_inside(self, height: int, width: int) -> None:
        """Raises :class:`InputError` when the prompt does not fit a frame of ``height`` x ``width`` px."""
        where = f"Prompt for object {self.object_id} on frame {self.frame}"
        size = f"the {width}x{height} px frame"
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(f"{where}: point {x:g},{y:g} lies outside {size}.")
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            if box_area(clip_box(self.box, height, width)) == 0:
                raise InputError(f"{where}: box {x1:g},{y1:g},{x2:g},{y2:g} lies outside {size}.")
        if self.mask is not None:
            if (self.mask.height, self.mask.width) != (height, width):
                raise InputError(
                    f"{where}: the mask is {self.mask.width}x{self.mask.height} px but the frame is {width}x{height} px."
                )
            if self.mask.area == 0:
                raise InputError(f"{where}: the mask is empty; mark at least one pixel.")


@dataclass(frozen=True)
class TrackedObject:
    """One object on one frame.

    Attributes:
        object_id: the user's id.
        mask: pixels at the frame's size; empty when the object is absent.
        score: the model's own estimate of the mask's IoU, in [0, 1].
        presence: probability that the object is visible, in [0, 1]; below 0.5 the mask is empty.
        source: where the mask came from.
    """

    object_id: int
    mask: Mask
    score: float
    presence: float
    source: Source = Source.TRACKED

    @property
    def present(self) -> bool:
        return self.mask.area > 0


@dataclass(frozen=True)
class FrameResult:
    """Every followed object on one frame; objects may overlap.

    Attributes:
        frame: frame index.
        time_s: presentation time in seconds.
        height, width: frame size in px.
        objects: in the order in which they were added.
        revised: the result replaces one that was given earlier for this frame (a policy that looks back).
    """

    frame: int
    time_s: float
    height: int
    width: int
    objects: tuple[TrackedObject, ...] = field(default=())
    revised: bool = False

    def __getitem__(self, object_id: int) -> TrackedObject:
        for item in self.objects:
            if item.object_id == object_id:
                return item
        raise KeyError(object_id)
