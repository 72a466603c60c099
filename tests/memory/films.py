"""Pictures whose motion is known, and masks in them, for policies that look at motion."""

from __future__ import annotations

import numpy as np

from keepsight.core import Region

HEIGHT, WIDTH, CELLS = 120, 160, 64
FRAME = Region.whole(HEIGHT, WIDTH)


class Film:
    """A picture as a policy sees it: a size, and a motion that is the same everywhere (px of the frame) or given."""

    def __init__(self, shift=None, *, flow=None, size=(HEIGHT, WIDTH), grid=(30, 40)):
        self.size = size
        self._flow = flow
        if shift is not None:
            cells = (-shift[0] * grid[1] / size[1], -shift[1] * grid[0] / size[0])
            self._flow = np.broadcast_to(np.array(cells, np.float32), (*grid, 2)).copy()

    def motion(self):
        return self._flow


def rectangle(box, region=FRAME, cells=CELLS):
    """Mask ``(cells, cells)`` over ``region`` of the px box."""
    rows, columns = np.mgrid[:cells, :cells]
    x = region.x1 + (columns + 0.5) * region.width / cells
    y = region.y1 + (rows + 0.5) * region.height / cells
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
