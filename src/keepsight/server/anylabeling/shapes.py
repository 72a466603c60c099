"""Masks as the client's shapes, and many frames of them within what the client can read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import Mask, TrackedObject
from keepsight.formats.polygons import outlines

Kind: TypeAlias = Literal["polygon", "rectangle"]
Shape: TypeAlias = dict[str, Any]

EPSILON = 0.001
"""How far a polygon may lie from the outline when nothing is said, as a part of the outline's length."""

BUDGET = 1_400_000
"""Bytes of the last event: the client needs 1 s for a line of 1 MB, a minute for one of 8 MB, and is frozen meanwhile."""

_SMALL = 0.02  # parts below this share of the largest one are left out: dirt, that a person would have to delete
_COARSEST = 0.2
_MOST_GROUP = 9999  # of the client's manager of group ids


def group_id(object_id: int) -> int:
    """An object's id as the client takes it: 1 to 9999."""
    return (object_id - 1) % _MOST_GROUP + 1


def shapes_of(item: TrackedObject, label: str, kind: Kind, epsilon: float = EPSILON) -> list[Shape]:
    """The shapes of an object on a frame; none when it is not there.

    Args:
        kind: "polygon": one a part, all with the same group id; "rectangle": one around everything.
        epsilon: see :data:`EPSILON`.
    """
    box = item.mask.box
    if box is None or not item.present:
        return []
    x1, y1, x2, y2 = box
    corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
    if kind == "rectangle":
        return [_shape(item, label, kind, corners)]
    parts = [_simplified(part, epsilon) for part in _parts(item.mask)]
    found = [_shape(item, label, kind, [*points, points[0]]) for points in parts if len(points) >= 3]
    return found or [_shape(item, label, kind, [*corners, corners[0]])]


def _parts(mask: Mask) -> list[NDArray[np.float32]]:
    found = [part.astype(np.float32) for part in outlines(mask)[0]]
    areas = [cv2.contourArea(part) for part in found]
    least = _SMALL * max(areas, default=0.0)
    return [part for part, area in zip(found, areas, strict=True) if area > 0 and area >= least]


def _simplified(part: NDArray[np.float32], epsilon: float) -> list[list[float]]:
    reduced = cv2.approxPolyDP(part, epsilon * cv2.arcLength(part, True), True)[:, 0]
    return [[_short(x), _short(y)] for x, y in reduced.tolist()]


def _shape(item: TrackedObject, label: str, kind: Kind, points: list[list[float]]) -> Shape:
    return {
        "label": label,
        "shape_type": kind,
        "points": [[_short(x), _short(y)] for x, y in points],
        "score": round(float(item.score), 3),
        "group_id": group_id(item.object_id),
    }


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 1)


def compact(value: Any) -> bytes:
    """JSON in few bytes, ASCII only: the client cuts lines at anything that Unicode calls one."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()


Read: TypeAlias = Callable[[], Iterable[tuple[int, Iterable[TrackedObject]]]]


def pack(
    read: Read, frames: range, labels: Mapping[int, str], kind: Kind, epsilon: float, shift: int, budget: int = BUDGET
) -> dict[str, Any]:
    """``{"<frame>": {"masks": [...]}}`` of all frames, coarser where it would be too much for the client.

    Args:
        read: gives frames with their objects; is called again for each coarser try.
        labels: of the objects that count.
        shift: added to the numbers of frames.
    """
    while True:
        packed: dict[str, Any] = {str(frame + shift): {"masks": []} for frame in frames}
        size = 0
        for frame, items in read():
            masks = [
                shape
                for item in items
                if item.object_id in labels
                for shape in shapes_of(item, labels[item.object_id], kind, epsilon)
            ]
            packed[str(frame + shift)] = {"masks": masks}
            size += len(compact(masks))
        if size <= budget or kind == "rectangle" or epsilon >= _COARSEST:
            return packed
        # Small steps: a shape's number of corners falls slower than what it is allowed to be off.
        epsilon = min(max(epsilon, EPSILON / 2) * min(max(size / budget, 1.5), 4.0), _COARSEST)
