"""Where everything in a frame was on the frame before: dense optical flow, once a frame for all objects.

DIS flow (Kroeger et al., Fast Optical Flow using Dense Inverse Search, 2016) of OpenCV on small grey pictures. It needs no
weights and takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST_SIDE = 384
"""Longest side of the pictures that flow is computed on, in px."""

SHORTEST_SIDE = 16
"""Pictures with a side below this, in px, hold nothing that flow could follow."""

CUT_ERROR = 0.5
"""Share of the frames' difference that is left after motion was taken out, above which there was none: ours. Flow inside a
shot explains most of what changed; across a cut it moves pixels that belong to other things, and most of it stays."""

CUT_DIFFERENCE = 24.0
"""Mean grey levels (of 255) left after motion was taken out, below which it is not asked whether there was a cut: ours."""

Flow = NDArray[np.float32]


@dataclass(frozen=True)
class _Held:
    """A small grey picture ``(h, w)`` and the frame it is of."""

    frame: int
    grey: NDArray[np.uint8]


class MotionEstimator:
    """Holds the frame followed last, small and grey, and gives the flow from each new one back to it.

    Bounded: one picture of at most ``longest_side`` px a side. Whatever the direction of travel, flow is only given between
    frames that follow each other as the caller says (``before``), so a new run, a turn or a jump has no motion.

    Args:
        longest_side: of the pictures in px; the flow's grid. Up: finer motion of small objects, slower (as its square).
    """

    def __init__(self, longest_side: int = LONGEST_SIDE) -> None:
        self._longest_side = longest_side
        self._held: _Held | None = None

    def look(self, frame: int, rgb: NDArray[np.uint8], before: int) -> Callable[[], Flow | None]:
        """Takes the next frame, and promises its motion: computed when asked for the first time, then remembered.

        Args:
            frame: its index.
            rgb: uint8 ``(H, W, 3)``; not kept.
            before: index of the frame before in the direction of travel.

        Returns:
            What gives the flow as :meth:`estimate` does.
        """
        previous, current = self._held, _Held(frame, self._small(rgb))
        self._held = current
        if previous is None or previous.frame != before or frame == before:
            return lambda: None
        earlier = previous.grey
        found: list[Flow | None] = []

        def motion() -> Flow | None:
            if not found:
                found.append(backward_flow(current.grey, earlier))
            return found[0]

        return motion

    def estimate(self, frame: int, rgb: NDArray[np.uint8], before: int) -> Flow | None:
        """:meth:`look` and ask at once.

        Returns:
            Backward flow ``(h, w, 2)`` as x, y in cells of its own grid, which lies over the whole frame: the cell ``(r, c)``
            was at ``(c + flow[r, c, 0], r + flow[r, c, 1])``. ``None`` when the frame held is not ``before``, after a cut,
            when the frame's shape changed, or when it is too small.
        """
        return self.look(frame, rgb, before)()

    def hold(self, frame: int, rgb: NDArray[np.uint8]) -> None:
        """Takes a frame as the one before without asking for motion; a resumed run begins with this."""
        self._held = _Held(frame, self._small(rgb))

    def forget(self) -> None:
        """Lets the frame held go."""
        self._held = None

    def _small(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = rgb.shape[:2]
        scale = min(1.0, self._longest_side / max(height, width))
        if scale < 1.0:
            size = (max(round(width * scale), 1), max(round(height * scale), 1))
            # Colours first would cost three times as much.
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)


def backward_flow(current: NDArray[np.uint8], previous: NDArray[np.uint8]) -> Flow | None:
    """Where the pixels of ``current`` were on ``previous``.

    Args:
        current, previous: uint8 grey ``(h, w)``.

    Returns:
        float32 ``(h, w, 2)``, x and y in px; ``None`` for pictures of different or too small size, and across a cut.
    """
    if current.shape != previous.shape or min(current.shape) < SHORTEST_SIDE:
        return None
    # An object of its own for every call: it keeps buffers, and threads must not share them.
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
    flow = np.asarray(method.calc(current, previous, None), np.float32)
    return None if not np.isfinite(flow).all() or is_cut(current, previous, flow) else flow


def is_cut(current: NDArray[np.uint8], previous: NDArray[np.uint8], flow: Flow) -> bool:
    """Whether the pictures show different things: much of their difference is left after the flow was taken out."""
    height, width = current.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(previous, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    left = float(cv2.absdiff(current, np.asarray(moved, np.uint8)).mean())
    if left < CUT_DIFFERENCE:
        return False
    return left > CUT_ERROR * float(cv2.absdiff(current, previous).mean())
