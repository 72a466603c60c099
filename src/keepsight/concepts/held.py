"""Results that wait, because objects in them may still be found to be none."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from keepsight.core import FrameResult, Mask, Source, TrackedObject


class HeldResults:
    """Results in the order in which they go out; masks are run lengths, so they are small."""

    def __init__(self) -> None:
        self._waiting: deque[FrameResult] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def hold(self, result: FrameResult) -> None:
        self._waiting.append(result)

    def give(self) -> FrameResult:
        """The oldest one."""
        return self._waiting.popleft()

    def clear(self) -> None:
        self._waiting.clear()

    def hide(self, ids: Collection[int]) -> None:
        """Takes objects out of all that wait."""
        if ids:
            self._waiting = deque(
                replace(result, objects=tuple(item for item in result.objects if item.object_id not in ids))
                for result in self._waiting
            )

    def state(self) -> list[dict[str, Any]]:
        """JSON values."""
        return [_packed(result) for result in self._waiting]

    def restore(self, state: list[dict[str, Any]]) -> None:
        self._waiting = deque(_unpacked(packed) for packed in state)


def _packed(result: FrameResult) -> dict[str, Any]:
    return {
        "frame": result.frame,
        "time_s": result.time_s,
        "size": [result.height, result.width],
        "objects": [
            [item.object_id, item.mask.to_coco(), item.score, item.presence, item.source.value]
            for item in result.objects
        ],
    }


def _unpacked(packed: dict[str, Any]) -> FrameResult:
    height, width = packed["size"]
    objects = tuple(
        TrackedObject(object_id, Mask.from_coco(mask), score, presence, Source(source))
        for object_id, mask, score, presence, source in packed["objects"]
    )
    return FrameResult(packed["frame"], packed["time_s"], height, width, objects)
