"""Where to look: a search region around each object, at the full resolution of the model's input.

A person of 30 x 90 px in a large frame is a dozen cells of a small model's input, and no memory rule brings back what the
resize has thrown away. So the model may look at a square around the object instead of at the whole frame. The region
stands still while the object stays well inside it, so that places in it mean the same from frame to frame; it follows when
the object leaves its middle or changes in size. When the object is lost the region grows to the whole frame and then walks
over it in tiles, one a frame, so that a small object that comes back anywhere is seen large enough to be known again.

Only rules are here, as pure functions of boxes; :mod:`keepsight.tracking.engine` calls the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from keepsight.core import Box, Region
from keepsight.core.errors import InputError

SEEN_SHARE = 0.05
"""Share of the frame's longer side from which an object is seen in a look at the whole frame: a dozen px of the built-in model's
256."""

REMNANT, SHRUNK, SWOLLEN = 0.4, 0.75, 1.5
"""Sides over the believed one: below the first next to nothing is left of an object, below the second a part of it; above the
third it is more than the object."""

UNSURE_LARGER = 1.15
"""How much larger than it was a lost object may be found by a mask that is not sure of its outline."""


@dataclass(frozen=True)
class Zoom:
    """How closely objects are looked at. All sides are of squares.

    Attributes:
        context: side of the region over the larger side of the object's box. Up: survives faster motion, sees less
            detail; from 1.5.
        prompt_context: the same on a frame with a box that a person drew, where the object is known to be inside.
        least_px: least side in px of the frame: enlarging further shows nothing more.
        whole_share: a region whose side would be at least this share of the frame's longer side becomes the whole
            frame; such objects share one look.
        drift: how far the object's centre may go from the region's, over the region's side, before it follows.
        rescale: by what factor the wanted side may differ from the region's before it is taken.
        grow, shrink: by what factor an object is believed to change its size in one step, at most.
        found_ratio: by what factor a lost object that is found again may be smaller than it was.
        found_larger: by what factor it may be larger. Up: finds what has come closer meanwhile, and more that it is not.
        guessed_larger: the same of an object that was only clicked on: nobody said how large it is, and its first mask is often a
            part of it.
        found_iou: least IoU estimate of what is found.
        part_iou: IoU estimate from which it may be half as large as that, for it may be a part that comes out first.
        found_likeness: least likeness of its colours, in [0, 1] (:func:`keepsight.tracking.appearance.likeness`).
        unsure_iou, unsure_likeness: least IoU estimate and likeness of what is found and is not sure of its outline.
        spread_likeness: least likeness of what has become much larger while it was being followed.
        kept_likeness: the same for the little that is left of an object that is being followed.
        shrunk_likeness: the same for a part of it, and for what lies where it is expected of a mask that has spread.
        stray: pieces of a mask further from its largest piece than this, over that piece's larger side, are not of the
            object, unless they are half as large and where it was a frame before; nor are those as far from all that clicks
            were given on. 0 keeps all. Up: keeps what an occluder cut off, and leaks as well.
        search_context: side of the tiles in which a lost object is searched, over the object's larger side.
        pyramid_step: factor between the sides of the looks with which a click without a mask is answered.
        pyramid_least_px: side of the closest of them.
    """

    context: float = 2.5
    prompt_context: float = 2.0
    least_px: int = 48
    whole_share: float = 0.85
    drift: float = 0.12
    rescale: float = 1.15
    grow: float = 1.05
    shrink: float = 1.02
    found_ratio: float = 2.0
    found_larger: float = 1.3
    guessed_larger: float = 2.0
    found_iou: float = 0.5
    part_iou: float = 0.8
    found_likeness: float = 0.8
    unsure_iou: float = 0.15
    unsure_likeness: float = 0.9
    spread_likeness: float = 0.86
    kept_likeness: float = 0.7
    shrunk_likeness: float = 0.45
    stray: float = 0.25
    search_context: float = 6.0
    pyramid_step: float = 2.0
    pyramid_least_px: int = 96

    def __post_init__(self) -> None:
        for name, least in (
            ("context", 1.5),
            ("prompt_context", 1.1),
            ("search_context", 2.0),
            ("rescale", 1.01),
            ("grow", 1.0),
            ("shrink", 1.0),
            ("found_ratio", 1.0),
            ("found_larger", 1.0),
            ("guessed_larger", 1.0),
            ("pyramid_step", 1.2),
        ):
            if not getattr(self, name) >= least:
                raise InputError(f"zoom: {name} must be at least {least}, got {getattr(self, name)}.")
        if not 0 < self.whole_share <= 1 or not 0 < self.drift < 0.5:
            raise InputError("zoom: whole_share must be in (0, 1] and drift in (0, 0.5).")
        for name in (field.name for field in fields(self) if field.name.endswith(("_iou", "_likeness"))):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"zoom: {name} must be in [0, 1], got {getattr(self, name)}.")
        if self.least_px < 8 or self.pyramid_least_px < 8:
            raise InputError("zoom: least_px and pyramid_least_px must be at least 8.")

    # -- on tracked frames -------------------------------------------------------------------------------------------
    def believe(self, box: Box, extent: float, size: tuple[int, int]) -> float:
        """The extent of an object that was believed to have ``extent`` and is now seen at ``box``.

        A mask loses and gains parts faster than things change their size: believing each would zoom in on a part, or out
        over a leak, with no way back.
        """
        seen = _extent(box)
        height, width = size
        leaving = box[0] <= 1 or box[1] <= 1 or box[2] >= width - 1 or box[3] >= height - 1
        return min(max(seen, extent if leaving else extent / self.shrink), extent * self.grow)

    def plausible(self, box: Box, extent: float, iou: float, *, guessed: bool = False) -> bool:
        """Whether what was found at ``box``, with an IoU estimate of ``iou``, may be a lost object of ``extent``.

        Args:
            guessed: whether nobody said how large it is.

        What comes out from behind something, or back into the frame, is only a part at first: less will do where the
        estimate is high. What is larger than the object was is mostly several things at once.
        """
        ratio = _extent(box) / max(extent, 1.0)
        least = 1 / self.found_ratio if iou < self.part_iou else 0.5 / self.found_ratio
        most = self.guessed_larger if guessed else self.found_larger
        return iou >= self.found_iou and least <= ratio <= most

    def recognised(
        self,
        box: Box,
        extent: float,
        iou: float,
        likeness: float,
        *,
        guessed: bool = False,
        just_seen: bool = False,
    ) -> bool:
        """Whether what was found at ``box`` is a lost object of ``extent``, by its colours too; see :meth:`plausible`.

        Args:
            just_seen: whether it was seen on the step before. What looks just like it may then differ from it in size as much
                as what is being followed.

        What is of its size and looks just like it need not be sure of its outline: a large thing that comes back in another pose
        gets a mask of .75 and an estimate of .2. On 64 generated clips such finds were right for 5 objects and wrong for 2.
        """
        alike = iou >= self.unsure_iou and likeness >= self.unsure_likeness and _extent(box) <= UNSURE_LARGER * extent
        trusted = max(iou, self.found_iou) if alike else iou
        likely = just_seen and iou >= self.found_iou and likeness >= self.unsure_likeness
        if likely and SHRUNK * extent <= _extent(box) <= SWOLLEN * extent:
            return True
        return likeness >= self.found_likeness and self.plausible(box, extent, trusted, guessed=guessed)

    def swollen(self, box: Box, extent: float) -> bool:
        """Whether what is seen at ``box`` is much larger than an object of ``extent`` can have become in a step."""
        return _extent(box) > SWOLLEN * extent

    def least_likeness(self, box: Box, extent: float) -> float:
        """Least likeness of its colours that an object of ``extent`` must have that is followed and now seen at ``box``.

        The more its size says that it is something else, the more its colours must say that it is not. Colours alone decide
        nothing: they change with the light.
        """
        if self.swollen(box, extent):
            return self.spread_likeness
        seen = _extent(box)
        return (
            self.kept_likeness if seen < REMNANT * extent else self.shrunk_likeness if seen < SHRUNK * extent else 0.0
        )

    def follow(
        self, box: Box, extent: float, before: Region, size: tuple[int, int], ahead: tuple[float, float] = (0.0, 0.0)
    ) -> Region:
        """The region in which to look for an object that was last seen at ``box`` in the region ``before``.

        Args:
            ahead: px that it is likely to have moved since; 0 for slow objects, for which the region waits.
        """
        whole = Region.whole(*size)
        side = max(self.context * extent, min(1.5 * _extent(box), 1.5 * self.context * extent))
        box, side = _shifted(box, ahead), side + 0.5 * math.hypot(*ahead)
        best = self._square(box, side, size)
        if before in (whole, best) or best == whole:
            return best
        ratio = max(best.width, best.height) / max(before.width, before.height)
        moved = max(abs(best.x1 + best.x2 - before.x1 - before.x2), abs(best.y1 + best.y2 - before.y1 - before.y2)) / (
            2 * max(before.width, before.height)
        )
        settled = 1 / self.rescale <= ratio <= self.rescale
        return before if settled and moved <= self.drift else best

    def hurries(self, ahead: tuple[float, float], extent: float) -> bool:
        """Whether an object of ``extent`` that moves so many px would leave the middle of a region that waits for it."""
        return math.hypot(*ahead) > self.drift * max(self.context * extent, self.least_px)

    def search(
        self,
        box: Box,
        extent: float,
        lost: int,
        before: Region,
        size: tuple[int, int],
        ahead: tuple[float, float] = (0.0, 0.0),
        *,
        paced: bool = True,
    ) -> Region:
        """The region in which to look for an object that was last seen at ``box``, ``lost`` steps ago (1 or more).

        Args:
            ahead: px that it is likely to have moved since; 0 for slow objects.
            paced: whether it is known how fast it is.
        """
        whole = Region.whole(*size)
        near = self.context * extent
        box = _shifted(box, ahead)
        if lost == 1:
            return before if paced and ahead == (0.0, 0.0) else self._square(box, 1.5 * near, size)
        # No further than it would still be seen in: an object of a few cells is found in tiles, not in the whole frame.
        seen = seen_in_whole_frame(extent, size)
        widest = max(size) * self.whole_share if seen else 1.25 * self.search_context * extent
        steps = math.ceil(math.log(max(widest / near, 1.0), 1.5))
        if lost <= steps:
            return self._square(box, near * 1.5 ** (lost - 1), size)
        tiles = self.tiles(extent, size)
        turn = lost - 1 - steps
        if turn % 2 == 0:
            # Most things come back where they went: from behind what hid them, or through the same side of the frame.
            return self._square(box, 1.5 * near, size)
        turn //= 2
        if not tiles:
            return whole
        # Between the tiles the whole frame is looked at now and then: a large object shows there at once.
        if seen:
            return whole if turn % 4 == 0 else tiles[(turn - turn // 4 - 1) % len(tiles)]
        middle = (box[0] + box[2], box[1] + box[3])
        tiles.sort(key=lambda tile: math.hypot(tile.x1 + tile.x2 - middle[0], tile.y1 + tile.y2 - middle[1]))
        return whole if turn % 8 == 7 else tiles[(turn - turn // 8) % len(tiles)]

    def tiles(self, extent: float, size: tuple[int, int]) -> list[Region]:
        """Overlapping tiles that cover the frame, sized for an object of ``extent``; none where one would do."""
        side = max(self.search_context * extent, float(self.least_px))
        if side >= self.whole_share * max(size):
            return []
        height, width = size
        ys, xs = _steps(height, side), _steps(width, side)
        return [self._square((x, y, x + side, y + side), side, size) for y in ys for x in xs]

    def cut_off(self, box: Box, region: Region, size: tuple[int, int]) -> bool:
        """Whether a mask runs into a border of its region behind which the frame goes on."""
        height, width = size
        edge = 0.015 * max(region.width, region.height)
        return (
            (box[0] - region.x1 < edge and region.x1 > 0)
            or (box[1] - region.y1 < edge and region.y1 > 0)
            or (region.x2 - box[2] < edge and region.x2 < width)
            or (region.y2 - box[3] < edge and region.y2 < height)
        )

    def recentre(self, box: Box, extent: float, before: Region, size: tuple[int, int]) -> Region | None:
        """A better region for a second look at the same frame, ``None`` when the first was good enough.

        It was not when the mask runs into a border behind which the frame goes on.
        """
        if not self.cut_off(box, before, size):
            return None
        better = self.follow(box, extent, before, size)
        return None if better == before else better

    def wider(self, region: Region, size: tuple[int, int], around: Box | None = None, times: float = 2.0) -> Region:
        """The region and what is around it, of so many times its side; or so much around a box."""
        box = around or (float(region.x1), float(region.y1), float(region.x2), float(region.y2))
        return self._square(box, times * max(region.width, region.height), size)

    def close_up(self, box: Box, size: tuple[int, int]) -> Region:
        """The region around an object as it is known now, whatever was looked at before."""
        return self._square(box, self.context * _extent(box), size)

    # -- on prompted frames ------------------------------------------------------------------------------------------
    def around_box(self, box: Box, size: tuple[int, int]) -> Region:
        """Where to look to answer a box."""
        return self._square(box, self.prompt_context * _extent(box), size)

    def pyramid(self, points: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[Region]:
        """Looks from the whole frame to a close-up, all of which hold all of ``points``."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        box = (min(xs), min(ys), max(xs), max(ys))
        least = max(float(self.pyramid_least_px), 1.5 * _extent(box))
        regions = [Region.whole(*size)]
        side = max(size) / self.pyramid_step
        while side >= least:
            region = self._square(box, side, size)
            if region not in regions:
                regions.append(region)
            side /= self.pyramid_step
        return regions

    # -- inside ------------------------------------------------------------------------------------------------------
    def _square(self, box: Box, side: float, size: tuple[int, int]) -> Region:
        """A square about the box's centre, pushed into the frame; as wide or high as the frame where it is larger."""
        height, width = size
        side = max(side, float(self.least_px))
        if side >= self.whole_share * max(size):
            return Region.whole(*size)
        x1, x2 = _span((box[0] + box[2]) / 2, side, width)
        y1, y2 = _span((box[1] + box[3]) / 2, side, height)
        return Region(x1, y1, x2, y2)


def seen_in_whole_frame(extent: float, size: tuple[int, int]) -> bool:
    """Whether an object of ``extent`` px shows in a look at a whole frame of ``(height, width)`` px."""
    return extent >= SEEN_SHARE * max(size)


def _extent(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1], 1.0)


def _shifted(box: Box, by: tuple[float, float]) -> Box:
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]


def _span(centre: float, side: float, limit: int) -> tuple[int, int]:
    length = min(round(side), limit)
    start = min(max(round(centre - length / 2), 0), limit - length)
    return start, start + length


def _steps(length: int, side: float) -> list[float]:
    """Starts of tiles of ``side`` that cover ``length`` and overlap by a quarter."""
    if side >= length:
        return [0.0]
    count = math.ceil((length - side) / (0.75 * side)) + 1
    return [index * (length - side) / (count - 1) for index in range(count)]
